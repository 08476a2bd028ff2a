"""From answers to evidence. In: eval rows and an `Answerer`. Out: an `Evaluation`. Next: evidence.eval_report.

rows ─► Answerer.reply / .choice_scores ─► scoring ─► [Prediction, …] ─► Evaluation ─► lanes, gates, claims
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import picochat
from picochat.evidence.answering import Answerer
from picochat.evidence.gates import Claim, Gate, check_gates, claims
from picochat.evidence.lanes import Lane, Prediction, count, grouped, tags_of
from picochat.evidence.policy import SIGNALS_ONLY, Policy
from picochat.evidence.scoring import Verdict, is_choice, score, score_choice
from picochat.files import sha256_file, sha256_text
from picochat.packs.formats import Tally, read_rows
from picochat.packs.rows import Row, cluster_of, prompt_text


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
        single = folder / "model.safetensors"
        shards = "".join(f"{path.name} {sha256_file(path)}\n" for path in sorted(folder.glob("*.safetensors")))
        sha256 = sha256_file(single) if single.is_file() else sha256_text(shards or f"{folder} {dict(provenance)}")
        return Model(str(checkpoint), sha256, dict(provenance))


@dataclass(frozen=True)
class Evaluation:
    """The replies of one model to the rows of a pack, in their order; lanes, gates and claims follow from them."""

    pack: RowFile
    model: Model
    settings: Mapping[str, Any]
    predictions: Sequence[Prediction]
    limits: Mapping[str, Mapping[str, float]] = field(default_factory=dict)  # as policy.Policy.gates
    says: Mapping[str, str] = field(default_factory=dict)  # as policy.Policy.claims
    overlap: str = ""  # with the training rows of the model
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


def load_eval_rows(
    path: str | Path, tally: Tally | None = None, read: Iterable[tuple[int, Row]] | None = None
) -> list[Row]:
    """Read an eval file whose every check can be applied; `read` are its rows with their lines, where they are at hand.

    Raises:
        UserError: no such file, no rows, or a bad row, named by file and line.
    """
    return [row for _, row in read] if read is not None else read_rows(path, "eval", tally=tally)


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
