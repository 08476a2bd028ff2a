"""The plan: one endless stream of bins, whoever reads it, in whatever split, from wherever."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from picochat.datamodules.plan import DataPlan, Split


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


def test_every_block_holds_exactly_the_quotas() -> None:
    plan = small_plan(block_size=100)  # 270 and 30 rows, roots 16.43 : 5.48 = 3 : 1
    assert plan.quotas.tolist() == [75, 25]
    for number in range(5):
        lanes = plan.lanes[plan.block(number).bins.order]
        assert np.bincount(lanes).tolist() == [75, 25]


def test_no_row_comes_again_before_its_lane_is_exhausted() -> None:
    plan = small_plan(block_size=100)
    counts = np.zeros(300, dtype=int)
    for number in range(12):  # a block's draws are shuffled, so the claim holds at the end of each block
        counts += np.bincount(plan.draw(number), minlength=300)
        for lane in (0, 1):
            of_lane = counts[plan.lanes == lane]
            assert of_lane.max() - of_lane.min() <= 1
    assert counts[plan.lanes == 0].min() == 3  # 12 · 75 / 270 = 3.3: both lanes did come round
    assert counts[plan.lanes == 1].min() == 10


def test_bins_hold_whole_examples_within_capacity_and_know_their_supervised_tokens() -> None:
    plan = small_plan()
    block = plan.block(0)
    for members, tokens in zip(block.bins, block.tokens.tolist(), strict=True):
        assert plan.lengths[members].sum() <= 64
        assert plan.supervised[members].sum() == tokens
    assert plan.tokens(0, len(block.bins)) == plan.supervised[block.bins.order].sum()


@given(st.integers(0, 400), st.integers(1, 90))
@settings(deadline=None)
def test_any_window_is_that_part_of_the_stream(start: int, count: int) -> None:
    plan = small_plan(block_size=80)
    whole = [members.tolist() for members in plan.bins(0, start + count)]
    assert [members.tolist() for members in small_plan(block_size=80).bins(start, count)] == whole[start:]
    tokens = sum(int(plan.supervised[members].sum()) for members in plan.bins(start, count))
    assert plan.tokens(start, count) == tokens


def test_an_anchored_plan_goes_on_with_the_same_stream_and_never_packs_what_lies_before() -> None:
    plan = small_plan(block_size=80)
    expected = [members.tolist() for members in plan.bins(200, 30)]
    number, first = plan.locate(200)
    assert number > 3
    anchored = replace(small_plan(block_size=80), anchor=(number, first))
    assert [members.tolist() for members in anchored.bins(200, 30)] == expected
    assert min(anchored._recent) == number
    with pytest.raises(ValueError, match="anchor"):
        anchored.bins(first - 1, 1)


def test_steps_are_dealt_out_as_drawn() -> None:
    split = Split(batch_size=1, accumulate=2, world_size=2)
    assert split.step_start(2) == 8
    assert [[split.start(2, micro, rank) for rank in (0, 1)] for micro in (0, 1)] == [[8, 9], [10, 11]]


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
