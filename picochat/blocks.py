"""Reports as blocks. In: texts, tables, rates, replies. Out: the terminal's text, Markdown. Next: evidence.html_page.

    Table(("lane", "n", "rate"), [("math", "346", "97.4 %"), ("identity", "134", "8.1 %")])

    terminal                      Markdown
    lane        n    rate         | lane | n | rate |
    math      346  97.4 %         | --- | ---: | ---: |
    identity  134   8.1 %         | math | 346 | 97.4 % |
                                  | identity | 134 | 8.1 % |

A block holds plain text, and each renderer escapes it: a reply of a model, or a name in somebody's file, can neither
move the terminal's cursor nor become a link. A block names the media that show it, so that one list of blocks
is a short answer in the terminal and a long report on a page.
"""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

Medium = Literal["terminal", "markdown", "page"]
EVERYWHERE: tuple[Medium, ...] = ("terminal", "markdown", "page")
WRITTEN: tuple[Medium, ...] = ("markdown", "page")

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_MARKED = re.compile(r"[\\`*\[\]|~$]|(?<![^\W_])_|_(?![^\W_])|^\s*(?:[-+#=]|\d+[.)](?=\s))")
_REPLACED = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "://": "&#58;//", "www.": "www&#46;", "\t": " ", "\n": " ⏎ "}


@dataclass(frozen=True, kw_only=True)
class Block:
    """What all blocks have.

    Attributes:
        title: a heading above the block; none where it is empty.
        media: which renderers show the block.
    """

    title: str = ""
    media: Sequence[Medium] = EVERYWHERE


@dataclass(frozen=True)
class Text(Block):
    """Sentences, one a line.

    Attributes:
        style: "lead" is the main result, "soft" a remark, "list" has a bullet before each line, "code" is verbatim.
        tones: the meaning of each line, shown as its colour on a page; empty where none has one.
    """

    lines: Sequence[str]
    style: Literal["plain", "lead", "soft", "list", "code"] = "plain"
    tones: Sequence[Literal["good", "bad", ""]] = ()


@dataclass(frozen=True)
class Table(Block):
    """Rows of cells.

    Attributes:
        left: how many columns, from the first, are texts; the others are figures and go to the right.
        depths: the level of each row, from 0, shown by its indent; empty where all are of one level.
    """

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    left: int = 1
    depths: Sequence[int] = ()


class Rate(NamedTuple):
    """A share with its 95 % interval, all from 0 to 1."""

    rate: float
    low: float
    high: float


@dataclass(frozen=True)
class Bars(Block):
    """Rates with intervals: lane → its rate, or the rates of two runs (None where a run has no such lane).

    `key` names the runs.
    """

    lanes: Mapping[str, Sequence[Rate | None]]
    key: Sequence[str] = ()


@dataclass(frozen=True)
class Matrix(Block):
    """A table whose cells have shades, from -1 (bad) over 0 (none) to 1 (good); `corner` names what rows are."""

    corner: str
    columns: Sequence[str]
    rows: Mapping[str, Sequence[str]]
    shades: Sequence[Sequence[float]]


@dataclass(frozen=True)
class Reply:
    """One row of model text.

    Attributes:
        head: what is said above it, such as ("row 3", "bench_math_addition", "failed").
        parts: label → text, such as "prompt" and "reply".
        fields: filter → the row's values for it, such as "lane" → ["bench_math_addition"].
        failed: whether it is marked as a failure.
    """

    head: Sequence[str]
    parts: Mapping[str, str]
    fields: Mapping[str, Sequence[str]]
    failed: bool = False


@dataclass(frozen=True)
class Replies(Block):
    """Rows of model text, of which a page shows those that its filters ask for; `note` says which rows these are."""

    shown: Sequence[Reply]
    note: str = ""


@dataclass(frozen=True)
class Chart(Block):
    """Curves over optimizer steps, drawn on pages only; a "share" goes from 0 to 100 %."""

    curves: Mapping[str, Sequence[tuple[float, float]]]
    scale: Literal["linear", "log", "share"] = "linear"


@dataclass(frozen=True)
class Report:
    """A title, a line beneath it, and blocks."""

    title: str
    under: str
    blocks: Sequence[Block]


def terminal(*blocks: Block) -> str:
    """The blocks for a terminal, with an empty line between them."""
    parts = [(block.title, _terminal_body(block)) for block in blocks if "terminal" in block.media]
    return "\n\n".join(f"{printable(title)}\n{body}" if title else body for title, body in parts if body)


def markdown(*blocks: Block) -> str:
    """The blocks as Markdown, which ends without a line break."""
    parts = [(block.title, _markdown_body(block)) for block in blocks if "markdown" in block.media]
    return "\n\n".join(f"## {md(title)}\n\n{body}" if title else body for title, body in parts if body)


def markdown_page(report: Report) -> str:
    """A whole report as the content of a Markdown file."""
    parts = [f"# {md(report.title)}", md(report.under), markdown(*report.blocks)]
    return "\n\n".join(part for part in parts if part) + "\n"


