"""What a file of rows holds. In: a file, anyone's. Out: counts, lengths, bad lines, sample rows. Next: its owner.

The file is read row by row, and nothing in it, however broken, raises anything but a line in the list of bad ones.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from picochat.blocks import Table, Text, clip, terminal
from picochat.packs.formats import AS_IT_IS, Reading, Tally, iter_rows
from picochat.packs.rows import LANE_FIELDS, Message, Row, conversation, validate_row

_SHOWN = 20  # bad lines that are listed; all are counted
_SAMPLES = 2  # rows that are shown


@dataclass
class Inspection:
    """Everything that was counted."""

    path: Path
    tally: Tally  # what the reader has to say
    counts: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))  # of kind, role and each tag
    lengths: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))  # of each text, in characters
    samples: list[str] = field(default_factory=list)  # the first rows, as they are read

    @property
    def bad(self) -> list[tuple[int, str]]:
        """Line number from 1, and what is wrong."""
        return self.tally.bad or []

    def summary(self) -> str:
        """What `picochat data inspect` prints."""
        rows = f"{self.path}: {self.tally.rows} rows in {self.tally.lines} lines, {len(self.bad)} bad"
        sizes = []
        for name, found in self.lengths.items():
            ordered, last = sorted(found), len(found) - 1
            quantiles = [ordered[min(last, int(share * len(found)))] for share in (0, 0.5, 0.95, 1)]
            sizes.append((name, *map(str, (*quantiles, sum(found)))))
        tables = [
            Table((name, "number"), [(clip(label), str(found[label])) for label in sorted(found)])
            for name, found in self.counts.items()
        ]
        bad = [f"{self.path}:{number}: {clip(reason, 2_000)}" for number, reason in self.bad[:_SHOWN]]
        if len(self.bad) > _SHOWN:
            bad.append(f"… and {len(self.bad) - _SHOWN} more")
        head = ("length", "least", "median", "95 %", "most", "sum")
        return terminal(Text([rows, *self.tally.said()]), Table(head, sizes), *tables, Text(self.samples), Text(bad))


def inspect_rows(
    path: str | Path, reading: Reading = AS_IT_IS, render: Callable[[Sequence[Message]], Any] | None = None
) -> Inspection:
    """Read a whole file; a row is a chat row if it ends with the assistant, an eval row if it ends with the user.

    Args:
        path: the file; UserError where it cannot be read.
        reading: how it is read.
        render: makes of messages their ``ids`` and which of them are ``supervised``, to be counted.
    """
    found = Inspection(Path(path), Tally(reading, bad=[]))

    def checked(row: Row) -> None:
        if row["messages"][-1]["role"] == "user":
            validate_row(row, "eval")

    for line, row in iter_rows(path, None, found.tally, checked):
        messages = row["messages"]
        found.counts["kind"]["eval" if messages[-1]["role"] == "user" else "chat"] += 1
        for name in (*LANE_FIELDS, "source_dataset", "knowledge"):
            if row.get(name) and isinstance(row[name], str):
                found.counts[name][row[name]] += 1
        for message in messages:
            found.counts["role"][_role(message)] += 1
            if message["role"] != "system":
                found.lengths[f"{message['role']} characters"].append(len(message["content"]))
        if render and (whole := conversation(row)):
            rendered = render(whole)
            found.lengths["tokens"].append(len(rendered.ids))
            found.lengths["tokens learnt"].append(sum(rendered.supervised))
        if found.tally.rows <= _SAMPLES:
            shown = (f"    {_role(message)}: {clip(message['content'], 200)}" for message in messages)
            found.samples += [f"line {line}", *shown]
    return found


def _role(message: Message) -> str:
    learnt = {0: " (not learnt)", 1: " (learnt)"}
    return str(message["role"]) + (learnt[message["weight"]] if "weight" in message else "")
