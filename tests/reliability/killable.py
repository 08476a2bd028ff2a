"""Runs of a second in processes of their own, to be killed and stopped at any place. Used by the tests beside it.

world(folder)   rows, a tokenizer, a config, and slow.py: a user's own callback that waits at a given place of a run
start(…)        `picochat fit` in the background;  .until("at validation")  waits until it says so
"""

import csv
import hashlib
import itertools
import json
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from exact_run import logged
from forked import Forked, picochat
from small_rows import make_data

__all__ = ["logged"]
RESUME = ["--ckpt_path", "run/last.ckpt"]
TWO = ["--trainer.devices=2", "--trainer.strategy=ddp"]
IMPATIENT = (
    '--trainer.callbacks+={"class_path": "lightning.pytorch.callbacks.EarlyStopping", '
    '"init_args": {"monitor": "val/loss", "patience": 1, "min_delta": 100.0}}'
)
SLOW = """
import os
import time
from pathlib import Path
from lightning import Callback
from picochat.datamodules import ChatDataModule

class Slow(Callback):
    def __init__(self, at: str, step: int = 0, seconds: float = 1e9) -> None:
        self.at, self.step, self.seconds = at, step, seconds

    def wait(self, place, trainer):
        if place == self.at and trainer.global_step == self.step and trainer.sanity_checking == (place == "sanity"):
            os.write(1, f"at {place}\\n".encode())  # whole, whatever the other rank writes
            end = time.monotonic() + self.seconds
            while time.monotonic() < end and not Path("go-on").exists():
                time.sleep(0.02)

    def on_sanity_check_start(self, trainer, pl_module):
        self.wait("sanity", trainer)

    def on_train_batch_start(self, trainer, *args):
        self.wait("step", trainer)

    def on_validation_batch_start(self, trainer, *args):
        self.wait("validation", trainer)

class Preparing(ChatDataModule):
    def prepare_data(self) -> None:
        print("at prepare", flush=True)
        time.sleep(1e6)
"""


def world(folder: Path) -> Path:
    """Fill a folder with what a run needs."""
    make_data(folder)
    (folder / "slow.py").write_text(SLOW)
    write_config(folder)
    return folder


def write_config(folder: Path, batch_size: int = 4) -> None:
    """The settings of a run of 12 steps: saved after every second, validated after 4, 8 and 12."""
    decoder = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
               "num_key_value_heads": 2, "head_dim": 8}  # fmt: skip
    files = {"chat_input": "chat.jsonl", "eval_input": "eval.jsonl", "tokenizer": "tokenizer.json", "work_dir": "."}
    sizes = {"batch_size": batch_size, "context_length": 192, "val_fraction": 0.2, "block_size": 100}
    trainer = {"default_root_dir": "run", "max_steps": 12, "accelerator": "cpu", "precision": "32-true"}
    config = {
        "seed_everything": 1,
        "trainer": {**trainer, "val_check_interval": 4, "log_every_n_steps": 1},
        "lr_schedule": {"warmup_steps": 3},
        "last_checkpoint": {"every_n_steps": 2},
        "benchmark_metrics": {"rows_per_lane": 6, "max_new_tokens": 8},
        "model": {"decoder": decoder, "optimizer": {"name": "adamw", "learning_rate": 0.004}},
        "data": {"class_path": "picochat.datamodules.ChatDataModule", "init_args": {**files, **sizes}},
    }
    (folder / "run.yaml").write_text(yaml.safe_dump(config, sort_keys=False))


def slow(at: str, step: int = 0, **seconds: float) -> list[str]:
    """Words that make a run wait at a place (sanity, step or validation) until `go_on`."""
    arguments = {"at": at, "step": step, **seconds}
    return [f"--trainer.callbacks+={json.dumps({'class_path': 'slow.Slow', 'init_args': arguments})}"]


def go_on(folder: Path) -> None:
    """End the waiting of all ranks, now and later; a signal that was sent before has come by then."""
    (folder / "go-on").touch()


def command(folder: Path, words: Sequence[str]) -> Forked:
    """`picochat WORDS` in `folder`, in the background."""
    return Forked(picochat, *words, output=folder / f".output-{next(_NUMBERS)}", cwd=folder)


def start(folder: Path, words: Sequence[str] = ()) -> Forked:
    """`picochat fit --config run.yaml WORDS`."""
    return command(folder, ["fit", "--config", "run.yaml", *words])


def fit(folder: Path, words: Sequence[str] = (), status: int = 0) -> str:
    """The same, to its end; what it printed."""
    started = start(folder, words)
    assert started.end() == status, started.printed()
    return started.printed()


def refused(folder: Path, words: Sequence[str]) -> str:
    """The one sentence with which a command ends that fails with status 2."""
    started = command(folder, words)
    assert started.end() == 2, started.printed()
    assert "Traceback" not in started.printed()
    (error,) = (line for line in started.printed().splitlines() if line.startswith("picochat: error: "))
    return error


def kill(folder: Path, words: Sequence[str], step: int) -> Path:
    """A run that is killed at the beginning of a step; its folder's world."""
    run = start(folder, [*words, *slow("step", step=step)])
    run.until("at step")
    run.send(signal.SIGKILL)
    assert run.end() == -signal.SIGKILL
    return folder


def second_rank(run: Forked) -> int:
    """The process that rank 0 started."""
    number = run.process.pid
    return int(Path(f"/proc/{number}/task/{number}/children").read_text().split()[0])


_NUMBERS = itertools.count()


def flat(tree: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """(path, value) of all tensors and numbers of a checkpoint."""
    if isinstance(tree, dict | list | tuple):
        for key, inner in tree.items() if isinstance(tree, dict) else enumerate(tree):
            yield from flat(inner, f"{name}.{key}")
    else:
        yield name, tree


def state(run: Path) -> dict[str, Any]:
    """Weights, optimizer and step of a run's last.ckpt."""
    checkpoint = torch.load(run / "last.ckpt", weights_only=True)
    return dict(flat([checkpoint[part] for part in ("state_dict", "optimizer_states", "global_step")]))


def results(run: Path) -> dict[str, str]:
    """What a finished run left that must not depend on interruptions; of the log, all but the speeds."""
    files = ["best_checkpoint/model.safetensors", "last_checkpoint/model.safetensors", "samples.jsonl"]
    found = {name: hashlib.sha256((run / name).read_bytes()).hexdigest() for name in files}
    values = (
        one.numpy().tobytes() if isinstance(one, torch.Tensor) else str(one).encode() for one in state(run).values()
    )
    with (run / "metrics.csv").open(newline="") as file:
        rows = [
            {k: v for k, v in row.items() if v and not k.endswith(("_per_s", "_wait"))} for row in csv.DictReader(file)
        ]
    return {
        **found,
        "last.ckpt": hashlib.sha256(b"".join(values)).hexdigest(),
        "metrics.csv": "\n".join(map(str, rows)),
    }
