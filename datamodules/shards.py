"""A corpus of many files, imported and tokenised file by file, on as many processes and machines as there are. In:
files, a folder that all see. Out: the corpus, dataset pack and token store that one process would have made. Next:
corpus, which finds the store.

    shards/a.jsonl ──► hashes 0 ─┐                  ┌──► corpus/00000.jsonl ──► tokens 0 ─┐
    shards/b.jsonl ──► hashes 1 ─┼──► repeats 0 1 2 ┼──► corpus/00001.jsonl ──► tokens 1 ─┼──► tokens/corpus-KEY
    shards/c.jsonl ──► hashes 2 ─┘                  └──► corpus/00002.jsonl ──► tokens 2 ─┘
       step 1: by file       step 2: by range of hashes      step 3: by file       4: by file       5: one process

A text that came before is dropped, in whichever file it came; of two equal ones the first file's stays, and in it the
first. Steps run one behind the other, the parts of a step in any order and anywhere: an engine needs no more than

    for step in import_steps("shards", "runs/big"):
        with Pool() as pool:
            pool.map(step.work, range(step.parts))

examples/many_machines.py does so with datatrove, on one machine or under Slurm. What a part writes appears when it is
whole, so a part may run again. Nothing is packed here: the data plan packs while it trains, a block in some 20 ms.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from picochat import __version__
from picochat.datamodules.store import FORMAT, TokenStore, find_store, store_key
from picochat.datamodules.tokenise import tokens_of_corpus
from picochat.errors import UserError
from picochat.files import atomic_file, atomic_folder, refuse_existing, sha256_file, write_files, write_json
from picochat.model.tokenizer import ChatTokenizer
from picochat.packs.dataset_pack import FILE_NAME, dataset_pack_text
from picochat.packs.documents import corpus_files, iter_documents

_WORK = ".shards"
_PIECE = 2**24  # entries of an array that are copied at a time


class Step(NamedTuple):
    """Work in parts that need nothing of each other; picklable.

    Attributes:
        name: for folders of logs.
        work: does the part of this number.
        parts: how many there are.
    """

    name: str
    work: Callable[[int], None]
    parts: int


def import_steps(
    source: str | Path, out_dir: str | Path, *, text_field: str | None = None, force: bool = False
) -> list[Step]:
    """Steps that write ``out_dir/corpus/`` and the ``dataset_pack.json`` that names it.

    Args:
        source: a folder of .jsonl, .txt and .parquet files; a file is a part.
        text_field: the field or column that holds the text.
        force: replace an earlier corpus and pack in ``out_dir``.

    Raises:
        UserError: nothing to read, or an earlier corpus.
    """
    files, folder = corpus_files(source), Path(out_dir)
    refuse_existing([folder / FILE_NAME], force=force)
    return [
        Step("hashes", partial(_hash, files, folder, text_field), len(files)),
        Step("repeats", partial(_find_repeats, folder, len(files)), len(files)),
        Step("corpus", partial(_keep, files, folder, text_field), len(files)),
        Step("pack", partial(_write_pack, files, folder), 1),
    ]


def token_steps(corpus: str | Path, tokenizer: str | Path, work_dir: str | Path) -> list[Step]:
    """Steps that write the token store that `CorpusDataModule` looks for.

    Args:
        corpus: the folder of the corpus; a file is a part.
        tokenizer: tokenizer.json or model folder.
        work_dir: as the datamodule has it; by default the dataset pack's folder.
    """
    files, cache = corpus_files(corpus), Path(work_dir) / "tokens"
    return [
        Step("tokens", partial(_tokenise, files, Path(tokenizer), cache), len(files)),
        Step("join", partial(_join, Path(corpus), Path(tokenizer), cache), 1),
    ]


def _hash(files: Sequence[Path], out_dir: Path, text_field: str | None, part: int) -> None:
    """A file's documents as hashes [n, 2], sorted, and where each stood [n]."""
    texts = (document.text for document in iter_documents(files[part], text_field=text_field))
    digests = b"".join(hashlib.blake2b(text.encode(), digest_size=16).digest() for text in texts)
    hashes = np.frombuffer(digests, dtype=">u8").reshape(-1, 2).astype(np.uint64)
    order = np.lexsort((hashes[:, 1], hashes[:, 0]))
    with atomic_folder(out_dir / _WORK / f"hashes-{part:05d}") as folder:
        np.save(folder / "hashes.npy", hashes[order])
        np.save(folder / "order.npy", order)


