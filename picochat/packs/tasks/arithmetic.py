"""Arithmetic. In: nothing. Out: sums, differences, products and stories with their working. Next: packs.making.

Operands are uniform over a stage; the order in which a sum or product is asked belongs to the phrasing, so both orders
are one problem. A story of three numbers is worked out as a sum and then a difference (see ``tasks.columns``).
"""

import re
from collections.abc import Sequence
from math import isqrt
from typing import ClassVar

from picochat.packs.tasks.base import Draw, Family, Phrasing, Problem, Side, Task, side_of
from picochat.packs.tasks.columns import read_columns, read_product, write_difference, write_product, write_sum

_THINGS = (
    "apples", "books", "buttons", "cards", "coins", "cookies", "cups", "dolls", "eggs", "flowers", "forks", "keys",
    "lemons", "marbles", "nuts", "pears", "pencils", "pens", "plates", "plums", "rings", "rocks", "seeds", "shells",
    "spoons", "stamps", "stars", "sticks", "stones", "toys",
)  # fmt: skip
_NAMES = (
    "Ana",
    "Ben",
    "Cora",
    "Dan",
    "Eva",
    "Finn",
    "Gina",
    "Hugo",
    "Iris",
    "Jack",
    "Kim",
    "Leo",
    "Mia",
    "Noah",
    "Olga",
)

Pair = tuple[int, int]
Triple = tuple[int, int, int]


def _both(*templates: str) -> tuple[tuple[str, str], ...]:
    """Each template in both orders of the operands: the problem is the same, the sentence is not."""
    swap = {"{a}": "{b}", "{b}": "{a}"}
    return tuple((text, re.sub(r"\{[ab]\}", lambda slot: swap[slot[0]], text)) for text in templates)


def _of_things(*templates: str) -> tuple[tuple[str, ...], ...]:
    """Each template once for each kind of thing, as one family."""
    return tuple(tuple(text.replace("{things}", thing) for thing in _THINGS) for text in templates)


class _Wordings:
    """Families of templates, and the part of them that suits special pairs.

    "1 apples" cannot be said, so 0 and 1 are never counted as things. Of a double (5 + 5) both orders are one sentence.
    """

    def __init__(self, families: Sequence[Family]) -> None:
        self._all = tuple(families)
        self._bare = tuple(family for family in families if len(family) != len(_THINGS))
        self._once, self._bare_once = _one_order(self._all), _one_order(self._bare)

    def of(self, value: Pair) -> Sequence[Family]:
        if value[0] == value[1]:
            return self._once if value[0] > 1 else self._bare_once
        return self._all if value[0] > 1 else self._bare


def _one_order(families: Sequence[Family]) -> tuple[tuple[str, ...], ...]:
    seen: set[str] = set()
    kept = []
    for family in families:
        texts = {text.replace("{b}", "{a}"): text for text in reversed(family)}  # of two alike the first stays
        kept.append(tuple(text for same, text in reversed(texts.items()) if same not in seen))
        seen.update(texts)
    return tuple(family for family in kept if family)


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


