"""Rows and documents become tokens, once for each content. In: a file of rows or a corpus, a tokenizer. Out: the
`TokenStore` in the cache folder. Next: batches.

A second start finds the store by its key and tokenises nothing. Texts stream through in chunks: `encode_batch` keeps
all cores busy, and nothing but one chunk is held in memory.
"""

import json
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any

from tqdm import tqdm

from picochat.datamodules.store import Chunk, TokenStore, build_store, find_store, store_key
from picochat.errors import UserError
from picochat.model.tokenizer import ChatTokenizer
from picochat.packs.documents import corpus_files, iter_documents
from picochat.packs.rows import LANE_FIELDS, Kind, Row, conversation, iter_rows

UNTAGGED = "untagged"
_ROWS_AT_ONCE = 8192
_DOCUMENTS_AT_ONCE = 1024


def tokens_of_rows(path: Path, kind: Kind, tokenizer: ChatTokenizer, cache: Path, *, verify: bool) -> TokenStore:
    """The tokens of a file of chat or eval rows, supervision and tags included.

    Eval rows are completed by their gold reply; those without one are left out and counted in the header's
    ``without_reference``.

    Args:
        cache: folder of the stores.
        verify: check every byte of a store that is there, not its size alone.

    Raises:
        UserError: no such file, or a bad line.
    """
    folder = cache / f"{path.stem}-{store_key([path], tokenizer, kind)}"
    counts: dict[str, Any] = {"source": str(path), "without_reference": 0}
    chunks = _row_chunks(path, kind, tokenizer, counts)
    return find_store(folder, verify=verify) or build_store(folder, chunks, tokenizer.vocab_size, counts)


def tokens_of_corpus(path: Path, tokenizer: ChatTokenizer, cache: Path, *, verify: bool) -> TokenStore:
    """The tokens of a corpus, a file or a folder of shards, every one of them to be learnt; arguments as above."""
    folder = cache / f"{path.stem}-{store_key(corpus_files(path), tokenizer, 'corpus')}"
    chunks = _document_chunks(path, tokenizer)
    return find_store(folder, verify=verify) or build_store(folder, chunks, tokenizer.vocab_size, {"source": str(path)})


def _row_chunks(path: Path, kind: Kind, tokenizer: ChatTokenizer, counts: dict[str, Any]) -> Iterator[Chunk]:
    rows = iter_rows(path, kind)
    if (first := next(rows, None)) is None:
        raise UserError(f"{path}: holds no rows; one JSON object per line is expected")
    rows = chain([first], rows)
    with tqdm(total=_lines(path), desc=f"tokens of {path.name}", unit=" rows", disable=None) as bar:
        while part := list(islice(rows, _ROWS_AT_ONCE)):
            complete = [(line, row, messages) for line, row in part if (messages := conversation(row))]
            counts["without_reference"] += len(part) - len(complete)
            rendered = tokenizer.render_batch(messages for _, _, messages in complete)
            yield Chunk(
                ids=[one.ids for one in rendered],
                learnt=[one.supervised for one in rendered],
                lines=[line for line, _, _ in complete],
                keys=[_problem(row) for _, row, _ in complete],
                tags={field: [row.get(field) or UNTAGGED for _, row, _ in complete] for field in LANE_FIELDS},
                sizes=[sum(len(turn["content"].encode()) for turn in messages) for _, _, messages in complete],
            )
            bar.update(len(part))


def _document_chunks(path: Path, tokenizer: ChatTokenizer) -> Iterator[Chunk]:
    documents = iter_documents(path)
    if (first := next(documents, None)) is None:
        raise UserError(f"{path}: holds no text")
    documents = chain([first], documents)
    number = 0
    with tqdm(desc=f"tokens of {path.name}", unit=" documents", disable=None) as bar:
        while part := [document.text for document in islice(documents, _DOCUMENTS_AT_ONCE)]:
            yield Chunk(
                ids=tokenizer.documents(part),
                learnt=None,
                lines=range(number + 1, number + len(part) + 1),
                keys=part,
                tags={"category": ["corpus"] * len(part)},
                sizes=[len(text.encode()) for text in part],
            )
            number += len(part)
            bar.update(len(part))


def _problem(row: Row) -> str:
    """What a row asks: its key, or else everything before the last reply. Rows that ask the same stay on one side.

    The prefix makes this hash another than the one by which task packs hold out eval problems: with the same one, the
    fifth of all keys that a pack keeps for evaluation would hold every key that validation chooses, and leave it none.
    """
    asked = row["messages"][:-1] if row["messages"][-1]["role"] == "assistant" else row["messages"]
    return "validation/" + (row.get("key") or json.dumps(asked, ensure_ascii=False))


def _lines(path: Path) -> int:
    try:
        with path.open("rb") as file:
            return sum(part.count(b"\n") for part in iter(lambda: file.read(1 << 20), b""))
    except OSError:
        return 0  # reading the rows says it in words