def _find_repeats(out_dir: Path, parts: int, part: int) -> None:
    """The documents [n, 2] (file, place) whose hash lies in this part's range and came before."""
    found: list[npt.NDArray[np.uint64]] = []  # hash, file, place: [n, 4]
    for file in range(parts):
        folder = out_dir / _WORK / f"hashes-{file:05d}"
        hashes, order = (np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("hashes", "order"))
        bounds = [np.uint64(number * 2**64 // parts) for number in (part, part + 1) if number < parts]
        first, *after = np.searchsorted(hashes[:, 0], np.array(bounds, dtype=np.uint64)).tolist()
        span = slice(first, *(after or [len(hashes)]))
        places = np.asarray(order[span], dtype=np.uint64)
        found.append(np.column_stack([hashes[span], np.full(len(places), file, dtype=np.uint64), places]))
    rows = np.concatenate(found)
    rows = rows[np.lexsort(rows.T[::-1])]
    again = np.flatnonzero((rows[1:, :2] == rows[:-1, :2]).all(axis=1)) + 1
    with atomic_folder(out_dir / _WORK / f"repeats-{part:05d}") as folder:
        np.save(folder / "repeats.npy", rows[again, 2:].astype(np.int64))


def _keep(files: Sequence[Path], out_dir: Path, text_field: str | None, part: int) -> None:
    """Write a file's documents that did not come before."""
    work = out_dir / _WORK
    repeats = [np.load(work / f"repeats-{number:05d}" / "repeats.npy") for number in range(len(files))]
    dropped = {int(place) for found in repeats for place in found[found[:, 0] == part, 1]}
    counts = {"documents": 0, "characters": 0, "duplicates_dropped": len(dropped)}
    with atomic_file(work / "corpus" / f"{part:05d}.jsonl") as file:
        for place, document in enumerate(iter_documents(files[part], text_field=text_field)):
            if place not in dropped:
                file.write(json.dumps({"text": document.text, "source": document.source}, ensure_ascii=False) + "\n")
                counts["documents"] += 1
                counts["characters"] += len(document.text)
    source = {"source": files[part].as_posix(), "sha256": sha256_file(files[part])}
    write_json(work / f"counts-{part:05d}.json", {"counts": counts, "source": source})


def _write_pack(files: Sequence[Path], out_dir: Path, part: int) -> None:
    """Put the corpus in its place, name it, say what it was made of, clear the work away."""
    work = out_dir / _WORK
    found = [json.loads((work / f"counts-{number:05d}.json").read_text("utf-8")) for number in range(len(files))]
    counts = {name: sum(one["counts"][name] for one in found) for name in found[0]["counts"]}
    if not counts["documents"]:
        raise UserError("the source holds no text; nothing was imported")
    sources = [one["source"] for one in found]
    provenance = {"made_by": f"picochat {__version__} shards", **counts, "sources": sources}
    text = dataset_pack_text(
        name=out_dir.resolve().name,
        description=f"{counts['documents']} documents from {len(files)} files",
        corpus="corpus",
        extra={"provenance": provenance},
    )
    _replace(out_dir / "corpus", work, {f"{number:05d}.jsonl" for number in range(len(files))})
    write_files({out_dir / FILE_NAME: text})
    shutil.rmtree(work)


def _replace(corpus: Path, work: Path, files: Collection[str]) -> None:
    """Move the new corpus, whole and with these files alone, into the place of an older one; may be done again."""
    made, replaced = work / "corpus", work / "replaced"
    if not made.is_dir():
        return
    for path in made.iterdir():
        if path.name not in files:  # of an import of more files that never ended
            path.unlink()
    if corpus.exists():
        shutil.rmtree(replaced, ignore_errors=True)
        corpus.rename(replaced)
    made.rename(corpus)


def _tokenise(files: Sequence[Path], tokenizer: Path, cache: Path, part: int) -> None:
    """The tokens of one file, as of a corpus by itself."""
    if next(iter_documents(files[part]), None) is not None:  # every document of it may have come before
        tokens_of_corpus(files[part], ChatTokenizer.load(tokenizer), cache / _WORK, verify=True)


def _join(corpus: Path, tokenizer: Path, cache: Path, part: int) -> None:
    """The stores of all files, one behind the other, under the name of the whole."""
    loaded, files = ChatTokenizer.load(tokenizer), corpus_files(corpus)
    parts = []
    for file in files:
        if next(iter_documents(file), None) is None:
            continue
        store = find_store(cache / _WORK / f"{file.stem}-{store_key([file], loaded, 'corpus')}", verify=True)
        if store is None:
            raise UserError(f"the tokens of {file} are missing or damaged; run the step `tokens` again")
        parts.append(store)
    with atomic_folder(cache / f"{corpus.stem}-{store_key(files, loaded, 'corpus')}") as folder:
        write_json(folder / "header.json", {**_join_arrays(parts, folder), "source": str(corpus)})
    shutil.rmtree(cache / _WORK)


def _join_arrays(parts: Sequence[TokenStore], folder: Path) -> dict[str, Any]:
    """Write the arrays of a store; the header that belongs to them."""
    arrays: dict[str, dict[str, Any]] = {}
    for name, entry in parts[0].header["arrays"].items():
        path = folder / f"{name}.bin"
        with path.open("wb") as file:
            tokens = documents = 0  # before the part
            for store in parts:
                for piece in _pieces(store, name, tokens, documents):
                    file.write(piece.astype(entry["dtype"]).tobytes())
                tokens, documents = tokens + len(store.tokens), documents + len(store)
        arrays[name] = {"dtype": entry["dtype"], "bytes": path.stat().st_size, "sha256": sha256_file(path)}
    return {"format": FORMAT, "rows": sum(map(len, parts)), "tags": parts[0].header["tags"], "arrays": arrays}


def _pieces(store: TokenStore, name: str, tokens: int, documents: int) -> Iterator[npt.NDArray[Any]]:
    """An array as it stands behind so many tokens and documents; every document has the same tags."""
    dtype = store.header["arrays"][name]["dtype"]
    column: npt.NDArray[Any] = np.memmap(store.folder / f"{name}.bin", dtype=dtype, mode="r")
    if name == "offsets" and tokens:
        column = column[1:]  # 0 is the first part's
    shift = {"offsets": tokens, "lines": documents}.get(name, 0)
    for start in range(0, len(column), _PIECE):
        piece = column[start : start + _PIECE]
        yield piece + shift if shift else piece
