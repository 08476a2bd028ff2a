"""A run that dies and resumes leaves the weights, the best checkpoint and the log of a run that never died."""

import csv
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint, ModelCheckpoint
from tiny import Line, trainer, weights
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from picochat.callbacks import AtomicCheckpointIO, BestCheckpoint, LastCheckpoint, LRSchedule, RunLogger
from picochat.errors import UserError


class Killed(BaseException):
    """Stands for SIGKILL: nothing may tidy up after it."""


class Kill(Checkpoint):
    """Dies at the end of a batch, after all other callbacks (checkpoint callbacks come last, in their order)."""

    def __init__(self, step: int, in_validation: bool = False) -> None:
        self.step = step
        self.in_validation = in_validation

    def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
        if trainer.global_step == self.step and not self.in_validation:
            raise Killed

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.global_step == self.step:
            raise Killed


class Rows(Dataset[tuple[Tensor, Tensor]]):
    def __len__(self) -> int:
        return 64

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        x = torch.tensor([index / 32 - 1])
        return x, 2 * x - 1 + 0.3 * torch.sin(40 * x)


class ResumableLoader(DataLoader[Any]):
    """Goes on at the batch after the last finished one."""

    def __init__(self, trainer: Trainer) -> None:
        super().__init__(Rows(), batch_size=2)
        self.trainer = trainer

    def __iter__(self) -> Any:
        done = self.trainer.global_step * self.trainer.accumulate_grad_batches
        return iter(list(super().__iter__())[done:])

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The position is the trainer's."""


def run(
    root: Path, extra: list[Callback], resume: bool = False, accumulate: int = 1, every: int = 5, **settings: Any
) -> Line:
    module = Line()
    callbacks: list[Callback] = [LRSchedule(warmup_steps=3), BestCheckpoint(), LastCheckpoint(every), *extra]
    fit = trainer(
        root,
        callbacks,
        max_steps=22 // accumulate,
        enable_checkpointing=True,
        logger=RunLogger(str(root)),
        log_every_n_steps=2,
        plugins=[AtomicCheckpointIO()],
        accumulate_grad_batches=accumulate,
        **{"val_check_interval": 10, **settings},
    )
    fit.fit(
        module,
        ResumableLoader(fit),
        DataLoader(Rows(), batch_size=8),
        ckpt_path=str(root / "last.ckpt") if resume and (root / "last.ckpt").exists() else None,
    )
    return module


def rows(root: Path) -> list[dict[str, str]]:
    with (root / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Line]:
    root = tmp_path_factory.mktemp("undisturbed")
    return root, run(root, [])


def test_the_log_has_a_row_per_interval_and_per_validation(undisturbed: tuple[Path, Line]) -> None:
    table = rows(undisturbed[0])
    assert list(table[0]) == ["step", "epoch", "train/loss", "train/lr", "val/loss"]
    assert [int(row["step"]) for row in table if row["train/loss"]] == [2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22]
    assert [int(row["step"]) for row in table if row["val/loss"]] == [10, 20]
    assert float(table[0]["train/lr"]) == pytest.approx(0.1 * 2 / 3)  # the rate that step 2 of 3 warm-up steps used


@pytest.mark.parametrize(
    ("step", "in_validation"),
    [(3, False), (5, False), (10, False), (10, True), (13, False), (20, False), (20, True), (21, False), (22, False)],
)
def test_a_killed_run_ends_like_an_undisturbed_one(
    tmp_path: Path, undisturbed: tuple[Path, Line], step: int, in_validation: bool
) -> None:
    root, module = undisturbed
    with pytest.raises(Killed):
        run(tmp_path, [Kill(step, in_validation)])
    assert (tmp_path / "last.ckpt").exists() == (step >= 5)
    if (tmp_path / "metrics.csv").exists():
        with (tmp_path / "metrics.csv").open("a") as file:
            file.write(f"{step + 1},0,0.12")  # a row cut short
    resumed = run(tmp_path, [], resume=True)
    assert weights(resumed) == weights(module)
    assert rows(tmp_path) == rows(root)
    for name in ("best_checkpoint", "last_checkpoint"):
        assert (tmp_path / name / "model.safetensors").read_bytes() == (root / name / "model.safetensors").read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in root.iterdir()}


def test_accumulation_saves_once_a_step_and_resumes_there(tmp_path: Path) -> None:
    often = {"accumulate": 2, "val_check_interval": 5}  # every other time between the two batches of a step
    whole = run(tmp_path / "whole", [], **often)
    assert [int(row["step"]) for row in rows(tmp_path / "whole") if row["val/loss"]] == [2, 5, 7, 10]
    with pytest.raises(Killed):
        run(tmp_path / "killed", [Kill(8)], **often)
    resumed = run(tmp_path / "killed", [], resume=True, **often)
    assert weights(resumed) == weights(whole)
    assert rows(tmp_path / "killed") == rows(tmp_path / "whole")


@pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")
def test_the_log_keeps_step_with_lightning_s_own_checkpoints_too(tmp_path: Path) -> None:
    def once(root: Path, extra: list[Callback], ckpt_path: Path | None = None) -> None:
        saver = ModelCheckpoint(root, filename="mine", every_n_train_steps=4, enable_version_counter=False)
        settings = {"logger": RunLogger(str(root)), "enable_checkpointing": True, "max_steps": 10}
        fit = trainer(root, [saver, *extra], **settings)
        fit.fit(Line(), ResumableLoader(fit), ckpt_path=ckpt_path)

    once(tmp_path / "whole", [])
    with pytest.raises(Killed):
        once(tmp_path / "killed", [Kill(8)])  # the checkpoint of step 8 exists; Lightning has not logged step 8 yet
    once(tmp_path / "killed", [], tmp_path / "killed" / "mine.ckpt")
    assert [row["step"] for row in rows(tmp_path / "killed")] == [str(step) for step in range(1, 11)]
    assert rows(tmp_path / "killed") == rows(tmp_path / "whole")


class FullDisk:
    """Pickles until half-way, then the disk is full."""

    def __reduce__(self) -> Any:
        raise OSError(28, "No space left on device")


def test_a_full_disk_leaves_the_old_checkpoint_and_no_leftovers(tmp_path: Path) -> None:
    writer = AtomicCheckpointIO()
    writer.save_checkpoint({"state_dict": {}, "step": 1}, tmp_path / "last.ckpt")
    with pytest.raises(UserError, match=r"last.ckpt: No space left on device$"):
        writer.save_checkpoint({"state_dict": {}, "late": FullDisk()}, tmp_path / "last.ckpt")
    assert writer.load_checkpoint(tmp_path / "last.ckpt")["step"] == 1
    assert list(tmp_path.iterdir()) == [tmp_path / "last.ckpt"]


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut short", b"text", b"\x80\x02]q\x00."])
def test_a_damaged_checkpoint_is_one_sentence(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "last.ckpt"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"last\.ckpt"):
        AtomicCheckpointIO().load_checkpoint(path)
    with pytest.raises(UserError, match=r"cannot read .*other\.ckpt"):
        AtomicCheckpointIO().load_checkpoint(tmp_path / "other.ckpt")
