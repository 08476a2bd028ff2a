"""How much runs differ, and what a comparison can see. In: scores by run, cluster. Out: variances, smallest effects.

Runs of one recipe with two seeds differ, and a claim about recipes has to survive that. Next: clusters.

    runs × clusters            Y[r, k] = Σ of the scores of run r on the rows of cluster k; w_r the run's weight
    estimate                   D = Σ_r w_r Σ_k Y[r, k] / n          (B - A: w = 1 / runs of B, and -1 / runs of A)
    its variance               V = V_run + V_cluster - V_cell       (Cameron, Gelbach and Miller 2011, JBES 29, 238-249)
    before there are scores    V = 2 / runs · run_sd² + 2 · p (1 - p) · 0.3 · ICC / clusters    p the rate of both arms
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import polygamma, psi, stdtrit

from picochat.errors import UserError

Array = NDArray[np.float64]
FEW = 10  # clusters; below that there is no interval, except where every row is its own cluster
POOLED = 4  # lanes that tell together how much runs differ, counted as if they were independent
OWN = 0.3  # of the variance of a problem's difficulty: the arm's own; the rest is shared, and cancels


@dataclass(frozen=True)
class RunNoise:
    """Variance of a run's mean score on one lane around what its arm expects, and its degrees of freedom."""

    variance: float
    cell: float  # the part that comes from the rows: luck of this run with this cluster
    freedom: float
    residuals: tuple[float, ...] = ()  # the run means that it was made of, less what the arms explain


def cluster_variance(sums: Array, sizes: Array) -> float:
    """Robust variance of Σ sums / Σ sizes, clusters as units: G/(G-1) · Σ (sum_k - size_k · mean)² / n²; 0 for one."""
    count, n = len(sizes), sizes.sum()
    spread = ((sums - sizes * sums.sum() / n) ** 2).sum() / n**2
    return float(count / (count - 1) * spread) if count > 1 else 0.0


def run_noise(cells: Array, sizes: Array, design: ArrayLike) -> RunNoise | None:
    """The noise of one lane's runs; None where the arms explain everything, as with one run an arm.

    `cells` are scores summed by run and cluster, (R, G), `sizes` the rows of each cluster, (G,), and `design` what the
    arms may explain, (R, p): a column of ones an arm, say.
    """
    x = np.asarray(design, dtype=float)
    freedom = len(x) - int(np.linalg.matrix_rank(x))
    if freedom == 0:
        return None
    fitted, n, count = x @ (np.linalg.pinv(x) @ cells), sizes.sum(), len(sizes)
    # Runs that agree differ by nothing, not by 1e-16: `moderate` would take its logarithm for a tiny variance.
    left = np.where(np.isclose(cells, fitted, rtol=1e-9), 0.0, cells - fitted)
    means = left.sum(1) / n
    within = ((left - np.outer(means, sizes)) ** 2).sum() / n**2 / freedom
    cell = count / (count - 1) * within if count > 1 else 0.0
    return RunNoise(float((means**2).sum() / freedom), float(cell), float(freedom), tuple(means.tolist()))


def moderate(lanes: Sequence[RunNoise]) -> list[RunNoise]:
    """Pull each lane's variance towards what all lanes share, and count what that adds in degrees of freedom.

    Empirical Bayes as in limma: Smyth (2004), Statistical Applications in Genetics and Molecular Biology 3(1), 3. The
    lanes' variances s² are draws around a prior s0² worth d0 degrees of freedom, fitted to mean and variance of log s².
    Lanes of one run resemble each other, so the sum is capped by what the pooled variance is worth (Satterthwaite):
    J d / (1 + (J - 1) c), c the lanes' mean squared correlation, at most. All lanes come from the same runs.
    """
    known = np.array([lane.variance for lane in lanes if lane.variance > 0])
    if len(known) < 3:  # a prior has two unknowns
        return list(lanes)
    d = lanes[0].freedom
    logs = np.log(known) - psi(d / 2) + np.log(d / 2)
    excess = float(logs.var(ddof=1) - polygamma(1, d / 2))
    if excess > 1e-6:
        prior = 2 * np.exp(brentq(lambda log: polygamma(1, np.exp(log)) - excess, -10, 14))  # trigamma's inverse
        centre = float(np.exp(logs.mean() + psi(prior / 2) - np.log(prior / 2)))
    else:  # no more spread than chance makes: one variance for all
        prior, centre = np.inf, float(known.mean())
    cap = d * len(known) / (1 + (len(known) - 1) * _squared_correlation(lanes))
    freedom = float(min(prior + d, max(cap, d)))
    share = d / (prior + d)  # of a lane's own variance
    return [replace(lane, variance=(1 - share) * centre + share * lane.variance, freedom=freedom) for lane in lanes]


