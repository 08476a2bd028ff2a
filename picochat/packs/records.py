"""A file's records, whatever the file is. In: a path. Out: (line, record), one by one. Next: formats, documents.

    rows.jsonl      one JSON value a line                      rows.csv, .tsv an object a row, named by the header
    rows.json       a list, or values one after another        rows.parquet   an object a row
    rows.jsonl.gz   any of them but parquet, packed; also .zst

Only the record in hand is in memory (of parquet a batch). One larger than `LARGEST` is never parsed: it is yielded as a
fault, a ValueError in words that continue "FILE:LINE: ", and so is a line that is no JSON. A `BrokenError` is the last.
"""

import codecs
import csv
import gzip
import io
import json
import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from picochat.errors import UserError
from picochat.strict_json import JSONFaultError, decode_utf8, not_utf8, parse_json, parse_json_at

T = TypeVar("T")
Numbered = Iterator[tuple[int, Any]]
NaN = Callable[[], None] | None

LARGEST = 1 << 20  # bytes of a row: a megabyte has a quarter of a million tokens
_CHUNK = 1 << 18  # bytes of a list that are looked at together
_SPACE = re.compile(r"[ \t\r\n]*,?[ \t\r\n]*")  # and the comma between two items of a list


class BrokenError(JSONFaultError):
    """A fault after which nobody knows where the next record begins."""


def file_kind(path: str | Path) -> str:
    """The suffix that says how a file is read: ".jsonl" of rows.jsonl.gz."""
    place = Path(path)
    return (place.with_suffix("") if place.suffix.lower() in (".gz", ".zst") else place).suffix.lower()


def refuse_other_kind(path: str | Path) -> None:
    """UserError if what is written there as JSON lines would be read as something else."""
    if file_kind(path) in (".csv", ".tsv", ".parquet") or file_kind(path) != Path(path).suffix.lower():
        raise UserError(f"{path}: rows are written as plain JSON lines; let the name end with .jsonl")


def iter_records(path: str | Path, nan: NaN = None, largest: int = LARGEST) -> Numbered:
    """Yield (line from 1, value, or the ValueError that says why there is none); UserError: the file cannot be read.

    Args:
        path: a file of another kind than above is read as .jsonl.
        nan: called where NaN is read as null (so does pandas write it), at least once a record; None refuses NaN, and
            takes rows of parquet as they are, with times and decimal numbers that JSON has to write as text.
        largest: bytes that a record may have.
    """
    if file_kind(path) == ".parquet":
        yield from _parquet_rows(path, nan, largest)
        return
    with _open(path) as file:
        first = file.peek(64).removeprefix(codecs.BOM_UTF8).lstrip()
        values = first.startswith(b"[") or first.partition(b"\n")[0].strip() == b"{"
        try:
            if file_kind(path) in (".csv", ".tsv"):
                yield from _csv_rows(file, "\t" if file_kind(path) == ".tsv" else ",;\t", largest)
            elif values:
                yield from _json_values(file, nan, largest)
            else:
                yield from _lines(file, partial(parse_json, nan=nan), largest)
        except JSONFaultError as error:
            yield error.line, BrokenError(str(error), error.line)


def parse_lines(path: str | Path, parse: Callable[[bytes], T], blank: bool = False) -> Iterator[tuple[int, T]]:
    """Yield (line from 1, what `parse` makes of it; its ValueError becomes a UserError). `blank`: also empty lines."""
    with _open(path) as file:
        for number, value in _lines(file, parse, LARGEST, blank):
            if isinstance(value, ValueError):
                raise UserError(f"{path}:{number}: {value}") from value
            yield number, value


def _parquet_rows(path: str | Path, nan: NaN, largest: int) -> Numbered:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise UserError(f"{path}: reading it needs pyarrow: pip install 'picochat[parquet]'") from error
    try:
        with pyarrow.parquet.ParquetFile(path) as table:
            number = 0
            for batch in table.iter_batches(batch_size=64):  # few: each row may be a megabyte
                whole = batch.nbytes <= largest
                for part in [batch] if whole else [batch.slice(place, 1) for place in range(len(batch))]:
                    large = None if part.nbytes <= largest else _too_large(part.nbytes, largest)
                    for row in [large] if large else part.to_pylist():
                        number += 1
                        yield number, large or (_as_json(row, nan) if nan else row)
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as parquet: {error}") from error


def _as_json(row: Any, nan: NaN) -> Any:
    """A row of a table as JSON would hold it, or the fault."""
    try:
        return parse_json(json.dumps(row, ensure_ascii=False, default=str), nan=nan)
    except JSONFaultError as error:
        return error


class _Zstd(io.RawIOBase):
    """What .zst frames hold, one after another; EOFError where the last is cut short, which zstandard's reader passes
    over in silence."""

    def __init__(self, file: io.BufferedReader, frame: Callable[[], Any]) -> None:
        self._file, self._new_frame = file, frame
        self._frame: Any = None
        self._packed, self._plain = b"", memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._plain and (packed := self._packed or self._file.read(1024)):  # 1 KB holds 32 MB at most
            self._frame = self._frame or self._new_frame()
            self._plain, self._packed = memoryview(self._frame.decompress(packed)), self._frame.unused_data
            self._frame = None if self._frame.eof else self._frame
        if self._frame and not self._plain:
            raise EOFError("its end is missing")
        count = min(len(buffer), len(self._plain))
        buffer[:count], self._plain = self._plain[:count], self._plain[count:]
        return count


