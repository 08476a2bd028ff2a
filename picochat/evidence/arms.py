"""The runs of a comparison. In: folders of `eval chat`. Out: `Arm`s on the same rows, and how much runs differ.

Each lane's variance between runs is pulled towards what the categories share (runs.moderate): two runs say little about
one lane. Next: evidence.compare.
"""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from picochat.errors import UserError
from picochat.evidence.clusters import cluster_sums
from picochat.evidence.evaluation import Evaluation, read_eval
from picochat.evidence.lanes import GROUPINGS, Prediction, grouped
from picochat.evidence.runs import Array, RunNoise, moderate, run_noise
from picochat.strict_json import read_json_object

OVERALL = ("overall", "overall")
Key = tuple[str, str]
"""Grouping and lane; `OVERALL` has all rows."""
Noise = Mapping[Key, RunNoise]


@dataclass(frozen=True)
class Arm:
    """Runs that differ by their seed only; `name` is for the reader."""

    name: str
    runs: list[Evaluation]

    @property
    def rows(self) -> Sequence[Prediction]:
        """Those of the first run; all runs have the same."""
        return self.runs[0].predictions

    @cached_property
    def scores(self) -> Array:
        """1 for a row that passed, 0 for one that did not: (runs, rows)."""
        return np.array([[row.passed for row in run.predictions] for run in self.runs], dtype=float)


def read_arms(groups: Sequence[Sequence[str | Path]], names: Sequence[str]) -> list[Arm | None]:
    """The arms; None for a group without folders. Rows that the rules could not judge in some run are left out."""
    folders = [list(map(str, group)) for group in groups]
    called: dict[str, list[str]] = {}
    for name, group in zip(names, folders, strict=True):
        if group and called.setdefault(name, group) != group:  # A may be the peak as well
            raise UserError(f"two arms are called {name!r}; tell them apart with --name-a and --name-b")
    arms = [
        Arm(name, [replace(read_eval(folder), folder=folder) for folder in group]) if group else None
        for name, group in zip(names, folders, strict=True)
    ]
    known = [arm for arm in arms if arm]
    _check(known)
    unread = {row.index for arm in known for run in arm.runs for row in run.predictions if not row.judged}
    if unread >= {row.index for row in known[0].rows}:
        folder = known[0].runs[0].folder
        raise UserError(f"the rules could judge no row of {folder} in every run: there is nothing to compare")
    return [arm and replace(arm, runs=[_without(unread, run) for run in arm.runs]) for arm in arms]


def _without(unread: set[int], run: Evaluation) -> Evaluation:
    return replace(run, predictions=[row for row in run.predictions if row.index not in unread])


def _check(arms: Sequence[Arm]) -> None:
    first = arms[0].runs[0]
    for arm in arms:
        seen: dict[tuple[str, object], str] = {}
        for run in arm.runs:
            rows, others = first.pack.sha256, run.pack.sha256
            if rows != others:
                raise UserError(
                    f"{first.folder} and {run.folder} answered different eval rows (sha256 {rows[:12]} and "
                    f"{others[:12]}); run `eval chat` with the same --input for both"
                )
            # The same weights may count twice only when sampling made the replies differ.
            key = (run.model.sha256, run.settings.get("seed") if run.settings.get("temperature") else None)
            if key in seen:
                both = f"{seen[key]} and {run.folder}"
                raise UserError(f"{both} are the same weights; each run of an arm must be a training of its own")
            seen[key] = run.folder


def places_of(rows: Sequence[Prediction]) -> dict[Key, tuple[int, ...]]:
    """Every lane of every grouping → the places of its rows."""
    place = {row.index: number for number, row in enumerate(rows)}
    lanes = {(name, lane): own for name in GROUPINGS for lane, own in grouped(rows, name).items()}
    return {key: tuple(place[row.index] for row in own) for key, own in {**lanes, OVERALL: rows}.items()}


def read_noise(paths: Sequence[str | Path]) -> Noise:
    """The noise of earlier runs of one recipe: folders that `eval chat` wrote, or one comparison.json of several runs.

    Raises:
        UserError: a single folder, folders that are no arm, or a file without noise.
    """
    if len(paths) == 1 and not Path(paths[0]).is_dir():
        return _noise_in(Path(paths[0]))
    arms = read_arms([paths], ["noise"])
    if len(paths) < 2:
        raise UserError("--noise needs two or more runs of one recipe with different seeds, or one comparison.json")
    return noise_between([arm for arm in arms if arm])


def noise_between(arms: Sequence[Arm]) -> Noise:
    """The noise of arms that answered the same rows; empty where no arm has two runs."""
    design = np.repeat(np.eye(len(arms)), [len(arm.runs) for arm in arms], axis=0)
    scores, clusters = np.concatenate([arm.scores for arm in arms]), [row.cluster for row in arms[0].rows]
    raw: dict[Key, RunNoise] = {}
    for key, places in places_of(arms[0].rows).items():
        sums = cluster_sums(scores[:, places], [clusters[place] for place in places])
        if own := run_noise(*sums, design):
            raw[key] = own
    shared = [own for (grouping, _), own in raw.items() if grouping == "by_category"]
    return {key: moderate([*(one for one in shared if one != own), own])[-1] for key, own in raw.items()}


def _noise_in(path: Path) -> Noise:
    report = read_json_object(path)
    lanes: dict[str, Any] = {name: report.get(name) for name in GROUPINGS}
    lanes["overall"] = {"overall": report.get("overall")}
    try:
        noise = {
            (name, lane): RunNoise(**own["noise"])
            for name, found in lanes.items()
            for lane, own in found.items()
            if own["noise"]
        }
    except (AttributeError, KeyError, TypeError) as error:
        raise UserError(f"{path} is not the comparison.json of an `eval compare`") from error
    if not noise:
        raise UserError(f"{path}: each arm was a single run, which tells nothing about how much runs differ")
    return noise


def arm_names(arms: Sequence[Sequence[str | Path]]) -> list[str]:
    """What arms are called after their folders: the last part of the path in which all of them differ.

    runs/eval/base | runs/eval/sft          → base, sft
    runs/base/eval | runs/sft/eval          → base, sft
    eval/base-s1 eval/base-s2 | eval/sft    → base, sft     (several runs: what their names begin with)
    """
    parts = [[Path(folder).parts for folder in arm] for arm in arms]
    different = len({tuple(map(str, arm)) for arm in arms})  # A may be the peak as well
    for depth in range(1, 1 + min(len(folder) for arm in parts for folder in arm)):
        names = [_common([folder[-depth] for folder in arm]) for arm in parts]
        if all(names) and len(set(names)) == different and names[0] != names[1]:
            return names
    return ["A", "B", "before", "peak"][: len(arms)]


def _common(names: Sequence[str]) -> str:
    if len(set(names)) == 1:
        return names[0]
    return re.sub(r"(?:[-_. ]+(?:seed|run|s)?[-_. ]*\d*|\d+)$", "", os.path.commonprefix(names))  # noqa: RUF071 - signs are meant
