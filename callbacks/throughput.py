"""How fast a run is, and on what: tokens a second, use of the device, waiting for data, padding, mixture as it came.

In: the batches as they pass. Out: in the log, at the trainer's log steps, about the steps since the last of them:

    train/steps_per_s              optimizer steps
    train/tokens_per_s             tokens: places of packed rows that are not padding; of all ranks, as the others here
    train/supervised_tokens_per_s  those of them that are learnt
    train/mfu                      FLOPs of the model (Decoder.flops_per_token) as a share of the devices' peak
    train/loader_wait              share of the time in which the training loop waited for its next batch
    train/padding                  share of the places that are padding
    data/learnt/<lane>             realised mixture: the lane's share of the supervised tokens

Next: `picochat.callbacks.RunReport`, which writes the same of the whole run down.

Time spent in validation is not counted; saving checkpoints is. The peak is Lightning's figure for the device and the
precision; where it knows none, as for CPUs, there is no MFU. Lightning's own ThroughputMonitor synchronises with the
device at every batch, tells nothing before its window of 100 steps is full, and takes padding for tokens; here a batch
costs a dozen small operations on the device (0.06 ms on a CPU core), whose sums are read at log steps only.

Usable in any Lightning project. Batches that are no picochat.model.batch.Batch give steps and waiting alone, and an MFU
if the module has a `flops_per_batch`, as Lightning's monitor wants it.

    trainer:
      callbacks: [picochat.callbacks.Throughput]

    Trainer(callbacks=[Throughput()])
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from lightning.fabric.utilities.throughput import get_available_flops
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from picochat.model.batch import IGNORE_INDEX, Batch

_FETCH = "[_TrainingEpochLoop].train_dataloader_next"  # what Lightning's profilers call the fetching of a batch


@dataclass(frozen=True)
class Measured:
    """A stretch of training, summed over ranks.

    Args:
        seconds: how long it took.
        steps: optimizer steps.
        batches: micro-batches.
        waited: share of the time in which the loop waited for batches.
        places: (not learnt, learnt) of each lane; padding first, as the lane before all others.
        visible: positions that all positions see, themselves included: 1 + 2 + 3 of a document of three tokens.
    """

    seconds: float = 0.0
    steps: int = 0
    batches: int = 0
    waited: float = 0.0
    places: tuple[tuple[int, int], ...] = ()
    visible: int = 0

    @property
    def tokens(self) -> int:
        """Places that are not padding."""
        return sum(map(sum, self.places[1:]))

    @property
    def supervised(self) -> int:
        """Tokens that are learnt."""
        return sum(learnt for _, learnt in self.places)

    def __add__(self, other: "Measured") -> "Measured":
        seconds = self.seconds + other.seconds
        return Measured(
            seconds,
            self.steps + other.steps,
            self.batches + other.batches,
            (self.waited * self.seconds + other.waited * other.seconds) / max(seconds, 1e-9),
            tuple((a + c, b + d) for (a, b), (c, d) in zip(self.places, other.places, strict=True))
            if self.places
            else other.places,
            self.visible + other.visible,
        )

    def metrics(self, lanes: Sequence[str]) -> dict[str, float]:
        """What goes to the log, but for the MFU."""
        seconds = max(self.seconds, 1e-9)
        found = {"train/steps_per_s": self.steps / seconds, "train/loader_wait": self.waited}
        if self.tokens:
            found["train/tokens_per_s"] = self.tokens / seconds
            found["train/supervised_tokens_per_s"] = self.supervised / seconds
            found["train/padding"] = sum(self.places[0]) / (sum(self.places[0]) + self.tokens)
        if self.supervised and len(lanes) > 1:
            for lane, (_, learnt) in zip(lanes, self.places[1:], strict=True):
                found[f"data/learnt/{lane}"] = learnt / self.supervised
        return found


class Throughput(Callback):
    """Measure speed, padding and mixture during fit."""

    def __init__(self) -> None:
        self.total = Measured()
        self._lanes: list[str] = []
        self._peak: int | None = None  # FLOPs a second, of one device
        self._watch = _Watch(None)
        self._places = self._visible = torch.zeros(0)
        self._batches = 0
        self._spent, self._since = 0.0, 0.0  # seconds of the stretch before a validation; when the clock went on
        self._step = 0  # where the stretch began

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._peak = get_available_flops(trainer.strategy.root_device, _number_type(str(trainer.precision)))
        self._lanes = list(getattr(getattr(trainer, "datamodule", None), "lanes", []))
        self.total = Measured()
        anything: Any = trainer  # Lightning leaves some attributes out of its types
        self._watch = anything.profiler = _Watch(anything.profiler)
        self._begin(trainer, pl_module.device)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._batches += 1
        if isinstance(batch, Batch) and self._lanes:
            self._count(batch)
        every = cast(Any, trainer).log_every_n_steps
        if every and trainer.global_step > self._step and trainer.global_step % every == 0:
            stretch = self._end(trainer, pl_module.device)
            pl_module.log_dict({**stretch.metrics(self._lanes), **self._mfu(stretch, trainer, pl_module)})

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._spent += time.perf_counter() - self._since

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._since = time.perf_counter()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        anything: Any = trainer
        if anything.profiler is self._watch:
            anything.profiler = self._watch.profiler

    def summary(self, trainer: Trainer, pl_module: LightningModule) -> list[str]:
        """The whole run, from on_train_start on, in words; every rank has to ask."""
        self._end(trainer, pl_module.device)
        found = self.total.metrics(self._lanes)
        mfu = self._mfu(self.total, trainer, pl_module).get("train/mfu")
        device = trainer.strategy.root_device.type
        lines = [
            f"Training: {self.total.seconds:.0f} s, {found['train/loader_wait']:.1%} of it waiting for batches",
            f"Speed: {found['train/steps_per_s']:.3g} steps/s",
            f"MFU: {mfu:.1%}" if mfu is not None else f"MFU: n/a, no peak is known for this device ({device})",
        ]
        if "train/tokens_per_s" in found:
            lines[1] += (
                f", {found['train/tokens_per_s']:,.0f} tokens/s, of which supervised "
                f"{found['train/supervised_tokens_per_s']:,.0f} tokens/s"
            )
            lines.append(f"Padding: {found['train/padding']:.1%} of the places")
        shares = [f"{name.split('/', 2)[2]} {share:.1%}" for name, share in found.items() if name.startswith("data/")]
        return [*lines, *([f"Mixture as it came, in supervised tokens: {', '.join(shares)}"] if shares else [])]

    def _begin(self, trainer: Trainer, device: torch.device) -> None:
        self._places = torch.zeros(2 * len(self._lanes) + 2, dtype=torch.int64, device=device)
        self._visible = torch.zeros(1, dtype=torch.int64, device=device)
        self._batches, self._spent, self._watch.waited = 0, 0.0, 0.0
        self._step, self._since = trainer.global_step, time.perf_counter()

    def _count(self, batch: Batch) -> None:
        """Add up on the device; nothing here waits for it."""
        kinds = ((batch.lane_ids.long() + 1) * 2 + (batch.labels != IGNORE_INDEX)).flatten()
        self._places.index_add_(0, kinds, torch.ones_like(kinds))
        self._visible += ((batch.position_ids + 1) * (batch.document_ids > 0)).sum()

    def _end(self, trainer: Trainer, device: torch.device) -> Measured:
        """Close the stretch, add it to the total, begin another."""
        mine = torch.tensor([self._batches, round(1e6 * self._watch.waited)], device=device)
        sums: Tensor = trainer.strategy.reduce(torch.cat([self._places, self._visible, mine]), reduce_op="sum")
        *places, visible, batches, waited = (
            sums.tolist()
        )  # waits for the device: its work so far belongs to the stretch
        seconds = self._spent + time.perf_counter() - self._since
        stretch = Measured(
            seconds=seconds,
            steps=trainer.global_step - self._step,
            batches=batches,
            waited=waited / 1e6 / trainer.world_size / max(seconds, 1e-9),
            places=tuple(zip(places[::2], places[1::2], strict=True)),
            visible=visible,
        )
        self.total += stretch
        self._begin(trainer, device)
        return stretch

    def _mfu(self, stretch: Measured, trainer: Trainer, pl_module: LightningModule) -> dict[str, float]:
        config: Any = getattr(getattr(pl_module, "decoder", None), "config", None)
        if not self._peak or not stretch.seconds:
            return {}
        if stretch.tokens and hasattr(config, "flops_per_token"):
            # a document of n tokens sees n (n + 1) / 2 positions: half its length each, as flops_per_token has it
            length = 2 * stretch.visible / stretch.tokens
            each = config.flops_per_token(length, supervised=stretch.supervised / stretch.tokens)
            flops = stretch.tokens * each
        elif hasattr(pl_module, "flops_per_batch"):
            flops = stretch.batches * float(cast(Any, pl_module).flops_per_batch)
        else:
            return {}
        return {"train/mfu": flops / stretch.seconds / (self._peak * trainer.world_size)}


class _Watch:
    """The trainer's profiler with a stopwatch on the fetching of batches."""

    def __init__(self, profiler: Any) -> None:
        self.profiler = profiler
        self.waited = 0.0  # seconds
        self._since = 0.0

    def start(self, action_name: str) -> None:
        if action_name == _FETCH:
            self._since = time.perf_counter()
        self.profiler.start(action_name)

    def stop(self, action_name: str) -> None:
        self.profiler.stop(action_name)
        if action_name == _FETCH:
            self.waited += time.perf_counter() - self._since

    def __getattr__(self, name: str) -> Any:
        return getattr(self.profiler, name)


def _number_type(precision: str) -> torch.dtype:
    """What the products are computed in: "bf16-mixed" → bfloat16."""
    if precision.startswith("bf16"):
        return torch.bfloat16
    return torch.float16 if precision.startswith("16") else torch.float32
