"""Rows from cells. In: a plan. Out: finished chat and eval rows of both sides. Next: packs.mixture writes them.

    deal (value, template) ─► pose ─► typo? ─► prompt seen before? deal again ─► fault? stop ─► tag ─► shuffle ─► number

Evaluation is made first: rows of public data sets that stand too close to it are then kept out of training.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from picochat.errors import UserError
from picochat.packs.contamination import Entry, Screen
from picochat.packs.dealing import Dealer, ExhaustedError
from picochat.packs.planning import Cell, Planner, Stage, needed, refuse_impossible
from picochat.packs.profiles import Component, Profile
from picochat.packs.quotas import Side
from picochat.packs.rows import Row
from picochat.packs.sources import HubRow, SourceReader
from picochat.packs.tasks.base import Draw, Phrasing, Problem, Task
from picochat.packs.tasks.wording import add_typo

TYPOS = 0.1
"""The share of training prompts with a typo, in tasks that allow it."""
AnswerStyle = Literal["direct", "scratchpad"]


class Made(NamedTuple):
    """A finished row and what the checks need to know beside it."""

    row: Row
    entry: Entry
    fact: str | None


class Maker:
    """Makes the rows of one pack.

    Args:
        profile: the mixture.
        tasks: its tasks by name.
        seed: decides the content.
        skill_answer_style: the style of components that leave it open.
        reader: supplies rows of public data sets to components that leave their source open; None: all is generated.
    """

    def __init__(
        self,
        profile: Profile,
        tasks: Mapping[str, Task],
        seed: int,
        skill_answer_style: AnswerStyle,
        reader: SourceReader | None,
    ) -> None:
        self.profile, self.tasks, self.seed = profile, tasks, seed
        self.skill_answer_style, self.reader = skill_answer_style, reader
        self.values = {(name, stage): task.values(stage) for name, task in tasks.items() for stage in task.stages}
        with_new = frozenset(
            (name, stage)
            for (name, stage), values in self.values.items()
            if len(values) and tasks[name].phrasings(stage, values[0], "new")
        )
        self.planner = Planner(profile, tasks, with_new)
        self._prompts: set[str] = set()

    def make(self, sft_rows: int, eval_rows: int) -> tuple[list[Made], list[Made]]:
        """The rows of training and evaluation, each in a random order.

        Raises:
            UserError: more rows than there are, or a task whose steps are wrong.
        """
        evaluation = self._side("eval", eval_rows, None)
        train = self._side("train", sft_rows, [made.entry for made in evaluation])
        taught = {made.fact for made in train}
        return train, [_with_knowledge(made, taught) for made in evaluation]

    def _side(self, side: Side, total: int, held_out: list[Entry] | None) -> list[Made]:
        made, taken = self._from_hub(side, total, held_out)
        cells = self.planner.cells(total, side, taken)
        dealers = self._dealers(side, cells)
        refuse_impossible(self.planner, side, cells, total, lambda stage, kind: dealers[stage].capacity(kind))
        for cell in cells:
            for phrasing, value, problem in self._problems(side, cell, dealers[cell.task, cell.stage]):
                key = self.tasks[cell.task].key(cell.stage, value)
                category = self.tasks[cell.task].category
                made.append(self._made(side, cell.component, category, cell.stage, phrasing, key, problem, "offline"))
        shuffled = Draw(self.seed, "order", side).shuffled(made)
        for number, item in enumerate(shuffled):
            item.row["id"] = f"{self.profile.name}-{side}-{number:06d}"
        return shuffled

    def _from_hub(
        self, side: Side, total: int, held_out: list[Entry] | None
    ) -> tuple[list[Made], dict[tuple[str, str], int]]:
        """Rows of public data sets, and how many they are by (component, lane)."""
        made: list[Made] = []
        taken: dict[tuple[str, str], int] = {}
        if self.reader is None:
            return made, taken
        screen = Screen(held_out) if held_out is not None else None
        for component, rows in self.planner.components(total):
            if component.source != "asked":
                continue
            lanes = self.planner.lanes(component, rows)
            draw = Draw(self.seed, "hub", side, component.name)
            for hub_row in self.reader.rows(side, lanes, draw, lambda row: self._is_fresh(row, screen)):
                lane = component.name, hub_row.lane
                taken[lane] = taken.get(lane, 0) + 1
                made.append(
                    self._made(
                        side, component, hub_row.category, "hub", "known", hub_row.key, hub_row.problem, hub_row.dataset
                    )
                )
        return made, taken

    def _is_fresh(self, hub_row: HubRow, screen: Screen | None) -> bool:
        problem = hub_row.problem
        if problem.prompt in self._prompts:
            return False
        if screen is not None and any(screen.met(problem.prompt, problem.scratchpad)):
            return False
        self._prompts.add(problem.prompt)
        return True

    def _dealers(self, side: Side, cells: Sequence[Cell]) -> dict[Stage, Dealer]:
        need: dict[Stage, int] = {}
        for (stage, _), rows in needed(cells).items():
            need[stage] = need.get(stage, 0) + rows
        return {
            (task, stage): Dealer(
                self.tasks[task],
                stage,
                side,
                rows,
                self.values[task, stage],
                Draw(self.seed, "deal", side, task, stage),
            )
            for (task, stage), rows in need.items()
        }

    def _problems(self, side: Side, cell: Cell, dealer: Dealer) -> Iterator[tuple[Phrasing, Any, Problem]]:
        task, draw = self.tasks[cell.task], Draw(self.seed, "pose", side, cell.component.name, cell.task, cell.stage)
        kinds: list[Phrasing] = ["new" if number < cell.new else "known" for number in range(cell.rows)]
        for phrasing in draw.shuffled(kinds):
            problem = None
            while problem is None or problem.prompt in self._prompts:
                try:
                    value, template = dealer.deal(phrasing)
                except ExhaustedError:
                    raise UserError(
                        f"{cell.task}: the stage {cell.stage} has too few different {side} rows; ask for fewer rows"
                    ) from None
                problem = task.pose(cell.stage, value, template, draw)
                if side == "train" and task.typos and draw.chance(TYPOS):
                    problem = problem._replace(prompt=add_typo(problem.prompt, problem.content or (), draw))
            self._prompts.add(problem.prompt)
            if fault := task.fault(cell.stage, value, problem):
                raise UserError(f"{cell.task}: the problem {task.key(cell.stage, value)} is wrong: {fault}")
            yield phrasing, value, problem

    def _made(
        self,
        side: Side,
        component: Component,
        category: str,
        stage: str,
        phrasing: Phrasing,
        key: str,
        problem: Problem,
        dataset: str,
    ) -> Made:
        wanted = self.skill_answer_style if component.answer_style == "asked" else component.answer_style
        style = "scratchpad" if wanted == "scratchpad" and problem.steps else "direct"
        reply = problem.scratchpad if style == "scratchpad" else problem.reply
        row: Row = {"id": "", "key": key, "messages": [{"role": "user", "content": problem.prompt}]}
        if side == "train":
            row["messages"].append({"role": "assistant", "content": reply})
        else:
            row["reference"] = reply
            row["answerable"] = problem.answerable
            row |= problem.checks
            if style == "scratchpad":
                row["steps"] = list(problem.steps)
        if problem.answer:
            row["answer"] = problem.answer
        row["answer_style"] = style
        row["category"] = category
        row["stage"] = stage
        row["phrasing"] = phrasing
        row["mixture_profile"] = self.profile.name
        row["mixture_component"] = component.name
        row["mixture_benchmark_profile"] = component.benchmark_profile
        row["source_dataset"] = dataset
        row |= problem.tags
        seen = reply if side == "train" or dataset != "offline" else problem.answer
        return Made(row, Entry(key, problem.prompt, seen, problem.content), problem.fact)


def _with_knowledge(made: Made, facts: set[str | None]) -> Made:
    """Mark an eval row that asks for knowledge: did some training row of this pack teach its fact?"""
    if made.fact is None:
        return made
    taught = made.fact in facts
    made.row["knowledge"] = "taught" if taught else "probe"
    return made._replace(entry=made.entry._replace(taught=taught))
