"""Which problem is asked how. In: a stage and a side. Out: (value, template) pairs, no pair twice. Next: mixture.

The values of the side are shuffled once and dealt in rounds; a value comes back, in other words, only after all the
others were dealt. For the 54 products of the training side and 100 rows:

    round 1   3x8 "What is 3 x 8?"    7x12 "Multiply 12 by 7."   …   (54 rows)
    round 2   3x8 "Calculate 8 x 3."  7x12 "7 x 12 = ?"          …   (46 rows)

Long stages (405,450 sums of three digits) are not listed: as many values as needed are drawn by rejection, which is
just as uniform over the values of the side.
"""

from collections.abc import Sequence
from typing import Any

from picochat.packs.tasks.base import Draw, Family, Phrasing, Side, Task

_LIST_UP_TO = 16  # list a stage's side when it holds fewer than this many values for each one needed


class ExhaustedError(Exception):
    """The stage has no unused pair left."""


class Dealer:
    """Deals one stage's pairs on one side; all components of a pack share it, so that none repeats another.

    Args:
        need: how many pairs will be asked for.
        values: the stage's values, of both sides.
    """

    def __init__(self, task: Task, stage: str, side: Side, need: int, values: Sequence[Any], draw: Draw) -> None:
        self.task, self.stage, self._draw = task, stage, draw
        self.listed = len(values) < _LIST_UP_TO * need
        if self.listed:
            self.order = draw.shuffled([value for value in values if task.side(stage, value) == side])
        else:
            self.order = _drawn(task, stage, side, need, values, draw)
        self._at = 0
        self._used: set[tuple[int, str]] = set()

    def capacity(self, phrasing: Phrasing) -> int | None:
        """How many pairs there are; None: far more than needed."""
        if not self.listed:
            return None
        seen: dict[int, tuple[Sequence[Family], int]] = {}  # most tasks hand out the same families for every value
        total = 0
        for value in self.order:
            families = self.task.phrasings(self.stage, value, phrasing)
            if id(families) not in seen:  # (kept beside the number, so that no other object gets this id)
                seen[id(families)] = families, sum(1 if isinstance(family, str) else len(family) for family in families)
            total += seen[id(families)][1]
        return total

    def deal(self, phrasing: Phrasing) -> tuple[Any, str]:
        """The next pair.

        Raises:
            ExhaustedError: every value was asked in every way.
        """
        for _ in range(len(self.order)):
            at = self._at % len(self.order)
            value = self.order[at]
            self._at += 1
            families = self.task.phrasings(self.stage, value, phrasing)
            if families and (template := self._template(at, families)) is not None:
                self._used.add((at, template))
                return value, template
        raise ExhaustedError

    def _template(self, at: int, families: Sequence[Family]) -> str | None:
        family = self._draw.pick(families)
        template = family if isinstance(family, str) else self._draw.pick(family)
        if (at, template) not in self._used:
            return template
        listed = [[family] if isinstance(family, str) else family for family in families]
        unused = [[text for text in family if (at, text) not in self._used] for family in listed]
        left = [family for family in unused if family]
        return self._draw.pick(self._draw.pick(left)) if left else None


def _drawn(task: Task, stage: str, side: Side, need: int, values: Sequence[Any], draw: Draw) -> list[Any]:
    """``need`` different values of the side, uniformly."""
    seen: set[int] = set()
    order: list[Any] = []
    while len(order) < need and len(seen) < len(values):
        index = draw.below(len(values))
        if index not in seen:
            seen.add(index)
            value = values[index]
            if task.side(stage, value) == side:
                order.append(value)
    return order
