"""Every sentence of the reports. In: gates, claims, comparisons, fits. Out: text. Next: eval_report, report."""

import math
from collections.abc import Callable

from picochat.blocks import interval, percent
from picochat.evidence.clusters import Z95, Interval
from picochat.evidence.compare import Comparison, Difference, Gain
from picochat.evidence.gates import Claim, Gate
from picochat.evidence.lanes import Choice, Lane
from picochat.evidence.runs import FEW, smallest_visible
from picochat.evidence.sft_fit import MARGIN, SIDES, LaneFit

SIDE_NAMES = dict(zip(SIDES, ("train", "held-out"), strict=True))
_STATUS = {"not tested": "not tested in this pack", "diagnostic": "research diagnostic, no public claim"}
_FIT_VERDICTS = {
    "transfers": f"learnt, and any gap to held-out rows is below {100 * MARGIN:g} points",
    "memorised": "memorised beyond what transfers",
    "not learnt": "not learnt yet",
    "undecided": f"undecided, with no gap shown and not enough rows to call it below {100 * MARGIN:g} points",
}
_SAME_DECODING = ("max_new_tokens", "temperature", "top_k", "top_p", "precision")
FEW_RUNS = 2  # degrees of freedom of the runs' variation, below which intervals are wide for that alone
UNKNOWN = "run-to-run variation unknown: not a claim about recipes"
NO_HELD_OUT = "No held-out rows were found beside the input: nothing is said about transfer (use --eval-input)."


def points(share: float) -> str:
    """A difference of shares in percentage points, with its sign: 0.123 → "+12.3"."""
    return f"{100 * share:+z.1f}"


def visible(lane: Difference) -> str:
    """The smallest difference that a lane would have shown, in points."""
    if lane.visible is None:
        return "–"
    return f"{100 * lane.visible:.1f}" if lane.visible <= 1 else "over 100"


def to(ends: Interval | None) -> str:
    """Both ends of the interval of a difference: "+1.2 to +3.4"."""
    return f"{points(ends.low)} to {points(ends.high)}" if ends else "–"


def p_text(p_value: float) -> str:
    """0.0312 → "0.031"; below 0.0001 only that: exact tails of that size mean nothing more."""
    return f"{p_value:.2g}" if p_value >= 1e-4 else "< 0.0001"


def result(overall: Lane) -> str:
    """The whole evaluation in one sentence."""
    measured = f"{percent(overall.rate)} of {of_problems(overall.n, overall.problems)} passed"
    return f"{measured}, {between(overall.ci95)}; prompt echo {percent(overall.prompt_echo)}"


def of_problems(rows: int, problems: int) -> str:
    """246 rows of 13 problems → "246 rows, 13 problems"; problems are not told where every row is one of its own."""
    return f"{rows} rows" if rows == problems else f"{rows} rows, {problems} problems"


def between(ends: Interval | None, shown: Callable[[Interval], str] = interval) -> str:
    """A 95 % interval in words."""
    return f"95 % interval {shown(ends)}" if ends else f"no interval: fewer than {FEW} problems"


def choice_sentence(choice: Choice) -> str:
    """Chance level and adjusted rate."""
    return (
        f"multiple choice: {percent(choice.rate)} of {choice.n} rows where chance gives "
        f"{percent(choice.chance)}; adjusted for chance {percent(choice.adjusted)}; by the likelihood per byte of a "
        f"label {percent(choice.per_byte)}"
    )


def gate_name(gate: Gate) -> str:
    """What a gate measures."""
    return "prompt echo" if gate.name == "echo" else gate.name


def gate_sentence(gate: Gate) -> str:
    """A gate with its evidence."""
    measured = f"{percent(gate.rate, gate.limit)} of {of_problems(gate.n, gate.problems)} ({between(gate.ci95)})"
    return f"{gate_name(gate)}: {measured}, gate {gate.direction} {percent(gate.limit)}: {gate.verdict}"


def claim_cells(claim: Claim) -> tuple[str, ...]:
    """A claim in a table: profile, status, missed gates, rows."""
    missed = ", ".join(gate_name(gate) for gate in claim.gates if gate.verdict == "missed")
    return claim.benchmark_profile, _status(claim), missed or "–", str(claim.n)


def claim_line(claim: Claim) -> str:
    """A claim with the evidence of all its gates."""
    return "; ".join([f"{claim.benchmark_profile}: {_status(claim)}", *map(gate_sentence, claim.gates)])


