"""A callback of your own: when the loss jumps, go back to good weights and go on with a smaller learning rate.

    picochat fit --config capability.yaml --trainer.callbacks+=spike_guard.SpikeGuard     where this file is

    step        98    99   100   101   102   103        window 64, snapshot_every 50, lr_cut 0.5
    loss      2.31  2.29  2.30  2.28   9.7  2.30        median 2.3, so 9.7 is a spike
    snapshot                     w                      weights after step 100: the loss of step 101 says they are good
    weights                            ◄─ of step 100   step 102 is not taken
    rate × factor 1     1     1     1    .5    .5

It shows what a callback can rely on: hooks around the optimizer step, values that are equal on all ranks, a state that
is part of the resumable checkpoint, and settings that the command line documents.
"""

import math
import statistics
from collections.abc import Sequence
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy
from lightning.pytorch.utilities import rank_zero_info
from lightning_utilities.core.apply_func import apply_to_collection
from torch import Tensor
from torch.optim import Optimizer

from picochat.errors import UserError


def is_spike(loss: float, recent: Sequence[float], threshold: float) -> bool:
    """Whether `loss` lies more than `threshold` robust standard deviations above the median of `recent`.

    The deviation is 1.4826 · MAD, which equals the standard deviation of normal noise and ignores outliers; it is taken
    to be at least 1 % of the median, so that a loss that hardly moves does not make a spike of a ripple.
    """
    median = statistics.median(recent)
    deviation = 1.4826 * statistics.median(abs(value - median) for value in recent)
    return loss > median + threshold * max(deviation, 0.01 * abs(median))


class SpikeGuard(Callback):
    """Roll model and optimizer back to a snapshot when the loss spikes, and lower the learning rate.

    Step counter, schedule and data go on: the batch that made the spike is not met again. A non-finite loss is left to
    GradientClip. The factor works inside the optimizer's step, so the order of the callbacks does not matter. The
    snapshot makes checkpoints larger by the size of model and optimizer.

    Args:
        window: how many recent good losses the median is taken of; nothing is judged before there are as many.
        threshold: robust standard deviations above the median that make a spike.
        lr_cut: what the learning rate is multiplied by at each rollback, for the rest of the run.
        snapshot_every: optimizer steps between snapshots, kept in main memory.
        max_rollbacks: rollbacks after which one more spike ends the run with an error.
    """

    def __init__(
        self,
        window: int = 64,
        threshold: float = 10.0,
        lr_cut: float = 0.5,
        snapshot_every: int = 50,
        max_rollbacks: int = 5,
    ) -> None:
        if window < 2 or threshold <= 0 or not 0 < lr_cut <= 1 or snapshot_every < 1 or max_rollbacks < 0:
            raise UserError(
                "SpikeGuard: a setting is out of range; see `picochat fit --trainer.callbacks.help SpikeGuard`"
            )
        self.window = window
        self.threshold = threshold
        self.lr_cut = lr_cut
        self.snapshot_every = snapshot_every
        self.max_rollbacks = max_rollbacks
        self.state: dict[str, Any] = {"lr_factor": 1.0, "rollbacks": 0, "recent": [], "snapshot": {}}
        self._loss: Tensor | float = 0.0  # of the step under way
        self._go_back = False

    def state_dict(self) -> dict[str, Any]:
        return self.state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.state = _copy(state_dict)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not isinstance(trainer.strategy, SingleDeviceStrategy | DDPStrategy):
            raise UserError(
                f"SpikeGuard keeps whole snapshots and does not support {type(trainer.strategy).__name__}; use one "
                "device or ddp, or take it out of trainer.callbacks"
            )
        rates: list[float] = []

        def lower(optimizer: Optimizer, *_: Any) -> None:
            rates[:] = [group["lr"] for group in optimizer.param_groups]
            for group in optimizer.param_groups:
                group["lr"] *= self.state["lr_factor"]

        def restore(optimizer: Optimizer, *_: Any) -> None:
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate

        (optimizer,) = trainer.optimizers
        optimizer.register_step_pre_hook(lower)
        optimizer.register_step_post_hook(restore)

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        # Lightning has divided by accumulate_grad_batches already: micro-batches add up to the step's loss.
        scaler = getattr(trainer.precision_plugin, "scaler", None)  # fp16 scales the loss before this hook
        self._loss = self._loss + loss.detach().float() / (scaler.get_scale() if scaler else 1.0)

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        loss = float(trainer.strategy.reduce(torch.as_tensor(self._loss), reduce_op="mean"))  # equal on all ranks
        self._loss, recent = 0.0, self.state["recent"]
        if len(recent) == self.window and math.isfinite(loss) and is_spike(loss, recent, self.threshold):
            self._refuse_step(trainer, pl_module, loss)
        elif math.isfinite(loss):
            self.state["recent"] = [*recent, loss][-self.window :]
            if not self.state["snapshot"] or trainer.global_step % self.snapshot_every == 0:
                parts = {"model": pl_module.state_dict(), "optimizer": optimizer.state_dict()["state"]}
                self.state["snapshot"] = _copy({"step": trainer.global_step, **parts})
        pl_module.log_dict({f"train/{name}": float(self.state[name]) for name in ("lr_factor", "rollbacks")})

    def _refuse_step(self, trainer: Trainer, pl_module: LightningModule, loss: float) -> None:
        state, step = self.state, trainer.global_step + 1
        said = (
            f"the loss spiked to {loss:.3g} (median {statistics.median(state['recent']):.3g}) at optimizer step {step}"
        )
        state["rollbacks"] += 1
        if state["rollbacks"] > self.max_rollbacks:
            raise UserError(f"{said}, after {self.max_rollbacks} rollbacks; lower the learning rate, then resume")
        for parameter in pl_module.parameters():
            parameter.grad = None  # the optimizer's step moves nothing
        self._go_back = True
        state["lr_factor"] *= self.lr_cut
        rank_zero_info(f"{said}: back to step {state['snapshot']['step']}, learning rate × {state['lr_factor']:g}")

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self._go_back:  # not inside the optimizer's own step
            self._go_back = False
            snapshot = _copy(self.state["snapshot"])  # the optimizer keeps the tensors that it is given
            pl_module.load_state_dict(snapshot["model"])
            groups = trainer.optimizers[0].state_dict()["param_groups"]  # the present rates stay
            trainer.optimizers[0].load_state_dict({"state": snapshot["optimizer"], "param_groups": groups})


def _copy(state: dict[str, Any]) -> dict[str, Any]:
    """On the CPU, sharing no memory with the live model."""
    copy: dict[str, Any] = apply_to_collection(state, Tensor, lambda tensor: tensor.detach().to("cpu", copy=True))
    return copy
