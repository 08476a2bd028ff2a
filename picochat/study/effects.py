"""Effect of each training lane on each eval lane. In: signs and scores of runs. Out: `Effects`. Next: the report.

            lanes     rows of an eval lane
            a b       problem 1  problem 2
    run 0   + +       1 1 0 1    1 0          effect of lane b on it = mean of the runs with b - mean of those without
    run 1   + -       1 0 0 1    0 0
    …

Intervals are 95 % and cross runs with problems: they speak of new seeds and new problems. What was declared before the
runs is corrected by Holm's method; the rest is exploratory and corrected by Benjamini and Hochberg's.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import fdtrc, stdtr, stdtrit

from picochat.errors import UserError
from picochat.evidence import runs
from picochat.evidence.clusters import Interval, cluster_sums
from picochat.study.design import CURVATURE, Array, contrasts, model_columns, noise_columns

POINTS, NATS = "points", "nats a token"  # units: rows that pass, in per cent; nll of the reference reply
SURE, EXPLORED = 0.05, 0.10  # family-wise error of declared effects; share of false discoveries among the others
Sums = tuple[Array, Array]  # of an eval lane: scores by run and problem (R, G), rows of each problem (G,)


class Result(NamedTuple):
    """A row of a run: eval lane, problem, name, 0 to 1 (None: the rules cannot judge it), nll of its reference."""

    lane: str
    cluster: str
    row: str
    score: float | None
    nll: float | None = None


@dataclass(frozen=True)
class Effect:
    """What a lane does to an eval lane, on - off, in the unit of the scores."""

    lane: str  # trained; "a × b" is half the difference that b makes to the effect of a, "curvature" centre - mean arm
    on: str  # the eval lane
    value: float
    interval: Interval
    error: float
    freedom: float
    p_value: float
    declared: bool = False
    corrected: float = 1.0  # p_value by Holm's method where declared, by Benjamini and Hochberg's elsewhere
    found: bool = False  # corrected is at most 0.05, or 0.10 where not declared
    smallest_visible: float | None = None  # with 80 % power; None where the interval excludes 0


@dataclass(frozen=True)
class Effects:
    """What a study found."""

    cells: tuple[Effect, ...]  # lanes × eval lanes, then pairs of lanes × eval lanes, then curvature
    noise: dict[str, runs.RunNoise]  # by eval lane, moderated over lanes
    # comparisons of two runs of one arm (A/A); those that a test at 5 % calls different by rows alone; by runs too
    same_arm: tuple[int, int, int]
    beyond: tuple[str, ...] = ()  # eval lanes on which arms differ by more than lanes that add up, and noise, explain


def estimate(
    lanes: Sequence[str],
    signs: ArrayLike,
    scores: Mapping[str, Sums],
    *,
    declared: Iterable[tuple[str, str]] = (),
    interactions: bool = False,
) -> Effects:
    """All effects of a study, of pairs of lanes too with `interactions`, which need arms of resolution V.

    `scores` are a unit of `by_lane`; `declared` holds (lane, eval lane) named before the runs, to which that of each
    lane on its own name is added. UserError: arms that do not tell the lanes apart, or none that ran twice.
    """
    weights, columns = contrasts(signs, interactions=interactions), noise_columns(signs)
    raw = [found for sums in scores.values() if (found := runs.run_noise(*sums, columns))]
    if len(raw) < len(scores):
        raise UserError("no arm ran twice, so nothing tells effects from noise: add full or centre runs")
    noise = dict(zip(scores, runs.moderate(raw), strict=True))
    names = [*lanes, *(f"{a} × {b}" for a, b in combinations(lanes, 2) if interactions)]
    names += [CURVATURE] if (np.asarray(signs) == 0).all(1).any() else []
    named = {*declared, *((lane, lane) for lane in lanes)}
    cells = [
        replace(_effect(name, on, row, sums, noise[on]), declared=(name, on) in named)
        for name, row in zip(names, weights, strict=True)
        for on, sums in scores.items()
    ]
    beyond = () if interactions else _beyond(signs, scores, noise)
    return Effects(correct(cells), noise, _same_arm(np.asarray(signs), scores, noise), beyond)


def by_lane(results: Sequence[Iterable[Result]]) -> dict[str, dict[str, Sums]]:
    """Unit → eval lane → scores by run and problem; a row that some run lacks a verdict of has no points.

    UserError: a run lacks a row, or every row lacks a verdict.
    """
    tables: dict[str, Any] = {unit: defaultdict(lambda: defaultdict(dict)) for unit in (POINTS, NATS)}
    scored = [list(rows) for rows in results]
    unjudged = {(one.lane, one.row) for rows in scored for one in rows if one.score is None}
    for run, rows in enumerate(scored):
        for lane, cluster, row, score, nll in rows:
            if score is not None and (lane, row) not in unjudged:
                tables[POINTS][lane][cluster, row][run] = 100 * score
            if nll is not None:
                tables[NATS][lane][cluster, row][run] = nll
    if not tables[POINTS]:
        raise UserError("there is no row that the rules could judge in every run: nothing is to be reported")
    return {
        unit: {lane: _sums(lane, rows, len(results)) for lane, rows in table.items()} for unit, table in tables.items()
    }


def _sums(lane: str, rows: Mapping[tuple[str, str], Mapping[int, float]], count: int) -> Sums:
    for (_, row), by_run in rows.items():
        if missing := set(range(count)) - by_run.keys():
            raise UserError(f"run {min(missing)} has no row {row} of {lane}: evaluate all runs on the same rows")
    return cluster_sums([[row[run] for row in rows.values()] for run in range(count)], [key[0] for key in rows])


def effect_of(lane: str, on: str, value: float, error: float, freedom: float) -> Effect:
    """An estimate with its interval and p-value, by Student's t."""
    half = float(stdtrit(freedom, 0.975)) * error
    p_value = 2 * float(stdtr(freedom, -abs(value) / error)) if error else float(value == 0)
    return Effect(lane, on, value, Interval(value - half, value + half), error, freedom, p_value)


