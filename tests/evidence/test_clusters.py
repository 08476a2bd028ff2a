"""Clustered rates and differences against other ways to compute them, and against Wilson, Tango and sign tables."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import betabinom
from scipy.stats import t as student

from picochat.evidence.clusters import (
    Z95,
    ClusteredRate,
    Interval,
    clustered_difference,
    clustered_rate,
    design_effect,
    difference_of_sets,
    share_of_gain,
    sign_flip_test,
    wilson,
)
from picochat.evidence.runs import RunNoise

BITS = st.lists(st.integers(0, 1), min_size=24, max_size=24)
PROBLEMS = [row // 2 for row in range(24)]  # 12 clusters of two rows


@given(st.integers(1, 300), st.data())
def test_where_every_row_is_its_own_cluster_the_interval_is_wilsons(n: int, data: st.DataObject) -> None:
    passed = data.draw(st.integers(0, n))
    found = clustered_rate([1] * passed + [0] * (n - passed), range(n))
    assert found.interval == wilson(passed, n)
    assert found.effective_rows == n


def test_the_design_effect_is_the_posterior_mean_of_a_beta_binomial_model() -> None:
    passed, sizes = [4, 0, 3, 1], [4, 4, 5, 2]
    weights = total = 0.0
    for u in (np.arange(60) + 0.5) / 60:  # quantiles of Beta(½, ½): sin²(π u / 2)
        mean = math.sin(math.pi * u / 2) ** 2
        for v in (np.arange(60) + 0.5) / 60:  # quantiles of Beta(½, 1): v²
            a, b = mean * (1 / v**2 - 1), (1 - mean) * (1 / v**2 - 1)
            weight = math.prod(betabinom.pmf(x, n, a, b) for x, n in zip(passed, sizes, strict=True))
            weights, total = weights + weight, total + weight * v**2
    expected = 1 + ((16 + 16 + 25 + 4) / 15 - 1) * total / weights
    assert design_effect(np.array(passed, float), np.array(sizes, float)) == pytest.approx(expected, rel=3e-3)


def test_fewer_than_ten_problems_have_no_interval_and_their_difference_is_tested_by_sign_flips() -> None:
    problems = [row // 5 for row in range(45)]  # 9
    assert clustered_rate([1] * 45, problems).interval is None
    found = clustered_difference([0] * 45, [1] * 30 + [0] * 15, problems)
    assert found.interval is None
    assert found.p_value == 2 / 2**6  # six problems gained, none lost
    ten = [row // 5 for row in range(50)]
    assert clustered_rate([1] * 50, ten).interval is not None
    assert clustered_difference([0] * 50, [1] * 50, ten).interval is not None


def tango_by_search(wins: float, losses: float, n: float) -> tuple[float, float]:
    """Tango's interval by its definition: all differences whose score test, at the most likely losses, is below Z95."""
    kept = []
    for step in range(-999, 1000):
        difference = step / 1000
        losing = np.linspace(max(0, -difference), (1 - difference) / 2, 1001)[1:-1]
        likelihood = (
            wins * np.log(losing + difference)
            + losses * np.log(losing)
            + (n - wins - losses) * np.log(1 - 2 * losing - difference)
        )
        q = losing[likelihood.argmax()]
        if abs(wins - losses - n * difference) <= Z95 * math.sqrt(n * (2 * q + difference * (1 - difference))):
            kept.append(difference)
    return kept[0], kept[-1]


def test_where_every_row_is_its_own_cluster_the_difference_has_tangos_interval() -> None:
    first = [1] * 12 + [1] * 2 + [0] * 9 + [0] * 17  # 40 rows: 12 kept, 2 lost, 9 won
    second = [1] * 12 + [0] * 2 + [1] * 9 + [0] * 17
    found = clustered_difference(first, second, range(40))
    share = (Z95 / student.ppf(0.975, 39)) ** 2  # t for the normal quantile
    assert found.interval == pytest.approx(tango_by_search(9 * share, 2 * share, 40 * share), abs=2e-3)
    assert found.value == pytest.approx(7 / 40)
    assert found.p_value == pytest.approx(2 * student.sf(7 / math.sqrt(11), 39))  # McNemar's statistic


@given(BITS, BITS)
def test_the_interval_excludes_zero_exactly_where_p_is_below_one_in_twenty(first: list[int], second: list[int]) -> None:
    found = clustered_difference(first, second, PROBLEMS)
    assert found.interval is not None
    assert found.interval.low <= found.value + 1e-9
    assert found.interval.high >= found.value - 1e-9
    if abs(found.p_value - 0.05) > 1e-9:
        assert (found.interval.low > 0 or found.interval.high < 0) == (found.p_value < 0.05)


