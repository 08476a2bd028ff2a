"""When the loss jumps, go back to good weights and go on more slowly.

In: the loss of each optimizer step, all micro-batches and ranks, before the step is taken. Out: sometimes older weights
and a smaller learning rate. Next: training goes on with the data that follow the spike.

    step        98    99   100   101   102   103        window 64, snapshot_every 50, lr_cut 0.5
    loss      2.31  2.29  2.30  2.28   9.7  2.30        median 2.3, so 9.7 is a spike
    snapshot                     w                      weights after step 100: the loss of step 101 says they are good
    weights                            ◄─ of step 100   step 102 is not taken
    rate × factor 1     1     1     1    .5    .5

Usable in any Lightning project with automatic optimization, beside any optimizer and any schedule:

    trainer:
      callbacks:
        - class_path: picochat.callbacks.SpikeGuard
          init_args: {window: 64, threshold: 10.0, snapshot_every: 50}

    Trainer(callbacks=[SpikeGuard(window=64, threshold=10.0, snapshot_every=50)])
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

from picochat.callbacks.grad_clip import describe_step
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

    The loss is averaged over ranks before it is judged, so all ranks roll back together. A snapshot is taken only of
    weights whose loss has been seen and was no spike. The step counter, the schedule and the data go on: the batch that
    made the spike is not met again. A loss that is not finite is GradientClip's affair, unless weights are not finite
    either; then it counts as a spike.

    The factor works inside the optimizer's step only, on top of whatever any schedule has set, so the order of the
    callbacks does not matter; `train/lr_factor` and `train/rollbacks` are logged. All of it, the snapshot included, is
    part of the checkpoint (which grows by the size of model and optimizer), so a resumed run decides as if it had never
    stopped.

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
        if window < 2:
            raise UserError(f"window is {window}; a median needs at least 2 losses, 64 is usual")
        if not threshold > 0:
            raise UserError(f"threshold is {threshold}; it is a number of standard deviations above 0, 10 is usual")
        if not 0 < lr_cut <= 1:
            raise UserError(f"lr_cut is {lr_cut}; it is a factor on the learning rate, above 0 and at most 1")
        if snapshot_every < 1:
            raise UserError(f"snapshot_every is {snapshot_every}; use a number of optimizer steps from 1")
        if max_rollbacks < 0:
            raise UserError(f"max_rollbacks is {max_rollbacks}; use 0 to end the run at the first spike")
        self.window = window
        self.threshold = threshold
        self.lr_cut = lr_cut
        self.snapshot_every = snapshot_every
        self.max_rollbacks = max_rollbacks
        self.lr_factor = 1.0
        self.rollbacks = 0
        self._recent: list[float] = []
        self._snapshot: dict[str, Any] = {}  # {"step", "model", "optimizer"} on the CPU; empty before the first
        self._step_loss: Tensor | float = 0.0
        self._go_back = False
        self._rates: list[float] = []  # the schedule's rates while the optimizer steps
        self._hooks: list[torch.utils.hooks.RemovableHandle] = []

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not pl_module.automatic_optimization:
            raise UserError("SpikeGuard needs automatic optimization; take it out of trainer.callbacks")
        if not isinstance(trainer.strategy, (SingleDeviceStrategy, DDPStrategy)):
            raise UserError(
                f"SpikeGuard keeps whole snapshots and does not know the strategy {type(trainer.strategy).__name__}; "
                "use a single device or ddp, or take it out of trainer.callbacks"
            )
        optimizer = trainer.optimizers[0]  # automatic optimization has exactly one
        self._hooks = [
            optimizer.register_step_pre_hook(self._lower_rates),
            optimizer.register_step_post_hook(self._reset_rates),
        ]

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        # Lightning has divided by accumulate_grad_batches already: micro-batches add up to the step's loss.
        scaler = getattr(trainer.precision_plugin, "scaler", None)  # fp16 scales the loss before this hook
        self._step_loss = self._step_loss + loss.detach().float() / (scaler.get_scale() if scaler else 1.0)

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        loss = float(trainer.strategy.reduce(torch.as_tensor(self._step_loss), reduce_op="mean"))
        self._step_loss = 0.0
        if self._spiked(loss, pl_module):
            self._refuse_step(trainer, pl_module, loss)
        elif math.isfinite(loss):
            self._recent = [*self._recent, loss][-self.window :]
            if not self._snapshot or trainer.global_step % self.snapshot_every == 0:
                self._take_snapshot(trainer, pl_module)
        pl_module.log_dict({"train/lr_factor": self.lr_factor, "train/rollbacks": float(self.rollbacks)})

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self._go_back:  # not inside the optimizer's own step
            self._go_back = False
            pl_module.load_state_dict(self._snapshot["model"])
            optimizer = trainer.optimizers[0]
            groups = optimizer.state_dict()["param_groups"]  # the present rates stay
            state = _on_cpu(self._snapshot["optimizer"])  # a copy: the optimizer keeps tensors that it is given
            optimizer.load_state_dict({"state": state, "param_groups": groups})

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        for hook in self._hooks:
            hook.remove()
        self._hooks = []

    def state_dict(self) -> dict[str, Any]:
        return {
            "lr_factor": self.lr_factor,
            "rollbacks": self.rollbacks,
            "recent": self._recent,
            "snapshot": self._snapshot,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.lr_factor = state_dict["lr_factor"]
        self.rollbacks = state_dict["rollbacks"]
        self._recent = state_dict["recent"]
        self._snapshot = _on_cpu(state_dict["snapshot"])

    def _spiked(self, loss: float, pl_module: LightningModule) -> bool:
        if math.isfinite(loss):
            return len(self._recent) == self.window and is_spike(loss, self._recent, self.threshold)
        return bool(self._snapshot) and not all(bool(p.isfinite().all()) for p in pl_module.parameters())

    def _refuse_step(self, trainer: Trainer, pl_module: LightningModule, loss: float) -> None:
        step, rows, median = trainer.global_step + 1, describe_step(trainer), statistics.median(self._recent)
        self.rollbacks += 1
        if self.rollbacks > self.max_rollbacks:
            raise UserError(
                f"the loss spiked to {loss:.3g} (median {median:.3g}) at optimizer step {step}{rows}, after "
                f"{self.max_rollbacks} rollbacks; lower the learning rate or look at these rows, then resume"
            )
        for parameter in pl_module.parameters():
            parameter.grad = None  # the optimizer's step moves nothing
        self._go_back = True
        self.lr_factor *= self.lr_cut
        rank_zero_info(
            f"the loss spiked to {loss:.3g} (median {median:.3g}) at optimizer step {step}{rows}: back to the weights "
            f"of step {self._snapshot['step']}, learning rate × {self.lr_factor:g} from here on"
        )

    def _take_snapshot(self, trainer: Trainer, pl_module: LightningModule) -> None:
        optimizer = trainer.optimizers[0].state_dict()["state"]
        snapshot = {"step": trainer.global_step, "model": pl_module.state_dict(), "optimizer": optimizer}
        self._snapshot = _on_cpu(snapshot)

    def _lower_rates(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        self._rates = [group["lr"] for group in optimizer.param_groups]
        for group in optimizer.param_groups:
            group["lr"] = group["lr"] * self.lr_factor

    def _reset_rates(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        for group, rate in zip(optimizer.param_groups, self._rates, strict=True):
            group["lr"] = rate


def _on_cpu(state: dict[str, Any]) -> dict[str, Any]:
    """A copy that shares no memory with the live model."""
    copy: dict[str, Any] = apply_to_collection(state, Tensor, lambda tensor: tensor.detach().to("cpu", copy=True))
    return copy
