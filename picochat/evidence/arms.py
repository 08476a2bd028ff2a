"""The runs of a comparison. In: folders of `eval chat`, one or more an arm. Out: `Arm`s on the same rows.

Next: evidence.compare.
"""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from picochat.errors import UserError
from picochat.evidence.evaluation import Evaluation
from picochat.evidence.read_back import read_eval


class Run(NamedTuple):
    """One evaluation that was read back from its folder."""

    folder: str
    evaluation: Evaluation


@dataclass(frozen=True)
class Arm:
    """Runs that differ by their seed only; `name` is for the reader."""

    name: str
    runs: list[Run]

    @cached_property
    def scores(self) -> NDArray[np.float64]:
        """1 for a row that passed, 0 for one that did not: (runs, rows)."""
        return np.array([[row.passed for row in run.evaluation.predictions] for run in self.runs], dtype=float)


def read_arms(groups: Sequence[Sequence[str | Path]], names: Sequence[str]) -> list[Arm | None]:
    """The arms; None for a group without folders.

    Raises:
        UserError: one name for two arms, a folder without evaluation, runs on different eval rows, or the same weights
            twice in an arm.
    """
    folders = [list(map(str, group)) for group in groups]
    called: dict[str, list[str]] = {}
    for name, group in zip(names, folders, strict=True):
        if group and called.setdefault(name, group) != group:  # A may be the peak as well
            raise UserError(f"two arms are called {name!r}; tell them apart with --name-a and --name-b")
    arms = [
        Arm(name, [Run(folder, read_eval(folder)) for folder in group]) if group else None
        for name, group in zip(names, folders, strict=True)
    ]
    _check([arm for arm in arms if arm])
    return arms


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


def _check(arms: Sequence[Arm]) -> None:
    first = arms[0].runs[0]
    for arm in arms:
        seen: dict[tuple[str, object], str] = {}
        for folder, evaluation in arm.runs:
            rows, others = first.evaluation.pack.sha256, evaluation.pack.sha256
            if rows != others:
                raise UserError(
                    f"{first.folder} and {folder} answered different eval rows (sha256 {rows[:12]} and {others[:12]}); "
                    "run `eval chat` with the same --input for both"
                )
            # The same weights may count twice only when sampling made the replies differ.
            settings = evaluation.settings
            key = (evaluation.model.sha256, settings["seed"] if settings["temperature"] else None)
            if key in seen:
                raise UserError(
                    f"{seen[key]} and {folder} are the same weights; each run of an arm must be a training of its own"
                )
            seen[key] = folder
