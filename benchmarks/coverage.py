"""How often intervals of clustered rows hold the truth, and how often tests call two equal arms different.

    python benchmarks/coverage.py [--draws 1000]

Lanes have the shapes of the shipped packs. Each problem passes with a probability of its own, a draw from a beta
distribution with the given mean and intraclass correlation (ICC); rows of a problem are independent draws. Rates vary
by ± 1 point around the one named, which smooths the jumps that counts make. Two arms share 70 % of a problem's
difficulty. What comes out is read in docs/evidence.md.
"""

from collections.abc import Iterator

import numpy as np
from measure import flags
from numpy.typing import NDArray
from report import record
from scipy import stats

from picochat.evidence.clusters import Z95, cluster_sums, clustered_difference, clustered_rate
from picochat.evidence.runs import moderate, run_noise

Array = NDArray[np.float64]
SHAPES = {  # rows of a problem → so many problems: lanes of the demo's packs; at first products came from one table
    "246 rows of 13 products": {19: 12, 18: 1},
    "246 rows of 95 products": {1: 41, 2: 41, 9: 7, 10: 6},
    "130 rows of 64 situations": {1: 35, 2: 11, 3: 6, 4: 8, 5: 1, 6: 3},
    "738 rows of 146 questions": {1: 13, 2: 8, 3: 13, 4: 23, 5: 29, 6: 22, 7: 18, 8: 11, 9: 5, 10: 2, 11: 2},
    "201 rows of 201 words": {1: 201},
}
CORRELATIONS = (0.0, 0.1, 0.3, 0.6)
RATES = (0.5, 0.65, 0.8, 0.9, 0.95, 0.98)
TESTS = ("McNemar", "Obuchowski", "sign flips", "cluster t", "picochat")
OWN = 0.3  # of the variance of a problem's difficulty: what is the arm's own


