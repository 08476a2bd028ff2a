"""Effects of a toy study by hand, and of a random one against plain loops."""

from itertools import product

import numpy as np
import pytest
from scipy.stats import t as student

from picochat.errors import UserError
from picochat.evidence.clusters import Interval
from picochat.evidence.runs import corrected, smallest_visible
from picochat.study.design import contrasts, make_design, noise_columns
from picochat.study.effects import NATS, POINTS, Effect, Effects, Result, by_lane, correct, estimate

SIGNS = [[1, 1], [1, -1], [-1, 1], [-1, -1], [1, 1]]
PASSES = [[1, 1, 1, 0], [1, 0, 1, 0], [1, 0, 0, 0], [0, 0, 0, 0], [1, 1, 1, 1]]  # two problems of two rows each


def toy(passes: list[list[int]] = PASSES) -> list[list[Result]]:
    return [
        [Result("a", "p1" if row < 2 else "p2", f"row{row}", passed) for row, passed in enumerate(run)]
        for run in passes
    ]


def test_a_toy_study_by_hand() -> None:
    found = estimate(["a", "b"], SIGNS, by_lane(toy())[POINTS])
    a, b = found.cells
    # means 75 50 25 0 100, both full runs one arm of 87.5: (87.5 + 50) / 2 - (25 + 0) / 2
    assert (a.lane, a.on, a.value) == ("a", "a", pytest.approx(56.25))
    assert (b.lane, b.on, b.value) == ("b", "a", pytest.approx(31.25))
    # The full runs differ from their mean by 12.5 each, on one degree of freedom
    assert found.noise["a"].variance == pytest.approx(2 * 12.5**2)
    # Weights ¼ ½ -½ -½ ¼; the problems' contrasts, 50 and 62.5 points of 112.5 / 2, differ by less than cells do
    assert a.error == pytest.approx((2 * 12.5**2 * (2 / 16 + 3 / 4)) ** 0.5)
    assert a.freedom == 1
    assert a.interval == pytest.approx((56.25 - 12.706 * a.error, 56.25 + 12.706 * a.error), abs=1e-2)
    assert a.p_value == pytest.approx(1 - 2 * np.arctan(56.25 / a.error) / np.pi)  # t with one degree is Cauchy's
    assert a.declared
    assert not b.declared
    assert not a.found
    assert found.same_arm == (1, 0, 0)


def simulated(seed: int) -> tuple[np.ndarray, list[list[Result]]]:
    """A study whose eval lanes have 12 problems of 1 to 4 rows; lane 0 helps eval lane 0 by far."""
    random = np.random.default_rng(seed)
    signs = np.array(make_design(["l0", "l1", "l2"]).signs)
    rows = [(f"p{problem}", row) for problem in range(12) for row in range(1 + problem % 4)]
    results = []
    for arm in signs:
        rates = {name: 0.5 + random.normal(0, 0.05) for name in ("l0", "l1", "other")}
        rates["l0"] += 0.4 * arm[0]
        results.append(
            [
                Result(name, problem, f"{problem}/{row}", random.random() < rate)
                for (name, rate), (problem, row) in product(rates.items(), rows)
            ]
        )
    return signs, results


def crossed_by_loops(
    signs: np.ndarray, results: list[list[Result]], weights: np.ndarray, on: str
) -> tuple[float, float, float]:
    """Value, and variance of clusters and of cells, from residuals of single rows."""
    own = [(run, one) for run, made in enumerate(results) for one in made if one.lane == on]
    problems, rows = sorted({one.cluster for _, one in own}), sorted({one.row for _, one in own})
    n, runs = len(rows), len(signs)
    y = np.zeros((runs, n))
    for run, one in own:
        y[run, rows.index(one.row)] = 100 * one.score
    value = sum(weights[run] * y[run].sum() / n for run in range(runs))
    of = [row.split("/")[0] for row in rows]
    columns = noise_columns(signs)
    freedom = runs - np.linalg.matrix_rank(columns)
    left = np.array([column - columns @ np.linalg.lstsq(columns, column, rcond=None)[0] for column in y.T]).T
    clusters = cells = 0.0
    for problem in problems:
        members = [index for index, name in enumerate(of) if name == problem]
        clusters += sum(sum(weights[run] * y[run, i] for run in range(runs)) - value for i in members) ** 2
        cells += sum(sum(left[run, i] - left[run].mean() for i in members) ** 2 for run in range(runs)) / freedom
    correction = len(problems) / (len(problems) - 1) / n**2
    return value, clusters * correction, cells * correction


def test_errors_are_those_of_plain_loops_over_rows() -> None:
    signs, results = simulated(0)
    found = estimate(["l0", "l1", "l2"], signs, by_lane(results)[POINTS])
    assert [cell.lane for cell in found.cells] == [name for name in ("l0", "l1", "l2", "curvature") for _ in range(3)]
    beyond_cells = 0
    for cell in found.cells:
        weights = contrasts(signs)[["l0", "l1", "l2", "curvature"].index(cell.lane)]
        value, clusters, cells = crossed_by_loops(signs, results, weights, cell.on)
        noise, squared = found.noise[cell.on], float((weights**2).sum())
        runs, beyond = squared * max(noise.variance, cells), max(0.0, clusters - squared * cells)
        known = noise.freedom * (1 if noise.variance > cells else 11)  # 12 problems
        freedom = (runs + beyond) ** 2 / (runs**2 / known + beyond**2 / 11)
        assert cell.value == pytest.approx(value)
        assert cell.error == pytest.approx((runs + beyond) ** 0.5)
        assert cell.freedom == pytest.approx(freedom)
        half = student.ppf(0.975, freedom) * cell.error
        assert cell.interval == pytest.approx((value - half, value + half))
        assert cell.p_value == pytest.approx(2 * student.sf(abs(value) / cell.error, freedom))
        beyond_cells += beyond > 0
    assert 0 < beyond_cells < len(found.cells)  # both sides of the maximum were met


