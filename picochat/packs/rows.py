"""Chat and eval rows, plain dicts in JSONL. In: rows in our form (of `formats`). Out: valid ones, what they ask.

A *chat row* teaches; it ends with the assistant:

    {"id": "capability-train-000007", "key": "add:15+27", "messages": [{"role": "user", "content": "What is 27 + 15?"},
     {"role": "assistant", "content": "7 + 5 = 12, write 2 carry 1\\n…\\nFinal answer: 42"}], "answer": "42",
     "answer_style": "scratchpad", "category": "bench_math_addition", "stage": "two_digit_carry", "phrasing": "known",
     "mixture_profile": "capability", "mixture_component": "weak_skills", "mixture_benchmark_profile": "weak_skills"}

An *eval row* asks; it ends with the user and holds at least one check (``answer``, ``must_include``, …). Its
``reference`` is the whole reply of a perfect student. ``key`` names the problem, ``cluster`` what it is held out with
where that is more: a word of which five tasks ask. A turn with ``"weight": 0`` is not learnt. A text to go on with,
learnt as a document is, is one message of the role "text". Fields that picochat does not know stay.
"""

import json
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from picochat.errors import nearest
from picochat.files import write_files
from picochat.plugins import find_plugin
from picochat.strict_json import text_fault

Row = dict[str, Any]
Message = dict[str, Any]  # role, content, and weight: 0 where it is not learnt
Kind = Literal["chat", "eval", "prompt"]  # a prompt row ends as an eval row does, and needs no check

LANE_FIELDS = ("mixture_profile", "mixture_component", "mixture_benchmark_profile", "category", "stage", "phrasing")
TAGS = (*LANE_FIELDS, "answer_style", "knowledge")
"""What rows are counted and rated by."""
ASKED = "asked:"
"""Begins the key of a row that came without one: the hash of its question."""
CHECK_FIELDS = (
    *("answer", "must_include", "must_include_any", "must_not_include", "correct_choice", "max_words", "answerable"),
    "check",
)
CHECKS = (
    *("answer", "exact", "number", "choice", "includes", "any_of", "includes_any", "excludes", "max_words", "regex"),
    *("steps", "refusal", "identity", "python"),
)
"""The checks of `check` (evidence.checks); others are entry points of ``picochat.checks`` or dotted paths."""

_WORD = re.compile(r"\w+|[-+=×/*÷^]")  # the sign is part of a problem: 45 + 10 is not 45 - 10


def validate_row(row: Row, kind: Kind) -> Row:
    """A row in our form, checked; the words of a ValueError continue "FILE:LINE: "."""
    before = None
    for index, message in enumerate(row["messages"]):
        role, content = message["role"], message["content"]
        fault = text_fault(content)
        if role == "system" and before is not None:
            fault = "a system message may only come first"
        elif role == before:
            fault = f"two {role} turns follow each other"
        elif before is not None and "text" in (role, before):
            fault = "a text to continue is the only message of its row"
        elif role != "system" and not content.strip():
            fault = f"the {role} turn is empty"
        if fault:
            raise ValueError(f"messages[{index}]: {fault}")
        before = role
    if kind == "chat":
        if before not in ("assistant", "text"):
            remedy = "name the field of its reply with `--map`, such as answer=completion"
            raise ValueError(f"a chat row must end with the assistant, this one ends with the {before}; {remedy}")
        if before == "assistant" and all(message["role"] != "user" for message in row["messages"]):
            raise ValueError("holds a reply and no question")
    elif before != "user":
        raise ValueError(f"a row to answer must end with the user, this one ends with the {before}")
    if kind == "eval":
        if not has_check(row):
            raise ValueError(f"an eval row needs at least one check: {', '.join(CHECK_FIELDS)}")
        check_row(row)
    return row


def learns(messages: Iterable[Message]) -> bool:
    """Whether any turn is learnt: the replies are, unless a turn's weight says otherwise."""
    return any(message.get("weight", message["role"] in ("assistant", "text")) for message in messages)


def has_check(row: Row) -> bool:
    """Whether a reply can fail the row: ``"answer": ""`` or ``"must_include": []`` is not a check."""
    return any(row.get(field) not in (None, "", [], {}) for field in CHECK_FIELDS)


def conversation(row: Row) -> list[Message] | None:
    """The messages up to a perfect student's reply: an eval row's ``reference`` or ``answer``; None: none is known."""
    messages: list[Message] = row["messages"]
    if messages[-1]["role"] != "user":
        return messages
    reply = row.get("reference") or row.get("answer")
    return [*messages, {"role": "assistant", "content": reply}] if reply else None


def prompt_text(row: Row) -> str:
    """The last user turn."""
    messages: list[Message] = row["messages"]
    return str(next(message["content"] for message in reversed(messages) if message["role"] == "user"))


