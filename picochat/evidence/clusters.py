"""Rates and differences of rows that belong together. In: verdicts, clusters. Out: intervals, p-values. Next: lanes.

A *cluster* is what was held out: a problem, a word, a situation. Replies to rows of one cluster resemble each other, so
246 rows of 13 problems tell little more than 13 rows do. The 95 % intervals, checked by benchmarks/coverage.py, are
Wilson's and Tango's on *effective rows*:

    n rows in G clusters        design effect  = variance with clusters / variance if every row were its own cluster
                                effective rows = n / design effect · (t_{n-1} / t_{G-1})²
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq
from scipy.special import gammaln, stdtr, stdtrit

from picochat.evidence.runs import FEW, Array, RunNoise, crossed_variance

Z95 = NormalDist().inv_cdf(0.975)  # 1.959964
Clusters = Sequence[str] | Sequence[int]


class Interval(NamedTuple):
    """Both ends of a 95 % interval."""

    low: float
    high: float


@dataclass(frozen=True)
class ClusteredRate:
    """A share of rows and how far it can be trusted; `interval` is None where there are fewer than `FEW` clusters."""

    rate: float
    interval: Interval | None
    passed: float
    rows: int
    clusters: int
    effective_rows: float


@dataclass(frozen=True)
class ClusteredDifference:
    """Second arm minus first on the same rows, with standard error and degrees of freedom.

    `interval` excludes 0 exactly where `p_value` is below 0.05; it is None where there are fewer than `FEW` clusters.
    """

    value: float
    interval: Interval | None
    p_value: float
    error: float
    freedom: float
    rows: int
    clusters: int


def wilson(passed: float, n: float) -> Interval:
    """Wilson's score interval for a share of rows, which need not be whole. Source: Wilson (1927), JASA 22, 209-212."""
    share, z2 = passed / n, Z95 * Z95
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = Z95 / (1 + z2 / n) * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    return Interval(0.0 if passed == 0 else centre - half, 1.0 if passed == n else centre + half)


def cluster_sums(values: ArrayLike, clusters: Clusters) -> tuple[Array, Array]:
    """Values (…, n) summed by cluster (…, G), and the rows of each cluster (G,); clusters in sorted order."""
    scores = np.asarray(values, dtype=float)
    _, place, sizes = np.unique(np.asarray(clusters), return_inverse=True, return_counts=True)
    order, starts = np.argsort(place, kind="stable"), np.cumsum(sizes) - sizes
    return np.add.reduceat(scores[..., order], starts, axis=-1), sizes.astype(float)


def clustered_rate(passed: ArrayLike, clusters: Clusters) -> ClusteredRate:
    """Wilson's interval on the effective rows; `passed` is 0 or 1 for each row, at least one.

    Source: Korn and Graubard (1998), Survey Methodology 24, 193-201, whose design effect, from the spread of the
    clusters, is far too small where a few failures happen to lie in few clusters; ours is `design_effect`.
    """
    sums, sizes = cluster_sums(passed, clusters)
    n, count = int(sizes.sum()), len(sizes)
    effective, rate = float(n), float(sums.sum() / n)
    if count < n:
        narrower = stdtrit(n - 1, 0.975) / stdtrit(max(count - 1, 1), 0.975)
        effective = float(n / design_effect(sums, sizes) * narrower**2)
    interval = None if count < min(FEW, n) else wilson(rate * effective, effective)
    return ClusteredRate(rate, interval, float(sums.sum()), n, count, effective)


def design_effect(sums: Array, sizes: Array) -> float:
    """1 + (Σ n_k² / n - 1) · ρ, ρ the mean posterior intraclass correlation of a beta-binomial model.

    Cluster k, of which `sums` rows pass and `sizes` there are, passes with its own probability, a draw from a beta
    distribution with mean μ and a + b = 1 / ρ - 1. Priors: Beta(½, ½) for μ, Beta(½, 1) for ρ, each as equally likely
    points: quantiles sin²(π u / 2) and u².
    """
    rho = ((np.arange(16) + 0.5) / 16) ** 2
    mu = np.sin(np.pi * (np.arange(128) + 0.5) / 256)[:, None] ** 2
    a, b = mu * (1 / rho - 1), (1 - mu) * (1 / rho - 1)

    def log_rising(start: Array, counts: Array) -> Array:
        """Σ log Γ(start + count) - log Γ(start): a beta function's share of the likelihood."""
        values, times = np.unique(counts, return_counts=True)
        return np.tensordot(times, gammaln(start + values[:, None, None]) - gammaln(start), 1)

    likelihood = log_rising(a, sums) + log_rising(b, sizes - sums) - log_rising(a + b, sizes)
    posterior = np.exp(likelihood - likelihood.max()).sum(0)
    return float(1 + ((sizes**2).sum() / sizes.sum() - 1) * (posterior @ rho) / posterior.sum())


def difference_of_sets(first: ClusteredRate, second: ClusteredRate) -> Interval | None:
    """Interval of first - second, two sets of rows: Newcombe's hybrid of their intervals; None where one has none.

    Source: Newcombe (1998), Statistics in Medicine 17, 873-890, method 10.
    """
    if first.interval is None or second.interval is None:
        return None
    value, (low, high), (other_low, other_high) = first.rate - second.rate, first.interval, second.interval
    return Interval(
        value - math.hypot(first.rate - low, other_high - second.rate),
        value + math.hypot(high - first.rate, second.rate - other_low),
    )


