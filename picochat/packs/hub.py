"""Corpora of the Hugging Face hub, streamed. In: ``hub:OWNER/NAME``. Out: documents, shard by shard. Next: corpus.

    hub:karpathy/climbmix-400b-shuffle          its train split, file by file, nothing downloaded as a whole
    hub:OWNER/NAME:CONFIG                       one of its configurations
    hub:./FOLDER                                a local folder in the same layout

An import that was interrupted goes on from the last whole shard: each one is kept beside the corpus until it is done.

    D/.corpus.jsonl.shards-0/settings.json       what is read, at which revision
                            /00000-KEY.jsonl     {"text": …}, one document a line; other settings, or a local file that
                                                 has changed, have another key
"""

import json
import os
import shutil
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from picochat.errors import UserError
from picochat.files import atomic_file, sha256_text, write_json
from picochat.packs.documents import Document, clean_documents, iter_documents, text_column
from picochat.strict_json import read_json_object


class HubCorpus:
    """A data set that is ready to be streamed.

    Args:
        source: as it is written on the command line.
        keep: folder for whole shards, until `forget` is called.
        text_field: the column that holds the text; found by its name or type where it is not given.
        shards: read the first so many of its files only; None reads all.
        folder: of snapshots, read in place of the hub.

    Attributes:
        record: what was read, for the pack's provenance.

    Raises:
        UserError: `datasets` is missing, the data set cannot be loaded, or which column to read is unclear.
    """

    def __init__(
        self, source: str, keep: Path, text_field: str | None, shards: int | None, folder: str | Path | None
    ) -> None:
        name, _, config = source.removeprefix("hub:").partition(":")
        place = _local(name, folder)
        asked = {"source": source, "place": place, "text_field": text_field}
        kept = _settings(keep)
        goes_on = {key: kept.get(key) for key in asked} == asked  # with the revision that it began with
        revision, self._stream = _open(source, place, name, config, kept.get("revision") if goes_on else None)
        self.source, self._keep, self._found = source, keep, self._stream.num_shards
        if shards is not None and shards > self._found:
            raise UserError(f"{source}: has {self._found} shards, {shards} were asked for")
        self._shards = shards or self._found
        self._column = text_column(source, _text_columns(self._stream), text_field)
        self._settings, self._files = {**asked, "revision": revision}, _files(place)
        self.record = {"source": source, "revision": revision, "shards": shards}

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
                raise UserError(f"{self.source}: shard {number} cannot be read: {reason(error)}{kept}") from error
            where = f"{self.source}: shard {number}, row {place}"
            yield from clean_documents(row[self._column] or "", self.source, where)


def why_unreachable() -> str | None:
    """Why no data set can come from the hub, or None.

    Asked once: the client's own retries would take half a minute for each source on a machine without a network.
    """
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


def snapshot_folder(folder: Path, dataset: str) -> Path | None:
    """Where a folder of snapshots holds a data set: by its full name, its last part, or as the hub's cache does."""
    owner, _, name = dataset.partition("/")
    cached = (folder / f"datasets--{owner}--{name}" / "snapshots").glob("*")
    places = (folder / owner / name, folder / f"{owner}--{name}", folder / name, *cached)
    return next((place for place in places if place.is_dir()), None)


def _local(name: str, folder: str | Path | None) -> str | None:
    """The folder that is read in place of the hub, or None."""
    if folder is None:
        return name if Path(name).is_dir() or name.startswith((".", "/")) else None
    if not Path(folder).is_dir():
        raise UserError(f"--hub-dir {folder} is not a folder")
    found = snapshot_folder(Path(folder), name)
    if found is None:
        raise UserError(f"--hub-dir {folder} holds no folder {name}; a snapshot of hub:{name} is expected there")
    return str(found)


def _files(place: str | None) -> list[list[str | int]]:
    """Names, sizes and times of a local folder's files: when one of them is another, so may its shard be."""
    files = [(path, path.stat()) for path in sorted(Path(place).rglob("*")) if path.is_file()] if place else []
    return [[str(path), found.st_size, found.st_mtime_ns] for path, found in files]


def _open(source: str, place: str | None, name: str, config: str, revision: str | None) -> tuple[str | None, Any]:
    """The revision, None for a local folder, and the stream of the train split."""
    try:
        import datasets
        from huggingface_hub import HfApi, constants
    except ImportError as error:
        raise UserError(f"{source}: reading it needs datasets: pip install 'picochat[hub]'") from error
    if place is None and (why := why_unreachable()):
        raise UserError(f"{source}: {why}; --hub-dir reads a snapshot in its place")
    try:
        if place is None and revision is None and not constants.HF_HUB_OFFLINE:
            revision = HfApi().dataset_info(name).sha  # the commit that the data set is at
        pinned = {} if place else {"revision": revision}
        return revision, datasets.load_dataset(place or name, config or None, split="train", streaming=True, **pinned)
    except Exception as error:  # the library raises anything from network errors to those of a dozen file formats
        raise UserError(f"{source}: cannot be loaded: {reason(error)}") from error


def _text_columns(stream: Any) -> list[str]:
    columns: dict[str, Any] = stream.features or next(iter(stream.take(1)), {})
    return [name for name, kind in columns.items() if isinstance(kind, str) or "string" in getattr(kind, "dtype", "")]


def _settings(keep: Path) -> dict[str, Any]:
    try:
        return read_json_object(keep / "settings.json")
    except UserError:
        return {}


def reason(error: Exception) -> str:
    """The first line of what a client of the hub says."""
    return next((line for line in str(error).strip().splitlines() if line), type(error).__name__)