def questions(row: Row) -> list[str]:
    """What a conversation asks, without its system message: all before each of its replies, and the whole where it
    waits for one. Of a row of one question this is its prompt."""
    turns = [message for message in row["messages"] if message["role"] != "system"]
    ends = [end for end, turn in enumerate([*turns, {"role": "assistant"}]) if end and turn["role"] == "assistant"]
    if turns[-1]["role"] == "assistant":
        ends.pop()  # nothing is asked after the last reply
    return ["\n".join(turn["content"] for turn in turns[:end]) for end in ends]


def cluster_of(row: Row) -> str:
    """What the row is held out with: its ``cluster``, else its ``key``, else its question, normalised."""
    return row.get("cluster") or row.get("key") or normalised(questions(row)[-1])


def normalised(text: str) -> str:
    """A text without its case, spaces and last mark: "Who are  you?" and "who are you" are one."""
    plain = " ".join(unicodedata.normalize("NFC", text).casefold().split())
    return plain.rstrip(" .?!…。？！") or plain


def words_of(text: str) -> list[str]:
    """The words and signs of a text, in lower case."""
    return _WORD.findall(text.lower())


def dump_rows(rows: Iterable[Row]) -> str:
    """JSONL text of the rows, one line each, keys in the order they have."""
    encode = json.JSONEncoder(ensure_ascii=False).encode  # one for all rows: json.dumps would make one for each
    return "".join([encode(row) + "\n" for row in rows])


def write_rows(path: str | Path, rows: Iterable[Row]) -> None:
    """Write rows as JSONL, atomically."""
    write_files({Path(path): dump_rows(rows)})


def check_row(row: Mapping[str, Any]) -> None:
    """Raise ValueError when a check of the row cannot be applied."""
    checks = row.get("check") or {}
    if not isinstance(checks, dict):
        raise ValueError("'check' must map names of checks to what they want, such as {\"number\": true}")
    for name in checks:
        if name not in CHECKS and "." not in name and not find_plugin("picochat.checks", name):
            raise ValueError(f"unknown check '{name}'{nearest(name, CHECKS)}; known are {', '.join(CHECKS)}")
    for field, value in (*row.items(), *((f"check.{name}", wanted) for name, wanted in checks.items())):
        if field in _FORMS and not _FORMS[field][0](value):
            raise ValueError(f"'{field}' must be {_FORMS[field][1]}")
    labels = row.get("choice_labels") or ()
    if "correct_choice" not in row:
        if "choice" in checks:
            raise ValueError("'check.choice' needs 'choice_labels' and 'correct_choice'")
    elif len(set(labels)) < max(2, len(labels)) or row["correct_choice"] not in labels:
        raise ValueError("'correct_choice' must be one of at least two different 'choice_labels'")
    if "steps" in checks and not row.get("steps"):
        raise ValueError("'check.steps' needs 'steps'")
    for name in () if row.get("answer") or row.get("accept") else ("answer", "exact", "number"):
        if checks.get(name) is True or isinstance(checks.get(name), dict):
            raise ValueError(f"'check.{name}' needs 'answer'")
    try:
        re.compile(checks.get("regex", ""))
    except (re.error, TypeError) as error:
        raise ValueError(f"'check.regex' is not a regular expression: {error}") from None


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _is_phrases(value: Any) -> bool:
    return _is_texts(value) and all(map(str.strip, value))  # an empty phrase is in every reply


def _is_groups(value: Any) -> bool:
    return isinstance(value, list) and (_is_phrases(value) or all(map(_is_phrases, value)))


def _is_answer(value: Any) -> bool:
    return isinstance(value, bool) or _is_phrases([value]) or (_is_phrases(value) and bool(value))


def _is_exact(value: Any) -> bool:
    return value in ({"case": True}, {"case": False}) or _is_answer(value)


_TEXTS = (_is_texts, "a list of strings")
_PHRASES = (_is_phrases, "a list of strings, none of them empty")
_COUNT = (lambda value: type(value) is int and value > 0, "a whole number from 1")
_FORMS: dict[str, tuple[Callable[[Any], bool], str]] = {  # field → what holds of it, and in words
    **dict.fromkeys(("accept", "steps", "choice_labels"), _TEXTS),
    **dict.fromkeys(("must_include", "must_not_include"), _PHRASES),
    **dict.fromkeys(("check.includes", "check.includes_any", "check.any_of", "check.excludes"), _PHRASES),
    **dict.fromkeys(("max_words", "check.max_words"), _COUNT),
    **dict.fromkeys(("check.answer", "check.number"), (_is_answer, "true, a text or a list of texts")),
    "check.exact": (_is_exact, "true, {case: true}, a text or a list of texts"),
    "check.identity": (lambda value: value is False or _is_phrases([value]), "the name of the model"),
    "check.python": (lambda value: isinstance(value, str), "the code of tests"),
    "check.steps": (lambda value: isinstance(value, bool | int | float) and 0 <= value <= 1, "a share from 0 to 1"),
    **dict.fromkeys(("check.choice", "check.refusal"), (lambda value: isinstance(value, bool), "true or false")),
    "must_include_any": (_is_groups, "a list of groups, each a list of strings, none of them empty"),
    "answerable": (lambda value: isinstance(value, bool), "true or false"),
}
