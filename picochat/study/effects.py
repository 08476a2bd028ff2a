"""Effect of each training lane on each eval lane. In: signs and scores of runs. Out: `Effects`. Next: the report.

            lanes     rows of an eval lane
            a b       problem 1  problem 2
    run 0   + +       1 1 0 1    1 0          effect of lane b on it = mean of the runs with b - mean of those without:
    run 1   + -       1 0 0 1    0 0          on - off
    …

Intervals are 95 % and cross runs with problems: they speak of new seeds and new problems. What was declared before the
runs is corrected by Holm's method; the rest is exploratory and corrected by Benjamini and Hochberg's.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import stdtr, stdtrit

from picochat.errors import UserError
from picochat.evidence import runs
from picochat.evidence.clusters import Interval, cluster_sums
from picochat.study.design import Array, contrasts, noise_columns

SURE, EXPLORED = 0.05, 0.10  # family-wise error of declared effects; share of false discoveries among the others
Sums = tuple[Array, Array]  # of an eval lane: scores by run and problem (R, G), rows of each problem (G,)


class Result(NamedTuple):
    """One row of one run; `score` is 100 for a pass and 0 for a failure (points), or the nll of the answer in nats."""

    run: int
    lane: str
    cluster: str
    row: str
    score: float


@dataclass(frozen=True)
class Effect:
    """What a lane does to an eval lane, on - off, in the unit of the scores.

    Attributes:
        lane: trained; "a × b" is half the difference that b makes to the effect of a, "curvature" centre - mean arm.
        on: the eval lane.
        corrected: `p_value` by Holm's method where `declared`, by Benjamini and Hochberg's elsewhere.
        found: `corrected` is at most 0.05, or 0.10 where not declared.
        smallest_visible: what it would have found with 80 % power; None where the interval excludes 0.
    """

    lane: str
    on: str
    value: float
    interval: Interval
    error: float
    freedom: float
    p_value: float
    declared: bool = False
    corrected: float = 1.0
    found: bool = False
    smallest_visible: float | None = None


@dataclass(frozen=True)
class Effects:
    """What a study found.

    Attributes:
        cells: lanes × eval lanes, then pairs of lanes × eval lanes, then curvature.
        noise: of runs, by eval lane, moderated over lanes.
        same_arm: comparisons of two runs of one arm (A/A), and how many of them a test at 5 % calls different: by rows
            alone, as with one run an arm, and with the runs' noise.
    """

    cells: tuple[Effect, ...]
    noise: dict[str, runs.RunNoise]
    same_arm: tuple[int, int, int]


def estimate(
    lanes: Sequence[str],
    signs: ArrayLike,
    scores: Mapping[str, Sums],
    *,
    declared: Iterable[tuple[str, str]] = (),
    interactions: bool = False,
) -> Effects:
    """All effects of a study.

    Args:
        lanes: trained, one a column of `signs`.
        signs: a row a run: 1 in, -1 out, 0 half (R, L).
        scores: of each eval lane, as `by_lane` makes them of rows.
        declared: (lane, eval lane) named before the runs; a lane on the eval lane of its own name always is.
        interactions: pairs of lanes too; needs arms of resolution V.

    Raises:
        UserError: arms that do not tell the lanes apart, no arm that ran twice, or an unknown declared effect.
    """
    weights, columns = contrasts(signs, interactions=interactions), noise_columns(signs)
    raw = {on: found for on, sums in scores.items() if (found := runs.run_noise(*sums, columns))}
    if len(raw) < len(scores):
        raise UserError("no arm ran twice, so nothing tells effects from noise: add full or centre runs")
    noise = dict(zip(raw, runs.moderate(list(raw.values())), strict=True))
    names = [*lanes, *(f"{a} × {b}" for a, b in combinations(lanes, 2) if interactions)]
    names += ["curvature"] if (np.asarray(signs) == 0).all(1).any() else []
    for lane, on in (named := set(declared)):
        if lane not in names or on not in scores:
            raise UserError(f"declared effect of {lane} on {on}: one of them is not in this study")
    named |= {(lane, lane) for lane in lanes}
    cells = [
        replace(_effect(name, on, row, sums, noise[on]), declared=(name, on) in named)
        for name, row in zip(names, weights, strict=True)
        for on, sums in scores.items()
    ]
    return Effects(_corrected(cells), noise, _same_arm(np.asarray(signs), scores, noise))


def by_lane(results: Iterable[Result], count: int) -> dict[str, Sums]:
    """Scores by run and problem for each eval lane; UserError where one of the `count` runs lacks a row."""
    table: dict[str, dict[tuple[str, str], dict[int, float]]] = {}
    for one in results:
        table.setdefault(one.lane, {}).setdefault((one.cluster, one.row), {})[one.run] = one.score
    for lane, rows in table.items():
        for (_, row), by_run in rows.items():
            if missing := set(range(count)) - by_run.keys():
                raise UserError(f"run {min(missing)} has no row {row} of {lane}: evaluate all runs on the same rows")
    return {
        lane: cluster_sums([[row[run] for row in rows.values()] for run in range(count)], [key[0] for key in rows])
        for lane, rows in table.items()
    }


def _effect(lane: str, on: str, weights: Array, sums: Sums, noise: runs.RunNoise | None) -> Effect:
    cells, sizes = sums
    value = float(weights @ cells.sum(1) / sizes.sum())
    variance, freedom = runs.crossed_variance(weights @ cells, sizes, float(weights @ weights), noise)
    error = float(np.sqrt(variance))
    half = float(stdtrit(freedom, 0.975)) * error
    p_value = 2 * float(stdtr(freedom, -abs(value) / error)) if error else float(value == 0)
    return Effect(lane, on, value, Interval(value - half, value + half), error, freedom, p_value)


def _corrected(cells: list[Effect]) -> tuple[Effect, ...]:
    """The cells, each with its place among those that are corrected with it."""
    p_values = runs.corrected([cell.p_value for cell in cells], [cell.declared for cell in cells])
    tests = sum(cell.declared for cell in cells)
    made = []
    for cell, p_value in zip(cells, p_values, strict=True):
        seen = runs.smallest_visible(cell.error, cell.freedom, tests if cell.declared else 1)
        hidden = seen if cell.interval.low <= 0 <= cell.interval.high else None
        found = p_value <= (SURE if cell.declared else EXPLORED)
        made.append(replace(cell, corrected=p_value, found=found, smallest_visible=hidden))
    return tuple(made)


def _same_arm(signs: Array, scores: Mapping[str, Sums], noise: Mapping[str, runs.RunNoise]) -> tuple[int, int, int]:
    pairs = [(i, j) for i, j in combinations(range(len(signs)), 2) if (signs[i] == signs[j]).all()]
    alarms = np.zeros(2, dtype=int)
    for pair in pairs:
        weights = np.zeros(len(signs))
        weights[list(pair)] = -1, 1
        for on, sums in scores.items():
            alarms += [_effect("", on, weights, sums, known).p_value < SURE for known in (None, noise[on])]
    return len(pairs) * len(scores), int(alarms[0]), int(alarms[1])
