"""A file's records, whatever the file is. In: a path. Out: (line, record), one by one. Next: formats, documents.

    rows.jsonl      one JSON value a line                      rows.csv, .tsv an object a row, named by the header
    rows.json       a list, or values one after another        rows.parquet   an object a row
    rows.jsonl.gz   any of them but parquet, packed; also .zst

Only the record in hand is in memory (of parquet a batch). One larger than `LARGEST` is never parsed: it is yielded as a
fault, a ValueError in words that continue "FILE:LINE: ", and so is a line that is not JSON; the caller says what
becomes of it. After a `BrokenError` nobody knows where the next record begins: it is the last.
"""

import codecs
import csv
import gzip
import io
import json
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

from picochat.errors import UserError
from picochat.strict_json import JSONFaultError, decode_utf8, not_utf8, parse_json, parse_json_at, refuse_unwritable

T = TypeVar("T")
Numbered = Iterator[tuple[int, Any]]
NaN = Callable[[], None] | None
"""Called for each NaN, which is read as null (so does pandas write it); None refuses NaN."""

LARGEST = 1 << 20
"""Bytes of a row. A conversation of a megabyte has a quarter of a million tokens, and reading it takes a second."""
_CHUNK = 1 << 18  # bytes of a list that are looked at together
_SPACE = re.compile(r"[ \t\r\n]*,?[ \t\r\n]*")  # and the comma between two items of a list


class BrokenError(JSONFaultError):
    """A fault that hides the rest of the file."""


def file_kind(path: str | Path) -> str:
    """The suffix that says how a file is read: ".jsonl" of rows.jsonl.gz."""
    place = Path(path)
    return (place.with_suffix("") if place.suffix.lower() in (".gz", ".zst") else place).suffix.lower()


def iter_records(path: str | Path, nan: NaN = None, largest: int = LARGEST) -> Numbered:
    """Yield (line from 1, value, or the ValueError that says why there is none).

    Args:
        path: a file of any kind above; one of another name is read as .jsonl.
        nan: see `NaN`.
        largest: bytes that a record may have.

    Raises:
        UserError: the file cannot be read.
    """
    if file_kind(path) == ".parquet":
        yield from parquet_rows(path, largest=largest)
        return
    with open_file(path) as file:
        first = file.peek(64).removeprefix(codecs.BOM_UTF8).lstrip()
        values = first.startswith(b"[") or first.partition(b"\n")[0].strip() == b"{"
        read = _csv_rows if file_kind(path) in (".csv", ".tsv") else _json_values if values else _json_lines
        try:
            yield from read(file, nan, largest)
        except JSONFaultError as error:
            yield error.line, BrokenError(str(error), error.line)


def parse_lines(path: str | Path, parse: Callable[[bytes], T], blank: bool = False) -> Iterator[tuple[int, T]]:
    """Yield (line number from 1, what `parse` makes of the line); its ValueError becomes a UserError with file and
    line. `blank`: also the empty lines."""
    with open_file(path) as file:
        for number, line in enumerate(_lines(file, LARGEST), start=1):
            try:
                if isinstance(line, JSONFaultError):
                    raise line
                if blank or line.strip():
                    yield number, parse(line)
            except ValueError as error:
                raise UserError(f"{path}:{number}: {error}") from error


