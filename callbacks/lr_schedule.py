"""Learning rates as arithmetic: warm-up, then cosine, linear or no decay.

In: the number of the optimizer step about to happen. Out: rates in the optimizer, and `train/lr` in the log. Next: the
optimizer. Base rate 1, `warmup_steps` 2, `max_steps` 6, `min_lr_ratio` 0:

    step           1     2     3     4     5     6
    none          .5     1     1     1     1     1
    linear        .5     1   .75    .5   .25     0
    cosine        .5     1   .85    .5   .15     0

    Trainer(max_steps=180, callbacks=[LRSchedule(warmup_steps=20, decay="cosine", min_lr_ratio=0.1)])
"""

import math
from typing import Any, Literal, cast, get_args

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info

from picochat.errors import UserError, refuse_unknown

Decay = Literal["none", "linear", "cosine"]


def lr_factor(step: int, warmup_steps: int, max_steps: int, decay: Decay, min_lr_ratio: float) -> float:
    """The share of the base learning rate that optimizer step `step` uses.

    Args:
        step: the optimizer step about to happen, counted from 1. Beyond `max_steps` the last factor stays.
        warmup_steps: steps of linear warm-up; the base rate is first reached at this step. 0 = no warm-up.
        max_steps: the step at which the decay ends.
        decay: the shape after the warm-up.
        min_lr_ratio: the factor at `max_steps` (ignored by "none", which stays at 1).
    """
    if step <= warmup_steps:
        return step / warmup_steps
    progress = min(1.0, (step - warmup_steps) / max(1, max_steps - warmup_steps))
    if decay == "cosine":
        return min_lr_ratio + (1 - min_lr_ratio) * (1 + math.cos(math.pi * progress)) / 2
    if decay == "linear":
        return min_lr_ratio + (1 - min_lr_ratio) * (1 - progress)
    return 1.0


class LRSchedule(Callback):
    """Write the rate of every parameter group before every optimizer step, and log it.

    Each group keeps its own base rate: the one its optimizer was built with in THIS process, so a learning rate changed
    on resume takes effect and a restored one never does.

    Args:
        warmup_steps: optimizer steps (not micro-batches) of linear warm-up; 0 for none.
        decay: what follows the warm-up.
        min_lr_ratio: final rate as a share of the base rate, 0 to 1; reached at the last step of the run.
    """

    def __init__(self, warmup_steps: int = 20, decay: Decay = "cosine", min_lr_ratio: float = 0.1) -> None:
        refuse_unknown("decay", decay, get_args(Decay))
        if warmup_steps < 0:
            raise UserError(f"warmup_steps is {warmup_steps}; use 0 for no warm-up, or the number of warm-up steps")
        if not 0 <= min_lr_ratio <= 1:
            raise UserError(f"min_lr_ratio is {min_lr_ratio}; it is a share of the base rate, from 0 to 1")
        self._shape: dict[str, Any] = {"warmup_steps": warmup_steps, "decay": decay, "min_lr_ratio": min_lr_ratio}
        self._shape["max_steps"] = 0  # not known yet
        self._base_rates: list[float] = []  # of each group, read before a checkpoint is restored
        self._resumed: dict[str, Any] = {}  # the state of the run that wrote the checkpoint

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # Lightning restores optimizer states after this hook: these are still the rates of the present settings.
        if trainer.lr_scheduler_configs or len(trainer.optimizers) != 1:
            raise UserError("LRSchedule is for one optimizer without a scheduler; leave it out of configure_optimizers")
        self._base_rates = [float(group["lr"]) for group in trainer.optimizers[0].param_groups]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # Here the loaders exist already, so asking for their length disturbs no resumed position.
        steps = trainer.estimated_stepping_batches
        if math.isinf(steps):
            raise UserError("LRSchedule cannot know where the decay ends; set trainer.max_steps")
        self._shape["max_steps"] = int(steps)
        if (warmup := self._shape["warmup_steps"]) > steps:
            rank_zero_info(
                f"LRSchedule: warmup_steps {warmup} is more than the run's {steps} steps, so its rate ends at "
                f"{steps / warmup:.0%} of the base; set it lower"
            )
        step, now, then = trainer.global_step + 1, self.state_dict(), self._resumed or self.state_dict()
        if step > 1 and not math.isclose(rate := _rate(step, **now), before := _rate(step, **then)):
            changes = ", ".join(f"{name} {then[name]} → {now[name]}" for name in now if now[name] != then[name])
            rank_zero_info(
                f"LRSchedule: resuming changes the rate of step {step} from {before:.3g} to {rate:.3g} ({changes})"
            )

    def state_dict(self) -> dict[str, Any]:
        return {"base": max(self._base_rates, default=0.0), **self._shape}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._resumed = state_dict

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        step = trainer.global_step + 1
        factor = lr_factor(step, **self._shape)
        for group, base in zip(trainer.optimizers[0].param_groups, self._base_rates, strict=True):
            group["lr"] = base * factor
        every = cast(Any, trainer).log_every_n_steps
        if every and step % every == 0:  # Lightning takes a millisecond for each value that it is given
            pl_module.log("train/lr", max(self._base_rates) * factor)


def _rate(step: int, *, base: float, **schedule: Any) -> float:
    return base * lr_factor(step, **schedule)
