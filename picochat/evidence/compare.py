"""Paired comparison. In: folders of `eval chat`, one or more an arm. Out: a `Comparison`. Next: compare_report.

Both arms answered the same rows, so a lane is compared row by row:

    row      1  2  3  4  5  6        A passes 4/6, B passes 5/6, difference B - A = +1/6
    A        ✓  ✓  ✓  ✗  ✓  ✗        only A: row 3; only B: rows 4 and 6; exact McNemar looks at these three
    B        ✓  ✓  ✗  ✓  ✓  ✓        flips: 3 lost, 4 and 6 gained

An arm of several runs (seeds) enters with each row's share of runs that passed, and the interval then includes how much
the runs differ from each other. With one run an arm it cannot, which the report's notes say.

Two more arms on the same rows measure the retained gain, that is, how far a later training stage forgot what an earlier
one taught (catastrophic forgetting):

    before 2 %, peak 98 %, B 80 %        B kept (80 - 2) / (98 - 2) = 81 % of the gain
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import correlation, mean
from typing import NamedTuple

from picochat.errors import UserError
from picochat.evidence import stats
from picochat.evidence.evaluation import Evaluation, RowFile
from picochat.evidence.lanes import GROUPINGS, Prediction, grouped
from picochat.evidence.read_back import read_eval
from picochat.evidence.stats import Interval

SIGNIFICANT = 0.05  # a corrected p below this is called a difference
_ONE_RUN = "exact McNemar"
_SEVERAL_RUNS = "the larger p of an exact sign test over rows and Welch's t over runs"


class Run(NamedTuple):
    """One evaluation that was read back from its folder."""

    folder: str
    evaluation: Evaluation


class Arm(NamedTuple):
    """Runs that differ by their seed only; `name` is for the reader."""

    name: str
    runs: list[Run]

    def rates(self, rows: Sequence[int]) -> list[float]:
        """Each run's share of `rows` (indices) that passed."""
        return [mean(run.evaluation.predictions[index].passed for index in rows) for run in self.runs]

    def shares(self, rows: Sequence[int]) -> list[float]:
        """Each row's share of runs that passed it."""
        return [mean(run.evaluation.predictions[index].passed for run in self.runs) for index in rows]


@dataclass(frozen=True)
class Kept:
    """A share of a gain, with its interval."""

    share: float
    ci95: Interval


@dataclass(frozen=True)
class Gain:
    """What the peak gained over the start, and the shares of it that A and B still have.

    The shares are None where no gain was shown, and `kept_a` also where A is the peak.
    """

    rate_before: float
    rate_peak: float
    gain: float
    ci95: Interval
    p: float
    kept_a: Kept | None
    kept_b: Kept | None
    p_holm: float = 1.0


@dataclass(frozen=True)
class Difference:
    """One lane, B minus A; `only_a` and `only_b` count rows, which several runs an arm make fractions.

    `ci95_rows` is the interval over rows alone, `ci95` also over runs where an arm has several.
    """

    n: int
    rate_a: float
    rate_b: float
    ci95_a: Interval
    ci95_b: Interval
    rates_a: list[float]
    rates_b: list[float]
    difference: float
    ci95: Interval
    ci95_rows: Interval
    both: float
    only_a: float
    only_b: float
    p: float
    test: str
    equal: bool
    gain: Gain | None = None
    p_holm: float = 1.0

    @property
    def finding(self) -> str:
        """What interval and corrected test say together.

        "equal": the whole interval lies within the margin. "different": both exclude no difference. "suggested": only
        one of them does, as with six rows that all flip (+44.8 to +100.0, p = 0.06). "undecided": neither.
        """
        excluded = not self.ci95.low <= 0 <= self.ci95.high
        return "equal" if self.equal else _FINDINGS[excluded + (self.p_holm < SIGNIFICANT)]


_FINDINGS = ("undecided", "suggested", "different")


class Flip(NamedTuple):
    """A row on which the arms differ by at least half of their runs, with a reply of either side."""

    direction: str  # "gained" or "lost", from A to B
    a: Prediction
    b: Prediction
    share_a: float
    share_b: float


