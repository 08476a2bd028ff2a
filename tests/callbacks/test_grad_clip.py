"""Long gradients are shortened, non-finite ones move nothing, and a run that meets too many ends with their place."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from tiny import Line, loader, trainer, weights

from picochat.callbacks import GradientClip, LastCheckpoint
from picochat.errors import UserError


class Norms(Callback):
    """The norm that reaches the optimizer; listed after GradientClip."""

    def __init__(self) -> None:
        self.after: list[float] = []
        self.logged: list[float] = []

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        gradients = [p.grad for p in pl_module.parameters() if p.grad is not None]
        self.after.append(math.sqrt(sum(float((g**2).sum()) for g in gradients)))

    def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
        self.logged.append(float(trainer.callback_metrics["train/grad_norm"]))


def test_a_long_gradient_is_shortened_to_the_limit_and_its_full_length_is_logged(tmp_path: Path) -> None:
    norms, free = Norms(), Norms()
    # Batch (x, y) = (-1, -3), (-31/33, -95/33) …: the first gradients are far longer than 0.5.
    trainer(tmp_path, [GradientClip(max_norm=0.5), norms], max_steps=2).fit(Line(), loader())
    assert norms.after == pytest.approx([0.5, 0.5], rel=1e-4)
    assert all(norm > 2 for norm in norms.logged)
    trainer(tmp_path, [GradientClip(max_norm=1000.0), free], max_steps=2).fit(Line(), loader())
    assert free.after == pytest.approx(free.logged)  # a short one is left alone


@pytest.mark.parametrize("bad", [math.nan, -math.inf])
def test_a_bad_step_moves_neither_weights_nor_optimizer_state(tmp_path: Path, bad: float) -> None:
    clean, spoilt = Line(), Line(spoil=lambda step: bad if step == 3 else 1.0)
    clip = GradientClip()
    one = trainer(tmp_path, [GradientClip()], max_steps=2)
    one.fit(clean, loader())
    two = trainer(tmp_path, [clip], max_steps=3)
    two.fit(spoilt, loader())
    assert not math.isfinite(spoilt.losses[2])
    assert clip.skipped_steps == 1
    assert float(two.callback_metrics["train/skipped_steps"]) == 1
    assert weights(spoilt) == weights(clean)
    assert two.optimizers[0].state_dict()["state"][0]["step"] == 2


def test_one_bad_micro_batch_skips_its_whole_step_only(tmp_path: Path) -> None:
    clip = GradientClip()
    module = Line(spoil=lambda step: math.nan if step == 2 else 1.0)
    fit = trainer(tmp_path, [clip], max_steps=3, accumulate_grad_batches=2)
    fit.fit(module, loader())
    assert clip.skipped_steps == 1
    assert fit.optimizers[0].state_dict()["state"][0]["step"] == 2
    assert all(math.isfinite(value) for values in weights(module).values() for value in values)


def test_too_many_skips_in_a_row_stop_and_name_the_step(tmp_path: Path) -> None:
    clip = GradientClip(max_skipped=2)
    module = Line(spoil=lambda step: math.nan if step in (1, 2) or step >= 4 else 1.0)
    with pytest.raises(UserError, match=r"optimizer step 6, 3 times in a row; lower model.optimizer.learning_rate"):
        trainer(tmp_path, [clip]).fit(module, loader())
    assert clip.skipped_steps == 5


def test_a_resumed_run_goes_on_counting(tmp_path: Path) -> None:
    module, clip = Line(spoil=lambda step: math.nan if 2 <= step <= 4 else 1.0), GradientClip(max_skipped=2)
    trainer(tmp_path, [GradientClip(), LastCheckpoint()], max_steps=3, enable_checkpointing=True).fit(module, loader())
    again = trainer(tmp_path, [clip, LastCheckpoint()], max_steps=6, enable_checkpointing=True)
    with pytest.raises(UserError, match="optimizer step 4, 3 times in a row"):
        again.fit(module, loader(), ckpt_path=tmp_path / "last.ckpt", weights_only=True)
    assert clip.skipped_steps == 3
