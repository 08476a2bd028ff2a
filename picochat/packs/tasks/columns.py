"""Working on paper. In: operands. Out: the lines of a sum, a difference or a product; and back. Next: tasks.arithmetic.

    27+15              52-17                    3x8                 2x47
    7+5=12, carry 1    2-7: borrow, 12-7=5      3:8                 2:7
    3+1=4              4-1=3                    2:8+8=16            1:7+7=14
    Final answer: 42   Final answer: 35         1:16+8=24           14: 4, carry 1
                                                Final answer: 24    2:4
                                                                    1:4+4=8
                                                                    8+1=9
                                                                    Final answer: 94

A column's line holds the two digits, the upper one with the carry added or the borrow taken off (2 and a carry is 3;
after a borrow 5 is 4, and 0 is -1); its last digit is the column's digit of the answer (the last line's whole result
is). Where the upper digit is too small, the line says so before it borrows: the decision is made with both digits at
hand. All sums and differences are thus made of 275 lines. Products are running sums; each line says how many are left
to add, so the end is reached at 1. Those of two digits are a product for each digit. Little is spaced: a space is a
token, and 12x12 has to fit a context of 256. What reads lines back shares no code with what writes them: neither can
cover for the other.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple


def write_sum(a: int, b: int) -> list[str]:
    """The lines of a + b."""
    lines, carry = [f"{a}+{b}"], 0
    while True:
        (a, x), (b, y) = divmod(a, 10), divmod(b, 10)
        last = not (a or b)
        lines.append(_sum_line(x + carry, y, last))
        if last:
            return lines
        carry = (x + carry + y) // 10


def write_difference(a: int, b: int) -> list[str]:
    """The lines of a - b, for a >= b."""
    lines, borrow = [f"{a}-{b}"], 0
    while True:
        (a, x), (b, y) = divmod(a, 10), divmod(b, 10)
        lines.append(_difference_line(x - borrow, y))
        if not (a or b):
            return lines
        borrow = int(x - borrow < y)


def _sum_line(upper: int, lower: int, last: bool) -> str:
    line = f"{upper}+{lower}={upper + lower}"
    return f"{line}, carry 1" if upper + lower > 9 and not last else line


def _difference_line(upper: int, lower: int) -> str:
    if upper >= lower:
        return f"{upper}-{lower}={upper - lower}"
    return f"{upper}-{lower}: borrow, {upper + 10}-{lower}={upper + 10 - lower}"


def write_product(count: int, each: int) -> list[str]:
    """The lines of count x each; the number in front of a line counts down to 1."""
    sums = (f"{left}:{each * (count - left)}+{each}={each * (count - left + 1)}" for left in range(count - 1, 0, -1))
    return [f"{count}x{each}", f"{count}:{each}", *sums]


def write_long_product(first: int, second: int) -> list[str]:
    """The lines of one digit times two, given in either order: units, what is carried, tens."""
    count, each = sorted((first, second))
    tens, units = divmod(each, 10)
    (_, *units_lines), (_, *tens_lines) = write_product(count, units), write_product(count, tens)
    carry, digit = divmod(count * units, 10)
    carried = [
        f"{count * units}: {digit}, carry {carry}",
        *tens_lines,
        f"{count * tens}+{carry}={count * tens + carry}",
    ]
    return [f"{count}x{each}", *units_lines, *carried]


_HEADER = re.compile(r"(\d+)([+-])(\d+)")
_SUM = re.compile(r"(\d+)\+(\d)=(\d+)(, carry 1)?")
_DIFFERENCE = re.compile(r"(\d+)-(\d)=(\d)")
_BORROWED = re.compile(r"(-?\d+)-(\d): borrow, (\d+)-(\d)=(\d)")


class _Column(NamedTuple):
    """What one line says; it is calculated rightly in itself."""

    upper: int
    lower: int
    result: int
    kept: int


def read_columns(lines: Sequence[str]) -> tuple[int, int, int]:
    """Read one sum or difference worked by column back: (first operand, second operand with its sign, result).

    Raises:
        ValueError: a line does not follow from the operands or from the line before; says which.
    """
    header = _HEADER.fullmatch(lines[0])
    if not header:
        raise ValueError(f"'{lines[0]}' is not a sum or a difference")
    upper, sign, lower = header[1], header[2], header[3]
    width = max(len(upper), len(lower))
    if len(lines) != 1 + width:
        raise ValueError(f"{width} columns but {len(lines) - 1} lines")
    uppers, lowers = upper.zfill(width), lower.zfill(width)
    read = _read_sum if sign == "+" else _read_difference
    kept, written = 0, ""
    for place in range(1, width + 1):
        line, last = lines[place], place == width
        column = read(line)
        if column is None:
            raise ValueError(f"'{line}' is not a column, or is calculated wrongly")
        brought = kept if sign == "+" else -kept
        if (column.upper, column.lower) != (int(uppers[-place]) + brought, int(lowers[-place])):
            raise ValueError(f"'{line}' does not hold the digits of column {place} and what was kept")
        kept = column.kept
        due = column.result // 10 if sign == "+" else kept  # whether to borrow was checked with the line
        if kept != (0 if last else due):
            raise ValueError(f"'{line}' keeps the wrong thing")
        written = str(column.result if last else column.result % 10) + written
    return int(upper), int(sign + lower), int(written)


@lru_cache(maxsize=1024)  # 165 different lines make up all sums
def _read_sum(line: str) -> _Column | None:
    parts = _SUM.fullmatch(line)
    if not parts or int(parts[1]) + int(parts[2]) != int(parts[3]):
        return None
    return _Column(int(parts[1]), int(parts[2]), int(parts[3]), int(bool(parts[4])))


@lru_cache(maxsize=1024)  # 110 different lines make up all differences
def _read_difference(line: str) -> _Column | None:
    if parts := _DIFFERENCE.fullmatch(line):
        upper, lower, left = map(int, parts.groups())
        return _Column(upper, lower, left, 0) if upper - lower == left else None
    if parts := _BORROWED.fullmatch(line):
        upper, lower, more, again, left = map(int, parts.groups())
        right = upper < lower == again and more == upper + 10 and more - lower == left
        return _Column(upper, lower, left, 1) if right else None
    return None


def read_product(lines: Sequence[str]) -> tuple[int, int, int]:
    """Read running sums back: (count, what is added, result); ValueError as above."""
    header = re.fullmatch(r"(\d+)x(\d+)", lines[0])
    if not header:
        raise ValueError(f"'{lines[0]}' is not a product")
    count, each = int(header[1]), int(header[2])
    total = 0
    for left, line in zip(range(count, 0, -1), lines[1:], strict=False):
        if line != (f"{left}:{total}+{each}={total + each}" if total else f"{left}:{each}"):
            raise ValueError(f"'{line}' does not follow")
        total += each
    if len(lines) != 1 + count:
        raise ValueError(f"{len(lines) - 1} lines make {len(lines) - 1} times {each}, not {count}")
    return count, each, total


def read_long_product(lines: Sequence[str]) -> tuple[int, int, int]:
    """Read one digit times two back: (digit, two digits, result); ValueError as above."""
    header = re.fullmatch(r"(\d)x(\d)(\d)", lines[0])
    if not header:
        raise ValueError(f"'{lines[0]}' is not a product of one digit and two")
    count, tens, units = map(int, header.groups())
    _, _, ones = read_product([f"{count}x{units}", *lines[1 : count + 1]])
    above, last = f"{ones:02}"[:-1], f"{ones}"[-1]
    if lines[count + 1] != f"{ones}: {last}, carry {above}":
        raise ValueError(f"'{lines[count + 1]}' does not carry the tens of {ones}")
    _, _, high = read_product([f"{count}x{tens}", *lines[count + 2 : -1]])
    closing = re.fullmatch(rf"{high}\+{above}=(\d+)", lines[-1])
    if not closing or int(closing[1]) - high != int(above):
        raise ValueError(f"'{lines[-1]}' does not follow")
    return count, 10 * tens + units, int(closing[1] + last)
