"""How fast a run is, and on what: tokens a second, use of the device, waiting for data, padding, realised mixture.

In: the batches as they pass. Out: in the log, at the trainer's log steps, about the steps since the last of them:

    train/steps_per_s              optimizer steps
    train/tokens_per_s             positions that are not padding; of all ranks, as the others here
    train/supervised_tokens_per_s  those of them in the loss mask
    train/mfu                      FLOPs of the model (Decoder.flops_per_token) as a share of the devices' peak
    train/loader_wait              share of the time in which the training loop waited for its next batch
    train/padding                  share of the positions that are padding
    data/learnt/<lane>             realised mixture: the lane's share of the supervised tokens

Next: `RunReport`, for the whole run. Time spent in validation is not counted; saving checkpoints is. Lightning's own
ThroughputMonitor synchronises with the device at every batch, and counts padding as tokens; here a batch costs a dozen
small operations on the device, whose sums are read at log steps only. Other batches than picochat.model.batch.Batch
give steps and waiting alone.

    Trainer(callbacks=[Throughput()])
"""

import time
from collections.abc import Sequence
from typing import Any, cast

import torch
from lightning.fabric.utilities.throughput import get_available_flops
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from picochat.model.batch import IGNORE_INDEX, Batch

_FETCH = "[_TrainingEpochLoop].train_dataloader_next"  # what Lightning's profilers call the fetching of a batch


def metrics(sums: Sequence[float], lanes: Sequence[str]) -> dict[str, float]:
    """What goes to the log about a part of the training, but for the MFU.

    Args:
        sums: seconds; seconds of them in which the loop waited for batches, on average over the ranks; optimizer steps;
            positions that all positions see, themselves included (1 + 2 + 3 of a document of three tokens); and of
            padding and then each lane, the positions outside and inside the loss mask.
        lanes: names of the lanes.
    """
    seconds, waited, steps, _, *places = sums
    padding, tokens, supervised = sum(places[:2]), sum(places[2:]), places[3::2]
    seconds = max(seconds, 1e-9)
    found = {"train/steps_per_s": steps / seconds, "train/loader_wait": waited / seconds}
    if tokens:
        found["train/tokens_per_s"] = tokens / seconds
        found["train/supervised_tokens_per_s"] = sum(supervised) / seconds
        found["train/padding"] = padding / (padding + tokens)
    if sum(supervised) and len(lanes) > 1:
        found |= {f"data/learnt/{lane}": own / sum(supervised) for lane, own in zip(lanes, supervised, strict=True)}
    return found


class Throughput(Callback):
    """Measure speed, padding and mixture during fit."""

    def __init__(self) -> None:
        self.total: list[float] = []  # sums of the whole run, as `metrics` takes them
        self._lanes: list[str] = []
        self._peak: int | None = None  # FLOPs a second, of one device
        self._timer = _FetchTimer(None)
        self._counts = torch.zeros(0)  # sums from what positions see on, of this rank since the last log step
        self._step = 0  # the last log step
        self._spent, self._since = 0.0, 0.0  # seconds from there to the last validation, and when that one ended

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        products = {"bf16": torch.bfloat16, "16": torch.float16}.get(str(trainer.precision).partition("-")[0])
        self._peak = get_available_flops(trainer.strategy.root_device, products or torch.float32)
        self._lanes = list(getattr(getattr(trainer, "datamodule", None), "lanes", []))
        self.total = []
        untyped: Any = trainer  # Lightning leaves some attributes out of its types
        self._timer = untyped.profiler = _FetchTimer(untyped.profiler)
        self._begin(trainer, pl_module.device)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if isinstance(batch, Batch) and self._lanes:  # added up on the device; nothing here waits for it
            self._counts[0] += ((batch.position_ids + 1) * (batch.document_ids > 0)).sum()
            places = ((batch.lane_ids.long() + 1) * 2 + (batch.labels != IGNORE_INDEX)).flatten()
            self._counts[1:].index_add_(0, places, torch.ones_like(places))
        every = cast(Any, trainer).log_every_n_steps
        if every and trainer.global_step > self._step and trainer.global_step % every == 0:
            pl_module.log_dict(self._metrics(self._end(trainer, pl_module.device), trainer, pl_module))

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._spent += time.perf_counter() - self._since

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._since = time.perf_counter()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        untyped: Any = trainer
        if untyped.profiler is self._timer:
            untyped.profiler = self._timer.profiler

    def summary(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, float]:
        """The metrics of the whole run, from on_train_start on; every rank has to ask."""
        self._end(trainer, pl_module.device)
        return self._metrics(self.total, trainer, pl_module)

    def _begin(self, trainer: Trainer, device: torch.device) -> None:
        self._counts = torch.zeros(3 + 2 * len(self._lanes), dtype=torch.int64, device=device)
        self._spent, self._timer.waited = 0.0, 0.0
        self._step, self._since = trainer.global_step, time.perf_counter()

    def _end(self, trainer: Trainer, device: torch.device) -> list[float]:
        """The sums since the last log step, which are added to the total; the next begin."""
        waited = torch.tensor([round(1e6 * self._timer.waited)], device=device)
        reduced: Tensor = trainer.strategy.reduce(torch.cat([waited, self._counts]), reduce_op="sum")
        # this waits for the device, whose work so far belongs to this part
        microseconds, *counts = reduced.tolist()
        seconds = self._spent + time.perf_counter() - self._since
        sums = [seconds, microseconds / 1e6 / trainer.world_size, trainer.global_step - self._step, *counts]
        self.total = [a + b for a, b in zip(self.total or [0] * len(sums), sums, strict=True)]
        self._begin(trainer, device)
        return sums

    def _metrics(self, sums: Sequence[float], trainer: Trainer, pl_module: LightningModule) -> dict[str, float]:
        """`metrics`, and the MFU where peak and FLOPs are known."""
        seconds, _, _, visible, *places = sums
        tokens, supervised, found = sum(places[2:]), sum(places[3::2]), metrics(sums, self._lanes)
        config: Any = getattr(getattr(pl_module, "decoder", None), "config", None)
        if self._peak and tokens and seconds and config:
            # a document of n tokens sees n (n + 1) / 2 positions: half its length each, as flops_per_token has it
            flops = tokens * config.flops_per_token(2 * visible / tokens, supervised=supervised / tokens)
            found["train/mfu"] = flops / seconds / (self._peak * trainer.world_size)
        return found


class _FetchTimer:
    """The trainer's profiler, which also measures the fetching of batches."""

    def __init__(self, profiler: Any) -> None:
        self.profiler, self.waited, self._since = profiler, 0.0, 0.0  # seconds

    def start(self, action_name: str) -> None:
        if action_name == _FETCH:
            self._since = time.perf_counter()
        self.profiler.start(action_name)

    def stop(self, action_name: str) -> None:
        self.profiler.stop(action_name)
        if action_name == _FETCH:
            self.waited += time.perf_counter() - self._since

    def __getattr__(self, name: str) -> Any:
        if name == "profiler":  # asked for while a process of ddp_spawn unpickles it
            raise AttributeError(name)
        return getattr(self.profiler, name)