def _effect(lane: str, on: str, weights: Array, sums: Sums, noise: runs.RunNoise | None) -> Effect:
    cells, sizes = sums
    variance, freedom = runs.crossed_variance(weights @ cells, sizes, float(weights @ weights), noise)
    return effect_of(lane, on, float(weights @ cells.sum(1) / sizes.sum()), float(np.sqrt(variance)), freedom)


def correct(cells: Sequence[Effect]) -> tuple[Effect, ...]:
    """The cells, with p-values corrected for one another."""
    p_values = runs.corrected([cell.p_value for cell in cells], [cell.declared for cell in cells])
    tests, made = sum(cell.declared for cell in cells), []
    for cell, p_value in zip(cells, p_values, strict=True):
        hidden = cell.interval.low <= 0 <= cell.interval.high
        seen = runs.smallest_visible(cell.error, cell.freedom, tests if cell.declared else 1) if hidden else None
        found = p_value <= (SURE if cell.declared else EXPLORED)
        made.append(replace(cell, corrected=p_value, found=found, smallest_visible=seen))
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


def _beyond(signs: ArrayLike, scores: Mapping[str, Sums], noise: Mapping[str, runs.RunNoise]) -> tuple[str, ...]:
    """The eval lanes whose lack of fit is found: F test of pairs of lanes beside lanes, Holm over the eval lanes."""
    added, paired = model_columns(signs, interactions=False), noise_columns(signs)
    pairs = paired @ np.linalg.pinv(paired) - added @ np.linalg.pinv(added)
    freedom, p_values = round(pairs.trace()), []
    for on, (cells, sizes) in scores.items():
        means, known = cells.sum(1) / sizes.sum(), freedom * max(noise[on].variance, noise[on].cell)
        ratio = max(0.0, float(means @ pairs @ means)) / known if known else 0.0
        p_values.append(float(fdtrc(max(freedom, 1), noise[on].freedom, ratio)))
    p_values = runs.corrected(p_values, [True] * len(p_values))
    return tuple(on for on, p_value in zip(scores, p_values, strict=True) if p_value <= SURE)
