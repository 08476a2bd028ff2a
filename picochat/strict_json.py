"""JSON that other programs can read too. In: bytes of a line or a file. Out: plain values. Next: whoever asked.

Python's own reader takes more than JSON, and lets some of it pass in silence:

    {"a": 1, "a": 2}      the first value is lost              NaN, Infinity, 1e999    no other reader takes them
    "\\ud800"              no UTF-8, it cannot be written back   "\\u0000"                ends a path and a C string
    [[[[ … 100,000 deep   RecursionError                       5,000 digits            an error about Python's settings

All of these are faults here, each in words that continue "FILE:LINE: ".
"""

import codecs
import json
import math
from collections import Counter
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

from picochat.errors import UserError

_LARGEST = 1 << 26  # bytes of a file that is read whole; the largest tokenizers have half as many
_SPACE = " \t\r\n"


class JSONFaultError(ValueError):
    """What is wrong, in words that continue "FILE:LINE: "; `line` counts from 1."""

    def __init__(self, message: str, line: int = 1) -> None:
        super().__init__(message)
        self.line = line


def parse_json(content: bytes | str, *, nul: bool = False, nan: Callable[[], None] | None = None) -> Any:
    """The value of a JSON text in UTF-8; JSONFaultError where it is none, or could not be written as one again.

    Args:
        nul: whether texts may hold NUL, as what a model says may.
        nan: called for each NaN, which is then read as null; None refuses it.
    """
    text = decode_utf8(content) if isinstance(content, bytes) else content
    try:
        value, end = parse_json_at(text, len(text) - len(text.lstrip(_SPACE)), nan, nul)
        if rest := text[end:].lstrip(_SPACE):
            raise json.JSONDecodeError("Extra data", text, len(text) - len(rest))
    except json.JSONDecodeError as error:
        if text.startswith("\ufeff"):
            raise JSONFaultError("is not JSON: it begins with a byte order mark, which only a file may") from None
        raise JSONFaultError(f"is not JSON: {error.msg} at column {error.colno}", error.lineno) from None
    return value


def parse_json_at(text: str, start: int, nan: Callable[[], None] | None = None, nul: bool = False) -> tuple[Any, int]:
    """The JSON value that begins at `start`, and where it ends.

    json.JSONDecodeError: there is none, or it goes on beyond the text; JSONFaultError: it is JSON, and refused.
    """
    try:
        value, end = _decoder(nan).raw_decode(text, start)
    except RecursionError:
        raise JSONFaultError("is nested too deeply") from None
    if "\\u" in text[start:end]:  # the only way to write what is refused here
        _refuse_unwritable(value, nul)
    return value, end


def read_json_object(path: str | Path) -> dict[str, Any]:
    """The object that a JSON file holds; UserError where it is none or too large."""
    try:
        if (size := Path(path).stat().st_size) > _LARGEST:
            raise UserError(f"{path}: has {size:,} bytes; {_LARGEST:,} are allowed, which no config or report needs")
        value = parse_json(Path(path).read_bytes().removeprefix(b"\xef\xbb\xbf"))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    except JSONFaultError as error:
        raise UserError(f"{path}:{error.line}: {error}") from None
    if not isinstance(value, dict):
        raise UserError(f"{path}: holds {json_kind(value)}; an object is expected")
    return value


def decode_utf8(content: bytes) -> str:
    """The text of a line or a file; JSONFaultError names the byte that is not UTF-8."""
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise not_utf8(error) from None


def not_utf8(error: UnicodeDecodeError) -> JSONFaultError:
    """The same in words."""
    content, start = error.object, error.start
    place = start - content.rfind(b"\n", 0, start)
    is_text = b"\0" not in content and min(content) >= ord("\t")
    looks = "UTF-16" if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "Latin-1" if is_text else ""
    message = f"is not UTF-8 (byte {place} of the line){looks and f', it looks like {looks}'}; save it as UTF-8"
    return JSONFaultError(message, content.count(b"\n", 0, start) + 1)


def text_fault(text: str, nul: bool = False) -> str | None:
    """Why a text cannot be written as UTF-8 or holds NUL, in words that continue "FILE:LINE: "."""
    if "\x00" in text and not nul:
        return "holds a NUL character"
    if text.isascii():
        return None
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return f"holds half of a surrogate pair (character {error.start + 1})"
    return None


def json_kind(value: Any) -> str:
    """The kind of a value in JSON's own words: "a list", "null"."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    kinds: dict[type, str] = {str: "a string", list: "a list", dict: "an object"}
    return kinds.get(type(value), "a number")


def _no_duplicate_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        twice = next(key for key, times in Counter(key for key, _ in pairs).items() if times > 1)
        raise JSONFaultError(f"has the key {twice[:60]!r} twice")
    return found


def _finite(digits: str) -> float:
    if math.isinf(value := float(digits)):
        raise JSONFaultError(f"holds the number {digits[:20]}, which is too large")
    return value


def _whole(digits: str) -> int:
    if len(digits) > 100:
        raise JSONFaultError(f"holds a number of {len(digits):,} digits")
    return int(digits)


@lru_cache(maxsize=4)  # each file brings its own `nan`
def _decoder(nan: Callable[[], None] | None) -> json.JSONDecoder:
    def constant(name: str) -> None:
        if not nan or name != "NaN":
            raise JSONFaultError(f"holds {name}, which is not JSON; write null, or leave the field out")
        nan()

    hooks: dict[str, Any] = {"parse_constant": constant, "parse_float": _finite, "parse_int": _whole}
    return json.JSONDecoder(object_pairs_hook=_no_duplicate_keys, **hooks)


def _refuse_unwritable(value: Any, nul: bool) -> None:
    """Look for NUL and halves of surrogate pairs in all keys and texts, without recursion."""
    waiting: list[tuple[str, Any]] = [("", value)]
    while waiting:
        place, one = waiting.pop()
        if isinstance(one, str) and (fault := text_fault(one, nul)):
            raise JSONFaultError(fault + place)
        if isinstance(one, dict):
            waiting += [(" in a key", key) for key in one]
            waiting += [(f" in {key[:60]!r}", inner) for key, inner in one.items()]
        elif isinstance(one, list):
            waiting += [(place, inner) for inner in one]
