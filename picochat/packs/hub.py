"""Data sets of the Hugging Face hub. In: hub:OWNER/NAME, or a folder of snapshots. Out: documents, records. Next:
corpus, sources, pools.

A corpus is streamed from its train split, file by file. An import that was interrupted goes on from the last whole
shard: each one is kept beside the corpus until it is done.

    D/.corpus.jsonl.shards-0/settings.json       what is read, at which revision
                            /00000-KEY.jsonl     {"text": …}, one document a line; other settings, or a local file that
                                                 has changed, have another key

A folder of snapshots holds one folder per data set, by its full name or the last part of it, in the layout in which
the hub stores it: ``cais/mmlu/all/test-00000-of-00001.parquet``, ``gsm8k/main/train-00000-of-00001.parquet``.
"""

import json
import os
import re
import shutil
import urllib.error
import urllib.request
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from picochat.errors import UserError
from picochat.files import atomic_file, sha256_text, write_json
from picochat.packs.documents import Document, clean_documents, iter_documents, text_column
from picochat.strict_json import read_json_object

_ABSENT = "the package datasets is not installed (pip install 'picochat[hub]')"
INSTEAD = "--hub-dir reads a snapshot in its place"


class HubCorpus:
    """A data set (hub:OWNER/NAME, hub:OWNER/NAME:CONFIG or hub:./FOLDER) that is ready to be streamed.

    `record` says what is read, for the pack's provenance. `keep` holds whole shards until `forget` is called, `folder`
    snapshots that are read in place of the hub.
    """

    def __init__(
        self, source: str, keep: Path, text_field: str | None, shards: int | None, folder: str | Path | None
    ) -> None:
        name, _, config = source.removeprefix("hub:").partition(":")
        place = _local(name, folder)
        asked = {"source": source, "place": place, "text_field": text_field}
        try:
            kept = read_json_object(keep / "settings.json")
        except UserError:
            kept = {}
        goes_on = {key: kept.get(key) for key in asked} == asked  # with the revision that it began with
        revision, self._stream = _open(source, place, name, config, kept.get("revision") if goes_on else None)
        self.source, self._keep, self._found = source, keep, self._stream.num_shards
        if shards is not None and shards > self._found:
            raise UserError(f"{source}: has {self._found} shards, {shards} were asked for")
        self._shards = shards or self._found
        columns: dict[str, Any] = self._stream.features or next(iter(self._stream.take(1)), {})
        texts = [key for key, one in columns.items() if isinstance(one, str) or "string" in getattr(one, "dtype", "")]
        self._column = text_column(source, texts, text_field)
        self._settings = {**asked, "revision": revision}
        self.record = {"source": source, "revision": revision, "shards": shards}
        # names, sizes and times of a local folder's files: when one of them is another, so may its shard be
        files = [(path, path.stat()) for path in sorted(Path(place).rglob("*")) if path.is_file()] if place else []
        self._files = [[str(path), found.st_size, found.st_mtime_ns] for path, found in files]

    def documents(self) -> Iterator[Document]:
        """Yield the documents; a shard that is kept is read from there."""
        for number in range(self._shards):
            of_shard = [self._files[number]] if len(self._files) == self._found else self._files
            key = sha256_text(json.dumps([self._settings, self._found, of_shard]))[:16]
            file = self._keep / f"{number:05d}-{key}.jsonl"
            if file.is_file():
                yield from (Document(document.text, self.source) for document in iter_documents(file))
                continue
            with atomic_file(file) as keeping:
                for document in self._shard(number):
                    keeping.write(json.dumps({"text": document.text}, ensure_ascii=False) + "\n")
                    yield document
            write_json(self._keep / "settings.json", self._settings)

    def forget(self) -> None:
        """Delete the shards that were kept."""
        shutil.rmtree(self._keep, ignore_errors=True)

    def _shard(self, number: int) -> Iterator[Document]:
        rows = enumerate(self._stream.shard(self._found, number), start=1)
        while True:
            try:
                place, row = next(rows)
            except StopIteration:
                return
            except Exception as error:  # anything from network errors to those of a dozen file formats
                kept = f"; the {number} shards before are kept, the same command goes on from there" if number else ""
                raise UserError(f"{self.source}: shard {number} cannot be read: {_reason(error)}{kept}") from error
            where = f"{self.source}: shard {number}, row {place}"
            yield from clean_documents(row[self._column] or "", self.source, where)


