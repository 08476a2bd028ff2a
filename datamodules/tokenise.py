"""Rows and documents become tokens, once for each content. In: files of rows or a corpus, a tokenizer. Out: the
`TokenStore` in the cache folder, and whether training asks what eval rows ask. Next: batches.

    rows.jsonl                                  one file, whose rows keep their own lanes
    [refunds=0.5:refunds.jsonl, chat.jsonl]     two lanes: refunds with half of the draws, chat with the rest

A second start finds the store by its key and tokenises nothing. Texts stream through in chunks: `encode_batch` keeps
all cores busy, and only one chunk is in memory.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from picochat.datamodules.store import Chunk, TokenStore, build_store, find_store, store_key
from picochat.errors import UserError
from picochat.files import sha256_file, sha256_text, write_json
from picochat.model.tokenizer import ChatTokenizer, in_parts
from picochat.packs.contamination import Overlap
from picochat.packs.documents import corpus_files, iter_documents
from picochat.packs.formats import AS_IT_IS, Reading, Tally, iter_rows, no_rows
from picochat.packs.pack_report import in_one_pack
from picochat.packs.quotas import split_hash
from picochat.packs.rows import LANE_FIELDS, Kind, Row, conversation, learns
from picochat.strict_json import parse_json


class Input(NamedTuple):
    """A file, the lane of its rows (None: as they say themselves), and its share of the draws, if it has one."""

    path: Path
    lane: str | None = None
    share: float | None = None


def parse_inputs(given: str | Sequence[str]) -> list[Input]:
    """Files as FILE, SHARE:FILE or NAME=SHARE:FILE; where there are several, each is a lane, named after its file.

    Raises:
        UserError: two of them have one name.
    """
    found = []
    for text in [given] if isinstance(given, str) else given:
        name, share, path = None, None, text
        if not Path(text).exists() and (match := re.fullmatch(r"(?:([\w.-]+)=)?(?:(\d*\.?\d+):)?(.+)", text)):
            name, share, path = match.groups()
        lane = name or Path(path).name.split(".")[0]
        found.append(Input(Path(path), lane, None if share is None else float(share)))
    if len(found) == 1 and found[0].share is None:
        return [found[0]._replace(lane=None)]
    twice = [lane for lane, times in Counter(one.lane for one in found).items() if times > 1]
    if twice:
        raise UserError(f"data.chat_input names two files {twice[0]}; call one of them NAME=SHARE:FILE")
    return found


@dataclass(frozen=True)
class RowFiles:
    """Files of chat rows, how these are read, a file of eval rows if there is one, and a folder for what is made."""

    chat: list[Input]
    evaluation: Path | None
    reading: Reading
    cache: Path

    @property
    def paths(self) -> list[Path]:
        """All files."""
        return [*(one.path for one in self.chat), *([self.evaluation] if self.evaluation else [])]

    @cached_property
    def eval_rows(self) -> list[tuple[int, Row]]:
        """The eval rows with their lines, read once for all who ask."""
        if self.evaluation is None:
            raise UserError("there are no eval rows; give data.eval_input")
        return list(iter_rows(self.evaluation, "eval"))

    @property
    def trained_on(self) -> list[dict[str, Any]]:
        """The chat files, for the provenance of a model."""
        reading, found = asdict(self.reading), zip(self.chat, self._hashes, strict=False)
        return [{"path": str(one.path), "sha256": sha256, "reading": reading} for one, sha256 in found]

    def stores(
        self, tokenizer: ChatTokenizer, *, verify: bool, overlap: Overlap | None = None
    ) -> dict[Kind, TokenStore]:
        """The tokens, made where they are missing; the chat rows that are read for that meet `overlap`."""
        read = partial(self._read, overlap=overlap)
        tokens = partial(tokens_of_rows, tokenizer=tokenizer, cache=self.cache, verify=verify, read=read)
        stores: dict[Kind, TokenStore] = {"chat": tokens(self.chat, "chat", reading=self.reading)}
        if self.evaluation:
            stores["eval"] = tokens([Input(self.evaluation)], "eval")
        return stores

    def prepare(self, tokenizer: ChatTokenizer) -> None:
        """Make the tokens, and compare the files where that was not done yet."""
        overlap = None
        if self.evaluation and not (self._result.exists() or in_one_pack(self.evaluation, self._hashes)):
            overlap = Overlap(self.evaluation, self.eval_rows)
        self.stores(tokenizer, verify=True, overlap=overlap)
        if overlap:
            for one in () if overlap.compared else self.chat:  # the tokens were there
                for _ in self._read(one.path, "chat", Tally(self.reading), overlap):
                    pass
            write_json(self._result, overlap.said())

    def overlap(self) -> str:
        """What `Overlap.said` says, "" where the files were not compared."""
        found = self.evaluation and self._result.exists()
        return str(parse_json(self._result.read_bytes())) if found else ""

    @cached_property
    def _hashes(self) -> list[str]:
        return list(map(sha256_file, self.paths))

    @property
    def _result(self) -> Path:
        key = sha256_text(" ".join([str(self.reading), *map(str, self.paths), *self._hashes]))
        return self.cache / f"overlap-{key[:20]}.json"

    def _read(self, path: Path, kind: Kind, tally: Tally, overlap: Overlap | None) -> Iterator[tuple[int, Row]]:
        for line, row in self.eval_rows if kind == "eval" else iter_rows(path, kind, tally):
            if overlap and kind == "chat":
                overlap.meet(f"{path}:{line}", row)
            yield line, row


def tokens_of_rows(
    inputs: Sequence[Input],
    kind: Kind,
    tokenizer: ChatTokenizer,
    cache: Path,
    *,
    verify: bool,
    reading: Reading = AS_IT_IS,
    read: Callable[[Path, Kind, Tally], Iterator[tuple[int, Row]]] = iter_rows,
) -> TokenStore:
    """The tokens of files of chat or eval rows, loss mask and tags included; from the store in `cache` if it is there.

    Eval rows are completed by their gold reply; those without one are left out and counted in the header's
    ``without_reference``. Rows that mark nothing to be learnt are left out, too; the header's ``said`` says so, and
    what else there is to say of the files.

    Args:
        inputs: the files. Rows of a lane's file are of that component, and of that category if they name none.
        reading: how the files are read.
        read: gives the rows of a file with their lines, where the store is not there yet.
    """
    lanes = [one.lane for one in inputs if one.lane]
    key = store_key([one.path for one in inputs], tokenizer, " ".join([kind, str(reading), *lanes]))
    header: dict[str, Any] = {"files": [], "without_reference": 0, "said": []}

    def chunks() -> Iterator[Chunk]:
        for one in inputs:
            tally = Tally(reading)
            yield from _row_chunks(one, read(one.path, kind, tally), tokenizer, header, tally)

    folder = cache / f"{inputs[0].path.stem}-{key}"
    store = find_store(folder, verify=verify) or build_store(folder, chunks(), tokenizer.vocab_size, header)
    counts = [rows for _, rows in store.header["files"]]
    store.header["files"] = [(str(one.path), rows) for one, rows in zip(inputs, counts, strict=True)]  # as they lie now
    return store


def tokens_of_corpus(path: Path, tokenizer: ChatTokenizer, cache: Path, *, verify: bool) -> TokenStore:
    """The tokens of a corpus, a file or a folder of files, all of them supervised."""
    folder = cache / f"{path.stem}-{store_key(corpus_files(path), tokenizer, 'corpus')}"
    chunks = _document_chunks(path, tokenizer)
    return find_store(folder, verify=verify) or build_store(folder, chunks, tokenizer.vocab_size, {"source": str(path)})


def _row_chunks(
    source: Input, rows: Iterator[tuple[int, Row]], tokenizer: ChatTokenizer, header: dict[str, Any], tally: Tally
) -> Iterator[Chunk]:
    stored = 0
    component, category = {"mixture_component": source.lane}, {"category": source.lane}
    with tqdm(desc=f"tokens of {source.path.name}", unit=" rows", disable=None) as bar:
        for part in in_parts(rows, lambda one: sum(len(message["content"]) for message in one[1]["messages"])):
            said = [(line, row, turns) for line, row in part if (turns := conversation(row))]
            complete = [one for one in said if learns(one[2])]
            header["without_reference"] += len(part) - len(said)
            stored += len(complete)
            waiting = iter(complete)
            try:
                rendered = tokenizer.render_batch(turns for _, _, turns in waiting)
            except UserError as error:  # of the row that was taken last
                line = complete[-1 - len([*waiting])][0]
                raise UserError(f"{source.path}:{line}: {error}") from None
            yield Chunk(
                **_flat([one.ids for one in rendered]),
                learnt=np.fromiter(chain.from_iterable(one.supervised for one in rendered), np.uint8),
                lines=np.array([line for line, _, _ in complete]),
                hashes=np.array([split_hash(_problem(row), "validation") for _, row, _ in complete]),
                sizes=np.array([sum(len(turn["content"].encode()) for turn in turns) for _, _, turns in complete]),
                tags={
                    field: [
                        component.get(field) or row.get(field) or category.get(field) or "untagged"
                        for _, row, _ in complete
                    ]
                    for field in LANE_FIELDS
                },
            )
            bar.update(len(part))
    header["files"].append([str(source.path), stored])
    header["said"] += tally.said()
    if not stored and not header["without_reference"]:
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


def _flat(ids: Sequence[Sequence[int]]) -> dict[str, Any]:
    return {
        "tokens": np.fromiter(chain.from_iterable(ids), np.uint32),
        "lengths": np.array([len(one) for one in ids], dtype=np.int64),
    }


def _problem(row: Row) -> str:
    """What a row asks: its key, or else everything before the last reply. Rows that ask the same stay on one side."""
    asked = row["messages"][:-1] if row["messages"][-1]["role"] == "assistant" else row["messages"]
    return row.get("key") or json.dumps(asked, ensure_ascii=False)