def parquet_rows(
    path: str | Path, choose: Callable[[list[str]], Sequence[str]] | None = None, largest: int = LARGEST
) -> Numbered:
    """Yield (row from 1, row, or a fault where it is too large); of the columns that `choose` takes from the names of
    those that hold text, or all."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise UserError(f"{path}: reading it needs pyarrow: pip install 'picochat[parquet]'") from error
    try:
        with pyarrow.parquet.ParquetFile(path) as table:
            kinds = (pyarrow.types.is_string, pyarrow.types.is_large_string)
            texts = [column.name for is_text in kinds for column in table.schema_arrow if is_text(column.type)]
            columns = None if choose is None else list(choose(texts))
            batches = table.iter_batches(batch_size=64, columns=columns)  # few: each row may be a megabyte
            yield from enumerate(chain.from_iterable(_small_rows(batch, largest) for batch in batches), start=1)
    except (pyarrow.ArrowException, OSError) as error:
        raise UserError(f"{path}: cannot be read as parquet: {error}") from error


def _small_rows(batch: Any, largest: int) -> Iterator[Any]:
    """The rows of a batch of parquet; a fault in place of one that is too large."""
    if batch.nbytes <= largest:
        yield from batch.to_pylist()
        return
    for row in (batch.slice(place, 1) for place in range(len(batch))):
        yield row.to_pylist()[0] if row.nbytes <= largest else JSONFaultError(_too_large(row.nbytes, largest))


@contextmanager
def open_file(path: str | Path) -> Iterator[io.BufferedReader]:
    """The bytes of a file, unpacked; whatever keeps them from being read becomes a UserError."""
    damaged: tuple[type[Exception], ...] = (EOFError, zlib.error)
    with ExitStack() as stack:
        try:
            file: Any = stack.enter_context(Path(path).open("rb"))
            if Path(path).suffix.lower() == ".gz":
                file = io.BufferedReader(stack.enter_context(gzip.GzipFile(fileobj=file)))
            elif Path(path).suffix.lower() == ".zst":
                import zstandard

                damaged = (zstandard.ZstdError,)
                file = io.BufferedReader(zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True))
            yield file
        except ImportError as error:
            raise UserError(f"{path}: reading it needs zstandard: pip install 'picochat[zstd]'") from error
        except OSError as error:
            raise UserError(f"cannot read {path}: {error.strerror or error}") from error
        except damaged as error:
            raise UserError(f"cannot read {path}: it is damaged or cut short ({error})") from error


def _lines(file: io.BufferedReader, largest: int) -> Iterator[bytes | JSONFaultError]:
    """The lines; a fault in place of one that is too large."""
    raw = file.readline(largest + 1).removeprefix(codecs.BOM_UTF8)
    while raw:
        size = len(raw)
        if size <= largest:
            yield raw
        else:
            while not raw.endswith(b"\n") and (raw := file.readline(_CHUNK)):
                size += len(raw)
            yield JSONFaultError(_too_large(size, largest))
        raw = file.readline(largest + 1)


def _too_large(size: int, largest: int) -> str:
    return f"holds {size:,} bytes; {largest:,} are allowed"


def _json_lines(file: io.BufferedReader, nan: NaN, largest: int) -> Numbered:
    for number, line in enumerate(_lines(file, largest), start=1):
        try:
            if isinstance(line, JSONFaultError):
                raise line
            if line.strip():
                yield number, parse_json(line, nan=nan)
        except JSONFaultError as error:
            yield number, error


def _csv_rows(file: io.BufferedReader, nan: NaN, largest: int) -> Numbered:
    def texts() -> Iterator[str]:
        for line in _lines(file, largest):
            if isinstance(line, JSONFaultError):
                raise line
            yield decode_utf8(line)

    csv.field_size_limit(largest)  # a quotation mark that is never closed ends here
    header = file.peek(_CHUNK).partition(b"\n")[0]
    between = max(",;\t", key=lambda sign: header.count(sign.encode()))
    rows, last = csv.DictReader(texts(), strict=True, delimiter=between), 1
    try:
        for row in rows:
            yield last + 1, ValueError("has more fields than the header") if None in row else row
            last = rows.line_num
    except (csv.Error, JSONFaultError) as error:
        raise JSONFaultError(f"is not CSV: {error}", rows.line_num + 1) from None


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
            yield line, _writable(value) if "\\u" in text[at:end] else value
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


def _writable(value: Any) -> Any:
    try:
        refuse_unwritable(value)
    except JSONFaultError as error:
        return error
    return value
