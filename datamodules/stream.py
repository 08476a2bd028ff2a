"""The Lightning adapter around a plan, shared by chat and corpus. In: examples of the two sides. Out: loaders, the
state of a run, a description of the mixture. Next: the trainer."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any, cast, get_args

import numpy as np
from lightning import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn

from picochat.blocks import Table, Text, terminal
from picochat.datamodules.batches import Drawing, Examples, draw_rows, render_row
from picochat.datamodules.loaders import EvalBatches, Loader, TrainBatches, align_batch_counter
from picochat.datamodules.packing import PackingName, fill, pack
from picochat.datamodules.plan import DataPlan, Split
from picochat.datamodules.prepare import dataset_pack_file
from picochat.datamodules.sampling import shares as shares_of
from picochat.errors import UserError, nearest, refuse_unknown
from picochat.model.batch import Batch
from picochat.model.tokenizer import ChatTokenizer
from picochat.packs.quotas import exact

_REMEDY = "resume with its config.yaml, or start a new run from its last_checkpoint folder (model.checkpoint)"


class StreamDataModule(LightningDataModule, ABC):
    """Batches of packed rows from a `DataPlan`. Subclasses document the arguments, make files in `prepare_data`, and
    call `start_stream` at the end of `setup`.

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
    sampling_tag = "category"

    def __init__(
        self,
        dataset_pack: str | None,
        tokenizer: str | None,
        work_dir: str | None,
        batch_size: int,
        context_length: int | None,
        packing: PackingName,
        block_size: int | None,
        seed: int,
        val_fraction: float,
        num_workers: int,
        vocab_size: int,
    ) -> None:
        super().__init__()
        self.allow_zero_length_dataloader_with_multiple_devices = True  # `predict` with fewer rows than ranks
        refuse_unknown("data.packing", packing, get_args(PackingName))
        for name, value, least in (
            ("batch_size", batch_size, 1),
            ("context_length", context_length, 2),
            ("num_workers", num_workers, 0),
            ("block_size", block_size, 1),
        ):
            if value is not None and value < least:
                raise UserError(f"data.{name} must be at least {least}, not {value}")
        if not 0 <= val_fraction < 1:
            raise UserError(f"data.val_fraction must be at least 0 and below 1, not {val_fraction}")
        self.pack_path = dataset_pack_file(dataset_pack)
        self.tokenizer_path = Path(tokenizer) if tokenizer else self.pack_path.parent / "tokenizer.json"
        self.work_dir = Path(work_dir) if work_dir else self.pack_path.parent
        self.batch_size, self.context_length = batch_size, 256 if context_length is None else context_length
        self.packing, self.block_size, self.seed = packing, block_size, seed
        self.val_fraction, self.num_workers, self.vocab_size = val_fraction, num_workers, vocab_size
        self._resumed: dict[str, Any] = {}

    def start_stream(
        self, train: Examples, sides: dict[str, Examples], alpha: float, shares: Mapping[str, float] | None = None
    ) -> None:
        """Plan the training side, sampled with `alpha` or by `shares` of the lanes, and take the evaluation sides that
        have examples."""
        if self.trainer is None or self.trainer.global_step == 0:
            self._resumed = {}  # of an earlier fit; a checkpoint's state is loaded after this
        self._train, self._evaluations = train, {name: side for name, side in sides.items() if len(side)}
        self.val_names = list(self._evaluations)
        given = None if shares is None else self._exact_shares(train, shares, alpha)
        columns = train.lengths, train.supervised, train.lanes
        self.plan = DataPlan(*columns, self.context_length, self.seed, alpha, given, self.packing, self.block_size)
        if self.trainer is not None:
            callbacks: list[Callback] = cast(Any, self.trainer).callbacks  # Lightning leaves them out of its types
            if not any(isinstance(callback, _DescribeMixture) for callback in callbacks):
                callbacks.append(_DescribeMixture(self))
        lanes = zip(self.lanes, self.plan.counts.tolist(), self.plan.quotas.tolist(), strict=False)
        unused = [lane for lane, rows, drawn in lanes if rows and not drawn and (shares or {}).get(lane, 1)]
        if unused:
            rank_zero_warn(
                f"blocks of {self.plan.draws} examples leave no draw for {', '.join(unused)}; raise data.block_size"
            )

    def _exact_shares(self, train: Examples, given: Mapping[str, float], alpha: float) -> tuple[Fraction, ...]:
        """[lanes] the shares; lanes that they do not name share the rest as `alpha` says."""
        counts = np.bincount(train.lanes)
        lanes = self.lanes[: len(counts)]  # those after them are of eval rows alone
        own = [lane for lane, rows in zip(lanes, counts.tolist(), strict=True) if rows]
        for lane in given:
            if lane in self.lanes and lane not in own:
                raise UserError(
                    f"the lane {lane} has a share and no row left to train on; set data.val_fraction lower or "
                    "data.context_length higher, or give it more rows"
                )
            if lane not in own:
                raise UserError(f"data.shares names {lane}{nearest(lane, own)}; the lanes are {', '.join(own)}")
        left, others = 1 - sum(map(exact, given.values())), [lane for lane in own if lane not in given]
        if min(given.values()) < 0 or left < 0 or bool(left) != bool(others):
            rest = f" with a rest for the lanes {', '.join(others)}" if others else ""
            raise UserError(f"data.shares must not be negative, and sum to 1{rest}, not to {float(1 - left):g}")
        unnamed = shares_of(np.where(np.isin(lanes, [*given]), 0, counts), alpha)
        return tuple(exact(given.get(lane, 0)) + left * part for lane, part in zip(lanes, unnamed, strict=True))

    def steps_of(self, epochs: float, split: Split) -> int:
        """The optimizer steps in which as many examples are drawn as there are in lanes with draws, so many times."""
        left, rows, block = round(epochs * int(self.plan.counts[self.plan.quotas > 0].sum())), 0, 0
        while left > 0:
            rows += math.ceil(len(self.plan.block(block).bins) * min(left / self.plan.draws, 1))
            left, block = left - self.plan.draws, block + 1
        return max(1, math.ceil(rows / split.rows))

    @property
    def split(self) -> Split:
        """How the steps of this run are shared out; one device and no accumulation without a trainer."""
        if self.trainer is None:
            return Split(self.batch_size)
        return Split(
            batch_size=self.batch_size,
            accumulate=self.trainer.accumulate_grad_batches,
            world_size=self.trainer.world_size,
            first_step=self._resumed.get("global_step", 0),
            first_bin=self._resumed.get("next_bin", 0),
        )

    @property
    def rank(self) -> tuple[int, int]:
        """(this rank, how many there are)."""
        return (0, 1) if self.trainer is None else (self.trainer.global_rank, self.trainer.world_size)

    def train_dataloader(self) -> Loader[Batch]:
        """The rest of the run; without a trainer, one block of the plan."""
        trainer, split = self.trainer, self.split
        batches = TrainBatches(self._train, self.chat_tokenizer.pad_id, self.plan, split, self.rank[0])
        if trainer is None:
            return Loader(batches, max(1, len(self.plan.block(0).bins) // split.rows), self.num_workers)
        if trainer.fit_loop.restarting:
            if trainer.global_step and not self._resumed:  # Lightning looks for the state by the name of the class
                raise UserError(f"the checkpoint's run had another data module than {type(self).__name__}; {_REMEDY}")
            align_batch_counter(trainer, split.accumulate, self._resumed.get("accumulate", split.accumulate))
        total = trainer.max_steps * split.accumulate
        return Loader(batches, total, self.num_workers, lambda: trainer.global_step * split.accumulate)

    def val_dataloader(self) -> list[Loader[Batch]]:
        """One loader for each of `val_names`; every packed row once over all ranks, in a fixed order."""
        return [self.eval_loader(name) for name in self.val_names]

    def eval_loader(self, name: str) -> Loader[Batch]:
        """A whole evaluation side, packed."""
        examples, context, pad_id = self._evaluations[name], self.context_length, self.chat_tokenizer.pad_id
        bins = pack(examples.lengths, context, self.packing)
        rank, world_size = self.rank
        batches = EvalBatches(examples, pad_id, bins, context, Split(self.batch_size, 1, world_size), rank)
        return Loader(batches, len(batches))  # starting workers takes longer than making these batches

    def state_dict(self) -> dict[str, Any]:
        """Where the stream goes on: the first packed row of the next optimizer step, which follows from the step."""
        if self.trainer is None or not hasattr(self, "plan"):
            return {}
        return {
            "global_step": self.trainer.global_step,
            "next_bin": self.split.step_start(self.trainer.global_step),
            "accumulate": self.split.accumulate,
            "plan": self.plan.fingerprint,
            "rows": self._train.store.fingerprint,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from there, whatever the split was then and is now. Other rows, and other settings of their plan, are
        refused: their bins are not these."""
        if not state_dict or self.trainer is None or self.trainer.state.fn != TrainerFn.FITTING:
            return
        for key, what, now in (
            ("rows", "training rows or their tokenizer", self._train.store.fingerprint),
            ("plan", "settings of the data (seed, context_length, sampling, packing, …)", self.plan.fingerprint),
        ):
            if (then := state_dict[key]) != now:
                hashes = f"sha256 {then[:12]} then, {now[:12]} now"
                raise UserError(f"the checkpoint's run had other {what}: {hashes}; {_REMEDY}")
        self._resumed = state_dict

    @abstractmethod
    def summary(self) -> list[str]:
        """Lines about the rows, above the table of `describe`."""

    def describe(self) -> str:
        """The mixture as a table: what each lane has, and what it gets in the first block."""
        bins = self.plan.block(0).bins
        plan = (
            f"blocks of {self.plan.draws:,} examples, {self.packing}: {len(bins):,} rows of {self.context_length} "
            f"positions, {fill(bins, self.plan.lengths, self.context_length):.1%} filled"
        )
        columns = (self.plan.counts.tolist(), self.plan.quotas.tolist(), *self.shares().values())
        rows = [
            (lane, f"{rows:,}", f"{drawn:,}", *(f"{share:.1%}" for share in shares))
            for lane, rows, drawn, *shares in zip(self.lanes, *columns, strict=False)
        ]
        table = Table(("lane", "rows", "drawn", "examples", "tokens", "packed rows"), rows)
        return terminal(Text([*self.summary(), plan]), table)

    def shares(self) -> dict[str, list[float]]:
        """Realised shares of each lane in the first block: of examples, supervised tokens, positions in the rows."""
        plan, examples = self.plan, self.plan.block(0).bins.order
        weights = {"examples": np.ones(len(examples)), "tokens": plan.supervised[examples]}
        weights["rows"] = plan.lengths[examples]
        sums = {unit: np.bincount(plan.lanes[examples], own, len(plan.counts)) for unit, own in weights.items()}
        return {unit: (part / max(part.sum(), 1)).tolist() for unit, part in sums.items()}

    @property
    def drawn_shares(self) -> dict[str, float]:
        """Each lane's share of the examples that training draws; model folders keep it, and reports draw it."""
        return dict(zip(self.lanes, (self.plan.quotas / self.plan.draws).round(4).tolist(), strict=False))

    def describe_step(self, step: int) -> str:
        """What optimizer step `step` (from 1) is made of: examples of each lane, and the lines they stand in."""
        examples = np.concatenate(self.plan.bins(self.split.step_start(step - 1), self.split.rows))
        counts = np.bincount(self.plan.lanes[examples], minlength=len(self.lanes)).tolist()
        lanes = ", ".join(f"{count} of {lane}" for lane, count in zip(self.lanes, counts, strict=True) if count)
        store = self._train.store
        place_of = store.place if len(store.header.get("files", [])) > 1 else store.lines.__getitem__
        places = [*dict.fromkeys(str(place_of(row)) for row in np.unique(self._train.rows[examples]))]
        return f"{lanes}; lines {', '.join(places[:20])}{', …' if len(places) > 20 else ''}"

    def render_row(self, batch: Batch, index: int) -> str:
        """A packed row as text, a line a document; supervised tokens stand between ⟦ and ⟧."""
        return render_row(batch, index, self.chat_tokenizer, self.lanes)

    def draw_row(self, batch: Batch, index: int | None = None) -> Drawing:
        """A packed row, or all of the batch, as a picture in a notebook: lanes are colours, the loss mask is dark."""
        return draw_rows(batch, range(len(batch.input_ids)) if index is None else [index], self.lanes)


class _DescribeMixture(Callback):
    """Prints and logs the mixture when a run begins; loggers drop what an older run left in on_train_start."""

    def __init__(self, data: StreamDataModule) -> None:
        self.data = data

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.global_step > 0:
            return  # resumed: it is in the log already
        rank_zero_info(self.data.describe())
        metrics = {
            f"data/{unit}/{lane}": share
            for unit, own in self.data.shares().items()
            for lane, share in zip(self.data.lanes, own, strict=False)
        }
        for logger in trainer.loggers:
            logger.log_metrics(metrics, step=0)
