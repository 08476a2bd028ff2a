"""`kill -9` at random moments: training ends bit-identical to an uninterrupted run; commands leave whole files or none.

    python benchmarks/kill.py --kills 25                    training, at demo model size, killed 25 times and resumed
    python benchmarks/kill.py --kills 25 --only commands    data import, tok train, data task-pack, the token cache

Every second kill waits, from its random moment on, until a temporary file exists, so that writes are hit as well. A
seed decides the moments; what is hit depends on the machine, and is counted.
"""

import csv
import hashlib
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from measure import flags, picochat, timed

IMPORT = "data import --source stories --documents 2000 --out-dir data --force"
TOKENIZER = "tok train --dataset-pack data/dataset_pack.json --vocab-size 320 --out tok/tok.json --force"
PACK = "data task-pack --dataset-pack data/dataset_pack.json --out-dir pack --sft-rows 4000 --no-promote --force"
SMALL = "--steps 2 --device cpu --precision float32 --batch-size 4"
BASE = f"train base --dataset-pack data/dataset_pack.json --tokenizer tok/tok.json --out-dir base --force {SMALL}"
ROWS = "--input pack/chat_task_mixture_capability.jsonl --eval-input pack/eval_task_mixture_capability.jsonl"
SFT = f"train sft {ROWS} --checkpoint base/best_checkpoint --val-fraction 0.01 --save-every 2 {SMALL}"
COMMANDS = {  # and what each writes
    "data import": (IMPORT, "data/*"),
    "tok train": (TOKENIZER, "tok/*"),
    "data task-pack": (PACK, "pack/*"),
    "token cache": (BASE, "data/tokens/*/*.bin"),
}
RESULTS = ["best_checkpoint/model.safetensors", "last_checkpoint/model.safetensors", "metrics.csv", "samples.jsonl"]
# columns of metrics.csv that the clock decides, or that speak of the steps since this process's last log row
CLOCKED = re.compile(r".*(_per_s|/loader_wait|/mfu)|train/padding|data/learnt/.*")


def killed(words: str, folder: Path, seconds: float, writes: Path | None) -> int:
    """Start a command, kill it after `seconds`, and not before a temporary file is in `writes`; its exit status."""
    command = [sys.executable, "-W", "ignore", "-m", "picochat", *words.split()]
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    end = time.monotonic() + seconds
    while process.poll() is None and (time.monotonic() < end or (writes is not None and not temporary(writes))):
        time.sleep(0.001)
    process.kill()
    errors = process.communicate()[1]
    if process.returncode not in (0, -signal.SIGKILL):
        raise SystemExit(f"{words}: exit status {process.returncode}\n{errors.decode()}")
    return process.returncode


def temporary(folder: Path) -> list[Path]:
    """Files and folders that are being written."""
    return list(folder.glob(".*.tmp"))


def digest(path: Path) -> str:
    """sha256 of a file; of metrics.csv without the speeds."""
    if path.name != "metrics.csv":
        return hashlib.sha256(path.read_bytes()).hexdigest()
    with path.open(newline="") as file:
        rows = [{n: v for n, v in row.items() if v and not CLOCKED.fullmatch(n)} for row in csv.DictReader(file)]
    return hashlib.sha256(str([row for row in rows if row.keys() - {"step", "epoch"}]).encode()).hexdigest()


def kill_training(folder: Path, kills: int, steps: int, draw: random.Random) -> None:
    """Train, kill, resume until the kills are used up; every finished run must equal the uninterrupted one."""
    for words in (IMPORT, TOKENIZER, PACK, BASE):
        picochat(words, folder)
    sft = f"{SFT} --steps {steps} --eval-every {max(1, steps // 6)}"
    picochat(f"{SFT} --out-dir fill-the-token-cache", folder)
    whole, _ = timed(lambda: picochat(f"{sft} --out-dir whole", folder))
    expected = {name: digest(folder / "whole" / name) for name in RESULTS}
    counts: Counter[str] = Counter()
    while counts["kills"] < kills:
        out, status = folder / f"killed-{counts['runs']}", -9
        while status:
            begin = f"--resume-from {out.name}/last.ckpt" if (out / "last.ckpt").exists() else "--force"
            counts["resumed from last.ckpt"] += begin != "--force"
            last = counts["kills"] >= kills
            writes = out if counts["kills"] % 2 else None
            seconds = 1e6 if last else draw.uniform(0.1, 0.6) * whole
            status = killed(f"{sft} --out-dir {out.name} {begin}", folder, seconds, writes)
            counts["kills"] += status == -9
            counts["while a checkpoint was being written"] += status == -9 and bool(temporary(out))
        counts["runs"] += 1
        wrong = [name for name in RESULTS if digest(out / name) != expected[name]]
        if wrong or temporary(out):
            raise SystemExit(f"{out.name} differs from the uninterrupted run: {wrong}, leftovers {temporary(out)}")
        shutil.rmtree(out)
    summary = ", ".join(f"{name} {count}" for name, count in counts.items())
    print(f"training of {steps} steps: {summary}; {', '.join(RESULTS)} of each run are bit-identical, speeds apart")


def kill_command(name: str, folder: Path, kills: int, draw: random.Random) -> None:
    """Kill a command; a file under its final name is whole, and the next run writes what an uninterrupted one does."""
    words, pattern = COMMANDS[name]
    home = folder / pattern.partition("*")[0]

    def files() -> dict[Path, str]:
        found = (path for path in folder.glob(pattern) if "/." not in f"{path}" and path.is_file())
        return {path: digest(path) for path in found}

    picochat(words, folder)
    shutil.rmtree(home)
    whole, _ = timed(lambda: picochat(words, folder))
    expected = files()
    counts: Counter[str] = Counter()
    for _ in range(kills):
        shutil.rmtree(home)
        writes = home if counts["kills"] % 2 else None
        status = killed(words, folder, draw.uniform(0.2, 1.0) * whole, writes)
        found = files()
        counts["kills"] += status == -9
        counts["while it was written"] += status == -9 and bool(temporary(home))
        counts["nothing there" if not found else "whole" if found == expected else "some of its files"] += 1
        if wrong := [str(path) for path, content in found.items() if content != expected[path]]:
            raise SystemExit(f"{name}: {', '.join(wrong)} is not what an uninterrupted command writes")
        picochat(words, folder)
        if files() != expected or temporary(home):
            raise SystemExit(f"{name}: the run after a kill wrote something else, or left {temporary(home)}")
    print(f"{name}: {', '.join(f'{what} {count}' for what, count in counts.items())}", flush=True)


def main() -> None:
    numbers = {"kills": (25, "moments, of training and of each command"), "seed": (1, "of the moments")}
    parser = flags(__doc__, **numbers, steps=(60, "optimizer steps of the training"))
    parser.add_argument("--only", choices=("training", "commands"))
    args = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with tempfile.TemporaryDirectory() as name:
        if args.only != "commands":
            (Path(name) / "training").mkdir()
            kill_training(Path(name) / "training", args.kills, args.steps, random.Random(args.seed))
        for command in COMMANDS if args.only != "training" else ():
            kill_command(command, Path(name), args.kills, random.Random(args.seed))


if __name__ == "__main__":
    main()