def _status(claim: Claim) -> str:
    return _STATUS.get(claim.status, claim.status) + (f": {claim.words}" if claim.words else "")


def fit_reading(name: str, lane: LaneFit) -> str:
    """One category of a fit; generalisation is told from memorisation only by answers checked on both sides."""
    sides = {name: getattr(lane, side) for side, name in SIDE_NAMES.items()}
    if lane.gap is None:
        lacking = next(side for side, own in sides.items() if not (own and own.correct))
        forced = [f"{side} {percent(own.token_accuracy)}" for side, own in sides.items() if own and own.tokens]
        more = f"; likeliest token right by teacher forcing: {', '.join(forced)}" if forced else ""
        return f"{name}: no answers to check on the {lacking} side{more}"
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


def readings(comparison: Comparison) -> list[str]:
    """Each declared lane in words, with every number that it rests on."""
    said, b = [], comparison.b.name
    for name, lane in _declared(comparison).items():
        change, p = lane.change, lane.p_corrected
        p_value = UNKNOWN if p is None else f"corrected p = {p_text(p)}".replace("= <", "<")
        seen = f"; visible {visible(lane)} points" if change.interval else ""
        measured = f"{between(change.interval, to)}, {of_problems(change.rows, change.clusters)}, {p_value}{seen}"
        direction = "higher" if change.value > 0 else "lower"
        size = f"{direction} than {comparison.a.name} by {abs(100 * change.value):.1f} points"
        inside = f"within ±{100 * comparison.margin:g} points ({points(change.value)} points, {measured})"
        words = {
            "equal": f"equal {inside}",
            "different": f"{b} is {size} ({measured})",
            "suggested": f"{b} is perhaps {size}, which is no claim ({measured})",
            "undecided": f"no difference shown, and too few problems or runs to call them equal {inside}",
        }[lane.finding]
        said.append(f"{name}: {words}" + (_retained(lane.gain, comparison) if lane.gain and lane.gain.kept_b else ""))
    return said


def notes(comparison: Comparison) -> list[str]:
    """What the intervals include, and what may disturb the comparison."""
    lines = [
        f"Intervals and tests include the variation between runs (seeds), estimated from {comparison.noise_from}."
        if comparison.overall.noise
        else "Intervals and tests cover the variation between problems, not between training runs: another seed may "
        "give another result. Give several runs an arm (--a … --b …), or how much runs differ (--noise)."
    ]
    if (noise := comparison.overall.noise) and noise.freedom < FEW_RUNS:
        lines.append("Two runs tell next to nothing of how much runs differ: one more makes intervals much narrower.")
    if left_out := comparison.pack.rows - len(comparison.a.rows):
        lines.append(f"Left out: {left_out} rows to which some run replied in a language that the rules do not read.")
    for field in _SAME_DECODING:
        values = [run.settings.get(field) for arm in comparison.arms for run in arm.runs]
        shown = list(dict.fromkeys("float32" if value == "auto" else str(value) for value in values))
        if len(shown) > 1:
            lines.append(f"The runs were decoded differently: {field} is {' and '.join(shown)}.")
    return [
        *lines,
        f"Declared: {', '.join(_declared(comparison))} (p corrected by Holm's method). All other lanes are explored: "
        "leads, no claims (Benjamini and Hochberg).",
        "Visible is the smallest difference that a lane shows with 80 % power; none below it is claimed.",
    ]


def _declared(comparison: Comparison) -> dict[str, Difference]:
    """The declared skills, and the declared categories that are more than the same rows once again."""
    found = {name: lane for name, lane in comparison.lanes["by_skill"].items() if lane.declared}
    for name, lane in comparison.lanes["by_category"].items():
        if lane.declared and all(lane is not other for other in found.values()):
            found[name] = lane
    return found


def _retained(gain: Gain, comparison: Comparison) -> str:
    kept = []
    for arm, own in ((comparison.b, gain.kept_b), (comparison.a, gain.kept_a)):
        if own:
            share, low, high = (round(100 * part) for part in (own.share, *own.ci95))
            verb = "kept " if arm is comparison.b else ""
            kept.append(f"{arm.name} {verb}{share} % (95 % interval {low} to {high} %)")
    top, start = comparison.peak or comparison.a, comparison.before
    return (
        f"; of the {100 * gain.change.value:.1f} points that {top.name} ({percent(gain.before + gain.change.value)}) "
        f"gained over {start.name if start else ''} ({percent(gain.before)}), {', '.join(kept)}"
    )
