"""Variances, corrections and power against sums by hand, tables of t, the procedures' definitions and simulation."""

import math

import numpy as np
import pytest
from scipy.stats import t as student

from picochat.errors import UserError
from picochat.evidence.clusters import clustered_difference
from picochat.evidence.runs import (
    RunNoise,
    cluster_variance,
    corrected,
    crossed_variance,
    moderate,
    run_noise,
    smallest_visible,
    visible_difference,
)

ARMS = np.array([[1, 0], [1, 0], [0, 1], [0, 1]])  # two arms of two runs


def noises(residuals: np.ndarray) -> list[RunNoise]:
    """Lanes (J, d) whose d independent residuals are given."""
    freedom = residuals.shape[1]
    return [RunNoise(float((row**2).sum() / freedom), 0.0, freedom, tuple(row.tolist())) for row in residuals]


def test_the_variance_of_clusters_by_hand() -> None:
    # mean 4/8; cluster sums differ from 4 · 0.5 by +1 and -1: 2/(2-1) · (1 + 1) / 8² = 1/16
    assert cluster_variance(np.array([3.0, 1.0]), np.array([4.0, 4.0])) == 1 / 16
    assert cluster_variance(np.array([3.0]), np.array([4.0])) == 0


def test_the_noise_of_runs_by_hand() -> None:
    cells = np.array([[3.0, 1.0], [1.0, 1.0], [4.0, 4.0], [2.0, 4.0]])  # passes of 4 runs on 2 problems of 4 rows
    found = run_noise(cells, np.array([4.0, 4.0]), ARMS)
    assert found is not None
    # run means 0.5 0.25 | 1 0.75: each 0.125 from its arm's, on 4 - 2 degrees of freedom
    assert found.variance == pytest.approx(4 * 0.125**2 / 2)
    assert found.freedom == 2
    assert found.residuals == pytest.approx((0.125, -0.125, 0.125, -0.125))
    # the difference lies in the first problem: each cell is 0.5 rows from its run's, 2/1 · 8 · 0.5² / 8² / 2
    assert found.cell == pytest.approx(2 * 8 * 0.25 / 64 / 2)
    assert run_noise(np.ones((2, 3)), np.ones(3), np.eye(2)) is None  # one run an arm


def test_runs_that_agree_have_no_noise_at_all() -> None:
    all_pass = run_noise(np.full((4, 13), 19.0), np.full(13, 19.0), ARMS)
    assert all_pass is not None and (all_pass.variance, all_pass.cell) == (0, 0)  # not 1e-31, of which moderation logs


def test_moderation_finds_the_prior_that_the_variances_were_drawn_from() -> None:
    # s0² = 2 worth 8 degrees of freedom, 4 of each lane's own: s̃² = (8 · 2 + 4 s²) / 12
    random = np.random.default_rng(0)
    true = 2 * 8 / random.chisquare(8, 4_000)
    lanes = noises(random.normal(size=(4_000, 4)) * np.sqrt(true)[:, None])
    found = moderate(lanes)
    assert found[0].freedom == pytest.approx(12, rel=0.1)
    for raw, moderated in zip(lanes[:20], found, strict=False):
        assert moderated.variance == pytest.approx((8 * 2 + 4 * raw.variance) / 12, rel=0.1)


def test_lanes_of_one_variance_are_pooled_whole() -> None:
    rows = 1 - 2.0 * (np.arange(16)[:, None] >> np.arange(4) & 1)  # sixteen lanes, each four residuals of +1 or -1
    found = moderate(noises(rows * np.linspace(0.99, 1.01, 16)[:, None]))
    assert {round(lane.variance, 3) for lane in found} == {1.0}
    # Squared correlations: 1 of a lane's mirror, else 0 or 1/4; 15 others ─► (1 + 8 / 4) / 15 = 0.2, of which chance
    # makes 1/4. Two standard errors: 2 √(2 / (3 · 6) / 120)
    c = 2 * math.sqrt(2 / 18 / 120)
    assert found[0].freedom == pytest.approx(16 * 4 / (1 + 15 * c))


def test_lanes_that_move_together_count_as_one() -> None:
    lanes = noises(np.outer([1.0, 1.2, 0.9, 1.1], [0.5, -1.0, 2.0]))
    assert [lane.freedom for lane in moderate(lanes)] == pytest.approx([3, 3, 3, 3])


def test_two_lanes_say_nothing_of_a_prior_and_stay_as_they_are() -> None:
    lanes = noises(np.array([[1.0, 2.0], [0.1, 0.2]]))
    assert moderate(lanes) == lanes


