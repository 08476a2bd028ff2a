"""The reader of rows, anybody's. In: files. Out: rows in our form, and what is to be said of them. Next: datamodules.

    a row of others                                                        becomes
    {"conversations": [{"from": "human", "value": "Hi"}, …], "weight": 0}  messages, of which none is learnt
    {"system": "Be brief.", "prompt": "2 + 2?", "completion": "4"}         system, user and assistant
    {"messages": […, {"role": "assistant", …}], "answer": 4}               evaluation: the reply is the ``reference``

Nothing vanishes in silence: what picochat cannot express is refused, or dropped and counted by a `Tally`.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from picochat.errors import UserError
from picochat.files import atomic_file, refuse_existing
from picochat.packs.documents import iter_documents
from picochat.packs.records import BrokenError, Numbered, iter_records, refuse_other_kind
from picochat.packs.rows import CHECK_FIELDS, TAGS, Kind, Message, Row, dump_rows, learns, validate_row
from picochat.packs.shapes import CONTROL, MARKS, UnsupportedError, mark, rows_of
from picochat.strict_json import json_kind

Check = Callable[[Row], object]  # refuses a row with a ValueError
_SYSTEM = ("system", "system_prompt")
_BESIDE = frozenset((*_SYSTEM, *MARKS))  # fields of a row that say something about its messages
_TEXTS = (*TAGS, "id", "key", "cluster", "answer", "reference")
_OURS = frozenset((*_TEXTS, *CHECK_FIELDS, "accept", "steps", "choice_labels"))  # empty they say nothing


@dataclass(frozen=True)
class Reading:
    """How rows of others are read. What is not asked for is refused.

    Args:
        format: the form of the rows (a document of text is learnt whole, as in a corpus); null: by their fields.
        map: what fields are called here, as THEIRS=OURS: "title=prompt,body=completion"; null: none.
        learn: which replies of a row are learnt, all or the last.
        on_unsupported: rows with tool calls, images, reasoning or preference pairs: error, or drop (they are counted).
        on_bad: rows that are not in order, such as those with an empty reply: error, or drop (they are counted).
        strip_control: take control tokens of other tools out of the texts, such as <|endoftext|>, </s> and [INST].
    """

    format: (
        Literal["messages", "sharegpt", "alpaca", "dolly", "prompt", "user", "question", "choices", "oasst", "text"]
        | None
    ) = None
    map: str | None = None
    learn: Literal["all", "last"] = "all"
    on_unsupported: Literal["error", "drop"] = "error"
    on_bad: Literal["error", "drop"] = "error"
    strip_control: bool = False

    def __post_init__(self) -> None:
        if self.map is not None and not all(part.count("=") == 1 for part in self.map.split(",")):
            raise UserError(f"map is {self.map!r}; give THEIRS=OURS, such as title=prompt,body=completion")


AS_IT_IS = Reading()


@dataclass(eq=False)
class Tally:
    """How the rows of a file are read, and what was met in them."""

    reading: Reading = AS_IT_IS
    bad: list[tuple[int, str]] | None = None  # gets (line, fault) of each row that is refused; None: a UserError is
    counts: Counter[str] = field(default_factory=Counter)  # sentence → how many rows it is true of
    control: Counter[str] = field(default_factory=Counter)  # control tokens of other tools in the texts
    rows: int = 0  # that were read
    lines: int = 0  # where the last record begins

    def refuse(self, path: str | Path, line: int, fault: ValueError) -> None:
        """Leave a row out and count it, where that was asked; else raise or collect its fault."""
        name = fault.name if isinstance(fault, UnsupportedError) else "not in order"
        asked = self.reading.on_unsupported if isinstance(fault, UnsupportedError) else self.reading.on_bad
        if asked == "drop" and not isinstance(fault, BrokenError):
            self.counts[f"rows dropped, {name}"] += 1
        elif self.bad is None:
            raise UserError(f"{path}:{line}: {fault}") from fault
        else:
            self.bad.append((line, str(fault)))

    def said(self) -> list[str]:
        """Sentences, none where nothing is to be said."""
        tokens = ", ".join(f"{token} {count:,}" for token, count in self.control.most_common(6))
        read = "taken out" if self.reading.strip_control else "read as text; strip_control takes them out"
        said = [f"{sentence}: {count:,}" for sentence, count in self.counts.items()]
        return [*said, f"control tokens of other tools: {tokens} ({read})"] if tokens else said


def read_rows(path: str | Path, kind: Kind, check: Check | None = None, tally: Tally | None = None) -> list[Row]:
    """The rows of a whole file; UserError where it holds none, or a bad one, which is named by its line."""
    tally = tally or Tally()
    rows = [row for _, row in iter_rows(path, kind, tally, check)]
    if not rows:
        raise no_rows(path, tally.said())
    return rows


def no_rows(path: str | Path, said: Sequence[str] = ()) -> UserError:
    """What is said of a file of which nothing is left."""
    return UserError(f"{path}: holds no rows ({'; '.join(said) or 'one JSON object per line is expected'})")


def import_rows(
    files: Sequence[str | Path], out: str | Path, force: bool = False, reading: Reading = AS_IT_IS
) -> dict[str, Tally]:
    """Write the rows of files in our form, as JSONL; what is to be said of each file.

    Args:
        files: files of rows, anybody's.
        out: the JSONL file to write.
        force: replace it if it exists.
        reading: how they are read.
    """
    refuse_other_kind(out)
    refuse_existing([Path(out)], force=force)
    tallies = {str(path): Tally(reading) for path in files}
    with atomic_file(out) as writing:
        for path, tally in tallies.items():
            for _, row in iter_rows(path, None, tally):
                writing.write(dump_rows([row]))
            if not tally.rows:
                raise no_rows(path, tally.said())
    return tallies


def iter_rows(
    path: str | Path, kind: Kind | None, tally: Tally | None = None, check: Check | None = None
) -> Iterator[tuple[int, Row]]:
    """Yield (line from 1, row) of a file; a row that is refused is a UserError.

    `kind` None takes rows that end with the assistant, and those to be answered. `tally` says how they are read, and
    gets what is to be said of them; `check` may refuse one.
    """
    tally = tally or Tally()
    form, met, nan = tally.reading.format, set[str](), list[None]()
    names = dict(part.strip().split("=") for part in (tally.reading.map or "").split(",") if part)
    # no local name: a fault that is raised keeps this frame alive, and a reader in it would keep the file open
    for line, record in _with_trees(_records(path, form, lambda: nan.append(None)), tally):
        if nan:
            nan.clear()
            tally.counts["rows with NaN, read as null"] += 1
        try:
            if names and isinstance(record, dict):
                met |= names.keys() & record.keys()
                record = _renamed(record, names)
            for row in rows_of(record, None if form == "text" else form):
                row = _finished(row, kind, tally)
                if check:
                    check(row)
                tally.rows += 1
                yield line, row
        except ValueError as error:
            tally.refuse(path, line, error)
    if missing := names.keys() - met:
        raise UserError(f"{path}: no row has the field '{min(missing)}' that map names")


def _records(path: str | Path, form: str | None, nan: Callable[[], None]) -> Numbered:
    if form == "text":
        texts = ({"prompt": "", "completion": one.text} for one in iter_documents(path))
        yield from enumerate(texts, start=1)
    else:
        yield from iter_records(path, nan)


def _renamed(record: Row, names: dict[str, str]) -> Row:
    renamed = {names.get(name, name): value for name, value in record.items()}
    if len(renamed) < len(record):
        (twice, _), *_ = Counter(names.get(name, name) for name in record).most_common(1)
        raise ValueError(f"has two fields that map calls '{twice}'")
    return renamed


def _finished(row: Row, kind: Kind | None, tally: Tally) -> Row:
    """A row with `messages`, made one of ours: what stands beside the messages is obeyed, and it is validated."""
    if empty := {name for name in _OURS & row.keys() if row[name] is None or not str(row[name]).strip()}:
        row = {name: value for name, value in row.items() if name not in empty}
    for name in _TEXTS:
        if (value := row.get(name)) is not None and type(value) is not str:
            answers = value if name == "answer" and isinstance(value, list) and value else [value]
            texts = [_text(one, name) for one in answers]  # the first is the answer, the others are accepted as well
            row = {**row, name: texts[0], **({"accept": texts} if answers is value else {})}
    messages: list[Message] = row["messages"]
    if not _BESIDE.isdisjoint(row):
        row = dict(row)
        messages = _obeyed(row, messages)
    messages = _cleaned(messages, tally)
    if tally.reading.learn == "last":
        messages = [*map(_not_learnt, messages[:-1]), messages[-1]]
    if messages is not row["messages"]:
        row = {**row, "messages": messages}
    if kind in ("eval", "prompt") and messages[-1]["role"] == "assistant":  # the gold reply is no part of the question
        reply = validate_row(row, "chat").get("reference")
        row = {**row, "messages": messages[:-1], "reference": messages[-1]["content"] if reply is None else reply}
    last = row["messages"][-1]["role"]
    row = validate_row(row, kind or ("prompt" if last == "user" else "chat"))
    if last != "user" and not learns(messages):
        tally.counts["rows of which no turn is learnt (weight 0)"] += 1
    return row


def _text(value: Any, name: str) -> str:
    """5 → "5"; true → "true", as JSON writes them."""
    if not isinstance(value, str | bool | int | float):
        raise ValueError(f"'{name}' must be a string, not {json_kind(value)}")
    return value if isinstance(value, str) else str(value).lower()


def _obeyed(row: Row, messages: list[Message]) -> list[Message]:
    """The messages with the system prompt and the weight that stand beside them; both are taken out of the row."""
    for name in _SYSTEM:
        if (told := row.pop(name, None)) in (None, ""):
            continue
        if not isinstance(told, str):
            raise ValueError(f"'{name}' must be a string, not {json_kind(told)}")
        if messages[0]["role"] != "system":
            messages = [{"role": "system", "content": told}, *messages]
        elif messages[0]["content"] != told:
            raise ValueError(f"has '{name}' and another system message")
    if mark(row, "") == 0:
        messages = list(map(_not_learnt, messages))
    return messages


def _not_learnt(message: Message) -> Message:
    return {**message, "weight": 0} if learns([message]) else message


def _cleaned(messages: list[Message], tally: Tally) -> list[Message]:
    """Count what other tools wrote into the texts; the messages, without control tokens where that was asked."""
    text = "\n".join([message["content"] for message in messages])
    if "{{" in text:
        tally.counts["rows with placeholders such as {{name}}"] += 1
    if not ("<" in text or "INST]" in text or "### END" in text):  # looking for the pattern takes ten times as long
        return messages
    found = CONTROL.findall(text)
    tally.control.update(found)
    if not (found and tally.reading.strip_control):
        return messages
    return [{**message, "content": CONTROL.sub("", message["content"]).strip()} for message in messages]


def _with_trees(records: Numbered, tally: Tally) -> Numbered:
    """OASST's messages, each below the one that it answers, become the tree that they are; other records pass."""
    first, tree, nodes = 0, Row(), dict[str, Row]()
    for line, record in records:
        tally.lines = line
        if not (isinstance(record, dict) and {"parent_id", "message_id", "text"} <= record.keys()):
            yield line, record
            continue
        name, parent, node = str(record["message_id"]), str(record["parent_id"]), {**record, "replies": []}
        if record["parent_id"] is None:
            if tree:
                yield first, tree
            first, nodes, tree = line, {}, {"message_tree_id": record.get("message_tree_id") or name, "prompt": node}
        elif parent not in nodes:
            yield line, ValueError(f"answers the message {parent!r}, which is not above it in its tree")
            continue
        else:
            nodes[parent]["replies"].append(node)
        nodes[name] = node
    if tree:
        yield first, tree
