"""Documents for base pretraining. In: the corpus of a dataset pack; the hash of its text decides each one's side, long
ones are split at the context. Out: packed batches, every token in the loss mask. Next: picochat.model.module."""

from pathlib import Path

import numpy as np

from picochat.datamodules.batches import split_rows
from picochat.datamodules.loaders import check_trainer
from picochat.datamodules.packing import PackingName
from picochat.datamodules.prepare import corpus_of, ensure_tokenizer
from picochat.datamodules.stream import StreamDataModule
from picochat.datamodules.tokenise import tokens_of_corpus
from picochat.errors import UserError
from picochat.model.tokenizer import ChatTokenizer


class CorpusDataModule(StreamDataModule):
    """The documents of a corpus.

    Args:
        dataset_pack: dataset_pack.json that names the corpus; made there with a corpus of stories if it does not exist.
            Null: one in the cache folder, $PICOCHAT_CACHE or ~/.cache/picochat.
        tokenizer: tokenizer.json or model folder; trained on the corpus and written there if the file does not exist.
            Null: in `fit` the checkpoint's, else tokenizer.json beside the dataset pack.
        work_dir: folder for the tokens. Null: the dataset pack's folder.
        batch_size: packed rows of a micro-batch, on each device.
        context_length: tokens of a packed row. Null: in `fit` the checkpoint's, else 256.
        overlap: tokens that the next part of a long document reads again, outside the loss mask; at least 1, so that
            every target has a token before it. Null: a sixteenth of the context.
        packing: bos_bestfit (whole documents and parts, best fit decreasing) or separate (one a row).
        block_size: documents and parts that are drawn and packed at a time. Null: all, at most 65,536.
        seed: order of the documents.
        val_fraction: share of the documents that is held out for `val/loss`.
        num_workers: loader processes on each device; packing is cheap, 0 is enough for most models.
        vocab_size: size of the tokenizer, if it is trained here.

    Attributes:
        bytes_per_token: UTF-8 bytes of the held-out documents for each supervised token of them, for bits per byte.
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
        super().__init__(
            dataset_pack, tokenizer, work_dir, batch_size, context_length, packing, block_size, seed, val_fraction,
            num_workers, vocab_size
        )  # fmt: skip
        self.overlap = max(1, self.context_length // 16) if overlap is None else overlap
        if not 1 <= self.overlap < self.context_length - 1:
            raise UserError(f"data.overlap must lie in 1…{self.context_length - 2}, below the context, not {overlap}")
        self.bytes_per_token = 0.0

    def absent(self) -> list[Path]:
        """The files that `prepare_data` would make."""
        return [path for path in (self.pack_path, self.tokenizer_path) if not path.exists()]

    def prepare_data(self) -> None:
        """Make what is missing: corpus, tokenizer, and the tokens of the documents."""
        check_trainer(self.trainer)
        tokenizer = ensure_tokenizer(self.tokenizer_path, self.pack_path, self.vocab_size)
        tokens_of_corpus(corpus_of(self.pack_path), tokenizer, self.work_dir / "tokens", verify=True)

    def setup(self, stage: str) -> None:
        """Open the tokens, decide the sides, split long documents, and plan."""
        check_trainer(self.trainer)
        self.chat_tokenizer = ChatTokenizer.load(self.tokenizer_path)
        self.lanes = ["corpus"]
        store = tokens_of_corpus(corpus_of(self.pack_path), self.chat_tokenizer, self.work_dir / "tokens", verify=False)
        # the rule of picochat.packs.quotas.split_of, on the hashes that the store kept
        held_out = np.asarray(store.hashes) / 2**32 < self.val_fraction
        prefix = tuple(self.chat_tokenizer.document_start)
        train, val = (
            split_rows(store, np.flatnonzero(side), self.context_length, self.overlap, prefix)
            for side in (~held_out, held_out)
        )
        if not len(train):
            raise UserError(f"no document is left to train on; set data.val_fraction={self.val_fraction} lower")
        if len(val):
            self.bytes_per_token = float(store.sizes[held_out].sum() / val.supervised.sum())
        self.start_stream(train, {"val": val}, alpha=1.0)

    def summary(self) -> list[str]:
        """Documents and where they come from, for `describe`."""
        lines = [f"corpus {corpus_of(self.pack_path)}"]
        for name, side in {"train": self._train, **self._evaluations}.items():
            documents, tokens = len(np.unique(side.rows)), side.supervised.sum()
            lines.append(f"{name:<5}  {documents:,} documents in {len(side):,} parts, {tokens:,} tokens")
        return lines
