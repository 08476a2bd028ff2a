"""Every run of a study, once. In: `Run`s. Out: a folder for each, finished and verified. Next: report.

    runs/3f2a01bc…/run.json     what it is, and the plan that was written before it began
                   .claim       locked by whoever runs it
                   log.txt      what its commands printed
                   0/ 0.ended   run folder of the first training stage, and that it ended
                   eval/        replies and verdicts
                   done.json    sha256 of the files that count: finished, and verified whenever it is asked for

The folder is named by a hash of the command lines, the content of each file that they name, and picochat's code. A run
that was killed goes on from its last.ckpt.
"""

import hashlib
import math
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, as_completed
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from picochat.errors import UserError
from picochat.files import locked_folder, sha256_file, sha256_text, write_json
from picochat.signals import PARENT
from picochat.strict_json import read_json_object
from picochat.study.arms import FLAGS, Run, flags_of

_COUNT = ("eval/predictions.jsonl", "eval/eval_report.json")
_CHILDREN: set["subprocess.Popen[bytes]"] = set()
_STOPPING = threading.Event()


def run_key(run: Run) -> str:
    """The name of a run's folder."""
    lines = [*run.stages, run.evaluate, (run.start, str(run.seed), _code())]
    return sha256_text("\n".join(" ".join(map(_content, words)) for words in lines))[:16]


def is_finished(folder: Path) -> bool:
    """Whether a run is finished, and its files are as it left them."""
    if not (folder / "done.json").exists():
        return False
    files: dict[str, str] = read_json_object(folder / "done.json")["files"]
    return all((folder / name).exists() and sha256_file(folder / name) == hashed for name, hashed in files.items())


def is_running(folder: Path) -> bool:
    """Whether somebody has claimed a run."""
    try:
        with locked_folder(folder, ".claim"):
            return False
    except UserError:
        return True


def execute(run: Run, folder: Path, plan: str, threads: int, wait: bool, cwd: Path) -> bool:
    """Train and evaluate in a folder, or go on where that stopped; False where others have claimed it, without `wait`.

    `plan` is the plan's sha256; relative paths of the command lines begin at `cwd`. It may run on another machine.
    """
    if not wait and is_running(folder):
        return False
    with locked_folder(folder, ".claim", wait=True):
        if is_finished(folder):
            return True
        if not (folder / "run.json").exists():
            write_json(folder / "run.json", {**vars(run), "plan": plan})
        checkpoint = run.start
        for number, words in enumerate(run.stages):
            place, ended = folder / str(number), folder / f"{number}.ended"
            if not ended.exists() or not (place / "last_checkpoint").exists():
                out, start, resume, *_ = FLAGS[words[0]]
                needs = number or (words[1] == "sft" and start not in flags_of(words))
                with locked_folder(place, wait=True):
                    pass  # what a killed launcher left running ends within a second
                more = [f"{out}={place}", f"{start}={checkpoint}"] if needs else [f"{out}={place}"]
                last = place / "last.ckpt"
                _call([*words, *more, f"{resume}={last}" if last.exists() else "--force"], folder, threads, cwd)
                ended.touch()
            checkpoint = str(place / "last_checkpoint")
        more = [f"--checkpoint={checkpoint}", f"--out-dir={folder}/eval", "--force"]
        _call([*run.evaluate, *more], folder, threads, cwd)
        write_json(folder / "done.json", {"files": {name: sha256_file(folder / name) for name in _COUNT}})
        for left in folder.glob("*/last.ckpt"):
            left.unlink()  # half of a run's disk space, for a resume that will not come
    return True


def expected_seconds(run: Run, folder: Path, threads: int) -> float:
    """What a designed run takes here, by 10 and 30 steps of it and one evaluation; the folder is used and deleted."""

    def seconds(*words: str) -> float:
        began = time.monotonic()
        _call([*words, "--force"], folder, threads, Path.cwd())
        return time.monotonic() - began

    folder.mkdir(parents=True, exist_ok=True)
    try:
        (*line, steps, seed), short = run.stages[-1], f"--out-dir={folder}/run"
        # one step first, which makes the tokens of all files: runs share them
        _, few, more = (seconds(*line, f"--steps={n}", seed, f"--checkpoint={run.start}", short) for n in (1, 10, 30))
        answered = seconds(*run.evaluate, f"--checkpoint={folder}/run/last_checkpoint", f"--out-dir={folder}/eval")
    finally:
        shutil.rmtree(folder)
    step = max(0.0, more - few) / 20
    return max(0.0, more + step * (int(steps.partition("=")[2]) - 30)) + answered


