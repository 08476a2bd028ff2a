"""Verdicts counted by lane. In: predictions. Out: `Lane`s. Next: evidence.evaluation.

A *lane* is a named part of the mixture that rows carry as a tag and reports break down by. Each of `GROUPINGS` puts
every prediction into exactly one lane: by_category into bench_math_addition, identity, …; by_skill into math, identity.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from picochat.evidence.clusters import ClusteredRate, Interval, clustered_rate
from picochat.evidence.runs import FEW, visible_difference
from picochat.evidence.scoring import REASONS
from picochat.packs.rows import Row, cluster_of

UNTAGGED = "(untagged)"
_TAG_OF = {
    "by_benchmark_profile": "mixture_benchmark_profile",
    "by_component": "mixture_component",
    "by_skill": "category",
    "by_category": "category",
    "by_stage": "stage",
    "by_phrasing": "phrasing",
    "by_category_and_phrasing": "phrasing",
    "by_style": "answer_style",
    "by_knowledge": "knowledge",
}
GROUPINGS = tuple(_TAG_OF)
_NESTING = ("by_benchmark_profile", "by_component", "by_category")  # of the main table, outermost first
K = TypeVar("K", str, tuple[str, ...])
T = TypeVar("T")
P = TypeVar("P", bound="Prediction")


@dataclass(frozen=True)
class Prediction:
    """One row's reply and verdict; one line of predictions.jsonl."""

    index: int  # of the row in its file, from 0
    id: str | None
    key: str | None
    cluster: str  # what the row was held out with: rows of one cluster are one piece of evidence
    prompt: str  # the last user turn
    reply: str  # the visible one; the chosen label of a choice row
    raw_reply: str | None  # with special tokens; None for a choice row
    expected: str | None  # the row's answer, correct label or reference, for reading
    passed: bool  # this, reasons, candidate, steps_correct, strict and signals are those of `scoring.Verdict`
    reasons: tuple[str, ...]
    candidate: str | None
    steps_correct: float | None
    strict: bool
    signals: tuple[str, ...]
    answerable: bool | None
    choice_scores: dict[str, float] | None  # log-likelihood of each label; None for a generated reply
    tags: dict[str, str]
    judge_passed: bool | None = None  # what a judge model says; None where none was asked or it said neither
    nll: float | None = None  # nats a token of the row's reference reply; None where there is none, or it is unknown
    finished: bool = True  # the reply ended by itself, rather than at the limit of tokens

    @property
    def judged(self) -> bool:
        """Whether the rules could read the reply."""
        return "not_judged" not in self.signals

    def tag(self, field: str) -> str:
        """The value of a tag, `UNTAGGED` where the row has none."""
        return self.tags.get(field) or UNTAGGED


@dataclass(frozen=True)
class Choice:
    """Multiple choice by likelihood."""

    n: int
    chance: float  # the mean of 1 / labels
    rate: float  # the label's log-likelihood decides (lm-eval's acc)
    adjusted: float  # the rate scaled to 0 at chance and 1 at all right
    per_byte: float  # the rate where the log-likelihood per byte of the label decides (lm-eval's acc_norm)


@dataclass(frozen=True)
class Lane:
    """The counts of one lane of `n` rows, without the `not_judged` ones, whose replies the text rules do not read."""

    n: int
    problems: int
    passed: int
    rate: float
    ci95: Interval | None  # None where there are fewer than ten problems
    strict: float  # the share that also has the very form of the answer
    not_judged: int
    prompt_echo: float | None  # a share of all generated replies, as is the next
    unsupported_claims: float | None
    over_refusal: float | None  # a share of the generated replies to rows that are not marked unanswerable
    reasons: dict[str, int]
    steps_correct: float | None  # mean share of right lines of scratchpads (chain-of-thought)
    choice: Choice | None


def lane_of(tags: Mapping[str, Any], grouping: str) -> str:
    """The lane of a row in one of `GROUPINGS`; the skill of bench_math_addition is math, that of identity identity."""
    value, category = tags.get(_TAG_OF[grouping]), tags.get("category") or UNTAGGED
    if grouping == "by_skill":
        head, _, rest = category.partition("_")
        return rest.partition("_")[0] if head == "bench" and rest else category
    return f"{category}, {value}" if value and grouping == "by_category_and_phrasing" else value or UNTAGGED


