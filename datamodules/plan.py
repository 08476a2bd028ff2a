"""Which packed rows an optimizer step sees. In: length, supervised tokens and lane of every example. Out: bins of
examples by number. Next: batches, loaders.

The plan is an endless stream of bins (packed rows), cut from blocks. Block b is a pure function of (seed, b): draw
`block_size` examples, pack them, shuffle the bins. A run reads the stream from some bin on, a fixed number a step:

    blocks    |        block 0         |      block 1      |         block 2          | …      examples: block_size each
    bins      | 0  1  2  3  4  5  6  7 | 8  9 10 11 12 13  | 14 15 16 17 18 19 20 21  | …
    steps     |  step 0   |  step 1   |  step 2    |  step 3    |  step 4    |          …       4 bins a step

    step 2, batch_size 1, 2 ranks, 2 micro-batches        rank 0   rank 1
                                       micro-batch 0        8        9
                                       micro-batch 1       10       11

Ranks, workers and micro-batches only decide who reads which bin of a step, so the stream is the same however a run is
split. Every rank knows the whole plan, and with it the supervised tokens of the whole step, without asking anybody.
"""

import bisect
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from picochat.datamodules.packing import Bins, IntArray, PackingName, pack
from picochat.datamodules.sampling import deal, derive_key, permutation, quotas

DEFAULT_BLOCK_SIZE = 65_536  # examples; packs to within a permille of everything at once, in some 20 ms
_KEPT = (8, 4096)  # blocks, or as many as hold so many examples: a step takes hundreds of the blocks of a tiny file
_PIECE = 2**24  # rows looked at together: columns may lie in files larger than the memory


class Block(NamedTuple):
    """One block of the stream: its bins in the order of reading, and the supervised tokens of each [bins]."""

    bins: Bins
    tokens: IntArray


