"""A study: its plan, its runs, its report. In: `Settings`. Out: files in its folder. Next: commands.study.

plan.json     what is fixed before the first run
pack/, lanes/ rows of the profile, and by lane: a folder for each that was asked for, so that no run loses its own
runs/         a folder a run (runner)
study.html    .md, .json, effects.csv: the report, the same to the byte however often it was interrupted
"""

import json
import os
import shlex
import tarfile
from collections import defaultdict
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from picochat.blocks import Block, Report
from picochat.errors import UserError
from picochat.files import atomic_file, sha256_file, sha256_text, write_files, write_json
from picochat.model.config import find_model
from picochat.packs.contamination import Overlap
from picochat.packs.dataset_pack import load_dataset_pack
from picochat.packs.documents import corpus_files
from picochat.packs.formats import iter_rows, read_rows
from picochat.packs.mixture import build_task_pack
from picochat.packs.profiles import load_profile
from picochat.packs.rows import cluster_of
from picochat.plugins import load_named
from picochat.strict_json import read_json_object
from picochat.study.arms import LaneRows, Run, all_lanes, lane_files, lane_of, make_runs, steps_said, training
from picochat.study.design import Design, Precision, make_design, precision
from picochat.study.effects import POINTS, Sums, by_lane
from picochat.study.recommend import mean_blocks, proposal_blocks, propose
from picochat.study.report import Measured, write_study
from picochat.study.results import read_design, read_results
from picochat.study.runner import execute_all, expected_seconds, is_finished, is_running, run_key
from picochat.study.settings import Settings

_QUESTIONS = {
    "placebo": "A lane that is out leaves its share to corpus text of as many tokens: what does having it do?",
    "rows": "A run without a lane is shorter, and has as many rows of the others: what does adding it do?",
    "pro_rata": "A lane that is out leaves its share to the others: what does it do that they would not?",
}
_IDLE = ("out_dir", "slots", "executor", "executor_args")  # settings that change no result


