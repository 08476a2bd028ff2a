"""Rows and documents become tokens, once for each content. In: a file of rows or a corpus, a tokenizer. Out: the
`TokenStore` in the cache folder. Next: batches.

A second start finds the store by its key and tokenises nothing. Texts stream through in chunks: `encode_batch` keeps
all cores busy, and only one chunk is in memory.
"""

import json
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from picochat.datamodules.store import Chunk, TokenStore, build_store, find_store, store_key
from picochat.errors import UserError
from picochat.model.tokenizer import ChatTokenizer
from picochat.packs.documents import corpus_files, iter_documents
from picochat.packs.quotas import split_hash
from picochat.packs.rows import LANE_FIELDS, Kind, Row, conversation, iter_rows, no_rows

UNTAGGED = "untagged"
_ROWS_AT_ONCE = 8192
_DOCUMENTS_AT_ONCE = 1024


def tokens_of_rows(path: Path, kind: Kind, tokenizer: ChatTokenizer, cache: Path, *, verify: bool) -> TokenStore:
    """The tokens of a file of chat or eval rows, loss mask and tags included; from the store in `cache` if it is there.

    Eval rows are completed by their gold reply; those without one are left out and counted in the header's
    ``without_reference``. A UserError names a bad line.
    """
    folder = cache / f"{path.stem}-{store_key([path], tokenizer, kind)}"
    counts: dict[str, Any] = {"source": str(path), "without_reference": 0}
    chunks = _row_chunks(path, kind, tokenizer, counts)
    return find_store(folder, verify=verify) or build_store(folder, chunks, tokenizer.vocab_size, counts)


def tokens_of_corpus(path: Path, tokenizer: ChatTokenizer, cache: Path, *, verify: bool) -> TokenStore:
    """The tokens of a corpus, a file or a folder of files, all of them supervised."""
    folder = cache / f"{path.stem}-{store_key(corpus_files(path), tokenizer, 'corpus')}"
    chunks = _document_chunks(path, tokenizer)
    return find_store(folder, verify=verify) or build_store(folder, chunks, tokenizer.vocab_size, {"source": str(path)})


def _row_chunks(path: Path, kind: Kind, tokenizer: ChatTokenizer, counts: dict[str, Any]) -> Iterator[Chunk]:
    rows, number = iter_rows(path, kind), 0
    with tqdm(total=_lines(path), desc=f"tokens of {path.name}", unit=" rows", disable=None) as bar:
        while part := list(islice(rows, _ROWS_AT_ONCE)):
            complete = [(line, row, messages) for line, row in part if (messages := conversation(row))]
            counts["without_reference"] += len(part) - len(complete)
            rendered = tokenizer.render_batch(messages for _, _, messages in complete)
            yield Chunk(
                **_flat([one.ids for one in rendered]),
                learnt=np.fromiter(chain.from_iterable(one.supervised for one in rendered), np.uint8),
                lines=np.array([line for line, _, _ in complete]),
                hashes=np.array([split_hash(_problem(row), "validation") for _, row, _ in complete]),
                sizes=np.array([sum(len(turn["content"].encode()) for turn in said) for _, _, said in complete]),
                tags={field: [row.get(field) or UNTAGGED for _, row, _ in complete] for field in LANE_FIELDS},
            )
            number += len(part)
            bar.update(len(part))
    if not number:
        raise no_rows(path)


def _document_chunks(path: Path, tokenizer: ChatTokenizer) -> Iterator[Chunk]:
    documents = iter_documents(path)
    number = 0
    with tqdm(desc=f"tokens of {path.name}", unit=" documents", disable=None) as bar:
        while part := [document.text for document in islice(documents, _DOCUMENTS_AT_ONCE)]:
            yield Chunk(
                **_flat(tokenizer.documents(part)),
                learnt=None,
                lines=np.arange(number + 1, number + len(part) + 1),
                hashes=np.array([split_hash(text) for text in part]),
                sizes=np.array([len(text.encode()) for text in part]),
                tags={"category": ["corpus"] * len(part)},
            )
            number += len(part)
            bar.update(len(part))
    if not number:
        raise UserError(f"{path}: holds no text")


def _flat(ids: Sequence[Sequence[int]]) -> dict[str, Any]:
    return {
        "tokens": np.fromiter(chain.from_iterable(ids), np.uint32),
        "lengths": np.array([len(one) for one in ids], dtype=np.int64),
    }


def _problem(row: Row) -> str:
    """What a row asks: its key, or else everything before the last reply. Rows that ask the same stay on one side."""
    asked = row["messages"][:-1] if row["messages"][-1]["role"] == "assistant" else row["messages"]
    return row.get("key") or json.dumps(asked, ensure_ascii=False)


def _lines(path: Path) -> int:
    """Lines of a file, for the progress bar."""
    with path.open("rb") as file:
        return sum(part.count(b"\n") for part in iter(lambda: file.read(1 << 20), b""))
