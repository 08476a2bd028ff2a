"""Chat rows for training. In: JSONL files of chat and eval rows, or a profile to make them of. Out: packed batches.
Next: picochat.model.module.

    chat rows ── hash of the problem's key ──► train ──► plan ──► train_dataloader
                                          └──► val ─────────────► val_dataloader[0]  "val"    the same kinds of problems
    eval rows with their gold replies ──────────────────────────► val_dataloader[1]  "eval"   what the pack tests
"""

import json
from collections import Counter
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from lightning.pytorch.utilities import rank_zero_info

from picochat.datamodules.batches import Examples, whole_rows
from picochat.datamodules.loaders import Loader, check_trainer
from picochat.datamodules.packing import PackingName
from picochat.datamodules.prepare import ensure_task_pack, ensure_tokenizer, task_pack_paths
from picochat.datamodules.sampling import ALPHAS
from picochat.datamodules.store import TokenStore
from picochat.datamodules.stream import StreamDataModule
from picochat.datamodules.tokenise import tokens_of_rows
from picochat.errors import UserError
from picochat.files import sha256_text
from picochat.model.batch import Batch
from picochat.model.tokenizer import ChatTokenizer
from picochat.packs.dataset_pack import load_dataset_pack
from picochat.packs.mixture_file import load_profile
from picochat.packs.rows import LANE_FIELDS, Kind, Row, read_rows


