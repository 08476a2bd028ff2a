"""Clip the global gradient norm; skip steps with non-finite gradients.

In: the accumulated, unscaled, all-reduced gradients before an optimizer step. Out: the same with a global norm of at
most `max_norm`, or none. Next: the optimizer. Lightning's `gradient_clip_val` neither logs the norm nor survives a NaN.

    norm    0.5   3.0    nan    0.7        max_norm 1.0
    used    0.5   1.0   (none)  0.7        a skipped step moves neither weights nor optimizer state
    skipped   0     0      1      1        `train/skipped_steps`

    Trainer(callbacks=[GradientClip(max_norm=1.0)])
"""

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info
from torch.optim import Optimizer

from picochat.errors import UserError


class GradientClip(Callback):
    """Clip the global gradient norm and skip steps whose gradients are not finite, on all ranks together.

    Logs `train/grad_norm` (before clipping) and `train/skipped_steps` (since the run began, resumes included).

    Args:
        max_norm: the longest global L2 norm that reaches the optimizer; `inf` only measures and skips.
        max_skipped: how many steps in a row may be skipped before the run stops with an error. fp16's loss scaler
            overflows about ten times while it looks for its scale; bf16 and float32 never should.
    """

    def __init__(self, max_norm: float = 1.0, max_skipped: int = 20) -> None:
        if not max_norm > 0:
            raise UserError(f"max_norm is {max_norm}; use a length above 0, or .inf to skip non-finite steps only")
        if max_skipped < 0:
            raise UserError(f"max_skipped is {max_skipped}; use 0 to stop at the first non-finite gradient")
        self.max_norm, self.max_skipped = max_norm, max_skipped
        self.skipped_steps = self._in_a_row = 0

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for name in ("gradient_clip_val", "gradient_clip_algorithm"):
            if getattr(trainer, name):
                raise UserError(f"trainer.{name} and GradientClip would both clip; remove one of them")

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        parameters = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        if not parameters:  # another callback took this step's gradients away
            return
        norm = torch.nn.utils.clip_grad_norm_(parameters, self.max_norm)
        norm = norm.full_tensor() if hasattr(norm, "full_tensor") else norm  # a DTensor under ModelParallelStrategy
        # One synchronisation with the device per optimizer step; the decision cannot be made without it.
        if torch.isfinite(norm):
            self._in_a_row = 0
            pl_module.log("train/grad_norm", norm)
        else:
            for parameter in parameters:
                parameter.grad = None  # optimizers pass over it: no momentum, no weight decay, no step count
            self._count(trainer)
        pl_module.log("train/skipped_steps", float(self.skipped_steps))

    def _count(self, trainer: Trainer) -> None:
        self.skipped_steps += 1
        self._in_a_row += 1
        describe = getattr(getattr(trainer, "datamodule", None), "describe_step", None)
        step = trainer.global_step + 1
        place = f"optimizer step {step} ({describe(step)})" if callable(describe) else f"optimizer step {step}"
        if self._in_a_row == 1:
            rank_zero_info(
                f"GradientClip: {place} is skipped: its gradients are not finite; train/skipped_steps counts such steps"
            )
        if self._in_a_row > self.max_skipped:
            raise UserError(
                f"the gradients were not finite at {place}, {self._in_a_row} times in a row; lower "
                "model.optimizer.learning_rate, leave trainer.precision out, or look at these rows, then resume from "
                "the last checkpoint"
            )

    def state_dict(self) -> dict[str, Any]:
        return {"skipped_steps": self.skipped_steps, "in_a_row": self._in_a_row}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.skipped_steps = state_dict["skipped_steps"]
        self._in_a_row = state_dict["in_a_row"]
