"""What Lightning iterates. In: a plan and how the run is split. Out: batches by number. Next: the trainer.

A run is one long epoch: micro-batch m is step m // A, part m % A. Lightning counts batches itself, so a loader's length
is the *total* of the run, while its iteration begins where the optimizer stands. Nothing counts what a loader yielded:
workers fetch ahead. 40 steps × 2 micro-batches, resumed at optimizer step 17: length 80, yields 34, 35, … 79.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

import torch
from lightning import Trainer
from lightning.pytorch.loops.progress import _ProcessedTracker
from lightning.pytorch.trainer.states import TrainerFn
from torch.utils.data import DataLoader, Dataset

from picochat.datamodules.batches import Examples
from picochat.datamodules.packing import Bins
from picochat.datamodules.plan import DataPlan, Split
from picochat.errors import UserError
from picochat.model.batch import IGNORE_INDEX, Batch

T = TypeVar("T")
_REFUSED = {  # callback of Lightning → why it cannot work here, and what does
    "GradientAccumulationScheduler": "all steps of the data plan are alike; set trainer.accumulate_grad_batches",
    "StochasticWeightAveraging": "the data has no epochs to average after; use WeightAveraging or EMAWeightAveraging",
    "BatchSizeFinder": "config.yaml holds the batch size; set data.batch_size, and ask `picochat plan` what fits",
    "LearningRateFinder": "config.yaml holds the rates; set model.optimizer.learning_rate, and compare runs",
    "BaseFinetuning": "it freezes weights before there are any; do so in configure_model of a subclass of ChatModule",
    "ModelPruning": "it renames weights, and a model folder has no masks; prune the finished model",
}


@dataclass(frozen=True, eq=False)
class TrainBatches(Dataset[Batch]):
    """The micro-batches of one rank, by their number in the run."""

    examples: Examples
    pad_id: int
    plan: DataPlan
    split: Split
    rank: int

    def __getitem__(self, number: int) -> Batch:
        step, micro = divmod(number, self.split.accumulate)
        bins = self.plan.bins(self.split.start(step, micro, self.rank), self.split.batch_size)
        tokens = self.plan.tokens(self.split.step_start(step), self.split.rows)
        return self.examples.batch(bins, self.plan.capacity, self.pad_id, tokens)


@dataclass(frozen=True, eq=False)
class EvalBatches(Dataset[Batch]):
    """Every bin once, over all ranks, which have the same number of batches; what is missing is padding. Some kernels
    refuse a batch of nothing else: a rank that has no bin left reads the first one again, without supervised tokens.

    5 bins, batch_size 2, 2 ranks:     rank 0   [0 1] [4 -]        rank 1   [2 3] [(0) -]
    """

    examples: Examples
    pad_id: int
    bins: Bins
    context_length: int
    split: Split
    rank: int

    def __len__(self) -> int:
        return -(-len(self.bins) // self.split.rows)

    def __getitem__(self, number: int) -> Batch:
        start, size = self.split.start(number, 0, self.rank), self.split.batch_size
        bins = [self.bins[place] for place in range(start, min(start + size, len(self.bins)))]
        padding = [self.bins.order[:0]] * (size - max(len(bins), 1))
        batch = self.examples.batch([*(bins or [self.bins[0]]), *padding], self.context_length, self.pad_id)
        if bins:
            return batch
        labels, one = torch.full_like(batch.labels, IGNORE_INDEX), torch.tensor(1)
        return batch._replace(labels=labels, step_tokens=one, supervised=batch.supervised[:0])


class Loader(Generic[T]):
    """`total` batches of a dataset of whole batches, from number `start()` on, whenever an iteration begins. (With
    several ranks Lightning would give a bare DataLoader a sampler of its own, which deals every bin out twice over.)

    The two state methods say that it can be resumed; the state is the optimizer step, kept elsewhere.
    """

    def __init__(
        self, dataset: Dataset[T] | Sequence[T], total: int, workers: int = 0, start: Callable[[], int] = lambda: 0
    ) -> None:
        self.source = cast(Dataset[T], dataset)  # a list has all that a DataLoader asks for
        self.total, self.workers, self.start = total, workers, start

    def __iter__(self) -> Iterator[T]:
        numbers = range(self.start(), self.total)
        pinned = torch.cuda.is_available()  # then batches move while the device computes
        return iter(DataLoader(self.source, None, sampler=numbers, num_workers=self.workers, pin_memory=pinned))

    def __len__(self) -> int:
        return self.total

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


def align_batch_counter(trainer: Trainer, accumulate: int, saved_accumulate: int) -> None:
    """Make Lightning's count of micro-batches, by which it steps, validates and ends, follow from the optimizer step.

    A checkpoint counts those of the split it was saved under, and may lie between two steps (whose gradients are gone):

        saved at step 17 with A = 4      counter 68      resumed with A = 2      34
        saved after micro-batch 70       counter 70      resumed with A = 4      68, the step is done again
    """
    progress = trainer.fit_loop.epoch_loop.batch_progress
    now, total = cast(_ProcessedTracker, progress.current), cast(_ProcessedTracker, progress.total)
    # Saved inside on_train_batch_end, a batch is not `completed` yet; Lightning tells by that where it stopped.
    open_batch = int(now.ready == now.started == now.processed == now.completed + 1)
    done = trainer.global_step * accumulate
    # There are earlier epochs where trainer.limit_train_batches cut them short; each ended with a whole step.
    before = (total.ready - now.ready) // saved_accumulate * accumulate
    for counter, count in ((now, done - before), (total, done)):
        counter.ready = counter.started = counter.processed = count
        counter.completed = count - open_batch
    progress.is_last_batch = False


def check_trainer(trainer: Trainer | None) -> None:
    """Raise UserError for a fit without an end, an epoch that ends inside an optimizer step, or a callback above."""
    if trainer is None or trainer.state.fn != TrainerFn.FITTING:
        return
    anything: Any = trainer  # Lightning leaves some attributes out of its types
    for callback in anything.callbacks:
        for kind in type(callback).__mro__:
            if kind.__name__ in _REFUSED:
                raise UserError(f"{type(callback).__name__} does not work with this data: {_REFUSED[kind.__name__]}")
    if trainer.max_steps < 1:
        raise UserError("set trainer.max_steps, the number of optimizer steps: the data has no epochs of its own")
    if anything.overfit_batches:
        raise UserError("trainer.overfit_batches would not repeat its batches here; give a file of few rows")
    limit, accumulate = trainer.limit_train_batches, trainer.accumulate_grad_batches
    batches = limit if isinstance(limit, int) else int(limit * trainer.max_steps * accumulate)
    if batches % accumulate and not anything.fast_dev_run:
        raise UserError(
            f"trainer.limit_train_batches={limit} ends inside an optimizer step; make it a multiple of "
            f"trainer.accumulate_grad_batches={accumulate}"
        )