class Addition(Task):
    """Sums up to three digits. Values: (a, b) with a <= b."""

    category = "bench_math_addition"
    stages: ClassVar = {"single_digit": 0.1, "two_digit": 0.25, "two_digit_carry": 0.35, "three_digit": 0.3}
    known = (
        *_both(
            "What is {a} + {b}?", "{a} + {b} = ?", "What is {a} plus {b}?", "Add {a} and {b}.", "Calculate {a} + {b}."
        ),
        *_both("Work out the sum of {a} and {b}.", "How much is {a} plus {b}?", "Please add {b} to {a}."),
        *_both("Find the sum of {a} and {b}.", "Give the sum of {a} and {b}.", "What is the sum of {a} and {b}?"),
        *_both("What is the total of {a} and {b}?", "Tell me what {a} plus {b} is.", "Find {a} plus {b}."),
        *_both(
            "What do you get for {a} + {b}?", "Say what {a} and {b} make.", "How much do {a} and {b} make together?"
        ),
        *_of_things("There are {a} {things} on a table and {b} {things} in a box. How many {things} are there?"),
        *_of_things("You have {b} {things} and find {a} more. How many {things} do you have?"),
        *_of_things("A box holds {a} {things} and a bag holds {b}. How many {things} do they hold?"),
        *_of_things("A shop has {b} {things} and gets {a} more. How many {things} does it have?"),
        *_of_things("A farmer sells {a} {things} today and {b} later. How many {things} does the farmer sell?"),
        *_of_things("I count {b} {things} here and {a} {things} there. How many {things} do I count?"),
        *_of_things("{a} {things} came on Monday, {b} came on Friday. How many {things} came?"),
    )
    new = (
        *_both("Find {a} + {b}.", "What do {a} and {b} make together?", "Tell me the total of {a} and {b}."),
        *_of_things("A shop sells {a} {things} today and {b} {things} tomorrow. How many {things} does it sell?"),
    )
    wordings: ClassVar = {"known": _Wordings(known), "new": _Wordings(new)}

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

    def pose(self, stage: str, value: Pair, template: str, draw: Draw) -> Problem:
        a, b = value
        first, second = (a, b) if template.index("{a}") < template.index("{b}") else (b, a)
        answer = str(a + b)
        steps = tuple(write_sum(first, second))
        return Problem(template.format(a=a, b=b), answer, answer, steps, content=(str(a), str(b)))

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
    stages: ClassVar = {"single_digit": 0.1, "two_digit": 0.25, "two_digit_borrow": 0.35, "three_digit": 0.3}
    known = (
        ("What is {a} - {b}?", "{a} - {b} = ?"),
        ("What is {a} minus {b}?", "How much is {a} minus {b}?"),
        ("Subtract {b} from {a}.", "Take {b} away from {a}."),
        ("Calculate {a} - {b}.", "Please calculate {a} - {b}.", "Calculate {a} minus {b}."),
        ("Work out the difference of {a} and {b}.", "What is the difference of {a} and {b}?"),
        ("Find the difference of {a} and {b}.", "Tell me the difference of {a} and {b}."),
        ("Find what {a} minus {b} is.", "Tell me what {a} minus {b} is.", "Tell me {a} - {b}."),
        ("What remains of {a} after taking away {b}?", "What is left of {a} without {b}?"),
        ("How much is left of {a} after taking {b} away?", "How much remains of {a} if you take {b}?"),
        ("How much less than {a} is {b}?", "By how much is {a} more than {b}?"),
        ("From {a} take {b}.", "What do you get for {a} - {b}?", "Say what {a} - {b} leaves."),
        *_of_things("There are {a} {things} in a box. {b} are taken out. How many {things} are left?"),
        *_of_things("You have {a} {things} and lose {b}. How many {things} do you have?"),
        *_of_things("Of {a} {things} in a bag, {b} are given away. How many {things} stay in the bag?"),
        *_of_things("A shop has {a} {things}. It sells {b}. How many {things} are left?"),
        *_of_things("I had {a} {things} and used {b} of them. How many {things} remain?"),
        *_of_things("{a} {things} lie on a table. {b} fall down. How many {things} remain on the table?"),
        *_of_things("A farmer owns {a} {things} and sells {b} of them. How many {things} does the farmer keep?"),
    )
    new = (
        ("Find {a} - {b}.", "Find {a} minus {b}."),
        ("What is left of {a} after taking {b}?", "How much more than {b} is {a}?"),
        *_of_things("A shop has {a} {things} and sells {b} of them. How many {things} remain?"),
    )
    wordings: ClassVar = {"known": _Wordings(known), "new": _Wordings(new)}

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
            template.format(a=a, b=b), answer, answer, tuple(write_difference(a, b)), content=(str(a), str(b))
        )

    def fault(self, stage: str, value: Pair, problem: Problem) -> str | None:
        try:
            a, b, left = read_columns(problem.steps)
        except ValueError as error:
            return str(error)
        right = (-b, a) == value and str(left) == problem.answer and left == value[1] - value[0]
        return None if right else f"{value} gives {problem.answer} after {left}"


class Multiplication(Task):
    """Products of 2 to 12. Values: (a, b) with a <= b."""

    category = "bench_math_multiplication"
    stages: ClassVar = {"times_table": 1.0}
    known = (
        *_both("What is {a} x {b}?", "{a} x {b} = ?", "What is {a} times {b}?", "Multiply {a} by {b}."),
        *_both("Calculate {a} x {b}.", "Calculate {a} times {b}.", "How much is {a} times {b}?"),
        *_both("Work out the product of {a} and {b}.", "Please multiply {a} and {b}."),
        *_both("Find the product of {a} and {b}.", "What is the product of {a} and {b}?", "Find {a} times {b}."),
        *_both("Tell me what {a} times {b} is.", "Give the product of {a} and {b}.", "Tell me {a} x {b}."),
        *_both("What do you get if you multiply {a} by {b}?", "What do you get for {a} x {b}?"),
        *_of_things("There are {a} boxes with {b} {things} in each. How many {things} are there?"),
        *_of_things("There are {b} boxes with {a} {things} in each. How many {things} are there?"),
        *_of_things("{a} children have {b} {things} each. How many {things} do they have together?"),
        *_of_things("How many {things} are in {b} bags if each bag holds {a} {things}?"),
        *_of_things("You buy {a} packs of {b} {things}. How many {things} do you buy?"),
        *_of_things("A shop sells {b} boxes of {a} {things}. How many {things} does it sell?"),
        *_of_things("On {a} tables lie {b} {things} each. How many {things} are on the tables?"),
        *_of_things("{b} carts carry {a} {things} each. How many {things} do they carry?"),
        *_of_things("{a} shelves hold {b} {things} each. How many {things} are on the shelves?"),
        *_of_things("A farmer packs {b} bags with {a} {things} each. How many {things} does the farmer pack?"),
        *_of_things("A worker packs {a} boxes of {b} {things}. How many {things} does the worker pack?"),
    )
    new = (
        *_both("Find {a} x {b}.", "Tell me the product of {a} and {b}.", "What do you get for {a} times {b}?"),
        *_of_things("A shop packs {a} bags of {b} {things}. How many {things} does it pack?"),
        *_of_things("{b} tables carry {a} {things} each. How many {things} are on the tables?"),
    )

    wordings: ClassVar = {"known": _Wordings(known), "new": _Wordings(new)}

    def values(self, stage: str) -> Sequence[Pair]:
        return _PairsFrom(2, 11)

    def phrasings(self, stage: str, value: Pair, phrasing: Phrasing) -> Sequence[Family]:
        families: Sequence[Family] = self.wordings[phrasing].of(value)
        return families

    def key(self, stage: str, value: Pair) -> str:
        return f"mul:{value[0]}x{value[1]}"

    def pose(self, stage: str, value: Pair, template: str, draw: Draw) -> Problem:
        count, each = value
        answer, steps = str(count * each), tuple(write_product(count, each))
        return Problem(template.format(a=count, b=each), answer, answer, steps, content=(str(count), str(each)))

    def fault(self, stage: str, value: Pair, problem: Problem) -> str | None:
        try:
            count, each, total = read_product(problem.steps)
        except ValueError as error:
            return str(error)
        right = (count, each) == value and str(total) == problem.answer and total == value[0] * value[1]
        return None if right else f"{value} gives {problem.answer} after {total}"


