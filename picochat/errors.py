"""The one exception that users see. Anything else that reaches the terminal is a bug and keeps its traceback."""

import difflib
import re
from collections.abc import Iterable


class UserError(Exception):
    """What the user can put right: one sentence that names the file and line or the setting, and the remedy.

    The command line prints it on stderr as ``picochat: error: …`` and exits with status 2; nothing has been written.
    """


def one_line(text: str) -> str:
    """Text from anywhere as one line for the terminal: what would move the cursor or colour it is spelt out."""
    shown = "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)
    return shown if len(shown) <= 2_000 else f"{shown[:2_000]} …"


def out_of_memory(error: BaseException) -> str:
    """ "out of memory: 2.00 GiB could not be allocated" if that is what a library says; else ''."""
    said = str(error)
    if not isinstance(error, MemoryError) and not re.search("out of memory|can't allocate memory", said, re.IGNORECASE):
        return ""
    size = re.search(r"ried to allocate ([\d.]+ \w+)|nable to allocate ([\d.]+ \w+)", said)
    return f"out of memory: {size[1] or size[2]} could not be allocated" if size else "out of memory"


def refuse_unknown(setting: str, value: str | None, known: Iterable[str]) -> None:
    """UserError if a setting is not one of the words that it may be: who sets it in Python is told as in a config."""
    if value not in (words := list(known)):
        raise UserError(f"{setting} is {value}; use {' or '.join(words)}")


def nearest(word: str, known: Iterable[str]) -> str:
    """' (did you mean X?)' if a known name is close to `word`, else ''."""
    matches = difflib.get_close_matches(word, list(known), n=1)
    return f" (did you mean {matches[0]}?)" if matches else ""