def execute_all(
    runs: Mapping[Path, Run], executor: Executor, plan: str, threads: int, say: Callable[[str], None]
) -> None:
    """Finish every run; UserError names one that failed, when the others are finished."""
    _STOPPING.clear()
    left, failed = [folder for folder in runs if not is_finished(folder)], list[str]()
    say(f"{len(runs) - len(left)} of {len(runs)} runs are finished")
    try:
        for wait in (False, True):  # those that somebody else runs come last
            began, claimed = time.monotonic(), list[Path]()
            more = (plan, threads, wait, Path.cwd())
            futures = {executor.submit(execute, runs[one], one.resolve(), *more): one for one in left}
            for number, future in enumerate(as_completed(futures), start=1):
                folder, before = futures[future], len(failed)
                try:
                    if not future.result():
                        claimed.append(folder)
                    elif not is_finished(folder):
                        failed.append(f"{folder}: its files are gone; delete the cache of the executor")
                except Exception as error:  # an executor of somebody else's may raise anything
                    failed.append(f"{folder}: {error}")
                minutes = math.ceil((time.monotonic() - began) / number * (len(left) - number) / 60)
                rest = f"; about {minutes} min left" if minutes else ""
                ended = " failed" if len(failed) > before else ""
                say(f"{number} of {len(left)}: {runs[folder].name} {folder.name}{ended}{rest}")
            left = claimed
    except BaseException:  # Ctrl-C, SIGTERM: what runs saves its state and ends
        _STOPPING.set()
        executor.shutdown(wait=False, cancel_futures=True)
        for child in list(_CHILDREN):
            child.terminate()
        executor.shutdown()
        raise
    if failed:
        raise UserError(f"{len(failed)} of {len(runs)} runs failed, such as {failed[0]}; start again to go on")


def _call(words: list[str], folder: Path, threads: int, cwd: Path) -> None:
    """One picochat command in a process of its own, which ends with this one."""
    if _STOPPING.is_set():
        raise UserError("stopped")
    cores = {"OMP_NUM_THREADS": str(threads), "RAYON_NUM_THREADS": str(threads), PARENT: str(os.getpid())}
    with (folder / "log.txt").open("ab") as log:
        options: Any = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log, "start_new_session": True}
        command = [sys.executable, "-m", "picochat", *words]
        child = subprocess.Popen(command, cwd=cwd, env={**os.environ, **cores}, **options)
        _CHILDREN.add(child)
        try:
            if _STOPPING.is_set():  # meanwhile
                child.terminate()
            status = child.wait()
        finally:
            _CHILDREN.discard(child)
    if status:
        said = (folder / "log.txt").read_text("utf-8", "replace").strip().splitlines()[-1:]
        raise UserError(f"picochat {' '.join(words[:2])} ended with status {status}: {''.join(said)}")


def _content(word: str, within: tuple[Path, ...] = ()) -> str:
    """A word with the hash of what is in the file or model folder that it names, as in "add=0.5:rows.jsonl".

    `within` are configs that hold the word, in which paths may begin beside the config.
    """
    starts = (0, *(match.end() for match in re.finditer("[=:]", word)))
    folders = (Path(), *(config.parent for config in within[-1:]))
    for start, path in ((start, folder / word[start:]) for start in starts for folder in folders):
        with suppress(OSError):  # too long for a name
            weights = [*path.glob("*.safetensors")]  # other folders may be where the run itself will write
            files = sorted([*weights, *path.glob("*.json")]) if weights else [path] if path.is_file() else []
            if files and path not in within and word[start:].strip("./"):
                return word[:start] + " ".join(_hash(file, file.stat().st_mtime_ns, within) for file in files)
    return word


@cache
def _hash(file: Path, changed: int, within: tuple[Path, ...]) -> str:
    """Of a config: its text, with the hash of each file that it names, but for those that are being read already."""
    if file.suffix not in (".yaml", ".yml"):
        return sha256_file(file)
    words = re.split(r"([\s'\"\[\]{},]+)", file.read_text("utf-8", "replace"))
    return "".join(_content(word, (*within, file)) for word in words)


@cache
def _code() -> str:
    """The hash of what decides about weights and verdicts: picochat's sources and data, but for pages and studies."""
    digest, root = hashlib.sha256(), Path(__file__).parents[1]
    for folder, names, files in os.walk(root, followlinks=True):
        names[:] = sorted(name for name in names if name not in ("study", "board", "templates", "__pycache__"))
        for name in sorted(files):
            digest.update(Path(folder, name).read_bytes())
    return digest.hexdigest()
