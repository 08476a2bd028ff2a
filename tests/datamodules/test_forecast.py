"""A run on paper: arithmetic on a plan whose numbers are small enough to count."""

import numpy as np
import pytest

from picochat.datamodules.forecast import forecast
from picochat.datamodules.plan import DataPlan, Split

# 16 rows of lane a and 4 of lane b, roots 4 : 2; each takes 5 of a row's 10 places and learns 2
PLAN = DataPlan(
    lengths=np.full(20, 5),
    supervised=np.full(20, 2),
    lanes=np.array([0] * 16 + [1] * 4, dtype=np.int16),
    capacity=10,
    block_size=12,
)


def test_a_run_takes_rows_tokens_and_epochs_by_the_plan() -> None:
    found = forecast(PLAN, Split(batch_size=1, accumulate=2, world_size=3), steps=20, names=["a", "b"])
    assert (found.step_rows, found.padding) == (6, 0.0)
    assert found.tokens == 20 * 6 * 10
    assert found.supervised == 20 * 6 * 2 * 2
    assert found.epoch_rows == 10  # 20 rows, two a row
    assert found.visible == 6  # positions 1 … 5 see 1 … 5: 3 on average
    a, b = found.lanes
    assert (a.name, a.rows, a.share) == ("a", 16, pytest.approx(8 / 12))
    assert (b.name, b.rows, b.share) == ("b", 4, pytest.approx(4 / 12))
    assert a.epoch_steps == 2  # two blocks of 8 draws, 6 packed rows each
    assert b.epoch_steps == 1
    assert (a.replays, b.replays) == (10, 20)


def test_a_sample_stands_for_all_rows() -> None:
    part = forecast(PLAN, Split(batch_size=6), steps=20, names=["a", "b"], scale=10)
    assert [lane.rows for lane in part.lanes] == [160, 40]
    assert [lane.replays for lane in part.lanes] == [1, 2]
    assert part.epoch_rows == 100


def test_a_lane_that_is_never_drawn_is_left_out() -> None:
    starved = DataPlan(np.full(9, 5), np.full(9, 2), np.array([0] * 8 + [1], dtype=np.int16), 10, alpha=1, block_size=2)
    assert [lane.name for lane in forecast(starved, Split(1), 5, ["a", "b"]).lanes] == ["a"]