def group_by(items: Iterable[T], lane: Callable[[T], K]) -> dict[K, list[T]]:
    """The items of each lane, lanes in sorted order."""
    lanes: dict[K, list[T]] = {}
    for item in items:
        lanes.setdefault(lane(item), []).append(item)
    return dict(sorted(lanes.items()))


def grouped(rows: Iterable[P], grouping: str) -> dict[str, list[P]]:
    """The rows of each lane of one of `GROUPINGS`, lanes by name."""
    return group_by(rows, lambda row: lane_of(row.tags, grouping))


def nested(predictions: Iterable[Prediction]) -> dict[tuple[str, ...], Lane]:
    """Each profile, each component in it, each category in that; keys are paths of 1 to 3 names."""
    lanes: dict[tuple[str, ...], list[Prediction]] = {}
    for prediction in predictions:
        path = tuple(lane_of(prediction.tags, grouping) for grouping in _NESTING)
        for depth in (1, 2, 3):
            lanes.setdefault(path[:depth], []).append(prediction)
    return {path: count(rows) for path, rows in sorted(lanes.items())}


def visible_by_skill(rows: Iterable[Row], runs: Sequence[int]) -> list[dict[str, Any]]:
    """For each skill of these eval rows its rows, problems, and the differences visible with so many `runs` an arm.

    All skills count as declared; lanes of too few problems show nothing (None).
    """
    found, skills = [], group_by(rows, lambda row: lane_of(row, "by_skill"))
    for name, own in skills.items():
        n, problems, tests = len(own), len(set(map(cluster_of, own))), len(skills)
        seen = [visible_difference(n, problems, each, tests=tests) if problems >= FEW else None for each in runs]
        found.append({"skill": name, "rows": n, "problems": problems, "visible": seen})
    return found


def rate_of(predictions: Sequence[Prediction], outcomes: Sequence[bool]) -> ClusteredRate | None:
    """The share of true outcomes, one a prediction; None where there are none."""
    return clustered_rate(outcomes, [prediction.cluster for prediction in predictions]) if outcomes else None


def count(predictions: Sequence[Prediction]) -> Lane:
    """Count one lane, which has at least one row; where the rules could judge none of them, none passed."""
    judged = [p for p in predictions if p.judged]
    measured = judged or predictions
    share = clustered_rate([p.passed and p.judged for p in measured], [p.cluster for p in measured])
    generated = [p for p in predictions if p.choice_scores is None]
    counts = Counter(reason for prediction in predictions for reason in prediction.reasons)
    steps = [p.steps_correct for p in predictions if p.steps_correct is not None]
    return Lane(
        n=share.rows,
        problems=share.clusters,
        passed=int(share.passed),
        rate=share.rate,
        ci95=share.interval,
        strict=sum(p.strict for p in measured) / share.rows,
        not_judged=len(predictions) - len(judged),
        prompt_echo=_share(generated, "prompt_echo"),
        unsupported_claims=_share(generated, "unsupported_claim"),
        over_refusal=_share([p for p in generated if p.answerable is not False], "over_refusal"),
        reasons={name: counts[name] for name in dict.fromkeys([*REASONS, *sorted(counts)]) if counts[name]},
        steps_correct=sum(steps) / len(steps) if steps else None,
        choice=_choice([p for p in predictions if p.choice_scores is not None]),
    )


def _share(predictions: Sequence[Prediction], reason: str) -> float | None:
    return sum(reason in (*p.reasons, *p.signals) for p in predictions) / len(predictions) if predictions else None


def _choice(predictions: Sequence[Prediction]) -> Choice | None:
    if not predictions:
        return None
    n, rate = len(predictions), sum(p.passed for p in predictions) / len(predictions)
    scores = [p.choice_scores or {} for p in predictions]
    chance = sum(1 / len(own) for own in scores) / n
    likeliest = [max(own, key=lambda label: own[label] / len(label.encode())) for own in scores]
    per_byte = sum(p.expected == label for p, label in zip(predictions, likeliest, strict=True)) / n
    return Choice(n, chance, rate, (rate - chance) / (1 - chance), per_byte)