@given(BITS, BITS, st.permutations(range(24)))
def test_swapped_arms_mirror_the_difference_and_the_order_of_rows_is_nothing(
    first: list[int], second: list[int], order: list[int]
) -> None:
    found = clustered_difference(first, second, PROBLEMS)
    arms = [[arm[row] for row in order] for arm in (second, first)]
    mixed = clustered_difference(*arms, [row // 2 for row in order])
    assert found.interval is not None
    assert mixed.interval is not None
    assert mixed.value == pytest.approx(-found.value)
    assert mixed.interval == pytest.approx((-found.interval.high, -found.interval.low))
    assert mixed.p_value == pytest.approx(found.p_value)


def test_copies_of_rows_tell_nothing_new() -> None:
    first, second = [0] * 40 + [1] * 40, [1] * 14 + [0] * 24 + [1] * 38 + [0] * 4
    problems = [row // 4 for row in range(80)]
    once = clustered_difference(first, second, problems)
    often = clustered_difference(first * 9, second * 9, problems * 9)
    assert 0.01 < once.p_value < 0.2
    assert often.p_value == pytest.approx(once.p_value, rel=0.05)
    assert clustered_difference(first * 9, second * 9, range(720)).p_value < once.p_value / 1000  # as if they were new


def test_arms_that_agree_everywhere_leave_room_for_what_so_few_problems_cannot_show() -> None:
    found = clustered_difference([1] * 60, [1] * 60, [row // 5 for row in range(60)])
    assert (found.value, found.p_value) == (0.0, 1.0)
    assert found.interval is not None
    assert found.interval.high == pytest.approx(-found.interval.low)
    for known in (1e-33, 1e-6, 1e-3):  # how much runs differ never narrows it
        noisy = clustered_difference([1] * 60, [1] * 60, [row // 5 for row in range(60)], RunNoise(known, 0.0, 99))
        assert noisy.interval is not None and noisy.interval.high >= found.interval.high - 1e-9
    assert 0.2 < found.interval.high < 0.35  # Tango on 12 rows with a t of 11 degrees: z² / (z² + 12 · (1.96 / 2.2)²)


def test_runs_of_an_arm_are_averaged_and_their_noise_widens_the_interval() -> None:
    random = np.random.default_rng(0)
    first, second = random.random((2, 60)) < 0.5, random.random((2, 60)) < 0.8
    problems = [row // 3 for row in range(60)]
    rows = clustered_difference(first, second, problems)
    both = clustered_difference(first, second, problems, RunNoise(variance=0.01, cell=0.0, freedom=6))
    assert rows.value == both.value == pytest.approx(second.mean() - first.mean())
    assert both.error**2 == pytest.approx(rows.error**2 + 0.01 * (1 / 2 + 1 / 2))
    assert rows.interval is not None
    assert both.interval is not None
    assert both.interval.low < rows.interval.low < both.value < rows.interval.high < both.interval.high


def test_sign_flips_by_hand() -> None:
    # |±3 ±1| = 4 2 2 4; |2 1 1 -1| is 3, and with +2 the others give 5 3 3 3 1 1 1 1: four of eight reach 3
    assert [sign_flip_test(sums) for sums in ([3, 1], [5, -5], [], [2, 1, 1, -1])] == [0.5, 1, 1, 0.5]


def test_wilson_gives_the_published_intervals() -> None:
    # Newcombe (1998), Statistics in Medicine 17, 857-872, table I, method 3
    for passed, n, low, high in ((81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611)):
        assert wilson(passed, n) == pytest.approx((low, high), abs=5e-5)


def test_the_difference_of_two_sets_has_the_published_intervals() -> None:
    def rate(passed: int, n: int) -> ClusteredRate:
        return clustered_rate([1] * passed + [0] * (n - passed), range(n))

    # Newcombe (1998), Statistics in Medicine 17, 873-890, table II, method 10
    assert difference_of_sets(rate(56, 70), rate(48, 80)) == pytest.approx((0.0524, 0.3339), abs=1e-4)
    assert difference_of_sets(rate(10, 10), rate(0, 10)) == pytest.approx((0.6075, 1.0), abs=1e-4)
    assert difference_of_sets(rate(9, 10), clustered_rate([1] * 45, [row // 5 for row in range(45)])) is None


def test_the_share_of_a_gain_by_hand() -> None:
    # Fieller's equation with half-widths 0.08 and 0.02 (lower end), 0.07 and 0.06 (upper end):
    # (0.78 - 0.96 x)² = 0.08² + 0.02² x²  ─►  0.9212 x² - 1.4976 x + 0.6020 = 0  ─►  x = 0.7278
    # (0.78 - 0.96 x)² = 0.07² + 0.06² x²  ─►  0.9180 x² - 1.4976 x + 0.6035 = 0  ─►  x = 0.9048
    ends = share_of_gain(0.78, Interval(0.70, 0.85), 0.96, Interval(0.90, 0.98))
    assert ends == pytest.approx((0.7278, 0.9048), abs=1e-4)
    # With correlation 0.5 the covariance 0.5 · 0.08 · 0.02 comes off the middle term twice: x = 0.7357
    closer = share_of_gain(0.78, Interval(0.70, 0.85), 0.96, Interval(0.90, 0.98), 0.5)
    assert closer is not None
    assert closer.low == pytest.approx(0.7357, abs=1e-4)
    assert share_of_gain(0.1, Interval(0.0, 0.2), 0.1, Interval(0.0, 0.2)) is None  # of a gain that may be none


def test_the_interval_of_a_share_holds_the_truth_about_as_often_as_it_says() -> None:
    # 200 rows: the start passes 2 %, the peak 90 %; of the peak's rows 80 % are kept, of the others 5 % pass
    random, rows, held = np.random.default_rng(0), range(200), 0
    truth = (0.9 * 0.8 + 0.1 * 0.05 - 0.02) / (0.9 - 0.02)
    for _ in range(400):
        start, peak = random.random(200) < 0.02, random.random(200) < 0.9
        later = np.where(peak, random.random(200) < 0.8, random.random(200) < 0.05)
        kept, gain = (clustered_difference(start, new, rows) for new in (later, peak))
        assert kept.interval is not None and gain.interval is not None
        together = float(np.corrcoef(later * 1.0 - start, peak * 1.0 - start)[0, 1])
        ends = share_of_gain(kept.value, kept.interval, gain.value, gain.interval, together)
        held += ends is not None and ends.low <= truth <= ends.high
    assert 0.92 <= held / 400 <= 0.985
