"""From answers to evidence. In: eval rows and an `Answerer`, or a folder of `eval chat`. Out: an `Evaluation`.

    rows ─► Answerer.reply / .choice_scores ─► scoring ─► [Prediction, …] ─► Evaluation ─► lanes, claims

Claims follow from gates, gates from lanes that have rows. What a mixture calls "diagnostic" is that whatever they show.
Read back, replies are counted again; such as were cut, edited or swapped are refused. Next: eval_report, arms.
"""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import picochat
from picochat.errors import UserError
from picochat.evidence.answering import Answerer
from picochat.evidence.clusters import ClusteredRate
from picochat.evidence.lanes import Lane, Prediction, count, grouped, lane_of, rate_of
from picochat.evidence.scoring import SIGNALS_ONLY, Policy, Verdict, is_choice, score, score_choice
from picochat.files import sha256_file, sha256_text
from picochat.model.engine import Reply
from picochat.packs.profiles import DIAGNOSTIC
from picochat.packs.rows import TAGS, Row, cluster_of, prompt_text
from picochat.strict_json import read_json_object


@dataclass(frozen=True)
class RowFile:
    """A file of rows, as reports name it."""

    path: str
    sha256: str
    rows: int


@dataclass(frozen=True)
class Model:
    """What answered, as reports name it, and where its weights came from.

    sha256 is that of model.safetensors, of the shards' names and sha256, of a file of replies, or of the name.
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
class Gate:
    """A limit, of echoes from above and else from below, and what was measured.

    "met" where the whole interval is on the right side, "point estimate only" where the rate is and the interval is not
    (or there is none, for lack of problems), "not tested" where no row was judged, else "missed".
    """

    benchmark_profile: str
    name: str
    measured: ClusteredRate | None
    limit: float
    verdict: str


@dataclass(frozen=True)
class Claim:
    """What may be said of one benchmark profile, and the gates that it rests on."""

    benchmark_profile: str
    # "claimed", "point estimate only", "failed its gate", "partly tested", "diagnostic", "not tested", "no gate"
    status: str
    words: str  # the mixture's, where it is claimed
    n: int
    gates: list[Gate]


@dataclass(frozen=True)
class Evaluation:
    """The replies of one model to the rows of a pack, in their order; lanes and claims follow from them."""

    pack: RowFile
    model: Model
    settings: Mapping[str, Any]
    predictions: Sequence[Prediction]
    policy: Policy = field(default_factory=Policy)
    overlap: str = ""  # with the training rows of the model
    folder: str = ""  # that it was read from
    picochat: str = picochat.__version__

    @cached_property
    def overall(self) -> Lane:
        return count(self.predictions)

    def lanes(self, grouping: str) -> dict[str, Lane]:
        """The lanes of one of `lanes.GROUPINGS`."""
        return {name: count(rows) for name, rows in grouped(self.predictions, grouping).items()}

    @cached_property
    def claims(self) -> list[Claim]:
        return claims(self.predictions, self.policy)


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
            said = Reply([], verdict.candidate or "", "", True)
            predictions[index] = _prediction(index, rows[index], verdict, said, by_label)
    written = [index for index in range(len(rows)) if index not in predictions]
    replies = answerer.reply([rows[index]["messages"] for index in written]) if written else []
    for index, reply in zip(written, replies, strict=True):
        row, rules = rows[index], policy.rules_of(rows[index]) or SIGNALS_ONLY
        verdict = score(row, reply.text, raw=reply.raw_text, finished=reply.finished, rules=rules)
        predictions[index] = _prediction(index, row, verdict, reply, None)
    return [predictions[index] for index in range(len(rows))]


def _prediction(index: int, row: Row, verdict: Verdict, reply: Reply, scores: dict[str, float] | None) -> Prediction:
    return Prediction(
        index,
        id=row.get("id"),
        key=row.get("key"),
        cluster=cluster_of(row),
        prompt=prompt_text(row),
        reply=reply.text,
        raw_reply=reply.raw_text if scores is None else None,
        expected=(None if scores else row.get("answer")) or row.get("correct_choice") or row.get("reference"),
        answerable=row.get("answerable"),
        choice_scores=scores,
        tags={field: row[field] for field in TAGS if row.get(field)},
        finished=reply.finished,
        **vars(verdict),
    )


def check_gates(profile: str, predictions: Sequence[Prediction], limits: Mapping[str, float]) -> list[Gate]:
    """The gates of a benchmark profile, measured on its rows."""
    gates = []
    for name, limit in sorted(limits.items(), key=lambda gate: (gate[0] == "echo", gate[0])):
        if name == "echo":
            rows, sign, worst = [p for p in predictions if p.choice_scores is None], -1, 1
            measured = rate_of(rows, ["prompt_echo" in (*p.reasons, *p.signals) for p in rows])
        else:
            own = [p for p in predictions if name in (lane_of(p.tags, "by_skill"), lane_of(p.tags, "by_category"))]
            rows, sign, worst = [p for p in own if p.judged], 1, 0
            measured = rate_of(rows, [p.passed for p in rows])
        verdict = "not tested"
        if measured:
            ends = measured.interval or (-math.inf, math.inf)
            right = sum(sign * end >= sign * limit for end in (measured.rate, ends[worst]))
            verdict = ("missed", "point estimate only", "met")[right]
        elif name == "echo":  # choices by likelihood cannot echo
            continue
        gates.append(Gate(profile, name, measured, limit, verdict))
    return gates


def claims(predictions: Sequence[Prediction], policy: Policy) -> list[Claim]:
    """What may be said of each benchmark profile, those of the mixtures first."""
    tested = grouped(predictions, "by_benchmark_profile")
    made = []
    for profile in dict.fromkeys([*policy.claims, *tested]):
        rows, words = tested.get(profile, []), policy.claims.get(profile, "")
        gates = check_gates(profile, rows, policy.gates.get(profile, {}))
        verdicts = {gate.verdict for gate in gates}
        if not rows:
            status = "not tested"
        elif words == DIAGNOSTIC:
            status = "diagnostic"
        elif all(gate.name == "echo" for gate in gates):
            status = "no gate"
        elif "missed" in verdicts:
            status = "failed its gate"
        elif "not tested" in verdicts:  # the claim speaks of all its gates
            status = "partly tested"
        else:
            status = "claimed" if verdicts == {"met"} else "point estimate only"
        words = words if status in ("claimed", "point estimate only") else ""
        made.append(Claim(profile, status, words, len(rows), gates))
    return made


def read_eval(folder: str | Path) -> Evaluation:
    """Read back what `eval chat` wrote into a folder, without its claims; UserError where it is none, or damaged."""
    path, predictions_path = Path(folder) / "eval_report.json", Path(folder) / "predictions.jsonl"
    report = read_json_object(path)
    try:
        content = predictions_path.read_bytes()
        if report["kind"] != "eval chat":
            raise ValueError(f"it is one of `{report['kind']}`")
        if hashlib.sha256(content).hexdigest() != report["predictions_sha256"]:
            raise ValueError(f"{predictions_path.name} does not hold the replies that it was made of")
        predictions = [
            Prediction(**{**line, "reasons": tuple(line["reasons"]), "signals": tuple(line["signals"])})
            for line in map(json.loads, content.decode().split("\n")[:-1])
        ]
        pack, model, settings = RowFile(**report["pack"]), Model(**report["model"]), dict(report["settings"])
    except (KeyError, TypeError, ValueError, OSError) as error:
        fault = f"{type(error).__name__}: {error}"
        raise UserError(f"{path}: is not a complete report of `eval chat` ({fault}); evaluate again") from error
    return Evaluation(pack, model, settings, predictions, folder=str(folder))
