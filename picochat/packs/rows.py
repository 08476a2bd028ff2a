"""The JSONL contracts. In: files of chat or eval rows. Out: validated rows (plain dicts). Next: datamodules, evidence.

A *chat row* teaches; it ends with the assistant:

    {"id": "capability-train-000007", "key": "add:15+27", "messages": [{"role": "user", "content": "What is 27 + 15?"},
     {"role": "assistant", "content": "7 + 5 = 12, write 2 carry 1\\n…\\nFinal answer: 42"}], "answer": "42",
     "answer_style": "scratchpad", "category": "bench_math_addition", "stage": "two_digit_carry", "phrasing": "known",
     "mixture_profile": "capability", "mixture_component": "weak_skills", "mixture_benchmark_profile": "weak_skills"}

An *eval row* asks; it ends with the user and holds at least one check (``answer``, ``must_include``, …). Its
``reference`` is the whole reply that a perfect student would give; validation loss is measured on it.

``key`` names the problem, ``cluster`` what it is held out with where that is more: a word of which five tasks ask.

Fields that picochat does not know survive reading and writing. Rows of other tools (``user`` + ``assistant`` or
``prompt`` + ``completion`` in place of ``messages``) are read too.
"""

import json
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Literal, TypeVar

from picochat.errors import UserError
from picochat.files import write_files
from picochat.strict_json import json_kind, parse_json, text_fault

T = TypeVar("T")
Row = dict[str, Any]
Message = dict[str, str]
Kind = Literal["chat", "eval", "prompt"]  # a prompt row ends as an eval row does, and needs no check

ROLES = ("system", "user", "assistant")
LANE_FIELDS = ("mixture_profile", "mixture_component", "mixture_benchmark_profile", "category", "stage", "phrasing")
TAGS = (*LANE_FIELDS, "answer_style", "knowledge")
"""What rows are counted and rated by; reports call a tag by its `tag_name`."""
CHECK_FIELDS = (
    *("answer", "must_include", "must_include_any", "must_not_include", "correct_choice", "max_words", "answerable"),
)


def tag_name(field: str) -> str:
    """``mixture_component`` is called "component" in reports, ``stage`` "stage"."""
    return field.removeprefix("mixture_")


def read_rows(path: str | Path, kind: Kind, check: Callable[[Row], object] | None = None) -> list[Row]:
    """Read and validate a whole file; ``check`` may refuse a row with a ValueError.

    Raises:
        UserError: no such file, an empty file, or a bad line; the message names file and line.
    """

    def parse(line: bytes) -> Row:
        row = parse_row(line, kind)
        if check:
            check(row)
        return row

    rows = [row for _, row in parse_lines(path, parse)]
    if not rows:
        raise no_rows(path)
    return rows


def no_rows(path: str | Path) -> UserError:
    """What is said of an empty file."""
    return UserError(f"{path}: holds no rows; one JSON object per line is expected")


def iter_rows(path: str | Path, kind: Kind) -> Iterator[tuple[int, Row]]:
    """Yield (line number from 1, row)."""
    return parse_lines(path, lambda line: parse_row(line, kind))


def parse_lines(path: str | Path, parse: Callable[[bytes], T], blank: bool = False) -> Iterator[tuple[int, T]]:
    """Yield (line number from 1, what ``parse`` makes of it); its ValueError becomes a UserError with file and line."""
    for number, line in iter_lines(path, blank):
        try:
            yield number, parse(line)
        except ValueError as error:
            raise UserError(f"{path}:{number}: {error}") from error


def iter_lines(path: str | Path, blank: bool = False) -> Iterator[tuple[int, bytes]]:
    """Yield (line number from 1, line) of a file without its byte order mark; ``blank``: also the empty lines."""
    try:
        with Path(path).open("rb") as file:
            for number, raw in enumerate(file, start=1):
                line = raw.removeprefix(b"\xef\xbb\xbf") if number == 1 else raw
                if blank or line.strip():
                    yield number, line
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error


def holds_chat_rows(path: str | Path) -> bool:
    """Whether the first line of a .jsonl file is a conversation and no document; it may still be a faulty one."""
    if Path(path).suffix.lower() != ".jsonl":
        return False
    try:
        row = parse_json(next(line for _, line in iter_lines(path)))
    except (StopIteration, UserError, ValueError):
        return False  # whoever reads the file says what is wrong with it
    return isinstance(row, dict) and "text" not in row and any(field in row for field in ("messages", "user", "prompt"))


def parse_row(line: bytes | str, kind: Kind) -> Row:
    """Parse one line into a validated row with ``messages``.

    Raises:
        ValueError: in words that continue "FILE:LINE: ".
    """
    row = parse_json(line)
    if not isinstance(row, dict):
        raise ValueError(f"holds {json_kind(row)}; an object is expected")
    return validate_row(row, kind)


