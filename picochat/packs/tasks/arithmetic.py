"""Arithmetic. In: content/en/arithmetic.toml. Out: sums, differences, products, stories with working. Next: rows.

Operands are uniform over a stage; the order in which a sum or product is asked belongs to the phrasing, so both orders
are one problem. A story of three numbers is worked out as a sum and then a difference (see ``tasks.columns``).
"""

import operator
import re
from collections.abc import Callable, Sequence
from math import isqrt
from typing import ClassVar, NamedTuple

from picochat.packs.content import content
from picochat.packs.quotas import Side
from picochat.packs.tasks.base import Draw, Family, Phrasing, Problem, Task
from picochat.packs.tasks.columns import (
    read_columns,
    read_long_product,
    read_product,
    write_difference,
    write_long_product,
    write_product,
    write_sum,
)
from picochat.packs.tasks.wording import pair_families, story_families, with_filler

Pair = tuple[int, int]
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


def _side_of_sum(task: Task, a: int, b: int) -> Side:
    """The side of a + b: sums of two digits that the working of a product shows are for training."""
    return "train" if (a, b) in _IN_PRODUCTS else task.split(f"add:{a}+{b}")


class _Working(NamedTuple):
    """How an operation is calculated, written down, and read back."""

    result: Callable[[int, int], int]
    write: Callable[[int, int], list[str]]
    read: Callable[[Sequence[str]], tuple[int, int, int]]


class _OnPairs(Task):
    """What sums, differences and products share. Values: (a, b) with a <= b."""

    typos = True
    skill: ClassVar[str]
    key_form: ClassVar[str]
    working: ClassVar[_Working]
    ordered = False
    """Whether {a} is the larger operand and {b} the smaller one, in every phrasing and in the key."""

    def values(self, stage: str) -> Sequence[Pair]:
        if stage == "single_digit":
            return _PairsFrom(0, 10)
        if stage == "three_digit":
            return _PairsFrom(100, 900)
        return [pair for pair in _PairsFrom(10, 90) if self.crosses(*pair) == (stage != "two_digit")]

    def crosses(self, small: int, large: int) -> bool:
        """Whether the working of two operands of two digits carries or borrows."""
        raise NotImplementedError

    def phrasings(self, stage: str, value: Pair, phrasing: Phrasing) -> Sequence[Family]:
        return pair_families(self.skill, not self.ordered)[phrasing, value[0] > 1, value[0] == value[1]]

    def key(self, stage: str, value: Pair) -> str:
        return self.key_form.format(*self._operands(value))

    def pose(self, stage: str, value: Pair, template: str, draw: Draw) -> Problem:
        a, b = self._operands(value)
        swapped = not self.ordered and template.index("{b}") < template.index("{a}")  # {b} bags of {a}: worked as b x a
        working = self.working_of(value)
        steps = working.write(b, a) if swapped else working.write(a, b)
        answer = str(working.result(a, b))
        prompt = with_filler(template.format(a=a, b=b), draw)
        return Problem(prompt, answer, answer, tuple(steps), content=(str(a), str(b)))

    def fault(self, stage: str, value: Pair, problem: Problem) -> str | None:
        working = self.working_of(value)
        try:
            first, second, total = working.read(problem.steps)
        except ValueError as error:
            return str(error)
        right = sorted((first, abs(second))) == list(value) and total == working.result(*self._operands(value))
        return None if right and str(total) == problem.answer else f"{value} gives {problem.answer} after {total}"

    def working_of(self, value: Pair) -> _Working:
        """How a problem is calculated."""
        return self.working

    def _operands(self, value: Pair) -> Pair:
        return (value[1], value[0]) if self.ordered else value


