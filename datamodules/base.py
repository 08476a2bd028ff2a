"""Chat rows for training. In: JSONL files of chat and eval rows, or a profile to make them of. Out: packed batches.
Next: picochat.model.module.

    chat rows ── hash of the problem's key ──► train ──► plan ──► train_dataloader
                                          └──► val ─────────────► val_dataloader[0]  "val"    the same kinds of problems
    eval rows with their gold replies ──────────────────────────► val_dataloader[1]  "eval"   what the pack tests
"""

import json
from collections import Counter
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from picochat.datamodules.batches import Examples, whole_rows
from picochat.datamodules.loaders import Loader, check_trainer
from picochat.datamodules.packing import PackingName
from picochat.datamodules.prepare import ensure_task_pack, ensure_tokenizer, task_pack_paths
from picochat.datamodules.sampling import ALPHAS
from picochat.datamodules.store import TokenStore
from picochat.datamodules.stream import StreamDataModule
from picochat.datamodules.tokenise import Input, RowFiles, parse_inputs
from picochat.errors import UserError, refuse_unknown
from picochat.files import sha256_text
from picochat.model.batch import Batch
from picochat.model.tokenizer import ChatTokenizer
from picochat.packs.dataset_pack import load_dataset_pack
from picochat.packs.formats import Reading
from picochat.packs.profiles import load_profile
from picochat.packs.rows import LANE_FIELDS, Row


