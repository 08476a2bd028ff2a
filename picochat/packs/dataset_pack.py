"""dataset_pack.json, the file that names a data set. In: its path. Out: ``DatasetPack``. Next: mixture, datamodules.

    {"name": "stories", "description": "…", "corpus": "corpus.jsonl",
     "chat": "chat_task_mixture_capability.jsonl", "eval": "eval_task_mixture_capability.jsonl"}

``corpus`` is a path or an object with exactly one of ``input`` (a path) and ``recipe``; ``chat_input`` and
``eval_input`` are read as ``chat`` and ``eval``. Relative paths count from the file's own folder, may lead out of it
(they are only ever read) and need not exist yet; keys that picochat does not know survive. To *promote* is to point
``chat`` and ``eval`` at newly made files.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from picochat.errors import UserError
from picochat.strict_json import read_json_object

FILE_NAME = "dataset_pack.json"
_LONGEST_NAME = 255  # bytes of a file's name on every usual file system; longer ones make the system's calls fail
_ALIASES = {"chat": ("chat", "chat_input"), "eval": ("eval", "eval_input")}


@dataclass(frozen=True)
class DatasetPack:
    """A validated dataset_pack.json: where it lies, and what it says; a path that it does not name is None."""

    path: Path
    data: dict[str, Any]

    @property
    def corpus_path(self) -> Path | None:
        """The corpus file or folder; None also where there is only a recipe for one."""
        corpus = self.data.get("corpus")
        return self._resolve(corpus.get("input") if isinstance(corpus, dict) else corpus)

    @property
    def chat_path(self) -> Path | None:
        """The chat rows."""
        return self._resolve(self.data.get(self.key("chat")))

    @property
    def eval_path(self) -> Path | None:
        """The eval rows."""
        return self._resolve(self.data.get(self.key("eval")))

    def key(self, name: str) -> str:
        """``name``, or the alias that the file has in its place."""
        return next((key for key in _ALIASES[name] if key in self.data), name)

    def _resolve(self, value: str | None) -> Path | None:
        return None if value is None else self.path.parent / value  # an absolute value stands by itself


def load_dataset_pack(path: str | Path) -> DatasetPack:
    """Read and check a dataset_pack.json, or the one inside the folder ``path``; UserError names what is wrong."""
    file = Path(path)
    file = file / FILE_NAME if file.is_dir() else file
    if not file.exists():
        command = f"picochat data import --source stories --out-dir {file.parent}"
        raise UserError(f"{file}: no such file; `{command}` makes one")
    try:
        data = read_json_object(file)
    except UserError as error:
        raise UserError(f"{error}; a dataset_pack.json is expected, which `picochat data import` makes") from error
    if fault := _fault(data):
        raise UserError(f"{file}: {fault}")
    return DatasetPack(file, data)


def dataset_pack_text(**data: Any) -> str:
    """The JSON text of a pack: its name, description, corpus and whatever else there is to say."""
    return json.dumps(data, indent=2, ensure_ascii=False) + "\n"


def promoted_text(pack: DatasetPack, chat: Path, eval: Path) -> str:  # noqa: A002 - the key's own name
    """The pack's JSON text with ``chat`` and ``eval`` (or the alias it uses) replaced, and nothing else."""
    new = {pack.key("chat"): chat, pack.key("eval"): eval}
    return dataset_pack_text(**pack.data | {key: seen_from(file, pack.path.parent) for key, file in new.items()})


def seen_from(file: Path, folder: Path) -> str:
    """``file`` as seen from ``folder``, links followed first: a `..` after one leads up from where it points."""
    return os.path.relpath(Path(os.path.realpath(file.parent)) / file.name, os.path.realpath(folder))


def _fault(data: dict[str, Any]) -> str | None:
    """What is wrong with the keys that picochat knows."""
    for name, alias in _ALIASES.values():
        if name in data and alias in data:
            return f"has both '{name}' and '{alias}'; keep one of them"
    paths = {key: data.get(key) for key in ("corpus", *(key for names in _ALIASES.values() for key in names))}
    if isinstance(corpus := data.get("corpus"), dict):
        if (corpus.get("input") is None) == (corpus.get("recipe") is None):
            return "'corpus' needs exactly one of 'input' and 'recipe'"
        paths |= {"corpus": None, "corpus.input": corpus.get("input")}
    for key, value in paths.items():
        if value is not None and (not isinstance(value, str) or not value.strip()):
            otherwise = " or an object with one of 'input' and 'recipe'" if key == "corpus" else ""
            return f"'{key}' must be a path{otherwise}, not {json.dumps(value)[:60]}"
        if value and any(len(part.encode()) > _LONGEST_NAME for part in Path(value).parts):
            return f"'{key}' must be a path; a name in it has more than {_LONGEST_NAME} bytes"
    return None
