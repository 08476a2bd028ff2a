"""Every sentence of the reports. In: gates, claims, comparisons, fits. Out: text. Next: eval_report, report."""

import math
from collections.abc import Callable

from picochat.blocks import interval, percent
from picochat.evidence.answering import Agreement
from picochat.evidence.clusters import Z95, Interval
from picochat.evidence.compare import Comparison, Difference
from picochat.evidence.evaluation import Claim, Gate
from picochat.evidence.lanes import Choice, Lane
from picochat.evidence.runs import FEW, smallest_visible
from picochat.evidence.sft_fit import MARGIN, SIDES, LaneFit

SIDE_NAMES = dict(zip(SIDES, ("train", "held-out"), strict=True))
_STATUS = {
    "not tested": "not tested in this pack",
    "partly tested": "partly tested in this pack, no claim",
    "diagnostic": "research diagnostic, no public claim",
}
_FIT_VERDICTS = {
    "transfers": f"learnt, and any gap to held-out rows is below {100 * MARGIN:g} points",
    "memorised": "memorised beyond what transfers",
    "not learnt": "not learnt yet",
    "undecided": f"undecided, with no gap shown and not enough rows to call it below {100 * MARGIN:g} points",
}
REASONS = {  # why a reply fails (scoring.REASONS) → what the reply does
    "wrong_answer": "gives another answer",
    "missing_required": "lacks a phrase that the row requires",
    "forbidden_phrase": "holds a phrase that the row excludes",
    "wrong_identity": "speaks as somebody else, or makes no sentence",
    "wrong_form": "has another form than was asked for",
    "prompt_echo": "repeats the prompt, or plays another turn",
    "unsupported_claim": "answers what it cannot know, or boasts",
    "over_refusal": "declines what it should answer",
    "length": "has too many words, or was cut off",
    "no_final_answer": "ends its steps without a final answer",
    "repetition": "repeats itself in a loop",
    "empty": "is empty",
    "wrong_choice": "names another choice",
    "not_judged": "is in another language; counted in no rate",
}
OWN_CHECK = "fails a check of your own"
_SAME_DECODING = ("max_new_tokens", "temperature", "top_k", "top_p")
UNKNOWN = "run-to-run variation unknown: not a claim about recipes"
NO_HELD_OUT = "No held-out rows were found beside the input: nothing is said about transfer (use --eval-input)."


def points(share: float) -> str:
    """A difference of shares in percentage points, with its sign: 0.123 → "+12.3"."""
    return f"{100 * share:+z.1f}"


def whole(share: float) -> str:
    """A share in whole percent, which may be negative: 0.812 → "81 %"."""
    return f"{100 * share:z.0f} %"


def to(ends: Interval | None) -> str:
    """Both ends of the interval of a difference: "+1.2 to +3.4"."""
    return f"{points(ends.low)} to {points(ends.high)}" if ends else "–"


def p_text(p_value: float) -> str:
    """0.0312 → "0.031"; below 0.0001 only that: exact tails of that size mean nothing more."""
    return f"{p_value:.2g}" if p_value >= 1e-4 else "< 0.0001"


def of_problems(rows: int, problems: int) -> str:
    """246 rows of 13 problems → "246 rows, 13 problems"; problems are not told where every row is one of its own."""
    return f"{rows} rows" if rows == problems else f"{rows} rows, {problems} problems"


def between(ends: Interval | None, shown: Callable[[Interval], str] = interval) -> str:
    """A 95 % interval in words."""
    return f"95 % interval {shown(ends)}" if ends else f"no interval: fewer than {FEW} problems"


def result(overall: Lane) -> str:
    measured = f"{percent(overall.rate)} of {of_problems(overall.n, overall.problems)} passed"
    return f"{measured}, {between(overall.ci95)}; prompt echo {percent(overall.prompt_echo)}"


def choice_sentence(choice: Choice) -> str:
    return (
        f"multiple choice: {percent(choice.rate)} of {choice.n} rows where chance gives "
        f"{percent(choice.chance)}; adjusted for chance {percent(choice.adjusted)}; by the likelihood per byte of a "
        f"label {percent(choice.per_byte)}"
    )


def agreement_sentence(found: Agreement) -> str:
    kappa = "undefined" if found.kappa is None else f"{found.kappa:.2f}"
    return (
        f"Of the replies that both judged {found.both} pass by both, {found.rules_alone} by the rules alone, "
        f"{found.judge_alone} by the judge model alone, {found.neither} by neither; Cohen's kappa {kappa}"
    )


def gate_name(gate: Gate) -> str:
    return "prompt echo" if gate.name == "echo" else gate.name


def claim_cells(claim: Claim) -> tuple[str, ...]:
    """A claim in a table: profile, status, missed gates and those without rows, rows."""
    shown = {"missed": "", "not tested": " (not tested)"}
    missed = [f"{gate_name(gate)}{shown[gate.verdict]}" for gate in claim.gates if gate.verdict in shown]
    return claim.benchmark_profile, _status(claim), ", ".join(missed) or "–", str(claim.n)


