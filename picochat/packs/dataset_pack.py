"""dataset_pack.json, the file that names a data set. In: its path. Out: ``DatasetPack``. Next: mixture, datamodules.

    {"name": "stories", "description": "…", "corpus": "corpus.jsonl",
     "chat": "chat_task_mixture_capability.jsonl", "eval": "eval_task_mixture_capability.jsonl"}

``corpus`` is a path or an object with exactly one of ``input`` (a path) and ``recipe``; ``chat_input`` and
``eval_input`` are read as ``chat`` and ``eval``. Relative paths count from the file's own folder and need not exist
yet; keys that picochat does not know survive. To *promote* is to point ``chat`` and ``eval`` at newly made files.

Paths may lead out of the folder (``../corpus.jsonl``, another disk), because everything that a pack names is only ever
read. What is written, and where, the command line alone decides.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from picochat.errors import UserError
from picochat.strict_json import json_kind, read_json_object

FILE_NAME = "dataset_pack.json"
_LONGEST_NAME = 255  # bytes of a file's name on every usual file system; longer ones make the system's calls fail
_ALIASES = {"chat": ("chat", "chat_input"), "eval": ("eval", "eval_input")}


@dataclass(frozen=True)
class DatasetPack:
    """A validated dataset_pack.json: where it lies and what it says, unknown keys included."""

    path: Path
    data: dict[str, Any]

    @property
    def name(self) -> str:
        """The name it gives itself, or else the name of its folder."""
        return str(self.data.get("name") or self.path.absolute().parent.name)

    @property
    def corpus_path(self) -> Path | None:
        """The corpus file or folder; None where the pack names none, or only a recipe for one."""
        corpus = self.data.get("corpus")
        return self._resolve(corpus.get("input") if isinstance(corpus, dict) else corpus)

    @property
    def chat_path(self) -> Path | None:
        """The chat rows, or None."""
        return self._resolve(self.data.get(_key_in_use(self.data, "chat")))

    @property
    def eval_path(self) -> Path | None:
        """The eval rows, or None."""
        return self._resolve(self.data.get(_key_in_use(self.data, "eval")))

    def _resolve(self, value: str | None) -> Path | None:
        return None if value is None else self.path.parent / value  # an absolute value stands by itself


def load_dataset_pack(path: str | Path) -> DatasetPack:
    """Read and check a dataset_pack.json, or the one inside the folder ``path``.

    Raises:
        UserError: no such file, not JSON, or a key with a value that cannot be meant.
    """
    file = Path(path)
    file = file / FILE_NAME if file.is_dir() else file
    if not file.exists():
        raise UserError(f"{file}: no such file; `picochat data import --out-dir {file.parent}` makes one")
    try:
        data = read_json_object(file)
    except UserError as error:
        raise UserError(f"{error}; a dataset_pack.json is expected, which `picochat data import` makes") from error
    if fault := _fault(data):
        raise UserError(f"{file}: {fault}")
    return DatasetPack(file, data)


def dataset_pack_text(*, name: str, description: str, corpus: str, **extra: Any) -> str:
    """The JSON text of a new pack; ``extra`` holds further keys (provenance)."""
    return _dump({"name": name, "description": description, "corpus": corpus, **extra})


def promoted_text(pack: DatasetPack, chat: Path, eval: Path) -> str:  # noqa: A002 - the key's own name
    """The pack's JSON text with ``chat`` and ``eval`` (or the alias it uses) replaced, and nothing else.

    A task pack writes it together with its own files, so that they appear at once.
    """
    new = {_key_in_use(pack.data, "chat"): chat, _key_in_use(pack.data, "eval"): eval}
    return _dump(pack.data | {key: seen_from(file, pack.path.parent) for key, file in new.items()})


def seen_from(file: Path, folder: Path) -> str:
    """``file`` as seen from ``folder``, with / on every system.

    Links are followed first: a `..` after a linked folder leads to the parent of the folder that the link points at.
    """
    target = Path(os.path.realpath(file.parent)) / file.name
    try:
        return Path(os.path.relpath(target, os.path.realpath(folder))).as_posix()
    except ValueError:  # another drive on Windows
        return target.as_posix()


def _key_in_use(data: dict[str, Any], key: str) -> str:
    return next((name for name in _ALIASES[key] if name in data), key)


def _dump(data: dict[str, Any]) -> str:
    return json.dumps(data, indent=2, ensure_ascii=False) + "\n"


def _fault(data: dict[str, Any]) -> str | None:
    """What is wrong with the keys that picochat knows."""
    for key in ("name", "description"):
        if data.get(key) is not None and not isinstance(data[key], str):
            return f"'{key}' must be a string, not {json_kind(data[key])}"
    for name, alias in _ALIASES.values():
        if name in data and alias in data:
            return f"has both '{name}' and '{alias}'; keep one of them"
        if fault := _path_fault(name, data.get(name)) or _path_fault(alias, data.get(alias)):
            return fault
    corpus = data.get("corpus")
    if not isinstance(corpus, dict):
        return _path_fault("corpus", corpus, " or an object with one of 'input' and 'recipe'")
    given = [key for key in ("input", "recipe") if corpus.get(key) is not None]
    if len(given) != 1:
        return f"'corpus' needs exactly one of 'input' and 'recipe'; it has {'both' if given else 'neither'}"
    return _path_fault("corpus.input", corpus.get("input"))


def _path_fault(key: str, value: Any, otherwise: str = "") -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not value.strip():
        return f"'{key}' must be a path{otherwise}, not {json.dumps(value)[:60]}"
    if any(len(part.encode()) > _LONGEST_NAME for part in Path(value).parts):
        return f"'{key}' must be a path; a name in it has more than {_LONGEST_NAME} bytes"
    return None
