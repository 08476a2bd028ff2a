"""Documents for the base stage. In: the corpus of a dataset pack. Out: packed batches in which every token is learnt.
Next: picochat.model.module.

    corpus ── hash of the text ──► train ──► split at the context ──► plan ──► train_dataloader
                             └───► val ────► split at the context ───────────► val_dataloader[0]  "val"

A document longer than the context goes on in another example, which begins with BOS and reads the last `overlap`
tokens again without learning them (drawn in batches.py).
"""

from pathlib import Path

import numpy as np
from lightning.pytorch.utilities import rank_zero_info

from picochat.datamodules.batches import split_rows
from picochat.datamodules.packing import PackingName
from picochat.datamodules.plan import DataPlan
from picochat.datamodules.prepare import corpus_of, dataset_pack_file, ensure_dataset_pack, ensure_tokenizer
from picochat.datamodules.store import TokenStore
from picochat.datamodules.stream import StreamDataModule
from picochat.datamodules.tokenise import tokens_of_corpus
from picochat.errors import UserError
from picochat.model.tokenizer import ChatTokenizer
from picochat.packs.dataset_pack import load_dataset_pack


class CorpusDataModule(StreamDataModule):
    """The documents of a corpus.

    Args:
        dataset_pack: dataset_pack.json that names the corpus; made there with a corpus of stories if it does not exist.
            Null: one in the cache folder, $PICOCHAT_CACHE or ~/.cache/picochat.
        tokenizer: tokenizer.json or model folder; learnt from the corpus and written there if the file does not exist.
            Null: in `fit` the checkpoint's, else tokenizer.json beside the dataset pack.
        work_dir: folder for the tokens. Null: the dataset pack's folder.
        batch_size: packed rows of a micro-batch, on each device.
        context_length: tokens of a packed row. Null: in `fit` the checkpoint's, else 256.
        overlap: tokens that the next part of a long document reads again, without learning them; at least 1, so that
            no token is asked for without what stands before it. Null: a sixteenth of the context.
        packing: bos_bestfit (whole documents and parts, best fit decreasing) or separate (one a row).
        block_size: documents and parts that are drawn and packed at a time. Null: all, at most 65,536.
        seed: order of the documents; another seed, another order.
        val_fraction: share of the documents that is held out for `val/loss`.
        num_workers: loader processes on each device; packing is cheap, 0 is enough for most models.
        vocab_size: size of the tokenizer, if it is learnt here.

    Attributes:
        bytes_per_token: UTF-8 bytes of the held-out documents for each token that is learnt of them, for bits per byte.
    """

    def __init__(
        self,
        *,
        dataset_pack: str | None = None,
        tokenizer: str | None = None,
        work_dir: str | None = None,
        batch_size: int = 16,
        context_length: int | None = None,
        overlap: int | None = None,
        packing: PackingName = "bos_bestfit",
        block_size: int | None = None,
        seed: int = 42,
        val_fraction: float = 0.02,
        num_workers: int = 0,
        vocab_size: int = 512,
    ) -> None:
        context_length = 256 if context_length is None else context_length
        super().__init__(batch_size, context_length, num_workers)
        self.overlap = max(1, context_length // 16) if overlap is None else overlap
        if not 1 <= self.overlap < context_length - 1:
            raise UserError(f"data.overlap must lie in 1…{context_length - 2}, below the context, not {overlap}")
        if not 0 <= val_fraction < 1:
            raise UserError(f"data.val_fraction must be at least 0 and below 1, not {val_fraction}")
        if block_size is not None and block_size < 1:
            raise UserError(f"data.block_size must be at least 1, not {block_size}")
        self.pack_path = dataset_pack_file(dataset_pack)
        self.tokenizer_path = Path(tokenizer) if tokenizer else self.pack_path.parent / "tokenizer.json"
        self.work_dir = Path(work_dir) if work_dir else self.pack_path.parent
        self.packing: PackingName = packing
        self.block_size = block_size
        self.seed = seed
        self.val_fraction = val_fraction
        self.vocab_size = vocab_size
        self.bytes_per_token = 0.0

    def absent(self) -> list[Path]:
        """The files that `prepare_data` would make."""
        return [path for path in (self.pack_path, self.tokenizer_path) if not path.exists()]

    def prepare_data(self) -> None:
        """Make what is missing: corpus, tokenizer, and the tokens of the documents."""
        self.check_trainer()
        ensure_dataset_pack(self.pack_path)
        self._store(ensure_tokenizer(self.tokenizer_path, self.pack_path, self.vocab_size), verify=True)

    def setup(self, stage: str) -> None:
        """Open the tokens, decide the sides, split long documents, and plan."""
        self.check_trainer()
        self.chat_tokenizer = ChatTokenizer.load(self.tokenizer_path)
        self.lanes = ["corpus"]
        store = self._store(self.chat_tokenizer, verify=False)
        # the rule of picochat.packs.quotas.split_of, on the hashes that the store kept
        held_out = np.asarray(store.hashes) / 2**32 < self.val_fraction
        prefix = (self.chat_tokenizer.bos_id,) if self.chat_tokenizer.format.document_start else ()
        train, val = (
            split_rows(store, np.flatnonzero(side), self.context_length, self.overlap, prefix)
            for side in (~held_out, held_out)
        )
        if not len(train):
            raise UserError(f"no document is left to train on; set data.val_fraction={self.val_fraction} lower")
        if self.val_fraction and not len(val):
            rank_zero_info(
                f"no validation: data.val_fraction={self.val_fraction} holds out none of {len(store):,} documents; "
                "more and shorter documents (.jsonl, one a line) would give some"
            )
        if len(val):
            self.bytes_per_token = float(store.sizes[held_out].sum() / val.supervised.sum())
        self.val_names = ["val"] if len(val) else []
        plan = DataPlan(
            lengths=train.lengths,
            supervised=train.supervised,
            lanes=train.lanes,
            capacity=self.context_length,
            seed=self.seed,
            alpha=1.0,
            packing=self.packing,
            block_size=self.block_size,
        )
        self.start_stream(train, {"val": val} if len(val) else {}, plan)

    def summary(self) -> list[str]:
        """Documents and where they come from, for `describe`."""
        corpus = corpus_of(load_dataset_pack(self.pack_path))
        lines = []
        for name, side in {"train": self._train, **self._evaluations}.items():
            documents, tokens = len(np.unique(side.rows)), side.supervised.sum()
            lines.append(f"{name:<5}  {documents:,} documents in {len(side):,} parts, {tokens:,} tokens")
        return [f"corpus {corpus}", *lines, self.plan_summary()]

    def _store(self, tokenizer: ChatTokenizer, *, verify: bool) -> TokenStore:
        corpus = corpus_of(load_dataset_pack(self.pack_path))
        return tokens_of_corpus(corpus, tokenizer, self.work_dir / "tokens", verify=verify)
