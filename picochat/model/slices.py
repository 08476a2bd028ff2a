"""A sharded model's last.ckpt, read by one process. In: the folder that picochat.model.sharding writes. Out: whole
weights, and what the run kept beside them. Next: export.

    last.ckpt/    .metadata    a pickle by which torch finds the slices; read only if it names no more than its tables
                  *.distcp     slices of the tensors
                  meta.pt      plain values
"""

import pickle
import warnings
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from picochat.errors import UserError

INDEX = ".metadata"
_STATE = "meta.pt"


def settled(folder: Path) -> Path:
    """The checkpoint's folder; the older one, where a kill came between the two renamings of a new one."""
    older = folder.with_name(f".{folder.name}.old")
    return older if not folder.exists() and older.is_dir() else folder


def read_sharded(folder: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """(whole weights by name, what Lightning keeps beside them) of a folder of slices, in one process.

    Raises:
        UserError: no such folder, a damaged one, or one that holds more than tensors and plain values.
    """
    from torch.distributed.checkpoint.filesystem import FileSystemReader
    from torch.distributed.checkpoint.state_dict_loader import load

    folder = settled(folder)
    check_index(folder)
    try:
        reader = FileSystemReader(folder)
        entries: dict[str, Any] = reader.read_metadata().state_dict_metadata
        names = [name for name in entries if name.startswith("state_dict.")]
        state = {name: torch.empty(entries[name].size, dtype=entries[name].properties.dtype) for name in names}
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="torch.distributed is disabled", category=UserWarning)  # as meant
            load(state, storage_reader=reader, no_dist=True)
        kept: dict[str, Any] = torch.load(folder / _STATE, weights_only=True)
    except (OSError, RuntimeError, ValueError, KeyError, AttributeError, pickle.UnpicklingError) as error:
        raise UserError(f"{folder} is damaged: {error}; take an earlier checkpoint") from error
    return {name.removeprefix("state_dict."): tensor for name, tensor in state.items()}, kept


def check_index(folder: Path) -> None:
    """Make sure that a folder's index, which torch unpickles, names nothing but torch's own tables.

    Raises:
        UserError: no index, or one that would run code.
    """
    file = folder / INDEX
    if not file.is_file():
        raise UserError(f"{folder} is no checkpoint of a sharded model: it has no {INDEX}; name a RUN/last.ckpt")
    try:
        with file.open("rb") as opened:
            _Tables(opened).load()
    except Exception as error:  # arbitrary bytes make the unpickler fail in arbitrary ways
        raise UserError(
            f"{file} is damaged, or holds more than tables of tensors; name a last.ckpt that picochat wrote"
        ) from error


class _Tables(pickle.Unpickler):
    """Knows the classes of torch's index of slices, and no others."""

    def find_class(self, module: str, name: str) -> Any:
        """The class, if it is a table."""
        plain = (module, name) in {
            ("torch", "Size"),
            ("torch", "device"),
            ("torch.serialization", "_get_layout"),
            ("collections", "OrderedDict"),
            ("pathlib", "PosixPath"),
            ("pathlib", "WindowsPath"),
        }
        tables = ("torch.distributed.checkpoint.metadata", "torch.distributed.checkpoint.filesystem")
        dtype = module == "torch" and isinstance(getattr(torch, name, None), torch.dtype)
        if not (plain or dtype or (module in tables and isinstance(getattr(import_module(module), name, None), type))):
            raise pickle.UnpicklingError(f"{module}.{name}")
        return super().find_class(module, name)
