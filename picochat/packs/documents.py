"""Texts of several formats as one stream of documents. In: files. Out: ``Document``. Next: corpus.

    story.txt, notes.md  "One day …\n\nThen …"                     one document; a long file becomes several
    notes.jsonl, .json   {"text": "One day …"}, or "One day …"     one document a line, or an item of the list
    .parquet, .csv, .tsv a column of texts                         one document a row
    notes.jsonl.gz       any of them but parquet, packed; also .zst
    a folder             all such files in it but .json (settings are that) and tables, in order of their names

A text file longer than 8,000 characters becomes several documents, each of whole paragraphs; documents of the other
formats do so after a million. A text is also cut where it holds ``<|endoftext|>`` or the like.
"""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from picochat.errors import UserError
from picochat.packs.records import file_kind, iter_records, parse_lines
from picochat.packs.shapes import FORMS
from picochat.strict_json import decode_utf8, json_kind, text_fault

_TEXT_DOCUMENT = 8_000  # characters after which a text file goes on in a new document at the next blank line
_LONGEST_DOCUMENT = 1_000_000  # characters after which any document does, at a line's end: tokenising takes 200 x that
_LARGEST_RECORD = 1 << 23  # bytes of the line, list item or parquet row that holds a document: books are below it
_SHOWN = 12  # fields named when the text is in none that was expected
_FIELDS = ("text", "content", "story", "document", "article", "body")  # where a text is looked for
_SEPARATOR = re.compile(r"<\|(?:end_?of_?(?:text|document|doc)|eos|eod)\|>")
_TEXTS = (".txt", ".md")
_IN_FOLDERS = (*_TEXTS, ".jsonl", ".parquet")


class Document(NamedTuple):
    """One document and where it came from (a file's path, a hub data set, "stories")."""

    text: str
    source: str


def iter_documents(
    path: str | Path, *, text_field: str | None = None, skipped: Counter[str] | None = None
) -> Iterator[Document]:
    """Yield the documents of a file, or of all such files in a folder by name; a bad line is a UserError.

    `text_field` or column holds the text; None finds it by a usual name (text, content, …). `skipped` gets the number
    of "empty" documents, which are left out.
    """
    for file in corpus_files(path):
        for place, text in _read_text(file) if file_kind(file) in _TEXTS else _read_records(file, text_field):
            if skipped is not None and not text.strip():
                skipped["empty"] += 1
            yield from (Document(piece, file.as_posix()) for piece in _pieces(text, place))


def corpus_files(path: str | Path) -> list[Path]:
    """The files that ``iter_documents`` reads for a path; hidden ones in a folder are passed over."""
    place = Path(path)
    if place.is_dir():
        inside = (file for file in place.rglob("*") if file_kind(file) in _IN_FOLDERS and file.is_file())
        files = sorted(file for file in inside if not any(part[0] == "." for part in file.relative_to(place).parts))
        if not files:
            raise UserError(f"{path}: the folder holds no .jsonl, .txt, .md or .parquet file")
        return files
    if not place.exists():
        raise UserError(f"{path}: no such file or folder")
    if not place.is_file():
        raise UserError(f"{path}: is a device or a pipe; name a file or a folder")  # it might never end
    if file_kind(place) not in (*_IN_FOLDERS, ".json", ".csv", ".tsv"):
        kinds = ".jsonl, .json, .txt, .md, .csv or .parquet file"
        raise UserError(f"{path}: is not a {kinds}, or one packed as .gz or .zst; convert it, or rename it")
    return [place]


def holds_rows(file: Path) -> bool:
    """Whether the first record of a file is a row, of whatever form, and no document; it may be a faulty one."""
    records = iter(()) if file_kind(file) in _TEXTS else iter_records(file)
    return _is_row(next((record for _, record in records), None))


def _is_row(record: Any) -> bool:
    if not isinstance(record, dict) or ("text" in record and {"messages", "conversations", "role"}.isdisjoint(record)):
        return False
    return any(needed <= record.keys() for _, needed, _ in FORMS) or "parent_id" in record


def _read_records(file: Path, text_field: str | None) -> Iterator[tuple[str, str]]:
    """(place, text) of each record."""
    for number, record in iter_records(file, largest=_LARGEST_RECORD):
        try:
            yield f"{file}:{number}", _text_of(record, text_field)
        except ValueError as error:
            raise UserError(f"{file}:{number}: {error}") from error


def _text_of(record: Any, text_field: str | None) -> str:
    if isinstance(record, ValueError):
        raise record
    if isinstance(record, str):
        return record
    if not isinstance(record, dict):
        raise ValueError(f"holds {json_kind(record)}; an object with the field '{text_field or 'text'}' is expected")
    named = [name for name in _FIELDS if name in record] or ["text"]
    field = text_field or next((name for name in named if record.get(name) is not None), named[0])
    if text_field is None and _is_row(record):
        raise ValueError("holds a chat or eval row and no document; `picochat train sft --input` learns chat rows")
    if field not in record or not isinstance(record[field], str | None):
        shown = ", ".join(list(record)[:_SHOWN]) + (", …" if len(record) > _SHOWN else "")
        raise ValueError(f"has no text in '{field}'; `picochat data import --text-field NAME` reads another ({shown})")
    return record[field] or ""


def _read_text(file: Path) -> Iterator[tuple[str, str]]:
    pending: list[str] = []
    length = 0
    for number, line in parse_lines(file, decode_utf8, blank=True):
        # At a blank line once the document is long enough; where there is none, at any line end of twice that length.
        if length >= _TEXT_DOCUMENT and (not line.strip() or length >= 2 * _TEXT_DOCUMENT):
            yield f"{file}:{number}", "".join(pending)
            pending, length = [], 0
        pending.append(line[:-2] + "\n" if line.endswith("\r\n") else line)
        length += len(pending[-1])
        if "<|" in line and _SEPARATOR.search(line):
            yield f"{file}:{number}", "".join(pending)
            pending, length = [], 0
    if pending:
        yield str(file), "".join(pending)


def _pieces(text: str, place: str) -> Iterator[str]:
    """The document, or the several that it is to become; UserError, with `place`, where it is no text."""
    for part in map(str.strip, _SEPARATOR.split(text) if "<|" in text else [text]):
        if fault := text_fault(part):
            raise UserError(f"{place}: {fault}; is this a text?")
        start = 0
        while start < len(part):
            end = start + _LONGEST_DOCUMENT
            if end < len(part):
                end = part.rfind("\n", start, end) + 1 or end
            if piece := part[start:end].strip():
                yield piece
            start = end
