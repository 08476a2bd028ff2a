"""The one exception that users see. Anything else that reaches the terminal is a bug and keeps its traceback."""

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """What the user can put right: bad input, a bad setting, a missing file.

    The message is one sentence (or two) that names the file and line or the setting, and the remedy. The command line
    prints it on stderr as ``picochat: error: …`` and exits with status 2; nothing has been written by then.
    """


def one_line(text: str) -> str:
    """Text from anywhere as one line for the terminal: what would move the cursor or colour it is spelt out."""
    shown = "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)
    return shown if len(shown) <= _LONGEST else shown[:_LONGEST] + " …"


_LONGEST = 2_000


def nearest(word: str, known: Iterable[str]) -> str:
    """' (did you mean X?)' if a known name is close to `word`, else ''."""
    matches = difflib.get_close_matches(word, list(known), n=1)
    return f" (did you mean {matches[0]}?)" if matches else ""
