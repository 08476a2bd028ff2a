"""Rows from quotas. In: a plan, pools of read rows. Out: chat and eval rows of both sides. Next: packs.mixture.

    sample (value, template) ─► pose ─► typo? ─► prompt seen before? sample again ─► fault? stop ─► tag ─► shuffle
                                                 (or asked by an eval row of a file)

Evaluation is made first: rows of public data sets that stand too close to it are then kept out of training.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from picochat.errors import UserError
from picochat.files import sha256_text
from picochat.packs.contamination import Entry, Screen
from picochat.packs.hub import SourceReader
from picochat.packs.planning import LevelQuota, Planner, ProblemSampler, needed
from picochat.packs.pools import Pool
from picochat.packs.profiles import Component, Profile
from picochat.packs.quotas import Side
from picochat.packs.rows import Row, questions
from picochat.packs.tasks.base import Draw, Phrasing, Problem, Task
from picochat.packs.tasks.wording import add_typo

TYPOS = 0.1  # the share of training prompts with a typo, in tasks that allow it
AnswerStyle = Literal["direct", "scratchpad"]


@dataclass
class RowBuilder:
    """Makes the rows of one pack."""

    profile: Profile
    tasks: Mapping[str, Task]
    seed: int
    skill_answer_style: AnswerStyle  # of components that leave it open
    reader: SourceReader | None  # has rows of public data sets for components that leave their source open
    pools: Mapping[tuple[str, str], Pool]  # the rows of lanes that are read, by (component, lane)

    def __post_init__(self) -> None:
        self.values = {(name, stage): task.values(stage) for name, task in self.tasks.items() for stage in task.stages}
        with_new = frozenset(
            (name, stage)
            for (name, stage), values in self.values.items()
            if len(values) and self.tasks[name].phrasings(stage, values[0], "new")
        )
        self.planner = Planner(self.profile, self.tasks, with_new, self.pools)
        self.outcomes: list[dict[str, str]] = []  # what became of the pools, for the report
        self._prompts: set[str] = set()
        self._pooled: Screen | None = None  # the eval rows of pools, once they are dealt

    def build(self, sft_rows: int, eval_rows: int) -> tuple[list[Entry], list[Entry]]:
        """The rows of training and evaluation, each in a random order."""
        label, evaluation = self.profile.label, self._side("eval", eval_rows, None)
        if not evaluation:
            raise UserError(
                f"{label}: no lane has rows to evaluate; give one `check:` or `eval_file:`, or train on "
                "the files alone: `picochat train sft --input NAME=SHARE:FILE …`"
            )
        screen = Screen(evaluation) if self.reader or self.pools else None
        self._pooled = Screen([made for made in evaluation if made.boilerplate]) if self.pools else None
        for name, pool in self.pools.items():
            pool.leave_out(lambda row: screen is not None and screen.asks(questions(row)))
            self.outcomes.append({"name": "/".join(name), "outcome": pool.outcome()})
            if not pool.train:
                raise UserError(f"{label}: {'/'.join(name)}: no row is left for training ({pool.outcome()})")
        train = self._side("train", sft_rows, screen)
        facts = {made.fact for made in train} - {None}
        for asked in evaluation:
            if asked.fact is not None:
                asked.row["knowledge"] = "taught" if asked.fact in facts else "probe"
        return train, [asked._replace(taught=asked.fact in facts) for asked in evaluation]

    def _side(self, side: Side, total: int, screen: Screen | None) -> list[Entry]:
        asked, total = total, self.planner.possible(total, side)
        if total < asked:
            short = ", ".join(self.planner.short(total + 1, side))
            outcome = f"{total:,} of the {asked:,} rows that were asked for; more are too many for {short}"
            self.outcomes.append({"name": f"{side} rows", "outcome": outcome})
        rows: list[Entry] = []
        for component, lane, count in self.planner.lanes(total, side):
            if pool := self.pools.get((component.name, lane)):
                draw = Draw(self.seed, "rows", side, component.name, lane)
                rows += [self._given(side, row, component, lane, pool.name) for row in pool.deal(side, count, draw)]
        public, taken = self._public(side, total, screen)
        quotas = self.planner.quotas(total, side, taken)
        need, samplers = needed(quotas), dict[tuple[str, str], ProblemSampler]()
        for name, stage in dict.fromkeys(stage for stage, _ in need):
            draw, values = Draw(self.seed, "deal", side, name, stage), self.values[name, stage]
            rounds = need[(name, stage), "known"] + need[(name, stage), "new"]
            samplers[name, stage] = ProblemSampler(self.tasks[name], stage, side, rounds, values, draw)
        capacity = {(stage, phrasing): samplers[stage].capacity(phrasing) for stage, phrasing in need}
        self.planner.refuse_impossible(side, total, quotas, capacity)
        rows += public
        for quota in quotas:
            rows += self._generated(side, quota, samplers[quota.task, quota.stage])
        shuffled = Draw(self.seed, "order", side).shuffled(rows)
        for number, made in enumerate(shuffled):
            made.row["id"] = f"{self.profile.name}-{side}-{number:06d}"
        return shuffled

    def _public(self, side: Side, total: int, screen: Screen | None) -> tuple[list[Entry], Counter[tuple[str, str]]]:
        """Rows of public data sets, for components that leave their source open, and how many by (component, skill)."""
        rows, taken = list[Entry](), Counter[tuple[str, str]]()
        if self.reader is None:
            return rows, taken

        def is_fresh(problem: Problem) -> bool:
            met = screen is not None and screen.asks([problem.prompt], problem.scratchpad)
            fresh = not met and problem.prompt not in self._prompts
            self._prompts.update([problem.prompt] if fresh else ())
            return fresh

        for component in self.profile.components:
            skills = Counter[str]()
            for part, lane, count in self.planner.lanes(total, side):
                skills[self.planner.skill(part, lane)] += count if part is component and part.source == "asked" else 0
            draw = Draw(self.seed, "hub", side, component.name)
            for source, problem in self.reader.rows(side, +skills, draw, is_fresh):
                taken[component.name, source.skill] += 1
                key = f"hub:{source.dataset}:{sha256_text(problem.prompt)[:16]}"
                tags = self._tags(component, source.dataset, category=source.category, stage="hub", phrasing="known")
                rows.append(self._row(side, (key, key), problem, component, tags))
        return rows, taken

    def _generated(self, side: Side, quota: LevelQuota, sampler: ProblemSampler) -> Iterator[Entry]:
        component, task, stage = quota.component, self.tasks[quota.task], quota.stage
        category = task.category if quota.lane == quota.task else quota.lane
        draw = Draw(self.seed, "pose", side, component.name, quota.lane, stage)
        phrasings: list[Phrasing] = ["new" if number < quota.new else "known" for number in range(quota.rows)]
        for phrasing in draw.shuffled(phrasings):
            problem = None
            while problem is None or problem.prompt in self._prompts or self._asks(problem.prompt):
                if (pair := sampler.sample(phrasing)) is None:
                    raise UserError(f"{quota.task}: the stage {stage} has too few {side} rows; ask for fewer")
                value, template = pair
                problem = task.pose(stage, value, template, draw)
                if side == "train" and task.typos and draw.chance(TYPOS):
                    problem = problem._replace(prompt=add_typo(problem.prompt, problem.content or (), draw))
            self._prompts.add(problem.prompt)
            if fault := task.fault(stage, value, problem):
                raise UserError(f"{quota.task}: the problem {task.key(stage, value)} is wrong: {fault}")
            tags = self._tags(component, "offline", category=category, stage=stage, phrasing=phrasing)
            yield self._row(side, (task.key(stage, value), task.unit(stage, value)), problem, component, tags)

    def _asks(self, prompt: str) -> bool:
        return self._pooled is not None and self._pooled.asks([prompt])

    def _row(self, side: Side, names: tuple[str, str], problem: Problem, component: Component, tags: Row) -> Entry:
        key, cluster = names
        wanted = self.skill_answer_style if component.answer_style == "asked" else component.answer_style
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
        row |= {"answer_style": style, **tags, **problem.tags}
        if cluster != key:
            row["cluster"] = cluster
        seen = reply if side == "train" or tags["source_dataset"] != "offline" else problem.answer
        return Entry(key, problem.prompt, seen, problem.content, fact=problem.fact, row=row)

    def _given(self, side: Side, row: Row, component: Component, lane: str, source: str) -> Entry:
        """A row of a pool, a copy with its tags."""
        first = {"id": "", "key": row["key"], "messages": row["messages"]}
        reply = row["messages"][-1]["content"] if side == "train" else row.get("answer") or ""
        self._prompts.add(questions(row)[-1])
        tagged = {**first, **row, **self._tags(component, source, category=lane), "id": ""}
        return Entry(row["key"], questions(row)[-1], reply, boilerplate=True, row=tagged)

    def _tags(self, component: Component, source: str, **lane: str) -> Row:
        tags = {**lane, "mixture_profile": self.profile.name, "mixture_component": component.name}
        return tags | {"mixture_benchmark_profile": component.benchmark_profile, "source_dataset": source}
