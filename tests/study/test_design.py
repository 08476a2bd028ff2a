"""Designs against signs written by hand and the properties that make effects come apart."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from picochat.errors import UserError
from picochat.study.design import contrasts, make_design, noise_columns, precision

ARMS = {lanes: 8 if lanes <= 4 else 16 if lanes <= 8 else 24 if lanes <= 12 else 32 for lanes in range(1, 17)}
CAPACITY_V = {3: 8, 5: 16, 6: 32, 8: 64, 11: 128}


def names(lanes: int) -> list[str]:
    return [f"lane{index}" for index in range(lanes)]


def array(lanes: int, **settings: object) -> np.ndarray:
    return np.array(make_design(names(lanes), centre=0, full=0, **settings).signs)  # type: ignore[arg-type]


def test_the_design_for_four_lanes_by_hand() -> None:
    found = make_design(["a", "b", "c", "d"])
    assert found.lanes == ("a", "b", "c", "d")
    assert found.signs == (
        (1, 1, 1, 1),
        (1, -1, 1, -1),
        (1, 1, -1, -1),
        (1, -1, -1, 1),
        (-1, -1, -1, -1),
        (-1, 1, -1, 1),
        (-1, -1, 1, 1),
        (-1, 1, 1, -1),
        (0, 0, 0, 0),
        (0, 0, 0, 0),
        (1, 1, 1, 1),
        (1, 1, 1, 1),
    )
    assert found.seeds == (0, 1, 2, 3, 0, 1, 2, 3, 4, 5, 6, 7)  # a mirror shares its arm's


@pytest.mark.parametrize(("lanes", "arms"), ARMS.items())
def test_lanes_are_balanced_orthogonal_and_free_of_what_two_lanes_do_together(lanes: int, arms: int) -> None:
    signs = array(lanes)
    assert signs.shape == (arms, lanes)
    assert set(signs.flat) == {-1, 1}
    assert (signs.sum(0) == 0).all()
    assert (signs.T @ signs == arms * np.eye(lanes)).all()
    assert (signs[0] == 1).all()  # the mixture as it is
    for i, j in combinations(range(lanes), 2):
        assert (signs.T @ (signs[:, i] * signs[:, j]) == 0).all()


@pytest.mark.parametrize(("lanes", "arms"), CAPACITY_V.items())
def test_resolution_five_tells_all_pairs_of_lanes_apart_too(lanes: int, arms: int) -> None:
    signs = array(lanes, interactions=True)
    pairs = [signs[:, i] * signs[:, j] for i, j in combinations(range(lanes), 2)]
    columns = np.column_stack([np.ones(len(signs)), signs, *pairs])
    assert len(signs) == arms
    assert (columns.T @ columns == arms * np.eye(columns.shape[1])).all()
    with pytest.raises(UserError, match=f"{arms} arms"):
        make_design(names(lanes + 1), arms=arms, interactions=True)


@given(st.integers(2, 16))
def test_an_arm_and_its_mirror_share_a_seed_and_no_run_is_made_twice(lanes: int) -> None:
    found = make_design(names(lanes), centre=3, full=1)
    half = ARMS[lanes] // 2
    for arm in range(half):
        assert found.signs[arm] == tuple(-sign for sign in found.signs[arm + half])
        assert found.seeds[arm] == found.seeds[arm + half]
    assert len(set(zip(found.signs, found.seeds, strict=True))) == len(found.signs) == 2 * half + 4


@pytest.mark.parametrize(
    ("lanes", "arms", "remedy"), [(17, None, "use fewer lanes"), (5, 8, "use `arms: 16`"), (11, 16, "use `arms: 24`")]
)
def test_more_lanes_than_arms_can_tell_apart_are_refused_with_a_remedy(
    lanes: int, arms: int | None, remedy: str
) -> None:
    with pytest.raises(UserError, match=rf"{remedy}.*; there are 8 arms \(up to 4 lanes\), 16 arms \(up to 8 lanes\)"):
        make_design(names(lanes), arms=arms)


def test_contrasts_are_on_less_off_by_hand() -> None:
    weights = contrasts([[1, 1], [1, -1], [-1, -1], [-1, 1]])
    assert weights == pytest.approx(np.array([[1, 1, -1, -1], [1, -1, -1, 1]]) / 2)
    # half the difference that b makes to the effect of a: ((y0 - y3) - (y1 - y2)) / 2
    assert contrasts([[1, 1], [1, -1], [-1, -1], [-1, 1]], interactions=True)[2] == pytest.approx(
        [0.5, -0.5, 0.5, -0.5]
    )


def test_an_arm_counts_once_however_many_runs_it_has_and_the_centre_is_set_against_the_mean() -> None:
    a, b, curvature = contrasts([[1, 1], [1, -1], [-1, -1], [-1, 1], [1, 1], [0, 0], [0, 0]])
    assert a == pytest.approx([0.25, 0.5, -0.5, -0.5, 0.25, 0, 0])
    assert b == pytest.approx([0.25, -0.5, -0.5, 0.5, 0.25, 0, 0])
    assert curvature == pytest.approx([-0.125, -0.25, -0.25, -0.25, -0.125, 0.5, 0.5])


def test_leaving_out_one_lane_at_a_time_has_contrasts_as_well() -> None:
    leave_one_out = [[1, 1, 1], [-1, 1, 1], [1, -1, 1], [1, 1, -1]]
    assert contrasts(leave_one_out) == pytest.approx(np.array([[1, -1, 0, 0], [1, 0, -1, 0], [1, 0, 0, -1]]))
    with pytest.raises(UserError, match="2 different arms do not tell 3 lanes apart"):
        contrasts(leave_one_out[:2])
    with pytest.raises(UserError, match="do not tell 4 lanes and their pairs apart"):
        contrasts(make_design(names(4)).signs, interactions=True)


def test_what_is_left_for_noise_is_repetition_and_what_three_lanes_do_together() -> None:
    def left(signs: object) -> int:
        columns = noise_columns(signs)  # type: ignore[arg-type]
        return len(columns) - int(np.linalg.matrix_rank(columns))

    assert left(make_design(names(4)).signs) == 3  # 2 centre runs - 1, and 3 full runs - 1
    assert left(make_design(names(4), centre=0, full=4).signs) == 4
    assert left(make_design(names(5)).signs) == 3 + 3  # 16 arms - mean - 5 lanes - 7 strings of pairs
    assert left(array(4)) == 3  # nothing repeated: pairs of lanes have to serve


def test_the_precision_of_a_design_by_hand() -> None:
    bare = make_design(names(7), centre=0, full=0)
    found = precision(bare, 2.0, cells=28)
    assert found.error == pytest.approx(1.0)  # 2 · 2 / √16
    assert found.freedom == 1  # 16 - mean - 7 lanes - 7 strings of pairs
    assert found.one_test == pytest.approx(12.706 + 1.376, abs=1e-3)  # printed t table, 1 degree of freedom
    assert found.holm == pytest.approx(1 / np.tan(np.pi * 0.025 / 28) + 1.376, rel=1e-3)  # of Cauchy's distribution
    assert precision(make_design(names(1), centre=0, full=0, arms=8), 1, 1).freedom == 6
    # full runs share their arm's weight: 2 σ / √8 · √((7 + 1/3) / 8)
    assert precision(make_design(names(4)), 1, 1).error == pytest.approx((22 / 3) ** 0.5 / 4)
