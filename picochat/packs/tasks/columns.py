"""Working on paper. In: operands. Out: the lines of a sum, a difference or a product; and back. Next: tasks.arithmetic.

    27+15              52-17                    3x8          2x47
    7+5=12, carry 1    2-7: borrow, 12-7=5      3:8          2:7
    3+1=4              4-1=3                    2:8+8=16     1:7+7=14
                                                1:16+8=24    14: 4, carry 1
                                                             2:4
                                                             1:4+4=8
                                                             8+1=9

A column's line holds the two digits, the upper one with the carry added or the borrow taken off (after a borrow 5 is 4,
and 0 is -1). Where the upper digit is too small, the line says so before it borrows: the decision is made with both
digits at hand. Products are running sums; each line says how many are left. Little is spaced: a space is a token, and
12x12 has to fit a context of 256. What reads lines back shares no code with what writes them: neither can cover for the
other.
"""

import re
from collections.abc import Sequence

_LARGEST = 13  # operand of a product that is worked as one running sum; larger ones have two digits, worked one by one


def write_sum(a: int, b: int) -> list[str]:
    """The lines of a + b."""
    lines, carry = [f"{a}+{b}"], 0
    while True:
        (a, x), (b, y) = divmod(a, 10), divmod(b, 10)
        total, last = x + carry + y, not (a or b)
        lines.append(f"{x + carry}+{y}={total}" + (", carry 1" if total > 9 and not last else ""))
        if last:
            return lines
        carry = total // 10


def write_difference(a: int, b: int) -> list[str]:
    """The lines of a - b, for a >= b."""
    lines, borrow = [f"{a}-{b}"], 0
    while True:
        (a, x), (b, y) = divmod(a, 10), divmod(b, 10)
        upper, borrow = x - borrow, int(x - borrow < y)
        lines.append(
            f"{upper}-{y}: borrow, {upper + 10}-{y}={upper + 10 - y}" if borrow else f"{upper}-{y}={upper - y}"
        )
        if not (a or b):
            return lines


def write_product(first: int, second: int) -> list[str]:
    """The lines of first x second; of one digit times two in either order: units, what is carried, tens."""
    if max(first, second) <= _LARGEST:
        sums = (f"{n}:{second * (first - n)}+{second}={second * (first - n + 1)}" for n in range(first - 1, 0, -1))
        return [f"{first}x{second}", f"{first}:{second}", *sums]
    count, each = sorted((first, second))
    tens, units = divmod(each, 10)
    (_, *ones), (_, *high) = write_product(count, units), write_product(count, tens)
    carry, digit = divmod(count * units, 10)
    closing = f"{count * tens}+{carry}={count * tens + carry}"
    return [f"{count}x{each}", *ones, f"{count * units}: {digit}, carry {carry}", *high, closing]


_HEADER = re.compile(r"(\d+)([+x-])(\d+)")


def read_working(lines: Sequence[str]) -> list[tuple[int, str, int, int]]:
    """Read calculations back: (first operand, sign, second operand, result) of each; ValueError names a wrong line."""
    headers = {place: found for place, line in enumerate(lines) if (found := _HEADER.fullmatch(line))}
    if 0 not in headers:
        raise ValueError(f"'{lines[0]}' is not a sum, a difference or a product")
    read = []
    for (start, header), stop in zip(headers.items(), [*headers, len(lines)][1:], strict=True):
        (first, sign, second), worked = header.groups(), lines[start + 1 : stop]
        product = _read_product(int(first), int(second), worked) if sign == "x" else None
        result = _read_columns(first, sign, second, worked) if product is None else product
        read.append((int(first), sign, int(second), result))
    return read


def _read_columns(upper: str, sign: str, lower: str, lines: Sequence[str]) -> int:
    width, kept, written = max(len(upper), len(lower)), 0, ""
    if len(lines) != width:
        raise ValueError(f"{width} columns but {len(lines)} lines")
    for place, line in enumerate(lines, start=1):
        x, y = (int(number.zfill(width)[-place]) for number in (upper, lower))
        x += kept if sign == "+" else -kept
        result = x + y if sign == "+" else x - y
        kept = int(not 0 <= result <= 9 and place < width)
        right = f"{x}{sign}{y}={result}" + (", carry 1" if kept else "")
        if kept and sign == "-":
            right = f"{x}-{y}: borrow, {x + 10}-{y}={result + 10}"
        if line != right or (result < 0 and not kept):
            raise ValueError(f"'{line}' does not follow")
        written = f"{result % 10 if place < width else result}{written}"
    return int(written)


def _read_product(count: int, each: int, lines: Sequence[str]) -> int:
    digits = each > _LARGEST
    if len(lines) != (2 * count + 2 if digits else count):
        raise ValueError(f"{len(lines)} lines do not make {count} times {each}")
    if digits:
        ones = _read_product(count, each % 10, lines[:count])
        above, last = divmod(ones, 10)
        if lines[count] != f"{ones}: {last}, carry {above}":
            raise ValueError(f"'{lines[count]}' does not carry the tens of {ones}")
        high = _read_product(count, each // 10, lines[count + 1 : -1])
        if lines[-1] != f"{high}+{above}={high + above}":
            raise ValueError(f"'{lines[-1]}' does not follow")
        return int(f"{high + above}{last}")
    total = 0
    for left, line in zip(range(count, 0, -1), lines, strict=True):
        if line != (f"{left}:{total}+{each}={total + each}" if total else f"{left}:{each}"):
            raise ValueError(f"'{line}' does not follow")
        total += each
    return total
