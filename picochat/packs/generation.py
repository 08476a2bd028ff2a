"""Rows from quotas. In: a plan, pools of read rows. Out: chat and eval rows of both sides. Next: packs.mixture.

    sample (value, template) ─► pose ─► typo? ─► prompt seen before? sample again ─► fault? stop ─► tag ─► shuffle

Evaluation is made first: rows of public data sets that stand too close to it are then kept out of training.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple

from picochat.errors import UserError
from picochat.packs.contamination import Entry, Screen
from picochat.packs.planning import LevelQuota, Planner, ProblemSampler, Stage, needed, refuse_impossible
from picochat.packs.pools import Pool
from picochat.packs.profiles import Component, Profile
from picochat.packs.quotas import Side
from picochat.packs.rows import Row, questions
from picochat.packs.sources import HubSource, SourceReader
from picochat.packs.tasks.base import Draw, Phrasing, Problem, Task
from picochat.packs.tasks.wording import add_typo

TYPOS = 0.1
"""The share of training prompts with a typo, in tasks that allow it."""
AnswerStyle = Literal["direct", "scratchpad"]


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
        pools: the rows of each lane of a file or data set, by (component, lane).

    Attributes:
        outcomes: what became of the pools, for the report.
    """

    def __init__(
        self,
        profile: Profile,
        tasks: Mapping[str, Task],
        seed: int,
        skill_answer_style: AnswerStyle,
        reader: SourceReader | None,
        pools: Mapping[tuple[str, str], Pool],
    ) -> None:
        self.profile, self.tasks, self.seed, self.pools = profile, tasks, seed, pools
        self.skill_answer_style, self.reader = skill_answer_style, reader
        self.values = {(name, stage): task.values(stage) for name, task in tasks.items() for stage in task.stages}
        with_new = frozenset(
            (name, stage)
            for (name, stage), values in self.values.items()
            if len(values) and tasks[name].phrasings(stage, values[0], "new")
        )
        self.limits: dict[tuple[Side, str, str], int] = {
            ("eval", *name): len(pool.evaluation) for name, pool in pools.items()
        }
        self.planner = Planner(profile, tasks, with_new, self.limits)
        self.outcomes: list[dict[str, Any]] = []
        self._prompts: set[str] = set()

    def build(self, sft_rows: int, eval_rows: int) -> tuple[list[GeneratedRow], list[GeneratedRow]]:
        """The rows of training and evaluation, each in a random order.

        Raises:
            UserError: more rows than there are, or a task whose steps are wrong.
        """
        evaluation = self._side("eval", eval_rows, None)
        if not evaluation:
            raise UserError(
                f"{self.profile.label}: no lane has rows to evaluate; give one `check:` or `eval_file:`, or train on "
                "the files alone: `picochat train sft --input NAME=SHARE:FILE …`"
            )
        screen = Screen([made.entry for made in evaluation]) if self.reader or self.pools else None
        for name, pool in self.pools.items():
            pool.leave_out(lambda row: screen is not None and screen.asks(questions(row)))
            self.limits["train", *name] = len(pool.train) * pool.repeat
            self.outcomes.append({"name": "/".join(name), "outcome": pool.outcome()})
            if not pool.train:
                raise UserError(
                    f"{self.profile.label}: {'/'.join(name)}: no row is left for training ({pool.outcome()})"
                )
        train = self._side("train", sft_rows, screen)
        facts = {made.fact for made in train}
        return train, [_with_knowledge(made, facts) for made in evaluation]

    def _side(self, side: Side, total: int, screen: Screen | None) -> list[GeneratedRow]:
        rows: list[GeneratedRow] = []
        asked, total = total, self.planner.possible(total, side)
        if total < asked:
            short = ", ".join(self.planner.short(total + 1, side))
            outcome = f"{total:,} of the {asked:,} rows that were asked for; more are too many for {short}"
            self.outcomes.append({"name": f"{side} rows", "outcome": outcome})
        for component, name, count in self.planner.given(total, side):
            pool, draw = self.pools[component.name, name], Draw(self.seed, "rows", side, component.name, name)
            rows += [self._given(side, row, component, name, pool.name) for row in pool.deal(side, count, draw)]
        taken: Counter[tuple[str, str]] = Counter()
        for component, source, problem in self._public(side, total, screen):
            taken[component.name, source.skill] += 1
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
                category = task.category if quota.lane == quota.task else quota.lane
                lane = _Lane(quota.component, category, quota.stage, phrasing, "offline")
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
        for component, rows in self.planner.components(total, side):
            if component.source == "asked":
                draw, skills = Draw(self.seed, "hub", side, component.name), self.planner.skills(component, rows, side)
                yield from ((component, *found) for found in self.reader.rows(side, skills, draw, is_fresh))

    def _sampler(self, side: Side, stage: Stage, need: Mapping[tuple[Stage, Phrasing], int]) -> ProblemSampler:
        rows = need[stage, "known"] + need[stage, "new"]
        draw = Draw(self.seed, "deal", side, *stage)
        return ProblemSampler(self.tasks[stage[0]], stage[1], side, rows, self.values[stage], draw)

    def _problems(
        self, side: Side, quota: LevelQuota, sampler: ProblemSampler
    ) -> Iterator[tuple[Phrasing, Any, Problem]]:
        task, stage = self.tasks[quota.task], quota.stage
        draw = Draw(self.seed, "pose", side, quota.component.name, quota.lane, stage)
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
        row |= {**self._tags(lane.component, lane.dataset), **problem.tags}
        if cluster != key:
            row["cluster"] = cluster
        seen = reply if side == "train" or lane.dataset != "offline" else problem.answer
        return GeneratedRow(row, Entry(key, problem.prompt, seen, problem.content), problem.fact)

    def _given(self, side: Side, row: Row, component: Component, lane: str, source: str) -> GeneratedRow:
        """A row of a pool, a copy with its tags."""
        first = {"id": "", "key": row["key"], "messages": row["messages"]}
        reply = row["messages"][-1]["content"] if side == "train" else row.get("answer") or ""
        entry = Entry(row["key"], questions(row)[-1], reply, boilerplate=True)
        self._prompts.add(entry.prompt)
        tags = {"category": lane, **self._tags(component, source)}
        return GeneratedRow({**first, **row, **tags, "id": ""}, entry, None)

    def _tags(self, component: Component, source: str) -> Row:
        tags = {"mixture_profile": self.profile.name, "mixture_component": component.name}
        return tags | {"mixture_benchmark_profile": component.benchmark_profile, "source_dataset": source}


def _with_knowledge(made: GeneratedRow, facts: set[str | None]) -> GeneratedRow:
    """Mark an eval row that asks for knowledge: did some training row of this pack teach its fact?"""
    if made.fact is None:
        return made
    taught = made.fact in facts
    made.row["knowledge"] = "taught" if taught else "probe"
    return made._replace(entry=made.entry._replace(taught=taught))
