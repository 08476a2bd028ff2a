"""Reports as blocks. In: texts, tables, rates, replies. Out: the terminal's text, Markdown. Next: evidence.html_page.

    Table(("lane", "n", "rate"), [("math", "346", "97.4 %"), ("identity", "134", "8.1 %")])

    terminal                      Markdown
    lane        n    rate         | lane | n | rate |
    math      346  97.4 %         | --- | ---: | ---: |
    identity  134   8.1 %         | math | 346 | 97.4 % |
                                  | identity | 134 | 8.1 % |

A block holds plain text, and each renderer escapes it: a model's reply can neither move the cursor nor become a link.
A block names the media that show it: one list is a short answer in the terminal and a long report on a page.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

Medium = Literal["terminal", "markdown", "page"]
EVERYWHERE: tuple[Medium, ...] = ("terminal", "markdown", "page")
WRITTEN: tuple[Medium, ...] = ("markdown", "page")
Share = tuple[float, Sequence[float] | None]
"""A share with both ends of its 95 % interval, all from 0 to 1; None where there is no interval."""
_WIDE = 100  # columns of a terminal that a matrix may take

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_MARKED = re.compile(r"[\\`*\[\]|~$]|(?<![^\W_])_|_(?![^\W_])")
_OPENING = re.compile(r"^\s*(?:[-+#=]|\d+[.)](?=\s|$))")  # means something at the start of a line only
_REPLACED = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "://": "&#58;//", "www.": "www&#46;", "\t": " ", "\n": " ⏎ "}


@dataclass(frozen=True, kw_only=True)
class Block:
    """What all blocks have: a heading, which renderers show the block, and whether a page shows its heading only."""

    title: str = ""
    media: Sequence[Medium] = EVERYWHERE
    folded: bool = False


@dataclass(frozen=True)
class Text(Block):
    """Sentences, one a line: "lead" is the main result, "soft" a remark, "list" has bullets, "code" is verbatim."""

    lines: Sequence[str]
    style: Literal["plain", "lead", "soft", "list", "code"] = "plain"


@dataclass(frozen=True)
class Table(Block):
    """Rows of cells: the first `left` columns are texts, the others figures. `depths` indents rows, from 0 on."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    left: int = 1
    depths: Sequence[int] = ()


@dataclass(frozen=True)
class Matrix(Table):
    """A table whose figures have shades on a page, from -1 (bad) over 0 to 1 (good), and hints under the mouse."""

    shades: Sequence[Sequence[float]] = field(kw_only=True)
    hints: Sequence[Sequence[str]] = field(default=(), kw_only=True)


@dataclass(frozen=True)
class Bars(Block):
    """Rates drawn on pages only: lane → one rate, or those of the two runs of the `key`, None where one has none."""

    lanes: Mapping[str, Sequence[Share | None]]
    key: Sequence[str] = ()


@dataclass(frozen=True)
class Differences(Block):
    """Differences beside zero, drawn on pages only: lane → its value, its interval if there is one, and single runs."""

    lanes: Mapping[str, tuple[float, Sequence[float] | None, Sequence[float]]]

    @property
    def ends(self) -> tuple[float, float]:
        """The least and the greatest place that is drawn; zero always is, and never at the very edge."""
        places = [place for value, ends, runs in self.lanes.values() for place in (value, *(ends or ()), *runs)]
        low, high = min(0.0, *places), max(0.0, *places)
        edge = max(0.01, 0.02 * (high - low))
        return low - edge, high + edge


@dataclass(frozen=True)
class Reply:
    """One row of model text: a line above it, its parts by label, and its values by filter ("lane" → ["math"])."""

    head: str
    parts: Mapping[str, str]
    fields: Mapping[str, Sequence[str]]
    failed: bool = False


@dataclass(frozen=True)
class Replies(Block):
    """Rows of model text, shown on pages only."""

    shown: Sequence[Reply]
    note: str = ""


@dataclass(frozen=True)
class Chart:
    """Curves over optimizer steps; a "share" goes from 0 to 100 %."""

    title: str
    curves: Mapping[str, Sequence[tuple[float, float]]]
    scale: Literal["linear", "log", "share"] = "linear"


@dataclass(frozen=True)
class Charts(Block):
    """Charts beside each other, drawn on pages only."""

    charts: Sequence[Chart]


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
    return "\n\n".join(filter(None, parts)) + "\n"


