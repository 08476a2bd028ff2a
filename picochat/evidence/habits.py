"""What a reply does beside its content. In: prompts and replies. Out: "echoes", "loops". Next: evidence.scoring.

Both rules are for the replies of small models, and every one of them spares what good replies do as well:

    echo     the prompt again, whole or from its start: "What is 27 + 15? 42"
             a question of it:                          "How many shells does Mia have now?"
             another turn:                              "42\\nUser: and 3 + 4?", "42<|user|>"
    none     the question turned into an answer:        "The capital of the largest country there is Brasília."
             a text that the prompt holds, mended:      "def f():" … behind "Mend this program."
             a dialogue or a table from its first line: "User: hello\\nShop: good day"
    loop     1 to 500 words at least four times and over twelve words, or one to four letters twelve times
    none     a line of a table or of a form:            "|------|------|", "Name: ______________"
"""

import re
from itertools import takewhile

import numpy as np
from numpy.typing import NDArray

from picochat.evidence.texts import UNSPACED, units

ECHO_TOKENS = 8  # words and signs of the prompt, repeated at the start of the reply, that make an echo
_TURN_TOKEN = re.compile(  # picochat's and those of ChatML, Llama 3, Gemma and Llama 2
    r"<\|(?:user|assistant|system|bos|im_start|start_header_id)\|>|<start_of_turn>|\[/?INST\]", re.IGNORECASE
)
_TURN = re.compile(r"^[ \t]*(user|human|assistant|system)[ \t]*:", re.IGNORECASE | re.MULTILINE)
_LABEL = re.compile(r"\**([\w .]{1,30})\**:")
_DIALOGUE = re.compile(r"\b(?:dialog(?:ue)?|conversation|script|interview)\b", re.IGNORECASE)
_TOKENS = re.compile(rf"[{UNSPACED}]|[^\W_{UNSPACED}]+|[^\w\s]|_|\n")
_ENDS = {".", "?", "!", ":", "\n", "。", "？", "！"}
_OPENS = _ENDS | set("\"'`“”‘’«»(|>*-;")
_DRAWING = "-=_*#~.|+:─━│ \t\n\r"  # signs that tables, forms and headings are drawn with
_FORM = 200  # of them in a row are none


def echoes(prompt: str, raw: str, own: str = "") -> bool:
    """Whether a raw continuation repeats the prompt or plays another turn, and the row's own reply does not."""
    turn = _TURN_TOKEN.search(raw) and not _TURN_TOKEN.search(own)
    plays = _plays_turns(raw) and not (_DIALOGUE.search(prompt) or _TURN.search(own))
    return bool(turn or plays) or (_repeats(prompt, raw) and not _repeats(prompt, own))


def _plays_turns(raw: str) -> bool:
    roles, label = [role.casefold() for role in _TURN.findall(raw)], _LABEL.match(raw)
    if not label:
        return bool(roles)
    # "User: hello\nShop: good day", "user: admin\nport: 80": a text in lines with labels, whose own they are
    several = len(set(roles)) < len(roles) or ("assistant" in roles and len(roles) > 1)
    return label[1].strip().casefold() in roles and several


def is_looping(reply: str) -> bool:
    """Whether words or signs run on.

    >>> is_looping("and then " * 6), is_looping("a b a b"), is_looping("7 + 7 = 14 14 + 7 = 21 21 + 7 = 28")
    (True, False, False)
    """
    numbers: dict[str, int] = {}
    words = np.array([numbers.setdefault(word, len(numbers)) for word in units(reply)])
    if any(_run(words, period) + period >= max(12, 4 * period) for period in range(1, min(500, len(words) // 4) + 1)):
        return True
    signs = np.frombuffer(reply.encode("utf-32-le", "surrogatepass"), np.uint32)
    drawn = np.isin(signs, [ord(sign) for sign in _DRAWING])
    return any(
        _run(signs, period, ~drawn) >= 11 * period or _run(signs, period, signs > 32) >= _FORM for period in range(1, 5)
    )


def _run(values: NDArray[np.generic], period: int, only: NDArray[np.bool_] | None = None) -> int:
    """The longest run of values that equal the value one period before them (and are of those that count)."""
    if len(values) <= period:
        return 0
    same = values[period:] == values[:-period]
    if only is not None:
        same &= only[period:] & only[:-period]
    ends = np.flatnonzero(np.concatenate(([True], ~same, [True])))
    return int(np.diff(ends).max()) - 1


def _repeats(prompt: str, raw: str) -> bool:
    asked = [token.casefold() for token in _TOKENS.findall(prompt) if token != "\n"]
    said: list[str] = []
    lines = {0}  # tokens that begin a line
    for token in _TOKENS.findall(raw):
        if token == "\n":
            lines.add(len(said))
        else:
            said.append(token)
    small = [token.casefold() for token in said]
    if len(asked) >= 3 and any(
        small[at : at + 3] == asked[:3] and small[at : at + len(asked)] == asked for at in lines
    ):
        return True
    opening = small[:ECHO_TOKENS]
    for start in range(len(asked) - ECHO_TOKENS + 1 if len(opening) == ECHO_TOKENS else 0):
        if asked[start : start + ECHO_TOKENS] == opening:
            length = sum(1 for _ in takewhile(bool, map(str.__eq__, asked[start:], small)))
            whole = start + length == len(asked) and length >= len(said) - 1  # to its end, and hardly a word more
            ends = length in lines or length == len(said) or whole
            if _is_echo(asked[start - 1] if start else None, said, length, ends=ends):
                return True
    return False


def _is_echo(before: str | None, said: list[str], length: int, *, ends: bool) -> bool:
    """Whether `length` repeated tokens at the start are one; `before` stands in front of them in the prompt."""
    ends = ends or said[length - 1] in _ENDS
    if before is None:  # the prompt from its start
        return ends or (said[length][0].isupper() and said[length - 1] not in (",", "and"))
    if before in _OPENS:  # a sentence or a text of the prompt: asked again, or worked on
        return said[length - 1] in ("?", "？")
    return ends