@contextmanager
def _open(path: str | Path) -> Iterator[io.BufferedReader]:
    """The bytes of a file, unpacked; whatever keeps them from being read becomes a UserError."""
    damaged: tuple[type[Exception], ...] = (EOFError, zlib.error)
    if Path(path).is_char_device():
        raise UserError(f"{path}: is a device; name a file")  # it might never end
    with ExitStack() as stack:
        try:
            file: Any = stack.enter_context(Path(path).open("rb"))
            if Path(path).suffix.lower() == ".gz":
                file = io.BufferedReader(stack.enter_context(gzip.GzipFile(fileobj=file)))
            elif Path(path).suffix.lower() == ".zst":
                import zstandard

                damaged = (EOFError, zstandard.ZstdError)
                file = io.BufferedReader(_Zstd(file, zstandard.ZstdDecompressor().decompressobj))
            yield file
        except ImportError as error:
            raise UserError(f"{path}: reading it needs zstandard: pip install 'picochat[zstd]'") from error
        except OSError as error:
            raise UserError(f"cannot read {path}: {error.strerror or error}") from error
        except damaged as error:
            raise UserError(f"cannot read {path}: it is damaged or cut short ({error})") from error


def _lines(
    file: io.BufferedReader, parse: Callable[[bytes], T], largest: int, blank: bool = False
) -> Iterator[tuple[int, T | ValueError]]:
    """The parsed lines; a fault in place of one that is too large or cannot be parsed."""
    raw, number = file.readline(largest + 1).removeprefix(codecs.BOM_UTF8), 0
    while raw:
        size, number = len(raw), number + 1
        try:
            if size > largest:
                while not raw.endswith(b"\n") and (raw := file.readline(_CHUNK)):
                    size += len(raw)
                raise _too_large(size, largest)
            if blank or raw.strip():
                yield number, parse(raw)
        except ValueError as error:
            yield number, error
        raw = file.readline(largest + 1)


def _too_large(size: int, largest: int) -> JSONFaultError:
    return JSONFaultError(f"holds {size:,} bytes; {largest:,} are allowed")


def _csv_rows(file: io.BufferedReader, delimiters: str, largest: int) -> Numbered:
    def texts() -> Iterator[str]:
        for _, line in _lines(file, decode_utf8, largest, blank=True):
            if isinstance(line, ValueError):
                raise line
            yield line

    csv.field_size_limit(largest)  # a quotation mark that is never closed ends here
    header = file.peek(_CHUNK).partition(b"\n")[0]
    between = max(delimiters, key=lambda sign: header.count(sign.encode()))
    rows, last = csv.DictReader(texts(), strict=True, delimiter=between), 1
    try:
        columns = Counter(filter(None, rows.fieldnames or ()))
        twice = [name for name, times in columns.items() if times > 1]
        for row in () if twice else rows:
            yield last + 1, ValueError("has more fields than the header") if None in row else row
            last = rows.line_num
    except (csv.Error, JSONFaultError) as error:
        raise JSONFaultError(f"is not CSV: {error}", rows.line_num + 1) from None
    if twice:
        raise JSONFaultError(f"has the column {twice[0][:60]!r} twice; rename one of them")


def _json_values(file: io.BufferedReader, nan: NaN, largest: int) -> Numbered:
    """The items of a list, or values one after another, over however many lines."""
    decoder = codecs.getincrementaldecoder("utf-8-sig")()
    text, at, line, done = "", 0, 1, False
    listed: bool | None = None  # not known before the first sign
    while True:
        start, at = at, _SPACE.match(text, at).end()  # type: ignore[union-attr] # it matches anything
        line += text.count("\n", start, at)
        sign = text[at : at + 1]
        if (sign and listed is None) or (sign == "]" and listed):
            listed = None if listed else sign == "["
            at += listed is not False
            continue
        if done and not sign and not listed:
            return
        try:
            value, end = parse_json_at(text, at, nan)
            fault = "" if end < len(text) or done else "no end"  # 12 might go on as 123
        except json.JSONDecodeError as error:
            fault = error.msg
        except JSONFaultError as error:
            raise JSONFaultError(str(error), line) from None
        if not fault:
            yield line, value
            line, at = line + text.count("\n", at, end), end
        elif done or len(text) - at > largest:
            raise JSONFaultError(f"is not JSON, or holds more than {largest:,} bytes: {fault}", line)
        else:
            raw = file.read(_CHUNK)
            done = not raw
            try:
                text, at = text[at:] + decoder.decode(raw, done), 0
            except UnicodeDecodeError as error:
                raise JSONFaultError(str(not_utf8(error)), line + not_utf8(error).line - 1) from None
