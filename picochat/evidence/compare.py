"""Paired comparison. In: folders of `eval chat`, one or more an arm. Out: a `Comparison`. Next: report.

Both arms answered the same rows, so a lane is compared row by row, and rows of one problem count once:

    problem  7x8     7x8     3x9         A passes 1/3, B passes 3/3, difference B - A = +2/3
    A        no      no      yes         gained: rows 1 and 2, both of 7x8: one piece of evidence
    B        yes     yes     yes         test and interval: evidence.clusters

Several runs (seeds) an arm enter with each row's share of runs that passed; interval and test then speak of recipes,
as they do with `noise` (evidence.arms), and else of these models. Lanes are *declared* (the skills, unless others are
named) and corrected by Holm's method, or *explored* and corrected by Benjamini and Hochberg's; a lane of the same rows
as another is the same test. Two more arms measure how far a later training stage forgot what an earlier one taught
(catastrophic forgetting):

    before 2 %, peak 98 %, B 80 %        B kept (80 - 2) / (98 - 2) = 81 % of the gain
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import correlation
from typing import NamedTuple

from picochat.errors import UserError
from picochat.evidence.arms import OVERALL, Arm, Key, Noise, noise_between, places_of, read_arms
from picochat.evidence.clusters import (
    ClusteredDifference,
    ClusteredRate,
    Interval,
    cluster_sums,
    clustered_difference,
    clustered_rate,
    share_of_gain,
)
from picochat.evidence.evaluation import RowFile
from picochat.evidence.lanes import GROUPINGS, Prediction
from picochat.evidence.runs import RunNoise, corrected, smallest_visible

SIGNIFICANT = 0.05  # a corrected p below this, of an effect that could have been seen, is called a difference


class Kept(NamedTuple):
    """A share of a gain, with its interval."""

    share: float
    ci95: Interval


@dataclass(frozen=True)
class Gain:
    """What the peak gained over the start's rate, and what A and B kept of it; None where no gain was shown, and for A
    where it is the peak."""

    before: float
    change: ClusteredDifference
    kept_a: Kept | None
    kept_b: Kept | None


@dataclass(frozen=True)
class Difference:
    """One lane.

    `finding` is "equal" where the whole interval lies within the margin; "different" where the corrected test says so,
    of a difference that the rows could be expected to show; "suggested", which is no claim, where the test before
    correction says so; else "undecided".
    """

    a: ClusteredRate  # over all runs; the interval is over problems
    b: ClusteredRate
    rates_a: list[float]  # of each run
    rates_b: list[float]
    change: ClusteredDifference  # B minus A, over problems, and over runs where `noise` is known
    noise: RunNoise | None
    lost: float  # rows; several runs an arm make them fractions
    gained: float
    p_corrected: float | None  # None where `noise` is unknown: a claim about two models is none about recipes
    declared: bool
    visible: float | None  # the smallest difference that is shown with 80 % power; None without an interval
    finding: str
    gain: Gain | None


@dataclass(frozen=True)
class Flip:
    """A row on which the arms differ by at least half of their runs, with a reply of either side."""

    direction: str  # "gained" or "lost", from A to B
    a: Prediction
    b: Prediction


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
        return [arm for arm in (self.a, self.b, self.before, self.peak) if arm]


class _Lane(NamedTuple):
    """Places of the rows that are compared; several names may stand for the same rows."""

    rows: list[int]
    clusters: list[str]
    noise: RunNoise | None
    tests: int  # how many lanes are declared, if it is one of them; 0: it is explored

    def change(self, one: Arm, other: Arm) -> ClusteredDifference:
        """`other` minus `one`."""
        return clustered_difference(one.scores[:, self.rows], other.scores[:, self.rows], self.clusters, self.noise)


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
        noise, noise_from: how much runs differ (`arms.read_noise`) and its source, in place of these runs' own spread.
        declared: skills or categories that the comparison was made for; every skill by default.
    """
    if peak and not before:
        raise UserError("--peak needs --before: a gain has a start")
    if not 0 < margin <= 1:
        raise UserError(f"--margin must be above 0 and at most 100 points, not {100 * margin:g}")
    a, b, start, top = read_arms((arm_a, arm_b, before, peak), [*names, *("before", "peak")[len(names) - 2 :]])
    if a is None or b is None:
        raise UserError("a comparison needs runs in both arms")
    if noise is None:  # an arm that is given twice (A as the peak) is one arm
        different = {tuple(run.folder for run in arm.runs): arm for arm in (a, b, start, top) if arm}
        noise, noise_from = noise_between(list(different.values())), "these runs"
    places = places_of(a.rows)
    lanes = _lanes(a.rows, places, noise, declared)
    changes = _changes(list(lanes.values()), a, b)
    gains = _gains(list(lanes.values()), start, top or a, a, b) if start else [None] * len(lanes)
    every = zip(lanes.items(), changes, gains, strict=True)
    found = {own: _difference(lane, *change, gain, a, b, margin) for (own, lane), change, gain in every}
    groupings = {
        grouping: {name: found[own] for (other, name), own in places.items() if other == grouping}
        for grouping in GROUPINGS
    }
    overall, pack = found[places[OVERALL]], a.runs[0].pack
    return Comparison(pack, a, b, start, top, margin, noise_from, overall, groupings, _flips(a, b))