@dataclass(frozen=True)
class Study(Settings):
    """Which lane causes what, or which of several arms is better. `Study.read("study.yaml").run()` does it all."""

    @cached_property
    def folder(self) -> Path:
        """Where everything goes."""
        return Path(self.out_dir or f"runs/study/{Path(self.profile or 'study').stem}")

    @cached_property
    def files(self) -> tuple[Path, Path]:
        """Chat rows and eval rows; those of a profile are made where they are missing."""
        if self.profile is None:
            if self.eval_input is None or not (self.chat_input or isinstance(self.arms, dict)):
                raise UserError("a study needs `profile`, or eval_input and chat_input (or `arms` with command lines)")
            return Path(self.chat_input or ""), Path(self.eval_input)
        mixture = load_profile(self.profile if Path(self.profile).is_file() else self.profile.removesuffix(".yaml"))
        sizes: Any = {"sft_rows": self.sft_rows, "eval_rows": self.eval_rows}

        def make(folder: Path) -> list[str]:
            places: Any = {"out_dir": folder, "promote": False, "force": True}
            made = build_task_pack(self.dataset_pack, profile=mixture, **sizes, **places)
            return [made.chat_path.name, made.eval_path.name]

        (chat, evaluation), folder = _kept(self.folder / "pack", [sizes, mixture.described()], make)
        return folder / chat, Path(self.eval_input or folder / evaluation)

    @cached_property
    def design(self) -> Design:
        """Which run has which lane; an arm of command lines is a lane that only its own runs have."""
        if isinstance(self.arms, dict):
            if len(self.arms) < 2:
                raise UserError("arms: name two or more, the first of which the others are compared with")
            own = [tuple(1 if one == arm else -1 for one in list(self.arms)[1:]) for arm in self.arms]
            signs = tuple(signs for signs in own for _ in range(self.seeds))
            return Design(tuple(self.arms)[1:], signs, tuple(range(self.seeds)) * len(own))
        centre = 0 if self.budget == "pro_rata" else self.centre  # half of everything is everything
        return make_design(
            self.lanes or all_lanes(self.files[0]),
            arms=self.arms, interactions=self.interactions, centre=centre, full=self.full,
        )  # fmt: skip

    @property
    def lane_rows(self) -> dict[str, LaneRows]:
        """What there is of each lane; nothing where arms are command lines."""
        return self._lanes[0]

    @cached_property
    def _lanes(self) -> tuple[dict[str, LaneRows], Path]:
        """The same, and the folder of their files."""
        if isinstance(self.arms, dict):
            return {}, self.folder
        corpus = load_dataset_pack(self.dataset_pack).corpus_path
        tokenizer = find_model(self.checkpoint) / "tokenizer.json"
        if corpus is None:
            raise UserError(f"{self.dataset_pack} names no corpus, and the placebo is corpus text")
        if not tokenizer.is_file():
            fault = f"checkpoint: {self.checkpoint} is not a model folder with a tokenizer"
            raise UserError(f"{fault}; train the base first (`picochat fit --config base.yaml`), or name another")
        (chat, asked), lanes = self.files, self.design.lanes

        def make(folder: Path) -> dict[str, LaneRows]:
            overlap = Overlap(asked, iter_rows(asked, "eval"))
            for line, row in iter_rows(chat, "chat"):
                overlap.meet(f"{chat}:{line}", row)
            if (met := overlap.said()) and "--allow-overlap" not in self.evaluate:  # as every evaluation would say
                raise UserError(f"{met}; take them out, or set `evaluate: --allow-overlap`")
            return lane_files(chat, corpus, tokenizer, lanes, folder)

        key = [[sha256_file(file) for file in (chat, asked, *corpus_files(corpus), tokenizer)], lanes]
        made, folder = _kept(self.folder / "lanes", key, make)
        return {lane: LaneRows(*values) for lane, values in made.items()}, folder

    @cached_property
    def runs(self) -> dict[Path, Run]:
        """Every run by its folder."""
        found = dict[Path, Run]()
        for run in make_runs(self, self.design, *self._lanes, self.files[1]):
            if (first := found.setdefault(self.folder / "runs" / run_key(run), run)) is not run:
                raise UserError(f"arms: {first.name} and {run.name} are the same lines of the same files")
        return found

    @cached_property
    def eval_lanes(self) -> dict[str, int]:
        """The problems of each eval lane."""
        problems = defaultdict[str, set[str]](set)
        for row in read_rows(self.files[1], "eval"):
            problems[self._eval_lane(row)].add(cluster_of(row))
        return {lane: len(own) for lane, own in problems.items()}

    @cached_property
    def cells(self) -> list[tuple[str, str]]:
        """The declared effects; all of them where arms are command lines."""
        if isinstance(self.arms, dict):
            return [(arm, on) for arm in self.design.lanes for on in self.eval_lanes]
        own = [(lane, lane) for lane in self.design.lanes if lane in self.eval_lanes]
        for pair in self.declared:
            if len(pair) != 2 or pair[0] not in self.design.lanes or pair[1] not in self.eval_lanes:
                known = f"{', '.join(self.design.lanes)} and eval lanes {', '.join(self.eval_lanes)}"
                raise UserError(f"declared: {pair} is not a pair of lane and eval lane; lanes are {known}")
        return list(dict.fromkeys([*own, *((lane, on) for lane, on in self.declared)]))

    @cached_property
    def planned(self) -> dict[str, Precision]:
        """What will be seen of each eval lane, in points, if half of its rows pass: where their luck is largest."""
        sigmas = {lane: (self.sigma**2 + 50**2 / problems) ** 0.5 for lane, problems in self.eval_lanes.items()}
        found = {lane: precision(self.design, sigma, len(self.cells)) for lane, sigma in sigmas.items()}
        if not all(one.freedom for one in found.values()):
            raise UserError("no arm runs twice, so nothing would tell effects from noise; set seeds to 2")
        return found

    @cached_property
    def plan(self) -> dict[str, Any]:
        """All that is fixed before the first run."""
        settings = {name: value for name, value in asdict(self).items() if name not in _IDLE}
        runs = [{**vars(run), "folder": folder.name} for folder, run in self.runs.items()]
        planned = {lane: asdict(own) for lane, own in self.planned.items()}
        return {"study": settings, "declared": self.cells, "runs": runs, "planned": planned}

    def hours(self) -> float:
        """What the study takes here, measured on its first run for a minute or so; not for arms of command lines."""
        if isinstance(self.arms, dict):
            raise UserError("hours are measured for lanes in and out; arms of command lines show theirs while they run")
        seconds = expected_seconds(next(iter(self.runs.values())), self.folder / "measured", self._threads)
        return len(self.runs) * seconds / self.slots / 3600

    def run(self, say: Callable[[str], None] = print) -> Report:
        """Train and evaluate what is not finished, and report."""
        write_json(self.folder / "plan.json", self.plan)
        executor: Executor = ThreadPoolExecutor(self.slots)
        if self.executor:
            try:
                executor = load_named(self.executor, "picochat.executors", "executor")(**self.executor_args)
            except TypeError as error:
                raise UserError(f"executor_args do not fit {self.executor}: {error}") from error
        with executor:
            execute_all(self.runs, executor, self._plan_hash, self._threads, say)
        return self.report()

    def status(self) -> list[str]:
        """Each run's state: finished, running or waiting."""
        return ["finished" if is_finished(one) else "running" if is_running(one) else "waiting" for one in self.runs]

    def report(self, recommend: bool = False) -> Report:
        """Read all runs back, estimate, write study.html, .md, .json and effects.csv; UserError where runs are missing.

        With `recommend` propose the next mixture, too, and write the study that tests it to next.yaml; of arms of
        command lines, say how they compare in the mean of the eval lanes.
        """
        self._check_finished()
        measured = Measured(
            f"Study {self.folder.name}",
            self.design,
            [run.name for run in self.runs.values()],
            by_lane([read_results(one / "eval", lambda row: self._eval_lane(row.tags)) for one in self.runs]),
            self.cells,
            self.planned,
            next(iter(self.arms)) if isinstance(self.arms, dict) else None,
            self._facts(),
            self.interactions,
        )
        return write_study(self.folder, measured, self._next(measured.scores[POINTS]) if recommend else ())

    def bundle(self) -> Path:
        """Plan, replies, verdicts and report in one file, without weights."""
        self._check_finished()
        target = self.folder.parent / f"{self.folder.resolve().name}.tar.gz"
        places = [(self.folder, form) for form in ("plan.json", "study.*", "effects.csv", "next.yaml")]
        places += [(run, form) for run in self.runs for form in ("*.json", "eval/*")]
        with atomic_file(target, "wb") as packed, tarfile.open(fileobj=packed, mode="w:gz") as archive:
            for file in (file for folder, form in places for file in sorted(folder.glob(form))):
                archive.add(file, file.relative_to(self.folder.parent))
        return target

    def _check_finished(self) -> None:
        if waiting := [folder for folder in self.runs if not is_finished(folder)]:
            others = sum(is_finished(one) for one in (self.folder / "runs").glob("*") if one not in self.runs)
            known = f" ({others} finished ones are of other settings, files or picochat code)" if others else ""
            missing = f"{len(waiting)} of {len(self.runs)} runs are not finished{known}"
            raise UserError(f"{missing}; `picochat study run` goes on")

    def _next(self, scores: Mapping[str, Sums]) -> list[Block]:
        """What to train next, or which of the arms is better."""
        lanes, signs = self.design.lanes, self.design.signs
        if isinstance(self.arms, dict):
            return mean_blocks(next(iter(self.arms)), lanes, signs, scores)
        shares = {lane: self.lane_rows[lane].share for lane in lanes}
        found, file = propose(shares, signs, scores, interactions=self.interactions), self.folder / "next.yaml"
        if found.gain:
            plain = replace(self, budget="pro_rata")
            proposed = {lane: 2 * found.shares[lane] / shares[lane] - 1 for lane in lanes}
            arms = {"present": dict.fromkeys(lanes, 1.0), "proposed": proposed}
            kept = ("checkpoint", "evaluate", "sigma", "slots", "executor", "executor_args")
            test = {
                **{name: getattr(self, name) for name in kept},
                "out_dir": f"{self.folder}-next",
                "eval_input": str(self.files[1]),
                "lanes": list(lanes),
                "seeds": found.seeds,
                "seed": self.seed + max(self.design.seeds) + 1,  # no run of this study had it
                "arms": {name: [shlex.join(training(plain, on, *self._lanes))] for name, on in arms.items()},
            }
            write_files({file: yaml.safe_dump(test, sort_keys=False, width=120)})
        return proposal_blocks(shares, found, len(scores), str(file))

    @property
    def _threads(self) -> int:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return max(1, cores // self.slots)

    @cached_property
    def _plan_hash(self) -> str:
        return sha256_text(json.dumps(self.plan))

    def _eval_lane(self, tags: Any) -> str:
        lanes = self.lanes or ([] if isinstance(self.arms, dict) else self.design.lanes)
        return lane_of(tags, lanes) or tags.get("category") or "untagged"

    def _facts(self) -> list[str]:
        plans = [read_json_object(folder / "run.json")["plan"] for folder in self.runs]
        later = sum(plan != self._plan_hash for plan in plans)
        older = f"The plan (sha256 {self._plan_hash[:12]}) is older than the first checkpoint: every run names it"
        changed = f"{later} of {len(plans)} runs began under another plan than this one (sha256 {self._plan_hash[:12]})"
        first = f"{older}." if not later else f"{changed}: what is declared was not declared before them."
        cost = f"Cost: {len(plans)} runs, {self.optimizer_steps}, {sum(self.eval_lanes.values()):,} problems each."
        return [first, cost, *([] if isinstance(self.arms, dict) else [_QUESTIONS[self.budget]])]

    @property
    def optimizer_steps(self) -> str:
        """ "720 optimizer steps" of all runs together, unless a line leaves them to a config or counts epochs."""
        return steps_said(stage for run in self.runs.values() for stage in run.stages)


def report_table(table: str | Path, evals: str | Path, folder: Path) -> Report:
    """The report of runs that were trained elsewhere: a table of their lanes, and a folder of their results."""
    runs, design = read_design(table)
    scores = by_lane([read_results(Path(evals) / run) for run in runs])
    names = [f"{run} {arm}" for run, arm in zip(runs, design.arms, strict=True)]
    facts = ["These runs were trained elsewhere: whether anything was declared before them is not known here."]
    return write_study(folder, Measured(f"Study {Path(table).stem}", design, names, scores, facts=facts))


def _kept(folder: Path, key: Any, make: Callable[[Path], Any]) -> tuple[Any, Path]:
    """What `make` gave for this key before, else now, as JSON values, and the folder that it filled."""
    place = folder / sha256_text(json.dumps(key))[:12]
    if not (file := place / "made.json").exists():
        write_json(file, {"value": make(place)})
    return read_json_object(file)["value"], place
