"""The Lightning adapter around a plan, shared by chat and corpus. In: examples of the two sides. Out: loaders, the
state of a run, words about the mixture. Next: the trainer.

Subclasses make files in `prepare_data` and call `start_stream` at the end of `setup`.
"""

import dataclasses
from abc import ABC, abstractmethod
from typing import Any, cast

import numpy as np
from lightning import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn

from picochat.datamodules.batches import Examples, render_row
from picochat.datamodules.loaders import EvalBatches, Loader, TrainBatches, align_batch_counter
from picochat.datamodules.packing import fill, pack
from picochat.datamodules.plan import DataPlan, Split
from picochat.errors import UserError
from picochat.model.batch import Batch
from picochat.model.tokenizer import ChatTokenizer


class StreamDataModule(LightningDataModule, ABC):
    """Batches of packed rows from a `DataPlan`.

    Args:
        batch_size: packed rows of a micro-batch, on each device.
        context_length: places in a row.
        num_workers: loader processes on each device.

    Attributes:
        chat_tokenizer: the tokenizer of the rows.
        lanes: names that `Batch.lane_ids` index.
        plan: the training stream.
        val_names: names of the validation loaders, in their order.
    """

    chat_tokenizer: ChatTokenizer
    lanes: list[str]
    plan: DataPlan
    val_names: list[str]

    def __init__(self, batch_size: int, context_length: int, num_workers: int) -> None:
        super().__init__()
        for name, value, least in (
            ("batch_size", batch_size, 1),
            ("context_length", context_length, 2),
            ("num_workers", num_workers, 0),
        ):
            if value < least:
                raise UserError(f"data.{name} must be at least {least}, not {value}")
        self.batch_size = batch_size
        self.context_length = context_length
        self.num_workers = num_workers
        self._resumed: dict[str, Any] = {}

    def start_stream(self, train: Examples, evaluations: dict[str, Examples], plan: DataPlan) -> None:
        """Take the examples of the training side and of each evaluation."""
        self._train, self._evaluations, self.plan = train, evaluations, plan
        if self.trainer is not None:
            callbacks: list[Callback] = cast(Any, self.trainer).callbacks  # Lightning leaves them out of its types
            if not any(isinstance(callback, _Announce) for callback in callbacks):
                callbacks.append(_Announce(self))
        lanes = zip(self.lanes, self._per_lane(np.bincount(plan.lanes)), self._per_lane(plan.quotas), strict=True)
        starved = [f"{lane} ({rows} rows)" for lane, rows, drawn in lanes if rows and not drawn]
        if starved:
            rank_zero_warn(
                f"blocks of {plan.draws} examples leave no draw for {', '.join(starved)}; raise data.block_size"
            )

    @property
    def split(self) -> Split:
        """How the steps of this run are dealt out; one device and no accumulation without a trainer."""
        if self.trainer is None:
            return Split(self.batch_size)
        return Split(
            batch_size=self.batch_size,
            accumulate=self.trainer.accumulate_grad_batches,
            world_size=self.trainer.world_size,
            first_step=self._resumed.get("global_step", 0),
            first_bin=self._resumed.get("next_bin", 0),
        )

    def train_dataloader(self) -> Loader[Batch]:
        """The rest of the run; without a trainer, one block of the plan."""
        trainer, split = self.trainer, self.split
        rank = 0 if trainer is None else trainer.global_rank
        batches = TrainBatches(self.plan, split, rank, self._train, self.context_length, self.chat_tokenizer.pad_id)
        if trainer is None:
            return Loader(batches, max(1, len(self.plan.block(0).bins) // split.rows), self.num_workers)
        self.check_trainer()
        if trainer.fit_loop.restarting:
            align_batch_counter(trainer, split.accumulate, self._resumed.get("accumulate", split.accumulate))
        total = trainer.max_steps * split.accumulate
        return Loader(batches, total, self.num_workers, lambda: trainer.global_step * split.accumulate)

    def val_dataloader(self) -> list[Loader[Batch]]:
        """One loader for each of `val_names`; every packed row once over all ranks, in a fixed order."""
        return [self.eval_loader(name) for name in self.val_names]

    def eval_loader(self, name: str) -> Loader[Batch]:
        """A whole evaluation side, packed."""
        examples = self._evaluations[name]
        bins = pack(examples.lengths, self.context_length, self.plan.packing)
        rank, world = (0, 1) if self.trainer is None else (self.trainer.global_rank, self.trainer.world_size)
        pad_id = self.chat_tokenizer.pad_id
        batches = EvalBatches(bins, self.batch_size, rank, world, examples, self.context_length, pad_id)
        return Loader(batches, len(batches), workers=0)  # starting workers takes longer than making these batches

    def state_dict(self) -> dict[str, Any]:
        """Where the stream goes on: the first packed row of the next optimizer step.

        It follows from the optimizer step alone. The block that holds that row is kept too, so that a resumed run need
        not pack everything before it.
        """
        if self.trainer is None or not hasattr(self, "plan"):
            return {}
        step = self.trainer.global_step
        next_bin = self.split.step_start(step)
        block, first = self.plan.locate(next_bin)
        position = {"global_step": step, "next_bin": next_bin, "block": block, "block_first_bin": first}
        made_of = {"plan": self.plan.fingerprint, "rows": self._train.store.fingerprint}
        return {**position, "accumulate": self.split.accumulate, **made_of}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from there, whatever the split was then and is now.

        Raises:
            UserError: the run was on other rows, or on other settings of their plan: its bins are not these.
        """
        if not state_dict or self.trainer is None or self.trainer.state.fn != TrainerFn.FITTING:
            return
        for key, what, now in (
            ("rows", "training rows or their tokenizer", self._train.store.fingerprint),
            ("plan", "settings of the data (seed, context_length, sampling, packing, …)", self.plan.fingerprint),
        ):
            if (then := state_dict.get(key, now)) != now:
                raise UserError(
                    f"the checkpoint's run had other {what}: sha256 {then[:12]} then, {now[:12]} now; resume with "
                    "those of its config.yaml, or start a new run from its last_checkpoint folder (model.checkpoint)"
                )
        self._resumed = state_dict
        self.plan = dataclasses.replace(self.plan, anchor=(state_dict["block"], state_dict["block_first_bin"]))

    def check_trainer(self) -> None:
        """Refuse settings of the trainer under which the stream would not be what it says.

        Raises:
            UserError: no end of the run, or an epoch that ends inside an optimizer step.
        """
        trainer = self.trainer
        if trainer is None or trainer.state.fn != TrainerFn.FITTING:
            return
        if trainer.max_steps < 1:
            raise UserError("set trainer.max_steps, the number of optimizer steps: the data has no epochs of its own")
        if cast(Any, trainer).overfit_batches:
            raise UserError(
                "trainer.overfit_batches would not repeat its batches here; give a file of few rows instead"
            )
        limit, accumulate = trainer.limit_train_batches, trainer.accumulate_grad_batches
        batches = limit if isinstance(limit, int) else int(limit * trainer.max_steps * accumulate)
        if batches % accumulate and not cast(Any, trainer).fast_dev_run:
            raise UserError(
                f"trainer.limit_train_batches={limit} ends inside an optimizer step; make it a multiple of "
                f"trainer.accumulate_grad_batches={accumulate}"
            )

    def describe(self) -> str:
        """The mixture as a table: what each lane has, and what it gets in the first block."""
        heads = ("lane", "rows", "drawn", "examples", "tokens", "packed rows")
        shares = self.shares()
        rows, drawn = self._per_lane(np.bincount(self.plan.lanes)), self._per_lane(self.plan.quotas)
        lines: list[tuple[str, ...]] = [heads]
        for i, lane in enumerate(self.lanes):
            examples, tokens, places = (f"{shares[unit][i]:.1%}" for unit in ("examples", "tokens", "rows"))
            lines.append((lane, f"{rows[i]:,}", f"{drawn[i]:,}", examples, tokens, places))
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        table = ["  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]) for line in lines]
        return "\n".join([*self.summary(), "", *table])

    def shares(self) -> dict[str, list[float]]:
        """Realised shares of each lane in the first block: of examples, of supervised tokens, of places in the rows."""
        examples = self.plan.block(0).bins.order
        lanes = self.plan.lanes[examples]
        weights = {
            "examples": np.ones(len(examples)),
            "tokens": self.plan.supervised[examples],
            "rows": self.plan.lengths[examples],
        }
        sums = {unit: np.bincount(lanes, weight, len(self.lanes)) for unit, weight in weights.items()}
        return {unit: (part / max(part.sum(), 1)).tolist() for unit, part in sums.items()}

    def describe_step(self, step: int) -> str:
        """What optimizer step `step` (from 1) is made of: examples of each lane, and the lines they stand in."""
        examples = np.concatenate(self.plan.bins(self.split.step_start(step - 1), self.split.rows))
        counts = self._per_lane(np.bincount(self.plan.lanes[examples]))
        lanes = ", ".join(f"{count} of {lane}" for lane, count in zip(self.lanes, counts, strict=True) if count)
        lines = np.unique(np.asarray(self._train.store.lines)[self._train.rows[examples]]).tolist()
        return f"{lanes}; lines {', '.join(map(str, lines[:20]))}{', …' if len(lines) > 20 else ''}"

    @abstractmethod
    def summary(self) -> list[str]:
        """Lines about the rows, above the table of `describe`."""

    def plan_summary(self) -> str:
        """One line about the stream."""
        bins = self.plan.block(0).bins
        share = fill(bins, self.plan.lengths, self.context_length)
        return (
            f"blocks of {self.plan.draws:,} examples, {self.plan.packing}: {len(bins):,} rows of "
            f"{self.context_length} places, {share:.1%} filled"
        )

    def render_row(self, batch: Batch, index: int) -> str:
        """A packed row as text, a line a document; what is learnt stands between ⟦ and ⟧."""
        return render_row(batch, index, self.chat_tokenizer, self.lanes)

    def _per_lane(self, values: Any) -> list[int]:
        padded: list[int] = np.pad(values, (0, len(self.lanes) - len(values))).tolist()
        return padded


class _Announce(Callback):
    """Says what the run will be taught, when it begins; loggers are ready by then."""

    def __init__(self, data: StreamDataModule) -> None:
        self.data = data

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.global_step > 0:
            return  # resumed: it was said before
        rank_zero_info(self.data.describe())
        metrics = {
            f"data/{unit}/{lane}": value
            for unit, values in self.data.shares().items()
            for lane, value in zip(self.data.lanes, values, strict=True)
        }
        for logger in trainer.loggers:
            logger.log_metrics(metrics, step=0)
