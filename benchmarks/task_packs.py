"""How long task packs take, each in a fresh interpreter: seconds, CPU seconds, peak memory.

    python benchmarks/task_packs.py            prints the table below, measured here

    pack                         train    eval   wall s   cpu s   peak MB
    capability, the recipe's      2400     480     0.62    0.60        42
    …

The targets: the recipe's pack in 1.5 s including the interpreter's start, 100,000 rows in 6 s and 600 MB on 2 cores.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from report import record

SIZES = (
    ("release", 1600, 320),
    ("capability", 2400, 480),
    ("balanced", 3200, 640),
    ("benchmark", 1600, 320),
    ("capability", 100_000, 320),
    ("capability", 100_000, 20_000),
)
_CHILD = """
import resource, sys
from picochat.packs import build_task_pack
folder, profile, sft_rows, eval_rows = sys.argv[1:]
report = build_task_pack(folder, profile=profile, sft_rows=int(sft_rows), eval_rows=int(eval_rows))
print(report.data["contamination"]["status"], resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def measure(profile: str, sft_rows: int, eval_rows: int) -> tuple[float, float, float, str]:
    """(wall seconds, CPU seconds, peak MB, contamination status) of one build in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "dataset_pack.json").write_text("{}")
        before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        command = [sys.executable, "-c", _CHILD, folder, profile, str(sft_rows), str(eval_rows)]
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
        wall = time.perf_counter() - start
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall, cpu, float(said[-1]), said[0]


def main() -> None:
    """Measure each size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=3, help="take the fastest of so many runs (default: 3)")
    repeat = parser.parse_args().repeat
    rows: list[list[object]] = []
    for profile, sft_rows, eval_rows in SIZES:
        wall, cpu, peak, status = min(measure(profile, sft_rows, eval_rows) for _ in range(repeat))
        rows.append([profile, sft_rows, eval_rows, f"{wall:.2f}", f"{cpu:.2f}", f"{peak:.0f}", status])
        print(f"{profile} {sft_rows:,}: {wall:.2f} s", flush=True)
    record("task-packs", ["profile", "train", "eval", "wall s", "CPU s", "peak MB", "contamination"], rows)


if __name__ == "__main__":
    main()
