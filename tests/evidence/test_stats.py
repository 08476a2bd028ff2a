"""Intervals and tests against cases computed by hand, published, or given by scipy."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from picochat.evidence.stats import (
    Interval,
    RunSpread,
    difference,
    holm,
    mcnemar_exact,
    paired_difference,
    run_spread,
    share_of_gain,
    widen,
    wilson,
)


@pytest.mark.parametrize(
    ("passed", "n", "low", "high"),
    [  # Newcombe (1998), Statistics in Medicine 17, 857-872, table I, method 3
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_gives_the_published_intervals(passed: int, n: int, low: float, high: float) -> None:
    assert wilson(passed, n) == pytest.approx((low, high), abs=5e-5)


@settings(deadline=None)
@given(st.integers(1, 400), st.data())
def test_wilson_agrees_with_scipy(n: int, data: st.DataObject) -> None:
    passed = data.draw(st.integers(0, n))
    expected = binomtest(passed, n).proportion_ci(method="wilson")
    assert wilson(passed, n) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_no_rows_say_nothing() -> None:
    assert wilson(0, 0) == (0.0, 1.0)
    assert paired_difference(0, 0, 0, 0) == (-1.0, 1.0)


@pytest.mark.parametrize(
    ("only_a", "only_b", "p_value"),
    [
        (0, 0, 1.0),
        (0, 1, 1.0),  # 2 · 1/2
        (0, 6, 0.03125),  # 2 / 64
        (1, 7, 0.0703125),  # 2 · (1 + 8) / 256
        (10, 0, 0.001953125),  # 2 / 1024
        (4, 4, 1.0),
    ],
)
def test_exact_mcnemar_by_hand(only_a: int, only_b: int, p_value: float) -> None:
    assert mcnemar_exact(only_a, only_b) == pytest.approx(p_value)


@pytest.mark.parametrize(
    ("raw", "corrected"),
    [
        ([], []),
        ([0.2], [0.2]),
        ([0.01, 0.04, 0.03], [0.03, 0.06, 0.06]),  # 3·0.01; 2·0.03; max(0.06, 1·0.04)
        ([0.5, 0.9], [1.0, 1.0]),
        ([0.04, 0.001], [0.04, 0.002]),
    ],
)
def test_holm_by_hand(raw: list[float], corrected: list[float]) -> None:
    assert holm(raw) == pytest.approx(corrected)


def test_paired_difference_by_hand() -> None:
    # a, b, c, d = 36, 12, 2, 0: A passes 48/50, B 38/50. Wilson A 0.8654-0.9890, B 0.6259-0.8570.
    # phi = (0 - 24) / sqrt(48·2·38·12) = -24/209.2 = -0.1147.
    # below = sqrt(0.0946² + 2·0.1147·0.0946·0.0970 + 0.0970²) = 0.1431; above = sqrt(0.1341² + … + 0.0290²) = 0.1404
    assert paired_difference(36, 12, 2, 0) == pytest.approx((0.0569, 0.3404), abs=2e-4)


def test_paired_difference_of_equal_runs_is_centred_and_narrower_the_more_rows_agree() -> None:
    few, many = paired_difference(10, 5, 5, 10), paired_difference(100, 5, 5, 100)
    assert few.low == pytest.approx(-few.high)
    assert many.high < few.high / 2


@settings(deadline=None)
@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 60), st.integers(0, 60))
def test_paired_difference_holds_its_estimate_and_mirrors_when_the_arms_are_swapped(
    a: int, b: int, c: int, d: int
) -> None:
    if a + b + c + d == 0:
        return
    low, high = paired_difference(a, b, c, d)
    assert -1 <= low <= (b - c) / (a + b + c + d) <= high <= 1
    assert paired_difference(a, c, b, d) == pytest.approx((-high, -low))


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    # Truth: both pass 70 %, only A 15 %, only B 5 %, neither 10 %, so the difference is 0.10; n = 80 rows, 2,000 draws.
    tables = np.random.default_rng(7).multinomial(80, [0.70, 0.15, 0.05, 0.10], size=2_000)
    covered = sum(low <= 0.10 <= high for low, high in (paired_difference(*map(float, table)) for table in tables))
    assert 0.935 <= covered / 2_000 <= 0.985


@pytest.mark.parametrize(
    ("counts", "low", "high"),
    [  # Newcombe (1998), Statistics in Medicine 17, 873-890, table II, method 10
        ((56, 70, 48, 80), 0.0524, 0.3339),
        ((9, 10, 3, 10), 0.1705, 0.8090),
        ((0, 10, 0, 10), -0.2775, 0.2775),
        ((10, 10, 0, 10), 0.6075, 1.0000),
    ],
)
def test_difference_of_two_sets_gives_the_published_intervals(
    counts: tuple[int, int, int, int], low: float, high: float
) -> None:
    assert difference(*counts) == pytest.approx((low, high), abs=1e-4)


def test_run_spread_by_hand() -> None:
    # variances 0.005 and 0.005, two runs each: error sqrt(0.005) = 0.07071, 2 degrees of freedom, t = 2.8284
    spread = run_spread([0.80, 0.90], [0.60, 0.70])
    assert spread.half == pytest.approx(4.3027 * 0.0707107, abs=1e-5)  # the t table's value for 2 degrees of freedom
    assert spread.p_value == pytest.approx(1 - 2.8284271 / math.sqrt(2.8284271**2 + 2), abs=1e-6)  # closed form at 2


def test_single_runs_have_no_spread_to_speak_of() -> None:
    assert run_spread([0.8], [0.6]) == RunSpread(0.0, None)


def test_runs_that_agree_to_the_row_add_nothing_to_the_interval() -> None:
    assert run_spread([0.8, 0.8], [0.6, 0.6]) == RunSpread(0.0, 0.0)
    assert run_spread([0.8, 0.8], [0.8]) == RunSpread(0.0, 1.0)


def test_between_run_variation_widens_the_interval() -> None:
    rows = Interval(0.1, 0.4)
    # half-widths 0.15 below and above, and 2 · 0.1 = 0.2 between runs: sqrt(0.15² + 0.2²) = 0.25
    assert widen(0.25, rows, 0.2) == pytest.approx((0.0, 0.5))
    assert widen(0.25, rows, 0.0) == pytest.approx(rows)


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


def test_nothing_is_kept_of_a_gain_that_may_be_none() -> None:
    assert share_of_gain(0.1, Interval(0.0, 0.2), 0.1, Interval(0.0, 0.2)) is None


@settings(deadline=None)
@given(st.floats(-0.9, 0.9), st.floats(0.01, 0.5), st.floats(0.01, 0.5), st.floats(0.1, 1.0), st.floats(0.01, 0.9))
def test_the_share_lies_inside_its_interval(kept: float, low: float, high: float, gain: float, part: float) -> None:
    half = part * gain
    ends = share_of_gain(kept, Interval(kept - low, kept + high), gain, Interval(gain - half, gain + half))
    assert ends is not None
    assert ends.low <= kept / gain <= ends.high


def test_the_interval_of_a_share_holds_the_truth_about_as_often_as_it_says() -> None:
    # 200 rows: the start passes 2 %, the peak 90 %; of the peak's rows 80 % are kept, of the others 5 % pass
    random = np.random.default_rng(0)
    truth = (0.9 * 0.8 + 0.1 * 0.05 - 0.02) / (0.9 - 0.02)
    held = 0
    for _ in range(400):
        start, peak = random.random(200) < 0.02, random.random(200) < 0.9
        later = np.where(peak, random.random(200) < 0.8, random.random(200) < 0.05)

        def paired(new: np.ndarray, old: np.ndarray = start) -> tuple[float, Interval]:
            table = [(new & old).sum(), (new & ~old).sum(), (~new & old).sum(), (~new & ~old).sum()]
            return (table[1] - table[2]) / 200, paired_difference(*map(float, table))

        together = float(np.corrcoef(later * 1.0 - start, peak * 1.0 - start)[0, 1])
        ends = share_of_gain(*paired(later), *paired(peak), together)
        held += ends is not None and ends.low <= truth <= ends.high
    assert 0.92 <= held / 400 <= 0.985