def main() -> None:
    draws = flags(__doc__, draws=(1000, "simulated lanes for each shape, ICC and rate")).parse_args().draws
    cases = [(name, icc) for name, sizes in SHAPES.items() for icc in (CORRELATIONS if len(sizes) > 1 else (0.0,))]
    span = f"Lowest and highest over the rates {', '.join(map(str, RATES))}; {draws} draws each."
    record(
        "coverage-rate",
        ["lane", "ICC", "Wilson, %", "Korn–Graubard, %", "picochat, %", "width of it, points"],
        [[name, str(icc), *spans(coverage(name, icc, rate, draws) for rate in RATES)] for name, icc in cases],
        f"95 % intervals that hold the true rate. {span}",
        keys=2,
    )
    record(
        "coverage-difference",
        ["lane", "ICC", *(f"{test}, %" for test in (*TESTS, "its interval"))],
        [[name, str(icc), *spans(alarms(name, icc, rate, draws) for rate in RATES)] for name, icc in cases],
        "Comparisons of equal arms that a test at 5 % calls different; last column: 95 % intervals that hold a true "
        f"difference of 10 points, 5 from a rate of 0.9 on. {span}",
        keys=2,
    )
    ways = ("rows alone", "own runs", "picochat")
    record(
        "coverage-runs",
        ["runs an arm", "lanes alike", *(f"{way}, %" for way in ways), *(f"width, {way}" for way in ways)],
        [[str(r), str(a), *between_runs(r, a, max(draws // 10, 20))] for r in (2, 3, 5) for a in (0.0, 0.5, 0.95)],
        "Comparisons of equal recipes that a test at 5 % calls different; nine lanes of 180 rows of 60 problems, runs "
        "that differ by 3 points (standard deviation) beyond their rows. Widths in points.",
        keys=2,
    )


def spans(cells: Iterator[list[float]]) -> list[str]:
    """Lowest and highest of each column."""
    return [f"{min(column):.1f} to {max(column):.1f}" for column in zip(*cells, strict=True)]


def coverage(name: str, icc: float, rate: float, draws: int) -> list[float]:
    """Coverage of Wilson, Korn and Graubard, and picochat in %; mean width of the last in points."""
    random, sizes, clusters = setting(name, icc, rate)
    truth = random.uniform(rate - 0.01, rate + 0.01, draws)
    chances = difficulties(truth, icc, random.normal(size=(draws, len(sizes))))
    rows = random.random((draws, len(clusters))) < chances[:, clusters]
    ours = np.array([clustered_rate(row, clusters).interval for row in rows]).T
    share, graubard = rows.mean(1), korn_graubard(cluster_sums(rows, clusters)[0], sizes)
    ends = [wilson(share, np.full(draws, float(len(clusters)))), wilson(share, graubard), ours]
    held = [100 * float(((low - 1e-9 <= truth) & (truth <= high + 1e-9)).mean()) for low, high in ends]
    return [*held, 100 * float((ours[1] - ours[0]).mean())]


def alarms(name: str, icc: float, rate: float, draws: int) -> list[float]:
    """False alarms of five tests in %, and coverage of picochat's interval of a true difference."""
    random, sizes, clusters = setting(name, icc, rate)
    truth = random.uniform(rate - 0.01, rate + 0.01, draws)
    shift = -0.1 if rate < 0.9 else -0.05
    shared = random.normal(size=(draws, len(sizes)))

    def arm(mean: Array) -> NDArray[np.bool_]:
        own = random.normal(size=shared.shape)
        chances = difficulties(mean, icc, np.sqrt(1 - OWN) * shared + np.sqrt(OWN) * own)
        return np.asarray(random.random((draws, len(clusters))) < chances[:, clusters])

    first, second, lower = arm(truth), arm(truth), arm(truth + shift)
    moved = cluster_sums(second.astype(float) - first, clusters)[0]
    error = np.maximum(cluster_error(moved, sizes), 1e-12)
    only = [(first & ~second).sum(1), (second & ~first).sum(1)]
    p_values = [
        np.minimum(1, 2 * stats.binom.cdf(np.minimum(*only), only[0] + only[1], 0.5)),  # exact
        stats.chi2.sf(moved.sum(1) ** 2 / np.maximum((moved**2).sum(1), 1e-9), 1),
        sign_flips(moved),
        2 * stats.t.sf(np.abs(moved.sum(1)) / len(clusters) / error, len(sizes) - 1),
        [clustered_difference(*pair, clusters).p_value for pair in zip(first, second, strict=True)],
    ]
    ends = [clustered_difference(*pair, clusters).interval or (1, -1) for pair in zip(first, lower, strict=True)]
    held = [low <= shift <= high for low, high in ends]
    return [*(100 * float((np.asarray(p) < 0.05).mean()) for p in p_values), 100 * float(np.mean(held))]


def between_runs(runs: int, alike: float, studies: int) -> list[str]:
    """False alarms in % and mean widths in points: no run variance, each lane's own, and the moderated one."""
    random, problems = np.random.default_rng([runs, round(100 * alike)]), np.repeat(np.arange(60), 3)
    arm, found = np.repeat([0, 1], runs), []
    for _ in range(studies):
        common = np.sqrt(alike) * random.normal(size=2 * runs)
        luck = 0.03 * (common + np.sqrt(1 - alike) * random.normal(size=(9, 2 * runs)))
        chances = 0.7 + luck[:, :, None] + random.uniform(-0.2, 0.2, (9, 1, 60))
        lanes = random.random((9, 2 * runs, 180)) < chances[:, :, problems]
        own = [noise for rows in lanes if (noise := run_noise(*cluster_sums(rows, problems), np.eye(2)[arm]))]
        for rows, *noises in zip(lanes, own, moderate(own), strict=True):
            pair = rows[arm == 0], rows[arm == 1]
            found.append([clustered_difference(*pair, problems, noise) for noise in (None, *noises)])
    alarms = 100 * np.mean([[one.p_value < 0.05 for one in row] for row in found], axis=0)
    widths = 100 * np.mean([[np.ptp(one.interval or 0) for one in row] for row in found], axis=0)
    return [f"{value:.1f}" for value in (*alarms, *widths)]


def setting(name: str, icc: float, rate: float) -> tuple[np.random.Generator, Array, NDArray[np.int64]]:
    """Randomness of a cell, rows of each cluster, cluster of each row."""
    sizes = np.repeat([*SHAPES[name]], [*SHAPES[name].values()])
    random = np.random.default_rng([len(sizes), round(100 * icc), round(100 * rate)])
    return random, sizes.astype(float), np.repeat(np.arange(len(sizes)), sizes)


def difficulties(mean: Array, icc: float, normal: Array) -> Array:
    """Each problem's probability to pass, (draws, G): beta quantiles of the normal draws."""
    if icc == 0:
        return np.broadcast_to(mean[:, None], normal.shape)
    total = 1 / icc - 1
    chances = stats.beta.ppf(stats.norm.cdf(normal), mean[:, None] * total, (1 - mean[:, None]) * total)
    return np.asarray(np.nan_to_num(chances, nan=1.0))  # too close to 1 for scipy to tell


def wilson(share: Array, n: Array) -> tuple[Array, Array]:
    centre = (share + Z95**2 / (2 * n)) / (1 + Z95**2 / n)
    half = Z95 / (1 + Z95**2 / n) * np.sqrt(share * (1 - share) / n + Z95**2 / (4 * n * n))
    return centre - half, centre + half


def cluster_error(sums: Array, sizes: Array) -> Array:
    """Robust standard error of the mean over rows, for each draw."""
    count, n = len(sizes), sizes.sum()
    left = sums - sizes * sums.sum(1, keepdims=True) / n
    return np.asarray(np.sqrt(count / (count - 1) * (left**2).sum(1)) / n)


def sign_flips(moved: Array, signs: int = 1000) -> Array:
    """Share of random signs of the clusters (and those seen) that give a sum as far from 0 as seen, for each draw."""
    flipped = np.random.default_rng(0).choice([-1.0, 1.0], (signs, moved.shape[1]))
    flipped[0] = 1
    return np.asarray((np.abs(moved @ flipped.T) >= np.abs(moved.sum(1, keepdims=True)) - 1e-9).mean(1))


def korn_graubard(sums: Array, sizes: Array) -> Array:
    """Effective rows from the spread of the clusters; as many as clusters where all rows pass or none."""
    count, n = len(sizes), sizes.sum()
    share = sums.sum(1) / n
    plain = share * (1 - share) / (n - 1)
    effect = np.where(plain > 0, cluster_error(sums, sizes) ** 2 / np.maximum(plain, 1e-12), n / count)
    narrower = stats.t.ppf(0.975, n - 1) / stats.t.ppf(0.975, count - 1)
    return np.asarray(n / np.maximum(effect, 1e-3) * narrower**2)


if __name__ == "__main__":
    main()
