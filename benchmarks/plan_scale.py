"""The data plan over columns that do not fit the memory: python benchmarks/plan_scale.py [--rows 1000000 …]

Writes the three columns of a plan (length, supervised tokens, lane) of so many rows to files, opens them in a fresh
process as a rank of 1,024 would, and measures until its first batch is known, and a step from the middle of the run.

    memory    what the process holds by itself at its peak; pages of mapped files are the system's and can be dropped
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from picochat.datamodules.plan import DataPlan, Split

DTYPES = {"lengths": "<i4", "supervised": "<i4", "lanes": "<i2"}
LANES = 14
_PIECE = 2**24


def write_columns(folder: Path, rows: int) -> None:
    """Lanes one behind the other, as shards by lane have them; lengths of chat rows, a median of 55 tokens."""
    files = {name: (folder / f"{name}.bin").open("wb") for name in DTYPES}
    for start in range(0, rows, _PIECE):
        count = min(_PIECE, rows - start)
        lengths = np.random.default_rng(start).lognormal(4.0, 0.6, count).clip(8, 512).astype("<i4")
        files["lengths"].write(lengths.tobytes())
        files["supervised"].write((lengths // 2).tobytes())
        files["lanes"].write((np.arange(start, start + count) * LANES // rows).astype("<i2").tobytes())
    for file in files.values():
        file.close()


def own_memory() -> int:
    """Bytes of this process that are in memory and belong to no file."""
    for line in Path("/proc/self/status").read_text("utf-8").splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("no RssAnon in /proc/self/status; this needs Linux")


def rank(folder: Path) -> dict[str, float]:
    """What a rank does before its first batch, and for one later on."""
    before, start = own_memory(), time.perf_counter()
    columns = [np.memmap(folder / f"{name}.bin", dtype=dtype, mode="r") for name, dtype in DTYPES.items()]
    plan = DataPlan(*columns, capacity=512)
    split = Split(batch_size=8, world_size=1024)
    plan.bins(split.start(0, 0, 1023), 8)
    plan.tokens(split.step_start(0), split.rows)
    first = time.perf_counter() - start
    start = time.perf_counter()
    plan.bins(split.start(40, 0, 1023), 8)
    later = time.perf_counter() - start
    start = time.perf_counter()
    fingerprint = plan.fingerprint
    printed = time.perf_counter() - start
    held = own_memory() - before
    return {"first": first, "later": later, "fingerprint": printed, "held": held, "sha": int(fingerprint[:8], 16)}


def measure(rows: int) -> dict[str, float]:
    """The same in a fresh process, over columns in a temporary folder."""
    with tempfile.TemporaryDirectory() as name:
        write_columns(Path(name), rows)
        command = [sys.executable, __file__, "--rank", name]
        return dict(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[10**6, 10**7, 10**8, 10**9], metavar="N")
    parser.add_argument("--rank", metavar="DIR", help=argparse.SUPPRESS)  # what it runs in a fresh process
    args = parser.parse_args()
    if args.rank:
        print(json.dumps(rank(Path(args.rank))))
        return
    from report import record

    table = []
    for rows in args.rows:
        found = measure(rows)
        table.append([rows, found["first"], found["fingerprint"], found["later"], found["held"] / 2**20])
    columns = ["rows", "start to first batch, s", "fingerprint, s", "40 steps on, s", "memory held, MiB"]
    record("plan-scale", columns, table, "Rank 1,023 of 1,024, batches of 8 packed rows; columns mapped from files.")


if __name__ == "__main__":
    main()
