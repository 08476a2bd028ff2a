"""Texts of several formats as one stream of documents. In: files. Out: ``Document``. Next: corpus.

    story.txt            "One day …\n\nThen …"                     one document; a long file becomes several
    notes.jsonl          {"text": "One day …"}                     one document a line
    part-0.parquet       a column of texts                         one document a row
    a folder             all such files in it, in order of their names

A .txt file longer than 8,000 characters becomes several documents, each of whole paragraphs; documents of the other
formats stay whole, whatever their length. No more than one of them (or one batch of parquet rows) is in memory.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from picochat.errors import UserError
from picochat.packs.rows import parse_lines
from picochat.strict_json import decode_utf8, json_kind, parse_json, text_fault

TEXT_DOCUMENT = 8_000
"""Characters after which a .txt file goes on in a new document at the next blank line."""
_SHOWN = 12  # fields named when the text is in none that was expected
_OTHER_FIELD = "`picochat data import --text-field NAME` reads another"
_TEXT_COLUMNS = ("text", "content", "story", "document", "article", "body")


@dataclass(frozen=True, slots=True)
class Document:
    """One document and where it came from (a file's path, a hub data set, "stories")."""

    text: str
    source: str


def iter_documents(path: str | Path, *, text_field: str | None = None) -> Iterator[Document]:
    """Yield the documents of a .jsonl, .txt or .parquet file, or of all such files in a folder by name.

    Args:
        path: the file or folder; hidden files and files of other kinds in a folder are passed over.
        text_field: which field or column holds the text; ``text`` where it is not given (in .parquet files also another
            usual name, or the only column of texts).

    Raises:
        UserError: nothing to read, or a bad line, named by file and line. Empty documents are skipped.
    """
    for file in corpus_files(path):
        yield from _READERS[file.suffix.lower()](file, text_field)


def corpus_files(path: str | Path) -> list[Path]:
    """The files that ``iter_documents`` reads for a path."""
    place = Path(path)
    if place.is_dir():
        inside = (file for file in place.rglob("*") if file.suffix.lower() in _READERS and file.is_file())
        files = sorted(file for file in inside if not any(part[0] == "." for part in file.relative_to(place).parts))
        if not files:
            raise UserError(f"{path}: the folder holds no .jsonl, .txt or .parquet file")
        return files
    if not place.exists():
        raise UserError(f"{path}: no such file or folder")
    if not place.is_file():
        raise UserError(f"{path}: is a device or a pipe; name a file or a folder")  # it might never end
    if place.suffix.lower() not in _READERS:
        raise UserError(f"{path}: is not a .jsonl, .txt or .parquet file; convert it to one of these, or rename it")
    return [place]


def _read_jsonl(file: Path, text_field: str | None) -> Iterator[Document]:
    field = text_field or "text"

    def text_of(line: bytes) -> str:
        row = parse_json(line)
        if not isinstance(row, dict):
            raise ValueError(f"holds {json_kind(row)}; an object with the field '{field}' is expected")
        if not isinstance(row.get(field), str):
            found = ", ".join(list(row)[:_SHOWN]) + (", …" if len(row) > _SHOWN else "")
            raise ValueError(f"has no text in '{field}'; {_OTHER_FIELD} ({found})")
        return str(row[field])

    for number, text in parse_lines(file, text_of):
        yield from clean_documents(text, file.as_posix(), f"{file}:{number}")


def _read_txt(file: Path, text_field: str | None) -> Iterator[Document]:
    pending: list[str] = []
    length = 0
    for number, line in parse_lines(file, decode_utf8, blank=True):
        # At a blank line once the document is long enough; where there is none, at any line end of twice that length.
        if length >= TEXT_DOCUMENT and (not line.strip() or length >= 2 * TEXT_DOCUMENT):
            yield from clean_documents("".join(pending), file.as_posix(), f"{file}:{number}")
            pending, length = [], 0
        pending.append(line[:-2] + "\n" if line.endswith("\r\n") else line)
        length += len(pending[-1])
    yield from clean_documents("".join(pending), file.as_posix(), str(file))


def _read_parquet(file: Path, text_field: str | None) -> Iterator[Document]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise UserError(f"{file}: reading it needs pyarrow: pip install 'picochat[parquet]'") from error
    try:
        with pyarrow.parquet.ParquetFile(file) as table:
            kinds = (pyarrow.types.is_string, pyarrow.types.is_large_string)
            columns = [column.name for is_text in kinds for column in table.schema_arrow if is_text(column.type)]
            wanted = text_column(str(file), columns, text_field)
            batches = table.iter_batches(batch_size=256, columns=[wanted])
            texts = chain.from_iterable(batch.column(0).to_pylist() for batch in batches)
            for number, text in enumerate(texts, start=1):
                yield from clean_documents(text or "", file.as_posix(), f"{file}: row {number}")
    except (pyarrow.ArrowException, OSError) as error:
        raise UserError(f"{file}: cannot be read as parquet: {error}") from error


_READERS: dict[str, Callable[[Path, str | None], Iterator[Document]]] = {
    ".jsonl": _read_jsonl,
    ".txt": _read_txt,
    ".parquet": _read_parquet,
}


def clean_documents(text: str, source: str, place: str) -> Iterator[Document]:
    """Yield the document, if there is text in it.

    Raises:
        UserError: it holds what no text holds; `place` says where.
    """
    text = text.strip()
    if fault := text_fault(text):
        raise UserError(f"{place}: {fault}; is this a text?")
    if text:
        yield Document(text, source)


def text_column(place: str, columns: Sequence[str], wanted: str | None) -> str:
    """The column to read: the one that is wanted, or has a usual name, or is the only one of texts.

    Raises:
        UserError: there is no such column, or it is unclear which.
    """
    if wanted is not None:
        found = [wanted] if wanted in columns else []
    else:
        found = [name for name in _TEXT_COLUMNS if name in columns][:1] or list(columns)
    if len(found) != 1:
        raise UserError(
            f"{place}: {'no column of texts is called ' + wanted if wanted else 'which column holds the text?'}; "
            f"{_OTHER_FIELD} ({', '.join(columns) or 'there is none'})"
        )
    return found[0]