def aligned(rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """Rows with their columns under each other: `left` columns to the left, the others to the right."""
    shown = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(width, column)) for column in zip(*shown, strict=True)]
    lines = []
    for row in shown:
        spaces = [" " * (wide - width(cell)) for cell, wide in zip(row, widths, strict=True)]
        cells = [
            cell + space if place < left else space + cell
            for place, (cell, space) in enumerate(zip(row, spaces, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def width(text: str) -> int:
    """Columns of a terminal that a text takes: 1 a sign, 2 for wide ones (北), none for marks over others."""
    return sum(
        0 if unicodedata.category(sign) in ("Mn", "Me", "Cf") else 1 + (unicodedata.east_asian_width(sign) in "WF")
        for sign in text
    )


def printable(text: str) -> str:
    """Any text as one line of a terminal: what would move the cursor or colour it is spelt out."""
    return "".join(sign if sign.isprintable() or sign == "\N{NO-BREAK SPACE}" else repr(sign)[1:-1] for sign in text)


def md(text: str) -> str:
    """Any text as one line of Markdown that shows it and means nothing."""
    text = _CONTROL.sub("\ufffd", text.replace("\r\n", "\n").replace("\r", "\n"))
    text = _MARKED.sub(lambda found: f"{found[0][:-1]}\\{found[0][-1]}", text)
    for sign, written in _REPLACED.items():
        text = text.replace(sign, written)
    return text


def clip(text: str, length: int = 200) -> str:
    """At most `length` characters, so that a table stays a table."""
    return text if len(text) <= length else text[: length - 1] + "…"


def percent(share: float | None) -> str:
    """A share in words: 0.9583 → "95.8 %", None → "–"."""
    return "–" if share is None else f"{100 * share:.1f} %"


def interval(low: float, high: float) -> str:
    """Both ends of an interval of shares: 0.8654, 0.989 → "86.5 – 98.9 %"."""
    return f"{100 * low:.1f} – {100 * high:.1f} %"


def as_table(block: Bars | Matrix) -> Table:
    """What a picture shows, in figures."""
    if isinstance(block, Matrix):
        return Table((block.corner, *block.columns), [(name, *cells) for name, cells in block.rows.items()])
    runs = block.key or ("",) * max((len(rates) for rates in block.lanes.values()), default=0)
    rows = [
        (name, *(cell for one in rates for cell in ((percent(one.rate), interval(*one[1:])) if one else ("–", "–"))))
        for name, rates in block.lanes.items()
    ]
    return Table(("lane", *(name for run in runs for name in (run or "rate", "95 % interval"))), rows)


def _terminal_body(block: Any) -> str:
    match block:
        case Text():
            return "\n".join(map(printable, block.lines))
        case Table():
            indents = ["  " * depth for depth in block.depths] or [""] * len(block.rows)
            rows = [[indent + row[0], *row[1:]] for indent, row in zip(indents, block.rows, strict=True)]
            return aligned([block.head, *rows], block.left) if rows else ""
        case Bars() | Matrix():
            return _terminal_body(as_table(block))
        case Replies():
            parts = [block.note] if block.note else []
            for reply in block.shown:
                parts += [" · ".join(reply.head), *(f"  {label}: {clip(text)}" for label, text in reply.parts.items())]
            return "\n".join(map(printable, parts))
    return ""


def _markdown_body(block: Any) -> str:
    match block:
        case Text(style="code"):
            text = "\n".join(block.lines)
            fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
            return f"{fence}\n{text}\n{fence}" if text else ""
        case Text():
            before, after = {"list": ("- ", ""), "lead": ("**", "**")}.get(block.style, ("", ""))
            lines = [before + md(line) + after for line in block.lines]
            return ("\n" if block.style == "list" else "\n\n").join(lines)
        case Table():
            indents = ["&emsp;" * depth for depth in block.depths] or [""] * len(block.rows)
            rows = [[indent + md(row[0]), *map(md, row[1:])] for indent, row in zip(indents, block.rows, strict=True)]
            rule = ["---" if place < block.left else "---:" for place in range(len(block.head))]
            lines = [" | ".join(line) for line in ([md(cell) for cell in block.head], rule, *rows)]
            return "\n".join(f"| {line} |" for line in lines) if rows else ""
        case Bars() | Matrix():
            return _markdown_body(as_table(block))
        case Replies():
            labels = list(dict.fromkeys(label for reply in block.shown for label in reply.parts))
            cells = ([clip(reply.parts.get(label, "")) for label in labels] for reply in block.shown)
            rows = [[" · ".join(reply.head), *own] for reply, own in zip(block.shown, cells, strict=True)]
            table = _markdown_body(Table(("row", *labels), rows, left=len(labels) + 1))
            return f"{md(block.note)}\n\n{table}" if block.note and table else table
    return ""