def aligned(rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """Rows with their columns under each other, the first `left` to the left and the others to the right."""
    shown = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    forms = [f"{'<' if column < left else '>'}{width}" for column, width in enumerate(widths)]
    return "\n".join("  ".join(map(format, row, forms)).rstrip() for row in shown)


def printable(text: str) -> str:
    """Any text as one line of a terminal: what would move the cursor or colour it is spelt out."""
    return "".join(sign if sign.isprintable() or sign == "\N{NO-BREAK SPACE}" else repr(sign)[1:-1] for sign in text)


def md(text: str) -> str:
    """Any text as one line of Markdown that shows it and means nothing."""
    return _OPENING.sub(lambda match: f"{match[0][:-1]}\\{match[0][-1]}", _cell(text))


def _cell(text: str) -> str:
    """The same inside a line."""
    text = _CONTROL.sub("\ufffd", text.replace("\r\n", "\n").replace("\r", "\n"))
    text = _MARKED.sub(lambda match: f"\\{match[0]}", text)
    for sign, written in _REPLACED.items():
        text = text.replace(sign, written)
    return text


def clip(text: str, length: int = 200) -> str:
    """At most `length` characters, so that a table stays a table."""
    return text if len(text) <= length else text[: length - 1] + "…"


def percent(share: float | None, limit: float | None = None) -> str:
    """A share in words: 0.9583 → "95.8 %", None → "–"; as many decimals as tell it from a limit: 0.9896 → "98.96 %"."""
    if share is None:
        return "–"
    digits = 1
    while limit is not None and limit != share and f"{100 * share:.{digits}f}" == f"{100 * limit:.{digits}f}":
        digits += 1
    return f"{100 * share:.{digits}f} %"


def interval(ends: Sequence[float] | None) -> str:
    """Both ends of an interval of shares: (0.8654, 0.989) → "86.5 – 98.9 %", None → "–"."""
    return f"{100 * ends[0]:.1f} – {100 * ends[1]:.1f} %" if ends else "–"


def _terminal_body(block: Block) -> str:
    match block:
        case Text():
            return "\n".join(map(printable, block.lines))
        case Table() if block.rows:
            table = aligned([block.head, *_indented(block, "  ", str)], block.left)
            fits = max(map(len, table.splitlines())) <= _WIDE
            return table if fits or not isinstance(block, Matrix) else _numbered(block)
    return ""


def _numbered(matrix: Matrix) -> str:
    """A matrix in parts that fit 100 columns; numbers at the head stand for names, which are long.

                 1     2
    1 add     +5.0  -0.2
    2 spell   +0.1  +4.0
    """
    corner, *names = matrix.head
    numbers = {name: f"{number:2}" for number, name in enumerate(names, start=1)}
    labels = [f"{numbers.get(label, '  ')} {label}" for label, *_ in matrix.rows]
    cells = [[cell if cell.endswith("*") else f"{cell}  " for cell in row[1:]] for row in matrix.rows]
    room = _WIDE - max(map(len, labels))
    most = max(1, room // (2 + max(len(cell) for row in cells for cell in row)))
    parts = -(-len(names) // most)
    step = -(-len(names) // parts)
    said = []
    for first in range(0, len(names), step):
        part = slice(first, first + step)
        head = ["", *(f"{number}  " for number in [*numbers.values()][part])]
        said.append(aligned([head, *([label, *row[part]] for label, row in zip(labels, cells, strict=True))]))
    others = [f"{number} {name}" for name, number in numbers.items() if name not in {row[0] for row in matrix.rows}]
    return "\n".join([printable(corner), "\n\n".join(said), *map(printable, others)])


def _markdown_body(block: Block) -> str:
    match block:
        case Text(style="code"):
            text = "\n".join(block.lines)
            fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
            return f"{fence}\n{text}\n{fence}" if text else ""
        case Text():
            before, after = {"list": ("- ", ""), "lead": ("**", "**")}.get(block.style, ("", ""))
            lines = [before + md(line) + after for line in block.lines]
            return ("\n" if block.style == "list" else "\n\n").join(lines)
        case Table() if block.rows:
            rule = ["---" if column < block.left else "---:" for column in range(len(block.head))]
            lines = [" | ".join(line) for line in (map(_cell, block.head), rule, *_indented(block, "&emsp;", _cell))]
            return "\n".join(f"| {line} |" for line in lines)
    return ""


def _indented(table: Table, step: str, shown: Callable[[str], str]) -> list[list[str]]:
    """The rows as `shown`, each with as many steps before it as it is deep."""
    depths = table.depths or [0] * len(table.rows)
    return [[step * depth + shown(row[0]), *map(shown, row[1:])] for depth, row in zip(depths, table.rows, strict=True)]