def _lanes(
    rows: Sequence[Prediction], places: Mapping[Key, tuple[int, ...]], noise: Noise, declared: Sequence[str]
) -> dict[tuple[int, ...], _Lane]:
    """Each different lane by the places of its rows; the declared ones come first."""
    skills = [key for key in places if key[0] == "by_skill"]
    named = [key if (key := ("by_skill", name)) in places else ("by_category", name) for name in declared] or skills
    for _, name in (key for key in named if key not in places):
        known = dict.fromkeys(name for grouping, name in places if grouping in ("by_skill", "by_category"))
        raise UserError(f"--declare {name}: these rows have no such skill or category, but {', '.join(known)}")
    for _, name in (key for key in named if noise and key not in noise):
        raise UserError(f"--noise: these runs answered no rows of {name}; name runs that did, or --declare other lanes")
    tests = len({places[key] for key in named})
    lanes: dict[tuple[int, ...], _Lane] = {}
    for key in (*named, *skills, *places):
        own = places[key]
        clusters = [rows[place].cluster for place in own]
        lanes.setdefault(own, _Lane(list(own), clusters, noise.get(key), tests if key in named else 0))
    return lanes


def _changes(lanes: Sequence[_Lane], one: Arm, other: Arm) -> list[tuple[ClusteredDifference, float]]:
    """`other` minus `one` in each lane, and the corrected p-value."""
    found = [lane.change(one, other) for lane in lanes]
    p_values = corrected([change.p_value for change in found], [lane.tests > 0 for lane in lanes])
    return list(zip(found, p_values, strict=True))


def _difference(
    lane: _Lane, change: ClusteredDifference, p_value: float, gain: Gain | None, a: Arm, b: Arm, margin: float
) -> Difference:
    own_a, own_b = (arm.scores[:, lane.rows] for arm in (a, b))
    share_a, share_b = own_a.mean(0), own_b.mean(0)
    visible = smallest_visible(change.error, change.freedom, lane.tests or 1) if change.interval else None
    finding = "suggested" if change.p_value < SIGNIFICANT else "undecided"
    if p_value < SIGNIFICANT and visible is not None and abs(change.value) >= visible:
        finding = "different"
    if change.interval and -margin <= change.interval.low and change.interval.high <= margin:
        finding = "equal"
    return Difference(
        a=clustered_rate(share_a, lane.clusters),
        b=clustered_rate(share_b, lane.clusters),
        rates_a=own_a.mean(1).tolist(),
        rates_b=own_b.mean(1).tolist(),
        change=change,
        noise=lane.noise,
        lost=float((share_a * (1 - share_b)).sum()),
        gained=float((share_b * (1 - share_a)).sum()),
        p_corrected=p_value if lane.noise else None,
        declared=lane.tests > 0,
        visible=visible,
        finding=finding,
        gain=gain,
    )


def _gains(lanes: Sequence[_Lane], start: Arm, top: Arm, a: Arm, b: Arm) -> list[Gain | None]:
    """What `top` gained over `start`, and what A and B kept of it; nothing is kept of a gain that is not shown."""

    def kept(arm: Arm, lane: _Lane, gain: ClusteredDifference) -> Kept | None:
        left = lane.change(start, arm)
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
    def reply(arm: Arm, row: int, passed: bool) -> Prediction:
        return next(run.predictions[row] for run in arm.runs if run.predictions[row].passed == passed)

    flips = []
    for row, change in enumerate(b.scores.mean(0) - a.scores.mean(0)):
        if abs(change) >= 0.5:
            gained = bool(change > 0)
            flips.append(Flip("gained" if gained else "lost", reply(a, row, not gained), reply(b, row, gained)))
    return flips
