"""Task packs. In: a dataset pack, a profile, a seed. Out: chat rows, eval rows, a report. Next: datamodules, evidence.

    profile ─► plan: rows per component, category, stage ─► deal each side's problems ─► pose, check, tag
                                                                                               │
               dataset_pack.json (if promoted) ◄─ all files at once ◄─ report ◄─ contamination ◄┘

The plan's numbers are the numbers that come out, to the row. If a stage cannot give as many different rows, nothing is
written and the largest possible sizes are named.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from picochat.errors import UserError
from picochat.files import refuse_existing, write_files
from picochat.packs.contamination import Entry, check
from picochat.packs.dataset_pack import DatasetPack, load_dataset_pack, promoted_text
from picochat.packs.dealing import Dealer, ExhaustedError
from picochat.packs.documents import iter_documents
from picochat.packs.pack_report import TaskPackReport, describe
from picochat.packs.profiles import Component, Profile, largest_remainder, load_profile
from picochat.packs.rows import Row, dump_rows
from picochat.packs.tasks.base import Draw, Phrasing, Problem, Side, Task
from picochat.packs.tasks.registry import load_task
from picochat.packs.words import load_words

AnswerStyle = Literal["direct", "scratchpad"]
Source = Literal["offline", "auto", "hub"]

MIN_SFT_ROWS, MIN_EVAL_ROWS = 32, 16
NEW_PHRASING = 4
"""Every fourth eval row of a component asks in words that were never trained on, where the task has such words."""


@dataclass(frozen=True, slots=True)
class Cell:
    """The rows of one stage in one component: ``rows`` of them, ``new`` of which in unheard words."""

    component: Component
    task: str
    stage: str
    rows: int
    new: int


class Made(NamedTuple):
    """A finished row and what the contamination check needs to know beside it."""

    row: Row
    entry: Entry
    fact: str | None


def build_task_pack(
    dataset_pack: str | Path,
    *,
    profile: str | Profile = "capability",
    out_dir: str | Path | None = None,
    chat_out: str | Path | None = None,
    eval_out: str | Path | None = None,
    sft_rows: int = 1600,
    eval_rows: int = 320,
    source: Source = "offline",
    skill_answer_style: AnswerStyle = "scratchpad",
    seed: int = 42,
    force: bool = False,
    promote: bool = True,
    word_list: str | Path | None = None,
    hub_dir: str | Path | None = None,
) -> TaskPackReport:
    """Make the training and eval rows of a profile and write them with their report.

    Args:
        dataset_pack: the dataset_pack.json (or its folder) that the rows belong to.
        profile: a built-in profile's name, an entry point, a path ``module.name``, or a Profile.
        out_dir: where the four files go; the dataset pack's folder unless said otherwise.
        sft_rows: training rows, at least 32.
        eval_rows: eval rows, at least 16.
        source: "offline" generates every row; "hub" takes part of the benchmark component's rows from public data
            sets and fails if none loads; "auto" takes what loads and generates the rest.
        skill_answer_style: whether skills answer with their working or directly.
        promote: point the dataset pack's ``chat`` and ``eval`` at the new files, unless the pack is contaminated.
        word_list: a file with one word a line for the spelling tasks in place of the built-in list.
        hub_dir: a folder of data set snapshots, for machines without a network.

    Raises:
        UserError: bad input, existing outputs without ``force``, or more rows than there are; nothing was written.
    """
    if sft_rows < MIN_SFT_ROWS or eval_rows < MIN_EVAL_ROWS:
        raise UserError(
            f"--sft-rows must be at least {MIN_SFT_ROWS} and --eval-rows at least {MIN_EVAL_ROWS}, "
            f"not {sft_rows} and {eval_rows}"
        )
    pack = load_dataset_pack(dataset_pack)
    mixture = load_profile(profile) if isinstance(profile, str) else profile
    folder = Path(out_dir) if out_dir is not None else pack.path.parent
    chat_path = Path(chat_out) if chat_out is not None else folder / f"chat_task_mixture_{mixture.name}.jsonl"
    eval_path = Path(eval_out) if eval_out is not None else folder / f"eval_task_mixture_{mixture.name}.jsonl"
    report_paths = [folder / f"task_mixture_{mixture.name}.{kind}" for kind in ("md", "json")]
    refuse_existing([chat_path, eval_path, *report_paths], force=force)

    words = load_words(word_list) if word_list is not None else None
    names = dict.fromkeys(name for component in mixture.components for name in component.tasks)
    maker = _Maker(mixture, {name: load_task(name, words) for name in names}, seed, skill_answer_style)
    train, evaluation = maker.make(sft_rows, eval_rows)

    chat_text, eval_text = (dump_rows(made.row for made in side) for side in (train, evaluation))
    corpus, note = _corpus(pack)
    contamination = check([made.entry for made in train], [made.entry for made in evaluation], corpus, note)
    report = describe(
        profile=mixture.name,
        pack=pack.path,
        settings={
            "sft_rows": sft_rows,
            "eval_rows": eval_rows,
            "source": source,
            "skill_answer_style": skill_answer_style,
            "seed": seed,
            "word_list": None if word_list is None else Path(word_list).name,
        },
        train=[made.row for made in train],
        evaluation=[made.row for made in evaluation],
        texts={chat_path: chat_text, eval_path: eval_text},
        reports=report_paths,
        sources=[{"name": "offline", "outcome": f"{sft_rows} training rows, {eval_rows} eval rows"}],
        contamination=contamination,
        promote=promote,
    )
    files = {
        chat_path: chat_text,
        eval_path: eval_text,
        report_paths[0]: report.markdown(),
        report_paths[1]: report.json(),
    }
    if report.promoted:  # last, so that the pack never names files that are not there
        files[pack.path] = promoted_text(pack, chat_path, eval_path)
    write_files(files)
    return report


def plan(profile: Profile, tasks: Mapping[str, Task], total: int, side: Side) -> list[Cell]:
    """Rows per stage, by largest remainder on every level; cells without rows are left out."""
    cells = []
    for component, rows in zip(
        profile.components,
        largest_remainder(total, {component.name: component.weight for component in profile.components}).values(),
        strict=True,
    ):
        asked = 0
        for name, task_rows in largest_remainder(rows, component.tasks).items():
            for stage, stage_rows in largest_remainder(task_rows, tasks[name].stages).items():
                asked += stage_rows
                new = asked // NEW_PHRASING - (asked - stage_rows) // NEW_PHRASING if side == "eval" else 0
                if stage_rows:
                    cells.append(Cell(component, name, stage, stage_rows, new if tasks[name].new else 0))
    return cells


class _Maker:
    """Deals, poses, checks and tags the rows of one pack."""

    def __init__(self, profile: Profile, tasks: Mapping[str, Task], seed: int, skill_answer_style: AnswerStyle) -> None:
        self.profile, self.tasks, self.seed = profile, tasks, seed
        self.skill_answer_style = skill_answer_style
        self.prompts: set[str] = set()

    def make(self, sft_rows: int, eval_rows: int) -> tuple[list[Made], list[Made]]:
        """The rows of both sides, each in a random order.

        Raises:
            UserError: more rows than there are, or a task whose steps are wrong.
        """
        sizes: tuple[tuple[Side, int], ...] = (("train", sft_rows), ("eval", eval_rows))
        plans = {side: plan(self.profile, self.tasks, rows, side) for side, rows in sizes}
        dealers = {side: self._dealers(side, plans[side]) for side, _ in sizes}
        train, evaluation = (self._side(side, plans[side], dealers[side]) for side, _ in sizes)
        facts = {made.fact for made in train}
        return train, [_with_knowledge(made, facts) for made in evaluation]

    def _dealers(self, side: Side, cells: Sequence[Cell]) -> dict[tuple[str, str], Dealer]:
        need: dict[tuple[str, str], int] = defaultdict(int)
        for cell in cells:
            need[cell.task, cell.stage] += cell.rows
        return {
            (task, stage): Dealer(self.tasks[task], stage, side, rows, Draw(self.seed, "deal", side, task, stage))
            for (task, stage), rows in need.items()
        }

    def _side(self, side: Side, cells: Sequence[Cell], dealers: Mapping[tuple[str, str], Dealer]) -> list[Made]:
        made = [
            self._made(side, cell, phrasing, value, problem)
            for cell in cells
            for phrasing, value, problem in self._problems(side, cell, dealers[cell.task, cell.stage])
        ]
        shuffled = Draw(self.seed, "order", side).shuffled(made)
        for number, item in enumerate(shuffled):
            item.row["id"] = f"{self.profile.name}-{side}-{number:06d}"
        return shuffled

    def _problems(self, side: Side, cell: Cell, dealer: Dealer) -> Iterator[tuple[Phrasing, Any, Problem]]:
        task, draw = self.tasks[cell.task], Draw(self.seed, "pose", side, cell.component.name, cell.task, cell.stage)
        kinds: list[Phrasing] = ["new" if number < cell.new else "known" for number in range(cell.rows)]
        for phrasing in draw.shuffled(kinds):
            while True:
                try:
                    value, template = dealer.deal(phrasing)
                except ExhaustedError:
                    raise UserError(
                        f"{task.category}/{cell.stage} has fewer than the {cell.rows} different {side} rows asked for"
                    ) from None
                problem = task.pose(cell.stage, value, template, draw)
                if problem.prompt not in self.prompts:
                    break
            self.prompts.add(problem.prompt)
            if fault := task.fault(cell.stage, value, problem):
                raise UserError(f"{cell.task}: the problem {task.key(cell.stage, value)} is wrong: {fault}")
            yield phrasing, value, problem

    def _made(self, side: Side, cell: Cell, phrasing: Phrasing, value: Any, problem: Problem) -> Made:
        task, component = self.tasks[cell.task], cell.component
        wanted = self.skill_answer_style if component.answer_style == "asked" else component.answer_style
        style = "scratchpad" if wanted == "scratchpad" and problem.steps else "direct"
        reply = problem.scratchpad if style == "scratchpad" else problem.reply
        key = task.key(cell.stage, value)
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
        row["category"] = task.category
        row["stage"] = cell.stage
        row["phrasing"] = phrasing
        row["mixture_profile"] = self.profile.name
        row["mixture_component"] = component.name
        row["mixture_benchmark_profile"] = component.benchmark_profile
        row["source_dataset"] = "offline"
        row |= problem.tags
        seen = reply if side == "train" else problem.answer
        return Made(row, Entry(key, problem.prompt, seen, problem.content), problem.fact)


def _with_knowledge(made: Made, facts: set[str | None]) -> Made:
    """Mark an eval row that asks for knowledge: did some training row of this pack teach its fact?"""
    if made.fact is None:
        return made
    taught = made.fact in facts
    made.row["knowledge"] = "taught" if taught else "probe"
    return made._replace(entry=made.entry._replace(taught=taught))


def _corpus(pack: DatasetPack) -> tuple[Iterator[str] | None, str]:
    """The documents of the base corpus, or None and the reason in words."""
    path = pack.corpus_path
    if path is None:
        return None, "not checked: the dataset pack names no corpus file"
    if not path.exists():
        return None, f"not checked: {path.name} does not exist"
    return (document.text for document in iter_documents(path)), f"checked: {path.name}"
