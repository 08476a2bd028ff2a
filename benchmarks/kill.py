"""`kill -9` at random moments: training ends with the bits of an undisturbed run; commands leave whole files or none.

    python benchmarks/kill.py --kills 25                    training, at demo model size, killed 25 times and resumed
    python benchmarks/kill.py --kills 25 --only commands    data import, tok train, data task-pack, the token cache

Every second kill of training waits, from its random moment on, until a temporary file of a checkpoint exists, so that
writes are hit as well. A seed decides the moments; what is hit depends on the machine, and is counted in the table.
"""

import argparse
import csv
import hashlib
import io
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
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

PICOCHAT = [sys.executable, "-W", "ignore", "-m", "picochat"]
IMPORT = ["data", "import", "--source", "stories", "--documents", "2000", "--out-dir", "data"]
TOKENIZER = ["tok", "train", "--dataset-pack", "data/dataset_pack.json", "--vocab-size", "320", "--out", "tok.json"]
PACK = ["data", "task-pack", "--dataset-pack", "data/dataset_pack.json", "--out-dir", "pack", "--sft-rows", "4000",
        "--eval-rows", "400", "--no-promote"]  # fmt: skip
BASE = ["train", "base", "--dataset-pack", "data/dataset_pack.json", "--tokenizer", "tok.json", "--out-dir", "base",
        "--steps", "2", "--device", "cpu", "--precision", "float32", "--batch-size", "4"]  # fmt: skip
PACK_FILES = [f"pack/{kind}_task_mixture_capability.jsonl" for kind in ("chat", "eval")]
SFT = ["train", "sft", "--input", PACK_FILES[0], "--eval-input", PACK_FILES[1], "--checkpoint", "base/best_checkpoint",
       "--batch-size", "4", "--device", "cpu", "--precision", "float32", "--val-fraction", "0.01"]  # fmt: skip
# columns of metrics.csv that the clock decides, or that speak of the steps since this process's last log row
CLOCKED = re.compile(r".*(_per_s|/loader_wait|/mfu)|train/padding|data/learnt/.*")
RESULTS = ["best_checkpoint/model.safetensors", "last_checkpoint/model.safetensors", "metrics.csv", "samples.jsonl"]


def run(words: Sequence[str], folder: Path) -> None:
    """A command to its end; it must succeed."""
    done = subprocess.run([*PICOCHAT, *words], cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(words)}: exit status {done.returncode}\n{done.stderr}")


def killed(words: Sequence[str], folder: Path, seconds: float, hit: Callable[[], bool] | None = None) -> int:
    """Start a command, kill it after `seconds` (and then not before `hit`); its exit status, -9 when it was killed."""
    errors = folder / ".errors"
    with errors.open("w") as file:
        process = subprocess.Popen([*PICOCHAT, *words], cwd=folder, stdout=subprocess.DEVNULL, stderr=file)
        end = time.monotonic() + seconds
        while process.poll() is None and (time.monotonic() < end or (hit is not None and not hit())):
            time.sleep(0.001)
        process.kill()
        status = process.wait()
    if status not in (0, -signal.SIGKILL):
        raise SystemExit(f"{' '.join(words)}: exit status {status}\n{errors.read_text()}")
    return status


def without_speed(text: str) -> str:
    """metrics.csv without those columns."""
    rows = [
        {name: value for name, value in row.items() if value and not CLOCKED.fullmatch(name)}
        for row in csv.DictReader(io.StringIO(text))
    ]
    return "\n".join(str(row) for row in rows if row.keys() - {"step", "epoch"})


def hashes(folder: Path, names: Sequence[str]) -> dict[str, str]:
    """sha256 of each file that there is; of metrics.csv, without its speeds."""
    found = {}
    for name in names:
        if (folder / name).is_file():
            data = (folder / name).read_bytes()
            data = without_speed(data.decode()).encode() if name == "metrics.csv" else data
            found[name] = hashlib.sha256(data).hexdigest()
    return found


