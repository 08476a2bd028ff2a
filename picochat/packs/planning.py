"""How many rows of what, and which. In: a profile and a size. Out: level quotas, or the largest possible size; then the
problems of each stage. Next: generation.

480 eval rows ─► weak_skills 346 ─► bench_math_addition 66 ─► two_digit_carry 23, of them 6 in held-out phrasings
                 behavior_anchor 134 ─► …
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import inf
from typing import Any, NamedTuple

from picochat.errors import UserError
from picochat.packs.pools import Pool
from picochat.packs.profiles import Component, Profile
from picochat.packs.quotas import Side, largest_remainder
from picochat.packs.tasks.base import Draw, Family, Phrasing, Task, members

_NEW_PHRASING = 4  # every fourth eval row of a component asks in held-out phrasings, where the task has some
_NAMED = 5  # stages that a refusal names
_LIST_UP_TO = 16  # list a stage's side when it holds fewer than this many values for each one needed
Stage = tuple[str, str]  # a task's name and one of its stages (levels of difficulty)


class LevelQuota(NamedTuple):
    """The rows of one stage in one lane: ``rows`` of them, ``new`` of which in held-out phrasings."""

    component: Component
    lane: str
    task: str
    stage: str
    rows: int
    new: int


class Planner(NamedTuple):
    """Turns sizes into level quotas."""

    profile: Profile
    tasks: Mapping[str, Task]
    with_new: frozenset[Stage]  # what can be asked in held-out phrasings
    pools: Mapping[tuple[str, str], Pool]  # the rows of lanes that are read, by (component, lane)

    def lanes(self, total: int, side: Side) -> list[tuple[Component, str, int]]:
        """(component, lane, rows), by largest remainder on both levels; a lane that can give no row has no part."""
        shares = {
            part.name: {name: one.share for name, one in part.lanes.items() if self._limit(side, part, name)}
            for part in self.profile.components
        }
        parts = [part for part in self.profile.components if shares[part.name]]
        rows = largest_remainder(total, {part.name: part.weight for part in parts})
        return [
            (part, lane, count)
            for part in parts
            for lane, count in largest_remainder(rows[part.name], shares[part.name]).items()
        ]

    def skill(self, component: Component, lane: str) -> str:
        """The skill that a lane's task is of: ``bench_math_addition`` of ``math``, ``identity`` of itself."""
        task = component.lanes[lane].task
        category = self.tasks[task].category if task else ""
        return category.split("_")[1] if category.startswith("bench_") else category

    def possible(self, total: int, side: Side) -> int:
        """The largest size up to ``total`` for which no file or data set is too short."""
        return _largest(total, lambda size: bool(self.short(size, side)))

    def short(self, total: int, side: Side) -> list[str]:
        """The lanes that cannot give the rows of a size, as COMPONENT/LANE."""
        lanes = self.lanes(total, side)
        return [f"{part.name}/{lane}" for part, lane, rows in lanes if rows > self._limit(side, part, lane)]

    def _limit(self, side: Side, component: Component, lane: str) -> float:
        pool = self.pools.get((component.name, lane))
        return pool.capacity(side) if pool else inf

    def quotas(self, total: int, side: Side, taken: Mapping[tuple[str, str], int]) -> list[LevelQuota]:
        """Rows per stage of each task; the tasks of a skill share what `taken` leaves, by (component, skill)."""
        lanes = [one for one in self.lanes(total, side) if one[0].lanes[one[1]].task]
        rows = {(part.name, lane): count for part, lane, count in lanes}
        for supplied, gone in taken.items():
            own = {(p.name, lane): count for p, lane, count in lanes if (p.name, self.skill(p, lane)) == supplied}
            rows |= largest_remainder(sum(own.values()) - gone, own)
        quotas, asked = [], Counter[str]()
        for part, lane, _ in lanes:
            name = part.lanes[lane].task
            task = self.tasks[name]
            left_out = task.train_only if side == "eval" else task.eval_only
            shares = {stage: share for stage, share in task.stages.items() if stage not in left_out}
            for stage, count in largest_remainder(rows[part.name, lane], shares).items():
                before, asked[part.name] = asked[part.name], asked[part.name] + count
                new = asked[part.name] // _NEW_PHRASING - before // _NEW_PHRASING
                can_be_new = side == "eval" and (name, stage) in self.with_new
                if count:
                    quotas.append(LevelQuota(part, lane, name, stage, count, new if can_be_new else 0))
        return quotas

    def refuse_impossible(
        self, side: Side, total: int, quotas: Iterable[LevelQuota], capacity: Mapping[tuple[Stage, Phrasing], float]
    ) -> None:
        """Raise UserError, with the largest possible size, if a stage holds fewer rows than asked for."""

        def faults(some: Iterable[LevelQuota]) -> list[str]:
            return [
                f"{self.tasks[task].category}/{stage} can give {capacity[(task, stage), phrasing]:,} different rows, "
                f"not {rows:,}"
                for ((task, stage), phrasing), rows in needed(some).items()
                if rows > capacity.get(((task, stage), phrasing), inf)
            ]

        if found := faults(quotas):
            option = "--sft-rows" if side == "train" else "--eval-rows"
            most = _largest(total, lambda size: bool(faults(self.quotas(size, side, {}))))
            named = "; ".join(found[:_NAMED])
            raise UserError(f"{option} {total} is too many: {named}. The largest {option} here is {most}")


def _largest(total: int, too_large: Callable[[int], bool]) -> int:
    return bisect_left(range(total + 1), True, key=too_large) - 1


def needed(quotas: Iterable[LevelQuota]) -> Counter[tuple[Stage, Phrasing]]:
    """How many different pairs of value and template each stage must give, over all components."""
    need: Counter[tuple[Stage, Phrasing]] = Counter()
    for quota in quotas:
        need[(quota.task, quota.stage), "known"] += quota.rows - quota.new
        need[(quota.task, quota.stage), "new"] += quota.new
    return need


class ProblemSampler:
    """Hands out one stage's (value, template) pairs on one side; all components of a pack share it, so no pair repeats.

    The values of a side are shuffled once and handed out in rounds. For the 54 products of training and 100 rows:

        round 1   3x8 "What is 3 x 8?"    7x12 "Multiply 12 by 7."   …   (54 rows)
        round 2   3x8 "Calculate 8 x 3."  7x12 "7 x 12 = ?"          …   (46 rows)

    Long stages (405,450 sums of three digits) are not listed: their values are drawn as they are needed, by rejection,
    which is just as uniform. `need` says how many pairs will be asked for.
    """

    def __init__(self, task: Task, stage: str, side: Side, need: int, values: Sequence[Any], draw: Draw) -> None:
        self.task, self.stage, self.side = task, stage, side
        self._values, self._draw = values, draw
        self._listed = len(values) < _LIST_UP_TO * need
        listed = [value for value in values if task.side(stage, value) == side] if self._listed else []
        self._order = draw.shuffled(listed)  # the side's values, each once, as far as they are known
        self._drawn: set[int] = set()  # indices into values
        self._at = 0
        self._used: set[tuple[int, str]] = set()  # (place in the order, template)
        self._spent: set[tuple[int, Phrasing]] = set()

    def capacity(self, phrasing: Phrasing) -> float:
        """How many pairs there are; infinite: far more than needed."""
        if not self._listed:
            return inf
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