@dataclass(frozen=True)
class Comparison:
    """Two arms on the same rows; `lanes` has every grouping. Without `peak` the gain meant is that of A."""

    pack: RowFile
    a: Arm
    b: Arm
    before: Arm | None
    peak: Arm | None
    margin: float
    overall: Difference
    lanes: Mapping[str, Mapping[str, Difference]]
    flips: list[Flip]

    @property
    def arms(self) -> list[Arm]:
        """All arms that there are."""
        return [arm for arm in (self.a, self.b, self.before, self.peak) if arm]


def compare_runs(
    arm_a: Sequence[str | Path],
    arm_b: Sequence[str | Path],
    *,
    before: Sequence[str | Path] = (),
    peak: Sequence[str | Path] = (),
    names: Sequence[str] = ("A", "B"),
    margin: float = 0.02,
) -> Comparison:
    """Compare two arms; the difference is always B - A.

    Args:
        arm_a, arm_b: folders that `eval chat` wrote.
        before: runs of the model that `peak` started from; shows how much of the gain of `peak` A and B retain.
        peak: runs of the model whose gain is meant; arm A where it is empty.
        names: of A, B and, where they are given, of before and peak.
        margin: arms whose whole interval lies within ± this share are called equal.

    Raises:
        UserError: a margin out of range, one name for two arms, a folder without evaluation, runs on different eval
            rows, the same run twice in an arm, or a peak without its start.
    """
    if peak and not before:
        raise UserError("--peak needs --before: a gain has a start")
    if not 0 < margin <= 1:
        raise UserError(f"--margin must be above 0 and at most 100 points, not {100 * margin:g}")
    groups = [list(map(str, group)) for group in (arm_a, arm_b, before, peak)]
    called: dict[str, list[str]] = {}
    named = list(zip([*names, *("before", "peak")[len(names) - 2 :]], groups, strict=True))
    for name, group in named:
        if group and called.setdefault(name, group) != group:  # A may be the peak as well
            raise UserError(f"two arms are called {name!r}; tell them apart with --name-a and --name-b")
    arms = [Arm(name, [Run(folder, read_eval(folder)) for folder in group]) if group else None for name, group in named]
    a, b, start, top = arms
    if a is None or b is None:
        raise UserError("a comparison needs runs in both arms")
    _check([arm for arm in arms if arm])

    def lane(rows: Sequence[int]) -> Difference:
        difference = _difference(rows, a, b, margin)
        return replace(difference, gain=_gain(rows, start, top or a, a, b)) if start else difference

    first = a.runs[0].evaluation
    lanes = {}
    for grouping in GROUPINGS:
        members = grouped(first.predictions, grouping).items()
        lanes[grouping] = _corrected({name: lane([row.index for row in rows]) for name, rows in members})
    overall = _corrected({"overall": lane(range(len(first.predictions)))})["overall"]
    return Comparison(first.pack, a, b, start, top, margin, overall, lanes, _flips(a, b))


def _check(arms: Sequence[Arm]) -> None:
    """All runs answered the same rows, and no run is in an arm twice."""
    first = arms[0].runs[0]
    for arm in arms:
        seen: dict[tuple[str, object], str] = {}
        for folder, evaluation in arm.runs:
            rows, others = first.evaluation.pack.sha256, evaluation.pack.sha256
            if rows != others:
                raise UserError(
                    f"{first.folder} and {folder} answered different eval rows (sha256 {rows[:12]} and {others[:12]}); "
                    "run `eval chat` with the same --input for both"
                )
            # The same weights may count twice only when sampling made the replies differ.
            settings = evaluation.settings
            key = (evaluation.model.sha256, settings["seed"] if settings["temperature"] else None)
            if key in seen:
                raise UserError(
                    f"{seen[key]} and {folder} are the same weights; each run of an arm must be a training of its own"
                )
            seen[key] = folder


