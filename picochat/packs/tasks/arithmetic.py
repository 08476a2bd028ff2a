"""Arithmetic. In: content/en/arithmetic.toml. Out: sums, differences, products, stories with working. Next: rows.

Operands are uniform over a stage; the order in which a sum or product is asked belongs to the phrasing, so both orders
are one problem. A story of three numbers is worked out as a sum and then a difference (see ``tasks.columns``).
"""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from functools import cache
from operator import add, mul, sub
from typing import Any, ClassVar

from picochat.packs.content import content
from picochat.packs.quotas import Side
from picochat.packs.tasks.base import Draw, Family, Phrasing, Problem, Task
from picochat.packs.tasks.columns import read_working, write_difference, write_product, write_sum
from picochat.packs.tasks.wording import pair_families, story_families, with_filler

Pair = tuple[int, int]
Triple = tuple[int, int, int]
_WORK = {"+": (add, write_sum), "-": (sub, write_difference), "x": (mul, write_product)}
_IN_PRODUCTS = frozenset((each, each * times) for each in range(10, 14) for times in range(1, 13))  # 24+12 of 3x12


@cache
def _pairs(low: int, stop: int) -> Sequence[Pair]:
    """All pairs low <= a <= b < stop."""
    return [(a, b) for b in range(low, stop) for a in range(low, b + 1)]


def _by_digits(stage: str, crosses: Callable[[int, int], bool]) -> Sequence[Pair]:
    """The pairs of a stage; `crosses` says whether the working of two operands of two digits carries or borrows."""
    if stage in ("single_digit", "three_digit"):
        return _pairs(0, 10) if stage == "single_digit" else _pairs(100, 1000)
    return [pair for pair in _pairs(10, 100) if crosses(*pair) == (stage != "two_digit")]


def _side_of_sum(task: Task, a: int, b: int) -> Side:
    """The side of a + b: sums of two digits that the working of a product shows are for training."""
    return "train" if (a, b) in _IN_PRODUCTS else task.split(f"add:{a}+{b}")


class _Worked(Task):
    """Working that is read back."""

    typos = True

    @abstractmethod
    def calculations(self, value: Any) -> list[tuple[int, str, int]]:
        """(smaller operand, sign, larger operand) of each calculation that a problem takes."""

    def fault(self, stage: str, value: Any, problem: Problem) -> str | None:
        try:
            read = read_working(problem.steps)
        except ValueError as error:
            return str(error)
        found = [(min(a, b), sign, max(a, b)) for a, sign, b, _ in read]
        right = found == self.calculations(value) and str(read[-1][-1]) == problem.answer
        return None if right else f"{value} gives {problem.answer} after {'; '.join(problem.steps)}"


class _OnPairs(_Worked):
    """What sums, differences and products share. Values: (a, b) with a <= b."""

    skill: ClassVar[str]
    sign: ClassVar[str]
    ordered = False
    """Whether {a} is the larger operand and {b} the smaller one, in every phrasing and in the key."""

    def calculations(self, value: Pair) -> list[tuple[int, str, int]]:
        return [(value[0], self.sign, value[1])]

    def phrasings(self, stage: str, value: Pair, phrasing: Phrasing) -> Sequence[Family]:
        return pair_families(self.skill, phrasing, not self.ordered, value[0] > 1, value[0] == value[1])

    def key(self, stage: str, value: Pair) -> str:
        a, b = sorted(value, reverse=self.ordered)
        return f"{self.skill[:3]}:{a}{self.sign}{b}"

    def pose(self, stage: str, value: Pair, template: str, draw: Draw) -> Problem:
        a, b = sorted(value, reverse=self.ordered)
        swapped = not self.ordered and template.index("{b}") < template.index("{a}")  # {b} bags of {a}: worked as b x a
        calculate, write = _WORK[self.sign]
        answer, steps = str(calculate(a, b)), write(b, a) if swapped else write(a, b)
        prompt = with_filler(template.format(a=a, b=b), draw)
        return Problem(prompt, answer, answer, tuple(steps), content=(str(a), str(b)))


class Addition(_OnPairs):
    """Sums up to three digits."""

    category = "bench_math_addition"
    stages: ClassVar = {"single_digit": 0.1, "two_digit": 0.25, "two_digit_carry": 0.35, "three_digit": 0.3}
    skill, sign = "addition", "+"

    def values(self, stage: str) -> Sequence[Pair]:
        return _by_digits(stage, lambda a, b: a % 10 + b % 10 > 9 or a // 10 + b // 10 > 9)

    def side(self, stage: str, value: Pair) -> Side:
        return _side_of_sum(self, *value)


class Subtraction(_OnPairs):
    """Differences up to three digits, never negative."""

    category = "bench_math_subtraction"
    stages: ClassVar = {"single_digit": 0.05, "two_digit": 0.2, "two_digit_borrow": 0.35, "three_digit": 0.4}
    skill, sign, ordered = "subtraction", "-", True

    def values(self, stage: str) -> Sequence[Pair]:
        return _by_digits(stage, lambda small, large: large % 10 < small % 10)


class Multiplication(_OnPairs):
    """Products of 2 to 12; in training alone of these by 13; and of 14 to 99 by 2 to 6, digit by digit.

    The last line of 12x4, 44+4=48, stands in no other product of the table: held out, it would ask for a sum that was
    never taught; 13x4 takes the same step. The working of 6x47 holds all of 6x7 and 6x4: it is for training only if
    both are.
    """

    category = "bench_math_multiplication"
    stages: ClassVar = {"times_table": 0.45, "two_digits": 0.45, "by_thirteen": 0.1}
    train_only: ClassVar = frozenset({"by_thirteen"})
    skill, sign = "multiplication", "x"

    def values(self, stage: str) -> Sequence[Pair]:
        if stage == "two_digits":
            return [(a, b) for a in range(2, 7) for b in range(14, 100) if b % 10]
        return _pairs(2, 13) if stage == "times_table" else [(a, 13) for a in range(2, 13)]

    def side(self, stage: str, value: Pair) -> Side:
        if stage != "two_digits":
            return super().side(stage, value)
        sides = {self.split(self.key(stage, (value[0], digit))) for digit in divmod(value[1], 10) if digit > 1}
        return "eval" if "eval" in sides else "train"


class Removal(_Worked):
    """Stories that add, then take away. Values: (a, b, c) with a <= b, asking for a + b - c.

    The working holds a whole sum and a whole difference: a story is for training only if both are.
    """

    category = "bench_math_removal"
    stages: ClassVar = {"story": 1.0}

    def values(self, stage: str) -> Sequence[Triple]:
        return [(a, b, c) for a, b in _pairs(3, 50) for c in range(2, a + b)]

    def calculations(self, value: Triple) -> list[tuple[int, str, int]]:
        a, b, c = value
        return [(a, "+", b), (c, "-", a + b)]

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
        steps = (*write_sum(first, second), *write_difference(a + b, c))
        name = draw.pick(content("arithmetic")["names"])
        prompt, answer = with_filler(template.format(a=a, b=b, c=c, name=name), draw), str(a + b - c)
        return Problem(prompt, answer, answer, steps, content=(str(a), str(b), str(c)))
