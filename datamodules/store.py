"""Tokens on disk, made once. In: chunks of tokenised rows. Out: a folder of flat arrays that ranks and loader workers
map into memory. Next: batches.

    rows              header.json      what the arrays are, their sha256, what they were made from
    BOS a b END       tokens.bin       BOS a b END BOS c END      uint16; uint32 from 65,537 ids on
    BOS c END         learnt.bin         0 0 1   1   0 1   1      uint8, the loss mask; absent where it is 1 everywhere
                      offsets.bin      0 4 7                      int64, row i is tokens[offsets[i]:offsets[i + 1]]
                      supervised.bin   2 2                        int32, targets in the loss mask
                      lines.bin        1 2                        int64, where the row stood, from 1
                      hashes.bin       …                          uint32, of what must not be on both sides
                      sizes.bin        …                          int64, UTF-8 bytes of the row's text
                      tags.bin         0 1                        int16, [rows, fields] into header["tags"]

The folder's name ends with a hash of the rows' file, the tokenizer, its template and the format: where one of them
changes, another folder is made. Damage is found by size and sha256, and the folder made again.
"""

from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from picochat.errors import UserError
from picochat.files import atomic_folder, locked_folder, sha256_file, sha256_text, write_json
from picochat.model.tokenizer import ChatTokenizer
from picochat.packs.records import file_kind
from picochat.strict_json import parse_json

FORMAT = 5  # raise it whenever the arrays or the way they are made change

IntArray = npt.NDArray[np.integer]

# What each array may be made of. A header that says "O" would have numpy take the file's bytes for addresses.
_DTYPES = {"tokens": ("<u2", "<u4"), "learnt": ("u1",), "supervised": ("<i4",), "lines": ("<i8",), "hashes": ("<u4",),
           "sizes": ("<i8",), "tags": ("<i2",), "offsets": ("<i8",)}  # fmt: skip


class Chunk(NamedTuple):
    """Some tokenised rows, as arrays of the module's drawing."""

    tokens: IntArray  # [tokens] of all rows, one after the other
    lengths: IntArray  # [rows] how many tokens each has
    learnt: IntArray | None  # [tokens] the loss mask; None where it is 1 everywhere, and then in every chunk
    lines: IntArray
    hashes: IntArray
    sizes: IntArray
    tags: dict[str, list[str]]  # {field: value of each row}