def _squared_correlation(lanes: Sequence[RunNoise]) -> float:
    """Mean over pairs of lanes of their squared correlation over runs, as large as it may well be; in [0, 1].

    The 1 / d that chance makes is taken off; two standard errors are put on: too small a value promises too much.
    """
    rows, d = np.array([lane.residuals for lane in lanes if lane.variance > 0]), lanes[0].freedom
    if rows.shape[1] == 0 or d <= 1:
        return 1.0  # unknown: as if the lanes were one
    rows /= np.sqrt((rows**2).sum(1, keepdims=True))
    pairs = len(rows) * (len(rows) - 1)
    squared = float((((rows @ rows.T) ** 2).sum() - len(rows)) / pairs)
    error = float(np.sqrt(2 / ((d - 1) * (d + 2)) / (pairs / 2)))
    return min(1.0, max(0.0, (squared - 1 / d) / (1 - 1 / d)) + 2 * error)


def crossed_variance(sums: Array, sizes: Array, weight: float, noise: RunNoise | None) -> tuple[float, float]:
    """Variance of an estimate over new runs and new clusters, and its degrees of freedom (Satterthwaite).

    Never below either part alone: a variance component that comes out negative is 0. Where runs differ by no more than
    their rows make them, the rows' variance stands in, with the degrees of freedom of all cells. `sums` are
    Σ_r w_r Y[r, k], (G,), `sizes` the rows of each cluster, and `weight` is Σ_r w_r². Without `noise` the estimate
    speaks of these runs only.
    """
    clusters, freedom = cluster_variance(sums, sizes), float(max(len(sizes) - 1, 1))
    if noise is None:
        return clusters, freedom
    runs = weight * max(noise.variance, noise.cell)
    beyond = max(0.0, clusters - weight * noise.cell)
    if runs + beyond == 0:
        return 0.0, freedom
    known = noise.freedom * (1.0 if noise.variance > noise.cell else freedom)
    return runs + beyond, (runs + beyond) ** 2 / (runs**2 / known + beyond**2 / freedom)


def corrected(p_values: Sequence[float], declared: Sequence[bool]) -> list[float]:
    """What was declared beforehand by Holm's step-down method, the rest by Benjamini and Hochberg's.

    Of the rest, those up to q hold a share of at most q false discoveries. Source: Benjamini and Hochberg (1995), JRSS
    B 57, 289-300.

    >>> corrected([0.01, 0.04, 0.03], [True] * 3), corrected([0.01, 0.04, 0.03], [False] * 3)
    ([0.03, 0.06, 0.06], [0.03, 0.04, 0.04])
    """
    from scipy.stats import false_discovery_control

    values, first = np.array(p_values, dtype=float), np.array(declared, dtype=bool)
    order = np.flatnonzero(first)[values[first].argsort()]
    values[order] = np.maximum.accumulate(values[order] * np.arange(len(order), 0, -1)).clip(max=1)
    if not first.all():
        values[~first] = false_discovery_control(values[~first])
    return list(map(float, values))


def smallest_visible(error: float, freedom: float, tests: int = 1, power: float = 0.8) -> float:
    """The effect that a two-sided 5 % test finds with this power; with several tests, at Holm's first step.

    (t_{1 - .025 / tests} + t_{power}) · error: error 1, 8 degrees of freedom, one test ─► 2.306 + 0.889 = 3.2
    """
    return float(stdtrit(freedom, 1 - 0.025 / tests) + stdtrit(freedom, power)) * error


def visible_difference(
    rows: int,
    problems: int,
    runs: int = 1,
    rate: float = 0.9,
    icc: float = 0.3,
    run_sd: float = 2.0,
    tests: int = 1,
) -> float:
    """The difference, as a share, that a comparison shows with 80 % power.

    Args:
        rows: eval rows of the lane.
        problems: problems (words, situations) that the rows ask for, at least 10.
        runs: seeds of each arm; with one, how much runs differ has to be known (eval compare --noise).
        rate: share of rows that both arms pass.
        icc: intraclass correlation of replies to rows of one problem.
        run_sd: standard deviation between runs of one recipe, in points.
        tests: lanes that are declared, over which p-values are corrected.
    """
    if not (rows >= problems >= FEW and min(runs, tests) >= 1):
        raise UserError(f"power needs --rows >= --problems >= {FEW}, and --runs and --tests from 1 on")
    if not (0 < rate < 1 and 0 <= icc <= 1 and 0 <= run_sd <= 100):
        raise UserError("power needs a --rate between 0 and 1, an --icc from 0 to 1, and a --run-sd from 0 to 100")
    spread = rate * (1 - rate)
    own = 2 / runs * max((run_sd / 100) ** 2, spread * (1 - icc) / rows)  # at least the luck of its rows
    shared = 2 * spread * OWN * icc / problems
    freedom = 2 * (runs - 1) * POOLED or math.inf  # of one run an arm: as well known as can be
    together = (own + shared) ** 2 / (own**2 / freedom + shared**2 / (problems - 1) + 1e-30)
    return smallest_visible(math.sqrt(own + shared), together, tests)