def validate_row(row: Row, kind: Kind) -> Row:
    """Check one row's fields and return it with ``messages`` in place of the spellings of other tools."""
    row = _with_messages(row, kind)
    if type(row.get("id")) is int:  # as many data sets number their rows
        row = {**row, "id": str(row["id"])}
    messages = row["messages"]
    if not isinstance(messages, list) or not messages:
        raise ValueError("'messages' must be a non-empty list of {role, content}")
    for index, message in enumerate(messages):
        if fault := _message_fault(message, messages[index - 1] if index else None):
            raise ValueError(f"messages[{index}]{fault}")
    last = messages[-1]["role"]
    if kind == "chat":
        if last != "assistant":
            raise ValueError(f"a chat row must end with the assistant, this one ends with the {last}")
        if not any(message["role"] == "user" for message in messages):
            raise ValueError("holds a reply and no question")
    elif last != "user":
        raise ValueError(f"a row to answer must end with the user, this one ends with the {last}")
    elif kind == "eval" and not has_check(row):
        raise ValueError(f"an eval row needs at least one check: {', '.join(CHECK_FIELDS)}")
    for field in (*TAGS, "id", "key", "cluster", "answer", "reference"):
        if row.get(field) is not None and not isinstance(row[field], str):
            raise ValueError(f"'{field}' must be a string, not {json_kind(row[field])}")
    return row


def has_check(row: Row) -> bool:
    """Whether a reply can fail the row: ``"answer": null`` or ``"must_include": []`` is not a check."""
    return any(row.get(field) not in (None, []) for field in CHECK_FIELDS)


def conversation(row: Row) -> list[Message] | None:
    """The messages that a perfect student would have produced, or None where the row does not say.

    A chat row is its own conversation; an eval row gets its ``reference`` (or its ``answer``) as the last turn.
    """
    messages: list[Message] = row["messages"]
    if messages[-1]["role"] == "assistant":
        return messages
    reply = row.get("reference") or row.get("answer")
    return [*messages, {"role": "assistant", "content": reply}] if reply else None


def prompt_text(row: Row) -> str:
    """The last user turn."""
    messages: list[Message] = row["messages"]
    return next(message["content"] for message in reversed(messages) if message["role"] == "user")


def questions(row: Row) -> list[str]:
    """What a conversation asks: all before each of its replies, and at its end where that waits for one; without the
    system message. Of a row of one question this is its prompt."""
    turns = [message for message in row["messages"] if message["role"] != "system"]
    ends = [end for end, turn in enumerate([*turns, {"role": "assistant"}]) if end and turn["role"] == "assistant"]
    if turns[-1]["role"] == "assistant":
        ends.pop()  # nothing is asked after the last reply
    return ["\n".join(turn["content"] for turn in turns[:end]) for end in ends]


def cluster_of(row: Row) -> str:
    """What the row is held out with: its ``cluster``, else its ``key``, else its question, normalised."""
    return row.get("cluster") or row.get("key") or normalised(questions(row)[-1])


def normalised(text: str) -> str:
    """A text without regard to case, spaces and the mark at its end: "Who are  you?" and "who are you" are one."""
    plain = " ".join(unicodedata.normalize("NFC", text).casefold().split())
    return plain.rstrip(" .?!…。？！") or plain


def dump_rows(rows: Iterable[Row]) -> str:
    """JSONL text of the rows, one line each, keys in the order they have."""
    encode = json.JSONEncoder(ensure_ascii=False).encode  # one for all rows: json.dumps would make one for each
    return "".join([encode(row) + "\n" for row in rows])


def write_rows(path: str | Path, rows: Iterable[Row]) -> None:
    """Write rows as JSONL, atomically."""
    write_files({Path(path): dump_rows(rows)})


def _with_messages(row: Row, kind: Kind) -> Row:
    if "messages" in row:
        return row
    for asked, answered in (("user", "assistant"), ("prompt", "completion")):
        if isinstance(row.get(asked), str):
            messages = [{"role": "user", "content": row[asked]}]
            if isinstance(row.get("system"), str):
                messages.insert(0, {"role": "system", "content": row["system"]})
            if kind == "chat":
                if not isinstance(row.get(answered), str):
                    raise ValueError(f"has '{asked}' but no text in '{answered}'")
                messages.append({"role": "assistant", "content": row[answered]})
            rest = {key: value for key, value in row.items() if key not in (asked, answered, "system")}
            return {**rest, "messages": messages}
    others = "'user' + 'assistant', or 'prompt' + 'completion'" if kind == "chat" else "'prompt', or 'user'"
    raise ValueError(f"needs 'messages' (or {others})")


def _message_fault(message: Any, before: Message | None) -> str | None:
    """What is wrong with a message, in words that continue "messages[3]"."""
    if not isinstance(message, dict) or not all(isinstance(message.get(name), str) for name in ("role", "content")):
        return " must be an object with the strings 'role' and 'content'"
    role, content = message["role"], message["content"]
    if role not in ROLES:
        return f" has the role {role[:60]!r}; known roles are {', '.join(ROLES)}"
    if role == "system" and before is not None:
        return ": a system message may only come first"
    if before is not None and role == before["role"]:
        return f": two {role} turns follow each other"
    if role != "system" and not content.strip():
        return f": the {role} turn is empty"
    fault = text_fault(content)
    return f" {fault}" if fault else None
