"""Arithmetic. In: nothing. Out: sums, differences, products and stories with their working. Next: packs.making.

Operands are uniform over a stage; the order in which a sum or product is asked belongs to the phrasing, so both orders
are one problem. A story of three numbers is worked out as a sum and then a difference (see ``tasks.columns``).
"""

import re
from collections.abc import Sequence
from math import isqrt
from typing import ClassVar

from picochat.packs.quotas import Side, split_of
from picochat.packs.tasks.arithmetic_wordings import (
    ADDITION,
    MULTIPLICATION,
    NAMES,
    NEW_REMOVAL,
    REMOVAL,
    SUBTRACTION,
    Pair,
)
from picochat.packs.tasks.base import Draw, Family, Phrasing, Problem, Task
from picochat.packs.tasks.columns import read_columns, read_product, write_difference, write_product, write_sum
from picochat.packs.tasks.wording import as_typed

Triple = tuple[int, int, int]


class _PairsFrom(Sequence[Pair]):
    """All pairs low <= a <= b < low + rows, made when asked for (405,450 of them for three digits).

    Row b - low holds the pairs (low, b), …, (b, b): item i lies in row r, the largest with r (r + 1) / 2 <= i.
    """

    def __init__(self, low: int, rows: int) -> None:
        self.low, self.rows = low, rows

    def __len__(self) -> int:
        return self.rows * (self.rows + 1) // 2

    def __getitem__(self, item: int) -> Pair:  # type: ignore[override]  # slices are not needed
        if not 0 <= item < len(self):
            raise IndexError(item)
        row = (isqrt(8 * item + 1) - 1) // 2
        return self.low + item - row * (row + 1) // 2, self.low + row


_IN_PRODUCTS = frozenset((each, each * times) for each in range(10, 14) for times in range(1, 13))  # 24+12 of 3x12