class ChatDataModule(StreamDataModule):
    """Chat rows from files, or those of a profile, which are made when they are missing.

    Args:
        profile: the mixture to make rows of: a file (my_mixture.yaml), release, capability, balanced, benchmark, or
            another name of `picochat list profiles`. Null: the class's own, if it has one.
        chat_input: file of chat rows, anybody's: .jsonl, .json, .csv or .parquet, also .gz or .zst. Several are lanes
            with shares of the draws: NAME=SHARE:FILE, or FILE for what the others leave. Null takes those of the
            profile, or else those that the dataset pack names.
        eval_input: file of eval rows, for the loss on them and for `test` and `predict`.
        reading: how chat_input is read: its form, what is learnt of it, what becomes of rows that cannot be.
        tokenizer: tokenizer.json or model folder; trained on the corpus and written there if the file does not exist.
            Null: in `fit` the checkpoint's, else tokenizer.json beside the dataset pack.
        dataset_pack: dataset_pack.json; made there with a corpus of stories if it does not exist. Null: one in the
            cache folder, $PICOCHAT_CACHE or ~/.cache/picochat.
        work_dir: folder for what is made here, the task pack and the tokens. Null: the dataset pack's folder.
        batch_size: packed rows of a micro-batch, on each device.
        context_length: tokens of a packed row. Null: in `fit` the checkpoint's, else 256.
        packing: bos_bestfit (whole examples, best fit decreasing) or separate (one example a row).
        sampling: uniform over rows, category_sqrt (by the root of a category's rows), or category_balanced (the same
            share for each category). The unit is examples, before packing.
        sampling_tag: the tag of the rows that names the category: category, mixture_component, stage, …
        shares: of some categories in the draws: {"identity": 0.3, "refusal": 0}; the others share the rest as
            `sampling` says. With 0 a lane is left out; a placebo is a lane of texts (`reading.format` text).
        block_size: examples that are drawn and packed at a time. Null: all, at most 65,536.
        seed: order of the rows.
        val_fraction: share of the problems that is held out for `val/loss`, with all of their rows.
        allow_overlap: train although eval rows ask what training rows ask; else that is refused.
        on_long: what becomes of rows that do not fit the context: error (they are listed) or drop (they are counted).
        num_workers: loader processes on each device; packing is cheap, 0 is enough for most models.
        vocab_size: size of the tokenizer, if it is trained here.
        sft_rows: chat rows of the task pack, if it is made here (1,600).
        eval_rows: eval rows of the task pack, if it is made here (320).
        skill_answer_style: whether skills answer with their working (scratchpad) or directly, if the pack is made here.
        thinking: whether the model writes the thought before its reply itself, where its chat template knows thoughts;
            false: prompts end in an empty one. Saved with the model. Null: as in the tokenizer's folder.
    """

    profile: str | None = None

    def __init__(
        self,
        *,
        profile: str | None = None,
        chat_input: list[str] | str | None = None,
        eval_input: str | None = None,
        reading: Reading | None = None,
        tokenizer: str | None = None,
        dataset_pack: str | None = None,
        work_dir: str | None = None,
        batch_size: int = 16,
        context_length: int | None = None,
        packing: PackingName = "bos_bestfit",
        sampling: Literal["uniform", "category_sqrt", "category_balanced"] = "category_sqrt",
        sampling_tag: str = "category",
        shares: dict[str, float] | None = None,
        block_size: int | None = None,
        seed: int = 42,
        val_fraction: float = 0.05,
        allow_overlap: bool = False,
        on_long: Literal["error", "drop"] = "error",
        num_workers: int = 0,
        vocab_size: int = 512,
        sft_rows: int | None = None,
        eval_rows: int | None = None,
        skill_answer_style: Literal["direct", "scratchpad"] | None = None,
        thinking: bool | None = None,
    ) -> None:
        super().__init__(
            dataset_pack, tokenizer, work_dir, batch_size, context_length, packing, block_size, seed, val_fraction,
            num_workers, vocab_size
        )  # fmt: skip
        refuse_unknown("data.sampling", sampling, ALPHAS)
        refuse_unknown("data.sampling_tag", sampling_tag, LANE_FIELDS)
        refuse_unknown("data.on_long", on_long, ("error", "drop"))
        if skill_answer_style is not None:
            refuse_unknown("data.skill_answer_style", skill_answer_style, ("direct", "scratchpad"))
        chat_input = chat_input or None
        if profile is not None and chat_input is not None:
            raise UserError("data.profile makes rows and data.chat_input names some; leave one of them out")
        self.profile = profile or self.profile
        self.mixture, self.thinking = load_profile(self.profile) if self.profile else None, thinking
        self.chat_input, self.eval_input, self.allow_overlap = chat_input, eval_input, allow_overlap
        self.inputs = [] if chat_input is None else parse_inputs(chat_input)
        if any(one.share is not None for one in self.inputs):
            if shares or sampling_tag not in ("category", "mixture_component"):
                raise UserError("data.chat_input names shares of files; leave data.shares and data.sampling_tag out")
            sampling_tag = "mixture_component"
            shares = {str(one.lane): one.share for one in self.inputs if one.share is not None}
        self.lane_shares = shares or None
        self.reading = reading or Reading()
        self.sampling, self.sampling_tag, self.on_long = sampling, sampling_tag, on_long
        made_with = {"sft_rows": sft_rows, "eval_rows": eval_rows, "skill_answer_style": skill_answer_style}
        self.task_pack = {name: value for name, value in made_with.items() if value is not None}
        components = self.mixture.components if self.mixture and chat_input is None else ()
        for name in self.task_pack:
            if not any(name != "skill_answer_style" or part.answer_style == "asked" for part in components):
                raise UserError(f"data.{name} has no effect here: no rows are made that depend on it; leave it out")
        self.task_pack_dir = self.work_dir
        if self.mixture and work_dir is None and dataset_pack is None:  # runs that ask for other packs share the cache
            made_of = json.dumps([self.task_pack, self.mixture.described()])
            self.task_pack_dir = self.work_dir / f"{self.mixture.name}-{sha256_text(made_of)[:12]}"
        self.dropped: Counter[str] = Counter()

    def absent(self) -> list[Path]:
        """The files that `prepare_data` would make, or miss."""
        return [path for path in (self.tokenizer_path, *self.files.paths) if not path.exists()]

    def prepare_data(self) -> None:
        """Make what is missing: corpus, tokenizer, task pack, and the tokens of the rows."""
        check_trainer(self.trainer)
        self.__dict__.pop("files", None)  # of an earlier fit: they may have been edited since
        tokenizer = ensure_tokenizer(self.tokenizer_path, self.pack_path, self.vocab_size, self.thinking)
        if self.mixture and self.chat_input is None:
            ensure_task_pack(self.mixture, self.task_pack_dir, self.pack_path, self.task_pack)
        self.files.prepare(tokenizer)
        if (met := self.files.overlap()) and not self.allow_overlap:
            raise UserError(
                f"{met}; take them out of one of the files, or set data.allow_overlap to train all the same"
            )

    def setup(self, stage: str) -> None:
        """Open the tokens, decide the sides, and plan."""
        check_trainer(self.trainer)
        self.chat_tokenizer = ChatTokenizer.load(self.tokenizer_path, self.thinking)
        stores = self.files.stores(self.chat_tokenizer, verify=False)
        # chat's own lanes first: a lane's place seeds its deal, which no eval row may change
        self.lanes = list(dict.fromkeys(v for s in stores.values() for v in sorted(s.tag(self.sampling_tag)[0])))
        self.dropped, self._said = Counter(), stores["chat"].header["said"]
        fitting = {kind: self._fitting(store) for kind, store in stores.items()}
        chat = fitting["chat"]
        held_out = self._held_out(np.asarray(chat.store.hashes)[chat.rows])
        train, sides = chat.take(~held_out), {"val": chat.take(held_out)}
        if not len(train):
            raise UserError(
                f"{self._chat_names}: no row that fits data.context_length={self.context_length} is left to train on; "
                "set it higher, or data.val_fraction lower"
            )
        if "eval" in fitting:
            sides["eval"] = fitting["eval"]
            unknown = stores["eval"].header["without_reference"]
            said = [f"{unknown:,} eval rows name no gold reply and have no loss"] if unknown else []
            self._said = [*self._said, *filter(None, [self.files.overlap()]), *said]
        self.start_stream(train, sides, ALPHAS[self.sampling], self.lane_shares)

    def test_dataloader(self) -> Loader[Batch]:
        """The whole eval set with its gold replies."""
        if "eval" not in self.val_names:
            where = self.eval_path or "data.eval_input"
            raise UserError(f"{where}: no row has a gold reply that fits the context, so there is no loss")
        return self.eval_loader("eval")

    def predict_dataloader(self) -> Loader[list[Row]]:
        """The eval rows themselves, in lists of `batch_size`; rank r of W has the rows r, r + W, r + 2·W, …"""
        rank, world = self.rank
        rows = [row for _, row in self.eval_rows][rank::world]
        lists = [rows[first : first + self.batch_size] for first in range(0, len(rows), self.batch_size)]
        return Loader(lists, len(lists))

    @property
    def eval_path(self) -> Path | None:
        """The file of eval rows, if there is one."""
        return self.files.evaluation

    @property
    def eval_rows(self) -> list[tuple[int, Row]]:
        """The eval rows with their lines."""
        return self.files.eval_rows

    @property
    def trained_on(self) -> list[dict[str, Any]]:
        """What a model's provenance says of the chat rows."""
        return self.files.trained_on

    def summary(self) -> list[str]:
        """Rows and where they come from, for `describe`."""
        lines = [f"train  {len(self._train):,} rows of {self._chat_names}"]
        for name in self.val_names:
            source = f"held out of them by problem ({self.val_fraction:g})" if name == "val" else str(self.eval_path)
            lines.append(f"{name:<5}  {len(self._evaluations[name]):,} rows, {source}")
        lines += [f"       {said}" for said in self._said]
        if self.dropped:
            lines.append(f"dropped, longer than {self.context_length}: {_counts(self.dropped)}")
        return [*lines, f"sampling by {self.sampling_tag}, {'shares and ' if self.lane_shares else ''}{self.sampling}"]

    @cached_property
    def files(self) -> RowFiles:
        """The files of rows; those that are made need not be there yet."""
        inputs, evaluation = self.inputs, None
        if not inputs and self.mixture:
            chat, evaluation = task_pack_paths(self.mixture, self.task_pack_dir)
            inputs = [Input(chat)]
        elif not inputs:
            pack = load_dataset_pack(self.pack_path)
            if pack.chat_path is None:
                raise UserError(
                    f"{self.pack_path} names no chat rows; give data.chat_input, promote a task pack "
                    "(`picochat data task-pack`), or name a mixture with data.profile"
                )
            inputs, evaluation = [Input(pack.chat_path)], pack.eval_path
        evaluation = Path(self.eval_input) if self.eval_input else evaluation
        return RowFiles(inputs, evaluation, self.reading, self.work_dir / "tokens")

    @property
    def _chat_names(self) -> str:
        return ", ".join(str(one.path) for one in self.files.chat)

    def _fitting(self, store: TokenStore) -> Examples:
        """The rows that fit the context; what does not is refused or counted, never cut."""
        values, column = store.tag(self.sampling_tag)
        lanes = np.array([self.lanes.index(value) for value in values], dtype=np.int16)[column]
        examples = whole_rows(store, np.arange(len(store)), lanes)
        long = examples.lengths > self.context_length
        counts, rows = Counter(self.lanes[lane] for lane in lanes[long].tolist()), np.flatnonzero(long).tolist()
        if rows and self.on_long == "error":
            places = ", ".join([*map(store.place, rows[:3]), *["…"] * (len(rows) > 3)])
            raise UserError(
                f"{len(rows):,} rows do not fit data.context_length={self.context_length} ({_counts(counts)}; "
                f"{places}); set it to {examples.lengths.max()}, or set data.on_long=drop"
            )
        self.dropped += counts
        return examples.take(~long)

    def _held_out(self, hashes: npt.NDArray[np.unsignedinteger]) -> npt.NDArray[np.bool_]:
        """[rows] whether each is for validation: decided by the hash of its problem, so rows of one problem agree."""
        if not self.val_fraction or len(np.unique(hashes)) < 2:  # a file of one problem is trained on whole
            return np.zeros(len(hashes), dtype=bool)
        chosen: npt.NDArray[np.bool_] = hashes / 2**32 < self.val_fraction
        return chosen if chosen.any() else hashes == hashes.min()  # a small set still gets a problem to validate on


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{lane} {count:,}" for lane, count in sorted(counts.items()))
