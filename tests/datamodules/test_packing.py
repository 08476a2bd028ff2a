"""Packing: the same bins as best-fit decreasing, found without looking at one example after the other."""

import bisect
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from picochat.datamodules.packing import Bins, fill, pack

CASES = st.integers(1, 60).flatmap(
    lambda capacity: st.tuples(st.just(capacity), st.lists(st.integers(1, capacity), max_size=120))
)


def packed(lengths: list[int], capacity: int) -> list[list[int]]:
    """The lengths in each bin."""
    bins = pack(np.array(lengths, dtype=np.int64), capacity)
    return [[lengths[index] for index in members.tolist()] for members in bins]


def plain_bestfit(lengths: list[int], capacity: int) -> list[list[int]]:
    """Best-fit decreasing as the textbook has it: example by example, a search for each."""
    bins: list[list[int]] = []
    rooms: list[tuple[int, int]] = []  # (room, bin), sorted
    for length in sorted(lengths, reverse=True):
        place = bisect.bisect_left(rooms, (length, -1))
        room, index = rooms.pop(place) if place < len(rooms) else (capacity, len(bins))
        if index == len(bins):
            bins.append([])
        bins[index].append(length)
        bisect.insort(rooms, (room - length, index))
    return bins


def test_ten_examples_fill_four_bins_as_drawn() -> None:
    lengths = np.array([3, 7, 2, 5, 5, 4, 8, 1, 3, 2])
    bins = pack(lengths, 10)
    assert [members.tolist() for members in bins] == [[6, 2], [1, 0], [3, 4], [5, 8, 9, 7]]
    assert bins.starts.tolist() == [0, 2, 4, 6, 10]
    assert fill(bins, lengths, 10) == 1.0


@pytest.mark.parametrize(
    ("lengths", "bins"),
    [
        ([6, 6, 6, 4, 4, 4, 3, 3, 3, 3], [[6, 4], [6, 4], [6, 4], [3, 3, 3], [3]]),
        ([10, 10, 9, 9, 1, 1, 1, 1, 1, 1], [[10], [10], [9, 1], [9, 1], [1, 1, 1, 1]]),
        ([7, 6, 5, 5, 4, 4, 3, 2, 2, 2], [[7, 3], [6, 4], [5, 5], [4, 2, 2, 2]]),
        # 3 fits the bins with room 3 and room 4; the tightest gets it, so that the 4 still finds a place
        ([7, 6, 4, 3], [[7, 3], [6, 4]]),
        ([1] * 10, [[1] * 10]),
        ([6] * 10, [[6]] * 10),
    ],
)
def test_hand_written_lists_of_lengths(lengths: list[int], bins: list[list[int]]) -> None:
    assert sorted(packed(lengths, 10)) == sorted(bins)


@given(CASES)
def test_every_example_lies_in_one_bin_and_bins_are_as_full_as_those_of_plain_best_fit_decreasing(
    case: tuple[int, list[int]],
) -> None:
    capacity, lengths = case
    bins = pack(np.array(lengths, dtype=np.int64), capacity)
    assert sorted(bins.order.tolist()) == list(range(len(lengths)))
    # Which of two bins with the same room is taken is free, so the fill of every bin is compared, not its contents.
    ours = [sum(lengths[index] for index in members.tolist()) for members in bins]
    assert sorted(ours) == sorted(map(sum, plain_bestfit(lengths, capacity)))
    assert all(0 < filled <= capacity for filled in ours)


def test_capacity_beyond_16_bits_packs_the_same() -> None:
    lengths = [70_000, 60_000, 50_000, 40_000, 30_000, 66_000, 1, 65_536]
    assert sorted(packed(lengths, 100_000)) == sorted(plain_bestfit(lengths, 100_000))


def test_separate_gives_each_example_a_bin_no_examples_make_none_and_other_names_are_refused() -> None:
    assert pack(np.array([2, 2, 2, 2]), 4).order.tolist() == [0, 1, 2, 3]  # equal lengths keep their order
    assert [members.tolist() for members in pack(np.array([3, 1, 2]), 4, "separate")] == [[0], [1], [2]]
    nothing = np.array([], dtype=np.int64)
    assert len(bins := pack(nothing, 8, "bos_bestfit")) == 0
    assert fill(bins, nothing, 8) == 1.0
    with pytest.raises(ValueError, match="bos_bestfit or separate"):
        pack(np.array([1]), 10, "wrapped")  # type: ignore[arg-type]


def test_take_reorders_bins() -> None:
    bins = Bins(order=np.array([5, 6, 7, 8]), starts=np.array([0, 2, 3, 4]))
    assert [members.tolist() for members in bins.take(np.array([2, 0]))] == [[8], [5, 6]]


@pytest.mark.parametrize("lengths", [[0, 3], [3, 11], [-1]])
@pytest.mark.parametrize("packing", ["bos_bestfit", "separate"])
def test_lengths_outside_the_capacity_are_refused(lengths: list[int], packing: str) -> None:
    with pytest.raises(ValueError, match=r"1…10"):
        pack(np.array(lengths), 10, packing)  # type: ignore[arg-type]


def test_a_million_lengths_take_at_most_32_bytes_each() -> None:
    lengths = np.random.default_rng(0).integers(20, 400, size=10**6)
    tracemalloc.start()
    bins = pack(lengths, 512)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak / len(lengths) <= 32
    assert len(bins) >= lengths.sum() / 512
