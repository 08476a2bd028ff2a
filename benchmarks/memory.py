"""Memory of training on many rows, and whether it grows: one line every so many seconds, then a summary.

    python benchmarks/memory.py --rows 1000000 --minutes 30      demo model size, in a folder of its own

Rows are written first (chat rows of three lanes), the tokens are made by the run itself; both are counted, because the
peak may lie in either. Resident memory is that of the training process and of the processes it started.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PICOCHAT = [sys.executable, "-W", "ignore", "-m", "picochat"]
BASE = ["train", "base", "--dataset-pack", "data/dataset_pack.json", "--tokenizer", "tok.json", "--out-dir", "base",
        "--steps", "2", "--batch-size", "4", "--device", "cpu", "--precision", "float32"]  # fmt: skip
SFT = ["train", "sft", "--input", "rows.jsonl", "--checkpoint", "base/best_checkpoint", "--out-dir", "run",
       "--batch-size", "16", "--device", "cpu", "--precision", "float32", "--val-fraction", "0.0001",
       "--steps", "1000000", "--eval-every", "500"]  # fmt: skip


def write_rows(path: Path, count: int) -> None:
    """Chat rows with a few words each, no two alike."""
    with path.open("w", encoding="utf-8") as file:
        for number in range(count):
            lane = ("bench_math_addition", "bench_spelling_spaced", "identity")[number % 3]
            question = f"What comes after {number}?"
            answer = f"After {number} comes {number + 1}. Final answer: {number + 1}"
            messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
            file.write(json.dumps({"messages": messages, "category": lane, "key": f"next:{number}"}) + "\n")


def tree(process: int) -> list[int]:
    """A process and everything that it started."""
    try:
        children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    except OSError:
        return []
    return [process, *(one for child in children for one in tree(int(child)))]


def resident(process: int) -> tuple[float, int]:
    """(MiB of resident memory, open file handles) of a process and its children."""
    memory, handles = 0, 0
    for one in tree(process):
        try:
            memory += int(Path(f"/proc/{one}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
            handles += sum(1 for _ in Path(f"/proc/{one}/fd").iterdir())
        except OSError:
            continue  # it has just ended
    return memory / 2**20, handles


def last_step(folder: Path) -> int:
    """The last step in metrics.csv, 0 before there is one."""
    try:
        return int((folder / "run" / "metrics.csv").read_text().splitlines()[-1].split(",")[0])
    except (OSError, IndexError, ValueError):
        return 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--minutes", type=float, default=30.0, help="of training, behind the preparation")
    parser.add_argument("--every", type=float, default=60.0, help="seconds between two lines")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root)
        corpus = ["data", "import", "--source", "stories", "--documents", "2000", "--out-dir", "data"]
        tokenizer = ["tok", "train", "--dataset-pack", "data/dataset_pack.json", "--vocab-size", "320"]
        for words in (corpus, [*tokenizer, "--out", "tok.json"], BASE):
            subprocess.run([*PICOCHAT, *words], cwd=folder, check=True, capture_output=True)
        write_rows(folder / "rows.jsonl", args.rows)
        process = subprocess.Popen([*PICOCHAT, *SFT], cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        peak, began, shown = 0.0, 0.0, 0.0
        samples: list[tuple[float, float, int]] = []  # (minutes of training, MiB, handles)
        print("minutes   step      MiB   peak MiB   file handles", flush=True)
        while process.poll() is None and (not began or time.monotonic() - began < 60 * args.minutes):
            memory, handles = resident(process.pid)
            peak = max(peak, memory)
            step = last_step(folder)
            began = began or (time.monotonic() if step else 0.0)
            if time.monotonic() - shown >= args.every:
                shown = time.monotonic()
                minutes = (shown - began) / 60 if began else 0.0
                print(f"{minutes:7.1f}{step:7d}{memory:9.0f}{peak:11.0f}{handles:15d}", flush=True)
                if began:
                    samples.append((minutes, memory, handles))
            time.sleep(0.2)
        if process.poll() is not None:
            raise SystemExit(f"the training ended by itself with exit status {process.returncode}")
        process.terminate()
        process.wait()
        half = [memory for minutes, memory, _ in samples if minutes >= args.minutes / 2] or [samples[-1][1]]
        print(f"\n{args.rows:,} rows: peak {peak:,.0f} MiB, preparation included; the second half of {args.minutes:g} "
              f"minutes of training began at {half[0]:,.0f} and ended at {half[-1]:,.0f} MiB")  # fmt: skip


if __name__ == "__main__":
    main()