def kill_training(folder: Path, kills: int, steps: int, draw: random.Random) -> Iterator[str]:
    """Train, kill, resume until the kills are used up; every finished run must equal the undisturbed one."""
    sft = [*SFT, "--steps", str(steps), "--save-every", "2", "--eval-every", str(max(1, steps // 6))]
    for words in (IMPORT, TOKENIZER, PACK, BASE):
        run(words, folder)
    run([*sft, "--out-dir", "fill-the-token-cache", "--steps", "1"], folder)
    started = time.monotonic()
    run([*sft, "--out-dir", "whole"], folder)
    whole = time.monotonic() - started
    expected = hashes(folder / "whole", RESULTS)
    if len(expected) != len(RESULTS):
        raise SystemExit(f"the undisturbed run left only {sorted(expected)}")
    counts: Counter[str] = Counter()
    number = 0
    while counts["kills"] < kills or number == 0:
        number += 1
        out = folder / f"killed-{number}"
        status = -9
        while status:
            begin = ["--resume-from", f"{out.name}/last.ckpt"] if (out / "last.ckpt").exists() else ["--force"]
            words = [*sft, "--out-dir", out.name, *begin]
            if counts["kills"] >= kills:
                run(words, folder)
                break
            writing = (lambda out=out: any(out.glob(".*.tmp"))) if counts["kills"] % 2 else None
            status = killed(words, folder, draw.uniform(0.1, 0.6) * whole, writing)
            counts["kills"] += status == -9
            counts["while a checkpoint was being written"] += status == -9 and any(out.glob(".*.tmp"))
            counts["resumed from last.ckpt"] += begin[0] == "--resume-from"
        found = hashes(out, RESULTS)
        counts["runs"] += 1
        if found != expected:
            names = [name for name in RESULTS if found.get(name) != expected[name]]
            raise SystemExit(f"killed-{number} differs from the undisturbed run in {', '.join(names)}")
        leftovers = [path.name for path in out.iterdir() if path.name.startswith(".")]
        if leftovers:
            raise SystemExit(f"killed-{number} holds leftovers: {leftovers}")
        shutil.rmtree(out)
    yield (f"training of {steps} steps: {', '.join(f'{name} {count}' for name, count in counts.items())}; each "
           f"finished run has the undisturbed run's {', '.join(RESULTS)}, byte for byte, speeds apart")  # fmt: skip


def kill_commands(folder: Path, kills: int, draw: random.Random) -> Iterator[str]:
    """Kill each command at random moments; a file under its final name is whole, and the next run is not confused."""
    cases: list[tuple[str, Sequence[str], list[str], list[str]]] = [
        ("data import", IMPORT, ["data/corpus.jsonl", "data/dataset_pack.json"], ["--force"]),
        ("tok train", TOKENIZER, ["tok.json"], ["--force"]),
        ("data task-pack", PACK, [*PACK_FILES, *(f"pack/task_mixture_capability.{kind}" for kind in ("md", "json"))],
         ["--force"]),
    ]  # fmt: skip
    for name, words, files, again in cases:
        started = time.monotonic()
        run(words, folder)
        whole = time.monotonic() - started
        expected = hashes(folder, files)
        counts: Counter[str] = Counter()
        for _ in range(kills):
            for file in files:
                (folder / file).unlink(missing_ok=True)
            status = killed([*words, *again], folder, draw.uniform(0.2, 1.0) * whole)
            found = hashes(folder, files)
            counts["kills"] += status == -9
            counts["nothing there" if not found else "whole" if found == expected else "some of its files"] += 1
            wrong = [file for file, digest in found.items() if digest != expected[file]]
            if wrong:
                raise SystemExit(f"{name}: {', '.join(wrong)} is not what an undisturbed command writes")
            run([*words, *again], folder)
            if hashes(folder, files) != expected:
                raise SystemExit(f"{name}: the run behind a kill wrote something else")
        parents = {(folder / file).parent for file in files}
        left = sorted({path.name for parent in parents for path in parent.glob(".*.tmp")})
        if left:
            raise SystemExit(f"{name} leaves {', '.join(left)} behind")
        yield f"{name}: {', '.join(f'{what} {count}' for what, count in counts.items())}"
    yield kill_cache(folder, kills, draw)


def kill_cache(folder: Path, kills: int, draw: random.Random) -> str:
    """The token cache is filled by a training of one step, in a folder `tokens` beside the dataset pack."""
    run(BASE, folder)
    words = [*BASE, "--force"]
    cache = folder / "data" / "tokens"
    shutil.rmtree(cache)
    started = time.monotonic()
    run(words, folder)
    whole = time.monotonic() - started
    names = [path.relative_to(cache).as_posix() for path in sorted(cache.rglob("*.bin"))]
    expected = hashes(cache, names)
    counts: Counter[str] = Counter()
    for _ in range(kills):
        shutil.rmtree(cache, ignore_errors=True)
        seconds = draw.uniform(0.2, 0.8) * whole
        building = (lambda: any(cache.glob(".*.tmp"))) if counts["kills"] % 2 else None
        status = killed(words, folder, 0.0 if building else seconds, building)
        counts["kills"] += status == -9
        counts["while it was being made"] += any(cache.glob(".*.tmp"))
        found = hashes(cache, names)
        if found and found != expected:
            raise SystemExit("the token cache holds something else than an undisturbed command makes")
        run(words, folder)
        if hashes(cache, names) != expected:
            raise SystemExit("the token cache behind a kill is another")
    left = [path.name for path in cache.iterdir() if path.name.startswith(".")]
    if left:
        raise SystemExit(f"the token cache keeps {', '.join(left)}")
    return f"token cache: {', '.join(f'{what} {count}' for what, count in counts.items())}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=25, help="moments, of training and of each command")
    parser.add_argument("--steps", type=int, default=60, help="optimizer steps of the training")
    parser.add_argument("--seed", type=int, default=1, help="of the moments")
    parser.add_argument("--only", choices=("training", "commands"))
    args = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with tempfile.TemporaryDirectory() as root:
        for part in ("training", "commands") if args.only is None else (args.only,):
            folder = Path(root) / part
            folder.mkdir()
            draw = random.Random(args.seed)
            lines = (
                kill_training(folder, args.kills, args.steps, draw)
                if part == "training"
                else kill_commands(folder, args.kills, draw)
            )
            for line in lines:
                print(line, flush=True)


if __name__ == "__main__":
    main()
