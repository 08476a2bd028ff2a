"""What a file of rows holds. In: a JSONL file, anyone's. Out: counts, lengths, bad lines. Next: the reader.

    rows.jsonl: 2400 rows in 2400 lines, 0 bad
    kinds       chat 2400
    roles       user 2400, assistant 2400
    …

The file is read line by line, and nothing in it, however broken, raises anything but a line in the list of bad ones.
"""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from picochat.errors import one_line
from picochat.packs.rows import LANE_FIELDS, Kind, Row, iter_lines, parse_row

SHOWN = 20
"""So many bad lines are listed; all are counted."""


@dataclass
class Inspection:
    """Everything that was counted; lengths are kept one number a text."""

    path: Path
    lines: int = 0
    rows: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    roles: Counter[str] = field(default_factory=Counter)
    lanes: dict[str, Counter[str]] = field(default_factory=dict)
    lengths: dict[str, list[int]] = field(default_factory=dict)
    bad: list[tuple[int, str]] = field(default_factory=list)
    """(line number from 1, what is wrong)"""
    repeated: int = 0
    """Rows whose messages stood in an earlier line."""

    def summary(self) -> str:
        """What `picochat data inspect` prints."""
        lines = [f"{self.path}: {self.rows} rows in {self.lines} lines, {len(self.bad)} bad"]
        lines += [f"{name:<9} {_listed(counts)}" for name, counts in (("kinds", self.kinds), ("roles", self.roles))]
        if self.repeated:
            lines.append(f"repeated  {self.repeated} rows have the messages of an earlier row")
        if self.lengths:
            lines.append(f"\n{'length':<22}{'least':>8}{'median':>8}{'95 %':>8}{'most':>8}")
            for name, numbers in self.lengths.items():
                ordered = sorted(numbers)
                cuts = [ordered[0], _quantile(ordered, 0.5), _quantile(ordered, 0.95), ordered[-1]]
                lines.append(f"{name:<22}" + "".join(f"{number:>8}" for number in cuts))
        for name, counts in self.lanes.items():
            labels = {label: one_line(label) for label in sorted(counts)}
            width = max(map(len, labels.values()))
            lines.append(f"\n{name}")
            lines += [f"  {shown:<{width}} {counts[label]:>8}" for label, shown in labels.items()]
        if self.bad:
            lines += ["", *(f"{self.path}:{number}: {one_line(reason)}" for number, reason in self.bad[:SHOWN])]
            if len(self.bad) > SHOWN:
                lines.append(f"… and {len(self.bad) - SHOWN} more")
        return "\n".join(lines)


def inspect_rows(path: str | Path) -> Inspection:
    """Read a whole file; a row is a chat row if it ends with the assistant, an eval row if it ends with the user.

    Raises:
        UserError: the file cannot be read.
    """
    found = Inspection(Path(path))
    seen: set[int] = set()
    for number, line in iter_lines(path):
        found.lines = number
        _count(found, number, line, seen)
    return found


def _count(found: Inspection, number: int, line: bytes, seen: set[int]) -> None:
    try:
        kind, row = _read(line)
    except ValueError as error:
        found.bad.append((number, str(error)))
        return
    found.rows += 1
    found.kinds[kind] += 1
    messages = row["messages"]
    found.roles.update(message["role"] for message in messages)
    for message in messages:
        if message["role"] != "system":
            for unit, length in (("characters", len(message["content"])), ("words", len(message["content"].split()))):
                found.lengths.setdefault(f"{message['role']} {unit}", []).append(length)
    for name in (*LANE_FIELDS, "source_dataset", "knowledge"):
        if isinstance(row.get(name), str):
            found.lanes.setdefault(name, Counter())[row[name]] += 1
    same = hash(tuple((message["role"], message["content"]) for message in messages))
    found.repeated += same in seen
    seen.add(same)


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


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {number}" for name, number in counts.items()) or "none"


def _quantile(ordered: list[int], share: float) -> int:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
