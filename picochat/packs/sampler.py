"""One stage's problems, handed out. In: a task's values. Out: (value, template) pairs, none twice. Next: generation.

The values of a side are shuffled once and handed out in rounds; a value comes back, in other words, only after all the
others came. For the 54 products of the training side and 100 rows:

    round 1   3x8 "What is 3 x 8?"    7x12 "Multiply 12 by 7."   …   (54 rows)
    round 2   3x8 "Calculate 8 x 3."  7x12 "7 x 12 = ?"          …   (46 rows)

Long stages (405,450 sums of three digits) are not listed: their values are drawn as they are needed, by rejection,
which is just as uniform over the values of the side.
"""

from collections.abc import Sequence
from typing import Any

from picochat.packs.quotas import Side
from picochat.packs.tasks.base import Draw, Family, Phrasing, Task, members

_LIST_UP_TO = 16  # list a stage's side when it holds fewer than this many values for each one needed


class ProblemSampler:
    """Hands out one stage's (value, template) pairs on one side; all components of a pack share it, so no pair repeats.

    Args:
        need: how many pairs will be asked for.
        values: the stage's values, of both sides.
    """

    def __init__(self, task: Task, stage: str, side: Side, need: int, values: Sequence[Any], draw: Draw) -> None:
        self.task, self.stage, self.side = task, stage, side
        self._values, self._draw = values, draw
        self._listed = len(values) < _LIST_UP_TO * need
        self._order: list[Any] = []  # the side's values, each once, as far as they are known
        if self._listed:
            self._order = draw.shuffled([value for value in values if task.side(stage, value) == side])
        self._drawn: set[int] = set()  # indices into values
        self._at = 0
        self._used: set[tuple[int, str]] = set()  # (place in the order, template)
        self._spent: set[tuple[int, Phrasing]] = set()

    def capacity(self, phrasing: Phrasing) -> int | None:
        """How many pairs there are; None: far more than needed."""
        if not self._listed:
            return None
        sizes: dict[int, tuple[Sequence[Family], int]] = {}  # most tasks hand out the same families for every value
        total = 0
        for value in self._order:
            families = self.task.phrasings(self.stage, value, phrasing)
            if id(families) not in sizes:  # (kept beside the number, so that no other object gets this id)
                sizes[id(families)] = families, sum(len(members(family)) for family in families)
            total += sizes[id(families)][1]
        return total

    def sample(self, phrasing: Phrasing) -> tuple[Any, str] | None:
        """The next pair; None when every value was asked in every way."""
        tried = 0
        while True:
            if not self._listed and self._at == len(self._order):
                self._draw_value()
            if tried >= len(self._order):
                return None
            at = self._at % len(self._order)
            self._at += 1
            tried += 1
            if (at, phrasing) in self._spent:
                continue
            families = self.task.phrasings(self.stage, self._order[at], phrasing)
            template = self._template(at, families) if families else None
            if template is not None:
                self._used.add((at, template))
                return self._order[at], template
            self._spent.add((at, phrasing))

    def _draw_value(self) -> None:
        """Add one value of the side that is not in the order yet; when there is none, the order is complete."""
        while len(self._drawn) < len(self._values):
            index = self._draw.below(len(self._values))
            if index not in self._drawn:
                self._drawn.add(index)
                value = self._values[index]
                if self.task.side(self.stage, value) == self.side:
                    self._order.append(value)
                    return
        self._listed = True

    def _template(self, at: int, families: Sequence[Family]) -> str | None:
        family = self._draw.pick(families)
        template = family if isinstance(family, str) else self._draw.pick(family)
        if (at, template) not in self._used:
            return template
        unused = [[text for text in members(family) if (at, text) not in self._used] for family in families]
        left = [family for family in unused if family]
        return self._draw.pick(self._draw.pick(left)) if left else None
