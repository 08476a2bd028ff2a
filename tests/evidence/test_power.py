"""What a comparison will be able to see, against sums by hand and against comparisons of that size."""

import numpy as np
import pytest
from scipy.stats import t as student

from picochat.errors import UserError
from picochat.evidence.clusters import clustered_difference
from picochat.evidence.runs import RunNoise, power_report, visible_difference


def test_the_smallest_difference_by_hand() -> None:
    # rows that are problems of their own, p = 0.5: variance 2 · 0.25 / 1000; normal quantiles 1.960 + 0.842
    assert visible_difference(1000, 1000, rate=0.5, icc=0, run_sd=0) == pytest.approx(2.802 * 0.0005**0.5, rel=1e-3)
    # two runs an arm with a standard deviation of 3 points: 0.03² · 2 / 2, on 2 · 1 · 3 degrees of freedom
    tests = student.ppf(1 - 0.025 / 5, 6) + student.ppf(0.8, 6)
    found = visible_difference(10_000, 10_000, 2, icc=0, run_sd=3, tests=5, pooled_lanes=3)
    assert found == pytest.approx(tests * 0.03, rel=1e-3)


def test_more_rows_of_the_same_problems_help_little_and_more_problems_do() -> None:
    few, rows, problems = (visible_difference(*size, run_sd=0) for size in ((246, 13), (2460, 13), (2460, 130)))
    assert rows > 0.8 * few
    assert problems < 0.4 * few


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


def test_the_answer_comes_with_what_more_runs_and_problems_would_change() -> None:
    answer, table = power_report(246, 95, 3)
    assert "246 rows of 95 problems, 3 runs an arm, at a rate of 90.0 %: differences from " in answer.lines[0]
    assert table.head == ("runs an arm", "95 problems", "190 problems", "380 problems")
    assert [row[0] for row in table.rows] == ["1", "2", "3", "5", "10"]
    assert f"from {table.rows[2][1]} points on" in answer.lines[0]


def test_numbers_out_of_range_are_refused() -> None:
    for given in ((9, 9), (20, 30), (20, 20, 0), (20, 20, 1, 1.0), (20, 20, 1, 0.9, 2.0)):
        with pytest.raises(UserError, match="power needs"):
            visible_difference(*given)
