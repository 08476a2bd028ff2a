"""Rows from quotas. In: a plan. Out: finished chat and eval rows of both sides. Next: packs.mixture writes them.

    sample (value, template) ─► pose ─► typo? ─► prompt seen before? sample again ─► fault? stop ─► tag ─► shuffle

Evaluation is made first: rows of public data sets that stand too close to it are then kept out of training.

The values of a side are shuffled once and handed out in rounds; a value comes back, in other words, only after all the
others came. For the 54 products of the training side and 100 rows:

    round 1   3x8 "What is 3 x 8?"    7x12 "Multiply 12 by 7."   …   (54 rows)
    round 2   3x8 "Calculate 8 x 3."  7x12 "7 x 12 = ?"          …   (46 rows)

Long stages (405,450 sums of three digits) are not listed: their values are drawn as they are needed, by rejection,
which is just as uniform over the values of the side.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from picochat.errors import UserError
from picochat.packs.contamination import Entry, Screen
from picochat.packs.planning import LevelQuota, Planner, Stage, needed, refuse_impossible
from picochat.packs.profiles import Component, Profile
from picochat.packs.quotas import Side
from picochat.packs.rows import Row
from picochat.packs.sources import HubSource, SourceReader
from picochat.packs.tasks.base import Draw, Family, Phrasing, Problem, Task, members
from picochat.packs.tasks.wording import add_typo

TYPOS = 0.1
"""The share of training prompts with a typo, in tasks that allow it."""
_LIST_UP_TO = 16  # list a stage's side when it holds fewer than this many values for each one needed
AnswerStyle = Literal["direct", "scratchpad"]


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


class _Lane(NamedTuple):
    """Where a row belongs, in the words of its tags."""

    component: Component
    category: str
    stage: str
    phrasing: Phrasing
    dataset: str


class GeneratedRow(NamedTuple):
    """A finished row and what the checks need to know beside it."""

    row: Row
    entry: Entry
    fact: str | None


class RowBuilder:
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

    def build(self, sft_rows: int, eval_rows: int) -> tuple[list[GeneratedRow], list[GeneratedRow]]:
        """The rows of training and evaluation, each in a random order.

        Raises:
            UserError: more rows than there are, or a task whose steps are wrong.
        """
        evaluation = self._side("eval", eval_rows, None)
        screen = Screen([made.entry for made in evaluation]) if self.reader else None
        train = self._side("train", sft_rows, screen)
        facts = {made.fact for made in train}
        return train, [_with_knowledge(made, facts) for made in evaluation]

    def _side(self, side: Side, total: int, screen: Screen | None) -> list[GeneratedRow]:
        rows: list[GeneratedRow] = []
        taken: Counter[tuple[str, str]] = Counter()
        for component, source, problem in self._public(side, total, screen):
            taken[component.name, source.lane] += 1
            lane = _Lane(component, source.category, "hub", "known", source.dataset)
            rows.append(self._row(side, (source.key(problem),) * 2, problem, lane))
        quotas = self.planner.quotas(total, side, taken)
        need = needed(quotas)
        samplers = {stage: self._sampler(side, stage, need) for stage in dict.fromkeys(stage for stage, _ in need)}
        capacity = {(stage, phrasing): samplers[stage].capacity(phrasing) for stage, phrasing in need}
        refuse_impossible(self.planner, side, quotas, total, capacity)
        for quota in quotas:
            task = self.tasks[quota.task]
            for phrasing, value, problem in self._problems(side, quota, samplers[quota.task, quota.stage]):
                lane = _Lane(quota.component, task.category, quota.stage, phrasing, "offline")
                names = task.key(quota.stage, value), task.unit(quota.stage, value)
                rows.append(self._row(side, names, problem, lane))
        shuffled = Draw(self.seed, "order", side).shuffled(rows)
        for number, made in enumerate(shuffled):
            made.row["id"] = f"{self.profile.name}-{side}-{number:06d}"
        return shuffled

    def _public(self, side: Side, total: int, screen: Screen | None) -> Iterator[tuple[Component, HubSource, Problem]]:
        """Problems of public data sets, for the components that leave their source open."""

        def is_fresh(problem: Problem) -> bool:
            met = screen is not None and any(screen.met(problem.prompt, problem.scratchpad))
            if met or problem.prompt in self._prompts:
                return False
            self._prompts.add(problem.prompt)
            return True

        if self.reader is None:
            return
        for component, rows in self.planner.components(total):
            if component.source == "asked":
                draw, lanes = Draw(self.seed, "hub", side, component.name), self.planner.lanes(component, rows)
                yield from ((component, *found) for found in self.reader.rows(side, lanes, draw, is_fresh))

    def _sampler(self, side: Side, stage: Stage, need: Mapping[tuple[Stage, Phrasing], int]) -> ProblemSampler:
        rows = need[stage, "known"] + need[stage, "new"]
        draw = Draw(self.seed, "deal", side, *stage)
        return ProblemSampler(self.tasks[stage[0]], stage[1], side, rows, self.values[stage], draw)

    def _problems(
        self, side: Side, quota: LevelQuota, sampler: ProblemSampler
    ) -> Iterator[tuple[Phrasing, Any, Problem]]:
        task, stage = self.tasks[quota.task], quota.stage
        draw = Draw(self.seed, "pose", side, quota.component.name, quota.task, stage)
        phrasings: list[Phrasing] = ["new" if number < quota.new else "known" for number in range(quota.rows)]
        for phrasing in draw.shuffled(phrasings):
            problem = None
            while problem is None or problem.prompt in self._prompts:
                pair = sampler.sample(phrasing)
                if pair is None:
                    raise UserError(
                        f"{quota.task}: the stage {stage} has too few different {side} rows; ask for fewer rows"
                    )
                value, template = pair
                problem = task.pose(stage, value, template, draw)
                if side == "train" and task.typos and draw.chance(TYPOS):
                    problem = problem._replace(prompt=add_typo(problem.prompt, problem.content or (), draw))
            self._prompts.add(problem.prompt)
            if fault := task.fault(stage, value, problem):
                raise UserError(f"{quota.task}: the problem {task.key(stage, value)} is wrong: {fault}")
            yield phrasing, value, problem

    def _row(self, side: Side, names: tuple[str, str], problem: Problem, lane: _Lane) -> GeneratedRow:
        key, cluster = names
        wanted = lane.component.answer_style
        wanted = self.skill_answer_style if wanted == "asked" else wanted
        style = "scratchpad" if wanted == "scratchpad" and problem.steps else "direct"
        reply = problem.scratchpad if style == "scratchpad" else problem.reply
        row: Row = {"id": "", "key": key, "messages": [{"role": "user", "content": problem.prompt}]}
        if side == "train":
            row["messages"].append({"role": "assistant", "content": reply})
        else:
            row |= {"reference": reply, "answerable": problem.answerable, **problem.checks}
            if style == "scratchpad":
                row["steps"] = list(problem.steps)
        if problem.answer:
            row["answer"] = problem.answer
        row |= {"answer_style": style, "category": lane.category, "stage": lane.stage, "phrasing": lane.phrasing}
        row |= {"mixture_profile": self.profile.name, "mixture_component": lane.component.name}
        row |= {"mixture_benchmark_profile": lane.component.benchmark_profile, "source_dataset": lane.dataset}
        row |= problem.tags
        if cluster != key:
            row["cluster"] = cluster
        seen = reply if side == "train" or lane.dataset != "offline" else problem.answer
        return GeneratedRow(row, Entry(key, problem.prompt, seen, problem.content), problem.fact)


def _with_knowledge(made: GeneratedRow, facts: set[str | None]) -> GeneratedRow:
    """Mark an eval row that asks for knowledge: did some training row of this pack teach its fact?"""
    if made.fact is None:
        return made
    taught = made.fact in facts
    made.row["knowledge"] = "taught" if taught else "probe"
    return made._replace(entry=made.entry._replace(taught=taught))
