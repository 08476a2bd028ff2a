"""Runs of a second in processes of their own, to be killed and stopped at any place. Used by the tests beside it.

world(folder)   rows, a tokenizer, a config, and slow.py: a user's own callback that waits at a given place of a run
start(…)        `picochat fit` in the background;  .until("at validation")  waits until it says so
"""

import csv
import hashlib
import itertools
import json
import multiprocessing
import os
import signal
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from forked import PROCESSES
from small_rows import chat_row, eval_row, write_jsonl

from picochat.model.vocabulary import train_tokenizer

SLOW = """
import time
from lightning import Callback
from picochat.datamodules import ChatDataModule

class Slow(Callback):
    def __init__(self, at: str, step: int = 0, seconds: float = 120.0) -> None:
        self.at, self.step, self.seconds = at, step, seconds

    def wait(self, place, trainer):
        if place == self.at and trainer.global_step == self.step and trainer.sanity_checking == (place == "sanity"):
            print("at", place, flush=True)
            end = time.monotonic() + self.seconds
            while time.monotonic() < end:
                time.sleep(0.02)

    def on_sanity_check_start(self, trainer, pl_module):
        self.wait("sanity", trainer)

    def on_train_batch_start(self, trainer, *args):
        self.wait("step", trainer)

    def on_validation_batch_start(self, trainer, *args):
        self.wait("validation", trainer)

    def on_validation_epoch_end(self, trainer, *args):
        self.wait("validation end", trainer)

class Preparing(ChatDataModule):
    def prepare_data(self) -> None:
        print("at prepare", flush=True)
        time.sleep(120)
"""


def world(folder: Path) -> Path:
    """Fill a folder with what a run needs."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [chat_row("add", n, 1 + n % 5) for n in range(90)] + [chat_row("spell", n, 4 + n % 20) for n in range(60)]
    write_jsonl(folder / "chat.jsonl", rows)
    write_jsonl(folder / "eval.jsonl", [eval_row("spell", n, 3 + n) for n in range(6)])
    texts = [message["content"] for row in rows for message in row["messages"]]
    train_tokenizer(texts, 300).write(folder / "tokenizer.json")
    (folder / "slow.py").write_text(SLOW)
    (folder / "run.yaml").write_text(yaml.safe_dump(config(), sort_keys=False))
    return folder


def config(batch_size: int = 4) -> dict[str, Any]:
    """The settings of a run of 12 steps: saved after every second, validated after 4, 8 and 12."""
    decoder = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
               "num_key_value_heads": 2, "head_dim": 8}  # fmt: skip
    files = {"chat_input": "chat.jsonl", "eval_input": "eval.jsonl", "tokenizer": "tokenizer.json", "work_dir": "."}
    sizes = {"batch_size": batch_size, "context_length": 192, "val_fraction": 0.2, "block_size": 100}
    trainer = {"default_root_dir": "run", "max_steps": 12, "accelerator": "cpu", "precision": "32-true"}
    return {
        "seed_everything": 1,
        "trainer": {**trainer, "val_check_interval": 4, "log_every_n_steps": 1},
        "lr_schedule": {"warmup_steps": 3},
        "last_checkpoint": {"every_n_steps": 2},
        "benchmark_metrics": {"rows_per_lane": 6, "max_new_tokens": 8},
        "model": {"decoder": decoder, "optimizer": {"name": "adamw", "learning_rate": 0.004}},
        "data": {"class_path": "picochat.datamodules.ChatDataModule", "init_args": {**files, **sizes}},
    }


def slow(at: str, step: int = 0, seconds: float = 120.0) -> list[str]:
    """Words that make a run wait at a place: sanity, step, validation or "validation end"."""
    arguments = {"at": at, "step": step, "seconds": seconds}
    return [f"--trainer.callbacks+={json.dumps({'class_path': 'slow.Slow', 'init_args': arguments})}"]


class Started:
    """A command in a process of its own, which can be killed and sent signals. What it prints goes to files."""

    def __init__(self, folder: Path, words: Sequence[str]) -> None:
        self.output = folder / f".output-{next(_NUMBERS)}"
        self.process = PROCESSES.Process(target=_main, args=(folder, list(words), self.output))
        self.process.start()

    def printed(self) -> str:
        """Everything so far, stdout and stderr."""
        return self.output.read_text() if self.output.exists() else ""

    def until(self, line: str) -> None:
        """Wait until it has printed this line."""
        while f"{line}\n" not in self.printed():
            assert self.process.is_alive(), f"it never came to {line!r}: {self.printed()}"
            time.sleep(0.02)

    def send(self, number: int) -> None:
        """Send it a signal."""
        assert self.process.pid is not None
        os.kill(self.process.pid, number)

    def end(self, timeout: float = 400) -> int | None:
        """Wait for its exit status; -9 when it was killed."""
        self.process.join(timeout)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
            raise AssertionError(f"still running after {timeout} s: {self.printed()}")
        return self.process.exitcode


def start(folder: Path, words: Sequence[str] = ()) -> Started:
    """`picochat fit --config run.yaml WORDS` in `folder`, in the background."""
    return Started(folder, ["fit", "--config", "run.yaml", *words])


def fit(folder: Path, words: Sequence[str] = (), status: int = 0) -> str:
    """The same, to its end; what it printed."""
    started = start(folder, words)
    assert started.end() == status, started.printed()
    return started.printed()


def kill(folder: Path, words: Sequence[str], step: int) -> Path:
    """A run that is killed at the beginning of a step; its folder's world."""
    run = start(folder, [*words, *slow("step", step=step)])
    run.until("at step")
    run.send(signal.SIGKILL)
    assert run.end() == -signal.SIGKILL
    return folder


_NUMBERS = itertools.count()


def _main(folder: Path, words: list[str], output: Path) -> None:
    os.chdir(folder)
    handle = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    warnings.simplefilter("ignore")
    script = Path(sys.executable).with_name("picochat")
    sys.argv = [str(script), *words]  # from which Lightning starts the other ranks
    signal.signal(signal.SIGINT, signal.default_int_handler)  # the fork server ignores it
    # As in a user's process: workers of a fork server never learn that the run behind them was killed, and stay.
    multiprocessing.set_start_method("fork", force=True)
    from picochat.cli import main

    main(words)


def results(run: Path) -> dict[str, str]:
    """What a finished run left that must not depend on interruptions; of the log, all but the speeds."""
    files = ["best_checkpoint/model.safetensors", "last_checkpoint/model.safetensors", "samples.jsonl", "samples.md"]
    found = {name: hashlib.sha256((run / name).read_bytes()).hexdigest() for name in files}
    with (run / "metrics.csv").open(newline="") as file:
        rows = [
            {k: v for k, v in row.items() if v and not k.endswith(("_per_s", "_wait"))} for row in csv.DictReader(file)
        ]
    return {**found, "metrics.csv": "\n".join(map(str, rows))}


def logged(run: Path, name: str) -> dict[int, float]:
    """{step: value} of a metric."""
    with (run / "metrics.csv").open(newline="") as file:
        return {int(row["step"]): float(row[name]) for row in csv.DictReader(file) if row.get(name)}
