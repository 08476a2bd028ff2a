"""A small training run by Lightning's Trainer, and what it leaves.

python tests/exact_run.py        writes tests/golden_losses.json anew: say in the commit why they moved
"""

import csv
import json
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning import LightningModule, Trainer, seed_everything
from lightning.pytorch.callbacks import Callback
from small_rows import make_data

from picochat.callbacks import AtomicCheckpointIO, LastCheckpoint, LRSchedule, RunLogger
from picochat.datamodules import ChatDataModule
from picochat.model.config import DecoderConfig
from picochat.model.module import ChatModule
from picochat.model.optim import OptimizerConfig

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
    learning_rate: float = 0.004
    compile: bool = False


class KeepFirstGradients(Callback):
    """Writes the gradients of the first optimizer step of this process."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        if trainer.is_global_zero and not self.path.exists():
            torch.save({name: weight.grad for name, weight in pl_module.named_parameters()}, self.path)


def open_data(folder: str | Path, **settings: Any) -> ChatDataModule:
    """The data of `make_data`, not yet prepared."""
    files = {"chat_input": "chat.jsonl", "eval_input": "eval.jsonl", "tokenizer": "tokenizer.json", "work_dir": ""}
    paths = {name: str(Path(folder) / file) for name, file in files.items()}
    return ChatDataModule(**{**paths, "context_length": 192, **settings})


def fit(run: Run) -> None:
    """Train, and leave the results in the run's folder."""
    torch.set_num_threads(1)
    seed_everything(1, verbose=False)
    root = Path(run.root)
    root.mkdir(parents=True, exist_ok=True)
    module = ChatModule(
        DecoderConfig(512, 32, 64, 2, 4, 2, 8),
        optimizer=OptimizerConfig("adamw", run.learning_rate),
        compile=run.compile,
    )
    keep = KeepFirstGradients(root / "gradients.pt")
    trainer = Trainer(
        max_steps=run.steps,
        accumulate_grad_batches=run.accumulate,
        val_check_interval=6 * run.accumulate,
        check_val_every_n_epoch=None,
        log_every_n_steps=1,
        num_sanity_val_steps=0,
        accelerator="cpu",
        devices=run.ranks,
        strategy="ddp_fork" if run.ranks > 1 else "auto",
        precision="32-true",
        callbacks=[LRSchedule(warmup_steps=4, min_lr_ratio=0.1), LastCheckpoint(5), keep],
        plugins=[AtomicCheckpointIO()],
        logger=RunLogger(save_dir=str(root)),
        default_root_dir=root,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, open_data(run.data, batch_size=run.batch_size, block_size=100))


def logged(root: Path, name: str) -> dict[int, float]:
    """{step: value} of a metric of a run."""
    with (root / "metrics.csv").open(newline="") as file:
        return {int(row["step"]): float(row[name]) for row in csv.DictReader(file) if row.get(name)}


def losses(root: Path, name: str = "train/loss") -> list[float]:
    """A loss as it was logged, in order."""
    return list(logged(root, name).values())


def golden_losses() -> list[float]:
    """Twenty losses of a fixed run."""
    with tempfile.TemporaryDirectory() as folder:
        data = make_data(Path(folder) / "data")
        fit(Run(root=f"{folder}/run", data=str(data), steps=20, learning_rate=0.001))
        return losses(Path(folder) / "run")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    GOLDEN.write_text(json.dumps(golden_losses(), indent=0) + "\n")
