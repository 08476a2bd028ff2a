"""Packing lengths into rows, side by side in one run: picochat, TRL's `bfd`, a plain best-fit decreasing.

    python benchmarks/packing.py                       10⁴, 10⁵ and 10⁶ lengths: some minutes, most of them TRL's
    python benchmarks/packing.py --sizes 10000000      the size at which a histogram pays most

TRL's own function packs a table of tokens of one byte each, so that almost all of its time goes into lengths; beyond
1.5 GB of them, or where TRL is not installed, it is left out.
"""

import bisect
from importlib.util import find_spec

import numpy as np
from measure import flags, timed
from report import record

from picochat.datamodules.packing import IntArray, pack

# name, context, median and spread of the lengths (log-normal), smallest
SHAPES = (("short SFT rows, context 512", 512, 4.0, 0.6), ("mixed documents, context 2,048", 2048, 6.0, 1.1))


def picochat(lengths: IntArray, capacity: int) -> int:
    return len(pack(lengths, capacity))


def trl_bfd(lengths: IntArray, capacity: int) -> int:
    import pyarrow as pa
    from trl.data_utils import _pack_bfd

    offsets = np.concatenate([[0], np.cumsum(lengths)])
    tokens = pa.LargeListArray.from_arrays(pa.array(offsets), pa.array(np.zeros(offsets[-1], dtype=np.int8)))
    return len(_pack_bfd(pa.table({"input_ids": tokens}), capacity))


def plain_bestfit(lengths: IntArray, capacity: int) -> int:
    bins: list[list[int]] = []
    rooms: list[tuple[int, int]] = []
    order = np.argsort(-lengths, kind="stable").tolist()
    for example, length in zip(order, lengths[order].tolist(), strict=True):
        place = bisect.bisect_left(rooms, (length, -1))
        room, index = rooms.pop(place) if place < len(rooms) else (capacity, len(bins))
        if index == len(bins):
            bins.append([])
        bins[index].append(example)
        if room > length:
            bisect.insort(rooms, (room - length, index))
    return len(bins)


def main() -> None:
    parser = flags(__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10**4, 10**5, 10**6], metavar="N")
    sizes = parser.parse_args().sizes
    packers = {"picochat": picochat, "plain BFD": plain_bestfit}
    if find_spec("trl"):
        packers["TRL bfd"] = trl_bfd
        trl_bfd(np.array([3, 4]), 8)  # importing it takes seconds
    rows: list[list[object]] = []
    for size in sizes:
        for number, (name, capacity, median, spread) in enumerate(SHAPES):
            drawn = np.random.default_rng(number).lognormal(median, spread, size)
            lengths = drawn.clip(8, capacity).astype(np.int64)
            print(f"{size:,} of {name}", flush=True)
            ours = 0.0
            for packer, function in packers.items():
                if function is trl_bfd and lengths.sum() > 1.5e9:
                    continue
                runs = [
                    timed(lambda f=function, n=lengths, c=capacity: f(n, c)) for _ in range(3 if size < 10**6 else 1)
                ]
                seconds, bins = min(runs)
                ours = ours or seconds
                fill = f"{lengths.sum() / (bins * capacity):.5f}"
                rows.append([name, size, packer, f"{seconds:.4f}", seconds / ours, bins, fill])
    columns = ["lengths", "of", "packer", "seconds", "picochat is … × as fast", "rows", "fill"]
    record("packing", columns, rows, keys=3)


if __name__ == "__main__":
    main()
