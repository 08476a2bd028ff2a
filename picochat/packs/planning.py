"""How many rows of what, and which. In: a profile and a size. Out: level quotas, or the largest possible size; then the
problems of each stage. Next: generation.

480 eval rows ─► weak_skills 346 ─► bench_math_addition 66 ─► two_digit_carry 23, of them 6 in held-out phrasings
                 behavior_anchor 134 ─► …
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from picochat.errors import UserError
from picochat.packs.profiles import Component, Profile
from picochat.packs.quotas import Side, largest_remainder
from picochat.packs.tasks.base import Draw, Family, Phrasing, Task, members

NEW_PHRASING = 4
"""Every fourth eval row of a component asks in words that were never trained on, where the task has such words."""

_NAMED = 5  # stages that a refusal names
_LIST_UP_TO = 16  # list a stage's side when it holds fewer than this many values for each one needed
Stage = tuple[str, str]
"""A task's name and one of its stages (levels of difficulty)."""


class LevelQuota(NamedTuple):
    """The rows of one stage in one lane: ``rows`` of them, ``new`` of which in held-out phrasings."""

    component: Component
    lane: str
    task: str
    stage: str
    rows: int
    new: int


class Planner(NamedTuple):
    """Turns sizes into level quotas.

    Args:
        profile: the mixture.
        tasks: its tasks by name.
        with_new: the stages that can be asked in held-out phrasings.
        limits: (side, component, lane) → rows that a lane of a file or data set can give; without any it has no part.
    """

    profile: Profile
    tasks: Mapping[str, Task]
    with_new: frozenset[Stage]
    limits: Mapping[tuple[Side, str, str], int] = MappingProxyType({})

    def components(self, total: int, side: Side) -> list[tuple[Component, int]]:
        """The rows of each component that has a part in the side."""
        parts = [component for component in self.profile.components if self._shares(component, side)]
        weights = {component.name: component.weight for component in parts}
        return list(zip(parts, largest_remainder(total, weights).values(), strict=True))

    def skills(self, component: Component, rows: int, side: Side) -> dict[str, int]:
        """The rows of each skill (math, spelling, choice, …) of a component."""
        skills: Counter[str] = Counter()
        for name, part in largest_remainder(rows, self._shares(component, side)).items():
            if task := component.lanes[name].task:
                skills[skill_of(self.tasks[task].category)] += part
        return skills

    def given(self, total: int, side: Side) -> list[tuple[Component, str, int]]:
        """(component, lane, rows) of each lane of a file or data set."""
        return [
            (component, name, part)
            for component, rows in self.components(total, side)
            for name, part in largest_remainder(rows, self._shares(component, side)).items()
            if component.lanes[name].task is None
        ]

    def possible(self, total: int, side: Side) -> int:
        """The largest size up to ``total`` for which no file or data set is too short."""

        return bisect_left(range(total + 1), True, key=lambda size: bool(self.short(size, side))) - 1

    def short(self, total: int, side: Side) -> list[str]:
        """The lanes that cannot give the rows of a size, as COMPONENT/LANE."""
        given = self.given(total, side)
        return [f"{own.name}/{lane}" for own, lane, rows in given if rows > self.limits[side, own.name, lane]]

    def quotas(self, total: int, side: Side, taken: Mapping[tuple[str, str], int] | None = None) -> list[LevelQuota]:
        """Rows per stage of each task, by largest remainder on every level; stages without rows are left out.

        Args:
            total: rows of the side.
            taken: rows that others supply, by (component, skill); the skill's tasks share what is left.
        """
        quotas = []
        for component, rows in self.components(total, side):
            asked = 0
            for lane, task_rows in self._task_rows(component, rows, side, taken or {}).items():
                name = component.lanes[lane].task or ""
                task = self.tasks[name]
                left_out = task.train_only if side == "eval" else task.eval_only
                shares = {stage: share for stage, share in task.stages.items() if stage not in left_out}
                for stage, stage_rows in largest_remainder(task_rows, shares).items():
                    new = (asked + stage_rows) // NEW_PHRASING - asked // NEW_PHRASING
                    asked += stage_rows
                    if side == "train" or (name, stage) not in self.with_new:
                        new = 0
                    if stage_rows:
                        quotas.append(LevelQuota(component, lane, name, stage, stage_rows, new))
        return quotas

    def _task_rows(
        self, component: Component, rows: int, side: Side, taken: Mapping[tuple[str, str], int]
    ) -> dict[str, int]:
        parts = largest_remainder(rows, self._shares(component, side))
        tasks = {name: task for name in parts if (task := component.lanes[name].task)}
        quotas = {name: parts[name] for name in tasks}
        for skill, total in self.skills(component, rows, side).items():
            if gone := taken.get((component.name, skill), 0):
                own = {name: quotas[name] for name in quotas if skill_of(self.tasks[tasks[name]].category) == skill}
                quotas |= largest_remainder(total - gone, own)
        return quotas

    def _shares(self, component: Component, side: Side) -> dict[str, float]:
        """The shares of the lanes that have a part in the side."""
        limits = self.limits
        return {name: one.share for name, one in component.lanes.items() if limits.get((side, component.name, name), 1)}


def skill_of(category: str) -> str:
    """``bench_math_addition`` belongs to ``math``, ``identity`` to itself."""
    return category.split("_")[1] if category.startswith("bench_") else category


def needed(quotas: Iterable[LevelQuota]) -> Counter[tuple[Stage, Phrasing]]:
    """How many different pairs of value and template each stage must give, over all components."""
    need: Counter[tuple[Stage, Phrasing]] = Counter()
    for quota in quotas:
        need[(quota.task, quota.stage), "known"] += quota.rows - quota.new
        need[(quota.task, quota.stage), "new"] += quota.new
    return need


def refuse_impossible(
    planner: Planner,
    side: Side,
    quotas: Sequence[LevelQuota],
    total: int,
    capacity: Mapping[tuple[Stage, Phrasing], int | None],
) -> None:
    """Raise if some stage holds fewer different rows than its quotas ask for.

    Args:
        capacity: the number of pairs that a stage holds; None where it is far more than was asked for.

    Raises:
        UserError: names the first stages at fault with both numbers, and the largest size of the whole side.
    """

    def faults(some: Iterable[LevelQuota]) -> list[str]:
        return [
            f"{planner.tasks[task].category}/{stage} can give {limit:,} different rows, not {rows:,}"
            for ((task, stage), phrasing), rows in needed(some).items()
            if (limit := capacity.get(((task, stage), phrasing))) is not None and rows > limit
        ]

    if found := faults(quotas):
        option = "--sft-rows" if side == "train" else "--eval-rows"
        most = bisect_left(range(total), True, key=lambda size: bool(faults(planner.quotas(size, side)))) - 1
        more = f"; {len(found) - _NAMED} others lack rows too" if len(found) > _NAMED else ""
        named = "; ".join(found[:_NAMED]) + more
        raise UserError(f"{option} {total} is too many: {named}. The largest {option} here is {most}")


class ProblemSampler:
    """Hands out one stage's (value, template) pairs on one side; all components of a pack share it, so no pair repeats.

    The values of a side are shuffled once and handed out in rounds; a value comes back, in other words, only after all
    the others came. For the 54 products of the training side and 100 rows:

        round 1   3x8 "What is 3 x 8?"    7x12 "Multiply 12 by 7."   …   (54 rows)
        round 2   3x8 "Calculate 8 x 3."  7x12 "7 x 12 = ?"          …   (46 rows)

    Long stages (405,450 sums of three digits) are not listed: their values are drawn as they are needed, by rejection,
    which is just as uniform over the values of the side.

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
