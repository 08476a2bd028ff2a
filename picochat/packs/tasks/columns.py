"""Working on paper. In: operands. Out: the lines of a sum, a difference or a product; and back. Next: tasks.arithmetic.

    27 + 15                       52 - 17                         3 x 8
    7 + 5 = 12, write 2, carry 1  12 - 7 = 5, write 5, borrow 1   2: 8 + 8 = 16
    2 + 1 + 1 = 4, write 4        5 - 1 - 1 = 3, write 3          3: 16 + 8 = 24

A column's line adds the two digits and what was carried; the last one writes all that is left. Borrowing writes the
upper digit with ten more. Products are running sums, numbered. What reads lines back shares no code with what writes
them, so that neither can cover for the other.
"""

import re
from collections.abc import Sequence


def write_sum(a: int, b: int) -> list[str]:
    """The lines of a + b."""
    lines, carry, place = [f"{a} + {b}"], 0, 1
    largest = max(a, b, 1)
    while place <= largest:
        x, y = a // place % 10, b // place % 10
        total = x + y + carry
        line = f"{x} + {y} + 1 = {total}" if carry else f"{x} + {y} = {total}"
        place *= 10
        carries = total > 9 and place <= largest
        lines.append(f"{line}, write {total - 10}, carry 1" if carries else f"{line}, write {total}")
        carry = total // 10
    return lines


def write_difference(a: int, b: int) -> list[str]:
    """The lines of a - b, for a >= b."""
    lines, borrow, place = [f"{a} - {b}"], 0, 1
    while place <= max(a, 1):
        x, y = a // place % 10, b // place % 10
        left = x - y - borrow
        upper = x + 10 if left < 0 else x
        line = f"{upper} - {y} - 1 = {left % 10}" if borrow else f"{upper} - {y} = {left % 10}"
        lines.append(f"{line}, write {left % 10}, borrow 1" if left < 0 else f"{line}, write {left}")
        borrow = int(left < 0)
        place *= 10
    return lines


def write_product(count: int, each: int) -> list[str]:
    """The lines of count x each."""
    sums = (f"{number}: {each * (number - 1)} + {each} = {each * number}" for number in range(2, count + 1))
    return [f"{count} x {each}", *sums]


_COLUMN = re.compile(r"(\d+) ([+-]) (\d)(?: [+-] (1))? = (\d+), write (\d+)(?:, (carry|borrow) 1)?")


def read_columns(lines: Sequence[str]) -> tuple[int, int, int]:
    """Read one sum or difference worked by column back: (first operand, second operand with its sign, result).

    Raises:
        ValueError: a line does not follow from the operands or from the line before; says which.
    """
    header = re.fullmatch(r"(\d+) ([+-]) (\d+)", lines[0])
    if not header:
        raise ValueError(f"'{lines[0]}' is no sum and no difference")
    upper, sign, lower = header[1], header[2], header[3]
    width = max(len(upper), len(lower))
    columns = list(zip(reversed(upper.zfill(width)), reversed(lower.zfill(width)), strict=True))
    if len(lines) != 1 + width:
        raise ValueError(f"{width} columns but {len(lines) - 1} lines")
    kept, written = 0, ""
    for place, (line, (x, y)) in enumerate(zip(lines[1:], columns, strict=True)):
        parts = _COLUMN.fullmatch(line)
        if not parts or parts[2] != sign:
            raise ValueError(f"'{line}' is no column")
        left, third, result, write = int(parts[1]), int(parts[4] or 0), int(parts[5]), parts[6]
        borrows = parts[7] == "borrow"
        if (left, int(parts[3]), third) != (int(x) + 10 * borrows, int(y), kept):
            raise ValueError(f"'{line}' does not hold the digits of column {place + 1} and what was kept")
        if result != (left + int(y) + third if sign == "+" else left - int(y) - third):
            raise ValueError(f"'{line}' is calculated wrongly")
        last = place == width - 1
        if (int(write), parts[7]) != (result if last else result % 10, _kept(sign, result, borrows, last)):
            raise ValueError(f"'{line}' writes or keeps the wrong digit")
        kept, written = int(parts[7] is not None), write + written
    return int(upper), int(sign + lower), int(written)


def _kept(sign: str, result: int, borrows: bool, last: bool) -> str | None:
    if sign == "-":
        return "borrow" if borrows and not last else None
    return "carry" if result > 9 and not last else None


def read_product(lines: Sequence[str]) -> tuple[int, int, int]:
    """Read running sums back: (count, what is added, result); ValueError as above."""
    header = re.fullmatch(r"(\d+) x (\d+)", lines[0])
    if not header:
        raise ValueError(f"'{lines[0]}' is no product")
    count, each = int(header[1]), int(header[2])
    total = each
    for number, line in enumerate(lines[1:], start=2):
        if line != f"{number}: {total} + {each} = {total + each}":
            raise ValueError(f"'{line}' does not follow")
        total += each
    if len(lines) != count:
        raise ValueError(f"{len(lines) - 1} additions make {len(lines)} times {each}, not {count}")
    return count, each, total
