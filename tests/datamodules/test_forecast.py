"""A run on paper: arithmetic on a plan whose numbers are small enough to count."""

import numpy as np
import pytest

from picochat.datamodules.plan import DataPlan, Split, forecast

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
    a, b = found.pop("categories")
    assert found == {
        "steps": 20,
        "rows_per_step": 6,
        "rows_per_epoch": 10,  # 20 rows, two a row
        "epochs": 12,
        "tokens": 20 * 6 * 10,
        "supervised_tokens": 20 * 6 * 2 * 2,
        "padding": 0,
        "document_length": 6,  # positions 1 … 5 see 1 … 5: 3 on average
    }
    # two blocks of 8 draws from lane a, 6 packed rows each
    assert a == {"name": "a", "rows": 16, "share": pytest.approx(8 / 12), "epoch_steps": 2, "replays": 10}
    assert b == {"name": "b", "rows": 4, "share": pytest.approx(4 / 12), "epoch_steps": 1, "replays": 20}


def test_a_sample_stands_for_all_rows() -> None:
    part = forecast(PLAN, Split(batch_size=6), steps=20, names=["a", "b"], scale=10)
    assert [(lane["rows"], lane["replays"]) for lane in part["categories"]] == [(160, 1), (40, 2)]
    assert part["rows_per_epoch"] == 100


def test_a_lane_that_is_never_drawn_is_left_out() -> None:
    starved = DataPlan(np.full(9, 5), np.full(9, 2), np.array([0] * 8 + [1], dtype=np.int16), 10, alpha=1, block_size=2)
    assert [lane["name"] for lane in forecast(starved, Split(1), 5, ["a", "b"])["categories"]] == ["a"]
