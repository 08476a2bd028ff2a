"""What a block of the plan costs, and that the cost does not grow with the rows.

    python benchmarks/sampling.py

First the draw alone: 65,536 cards from the middle of a category's endless deal; numpy's own shuffle of the whole
category stands beside it. Then a whole block of the plan (draw, pack, shuffle the bins) as each of 1,024 ranks would
make it, with the memory that the plan keeps for each row.
"""

import argparse
import time
import tracemalloc

import numpy as np
from report import record

from picochat.datamodules.plan import DataPlan, Split
from picochat.datamodules.sampling import deal

DRAWS = 65_536


def draw(rows: int) -> list[object]:
    start = time.perf_counter()
    cards = deal(rows, rows // 2, DRAWS, key=1)
    seconds = time.perf_counter() - start
    start = time.perf_counter()
    if rows > 10**8:
        return [rows, seconds * 1e3, "8 bytes a row", "–", len(np.unique(cards))]
    np.random.default_rng(1).permutation(rows)
    whole = time.perf_counter() - start
    return [rows, seconds * 1e3, whole * 1e3, whole / seconds, len(np.unique(cards))]


def block(rows: int) -> list[object]:
    rng = np.random.default_rng(0)
    lengths = rng.lognormal(4.0, 0.6, rows).clip(8, 512).astype(np.int32)
    lanes = rng.integers(0, 14, rows).astype(np.int16)
    tracemalloc.start()
    start = time.perf_counter()
    plan = DataPlan(lengths, lengths // 2, lanes, 512)
    plan.block(0)
    first = time.perf_counter() - start
    kept = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    times = []
    for number in range(1, 8):
        start = time.perf_counter()
        bins = len(plan.block(number).bins)
        times.append(time.perf_counter() - start)
    split = Split(batch_size=8, world_size=1024)
    start = time.perf_counter()
    plan.bins(split.start(2, 0, 1023), 8)
    step = time.perf_counter() - start
    return [rows, f"{first:.2f}", f"{np.median(times) * 1e3:.0f}", bins, f"{step * 1e3:.2f}", f"{kept / rows:.1f}"]


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    columns = ["rows of the category", f"{DRAWS:,} draws, ms", "numpy shuffle of all, ms"]
    columns += ["picochat is … × as fast", "different rows"]
    record("sampling-draws", columns, [draw(rows) for rows in (10**4, 10**6, 10**7, 10**9)])
    columns = ["rows", "plan and first block, s", "a block, ms", "bins", "a rank's bins of a step, ms", "bytes a row"]
    record("sampling-blocks", columns, [block(rows) for rows in (10**5, 10**6, 10**7)])


if __name__ == "__main__":
    main()
