"""How many rows of what. In: a profile and a size. Out: cells, or the largest possible size. Next: packs.making.

480 eval rows ─► weak_skills 346 ─► bench_math_addition 66 ─► two_digit_carry 23, of them 6 in new words
                 behavior_anchor 134 ─► …
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from picochat.errors import UserError
from picochat.packs.profiles import Component, Profile
from picochat.packs.quotas import Side, largest_remainder
from picochat.packs.tasks.base import Phrasing, Task

NEW_PHRASING = 4
"""Every fourth eval row of a component asks in words that were never trained on, where the task has such words."""

Stage = tuple[str, str]
"""A task's name and one of its stages."""
Need = dict[tuple[Stage, Phrasing], int]


@dataclass(frozen=True, slots=True)
class Cell:
    """The rows of one stage in one component: ``rows`` of them, ``new`` of which in unheard words."""

    component: Component
    task: str
    stage: str
    rows: int
    new: int


@dataclass(frozen=True)
class Planner:
    """Turns sizes into cells.

    Args:
        profile: the mixture.
        tasks: its tasks by name.
        with_new: the stages that can be asked in words kept for evaluation.
    """

    profile: Profile
    tasks: Mapping[str, Task]
    with_new: frozenset[Stage]

    def components(self, total: int) -> list[tuple[Component, int]]:
        """The rows of each component."""
        weights = {component.name: component.weight for component in self.profile.components}
        return list(zip(self.profile.components, largest_remainder(total, weights).values(), strict=True))

    def lanes(self, component: Component, rows: int) -> dict[str, int]:
        """The rows of each lane (math, spelling, choice, …) of a component."""
        lanes: dict[str, int] = defaultdict(int)
        for name, part in largest_remainder(rows, component.tasks).items():
            lanes[lane_of(self.tasks[name].category)] += part
        return dict(lanes)

    def cells(self, total: int, side: Side, taken: Mapping[tuple[str, str], int] | None = None) -> list[Cell]:
        """Rows per stage, by largest remainder on every level; stages without rows are left out.

        Args:
            total: rows of the side.
            taken: rows that others supply, by (component, lane); the lane's tasks share what is left.
        """
        cells = []
        for component, rows in self.components(total):
            asked = 0
            for name, task_rows in self._task_rows(component, rows, taken or {}).items():
                task = self.tasks[name]
                asked_for = {
                    s: share for s, share in task.stages.items() if side == "train" or s not in task.train_only
                }
                for stage, stage_rows in largest_remainder(task_rows, asked_for).items():
                    asked += stage_rows
                    new = asked // NEW_PHRASING - (asked - stage_rows) // NEW_PHRASING
                    if stage_rows:
                        heard = side == "train" or (name, stage) not in self.with_new
                        cells.append(Cell(component, name, stage, stage_rows, 0 if heard else new))
        return cells

    def _task_rows(self, component: Component, rows: int, taken: Mapping[tuple[str, str], int]) -> dict[str, int]:
        quotas = largest_remainder(rows, component.tasks)
        for lane, total in self.lanes(component, rows).items():
            if gone := taken.get((component.name, lane), 0):
                members = {name: quotas[name] for name in quotas if lane_of(self.tasks[name].category) == lane}
                quotas |= largest_remainder(total - gone, members)
        return quotas


def lane_of(category: str) -> str:
    """``bench_math_addition`` belongs to ``math``, ``identity`` to itself."""
    return category.split("_")[1] if category.startswith("bench_") else category


def needed(cells: Iterable[Cell]) -> Need:
    """How many different pairs of value and template each stage must give, over all components."""
    need: Need = defaultdict(int)
    for cell in cells:
        need[(cell.task, cell.stage), "known"] += cell.rows - cell.new
        need[(cell.task, cell.stage), "new"] += cell.new
    return dict(need)


def refuse_impossible(
    planner: Planner, side: Side, cells: Sequence[Cell], total: int, has: Callable[[Stage, Phrasing], int | None]
) -> None:
    """Raise if some stage holds fewer different rows than its cells ask for.

    Args:
        has: the number of pairs that a stage holds; None where it is far more than was asked for.

    Raises:
        UserError: names for each category at fault what it was asked for and its largest possible number, and the
            largest size of the whole side.
    """
    capacity = {(stage, phrasing): has(stage, phrasing) for stage, phrasing in needed(cells)}

    def fits(some: Iterable[Cell]) -> bool:
        return all((limit := capacity.get(name)) is None or rows <= limit for name, rows in needed(some).items())

    if fits(cells):
        return
    faults = []
    for task in dict.fromkeys(cell.task for cell in cells):
        own = [cell for cell in cells if cell.task == task]
        if not fits(own):
            asked, most = sum(cell.rows for cell in own), _largest_task(own, fits)
            faults.append(f"{planner.tasks[task].category} can give {most:,} different rows, not {asked:,}")
    option = "--sft-rows" if side == "train" else "--eval-rows"
    most = _largest(total, lambda size: fits(planner.cells(size, side)))
    raise UserError(f"{option} {total} is too many: {'; '.join(faults)}. The largest {option} here is {most}")


def _largest_task(cells: Sequence[Cell], fits: Callable[[Iterable[Cell]], bool]) -> int:
    """The largest number of rows that the cells of one task can give in the same proportions."""
    total = sum(cell.rows for cell in cells)

    def shrunk(size: int) -> list[Cell]:
        return [replace(cell, rows=-(-cell.rows * size // total), new=-(-cell.new * size // total)) for cell in cells]

    return _largest(total, lambda size: fits(shrunk(size)))


def _largest(limit: int, possible: Callable[[int], bool]) -> int:
    """The largest size below ``limit`` that is possible, if smaller ones are too."""
    low, high = 0, limit
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if possible(middle) else (low, middle)
    return low
