"""The plan: one endless stream of bins, whoever reads it, in whatever split, from wherever; and a run on paper."""

import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from picochat.datamodules.packing import pack
from picochat.datamodules.plan import DataPlan, Split, forecast


def small_plan(seed: int = 42, examples: int = 300, block_size: int | None = None, alpha: float = 0.5) -> DataPlan:
    numbers = np.arange(examples)
    return DataPlan(
        lengths=5 + numbers * 7 % 50,
        supervised=1 + numbers * 3 % 5,
        lanes=(numbers % 10 == 0).astype(np.int16),  # a tenth of the rows in lane 1
        capacity=64,
        seed=seed,
        alpha=alpha,
        block_size=block_size,
    )


def test_every_block_holds_the_quotas_and_no_row_comes_again_before_its_lane_is_exhausted() -> None:
    plan = small_plan(block_size=100)  # 270 and 30 rows, roots 16.43 : 5.48 = 3 : 1
    assert plan.quotas.tolist() == [75, 25]
    counts = np.zeros(300, dtype=int)
    for number in range(12):  # a block's draws are shuffled, so the claim holds at the end of each block
        drawn = np.bincount(plan.block(number).bins.order, minlength=300)
        assert [drawn[plan.lanes == lane].sum() for lane in (0, 1)] == [75, 25]
        counts += drawn
        for lane in (0, 1):
            of_lane = counts[plan.lanes == lane]
            assert of_lane.max() - of_lane.min() <= 1
    assert counts[plan.lanes == 0].min() == 3  # 12 · 75 / 270 = 3.3: both lanes did come round
    assert counts[plan.lanes == 1].min() == 10


@given(st.integers(0, 400), st.integers(1, 90))
def test_any_window_is_that_part_of_the_stream(start: int, count: int) -> None:
    plan = small_plan(block_size=80)
    whole = [members.tolist() for members in plan.bins(0, start + count)]
    assert [members.tolist() for members in small_plan(block_size=80).bins(start, count)] == whole[start:]
    window = plan.bins(start, count)
    assert plan.tokens(start, count) == sum(int(plan.supervised[members].sum()) for members in window)
    assert max(plan.lengths[members].sum() for members in window) <= 64


@given(
    st.integers(1, 5), st.integers(1, 5), st.integers(1, 5), st.integers(0, 20), st.integers(0, 50), st.integers(0, 100)
)
def test_ranks_and_micro_batches_partition_a_step(
    batch: int, accumulate: int, world: int, first_step: int, later: int, first_bin: int
) -> None:
    split = Split(batch, accumulate, world, first_step, first_bin)
    step = first_step + later
    read = [
        split.start(step, micro, rank) + row
        for micro in range(accumulate)
        for rank in range(world)
        for row in range(batch)
    ]
    assert read == list(range(split.step_start(step), split.step_start(step + 1)))
    assert Split(batch_size=1, accumulate=2, world_size=2).start(2, 1, 0) == 10  # as drawn


@pytest.mark.parametrize("alpha", [0.5, 1.0])
def test_lanes_that_stand_one_behind_the_other_are_drawn_as_if_they_did_not(
    alpha: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("picochat.datamodules.plan._PIECE", 7)  # 300 rows are many pieces
    mixed = small_plan(alpha=alpha)
    order = np.argsort(mixed.lanes, kind="stable")
    columns = (mixed.lengths[order], mixed.supervised[order], mixed.lanes[order])
    apart = DataPlan(*columns, capacity=64, alpha=alpha)
    assert [type(rows).__name__ for rows in apart.rows_by_lane] == ["range", "range"]
    assert [type(rows).__name__ for rows in mixed.rows_by_lane] == ["ndarray", "ndarray"]
    assert apart.counts.tolist() == mixed.counts.tolist() == [270, 30]
    for number in range(3):
        assert order[apart.draw(number)].tolist() == mixed.draw(number).tolist()


def test_a_fingerprint_does_not_depend_on_the_pieces_it_is_taken_in(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = small_plan().fingerprint
    monkeypatch.setattr("picochat.datamodules.plan._PIECE", 7)
    assert small_plan().fingerprint == whole
    assert small_plan(seed=1).fingerprint != whole


def test_a_step_of_many_tiny_blocks_packs_each_of_them_once(monkeypatch: pytest.MonkeyPatch) -> None:
    packing = Mock(side_effect=pack)
    monkeypatch.setattr("picochat.datamodules.plan.pack", packing)
    plan, split = small_plan(examples=1), Split(batch_size=8, accumulate=8)
    for micro in range(8):
        plan.bins(split.start(0, micro, 0), 8)
        assert plan.tokens(0, split.rows) == 64
    assert packing.call_count == 64


ROWS = 5_000_000
RANK = """
import sys
import numpy as np
from picochat.datamodules.plan import DataPlan, Split

def own():  # bytes in memory that belong to no file
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon:"))

before = own()
lengths, lanes = (np.memmap(f"{sys.argv[1]}/{dtype}", dtype, "r") for dtype in ("i4", "i2"))
plan = DataPlan(lengths, lengths, lanes, capacity=512)
assert len(plan.bins(Split(batch_size=8, world_size=1024).start(0, 0, 1023), 8)) == 8
print(own() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")
def test_a_rank_starts_without_holding_the_columns(tmp_path: Path) -> None:
    np.random.default_rng(0).integers(8, 512, ROWS, dtype="i4").tofile(tmp_path / "i4")
    (np.arange(ROWS) * 14 // ROWS).astype("i2").tofile(tmp_path / "i2")
    done = subprocess.run([sys.executable, "-c", RANK, str(tmp_path)], capture_output=True, text=True, check=True)
    assert int(done.stdout) < ROWS * (4 + 4 + 2) / 2


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
    without = forecast(replace(PLAN, shares=(Fraction(1), Fraction(0))), Split(1), 8, ["a", "b"])
    assert (without["rows_per_epoch"], without["epochs"]) == (8, 1)  # 16 rows of lane a, two a row
    starved = DataPlan(np.full(9, 5), np.full(9, 2), np.array([0] * 8 + [1], dtype=np.int16), 10, alpha=1, block_size=2)
    assert [lane["name"] for lane in forecast(starved, Split(1), 5, ["a", "b"])["categories"]] == ["a"]
