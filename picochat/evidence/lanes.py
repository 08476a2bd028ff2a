"""From verdicts to lanes, gates and claims. In: predictions. Out: body of `eval_report.json`. Next: evidence.report.

A *lane* is one value of one tag. Every prediction counts in one lane of each grouping:

    {"overall": {…}, "by_benchmark_profile": {"weak_skills": {…}, "release_behavior": {…}}, "by_component": …}

    lane = {"n": 50, "passed": 48, "rate": 0.96, "ci95": [0.865, 0.989], "prompt_echo": 0.0, "unsupported_claims": 0.0,
            "over_refusal": 0.02, "reasons": {"wrong_answer": 2}, "steps_correct": {…}, "choice": null}

Claims follow from gates, gates from lanes that have rows. A benchmark profile without rows is "not tested", and no word
is said about what it would have tested. `full` is "diagnostic" whatever its gates say: broad research, no basis for a
public claim.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from picochat.evidence.scoring import REASONS
from picochat.evidence.stats import adjusted_for_chance, wilson

T = TypeVar("T")
UNTAGGED = "(untagged)"
PROFILES = ("release_behavior", "weak_skills", "full")
DIAGNOSTIC = "full"  # the one whose gates are shown and claim nothing
GATES: Mapping[str, float] = {
    "identity": 0.60,
    "refusal": 0.75,
    "choice": 0.50,
    "math": 0.30,
    "spelling": 0.40,
    "echo": 0.05,
}
SKILL_NAMES = {
    "math": "arithmetic",
    "spelling": "spelling",
    "choice": "multiple choice",
    "identity": "identity",
    "refusal": "refusal",
}


@dataclass(frozen=True)
class Prediction:
    """One row's reply and verdict; one line of predictions.jsonl.

    Attributes:
        index: position of the row in its file, from 0.
        id: the row's own id, or None.
        prompt: the last user turn.
        reply: the visible reply; the chosen label of a choice row.
        raw_reply: the continuation with special tokens, None for a choice row.
        expected: the row's answer, correct label or reference, for reading; None where the row has none.
        passed, reasons, candidate, steps_correct: the verdict (`scoring.Verdict`).
        answerable: the row's own field, None where it has none.
        choice_scores: log-likelihood of each label, None for a generated reply.
        tags: the `packs.rows.TAGS` that the row has.
    """

    index: int
    id: str | None
    prompt: str
    reply: str
    raw_reply: str | None
    expected: str | None
    passed: bool
    reasons: tuple[str, ...]
    candidate: str | None
    steps_correct: float | None
    answerable: bool | None
    choice_scores: dict[str, float] | None
    tags: dict[str, str]

    def tag(self, field: str) -> str:
        """The value of a tag, `UNTAGGED` where the row has none."""
        return self.tags.get(field) or UNTAGGED


def skill(category: str) -> str:
    """The skill a category belongs to: bench_math_addition → math, identity → identity; others stand for themselves."""
    for name in ("math", "spelling", "choice"):
        if category.startswith(f"bench_{name}"):
            return name
    return category


GROUPINGS: Mapping[str, Callable[[Prediction], str]] = {
    "by_benchmark_profile": lambda p: p.tag("mixture_benchmark_profile"),
    "by_component": lambda p: p.tag("mixture_component"),
    "by_skill": lambda p: skill(p.tag("category")),
    "by_category": lambda p: p.tag("category"),
    "by_stage": lambda p: p.tag("stage"),
    "by_phrasing": lambda p: p.tag("phrasing"),
    "by_category_and_phrasing": lambda p: (
        UNTAGGED if p.tag("phrasing") == UNTAGGED else f"{p.tag('category')}, {p.tag('phrasing')}"
    ),
    "by_style": lambda p: p.tag("answer_style"),
    "by_knowledge": lambda p: p.tag("knowledge"),
}


def grouped(predictions: Iterable[Prediction], grouping: str) -> dict[str, list[Prediction]]:
    """The predictions of each lane of one of `GROUPINGS`, lanes in the order of their first row."""
    lanes: dict[str, list[Prediction]] = defaultdict(list)
    for prediction in predictions:
        lanes[GROUPINGS[grouping](prediction)].append(prediction)
    return dict(lanes)


def summarise(predictions: Sequence[Prediction], gates: Mapping[str, float] = GATES) -> dict[str, Any]:
    """All lanes, gates and claims of an evaluation; JSON-ready."""
    report: dict[str, Any] = {"overall": bucket(predictions)}
    for grouping in GROUPINGS:
        report[grouping] = {name: bucket(rows) for name, rows in sorted(grouped(predictions, grouping).items())}
    report["table"] = table(predictions)
    report["gates"] = [
        gate
        for profile, rows in sorted(grouped(predictions, "by_benchmark_profile").items())
        for gate in profile_gates(profile, rows, gates)
    ]
    report["claims"] = claims(predictions, report["gates"])
    return report


def table(predictions: Sequence[Prediction]) -> list[dict[str, Any]]:
    """The printed table: benchmark profile, inside it component, inside it category; each line a lane with its `path`.

    [{"path": ["weak_skills"], "n": 346, …}, {"path": ["weak_skills", "weak_skills"], …},
     {"path": ["weak_skills", "weak_skills", "bench_math_addition"], …}, …]
    """
    lanes: dict[tuple[str, ...], list[Prediction]] = defaultdict(list)
    for prediction in predictions:
        path = tuple(prediction.tag(f) for f in ("mixture_benchmark_profile", "mixture_component", "category"))
        for depth in (1, 2, 3):
            lanes[path[:depth]].append(prediction)
    return [{"path": list(path), **bucket(lanes[path])} for path in sorted(lanes)]


def bucket(predictions: Sequence[Prediction]) -> dict[str, Any]:
    """Count one lane.

    Shares are of all rows (`rate`), of rows with a generated reply (`prompt_echo`, `unsupported_claims`), and of those
    that are not marked unanswerable (`over_refusal`); None where there is no such row.
    """
    n = len(predictions)
    passed = sum(prediction.passed for prediction in predictions)
    generated = [p for p in predictions if p.choice_scores is None]
    answerable = [p for p in generated if p.answerable is not False]
    counts = Counter(reason for prediction in predictions for reason in prediction.reasons)
    return {
        "n": n,
        "passed": passed,
        "rate": passed / n if n else None,
        "ci95": list(wilson(passed, n)),
        "prompt_echo": _share(generated, "prompt_echo"),
        "unsupported_claims": _share(generated, "unsupported_claim"),
        "over_refusal": _share(answerable, "over_refusal"),
        "reasons": {reason: counts[reason] for reason in REASONS if counts[reason]},
        "steps_correct": _steps([p.steps_correct for p in predictions if p.steps_correct is not None]),
        "choice": _choice([p for p in predictions if p.choice_scores is not None]),
    }


def profile_gates(profile: str, predictions: Sequence[Prediction], gates: Mapping[str, float]) -> list[dict[str, Any]]:
    """The gates of one benchmark profile that its rows can decide.

    A gate is met by the measured share; `sure` says that the whole interval is on the right side of the limit.
    """
    found = []
    for name, rows in sorted(grouped(predictions, "by_skill").items()):
        if name in gates and name != "echo":
            lane = bucket(rows)
            low, high = lane["ci95"]
            found.append(_gate(profile, name, lane["n"], lane["rate"], low, high, gates[name], at_least=True))
    generated = [p for p in predictions if p.choice_scores is None]
    if "echo" in gates and generated:
        echoed = sum("prompt_echo" in p.reasons for p in generated)
        low, high = wilson(echoed, len(generated))
        share = echoed / len(generated)
        found.append(_gate(profile, "echo", len(generated), share, low, high, gates["echo"], at_least=False))
    return found


def claims(predictions: Sequence[Prediction], gates: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What may be said of each benchmark profile: claimed, failed its gate, diagnostic, not tested, no gate (untagged).

    Each claim is {"benchmark_profile", "status", "n", "statements": [{"text", "name", "n", "rate", "ci95", "met"}]}.
    """
    lanes = grouped(predictions, "by_benchmark_profile")
    names = [*PROFILES, *sorted(set(lanes) - set(PROFILES))]
    found = []
    for name in names:
        own = [gate for gate in gates if gate["benchmark_profile"] == name]
        skills = [gate for gate in own if gate["name"] != "echo"]
        if name not in lanes:
            status = "not tested"
        elif name == DIAGNOSTIC:
            status = "diagnostic"
        elif not skills:
            status = "no gate"
        else:
            status = "claimed" if all(gate["met"] for gate in own) else "failed its gate"
        statements = [
            {"text": _sentence(gate), **{key: gate[key] for key in ("name", "n", "rate", "ci95", "met")}}
            for gate in own
        ]
        found.append(
            {"benchmark_profile": name, "status": status, "n": len(lanes.get(name, [])), "statements": statements}
        )
    return found


