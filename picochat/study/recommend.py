"""The next mixture, a hypothesis. In: shares, signs and scores of a study. Out: a `Proposal`, its words. Next: study.

Response surface: the logit of the rate at which an eval lane passes is linear in the share of each lane, and of pairs
of them where that is resolved. So a skill that is complete gains little from more rows, and one half-way gains most:

    lane     passes   logit, on - off   a share half as large again adds, in points of its own eval lane
    spell    97 %     +6                + 3
    add      50 %     +2                +23

One step of steepest ascent (Box and Wilson 1951, JRSS B 13, 1-45) in the mean of the eval lanes: shares move from lanes
whose rows are worth less than the mean to those whose rows are worth more, as far as the predicted gain grows, and by
half of a share at most. Where only one side is resolved, all others are the other side.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit

from picochat.blocks import Block, Table, Text, percent
from picochat.evidence.runs import smallest_visible
from picochat.evidence.words import whole
from picochat.study.design import Array, contrasts, noise_columns
from picochat.study.effects import Effect, Sums, correct, effect_of

_STEPS = np.linspace(0.05, 0.5, 10)  # of a lane's share
_HEAD = ("lane", "share", "proposed", "points that 1 % of the draws adds, minus the mean")
_DOUBTS = (
    "A hypothesis: it follows a simple surface beyond what was trained, and what was chosen for its gain gains less on "
    "average. Its interval is over new seeds. The one proposal that was tested (docs/capability-study.md) kept its "
    "direction, and a third of its size.",
    "It was chosen on these eval rows: publish its scores on others.",
)


@dataclass(frozen=True)
class Proposal:
    """Where to go from a mixture."""

    shares: dict[str, float]  # of the draws, by lane; the present ones where no gain is resolved
    worth: tuple[Effect, ...]  # of each lane: points of the mean score that a share of 1 adds, less the mean lane's
    gain: Effect | None = None  # predicted, over new seeds; None where none is resolved
    seeds: int = 0  # runs of each mixture that would show such a gain with 80 % power, from 3 to 12
    rates: Mapping[str, list[float]] = field(default_factory=dict)  # of each eval lane by the surface: now, proposed


def propose(
    shares: Mapping[str, float], signs: ArrayLike, scores: Mapping[str, Sums], *, interactions: bool = False
) -> Proposal:
    """The mixture to try next.

    Args:
        shares: of the draws, by lane, in the order of the columns of `signs`.
        signs: a row a run: 1 in, -1 out, 0 half (R, L); some run has all lanes.
        scores: of each eval lane, in points.
        interactions: whether the arms tell pairs of lanes apart.
    """
    share, weights = np.array(list(shares.values())), contrasts(signs, interactions=interactions)
    passed = np.column_stack([cells.sum(1) / 100 for cells, _ in scores.values()])  # (R, J)
    rows = np.array([sizes.sum() for _, sizes in scores.values()])
    logits = np.log((passed + 0.5) / (rows - passed + 0.5))  # the halves keep them finite
    luck = passed * (rows - passed) / rows * (1 / (passed + 0.5) + 1 / (rows - passed + 0.5)) ** 2
    runs = _Runs(logits, luck, signs)
    full = (np.asarray(signs) == 1).all(1) / (np.asarray(signs) == 1).all(1).sum()
    slope = _slope(full @ logits)
    pairs = [list(pair) for pair in combinations(range(len(share)), 2)] if interactions else []
    mains, crossed = weights[: len(share)], weights[len(share) : len(share) + len(pairs)]
    joint = [one.found for one in correct([runs.effect("", np.outer(row, slope)) for row in crossed])]
    pairs, crossed = [pair for pair, found in zip(pairs, joint, strict=True) if found], crossed[joint]
    slopes = mains.copy()
    for pair, row in zip(pairs, crossed, strict=True):
        slopes[pair] += row  # what a lane adds where its partner is in
    beside = slopes / share[:, None] - slopes.sum(0) / share.sum()  # what the mean of the lanes is worth
    worth = correct([runs.effect(lane, np.outer(row, slope)) for lane, row in zip(shares, beside, strict=True)])
    # where no run differs from another there is no error, and a difference is rounding
    up, down = (np.array([one.found and one.error > 0 and sign * one.value > 0 for one in worth]) for sign in (1, -1))
    if not (up | down).any():
        return Proposal(dict(shares), worth)
    up, down = (up if up.any() else ~down), (down if down.any() else ~up)

    def moved(step: float) -> tuple[Array, Array, float]:
        """Each lane's part of its present share, the change of the logits as weights of the runs, the gain."""
        most = step * min(share[up].sum(), share[down].sum())
        parts = 1 + most * (up / share[up].sum() - down / share[down].sum())
        change = (parts - 1) @ mains
        for pair, row in zip(pairs, crossed, strict=True):
            change = change + (np.prod(2 * parts[pair] - 1) - 1) / 2 * row
        return parts, change, float(100 * (expit((full + change) @ logits) - expit(full @ logits)).mean())

    parts, change, value = max(map(moved, _STEPS), key=lambda one: one[2])
    after = _slope((full + change) @ logits)
    gain = runs.effect("proposed", np.outer(full, after - slope) + np.outer(change, after), value)
    if gain.interval.low <= 0:
        return Proposal(dict(shares), worth)
    noise = runs.effect("", np.outer(full, slope)).error / np.linalg.norm(full)  # of a run's mean score
    enough = (n for n in range(3, 12) if smallest_visible(noise * (2 / n) ** 0.5, 2 * n - 2) <= abs(value))
    proposed = dict(zip(shares, (share * parts).tolist(), strict=True))
    rates = expit(np.column_stack((full @ logits, (full + change) @ logits))).tolist()
    return Proposal(proposed, worth, gain, next(enough, 12), dict(zip(scores, rates, strict=True)))