def _difference(rows: Sequence[int], a: Arm, b: Arm, margin: float = 0.0) -> Difference:
    """`b` minus `a` on some rows; see the module's drawing."""
    n, rates_a, rates_b, shares_a, shares_b = len(rows), a.rates(rows), b.rates(rows), a.shares(rows), b.shares(rows)
    pairs = list(zip(shares_a, shares_b, strict=True))
    both = sum(x * y for x, y in pairs)
    only_a, only_b = sum(shares_a) - both, sum(shares_b) - both
    value, spread = mean(rates_b) - mean(rates_a), stats.run_spread(rates_a, rates_b)
    over_rows = stats.paired_difference(both, only_b, only_a, max(0.0, n - both - only_a - only_b))
    whole = stats.widen(value, over_rows, spread.half)
    p_rows = stats.mcnemar_exact(sum(x > y for x, y in pairs), sum(x < y for x, y in pairs))
    return Difference(
        n=n,
        rate_a=mean(rates_a),
        rate_b=mean(rates_b),
        ci95_a=stats.wilson(sum(shares_a), n),
        ci95_b=stats.wilson(sum(shares_b), n),
        rates_a=rates_a,
        rates_b=rates_b,
        difference=value,
        ci95=whole,
        ci95_rows=over_rows,
        both=both,
        only_a=only_a,
        only_b=only_b,
        p=p_rows if spread.p_value is None else max(p_rows, spread.p_value),
        test=_ONE_RUN if spread.p_value is None else _SEVERAL_RUNS,
        equal=-margin <= whole.low and whole.high <= margin,
    )


def _gain(rows: Sequence[int], start: Arm, top: Arm, a: Arm, b: Arm) -> Gain:
    gain = _difference(rows, start, top)

    def kept(arm: Arm) -> Kept | None:
        if gain.ci95.low <= 0 or arm is top:
            return None
        left, before = _difference(rows, start, arm), start.shares(rows)
        own = [x - y for x, y in zip(arm.shares(rows), before, strict=True)]
        peak = [x - y for x, y in zip(top.shares(rows), before, strict=True)]
        together = correlation(own, peak) if len(set(own)) > 1 and len(set(peak)) > 1 else 0.0
        # The rows' errors go together, those of the runs do not: the more of a width comes from runs, the less they do.
        for part in (left, gain):
            together *= (part.ci95_rows.high - part.ci95_rows.low) / max(part.ci95.high - part.ci95.low, 1e-12)
        ends = stats.share_of_gain(left.difference, left.ci95, gain.difference, gain.ci95, min(1.0, together))
        return Kept(left.difference / gain.difference, ends) if ends else None

    return Gain(gain.rate_a, gain.rate_b, gain.difference, gain.ci95, gain.p, kept(a), kept(b))


def _corrected(lanes: Mapping[str, Difference]) -> dict[str, Difference]:
    """The lanes with `p_holm`; nothing is said to be kept of a gain that is not significant."""
    corrected = {}
    p_gains = iter(stats.holm([lane.gain.p for lane in lanes.values() if lane.gain]))
    for (name, lane), p_holm in zip(lanes.items(), stats.holm([lane.p for lane in lanes.values()]), strict=True):
        gain = lane.gain and replace(lane.gain, p_holm=next(p_gains))
        if gain and gain.p_holm >= SIGNIFICANT:
            gain = replace(gain, kept_a=None, kept_b=None)
        corrected[name] = replace(lane, p_holm=p_holm, gain=gain)
    return corrected


def _flips(a: Arm, b: Arm) -> list[Flip]:
    rows = range(len(a.runs[0].evaluation.predictions))
    flips = []
    for index, share_a, share_b in zip(rows, a.shares(rows), b.shares(rows), strict=True):
        if abs(share_a - share_b) >= 0.5:
            gained = share_b > share_a
            reply_a, reply_b = (
                next(reply for run in arm.runs if (reply := run.evaluation.predictions[index]).passed == passed)
                for arm, passed in ((a, not gained), (b, gained))
            )
            flips.append(Flip("gained" if gained else "lost", reply_a, reply_b, share_a, share_b))
    return flips
