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

from picochat.datamodules.plan import DataPlan, Split
from picochat.datamodules.sampling import deal

DRAWS = 65_536


def draw(rows: int) -> None:
    start = time.perf_counter()
    cards = deal(rows, rows // 2, DRAWS, key=1)
    seconds = time.perf_counter() - start
    start = time.perf_counter()
    shuffled = len(np.random.default_rng(1).permutation(rows)) if rows <= 10**8 else 0
    whole = f"{time.perf_counter() - start:.3f}" if shuffled else "8 bytes a row"
    print(f"| {rows:,} | {seconds * 1e3:.1f} | {whole} | {len(np.unique(cards)):,} |", flush=True)


def block(rows: int) -> None:
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
    columns = f"{first:.2f} | {np.median(times) * 1e3:.0f} | {bins:,} | {step * 1e3:.2f} | {kept / rows:.1f}"
    print(f"| {rows:,} | {columns} |", flush=True)


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    print(f"| rows of the category | {DRAWS:,} draws, ms | numpy shuffle of all, s | different rows |")
    print("|---:|---:|---:|---:|")
    for rows in (10**4, 10**6, 10**7, 10**9):
        draw(rows)
    print("\n| rows | plan and first block, s | a block, ms | bins | a rank's bins of a step, ms | bytes a row |")
    print("|---:|---:|---:|---:|---:|---:|")
    for rows in (10**5, 10**6, 10**7):
        block(rows)


if __name__ == "__main__":
    main()