class ChatDataModule(StreamDataModule):
    """Chat rows from files, or those of a profile, which are made when they are missing.

    Args:
        profile: the mixture to make rows of: a mixture file (my_mixture.yaml), release, capability, balanced, benchmark
            or another name of `picochat list profiles`. Null: the class's own, if it has one.
        chat_input: JSONL file of chat rows; null takes those of the profile, or else those that the dataset pack names.
        eval_input: JSONL file of eval rows, for the loss on them and for `test` and `predict`.
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
        sampling_alpha: exponent of a category's rows in its share, in place of `sampling`: 1 uniform, 0.5 root, 0 same.
        sampling_tag: the tag of the rows that names the category: category, mixture_component, stage, …
        block_size: examples that are drawn and packed at a time. Null: all, at most 65,536.
        seed: order of the rows.
        val_fraction: share of the chat rows that is held out for `val/loss`; rows of one problem stay on one side.
        on_long: what becomes of rows that do not fit the context: error (they are listed) or drop (they are counted).
        num_workers: loader processes on each device; packing is cheap, 0 is enough for most models.
        vocab_size: size of the tokenizer, if it is trained here.
        sft_rows: chat rows of the task pack, if it is made here (1,600).
        eval_rows: eval rows of the task pack, if it is made here (320).
        skill_answer_style: whether skills answer with their working (scratchpad) or directly, if the pack is made here.
        source: where benchmark rows come from, if the pack is made here: offline, hub, or auto.
        pack_seed: seed of the task pack, if it is made here.

    Attributes:
        dropped: rows too long for the context, by lane, of train and val.
        without_reference: eval rows that name no gold reply and so have no loss.
    """

    profile: str | None = None

    def __init__(
        self,
        *,
        profile: str | None = None,
        chat_input: str | None = None,
        eval_input: str | None = None,
        tokenizer: str | None = None,
        dataset_pack: str | None = None,
        work_dir: str | None = None,
        batch_size: int = 16,
        context_length: int | None = None,
        packing: PackingName = "bos_bestfit",
        sampling: Literal["uniform", "category_sqrt", "category_balanced"] = "category_sqrt",
        sampling_alpha: float | None = None,
        sampling_tag: str = "category",
        block_size: int | None = None,
        seed: int = 42,
        val_fraction: float = 0.05,
        on_long: Literal["error", "drop"] = "error",
        num_workers: int = 0,
        vocab_size: int = 512,
        sft_rows: int | None = None,
        eval_rows: int | None = None,
        skill_answer_style: Literal["direct", "scratchpad"] | None = None,
        source: Literal["offline", "auto", "hub"] | None = None,
        pack_seed: int | None = None,
    ) -> None:
        super().__init__(
            dataset_pack, tokenizer, work_dir, batch_size, context_length, packing, block_size, seed, val_fraction,
            num_workers, vocab_size
        )  # fmt: skip
        if sampling_tag not in LANE_FIELDS:
            raise UserError(f"data.sampling_tag must be one of {', '.join(LANE_FIELDS)}, not {sampling_tag}")
        if sampling_alpha is not None and not -4 <= sampling_alpha <= 4:
            raise UserError(f"data.sampling_alpha must lie in -4…4, not {sampling_alpha}; 1 is uniform, 0.5 the root")
        if profile is not None and self.profile not in (None, profile):
            raise UserError(f"data.profile is {profile}, but {type(self).__name__} makes {self.profile}; leave it out")
        self.profile = profile or self.profile
        self.mixture = load_profile(self.profile) if self.profile else None
        self.chat_input, self.eval_input = chat_input, eval_input
        self.alpha = ALPHAS[sampling] if sampling_alpha is None else sampling_alpha
        self.sampling_tag = sampling_tag
        self.on_long = on_long
        made_with = (sft_rows, eval_rows, skill_answer_style, source, pack_seed)
        named = zip(("sft_rows", "eval_rows", "skill_answer_style", "source", "seed"), made_with, strict=True)
        self.task_pack = {name: value for name, value in named if value is not None}
        self.task_pack_dir = self.work_dir
        self.in_cache = work_dir is None and dataset_pack is None
        if self.in_cache and self.mixture:  # runs that ask for other packs share the cache
            made_of = json.dumps([self.task_pack, self.mixture.described()])
            self.task_pack_dir = self.work_dir / f"{self.mixture.name}-{sha256_text(made_of)[:12]}"
        self._refuse_unused()
        self.dropped: dict[str, int] = {}
        self.without_reference = 0

    def absent(self) -> list[Path]:
        """The files that `prepare_data` would make, or miss."""
        return [path for path in (self.tokenizer_path, *self._files().values()) if not path.exists()]

    def prepare_data(self) -> None:
        """Make what is missing: corpus, tokenizer, task pack, and the tokens of the rows."""
        check_trainer(self.trainer)
        tokenizer = ensure_tokenizer(self.tokenizer_path, self.pack_path, self.vocab_size)
        if self.mixture and self.chat_input is None:
            settings, folder = self.task_pack, self.task_pack_dir
            ensure_task_pack(self.mixture, folder, self.pack_path, settings, replace=self.in_cache)
        self._stores(tokenizer, verify=True)

    def setup(self, stage: str) -> None:
        """Open the tokens, decide the sides, and plan."""
        check_trainer(self.trainer)
        self.chat_tokenizer = ChatTokenizer.load(self.tokenizer_path)
        stores = self._stores(self.chat_tokenizer, verify=False)
        # chat's own lanes first: a lane's place seeds its deal, which no eval row may change
        self.lanes = list(dict.fromkeys(v for s in stores.values() for v in sorted(s.tag(self.sampling_tag)[0])))
        self.dropped = {}
        fitting = {kind: self._fitting(kind, store) for kind, store in stores.items()}
        chat = fitting["chat"]
        held_out = self._held_out(chat.store)[chat.rows]
        train, sides = chat.take(~held_out), {"val": chat.take(held_out)}
        if not len(train):
            raise UserError(
                f"{self._files()['chat']}: no row that fits data.context_length={self.context_length} is left to train "
                "on; set it higher, or data.val_fraction lower"
            )
        if "eval" in fitting:
            self.without_reference = stores["eval"].header["without_reference"]
            sides["eval"] = fitting["eval"]
        self.start_stream(train, sides, self.alpha)

    def test_dataloader(self) -> Loader[Batch]:
        """The whole eval set with its gold replies."""
        if "eval" not in self.val_names:
            raise UserError(f"{self._eval_file()}: no row has a gold reply that fits the context, so there is no loss")
        return self.eval_loader("eval")

    def predict_dataloader(self) -> Loader[list[Row]]:
        """The eval rows themselves, in lists of `batch_size`; rank r of W has the rows r, r + W, r + 2·W, …"""
        rank, world = self.rank
        rows = read_rows(self._eval_file(), "eval")[rank::world]
        lists = [rows[first : first + self.batch_size] for first in range(0, len(rows), self.batch_size)]
        return Loader(lists, len(lists))

    @property
    def eval_path(self) -> Path | None:
        """The file of eval rows, if there is one."""
        return self._files().get("eval")

    def summary(self) -> list[str]:
        """Rows and where they come from, for `describe`."""
        files = self._files()
        lines = [f"train  {len(self._train):,} rows of {files['chat']}"]
        for name in self.val_names:
            source = f"held out of them by problem ({self.val_fraction:g})" if name == "val" else str(files["eval"])
            lines.append(f"{name:<5}  {len(self._evaluations[name]):,} rows, {source}")
        if self.without_reference:
            lines.append(f"       {self.without_reference:,} eval rows name no gold reply and have no loss")
        if self.dropped:
            lines.append(f"dropped, longer than {self.context_length}: {_counts(self.dropped)}")
        return [*lines, f"sampling by {self.sampling_tag}, alpha {self.alpha:g}"]

    def _files(self) -> dict[Kind, Path]:
        """The files of rows that there are, by kind."""
        pack = load_dataset_pack(self.pack_path) if self.chat_input is None and self.mixture is None else None
        chat, evaluation = (pack.chat_path, pack.eval_path) if pack else (None, None)
        if self.chat_input is not None:
            chat = Path(self.chat_input)
        elif self.mixture is not None:
            chat, evaluation = task_pack_paths(self.mixture, self.task_pack_dir)
        evaluation = Path(self.eval_input) if self.eval_input is not None else evaluation
        if chat is None:
            raise UserError(
                f"{self.pack_path} names no chat rows; give data.chat_input, promote a task pack "
                "(`picochat data task-pack`), or name a mixture with data.profile"
            )
        return {"chat": chat, "eval": evaluation} if evaluation is not None else {"chat": chat}

    def _eval_file(self) -> Path:
        if self.eval_path is None:
            raise UserError("there are no eval rows; give data.eval_input")
        return self.eval_path

    def _stores(self, tokenizer: ChatTokenizer, *, verify: bool) -> dict[Kind, TokenStore]:
        cache, files = self.work_dir / "tokens", self._files().items()
        return {kind: tokens_of_rows(path, kind, tokenizer, cache, verify=verify) for kind, path in files}

    def _fitting(self, kind: Kind, store: TokenStore) -> Examples:
        """The rows that fit the context; what does not is refused or counted, never cut."""
        values, column = store.tag(self.sampling_tag)
        lanes = np.array([self.lanes.index(value) for value in values], dtype=np.int16)[column]
        examples = whole_rows(store, np.arange(len(store)), lanes)
        long = examples.lengths > self.context_length
        if long.any():
            counts = Counter(self.lanes[lane] for lane in lanes[long].tolist())
            if self.on_long == "error":
                file, lines = self._files()[kind], store.lines[long].tolist()
                places = ", ".join(f"{file}:{line}" for line in lines[:3])
                raise UserError(
                    f"{len(lines):,} rows do not fit data.context_length={self.context_length} ({_counts(counts)}; "
                    f"{places}{', …' if len(lines) > 3 else ''}); set it to {examples.lengths.max()}, or set "
                    "data.on_long=drop"
                )
            self.dropped = dict(Counter(self.dropped) + counts)
        return examples.take(~long)

    def _held_out(self, store: TokenStore) -> npt.NDArray[np.bool_]:
        """[rows] whether each is for validation: decided by the hash of its problem, so rows of one problem agree."""
        if not self.val_fraction:
            return np.zeros(len(store), dtype=bool)
        hashes = np.asarray(store.hashes)
        chosen = hashes / 2**32 < self.val_fraction
        if not chosen.any():
            chosen = hashes == hashes.min()  # a small set still gets a problem to validate on
        if (hashes == hashes.min()).all():
            rank_zero_info(f"no validation: the rows of {self._files()['chat']} are all of one problem")
            return np.zeros(len(store), dtype=bool)
        if chosen.all():
            raise UserError(f"data.val_fraction={self.val_fraction} holds out every problem; set it lower, or to 0")
        return chosen

    def _refuse_unused(self) -> None:
        """No setting is ignored: what has no effect is an error."""
        components = self.mixture.components if self.mixture and self.chat_input is None else ()
        asks = {"skill_answer_style": "answer_style", "source": "source"}  # of those components that leave it open
        open_ = {name for name, field in asks.items() if any(getattr(part, field) == "asked" for part in components)}
        allowed = {*open_, "sft_rows", "eval_rows", "seed"} if components else set()
        if unused := [name for name in self.task_pack if name not in allowed]:
            shown = "pack_seed" if unused[0] == "seed" else unused[0]
            why = f"{type(self).__name__} makes no rows that depend on it"
            if self.chat_input is not None:
                why = "the rows of data.chat_input are made already"
            raise UserError(f"data.{shown} has no effect here: {why}; leave it out, or set it to null")


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{lane} {count:,}" for lane, count in sorted(counts.items()))