class _Runs:
    """How runs differ beyond their arms: values of each run and eval lane (R, J), with their variance from rows alone.

    Where that is above the variance of the runs that show the noise, it counts.
    """

    def __init__(self, values: Array, luck: Array, signs: ArrayLike) -> None:
        columns = noise_columns(signs)
        unexplained = np.eye(len(columns)) - columns @ np.linalg.pinv(columns)
        self.values, self.freedom = values, float(len(columns) - np.linalg.matrix_rank(columns))
        self.noise = values.T @ unexplained @ values / self.freedom
        self.excess = luck - unexplained.diagonal() @ luck / self.freedom

    def effect(self, name: str, weights: Array, value: float | None = None) -> Effect:
        """The values so weighted (R, J), over new seeds; or a `value` that changes with them by these weights."""
        known = float((weights * self.values).sum()) if value is None else value
        variance = float(np.einsum("rj,jk,rk->", weights, self.noise, weights))
        error = (max(0.0, variance) + max(0.0, float((weights**2 * self.excess).sum()))) ** 0.5
        return replace(effect_of(name, "mean", known, error, self.freedom), declared=True)


def _slope(logits: Array) -> Array:
    """Points of the mean score per logit of each eval lane."""
    return np.asarray(100 * expit(logits) * expit(-logits) / len(logits))


def proposal_blocks(shares: Mapping[str, float], found: Proposal, lanes: int, command: str) -> list[Block]:
    """The proposal in words, with the command that tests it."""
    if found.gain is None:
        return [Text(["No gain by other shares is shown: nothing is proposed."], title="Next mixture")]
    said = f"Predicted: {_points(found.gain)} points in the mean of {lanes} eval lanes."
    rows = [
        (lane, percent(shares[lane]), percent(share), f"{one.value / 100:+z.2f}{' *' * one.found}")
        for (lane, share), one in zip(found.shares.items(), found.worth, strict=True)
    ]
    return [
        Text([said, *_DOUBTS], title="Next mixture"),
        Table(_HEAD, rows),
        Table(("eval lane", "now", "predicted"), [(lane, whole(a), whole(b)) for lane, (a, b) in found.rates.items()]),
        Text([f"picochat study run {command}", f"picochat study report --recommend {command}"], "code"),
    ]


def mean_blocks(first: str, arms: Sequence[str], signs: ArrayLike, scores: Mapping[str, Sums]) -> list[Block]:
    """Whether arms are better than the first of them in the mean of the eval lanes, which a proposal is to raise."""
    means = np.mean([cells.sum(1) / sizes.sum() for cells, sizes in scores.values()], axis=0)[:, None]
    runs = _Runs(means, np.zeros(means.shape), signs)
    effects = correct([runs.effect(arm, row[:, None]) for arm, row in zip(arms, contrasts(signs), strict=True)])
    said = [f"{one.lane}: {_points(one)} points{'' if one.found else ', not resolved'}" for one in effects]
    return [Text(said, "list", title=f"In the mean of {len(scores)} eval lanes, minus {first}")]


def _points(effect: Effect) -> str:
    return f"{effect.value:+z.1f} ({effect.interval.low:+z.1f} to {effect.interval.high:+z.1f})"
