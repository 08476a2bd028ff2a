"""A small training run for tests/test_exactness.py, in this process or (kill -9, several ranks) in one of its own.

python tests/exact_run.py '{"root": "/tmp/run", "batch_size": 8, "kill_at": 17}'
python tests/exact_run.py golden          writes tests/golden_losses.json anew: say in the commit why they moved
"""

import csv
import json
import os
import signal
import subprocess
import sys
import tempfile
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from lightning import LightningModule, Trainer, seed_everything
from lightning.pytorch.callbacks import Callback
from small_rows import chat_row, eval_row, write_jsonl

from picochat.callbacks import AtomicCheckpointIO, LastCheckpoint, LRSchedule, RunLogger
from picochat.datamodules import ChatDataModule
from picochat.model.config import DecoderConfig
from picochat.model.module import ChatModule
from picochat.model.optim import OptimizerConfig
from picochat.model.sharding import ShardedStrategy
from picochat.model.vocabulary import train_tokenizer

GOLDEN = Path(__file__).parent / "golden_losses.json"


@dataclass(frozen=True)
class Run:
    """Settings of a run; what it leaves lies in `root`: last.ckpt, metrics.csv, gradients.pt (of its first step)."""

    root: str
    data: str
    steps: int = 40
    batch_size: int = 4
    accumulate: int = 1
    ranks: int = 1
    sharded: bool = False
    workers: int = 0
    kill_at: int | None = None
    resume: bool = False
    learning_rate: float = 0.004
    optimizer: str = "adamw"
    compile: bool = False
    save_every: int = 5


class Kill(Callback):
    """kill -9, sent by the process to itself behind a step; no Python code runs after it."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_start(self, trainer: Trainer, *_: Any) -> None:
        if trainer.global_step == self.step:
            os.kill(os.getpid(), signal.SIGKILL)


class KeepFirstGradients(Callback):
    """Writes the gradients of the first optimizer step of this process."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        if trainer.is_global_zero and not self.path.exists():
            torch.save({name: weight.grad for name, weight in pl_module.named_parameters()}, self.path)


def make_data(folder: Path) -> Path:
    """Rows of three lanes whose answers have from 1 to 60 words."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [chat_row("add", n, 1 + n % 5) for n in range(90)]
    rows += [chat_row("spell", n, 4 + n * 7 % 57) for n in range(60)]
    rows += [chat_row("identity", n, 2) for n in range(30)]
    write_jsonl(folder / "chat.jsonl", rows)
    write_jsonl(folder / "eval.jsonl", [eval_row("spell", n, 1 + 9 * n) for n in range(7)])
    texts = [message["content"] for row in rows for message in row["messages"]]
    train_tokenizer(texts, 300).write(folder / "tokenizer.json")
    return folder


def fit(run: Run) -> ChatModule:
    """Train, and leave the results in the run's folder."""
    torch.set_num_threads(1)
    seed_everything(1, verbose=False)
    root, data = Path(run.root), Path(run.data)
    root.mkdir(parents=True, exist_ok=True)
    decoder = DecoderConfig(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
    )
    module = ChatModule(
        decoder,
        optimizer=OptimizerConfig(
            name=run.optimizer,  # type: ignore[arg-type]
            learning_rate=run.learning_rate,
            matrix_learning_rate=5 * run.learning_rate,
        ),
        compile=run.compile,
    )
    rows = ChatDataModule(
        chat_input=str(data / "chat.jsonl"),
        eval_input=str(data / "eval.jsonl"),
        tokenizer=str(data / "tokenizer.json"),
        work_dir=str(data),
        batch_size=run.batch_size,
        context_length=192,
        block_size=100,
        num_workers=run.workers,
    )
    callbacks: list[Callback] = [LRSchedule(warmup_steps=4, min_lr_ratio=0.1), LastCheckpoint(run.save_every)]
    if not run.sharded:  # gradients are slices
        callbacks.append(KeepFirstGradients(root / "gradients.pt"))
    if run.kill_at is not None:
        callbacks.append(Kill(run.kill_at))
    strategy: Any = ShardedStrategy() if run.sharded else "ddp" if run.ranks > 1 else "auto"
    trainer = Trainer(
        max_steps=run.steps,
        accumulate_grad_batches=run.accumulate,
        val_check_interval=6 * run.accumulate,
        check_val_every_n_epoch=None,
        log_every_n_steps=1,
        num_sanity_val_steps=0,
        accelerator="cpu",
        devices=run.ranks,
        strategy=strategy,
        precision="32-true",
        callbacks=callbacks,
        plugins=[AtomicCheckpointIO()],
        logger=RunLogger(save_dir=str(root)),
        default_root_dir=root,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, rows, ckpt_path=root / "last.ckpt" if run.resume else None)
    return module


def losses(root: Path, name: str = "train/loss") -> list[float]:
    """A loss as it was logged, in order."""
    with (root / "metrics.csv").open(newline="") as file:
        return [float(row[name]) for row in csv.DictReader(file) if row[name]]


def golden_losses() -> list[float]:
    """Twenty losses of a fixed run."""
    with tempfile.TemporaryDirectory() as folder:
        data = make_data(Path(folder) / "data")
        fit(Run(root=f"{folder}/run", data=str(data), steps=20, learning_rate=0.001))
        return losses(Path(folder) / "run")


def in_a_process(run: Run) -> int:
    """Run it in a process of its own; its exit status (-9 when it was killed)."""
    done = subprocess.run([sys.executable, __file__, json.dumps(asdict(run))], capture_output=True, text=True)
    if done.returncode not in (0, -signal.SIGKILL):
        raise RuntimeError(done.stderr)
    return done.returncode


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    if sys.argv[1] == "golden":
        GOLDEN.write_text(json.dumps(golden_losses(), indent=0) + "\n")
    else:
        fit(Run(**json.loads(sys.argv[1])))