def shown_names(lanes: Mapping[str, T]) -> dict[str, T]:
    """Lanes of skills under the names that are shown, except where a lane is called so already."""
    names = {name: SKILL_NAMES.get(name, name) for name in lanes}
    return {name if names[name] in lanes else names[name]: lane for name, lane in lanes.items()}


def percent(share: float | None) -> str:
    """A share in words: 0.9583 → "95.8 %", None → "–"."""
    return "–" if share is None else f"{100 * share:.1f} %"


def _gate(
    profile: str, name: str, n: int, share: float, low: float, high: float, limit: float, *, at_least: bool
) -> dict[str, Any]:
    return {
        "benchmark_profile": profile,
        "name": name,
        "n": n,
        "rate": share,
        "ci95": [low, high],
        "limit": limit,
        "direction": "at least" if at_least else "at most",
        "met": share >= limit if at_least else share <= limit,
        "sure": low >= limit if at_least else high <= limit,
    }


def _sentence(gate: Mapping[str, Any]) -> str:
    low, high = gate["ci95"]
    what = "prompt echo" if gate["name"] == "echo" else SKILL_NAMES.get(gate["name"], gate["name"])
    words = (
        f"{what}: {percent(gate['rate'])} of {gate['n']} rows (95 % interval {percent(low)} to {percent(high)}), "
        f"gate {gate['direction']} {percent(gate['limit'])} {'met' if gate['met'] else 'missed'}"
    )
    return words if gate["sure"] or not gate["met"] else f"{words}, though the interval reaches beyond it"


def _share(predictions: Sequence[Prediction], reason: str) -> float | None:
    return sum(reason in p.reasons for p in predictions) / len(predictions) if predictions else None


def _steps(fractions: Sequence[float]) -> dict[str, Any] | None:
    """`lines`: mean share of right lines; `all`: share of scratchpads in which every line is right."""
    if not fractions:
        return None
    n, whole = len(fractions), sum(fraction == 1.0 for fraction in fractions)
    return {"n": n, "lines": sum(fractions) / n, "all": whole / n, "ci95": list(wilson(whole, n))}


def _choice(predictions: Sequence[Prediction]) -> dict[str, Any] | None:
    """Chance level (mean of 1 / labels), the rate, and the rate adjusted so that chance is 0 and all right is 1."""
    if not predictions:
        return None
    n = len(predictions)
    chance = sum(1 / len(p.choice_scores) for p in predictions if p.choice_scores) / n
    rate = sum(p.passed for p in predictions) / n
    return {"n": n, "chance": chance, "rate": rate, "adjusted": adjusted_for_chance(rate, chance)}