def clustered_difference(
    first: ArrayLike, second: ArrayLike, clusters: Clusters, noise: RunNoise | None = None
) -> ClusteredDifference:
    """Second minus first, paired by row: Tango's score interval on the effective rows, and the p-value that fits it.

    Source: Tango (1998), Statistics in Medicine 17, 891-908; at no difference its statistic is McNemar's, and with
    clusters Obuchowski's (1998), Statistics in Medicine 17, 1495-1507. Variance and freedom: `runs.crossed_variance`.

        wins less losses by cluster    +2  0  -1  +4    a cluster counts once, however many rows it has

    `first` and `second` are 0 or 1 for each row, (n,), or for each run and row, (runs, n). Without `noise` the answer
    speaks of these runs, not of recipes.
    """
    arms = [np.atleast_2d(np.asarray(arm, dtype=float)) for arm in (first, second)]
    a, b = (arm.mean(0) for arm in arms)
    sums, sizes = cluster_sums(b - a, clusters)
    n, count = len(a), len(sizes)
    wins, losses = float((b * (1 - a)).sum()), float((a * (1 - b)).sum())
    value = (wins - losses) / n
    variance, freedom = crossed_variance(sums, sizes, sum(1 / len(arm) for arm in arms), noise)
    # As if every row were its own cluster; at least what one differing row makes of it.
    plain = max(((wins + losses) / n - value**2) / max(n - 1, 1), 1 / n**2)
    if np.ptp(sums / sizes) < 1e-9 and variance < plain * n / count:
        # Clusters that agree to the row have no spread: then all rows of one count once, whatever is known of runs.
        variance, freedom = plain * n / count, float(max(count - 1, 1))
    effect = max(variance / plain, 0.25)  # below 1 it is mostly luck
    share = (Z95 / float(stdtrit(freedom, 0.975))) ** 2 / effect
    statistic = abs(wins - losses) / math.sqrt((wins + losses) * effect) if wins + losses else 0.0
    p_value, interval = 2 * float(stdtr(freedom, -statistic)), None
    if count >= min(FEW, n):
        low, high = (_lower_end(x * share, y * share, n * share) for x, y in ((wins, losses), (losses, wins)))
        interval = Interval(low, -high)
    elif noise is None:
        p_value = sign_flip_test(sums)
    return ClusteredDifference(value, interval, p_value, math.sqrt(plain * effect), freedom, n, count)


def sign_flip_test(sums: ArrayLike) -> float:
    """p-value of "the arms could be swapped in any cluster": how many of all signs give a sum as far from 0 as seen.

    Source: Fisher (1935), The Design of Experiments, section 21.

        d = (3, 1)  ─►  |±3 ±1| = 4 2 2 4  ─►  p = 2/4
    """
    moved = np.asarray(sums, dtype=float)
    signs = np.array(list(product((1, -1), repeat=len(moved))))
    return float((np.abs(signs @ moved) >= abs(moved.sum()) - 1e-9).mean())


def _lower_end(wins: float, losses: float, n: float) -> float:
    """The smallest difference that Tango's score test does not refuse (above 0); counts may be fractions."""

    def refused(difference: float) -> float:
        # The most likely share of losses if the difference were this one: the root of A q² + B q + C.
        a, b, c = 2 * n, (2 * n - wins + losses) * difference - wins - losses, -losses * difference * (1 - difference)
        share = (math.sqrt(max(0.0, b * b - 4 * a * c)) - b) / (2 * a)
        spread = n * (2 * share + difference * (1 - difference))
        return wins - losses - n * difference - Z95 * math.sqrt(max(0.0, spread))

    nearly = (wins - losses) / n - 1e-9  # the difference seen is never refused; where no row differs it is a root too
    return float(brentq(refused, -1, nearly)) if refused(-1) > 0 else -1.0


def share_of_gain(
    kept: float, kept_ends: Interval, gain: float, gain_ends: Interval, correlation: float = 0.0
) -> Interval | None:
    """Interval of kept / gain, both differences from the same start; None where the gain's interval touches 0.

    Source: Donner and Zou (2012), Statistical Methods in Medical Research 21, 347-359: Fieller's equation with the
    half-widths of the two intervals and the correlation of the two estimates (0 is cautious where they go together).

        kept 0.78 (0.70 to 0.85), gain 0.96 (0.90 to 0.98)   ─►   0.81 (0.73 to 0.90)
    """
    if gain_ends.low <= 0:
        return None

    def end(half: float, sign: int) -> float:
        # The far end of the gain: a larger gain makes a positive share smaller and a negative one less negative.
        far = gain_ends.high - gain if (kept + sign * half > 0) == (sign < 0) else gain - gain_ends.low
        # The roots of (kept - x gain)² = half² - 2 x covariance + x² far²
        a, b, c = gain**2 - far**2, kept * gain - correlation * half * far, kept**2 - half**2
        return (b + sign * math.sqrt(max(0.0, b * b - a * c))) / a

    return Interval(end(kept - kept_ends.low, -1), end(kept_ends.high - kept, 1))