class Removal(Task):
    """Stories that add, then take away. Values: (a, b, c) with a <= b, asking for a + b - c.

    The working of a story holds a whole sum and a whole difference. So a story may be trained on only if both of them
    are for training; a held-out story holds at least one that is held out.
    """

    category = "bench_math_removal"
    stages: ClassVar = {"story": 1.0}
    known = (
        *_of_things("{name} has {a} {things} and gets {b} more. Then {name} gives {c} away. How many are left?"),
        *_of_things("There are {b} {things} in a bag. {name} adds {a} and takes {c} out. How many are in the bag?"),
        *_of_things("{name} finds {a} {things}, buys {b} more and loses {c}. How many {things} does {name} have?"),
        *_of_things("A box holds {b} {things}. {a} are added, {c} are removed. How many {things} are in the box?"),
        *_of_things("{name} made {b} {things}, then {a} more, and sold {c}. How many {things} does {name} keep?"),
        *_of_things("{name} gets {a} {things} on Monday and {b} on Tuesday, but loses {c}. How many {things} remain?"),
        *_of_things("At first there are {a} {things} on a shelf. {b} arrive, {c} get lost. How many are on the shelf?"),
        *_of_things("A shop owns {b} {things}, buys {a} more and sells {c}. How many {things} does it own?"),
        *_of_things("On Friday {a} {things} arrive, later {b} arrive, then {c} are sold. How many {things} remain?"),
        *_of_things("{name} owns {b} {things}. {a} more arrive and {c} are given away. How many does {name} own?"),
    )
    new = (
        *_of_things("{name} made {a} {things} on Monday and {b} on Friday, then sold {c}. How many {things} remain?"),
        *_of_things("At first {name} owns {b} {things}. {a} arrive later, {c} get lost. How many does {name} own?"),
    )

    def values(self, stage: str) -> Sequence[Triple]:
        return [(a, b, c) for a, b in _PairsFrom(3, 47) for c in range(2, a + b)]

    def key(self, stage: str, value: Triple) -> str:
        return "rem:{}+{}-{}".format(*value)

    def side(self, stage: str, value: Triple) -> Side:
        a, b, c = value
        trained = side_of(f"add:{a}+{b}") == side_of(f"sub:{a + b}-{c}") == "train"
        return "train" if trained else "eval"

    def pose(self, stage: str, value: Triple, template: str, draw: Draw) -> Problem:
        a, b, c = value
        first, second = (a, b) if template.index("{a}") < template.index("{b}") else (b, a)
        answer = str(a + b - c)
        steps = (*write_sum(first, second), *write_difference(a + b, c))
        prompt = template.format(a=a, b=b, c=c, name=draw.pick(_NAMES))
        return Problem(prompt, answer, answer, steps, content=(str(a), str(b), str(c)))

    def fault(self, stage: str, value: Triple, problem: Problem) -> str | None:
        second = next((i for i, line in enumerate(problem.steps) if re.fullmatch(r"\d+ - \d+", line)), 1)
        try:
            first, more, total = read_columns(problem.steps[:second])
            start, less, left = read_columns(problem.steps[second:])
        except ValueError as error:
            return str(error)
        a, b, c = value
        right = sorted((first, more)) == [a, b] and total == start and -less == c and left == a + b - c
        return None if right and str(left) == problem.answer else f"{value} gives {problem.answer} after {left}"
