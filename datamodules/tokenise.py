"""Rows and documents become tokens, once for each content. In: a file of rows or a corpus, a tokenizer. Out: the
`TokenStore` in the cache folder. Next: batches.

A second start finds the store by its key and tokenises nothing. Texts stream through in chunks: `encode_batch` keeps
all cores busy, and only one chunk is in memory.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from picochat.datamodules.inputs import Input
from picochat.datamodules.store import Chunk, TokenStore, build_store, find_store, store_key
from picochat.errors import UserError
from picochat.model.tokenizer import ChatTokenizer, in_parts
from picochat.packs.documents import corpus_files, iter_documents
from picochat.packs.formats import AS_IT_IS, Reading, Tally, iter_rows, no_rows
from picochat.packs.quotas import split_hash
from picochat.packs.rows import LANE_FIELDS, Kind, Row, conversation, learns

UNTAGGED = "untagged"


def tokens_of_rows(
    inputs: Sequence[Input],
    kind: Kind,
    tokenizer: ChatTokenizer,
    cache: Path,
    *,
    verify: bool,
    reading: Reading = AS_IT_IS,
    rows: Iterator[tuple[int, Row]] | None = None,
    meet: Callable[[str, Row], None] | None = None,
) -> TokenStore:
    """The tokens of files of chat or eval rows, loss mask and tags included; from the store in `cache` if it is there.

    Eval rows are completed by their gold reply; those without one are left out and counted in the header's
    ``without_reference``. Rows that mark nothing to be learnt are left out, too; the header's ``said`` says so, and
    what else there is to say of the files. A UserError names a bad line.

    Args:
        inputs: the files. Rows of a lane's file are of that component, and of that category if they name none.
        reading: how the files are read.
        rows: the rows with their lines, where the caller reads the only file.
        meet: is given each row and its place, FILE:LINE, where the store is not there yet.
    """
    lanes = [one.lane for one in inputs if one.lane]
    key = store_key([one.path for one in inputs], tokenizer, " ".join([kind, str(reading), *lanes]))
    header: dict[str, Any] = {"files": [], "without_reference": 0, "said": []}

    def chunks() -> Iterator[Chunk]:
        for one in inputs:
            tally = Tally(reading)
            read = rows or iter_rows(one.path, kind, tally)
            yield from _row_chunks(one, read, tokenizer, header, tally, meet)

    folder = cache / f"{inputs[0].path.stem}-{key}"
    return find_store(folder, verify=verify) or build_store(folder, chunks(), tokenizer.vocab_size, header)


def tokens_of_corpus(path: Path, tokenizer: ChatTokenizer, cache: Path, *, verify: bool) -> TokenStore:
    """The tokens of a corpus, a file or a folder of files, all of them supervised."""
    folder = cache / f"{path.stem}-{store_key(corpus_files(path), tokenizer, 'corpus')}"
    chunks = _document_chunks(path, tokenizer)
    return find_store(folder, verify=verify) or build_store(folder, chunks, tokenizer.vocab_size, {"source": str(path)})


def _row_chunks(
    source: Input,
    rows: Iterator[tuple[int, Row]],
    tokenizer: ChatTokenizer,
    header: dict[str, Any],
    tally: Tally,
    meet: Callable[[str, Row], None] | None,
) -> Iterator[Chunk]:
    kept = stored = 0
    component, category = {"mixture_component": source.lane}, {"category": source.lane}
    with tqdm(desc=f"tokens of {source.path.name}", unit=" rows", disable=None) as bar:
        for part in in_parts(rows, _characters):
            if meet:
                for line, row in part:
                    meet(f"{source.path}:{line}", row)
            said = [(line, row, messages) for line, row in part if (messages := conversation(row))]
            complete = [one for one in said if learns(one[2])]
            header["without_reference"] += len(part) - len(said)
            kept += len(part) - len(said) + len(complete)
            stored += len(complete)
            rendered = tokenizer.render_batch(messages for _, _, messages in complete)
            yield Chunk(
                **_flat([one.ids for one in rendered]),
                learnt=np.fromiter(chain.from_iterable(one.supervised for one in rendered), np.uint8),
                lines=np.array([line for line, _, _ in complete]),
                hashes=np.array([split_hash(_problem(row), "validation") for _, row, _ in complete]),
                sizes=np.array([sum(len(turn["content"].encode()) for turn in turns) for _, _, turns in complete]),
                tags={
                    field: [
                        component.get(field) or row.get(field) or category.get(field) or UNTAGGED
                        for _, row, _ in complete
                    ]
                    for field in LANE_FIELDS
                },
            )
            bar.update(len(part))
    header["files"].append([str(source.path), stored])
    header["said"] += tally.said()
    if not kept:
        raise no_rows(source.path, tally.said())


def _document_chunks(path: Path, tokenizer: ChatTokenizer) -> Iterator[Chunk]:
    number = 0
    with tqdm(desc=f"tokens of {path.name}", unit=" documents", disable=None) as bar:
        for part in in_parts((document.text for document in iter_documents(path)), len):
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


def _characters(numbered: tuple[int, Row]) -> int:
    return sum(len(message["content"]) for message in numbered[1]["messages"])


def _flat(ids: Sequence[Sequence[int]]) -> dict[str, Any]:
    return {
        "tokens": np.fromiter(chain.from_iterable(ids), np.uint32),
        "lengths": np.array([len(one) for one in ids], dtype=np.int64),
    }


def _problem(row: Row) -> str:
    """What a row asks: its key, or else everything before the last reply. Rows that ask the same stay on one side."""
    asked = row["messages"][:-1] if row["messages"][-1]["role"] == "assistant" else row["messages"]
    return row.get("key") or json.dumps(asked, ensure_ascii=False)
