"""A plan over columns in files larger than memory: a rank starts without holding them."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

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