def test_runs_and_problems_are_crossed_by_hand() -> None:
    sums, sizes = np.array([2.0, 0.0]), np.array([4.0, 4.0])
    noise = RunNoise(variance=0.05, cell=0.02, freedom=4)
    # clusters: mean 0.25, residuals 1 and -1: 2 · 2 / 64 = 0.0625, of which 0.02 are cells of runs as well
    variance, freedom = crossed_variance(sums, sizes, 1.0, noise)
    assert variance == pytest.approx(0.05 + 0.0425)
    assert freedom == pytest.approx(0.0925**2 / (0.05**2 / 4 + 0.0425**2 / 1))
    assert crossed_variance(sums, sizes, 1.0, None) == (0.0625, 1)
    # twice the weight: 0.1 of runs, 0.04 of cells
    assert crossed_variance(sums, sizes, 2.0, noise)[0] == pytest.approx(0.1 + 0.0225)


def test_runs_by_luck_closer_than_their_rows_allow_count_as_their_rows() -> None:
    flat = np.ones(3), np.full(3, 4.0)
    assert crossed_variance(*flat, 1.0, RunNoise(0.001, 0.02, 4)) == pytest.approx((0.02, 4 * 2))  # cells: 4 · (3 - 1)
    assert crossed_variance(*flat, 1.0, RunNoise(0.021, 0.02, 4)) == pytest.approx((0.021, 4))
    assert crossed_variance(*flat, 1.0, RunNoise(0.0, 0.0, 4)) == (0.0, 2)


def test_the_smallest_visible_effect_by_hand() -> None:
    # quantiles of printed t tables; normal: 1 - 0.025 / 28 = 0.999107
    assert smallest_visible(0.5, 8) == pytest.approx((2.306 + 0.889) / 2, abs=2e-3)
    assert smallest_visible(1.0, 1e9, tests=28) == pytest.approx(3.124 + 0.842, abs=2e-3)


@pytest.mark.parametrize(
    ("raw", "holm", "false_discoveries"),
    [
        ([], [], []),
        # Holm: 3·0.01; 2·0.03; max(0.06, 1·0.04). BH: 3·0.01; min(0.04, …); min(3/2·0.03, 0.04)
        ([0.01, 0.04, 0.03], [0.03, 0.06, 0.06], [0.03, 0.04, 0.04]),
        ([0.5, 0.9], [1.0, 1.0], [0.9, 0.9]),
    ],
)
def test_p_values_are_corrected_by_hand(raw: list[float], holm: list[float], false_discoveries: list[float]) -> None:
    assert corrected(raw, [True] * len(raw)) == pytest.approx(holm)
    assert corrected(raw, [False] * len(raw)) == pytest.approx(false_discoveries)
    mixed = corrected([p for p in raw for _ in "ab"], [True, False] * len(raw))  # each family by itself
    assert (mixed[::2], mixed[1::2]) == (pytest.approx(holm), pytest.approx(false_discoveries))


def test_the_smallest_difference_by_hand() -> None:
    # rows that are problems of their own, p = 0.5: variance 2 · 0.25 / 1000; normal quantiles 1.960 + 0.842
    assert visible_difference(1000, 1000, rate=0.5, icc=0, run_sd=0) == pytest.approx(2.802 * 0.0005**0.5, rel=1e-3)
    # two runs an arm with a standard deviation of 3 points: 0.03² · 2 / 2, on 2 · 1 · 4 degrees of freedom
    tests = student.ppf(1 - 0.025 / 5, 8) + student.ppf(0.8, 8)
    found = visible_difference(10_000, 10_000, 2, icc=0, run_sd=3, tests=5)
    assert found == pytest.approx(tests * 0.03, rel=1e-3)


def test_a_difference_of_that_size_is_found_four_times_in_five() -> None:
    # 60 problems of 4 rows, both arms around 0.5; difficulties share 70 % of their variance, as the formula assumes
    random, icc, problems, found = np.random.default_rng(2), 0.3, 60, 0
    shift, clusters = visible_difference(240, problems, 2, 0.5, icc, run_sd=0), np.repeat(np.arange(problems), 4)
    noise = RunNoise(0.25 * (1 - icc) / 240, 0.25 * (1 - icc) / 240, 1e9)
    for _ in range(400):
        shared, own = random.normal(size=problems), random.normal(size=(2, problems))
        chances = 0.5 + 0.5 * icc**0.5 * (0.7**0.5 * shared + 0.3**0.5 * own) + [[-shift / 2], [shift / 2]]
        arms = [random.random((2, 240)) < chance[clusters] for chance in chances]
        found += clustered_difference(*arms, clusters, noise).p_value < 0.05
    assert 0.72 <= found / 400 <= 0.88


def test_numbers_out_of_range_are_refused() -> None:
    for numbers in ((9, 9), (20, 30), (20, 20, 0), (20, 20, 1, 1.0), (20, 20, 1, 0.9, 2.0)):
        with pytest.raises(UserError, match="power needs"):
            visible_difference(*numbers)
