"""Paired comparison. In: folders of `eval chat`, one or more an arm. Out: a `Comparison`. Next: compare_report.

Both arms answered the same rows, so a lane is compared row by row, and rows of one problem count once:

    problem  7x8     7x8     3x9         A passes 1/3, B passes 3/3, difference B - A = +2/3
    A        no      no      yes         gained: rows 1 and 2, both of 7x8: one piece of evidence
    B        yes     yes     yes         test and interval: evidence.clusters

An arm of several runs (seeds) enters with each row's share of runs that passed; how much runs differ is estimated from
all arms and lanes together (evidence.arms), and interval and test then speak of recipes. With one run an arm they
speak of these models, unless `noise` says how much runs differ.

Lanes are *declared* (the skills, unless others are named) or *explored* (all others). Declared ones are corrected by
Holm's method, explored ones by Benjamini and Hochberg's. A lane of the same rows as another is the same test: it is
counted once.

Two more arms on the same rows measure the retained gain, that is, how far a later training stage forgot what an earlier
one taught (catastrophic forgetting):

    before 2 %, peak 98 %, B 80 %        B kept (80 - 2) / (98 - 2) = 81 % of the gain
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import correlation
from typing import NamedTuple

from picochat.errors import UserError
from picochat.evidence.arms import Arm, Noise, noise_between, read_arms
from picochat.evidence.clusters import (
    ClusteredDifference,
    ClusteredRate,
    Interval,
    cluster_sums,
    clustered_difference,
    clustered_rate,
    share_of_gain,
)
from picochat.evidence.evaluation import Evaluation, RowFile
from picochat.evidence.lanes import GROUPINGS, Prediction, grouped
from picochat.evidence.runs import RunNoise, corrected, smallest_visible

SIGNIFICANT = 0.05  # a corrected p below this, of an effect that could have been seen, is called a difference


class Kept(NamedTuple):
    """A share of a gain, with its interval."""

    share: float
    ci95: Interval


@dataclass(frozen=True)
class Gain:
    """What the peak gained over the start (of rate `before`), and the shares of it that A and B still have.

    The shares are None where no gain was shown, and `kept_a` also where A is the peak.
    """

    before: float
    change: ClusteredDifference
    kept_a: Kept | None
    kept_b: Kept | None


@dataclass(frozen=True)
class Difference:
    """One lane.

    Attributes:
        a, b: rates over all runs, with intervals over problems; `rates_a` and `rates_b` are of each run.
        change: B minus A, over problems, and over runs where `noise` is known.
        lost, gained: rows; several runs an arm make them fractions.
        p_corrected: None where the variation of runs is unknown: a claim about two models is none about recipes.
        declared: whether it is corrected by Holm's method, among what was declared.
        visible: the smallest difference that the lane would have shown with 80 % power; None where it has no interval.
        finding: see `_finding`.
    """

    a: ClusteredRate
    b: ClusteredRate
    rates_a: list[float]
    rates_b: list[float]
    change: ClusteredDifference
    noise: RunNoise | None
    lost: float
    gained: float
    p_corrected: float | None
    declared: bool
    visible: float | None
    finding: str
    gain: Gain | None


class _Lane(NamedTuple):
    """Rows that are compared, as indices; several names may stand for the same rows."""

    rows: list[int]
    clusters: list[str]
    noise: RunNoise | None
    tests: int  # how many lanes are declared, if it is one of them; 0: it is explored


@dataclass(frozen=True)
class Flip:
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
    noise_from: str
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
    noise: Noise | None = None,
    noise_from: str = "",
    declared: Sequence[str] = (),
) -> Comparison:
    """Compare two arms; the difference is always B - A.

    Args:
        arm_a, arm_b: folders that `eval chat` wrote.
        before: runs of the model that `peak` started from; shows how much of the gain of `peak` A and B retain.
        peak: runs of the model whose gain is meant; arm A where it is empty.
        names: of A, B and, where they are given, of before and peak.
        margin: arms whose whole interval lies within ± this share are called equal.
        noise: how much runs differ (`arms.read_noise`), in place of the spread of these runs.
        noise_from: where it comes from, for the reader.
        declared: skills or categories that the comparison was made for; every skill by default.

    Raises:
        UserError: a margin out of range, one name for two arms, a folder without evaluation, runs on different eval
            rows, the same run twice in an arm, a peak without its start, or an unknown declared lane.
    """
    if peak and not before:
        raise UserError("--peak needs --before: a gain has a start")
    if not 0 < margin <= 1:
        raise UserError(f"--margin must be above 0 and at most 100 points, not {100 * margin:g}")
    a, b, start, top = read_arms((arm_a, arm_b, before, peak), [*names, *("before", "peak")[len(names) - 2 :]])
    if a is None or b is None:
        raise UserError("a comparison needs runs in both arms")
    first = a.runs[0].evaluation
    if noise is None:  # an arm that is given twice (A as the peak) is one arm
        different = {tuple(run.folder for run in arm.runs): arm for arm in (a, b, start, top) if arm}.values()
        noise = noise_between([*different])
        noise_from = "these runs"
    lanes, place = _lanes(first, noise, declared)
    gains = _gains(lanes, start, top or a, a, b) if start else [None] * len(lanes)
    found = [_difference(*one, a, b, margin) for one in zip(lanes, _changes(lanes, a, b), gains, strict=True)]
    groupings = {
        grouping: {name: found[at] for (own, name), at in place.items() if own == grouping} for grouping in GROUPINGS
    }
    overall = found[place["overall", "overall"]]
    return Comparison(first.pack, a, b, start, top, margin, noise_from, overall, groupings, _flips(a, b))


def _lanes(first: Evaluation, noise: Noise, declared: Sequence[str]) -> tuple[list[_Lane], dict[tuple[str, str], int]]:
    """The different lanes, and the place among them of each (grouping, lane); the declared ones come first."""
    rows = {("by_skill", name): own for name, own in grouped(first.predictions, "by_skill").items()}
    named = [("by_skill", name) for name in declared] or list(rows)
    for grouping in GROUPINGS:
        rows |= {(grouping, name): own for name, own in grouped(first.predictions, grouping).items()}
    rows["overall", "overall"] = list(first.predictions)
    named = [key if key in rows else ("by_category", key[1]) for key in named]
    for _, name in (key for key in named if key not in rows):
        known = ", ".join(dict.fromkeys(name for own, name in rows if own in ("by_skill", "by_category")))
        raise UserError(f"--declare {name}: these rows have no such skill or category, but {known}")
    at = {row.index: number for number, row in enumerate(first.predictions)}
    tests = len({tuple(row.index for row in rows[key]) for key in named})
    lanes: list[_Lane] = []
    place: dict[tuple[int, ...], int] = {}
    for key in (*named, *rows):
        indices = tuple(at[row.index] for row in rows[key])
        if place.setdefault(indices, len(lanes)) == len(lanes):
            own = noise.get(key[0], {}).get(key[1])
            lanes.append(_Lane(list(indices), [row.cluster for row in rows[key]], own, tests if key in named else 0))
    return lanes, {key: place[tuple(at[row.index] for row in own)] for key, own in rows.items()}


def _changes(lanes: Sequence[_Lane], one: Arm, other: Arm) -> list[tuple[ClusteredDifference, float]]:
    """`other` minus `one` in each lane, and the corrected p-value."""
    found = [_between(lane, one, other) for lane in lanes]
    p_values = corrected([change.p_value for change in found], [lane.tests > 0 for lane in lanes])
    return list(zip(found, p_values, strict=True))


def _between(lane: _Lane, one: Arm, other: Arm) -> ClusteredDifference:
    return clustered_difference(one.scores[:, lane.rows], other.scores[:, lane.rows], lane.clusters, lane.noise)


def _difference(
    lane: _Lane, found: tuple[ClusteredDifference, float], gain: Gain | None, a: Arm, b: Arm, margin: float
) -> Difference:
    (change, p_value), (own_a, own_b) = found, (arm.scores[:, lane.rows] for arm in (a, b))
    visible = smallest_visible(change.error, change.freedom, lane.tests or 1) if change.interval else None
    return Difference(
        a=clustered_rate(own_a.mean(0), lane.clusters),
        b=clustered_rate(own_b.mean(0), lane.clusters),
        rates_a=own_a.mean(1).tolist(),
        rates_b=own_b.mean(1).tolist(),
        change=change,
        noise=lane.noise,
        lost=float((own_a.mean(0) * (1 - own_b.mean(0))).sum()),
        gained=float((own_b.mean(0) * (1 - own_a.mean(0))).sum()),
        p_corrected=p_value if lane.noise else None,
        declared=lane.tests > 0,
        visible=visible,
        finding=_finding(change, p_value, visible, margin),
        gain=gain,
    )


def _finding(change: ClusteredDifference, p_value: float, visible: float | None, margin: float) -> str:
    """What interval, corrected test and power say together.

    "equal": the whole interval lies within the margin. "different": the corrected test says so, of a difference that
    the rows could be expected to show. "suggested": interval or test exclude none, but not all of that: no claim.
    "undecided": nothing does.
    """
    if change.interval and -margin <= change.interval.low and change.interval.high <= margin:
        return "equal"
    if p_value < SIGNIFICANT and visible is not None and abs(change.value) >= visible:
        return "different"
    return "suggested" if change.p_value < SIGNIFICANT else "undecided"


def _gains(lanes: Sequence[_Lane], start: Arm, top: Arm, a: Arm, b: Arm) -> list[Gain | None]:
    """What `top` gained over `start`, and what A and B kept of it; nothing is kept of a gain that is not shown."""

    def kept(arm: Arm, lane: _Lane, gain: ClusteredDifference) -> Kept | None:
        left = _between(lane, start, arm)
        if arm is top or left.interval is None or gain.interval is None:
            return None
        own = [(one.scores - start.scores.mean(0))[:, lane.rows].mean(0) for one in (arm, top)]
        sums = cluster_sums(own, lane.clusters)[0]
        # The errors of problems go together, those of runs do not.
        together = correlation(*sums.tolist()) if lane.noise is None and sums.std(1).all() else 0.0
        ends = share_of_gain(left.value, left.interval, gain.value, gain.interval, together)
        return Kept(left.value / gain.value, ends) if ends else None

    gains: list[Gain | None] = []
    for lane, (gain, p_value) in zip(lanes, _changes(lanes, start, top), strict=True):
        shares = [kept(arm, lane, gain) if p_value < SIGNIFICANT else None for arm in (a, b)]
        gains.append(Gain(float(start.scores[:, lane.rows].mean()), gain, *shares))
    return gains


def _flips(a: Arm, b: Arm) -> list[Flip]:
    flips = []
    for index, (share_a, share_b) in enumerate(zip(a.scores.mean(0).tolist(), b.scores.mean(0).tolist(), strict=True)):
        if abs(share_a - share_b) >= 0.5:
            gained = share_b > share_a
            reply_a, reply_b = (
                next(reply for run in arm.runs if (reply := run.evaluation.predictions[index]).passed == passed)
                for arm, passed in ((a, not gained), (b, gained))
            )
            flips.append(Flip("gained" if gained else "lost", reply_a, reply_b, share_a, share_b))
    return flips
