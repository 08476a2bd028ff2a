"""What a file of rows holds. In: a JSONL file, anyone's. Out: counts, lengths, bad lines. Next: the reader.

The file is read line by line, and nothing in it, however broken, raises anything but a line in the list of bad ones.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from picochat.blocks import Table, Text, clip, terminal
from picochat.packs.rows import LANE_FIELDS, Kind, Row, iter_lines, parse_row

SHOWN = 20
"""So many bad lines are listed; all are counted."""


@dataclass
class Inspection:
    """Everything that was counted; lengths are kept one number a text.

    Attributes:
        counts: of kinds, roles and each tag: label → rows, or turns of the role.
        lengths: of each role's turns, in characters and words.
        bad: line number from 1, and what is wrong.
        repeated: rows whose messages stood in an earlier line.
    """

    path: Path
    lines: int = 0
    rows: int = 0
    counts: dict[str, Counter[str]] = field(default_factory=dict)
    lengths: dict[str, list[int]] = field(default_factory=dict)
    bad: list[tuple[int, str]] = field(default_factory=list)
    repeated: int = 0

    def summary(self) -> str:
        """What `picochat data inspect` prints."""
        lines = [f"{self.path}: {self.rows} rows in {self.lines} lines, {len(self.bad)} bad"]
        if self.repeated:
            lines.append(f"{self.repeated} rows have the messages of an earlier row")
        lengths = [(name, *map(str, _quantiles(numbers))) for name, numbers in self.lengths.items()]
        tables = [
            Table((name, "number"), [(clip(label), str(found[label])) for label in sorted(found)])
            for name, found in self.counts.items()
        ]
        bad = [f"{self.path}:{number}: {clip(reason, 2_000)}" for number, reason in self.bad[:SHOWN]]
        if len(self.bad) > SHOWN:
            bad.append(f"… and {len(self.bad) - SHOWN} more")
        return terminal(Text(lines), Table(("length", "least", "median", "95 %", "most"), lengths), *tables, Text(bad))


def inspect_rows(path: str | Path, check: Callable[[Row], object] | None = None) -> Inspection:
    """Read a whole file; a row is a chat row if it ends with the assistant, an eval row if it ends with the user.

    ``check`` may refuse an eval row with a ValueError.

    Raises:
        UserError: the file cannot be read.
    """
    found = Inspection(Path(path))
    seen: set[int] = set()
    for number, line in iter_lines(path):
        found.lines = number
        try:
            kind, row = _read(line)
            if check and kind == "eval":
                check(row)
        except ValueError as error:
            found.bad.append((number, str(error)))
        else:
            _count(found, kind, row)
            same = hash(tuple((message["role"], message["content"]) for message in row["messages"]))
            found.repeated += same in seen
            seen.add(same)
    return found


def _count(found: Inspection, kind: Kind, row: Row) -> None:
    found.rows += 1
    tags = [(name, row[name]) for name in (*LANE_FIELDS, "source_dataset", "knowledge") if row.get(name)]
    for name, label in [("kind", kind), *(("role", message["role"]) for message in row["messages"]), *tags]:
        if isinstance(label, str):
            found.counts.setdefault(name, Counter())[label] += 1
    for message in row["messages"]:
        if message["role"] != "system":
            for unit, length in (("characters", len(message["content"])), ("words", len(message["content"].split()))):
                found.lengths.setdefault(f"{message['role']} {unit}", []).append(length)


def _read(line: bytes) -> tuple[Kind, Row]:
    """A row and its kind; what is wrong is said about the kind that it seems to be."""
    try:
        return "chat", parse_row(line, "chat")
    except ValueError as as_chat:
        try:
            return "eval", parse_row(line, "eval")
        except ValueError as as_eval:
            asks = "must end with the assistant" in str(as_chat) or "but no text in" in str(as_chat)
            raise ValueError(str(as_eval if asks else as_chat)) from None


def _quantiles(numbers: list[int]) -> list[int]:
    """Least, median, 95 % and most."""
    ordered = sorted(numbers)
    return [ordered[min(len(ordered) - 1, int(share * len(ordered)))] for share in (0, 0.5, 0.95, 1)]
