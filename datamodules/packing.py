"""Which examples share a row. In: one length per example. Out: `Bins`, whole examples in rows of `capacity` positions.
Next: plan.

Ten examples, capacity 10. Longest first, each into the fullest bin that still has room for it (best-fit decreasing):

    example    0  1  2  3  4  5  6  7  8  9
    length     3  7  2  5  5  4  8  1  3  2                            40 positions

    bin 0      6 6 6 6 6 6 6 6 2 2                                     8 + 2
    bin 1      1 1 1 1 1 1 1 0 0 0                                     7 + 3
    bin 2      3 3 3 3 3 4 4 4 4 4                                     5 + 5
    bin 3      5 5 5 5 8 8 8 9 9 7                                     4 + 3 + 2 + 1      4 bins, fill 1.0

    order   [6 2 | 1 0 | 3 4 | 5 8 9 7]     starts   [0 2 4 6 10]      bin i holds order[starts[i]:starts[i + 1]]

Placing examples one by one costs a search for each of them. Examples of one length are alike, though, and so are bins
with the same room, so the loop below runs over *distinct lengths* and moves whole runs of bins at a time (histogram
packing; Krell et al. 2021, "Efficient Sequence Packing without Cross-contamination", arXiv:2107.02027). The bins are
those of plain best-fit decreasing, not an approximation of them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.integer]
PackingName = Literal["bos_bestfit", "separate"]


@dataclass(frozen=True, eq=False)
class Bins:
    """Packed rows: `order` [examples] indices into the lengths, bin after bin; `starts` [bins + 1] int64, as drawn."""

    order: IntArray
    starts: IntArray

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, index: int) -> IntArray:
        return self.order[self.starts[index] : self.starts[index + 1]]

    def __iter__(self) -> Iterator[IntArray]:
        return (self[index] for index in range(len(self)))

    def take(self, chosen: IntArray) -> "Bins":
        """The chosen bins, in the order given."""
        sizes = np.diff(self.starts)[chosen]
        starts = np.concatenate([[0], np.cumsum(sizes)])
        # places of bin j: its old start, counted on from its new one
        places = np.arange(starts[-1]) + np.repeat(self.starts[chosen] - starts[:-1], sizes)
        return Bins(order=self.order[places], starts=starts)


def pack(lengths: IntArray, capacity: int, packing: PackingName = "bos_bestfit") -> Bins:
    """Best-fit decreasing over a histogram of lengths; ties go to the example that comes first.

    Args:
        lengths: [examples] positions that each example takes (its tokens less one: inputs and targets are shifted).
        capacity: positions in a bin, that is the context length.
        packing: ``separate`` gives each example a bin of its own.

    Raises:
        ValueError: a length below 1 or above the capacity; who calls decides what becomes of over-long examples.
    """
    if len(lengths) and not (lengths.min() >= 1 and lengths.max() <= capacity):
        raise ValueError(f"lengths must lie in 1…{capacity}; found {lengths.min()}…{lengths.max()}")
    if packing == "separate":
        return Bins(order=np.arange(len(lengths)), starts=np.arange(len(lengths) + 1))
    if packing != "bos_bestfit":
        raise ValueError(f"packing must be bos_bestfit or separate, not {packing!r}")
    moves = list(_moves(np.bincount(lengths, minlength=capacity + 1).tolist(), capacity))
    bins = max((stop for _, _, stop, _, _ in moves), default=0)
    sizes = np.zeros(bins + 1, dtype=np.int64)
    for _, first, stop, _, each in moves:
        sizes[first + 1 : stop + 1] += each
    starts = np.cumsum(sizes, out=sizes)
    # 16 bits where they are enough: numpy sorts those by radix, ten times faster than by comparing
    items = np.argsort((capacity - lengths).astype(np.uint16 if capacity < 1 << 16 else np.int64), kind="stable")
    order = np.empty_like(items)
    for item, first, stop, slot, each in moves:
        block = items[item : item + (stop - first) * each].reshape(stop - first, each)
        order[(starts[first:stop] + slot)[:, None] + np.arange(each)] = block
    return Bins(order=order, starts=starts)


def fill(bins: Bins, lengths: IntArray, capacity: int) -> float:
    """Share of the positions that hold a token: 1.0 is a perfect packing."""
    return float(lengths[bins.order].sum()) / (len(bins) * capacity) if len(bins) else 1.0


def _moves(histogram: list[int], capacity: int) -> Iterator[tuple[int, int, int, int, int]]:
    """Yield (item, first, stop, slot, each): of the examples from `item` on, each of the bins first…stop-1 gets `each`,
    and finds them at `slot` of its list.

    Bins with the same room are kept as runs of neighbours with the same contents: (first, stop, examples that each of
    its bins holds by now).
    """
    runs_with_room: dict[int, list[tuple[int, int, int]]] = {}
    rooms = 0  # bit r is set where bins with room r exist, so the tightest fit for n is the lowest bit of rooms >> n
    opened = item = 0
    for length in range(capacity, 0, -1):
        left = histogram[length]
        while left:
            roomy = rooms >> length
            if roomy:
                room = length + (roomy & -roomy).bit_length() - 1
                runs = runs_with_room.pop(room)
                rooms ^= 1 << room
            else:
                room = capacity
                wanted = -(-left // (capacity // length))
                runs = [(opened, opened + wanted, 0)]
                opened += wanted
            # The tightest bin stays the tightest while it has room: it takes as many as fit before the next one does.
            fits = room // length
            while runs and left:
                first, stop, held = runs.pop()
                whole = min(stop - first, left // fits)
                for bins, each in ((whole, fits), (1, left % fits)):  # the last bin may get fewer than fit
                    if bins and each and first < stop:
                        yield item, first, first + bins, held, each
                        item += bins * each
                        left -= bins * each
                        rest = room - each * length
                        runs_with_room.setdefault(rest, []).append((first, first + bins, held + each))
                        rooms |= 1 << rest
                        first += bins
                if first < stop:
                    runs.append((first, stop, held))
            if runs:
                runs_with_room[room] = runs
                rooms |= 1 << room