def test_declared_effects_are_corrected_by_holm_and_the_rest_by_false_discoveries() -> None:
    signs, results = simulated(1)
    found = estimate(["l0", "l1", "l2"], signs, by_lane(results)[POINTS], declared=[("l2", "other")])
    declared = [cell for cell in found.cells if cell.declared]
    rest = [cell for cell in found.cells if not cell.declared]
    assert [(cell.lane, cell.on) for cell in declared] == [("l0", "l0"), ("l1", "l1"), ("l2", "other")]
    for group in (declared, rest):
        p_values = [cell.p_value for cell in group]
        assert [cell.corrected for cell in group] == corrected(p_values, [group is declared] * len(group))
    assert [cell.found for cell in declared] == [True, False, False]
    assert found.cells[0].value == pytest.approx(80, abs=12)
    for cell in found.cells:
        tests = len(declared) if cell.declared else 1
        if cell.interval.low <= 0 <= cell.interval.high:
            assert cell.smallest_visible == pytest.approx(smallest_visible(cell.error, cell.freedom, tests))
        else:
            assert cell.smallest_visible is None
    assert sum(cell.smallest_visible is None for cell in found.cells) in range(1, 4)


def test_a_declared_effect_is_found_at_5_per_cent_and_another_at_10() -> None:
    for p_value, declared, found in (
        (0.04, True, True),
        (0.06, True, False),
        (0.09, False, True),
        (0.11, False, False),
    ):
        (cell,) = correct([Effect("a", "b", 1.0, Interval(-1, 3), 1.0, 9.0, p_value, declared)])
        assert cell.found is found


def study_of(scores: np.ndarray, signs: np.ndarray, **settings: object) -> Effects:
    """A study with one eval lane of two problems, whose runs score `scores`, problem by problem alike."""
    table = {"x": (np.repeat(scores[:, None], 2, 1), np.ones(2))}
    return estimate([f"l{lane}" for lane in range(signs.shape[1])], signs, table, **settings)  # type: ignore[arg-type]


def test_what_two_lanes_do_together_falls_on_no_lane_and_resolution_five_finds_it() -> None:
    for interactions in (False, True):
        signs = np.array(make_design(["l0", "l1", "l2"], arms=8, interactions=interactions).signs)
        scores = 50 + 3 * signs[:, 0] + 10 * signs[:, 1] * signs[:, 2]
        found = {cell.lane: cell.value for cell in study_of(scores, signs, interactions=interactions).cells}
        assert found["l0"] == pytest.approx(6)
        assert found["l1"] == pytest.approx(0, abs=1e-9)
        assert found["l2"] == pytest.approx(0, abs=1e-9)
        pairs = {"l0 × l1": 0, "l0 × l2": 0, "l1 × l2": 20} if interactions else {}
        assert {lane: value for lane, value in found.items() if "×" in lane} == pytest.approx(pairs, abs=1e-9)


@pytest.mark.parametrize("together", [0, 4])
def test_what_two_lanes_do_together_is_found_as_lack_of_fit(together: float) -> None:
    signs, random, alarms = np.array(make_design(["l0", "l1", "l2"]).signs), np.random.default_rng(0), 0
    for _ in range(100):
        scores = 50 + 9 * signs[:, 0] + together * signs[:, 1] * signs[:, 2] + random.normal(0, 1, len(signs))
        alarms += study_of(scores, signs).beyond == ("x",)
    assert alarms >= 90 if together else alarms <= 10


def test_runs_of_one_arm_that_differ_in_every_problem_are_alarms_by_rows_alone_only() -> None:
    signs = np.array(make_design(["l0", "l1", "l2", "l3"], centre=0, full=3).signs)
    random = np.random.default_rng(0)
    luck = np.where((signs == 1).all(1), [0, *[0] * 7, 20, 40, 60], 0)  # the full runs: 0, 20, 40, 60
    table = {
        name: (50.0 + luck[:, None] + random.normal(0, 3, (len(signs), 30)), np.ones(30)) for name in ("l0", "l1", "x")
    }
    found = estimate(["l0", "l1", "l2", "l3"], signs, table)
    assert found.same_arm[:2] == (6 * 3, 6 * 3)
    assert found.same_arm[2] < 6
    assert not any(cell.found for cell in found.cells)


def test_scores_are_percent_by_problem_and_nll_is_a_unit_of_its_own() -> None:
    runs = [[Result("a", "p", "1", 1.0, 0.25), Result("a", "p", "2", 0.5, 0.75), Result("b", "q", "3", 0.0)]]
    found = {unit: {lane: cells.tolist() for lane, (cells, _) in own.items()} for unit, own in by_lane(runs).items()}
    assert found == {POINTS: {"a": [[150.0]], "b": [[0.0]]}, NATS: {"a": [[1.0]]}}


def test_unfit_studies_are_refused() -> None:
    with pytest.raises(UserError, match="run 2 has no row row3 of a"):
        by_lane([[one for one in rows if (run, one.row) != (2, "row3")] for run, rows in enumerate(toy())])
    with pytest.raises(UserError, match="no arm ran twice"):
        estimate(["a", "b"], SIGNS[:3], by_lane(toy(PASSES[:3]))[POINTS])
    with pytest.raises(UserError, match="do not tell 2 lanes apart"):
        estimate(["a", "b"], [[1, 1]] * 5, by_lane(toy())[POINTS])