def read_records(
    folder: Path | None, dataset: str, config: str | None, split: str, most: int | None
) -> list[dict[str, Any]]:
    """The first records of a split, of a snapshot in `folder` or of the hub; UserError says why there are none."""
    files = _split_files(folder, dataset, config, split) if folder else []
    try:
        import datasets  # 2 s: only who asks for public data waits

        if files:
            kind = "parquet" if files[0].endswith(".parquet") else "json"
            stream = datasets.load_dataset(kind, data_files=files, split="train", streaming=True)
        else:
            stream = datasets.load_dataset(dataset, config, split=split, streaming=True)
        return list(islice(stream, most))
    except ImportError:
        raise UserError(_ABSENT) from None
    except Exception as error:  # whatever the client's many back ends raise
        raise UserError(f"{type(error).__name__}: {_reason(error)}") from error


def why_unreachable() -> str | None:
    """Why no data set can come from the hub, or None: the client's own retries would take half a minute for each."""
    if os.environ.get("HF_HUB_OFFLINE") or os.environ.get("HF_DATASETS_OFFLINE"):
        return None  # only what the client has in its cache; it says so itself, and at once
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    try:
        urllib.request.urlopen(urllib.request.Request(endpoint, method="HEAD"), timeout=5).close()
    except urllib.error.HTTPError:
        return None  # it answered
    except (OSError, ValueError) as error:
        return f"the hub cannot be reached ({getattr(error, 'reason', error)})"
    return None


def _snapshot(folder: Path, dataset: str) -> Path | None:
    """Where a folder of snapshots holds a data set: by its full name, its last part, or as the hub's cache does."""
    owner, _, name = dataset.partition("/")
    cached = (folder / f"datasets--{owner}--{name}" / "snapshots").glob("*")
    places = (folder / owner / name, folder / f"{owner}--{name}", folder / name, *cached)
    return next((place for place in places if place.is_dir()), None)


def _split_files(folder: Path, dataset: str, config: str | None, split: str) -> list[str]:
    """A snapshot's files of one split: their path names the configuration, their name begins with the split's."""
    root = _snapshot(folder, dataset)
    if root is None:
        raise UserError(f"{folder} holds no folder {dataset} or {dataset.rpartition('/')[2]}")
    files = [
        str(file)
        for file in sorted(root.rglob("*"))
        if file.suffix in (".parquet", ".jsonl", ".json") and file.is_file()
        if re.match(rf"{split}\b", file.name) and (config is None or config in file.relative_to(root).parts[:-1])
    ]
    if not files:
        wanted = f"{config}/{split}" if config else split
        raise UserError(f"{root} holds no file {wanted}*.parquet, .jsonl or .json")
    return files


def _local(name: str, folder: str | Path | None) -> str | None:
    """The folder that is read in place of the hub, or None."""
    if folder is None:
        return name if Path(name).is_dir() or name.startswith((".", "/")) else None
    if not Path(folder).is_dir():
        raise UserError(f"--hub-dir {folder} is not a folder")
    found = _snapshot(Path(folder), name)
    if found is None:
        raise UserError(f"--hub-dir {folder} holds no folder {name}; a snapshot of hub:{name} is expected there")
    return str(found)


def _open(source: str, place: str | None, name: str, config: str, revision: str | None) -> tuple[str | None, Any]:
    """The revision, None for a local folder, and the stream of the train split."""
    try:
        import datasets
        from huggingface_hub import HfApi, constants
    except ImportError as error:
        raise UserError(f"{source}: {_ABSENT}") from error
    if place is None and (why := why_unreachable()):
        raise UserError(f"{source}: {why}; {INSTEAD}")
    try:
        if place is None and revision is None and not constants.HF_HUB_OFFLINE:
            revision = HfApi().dataset_info(name).sha  # the commit that the data set is at
        pinned = {} if place else {"revision": revision}
        return revision, datasets.load_dataset(place or name, config or None, split="train", streaming=True, **pinned)
    except Exception as error:  # the library raises anything from network errors to those of a dozen file formats
        raise UserError(f"{source}: cannot be loaded: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    """The first line of what a client of the hub says."""
    return next((line for line in str(error).strip().splitlines() if line), type(error).__name__)
