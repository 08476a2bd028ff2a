"""The words that spelling is taught on. In: words.txt, or the user's list. Out: a sorted tuple. Next: packs.tasks.

words.txt holds one common English word a line: 3 to 10 letters a–z, lower case, sorted, each once, no proper names.
It leaves out the words of the packs' own sentences: "Spell how." is not a good question, and a tokenizer of whole words
makes such words one token each, whose letters nobody sees.
Which words are for training and which are held out is the mixture's business; this list knows no sides.
"""

import functools
import re
from importlib import resources
from pathlib import Path

from picochat.errors import UserError
from picochat.packs.records import parse_lines
from picochat.strict_json import decode_utf8

MIN_WORDS = 100  # of a user's list: with fewer, neither side of the train/eval split has words enough to show anything
_WORD = re.compile(r"[a-z]{3,20}")  # built-in words end at 10 letters; a user may bring longer ones


@functools.cache
def common_words() -> tuple[str, ...]:
    """The built-in list, sorted."""
    return tuple(resources.files("picochat.packs").joinpath("words.txt").read_text(encoding="ascii").split())


def load_words(path: str | Path) -> tuple[str, ...]:
    """Read a user's word list: one word a line; blank lines and lines that begin with # are skipped.

    Returns:
        The words, sorted and each once, so that the file's order changes nothing.

    Raises:
        UserError: no such file, a line that is not a word of 3 to 20 letters a–z, or fewer than ``MIN_WORDS`` words.
    """
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