class Addition(_OnPairs):
    """Sums up to three digits."""

    category = "bench_math_addition"
    stages: ClassVar = {"single_digit": 0.1, "two_digit": 0.25, "two_digit_carry": 0.35, "three_digit": 0.3}
    skill, key_form = "addition", "add:{}+{}"
    working = _Working(operator.add, write_sum, read_columns)

    def crosses(self, small: int, large: int) -> bool:
        return small % 10 + large % 10 > 9 or small // 10 + large // 10 > 9

    def side(self, stage: str, value: Pair) -> Side:
        return _side_of_sum(self, *value)


class Subtraction(_OnPairs):
    """Differences up to three digits, never negative."""

    category = "bench_math_subtraction"
    stages: ClassVar = {"single_digit": 0.05, "two_digit": 0.2, "two_digit_borrow": 0.35, "three_digit": 0.4}
    skill, key_form, ordered = "subtraction", "sub:{}-{}", True
    working = _Working(operator.sub, write_difference, read_columns)

    def crosses(self, small: int, large: int) -> bool:
        return large % 10 < small % 10


class Multiplication(_OnPairs):
    """Products of 2 to 12; in training alone of these by 13; and of 14 to 99 by 2 to 6, digit by digit.

    The last line of 12x4, 44+4=48, stands in no other product of the table: held out, it would ask for a sum that was
    never taught. 13x4 takes the same step. The working of 6x47 holds all of 6x7 and 6x4: it may be trained on only if
    both are for training; a held-out one holds at least one that is held out (or the table's 66 would be too few).
    """

    category = "bench_math_multiplication"
    stages: ClassVar = {"times_table": 0.45, "two_digits": 0.45, "by_thirteen": 0.1}
    train_only: ClassVar = frozenset({"by_thirteen"})
    skill, key_form = "multiplication", "mul:{}x{}"
    working = _Working(operator.mul, write_product, read_product)
    long_working = _Working(operator.mul, write_long_product, read_long_product)

    def values(self, stage: str) -> Sequence[Pair]:
        if stage == "two_digits":
            return [(a, b) for a in range(2, 7) for b in range(14, 100) if b % 10]
        return _PairsFrom(2, 11) if stage == "times_table" else [(a, 13) for a in range(2, 13)]

    def side(self, stage: str, value: Pair) -> Side:
        if stage != "two_digits":
            return super().side(stage, value)
        parts = [sorted((value[0], digit)) for digit in divmod(value[1], 10) if digit > 1]
        return "eval" if "eval" in {self.split(self.key_form.format(*part)) for part in parts} else "train"

    def working_of(self, value: Pair) -> _Working:
        return self.long_working if value[1] > 13 else self.working


class Removal(Task):
    """Stories that add, then take away. Values: (a, b, c) with a <= b, asking for a + b - c.

    The working of a story holds a whole sum and a whole difference. So a story may be trained on only if both of them
    are for training; a held-out story holds at least one that is held out.
    """

    category = "bench_math_removal"
    typos = True
    stages: ClassVar = {"story": 1.0}

    def values(self, stage: str) -> Sequence[Triple]:
        return [(a, b, c) for a, b in _PairsFrom(3, 47) for c in range(2, a + b)]

    def key(self, stage: str, value: Triple) -> str:
        return "rem:{}+{}-{}".format(*value)

    def side(self, stage: str, value: Triple) -> Side:
        a, b, c = value
        trained = _side_of_sum(self, a, b) == self.split(f"sub:{a + b}-{c}") == "train"
        return "train" if trained else "eval"

    def phrasings(self, stage: str, value: Triple, phrasing: Phrasing) -> Sequence[Family]:
        return story_families("removal", phrasing)

    def pose(self, stage: str, value: Triple, template: str, draw: Draw) -> Problem:
        a, b, c = value
        first, second = (a, b) if template.index("{a}") < template.index("{b}") else (b, a)
        answer = str(a + b - c)
        steps = (*write_sum(first, second), *write_difference(a + b, c))
        name = draw.pick(content("arithmetic")["names"])
        prompt = with_filler(template.format(a=a, b=b, c=c, name=name), draw)
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