class TokenStore:
    """A finished folder, opened: its header, and an attribute for each array of the drawing (`learnt` is None where
    everything is supervised). Pickles as its path, so that workers map the same pages."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.header: dict[str, Any] = parse_json((folder / "header.json").read_bytes())
        self.tokens = self._array("tokens")
        self.learnt = self._array("learnt") if "learnt" in self.header["arrays"] else None
        self.offsets = self._array("offsets")
        self.supervised = self._array("supervised")
        self.lines = self._array("lines")
        self.hashes = self._array("hashes")
        self.sizes = self._array("sizes")
        self._tags = self._array("tags").reshape(len(self), len(self.header["tags"]))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def fingerprint(self) -> str:
        """sha256 of tokens and loss mask."""
        arrays = self.header["arrays"]
        return sha256_text("\n".join(arrays[n]["sha256"] for n in ("tokens", "learnt", "offsets") if n in arrays))

    def __reduce__(self) -> tuple[Any, ...]:
        return TokenStore, (self.folder,)

    def place(self, row: int) -> str:
        """Where a row stood, FILE:LINE."""
        files, rows = zip(*self.header["files"], strict=True)
        return f"{files[np.searchsorted(np.cumsum(rows), row, side='right')]}:{self.lines[row]}"

    def tag(self, field: str) -> tuple[list[str], IntArray]:
        """(values, index of its value for each row [rows]) of a tag."""
        if not len(self):  # nothing was tagged
            return [], np.zeros(0, dtype=np.int16)
        return self.header["tags"][field], self._tags[:, list(self.header["tags"]).index(field)]

    def _array(self, name: str) -> npt.NDArray[Any]:
        entry = self.header["arrays"][name]
        if entry["dtype"] not in _DTYPES[name]:
            raise ValueError(f"{name} is made of {entry['dtype']}")
        if not entry["bytes"]:  # an empty file cannot be mapped
            return np.zeros(0, dtype=entry["dtype"])
        return np.memmap(self.folder / f"{name}.bin", dtype=entry["dtype"], mode="r")


def store_key(files: Iterable[Path], tokenizer: ChatTokenizer, kind: str) -> str:
    """The name's hash. Files are read as their suffixes say, so they count, too. Of what the tokenizer's folder says
    beside the template, the tokens depend on the variables that the template reads, and on the ends of a document."""
    named = sorted(item for item in tokenizer.turns.named.items() if item[0] in tokenizer.chat_template)
    settings = tokenizer.fingerprint, tokenizer.chat_template, str(named), str(tokenizer.document(""))
    parts = [f"{FORMAT} {kind}", *settings]
    return sha256_text("\n".join([*parts, *(sha256_file(file) + file_kind(file) for file in files)]))[:20]


def find_store(folder: Path, *, verify: bool) -> TokenStore | None:
    """Open the store in `folder`; None if there is none or it is damaged: by the sizes of its arrays, with `verify` by
    their sha256 too (one process does it for all)."""
    try:
        store = TokenStore(folder)
        whole = store.header["format"] == FORMAT and all(
            (folder / f"{name}.bin").stat().st_size == entry["bytes"]
            and (not verify or sha256_file(folder / f"{name}.bin") == entry["sha256"])
            for name, entry in store.header["arrays"].items()
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return store if whole else None


def build_store(folder: Path, chunks: Iterable[Chunk], vocab_size: int, extra: dict[str, Any]) -> TokenStore:
    """Write the store of `chunks` (streamed, never held) under `folder`, which appears when it is whole.

    Processes and machines that want the same store at once wait for the first of them and take what it made. `extra`
    holds further entries of the header; it is read when the chunks are done.
    """
    with locked_folder(folder.parent, f".{folder.name}.lock", wait=True):
        if find_store(folder, verify=True) is None:
            with atomic_folder(folder) as building:
                header = _write_arrays(building, chunks, vocab_size)
                write_json(building / "header.json", {**header, **extra})
    return TokenStore(folder)


def _write_arrays(folder: Path, chunks: Iterable[Chunk], vocab_size: int) -> dict[str, Any]:
    """Append chunk after chunk to the arrays' files; return the header."""
    dtypes = {name: kinds[0 if vocab_size <= 1 << 16 else -1] for name, kinds in _DTYPES.items()}
    values: dict[str, dict[str, int]] = {}  # of each tag, in the order in which they came
    total = 0
    with ExitStack() as stack:
        files = {name: stack.enter_context((folder / f"{name}.bin").open("wb")) for name in dtypes}
        files["offsets"].write(np.zeros(1, "<i8").tobytes())
        for chunk in chunks:
            if len(chunk.lengths):
                for name, column in _columns(chunk, values, total).items():
                    files[name].write(column.astype(dtypes[name]).tobytes())
                total += len(chunk.tokens)
    if not (folder / "learnt.bin").stat().st_size:
        (folder / "learnt.bin").unlink()
    arrays: dict[str, dict[str, Any]] = {
        name: {"dtype": dtype, "bytes": path.stat().st_size, "sha256": sha256_file(path)}
        for name, dtype in dtypes.items()
        if (path := folder / f"{name}.bin").exists()
    }
    rows, tags = arrays["offsets"]["bytes"] // 8 - 1, {field: list(known) for field, known in values.items()}
    return {"format": FORMAT, "rows": rows, "tags": tags, "arrays": arrays}


def _columns(chunk: Chunk, values: dict[str, dict[str, int]], total: int) -> dict[str, npt.NDArray[Any]]:
    """The chunk's part of each array, after `total` tokens; `values` takes in the tags that are new."""
    ends = np.cumsum(chunk.lengths, dtype=np.int64)
    columns: dict[str, npt.NDArray[Any]] = {"offsets": total + ends}
    columns |= {name: getattr(chunk, name) for name in ("tokens", "lines", "hashes", "sizes")}
    columns["supervised"] = chunk.lengths - 1  # the first token is not a target
    if chunk.learnt is not None:
        firsts = ends - chunk.lengths
        columns["learnt"] = chunk.learnt
        columns["supervised"] = np.add.reduceat(chunk.learnt, firsts, dtype=np.int64) - chunk.learnt[firsts]
    indices = []
    for field, column in chunk.tags.items():
        seen = values.setdefault(field, {})
        indices.append([seen.setdefault(value, len(seen)) for value in column])
    if any(len(seen) > np.iinfo(np.int16).max for seen in values.values()):
        raise UserError("a tag of the rows has more than 32,767 different values; tags name lanes, not rows")
    columns["tags"] = np.array(indices).T
    return columns
