"""Working on paper. In: operands. Out: the lines of a sum, a difference or a product; and back. Next: tasks.arithmetic.

    27+15              52-17               3x8
    7+5=12, carry 1    12-7=5, borrow 1    3:8
    2+1+1=4            5-1-1=3             2:8+8=16
    Final answer: 42   Final answer: 35    1:16+8=24
                                           Final answer: 24

A column's line adds the two digits and what was carried; its last digit is the column's digit of the answer (the last
line's whole result is). Borrowing writes the upper digit with ten more. Products are running sums; each line says
how many are left to add, so the end is reached at 1. Nothing is
spaced: a space is a token, and 12x12 has to fit a context of 256. What reads lines back shares no code with what writes
them: neither can cover for the other.
"""

import re
from collections.abc import Sequence
from functools import cache, lru_cache
from typing import NamedTuple


def write_sum(a: int, b: int) -> list[str]:
    """The lines of a + b."""
    lines, carry, rest = [f"{a}+{b}"], 0, (a, b)
    while True:
        (left, x), (right, y) = divmod(rest[0], 10), divmod(rest[1], 10)
        last = not (left or right)
        lines.append(_sum_line(x, y, carry, last))
        if last:
            return lines
        carry, rest = (x + y + carry) // 10, (left, right)


def write_difference(a: int, b: int) -> list[str]:
    """The lines of a - b, for a >= b."""
    lines, borrow, rest = [f"{a}-{b}"], 0, (a, b)
    while True:
        (left, x), (right, y) = divmod(rest[0], 10), divmod(rest[1], 10)
        lines.append(_difference_line(x, y, borrow))
        if not (left or right):
            return lines
        borrow, rest = int(x - y - borrow < 0), (left, right)


@cache  # 400 different lines at most
def _sum_line(x: int, y: int, carry: int, last: bool) -> str:
    total = x + y + carry
    line = f"{x}+{y}+1={total}" if carry else f"{x}+{y}={total}"
    return f"{line}, carry 1" if total > 9 and not last else line


@cache  # 200 different lines at most
def _difference_line(x: int, y: int, borrow: int) -> str:
    digit = (x - y - borrow) % 10
    upper = x + 10 if x - y - borrow < 0 else x
    line = f"{upper}-{y}-1={digit}" if borrow else f"{upper}-{y}={digit}"
    return f"{line}, borrow 1" if upper > x else line


def write_product(count: int, each: int) -> list[str]:
    """The lines of count x each; the number in front of a line counts down to 1."""
    sums = (f"{left}:{each * (count - left)}+{each}={each * (count - left + 1)}" for left in range(count - 1, 0, -1))
    return [f"{count}x{each}", f"{count}:{each}", *sums]


_HEADER = re.compile(r"(\d+)([+-])(\d+)")
_COLUMN = re.compile(r"(\d+)([+-])(\d)(?:\2(1))?=(\d+)(?:, (carry|borrow) 1)?")


class _Column(NamedTuple):
    """What one line says; it is calculated rightly in itself."""

    upper: int
    sign: str
    lower: int
    brought: int
    result: int
    kept: str | None


def read_columns(lines: Sequence[str]) -> tuple[int, int, int]:
    """Read one sum or difference worked by column back: (first operand, second operand with its sign, result).

    Raises:
        ValueError: a line does not follow from the operands or from the line before; says which.
    """
    header = _HEADER.fullmatch(lines[0])
    if not header:
        raise ValueError(f"'{lines[0]}' is no sum and no difference")
    upper, sign, lower = header[1], header[2], header[3]
    width = max(len(upper), len(lower))
    if len(lines) != 1 + width:
        raise ValueError(f"{width} columns but {len(lines) - 1} lines")
    uppers, lowers = upper.zfill(width), lower.zfill(width)
    brought, written = 0, ""
    for place in range(1, width + 1):
        line, last = lines[place], place == width
        column = _read_column(line)
        if column is None or column.sign != sign:
            raise ValueError(f"'{line}' is no column, or is calculated wrongly")
        digit = int(uppers[-place]) + (10 if column.kept == "borrow" else 0)
        if (column.upper, column.lower, column.brought) != (digit, int(lowers[-place]), brought):
            raise ValueError(f"'{line}' does not hold the digits of column {place} and what was kept")
        keeps = column.kept is not None
        if (keeps and last) or keeps != (not last and (column.result > 9 if sign == "+" else column.upper > 9)):
            raise ValueError(f"'{line}' keeps the wrong thing")
        brought, written = int(keeps), str(column.result if last else column.result % 10) + written
    return int(upper), int(sign + lower), int(written)


@lru_cache(maxsize=1024)  # some 600 different lines make up all sums and differences
def _read_column(line: str) -> _Column | None:
    parts = _COLUMN.fullmatch(line)
    if not parts:
        return None
    upper, sign, lower, brought, result = int(parts[1]), parts[2], int(parts[3]), int(parts[4] or 0), int(parts[5])
    if result != (upper + lower + brought if sign == "+" else upper - lower - brought):
        return None
    if parts[6] is not None and parts[6] != ("carry" if sign == "+" else "borrow"):
        return None
    return _Column(upper, sign, lower, brought, result, parts[6])


def read_product(lines: Sequence[str]) -> tuple[int, int, int]:
    """Read running sums back: (count, what is added, result); ValueError as above."""
    header = re.fullmatch(r"(\d+)x(\d+)", lines[0])
    if not header:
        raise ValueError(f"'{lines[0]}' is no product")
    count, each = int(header[1]), int(header[2])
    total = 0
    for left, line in zip(range(count, 0, -1), lines[1:], strict=False):
        if line != (f"{left}:{total}+{each}={total + each}" if total else f"{left}:{each}"):
            raise ValueError(f"'{line}' does not follow")
        total += each
    if len(lines) != 1 + count:
        raise ValueError(f"{len(lines) - 1} lines make {len(lines) - 1} times {each}, not {count}")
    return count, each, total
