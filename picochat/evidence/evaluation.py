"""From answers to evidence. In: eval rows and an `Answerer`, or a folder of `eval chat`. Out: an `Evaluation`.

    rows ─► Answerer.reply / .choice_scores ─► scoring ─► [Prediction, …] ─► Evaluation ─► lanes, gates, claims

Read back, replies are counted again; such as were cut, edited or swapped are refused. Next: eval_report, arms.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import picochat
from picochat.errors import UserError
from picochat.evidence.answering import Answerer
from picochat.evidence.gates import Claim, Gate, check_gates, claims
from picochat.evidence.lanes import Lane, Prediction, count, grouped, tags_of
from picochat.evidence.scoring import SIGNALS_ONLY, Policy, Verdict, is_choice, score, score_choice
from picochat.files import sha256_file, sha256_text
from picochat.packs.formats import Tally, read_rows
from picochat.packs.rows import Row, cluster_of, prompt_text
from picochat.strict_json import read_json_object

_READ: dict[str, type] = {  # what is read of a report, and its type; Python's bool is no int here
    **dict.fromkeys(("predictions_sha256", "pack.path", "pack.sha256", "model.folder", "model.sha256", "overlap"), str),
    **dict.fromkeys(("model.provenance", "settings", "limits", "says"), dict),
    "pack.rows": int,
}


@dataclass(frozen=True)
class RowFile:
    """A file of rows, as reports name it."""

    path: str
    sha256: str
    rows: int

    @staticmethod
    def of(path: str | Path, rows: int) -> "RowFile":
        """The file as it is now."""
        return RowFile(str(path), sha256_file(path), rows)


@dataclass(frozen=True)
class Model:
    """What answered, as reports name it: fingerprint of the weights, and where they came from.

    The fingerprint is the sha256 of model.safetensors, of the shards' names and sha256 where there are several, of a
    file of replies, or of the name where there is no file.
    """

    folder: str
    sha256: str
    provenance: dict[str, Any] = field(default_factory=dict)

    @staticmethod
    def of(checkpoint: str | Path, provenance: Mapping[str, Any]) -> "Model":
        """A model folder as it is now, or a model of the hub by its name."""
        folder = Path(checkpoint)
        if (single := folder / "model.safetensors").is_file():
            return Model(str(checkpoint), sha256_file(single), dict(provenance))
        shards = "".join(f"{path.name} {sha256_file(path)}\n" for path in sorted(folder.glob("*.safetensors")))
        return Model(str(checkpoint), sha256_text(shards or f"{folder} {dict(provenance)}"), dict(provenance))


@dataclass(frozen=True)
class Evaluation:
    """The replies of one model to the rows of a pack, in their order; lanes, gates and claims follow from them."""

    pack: RowFile
    model: Model
    settings: Mapping[str, Any]
    predictions: Sequence[Prediction]
    limits: Mapping[str, Mapping[str, float]] = field(default_factory=dict)  # as scoring.Policy.gates
    says: Mapping[str, str] = field(default_factory=dict)  # as scoring.Policy.claims
    overlap: str = ""  # with the training rows of the model
    folder: str = field(default="", compare=False)  # that it was read from
    picochat: str = picochat.__version__

    @cached_property
    def overall(self) -> Lane:
        """All rows."""
        return count(self.predictions)

    def lanes(self, grouping: str) -> dict[str, Lane]:
        """The lanes of one of `lanes.GROUPINGS`."""
        return {name: count(rows) for name, rows in grouped(self.predictions, grouping).items()}

    @cached_property
    def gates(self) -> list[Gate]:
        """Every gate that the rows can decide."""
        return check_gates(self.predictions, self.limits)

    @cached_property
    def claims(self) -> list[Claim]:
        """What may be said of each benchmark profile."""
        return claims(self.predictions, self.gates, self.says)


def load_eval_rows(path: str | Path, tally: Tally | None = None) -> list[Row]:
    """Read an eval file whose every check can be applied.

    Raises:
        UserError: no such file, no rows, or a bad row, named by file and line.
    """
    return read_rows(path, "eval", tally=tally)


def answer_rows(rows: Sequence[Row], answerer: Answerer, policy: Policy | None = None) -> list[Prediction]:
    """Let the answerer answer every row and judge the replies; predictions come in the order of the rows.

    A row with choices for whose labels there are no likelihoods is answered like the others.
    """
    policy, predictions = policy or Policy.of(rows), dict[int, Prediction]()
    chosen = [index for index, row in enumerate(rows) if is_choice(row)]
    labels = [rows[index]["choice_labels"] for index in chosen]
    scores = answerer.choice_scores([rows[index]["messages"] for index in chosen], labels) if chosen else []
    for index, names, values in zip(chosen, labels, scores, strict=True):
        if values is not None:
            verdict, by_label = score_choice(rows[index], values), dict(zip(names, values, strict=True))
            predictions[index] = _prediction(index, rows[index], verdict, verdict.candidate or "", None, by_label)
    written = [index for index in range(len(rows)) if index not in predictions]
    replies = answerer.reply([rows[index]["messages"] for index in written]) if written else []
    for index, reply in zip(written, replies, strict=True):
        row, raw, rules = rows[index], reply.raw_text, policy.rules_of(rows[index]) or SIGNALS_ONLY
        verdict = score(row, reply.text, raw=raw, finished=reply.finished, rules=rules)
        predictions[index] = _prediction(index, row, verdict, reply.text, raw, None)
    return [predictions[index] for index in range(len(rows))]


def _prediction(
    index: int, row: Row, verdict: Verdict, reply: str, raw: str | None, scores: dict[str, float] | None
) -> Prediction:
    expected = row.get("answer") or row.get("correct_choice") or row.get("reference")
    more: dict[str, Any] = {"answerable": row.get("answerable"), "choice_scores": scores, "tags": tags_of(row)}
    more |= {"id": row.get("id"), "key": row.get("key"), "cluster": cluster_of(row), "prompt": prompt_text(row)}
    return Prediction(index, reply=reply, raw_reply=raw, expected=expected, **vars(verdict), **more)


def read_eval(folder: str | Path) -> Evaluation:
    """Read back what `eval chat` wrote into a folder.

    Raises:
        UserError: the folder holds no evaluation, or a damaged one.
    """
    try:
        return _read(Path(folder) / "eval_report.json", Path(folder) / "predictions.jsonl")
    except (UserError, OSError) as error:
        fault = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) else str(error)
        fault = fault.removeprefix("cannot read ")
        raise UserError(f"cannot read {fault}; run it again with `picochat eval chat`") from error


def _read(report_path: Path, predictions_path: Path) -> Evaluation:
    report = read_json_object(report_path)
    if report.get("kind") != "eval chat":
        raise UserError(f"{report_path}: kind is {str(report.get('kind'))[:60]!r}, not 'eval chat'")
    for name, kind in _READ.items():
        part, _, field = name.rpartition(".")
        section = report.get(part) if part else report
        value = section.get(field) if isinstance(section, dict) else None
        if type(value) is not kind:
            raise UserError(f"{report_path}: {name} is {'missing' if value is None else 'of another kind'}")
    content = predictions_path.read_bytes()
    if hashlib.sha256(content).hexdigest() != report["predictions_sha256"]:
        raise UserError(f"{predictions_path}: does not hold the replies that {report_path.name} was made of")
    try:
        predictions = [
            Prediction(**{**line, "reasons": tuple(line["reasons"]), "signals": tuple(line["signals"])})
            for line in map(json.loads, content.decode().split("\n")[:-1])
        ]
    except (KeyError, TypeError) as error:
        raise UserError(f"{predictions_path}: was written by another version of picochat") from error
    pack, model = report["pack"], report["model"]
    return Evaluation(
        RowFile(pack["path"], pack["sha256"], pack["rows"]),
        Model(model["folder"], model["sha256"], model["provenance"]),
        predictions=predictions,
        **{name: report[name] for name in ("settings", "limits", "says", "overlap")},
    )


def read_before(folder: str | Path, input_path: str | Path) -> Evaluation:
    """An earlier evaluation, which must be on the same rows as `input_path`."""
    evaluation = read_eval(folder)
    own, other = sha256_file(input_path), evaluation.pack.sha256
    if own != other:
        raise UserError(
            f"--before {folder} was measured on other rows (sha256 {other[:12]}) than {input_path} ({own[:12]}); "
            "run `eval chat` on the same file for both"
        )
    return evaluation