@dataclass(frozen=True, eq=False)
class DataPlan:
    """The endless stream of packed rows.

    Args:
        lengths: [examples] positions that each example takes in a row (its tokens less one).
        supervised: [examples] supervised tokens of each.
        lanes: [examples] index of the category that sampling goes by.
        capacity: positions in a row, that is the context length.
        seed: another seed, another order of everything.
        alpha: exponent of the sampling, see sampling.py.
        shares: [lanes] the share of each in the draws, in place of what alpha makes of their rows.
        packing: ``bos_bestfit`` or ``separate``.
        block_size: examples a block; None takes all examples, at most 65,536.
    """

    lengths: IntArray
    supervised: IntArray
    lanes: IntArray
    capacity: int
    seed: int = 42
    alpha: float = 0.5
    shares: tuple[Fraction, ...] | None = None
    packing: PackingName = "bos_bestfit"
    block_size: int | None = None
    _recent: dict[int, Block] = field(default_factory=dict, init=False, repr=False)
    _firsts: list[int] = field(default_factory=lambda: [0], init=False, repr=False)  # bin of each block; grows

    @property
    def draws(self) -> int:
        """Examples of a block."""
        return self.block_size or min(len(self.lengths), DEFAULT_BLOCK_SIZE)

    @cached_property
    def quotas(self) -> IntArray:
        """[lanes] examples that every block draws from each lane."""
        return quotas(self.counts, self.alpha, self.draws, self.shares)

    @cached_property
    def counts(self) -> IntArray:
        """[lanes] examples of each lane."""
        found = np.zeros(1 << 15, dtype=np.int64)  # lanes are numbered by int16
        for piece in _pieces_of(self.lanes):
            found += np.bincount(piece, minlength=len(found))
        return np.trim_zeros(found, "b")

    @cached_property
    def rows_by_lane(self) -> Sequence[IntArray | range]:
        """The examples of each lane, in file order. Where one lane follows the other, as in a corpus, that is a range:
        10⁹ rows then need no memory."""
        ends = np.cumsum(self.counts)
        if all(bool((piece[1:] >= piece[:-1]).all()) for piece in _pieces_of(self.lanes, overlap=1)):
            return [range(end - count, end) for end, count in zip(ends.tolist(), self.counts.tolist(), strict=True)]
        return np.split(np.argsort(self.lanes, kind="stable"), ends[:-1])

    @cached_property
    def fingerprint(self) -> str:
        """Two plans with the same fingerprint are the same stream."""
        settings = (self.capacity, self.seed, float(self.alpha), self.packing, self.draws)
        digest = hashlib.sha256(repr(settings if self.shares is None else (*settings, self.shares)).encode())
        for column in (self.lengths, self.supervised, self.lanes):
            for piece in _pieces_of(column):
                digest.update(np.ascontiguousarray(piece, dtype=np.int32).data)
        return digest.hexdigest()

    def draw(self, number: int) -> IntArray:
        """The examples of a block, shuffled; an example may come more than once when its lane is small."""
        parts = []
        for lane, (rows, quota) in enumerate(zip(self.rows_by_lane, self.quotas.tolist(), strict=True)):
            if quota:
                places = deal(len(rows), number * quota, quota, derive_key(self.seed, "deal", lane))
                parts.append(rows.start + places if isinstance(rows, range) else rows[places])
        # Examples of one length are packed in the order they come in; unshuffled, lanes would meet lanes of their rank.
        return np.concatenate(parts)[permutation(self.draws, derive_key(self.seed, "draw", number))]

    def block(self, number: int) -> Block:
        """Draw, pack, shuffle."""
        if number not in self._recent:
            examples = self.draw(number)
            packed = pack(self.lengths[examples], self.capacity, self.packing)
            packed = packed.take(permutation(len(packed), derive_key(self.seed, "bins", number)))
            bins = Bins(order=examples[packed.order], starts=packed.starts)
            tokens = np.add.reduceat(self.supervised[bins.order], bins.starts[:-1], dtype=np.int64)
            if len(self._recent) >= max(_KEPT[0], _KEPT[1] // self.draws):
                del self._recent[next(iter(self._recent))]
            self._recent[number] = Block(bins, tokens)
        return self._recent[number]

    def bins(self, start: int, count: int) -> list[IntArray]:
        """The examples of each of the bins `start` … `start + count - 1` of the stream."""
        return [block.bins[index] for block, chosen in self._blocks_of(start, count) for index in chosen]

    def tokens(self, start: int, count: int) -> int:
        """Supervised tokens in the bins `start` … `start + count - 1`."""
        return sum(int(block.tokens[chosen].sum()) for block, chosen in self._blocks_of(start, count))

    def _blocks_of(self, start: int, count: int) -> Iterator[tuple[Block, range]]:
        """The blocks of some bins, each with the places of its own part of them."""
        firsts, stop = self._firsts, start + count
        while start < stop:
            while firsts[-1] <= start:
                firsts.append(firsts[-1] + len(self.block(len(firsts) - 1).bins))
            number = bisect.bisect_right(firsts, start) - 1
            first, block = firsts[number], self.block(number)
            chosen = range(start - first, min(stop - first, len(block.bins)))
            yield block, chosen
            start = first + chosen.stop


@dataclass(frozen=True)
class Split:
    """How the bins of an optimizer step are shared out, and where in the stream a run is.

    Args:
        batch_size: packed rows a micro-batch, on each rank.
        accumulate: micro-batches an optimizer step.
        world_size: ranks.
        first_step, first_bin: a step whose first bin is known; a run resumed with another split counts from there.
    """

    batch_size: int
    accumulate: int = 1
    world_size: int = 1
    first_step: int = 0
    first_bin: int = 0

    @property
    def rows(self) -> int:
        """Packed rows an optimizer step, over all micro-batches and ranks."""
        return self.batch_size * self.accumulate * self.world_size

    def step_start(self, step: int) -> int:
        """The first bin of an optimizer step."""
        return self.first_bin + (step - self.first_step) * self.rows

    def start(self, step: int, micro: int, rank: int) -> int:
        """The first of the `batch_size` bins that `rank` reads for micro-batch `micro` of the step."""
        return self.step_start(step) + (micro * self.world_size + rank) * self.batch_size


def forecast(plan: DataPlan, split: Split, steps: int, names: list[str], scale: float = 1.0) -> dict[str, Any]:
    """Figures of `steps` optimizer steps, for `picochat plan`; the first block stands for all of them. A `plan` of a
    sample has one row for `scale` rows that there will be.

    Tokens are positions that are not padding; rows of a step or an epoch are packed ones. An epoch draws as many
    examples as the lanes with draws have. A lane's epoch_steps draw each of its rows once; replays are the draws of
    each in the run.
    """
    bins, supervised = plan.block(0)
    lengths = plan.lengths[bins.order].astype(np.int64)
    tokens, blocks = float(lengths.sum()), steps * split.rows / len(bins)  # of a block; blocks of the run
    counts = np.bincount(plan.lanes, minlength=len(names)) * scale
    rows_per_epoch = len(bins) * float(counts[: len(plan.quotas)][plan.quotas > 0].sum()) / plan.draws
    return {
        "steps": steps,
        "rows_per_step": split.rows,
        "rows_per_epoch": rows_per_epoch,
        "epochs": steps * split.rows / rows_per_epoch,
        "tokens": round(blocks * tokens),
        "supervised_tokens": round(blocks * float(supervised.sum())),
        "padding": 1 - tokens / (len(bins) * plan.capacity),
        "document_length": float((lengths * (lengths + 1)).sum()) / tokens,
        "categories": [
            {
                "name": name,
                "rows": round(count),
                "share": quota / plan.draws,
                "epoch_steps": count / quota * len(bins) / split.rows,
                "replays": blocks * quota / count,
            }
            for name, count, quota in zip(names, counts.tolist(), plan.quotas.tolist(), strict=False)
            if quota
        ],
    }


def _pieces_of(column: IntArray, overlap: int = 0) -> Iterator[IntArray]:
    """A column in pieces, each of which begins with the last `overlap` entries of the one before."""
    for start in range(0, len(column), _PIECE):
        yield column[max(0, start - overlap) : start + _PIECE]
