"""Confidence intervals and tests for shares of rows. In: counts, rates. Out: intervals, p-values. Next: lanes, compare.

All intervals are two-sided 95 %. Tests of paired runs use the rows on which the runs differ; a 2 × 2 table is given as

                    B passes   B fails
    A passes            a          b
    A fails             c          d
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist, mean, variance
from typing import NamedTuple

Z95 = NormalDist().inv_cdf(0.975)  # 1.959964


class Interval(NamedTuple):
    """Both ends of a 95 % interval."""

    low: float
    high: float


@dataclass(frozen=True)
class Proportion:
    """How many of `n` rows passed, as a share with its interval."""

    n: int
    passed: int
    rate: float
    ci95: Interval


def proportion(outcomes: Sequence[bool]) -> Proportion | None:
    """Count outcomes, one a row; None where there are none."""
    n, passed = len(outcomes), sum(outcomes)
    return Proportion(n, passed, passed / n, wilson(passed, n)) if n else None


def wilson(passed: float, n: float) -> Interval:
    """Wilson's score interval for a share; it stays inside [0, 1] and is informative at 0 % and 100 % too.

    Source: Wilson (1927), JASA 22, 209-212. `passed` may be a mean over runs, so it need not be whole.

    >>> [round(end, 3) for end in wilson(50, 50)]
    [0.929, 1.0]
    """
    if n == 0:
        return Interval(0.0, 1.0)
    share, z2 = passed / n, Z95 * Z95
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = Z95 / (1 + z2 / n) * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    return Interval(0.0 if passed == 0 else centre - half, 1.0 if passed == n else centre + half)


def difference(passed_a: float, n_a: float, passed_b: float, n_b: float, phi: float = 0.0) -> Interval:
    """Interval of (share of A) - (share of B): Newcombe's hybrid score interval.

    Sources: Newcombe (1998), Statistics in Medicine 17, 873-890 (two sets of rows) and 2635-2650 (paired: `phi` is the
    correlation), method 10 of both.
    """
    (low_a, high_a), (low_b, high_b) = wilson(passed_a, n_a), wilson(passed_b, n_b)
    share_a, share_b = passed_a / n_a, passed_b / n_b

    def far(one: float, other: float) -> float:
        return math.sqrt(max(0.0, one**2 - 2 * phi * one * other + other**2))

    value = share_a - share_b
    return Interval(value - far(share_a - low_a, high_b - share_b), value + far(share_b - low_b, high_a - share_a))


def paired_difference(a: float, b: float, c: float, d: float) -> Interval:
    """Interval of (share A passes) - (share B passes) on the same rows; the counts may be means over runs."""
    n = a + b + c + d
    if n == 0:
        return Interval(-1.0, 1.0)
    margins, product = (a + b) * (c + d) * (a + c) * (b + d), a * d - b * c
    if product > 0:
        product = max(0.0, product - n / 2)  # Newcombe's continuity correction
    ends = difference(a + b, n, a + c, n, product / math.sqrt(margins) if margins > 0 else 0.0)
    return Interval(max(-1.0, ends.low), min(1.0, ends.high))


def mcnemar_exact(only_a: int, only_b: int) -> float:
    """Two-sided exact p-value of McNemar's test: are the rows that only one run passes split evenly?

    >>> mcnemar_exact(0, 6)
    0.03125
    """
    from scipy.stats import binomtest

    discordant = only_a + only_b
    return float(binomtest(only_a, discordant, 0.5).pvalue) if discordant else 1.0


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction, in the order given.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    corrected, running = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        running = max(running, min(1.0, p_values[index] * (len(p_values) - rank)))
        corrected[index] = running
    return corrected


class RunSpread(NamedTuple):
    """How much the difference of two arms varies because each arm is only a sample of possible runs.

    `half` is the half-width of its 95 % interval, 0 where no arm has two runs; `p_value` is two-sided, of "no
    difference", from the runs alone, and None there.
    """

    half: float
    p_value: float | None


def run_spread(rates_a: Sequence[float], rates_b: Sequence[float]) -> RunSpread:
    """Welch's t over runs. An arm of one run adds nothing: its run-to-run variation is unknown.

    rates_a [0.80, 0.90], rates_b [0.60, 0.70]: error = sqrt(0.005/2 + 0.005/2) = 0.0707, 2 degrees of freedom,
    half-width 4.303 · 0.0707 = 0.304, t = 0.2/0.0707 = 2.83, p = 0.106.
    """
    parts = [(variance(rates) / len(rates), len(rates) - 1) for rates in (rates_a, rates_b) if len(rates) > 1]
    if not parts:
        return RunSpread(0.0, None)
    from scipy.stats import t

    total = sum(part for part, _ in parts)
    apart = abs(mean(rates_a) - mean(rates_b))
    if total < 1e-18:
        return RunSpread(0.0, 1.0 if apart < 1e-9 else 0.0)
    freedom = total**2 / sum(part**2 / degrees for part, degrees in parts)
    error = math.sqrt(total)
    return RunSpread(float(t.ppf(0.975, freedom)) * error, float(2 * t.sf(apart / error, freedom)))


def widen(value: float, rows: Interval, half: float) -> Interval:
    """Add the variation between runs to an interval over rows: independent, so half-widths add as squares."""
    low, high = value - math.hypot(value - rows.low, half), value + math.hypot(rows.high - value, half)
    return Interval(max(-1.0, low), min(1.0, high))


def share_of_gain(
    kept: float, kept_rows: Interval, gain: float, gain_rows: Interval, correlation: float = 0.0
) -> Interval | None:
    """Interval of kept / gain, both differences from the same start; None where the gain's interval touches 0.

    Source: Donner and Zou (2012), Statistical Methods in Medical Research 21, 347-359: Fieller's equation with the
    half-widths of the two intervals, here with their covariance.

        kept 0.78 (0.70 to 0.85), gain 0.96 (0.90 to 0.98)   ─►   0.81 (0.73 to 0.90)

    Args:
        kept, kept_rows: the difference that is left, and its interval.
        gain, gain_rows: the difference that was there, and its interval.
        correlation: of the two estimates; 0 is the cautious choice for differences that go together.
    """
    if gain_rows.low <= 0:
        return None

    def end(half: float, sign: int) -> float:
        # The far end of the gain: a larger gain makes a positive share smaller and a negative one less negative.
        far = gain_rows.high - gain if (kept + sign * half > 0) == (sign < 0) else gain - gain_rows.low
        # The roots of (kept - x gain)² = half² - 2 x covariance + x² far²
        a, b, c = gain**2 - far**2, kept * gain - correlation * half * far, kept**2 - half**2
        return (b + sign * math.sqrt(max(0.0, b * b - a * c))) / a

    return Interval(end(kept - kept_rows.low, -1), end(kept_rows.high - kept, 1))
