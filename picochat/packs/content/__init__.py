"""What tasks say, and the words that they spell. In: a file's name. Out: its tables, words. Next: packs.tasks.

en/NAME.toml has one phrase a line: a wording, a situation or a fact is added by adding a line, which test_content.py
checks. words.txt holds common English words of 3 to 10 letters, without proper names and without the words of the
packs' own sentences: "Spell how." is not a good question, and a tokenizer of whole words hides the letters of those.
"""

import functools
import re
import tomllib
from importlib import resources
from pathlib import Path
from typing import Any

from picochat.errors import UserError
from picochat.packs.records import parse_lines
from picochat.strict_json import decode_utf8

MIN_WORDS = 100  # of a user's list: with fewer, neither side of the train/eval split has words enough to show anything
_WORD = re.compile(r"[a-z]{3,20}")  # built-in words end at 10 letters; a user may bring longer ones


@functools.cache
def content(name: str) -> dict[str, Any]:
    """The tables of en/NAME.toml, read once, with tuples for lists."""
    file = resources.files(__name__) / "en" / f"{name}.toml"
    try:
        return {key: _frozen(value) for key, value in tomllib.loads(file.read_text(encoding="utf-8")).items()}
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{file}: {error}") from None


def cells(line: str) -> list[str]:
    """The parts of a phrase that has several: "the weather in {place} | the weather"."""
    return line.split(" | ")


def _frozen(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _frozen(inner) for key, inner in value.items()}
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


@functools.cache
def common_words() -> tuple[str, ...]:
    """The built-in list, sorted."""
    return tuple(resources.files("picochat.packs").joinpath("words.txt").read_text(encoding="ascii").split())


def load_words(path: str | Path) -> tuple[str, ...]:
    """A user's words, sorted and each once: one a line, of 3 to 20 letters a–z; lines that begin with # are skipped."""
    words = {word for _, word in parse_lines(path, _word) if word}
    if len(words) < MIN_WORDS:
        raise UserError(f"{path}: holds {len(words)} different words; a word list needs at least {MIN_WORDS}")
    return tuple(sorted(words))


def _word(line: bytes) -> str | None:
    word = decode_utf8(line).strip()
    if word.startswith("#"):
        return None
    if not _WORD.fullmatch(word):
        raise ValueError(f"{word[:40]!r} is not a word of 3 to 20 lower-case letters a-z; remove it")
    return word