class Addition(Task):
    """Sums up to three digits. Values: (a, b) with a <= b."""

    category = "bench_math_addition"
    slips = True
    stages: ClassVar = {"single_digit": 0.1, "two_digit": 0.25, "two_digit_carry": 0.35, "three_digit": 0.3}
    wordings: ClassVar = ADDITION

    def values(self, stage: str) -> Sequence[Pair]:
        if stage == "single_digit":
            return _PairsFrom(0, 10)
        if stage == "three_digit":
            return _PairsFrom(100, 900)
        carries = stage == "two_digit_carry"
        return [(a, b) for a, b in _PairsFrom(10, 90) if (a % 10 + b % 10 > 9 or a // 10 + b // 10 > 9) == carries]

    def phrasings(self, stage: str, value: Pair, phrasing: Phrasing) -> Sequence[Family]:
        families: Sequence[Family] = self.wordings[phrasing].of(value)
        return families

    def key(self, stage: str, value: Pair) -> str:
        return f"add:{value[0]}+{value[1]}"

    def side(self, stage: str, value: Pair) -> Side:
        """As the key's hash says, but sums of two digits that the working of a product shows are for training."""
        return "train" if value in _IN_PRODUCTS else super().side(stage, value)

    def pose(self, stage: str, value: Pair, template: str, draw: Draw) -> Problem:
        a, b = value
        first, second = (a, b) if template.index("{a}") < template.index("{b}") else (b, a)
        answer = str(a + b)
        steps = tuple(write_sum(first, second))
        return Problem(as_typed(template.format(a=a, b=b), draw), answer, answer, steps, content=(str(a), str(b)))

    def fault(self, stage: str, value: Pair, problem: Problem) -> str | None:
        try:
            first, second, total = read_columns(problem.steps)
        except ValueError as error:
            return str(error)
        right = sorted((first, second)) == list(value) and str(total) == problem.answer and total == sum(value)
        return None if right else f"{value} gives {problem.answer} after {total}"


class Subtraction(Task):
    """Differences up to three digits, never below nought. Values: (small, large)."""

    category = "bench_math_subtraction"
    slips = True
    stages: ClassVar = {"single_digit": 0.05, "two_digit": 0.2, "two_digit_borrow": 0.35, "three_digit": 0.4}
    wordings: ClassVar = SUBTRACTION

    def values(self, stage: str) -> Sequence[Pair]:
        if stage == "single_digit":
            return _PairsFrom(0, 10)
        if stage == "three_digit":
            return _PairsFrom(100, 900)
        borrows = stage == "two_digit_borrow"
        return [(small, large) for small, large in _PairsFrom(10, 90) if (large % 10 < small % 10) == borrows]

    def phrasings(self, stage: str, value: Pair, phrasing: Phrasing) -> Sequence[Family]:
        families: Sequence[Family] = self.wordings[phrasing].of(value)
        return families

    def key(self, stage: str, value: Pair) -> str:
        return f"sub:{value[1]}-{value[0]}"

    def pose(self, stage: str, value: Pair, template: str, draw: Draw) -> Problem:
        b, a = value
        answer = str(a - b)
        return Problem(
            as_typed(template.format(a=a, b=b), draw),
            answer,
            answer,
            tuple(write_difference(a, b)),
            content=(str(a), str(b)),
        )

    def fault(self, stage: str, value: Pair, problem: Problem) -> str | None:
        try:
            a, b, left = read_columns(problem.steps)
        except ValueError as error:
            return str(error)
        right = (-b, a) == value and str(left) == problem.answer and left == value[1] - value[0]
        return None if right else f"{value} gives {problem.answer} after {left}"


class Multiplication(Task):
    """Products of 2 to 12, and for practice of these by 13. Values: (a, b) with a <= b.

    The last line of 12x4, 44+4=48, stands in no other product of the table: held out, it would ask for a sum that was
    never taught. 13x4 takes the same step.
    """

    category = "bench_math_multiplication"
    slips = True
    stages: ClassVar = {"times_table": 0.9, "by_thirteen": 0.1}
    practice: ClassVar = frozenset({"by_thirteen"})
    wordings: ClassVar = MULTIPLICATION

    def values(self, stage: str) -> Sequence[Pair]:
        return _PairsFrom(2, 11) if stage == "times_table" else [(a, 13) for a in range(2, 13)]

    def phrasings(self, stage: str, value: Pair, phrasing: Phrasing) -> Sequence[Family]:
        families: Sequence[Family] = self.wordings[phrasing].of(value)
        return families

    def key(self, stage: str, value: Pair) -> str:
        return f"mul:{value[0]}x{value[1]}"

    def pose(self, stage: str, value: Pair, template: str, draw: Draw) -> Problem:
        a, b = value
        count, each = (a, b) if template.index("{a}") < template.index("{b}") else (b, a)  # 3 bags of 8: three eights
        answer, steps = str(a * b), tuple(write_product(count, each))
        return Problem(as_typed(template.format(a=a, b=b), draw), answer, answer, steps, content=(str(a), str(b)))

    def fault(self, stage: str, value: Pair, problem: Problem) -> str | None:
        try:
            count, each, total = read_product(problem.steps)
        except ValueError as error:
            return str(error)
        right = sorted((count, each)) == list(value) and str(total) == problem.answer and total == value[0] * value[1]
        return None if right else f"{value} gives {problem.answer} after {total}"


class Removal(Task):
    """Stories that add, then take away. Values: (a, b, c) with a <= b, asking for a + b - c.

    The working of a story holds a whole sum and a whole difference. So a story may be trained on only if both of them
    are for training; a held-out story holds at least one that is held out.
    """

    category = "bench_math_removal"
    slips = True
    stages: ClassVar = {"story": 1.0}
    known = REMOVAL
    new = NEW_REMOVAL

    def values(self, stage: str) -> Sequence[Triple]:
        return [(a, b, c) for a, b in _PairsFrom(3, 47) for c in range(2, a + b)]

    def key(self, stage: str, value: Triple) -> str:
        return "rem:{}+{}-{}".format(*value)

    def side(self, stage: str, value: Triple) -> Side:
        a, b, c = value
        trained = split_of(f"add:{a}+{b}") == split_of(f"sub:{a + b}-{c}") == "train"
        return "train" if trained else "eval"

    def pose(self, stage: str, value: Triple, template: str, draw: Draw) -> Problem:
        a, b, c = value
        first, second = (a, b) if template.index("{a}") < template.index("{b}") else (b, a)
        answer = str(a + b - c)
        steps = (*write_sum(first, second), *write_difference(a + b, c))
        prompt = as_typed(template.format(a=a, b=b, c=c, name=draw.pick(NAMES)), draw)
        return Problem(prompt, answer, answer, steps, content=(str(a), str(b), str(c)))

    def fault(self, stage: str, value: Triple, problem: Problem) -> str | None:
        second = next((i for i, line in enumerate(problem.steps) if re.fullmatch(r"\d+-\d+", line)), 1)
        try:
            first, more, total = read_columns(problem.steps[:second])
            start, less, left = read_columns(problem.steps[second:])
        except ValueError as error:
            return str(error)
        a, b, c = value
        right = sorted((first, more)) == [a, b] and total == start and -less == c and left == a + b - c
        return None if right and str(left) == problem.answer else f"{value} gives {problem.answer} after {left}"