def of_gate(gate: Gate) -> str:
    """What a gate measured; rounding never makes a rate the limit that it misses."""
    if (measured := gate.measured) is None:
        return "no row judged"
    return f"{percent(measured.rate, gate.limit)} of {of_problems(measured.rows, measured.clusters)}"


def claim_line(claim: Claim) -> str:
    """A claim with the evidence of all its gates."""
    parts = [f"{claim.benchmark_profile}: {_status(claim)}"]
    for gate in claim.gates:
        limit = f"gate at {'most' if gate.name == 'echo' else 'least'} {percent(gate.limit)}"
        measured = of_gate(gate) + (f" ({between(gate.measured.interval)})" if gate.measured else "")
        parts.append(f"{gate_name(gate)}: {measured}, {limit}: {gate.verdict}")
    return "; ".join(parts)


def _status(claim: Claim) -> str:
    return _STATUS.get(claim.status, claim.status) + (f": {claim.words}" if claim.words else "")


def fit_reading(name: str, lane: LaneFit) -> str:
    """One category of a fit; generalisation is told from memorisation only by answers checked on both sides."""
    sides = {shown: side for field, shown in SIDE_NAMES.items() if (side := getattr(lane, field))}
    if lane.gap is None:
        forced = ", ".join(f"{side} {percent(own.token_accuracy)}" for side, own in sides.items() if own.tokens)
        more = f"; likeliest token right by teacher forcing: {forced}" if forced else ""
        return f"{name}: not both sides have answers to check{more}"
    rates = ", ".join(
        f"{side} {percent(own.correct.rate)} of {of_problems(own.correct.rows, own.correct.clusters)}"
        for side, own in sides.items()
    )
    gap = f"gap {points(lane.gap)} points, {between(lane.ci95, to)}"
    if lane.ci95:
        gap += f"; visible {100 * smallest_visible((lane.ci95.high - lane.ci95.low) / 2 / Z95, math.inf):.1f} points"
    return f"{name}: {_FIT_VERDICTS[lane.verdict]} ({rates}, {gap})"


def summary(comparison: Comparison) -> str:
    """All declared lanes in one sentence.

    release-from-capability against release-from-base: identity equal within ±2 points; math 60.2 points higher, 81 % of
    its gain kept
    """
    parts = []
    for name, lane in _declared(comparison).items():
        size = f"{abs(100 * lane.change.value):.1f} points {'higher' if lane.change.value > 0 else 'lower'}"
        ends = to(lane.change.interval) if lane.change.interval else f"fewer than {FEW} problems"
        words = {
            "equal": f"{name} equal within ±{100 * comparison.margin:g} points",
            "different": f"{name} {size}",
            "suggested": f"{name} perhaps {size} ({ends})",
            "undecided": f"{name} undecided ({ends})",
        }[lane.finding]
        kept = lane.gain and lane.gain.kept_b
        share = kept and ("all" if kept.share >= 0.995 else f"{round(100 * kept.share)} %")
        parts.append(f"{words}, {share} of its gain kept" if kept else words)
    unknown = "" if comparison.overall.noise else f"; {UNKNOWN}"
    return f"{comparison.b.name} against {comparison.a.name}: {'; '.join(parts)}{unknown}"


def notes(comparison: Comparison) -> list[str]:
    """What the intervals include, and what may disturb the comparison."""
    lines = [
        f"Intervals and tests include the variation between runs (seeds), estimated from {comparison.noise_from}."
        if comparison.overall.noise
        else "Intervals and tests cover the variation between problems, not between training runs: another seed may "
        "give another result. Give several runs an arm (--a … --b …), or how much runs differ (--noise)."
    ]
    if left_out := comparison.pack.rows - len(comparison.a.rows):
        lines.append(f"Left out: {left_out} rows to which some run replied in a language that the rules do not read.")
    for field in _SAME_DECODING:
        values = dict.fromkeys(str(run.settings.get(field)) for arm in comparison.arms for run in arm.runs)
        if len(values) > 1:
            lines.append(f"The runs were decoded differently: {field} is {' and '.join(values)}.")
    return [
        *lines,
        f"Declared: {', '.join(_declared(comparison))} (p corrected by Holm's method). All other lanes are explored: "
        "leads, no claims (Benjamini and Hochberg).",
        'Visible is the smallest difference that a lane shows with 80 % power; none below it is claimed. "Perhaps" is '
        "no claim.",
    ]


def _declared(comparison: Comparison) -> dict[str, Difference]:
    """The declared skills, and the declared categories that are more than the same rows once again."""
    found = {name: lane for name, lane in comparison.lanes["by_skill"].items() if lane.declared}
    for name, lane in comparison.lanes["by_category"].items():
        if lane.declared and all(lane is not other for other in found.values()):
            found[name] = lane
    return found
