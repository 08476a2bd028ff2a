"""The runs of a comparison. In: folders of `eval chat`. Out: `Arm`s on the same rows, and how much runs differ.

Each lane's variance between runs is pulled towards what the categories share (runs.moderate): two runs say little about
one lane. It is shared in units of p (1 - p), p the lane's rate: runs differ less where nearly all rows pass. Next:
evidence.compare.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from picochat.errors import UserError
from picochat.evidence.clusters import cluster_sums
from picochat.evidence.evaluation import Evaluation, read_eval
from picochat.evidence.lanes import GROUPINGS, Prediction, grouped
from picochat.evidence.runs import Array, RunNoise, moderate, run_noise

OVERALL = ("overall", "overall")
Key = tuple[str, str]
"""Grouping and lane; `OVERALL` has all rows."""
Noise = Mapping[Key, RunNoise]
_SEED = re.compile(r"[-_. ]*(?:seed|run|(?<![^\W_])s)?[-_. ]*\d+$")


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
    called: dict[str, Sequence[str | Path]] = {}
    for name, group in zip(names, groups, strict=True):
        if group and list(called.setdefault(name, group)) != list(group):  # A may be the peak as well
            raise UserError(f"two arms are called {name!r}; tell them apart with --name-a and --name-b")
    arms = [list(map(read_eval, group)) for group in groups]
    first, *others = every = [run for arm in arms for run in arm]
    for run in others:
        own, other = first.pack.sha256[:12], run.pack.sha256[:12]
        if own != other:
            raise UserError(
                f"{first.folder} and {run.folder} answered different eval rows (sha256 {own} and {other}); run "
                "`eval chat` with the same --input for both"
            )
    for arm in arms:
        # The same weights may count twice only when sampling made the replies differ.
        weights = {(run.model.sha256, run.settings.get("temperature") and run.settings.get("seed")) for run in arm}
        if len(weights) < len(arm):
            raise UserError(f"two runs like {arm[0].folder} have the same weights; each must be a training of its own")
    unread = {row.index for run in every for row in run.predictions if not row.judged}
    if len(unread) == len(first.predictions):
        raise UserError(f"the rules could judge no row of {first.folder} in every run: there is nothing to compare")
    for arm in arms:
        arm[:] = [replace(run, predictions=[row for row in run.predictions if row.index not in unread]) for run in arm]
    return [Arm(name, arm) if arm else None for name, arm in zip(names, arms, strict=True)]


def places_of(rows: Sequence[Prediction]) -> dict[Key, tuple[int, ...]]:
    """Every lane of every grouping → the places of its rows."""
    place = {row.index: number for number, row in enumerate(rows)}
    lanes = {(name, lane): own for name in GROUPINGS for lane, own in grouped(rows, name).items()}
    return {key: tuple(place[row.index] for row in own) for key, own in {**lanes, OVERALL: rows}.items()}


def read_noise(folders: Sequence[str | Path]) -> Noise:
    """The noise of earlier runs of one recipe with different seeds, in folders that `eval chat` wrote."""
    if len(folders) < 2:
        raise UserError("--noise needs two or more runs of one recipe with different seeds")
    return noise_between([arm for arm in read_arms([folders], ["noise"]) if arm])


def noise_between(arms: Sequence[Arm]) -> Noise:
    """The noise of arms that answered the same rows; empty where no arm has two runs."""
    design = np.repeat(np.eye(len(arms)), [len(arm.runs) for arm in arms], axis=0)
    scores, clusters = np.concatenate([arm.scores for arm in arms]), [row.cluster for row in arms[0].rows]
    raw, unit = dict[Key, RunNoise](), dict[Key, float]()
    for key, places in places_of(arms[0].rows).items():
        sums, sizes = cluster_sums(scores[:, places], [clusters[place] for place in places])
        if own := run_noise(sums, sizes, design):
            rates = (sums.sum(1) + 1) / (sizes.sum() + 2)
            unit[key] = float((rates * (1 - rates)).mean())
            raw[key] = replace(own, variance=own.variance / unit[key])
    shared = [own for (grouping, _), own in raw.items() if grouping == "by_category"]
    found = {key: moderate([*(one for one in shared if one != own), own])[-1] for key, own in raw.items()}
    return {key: replace(own, variance=own.variance * unit[key]) for key, own in found.items()}


def arm_names(arms: Sequence[Sequence[str | Path]]) -> list[str]:
    """What arms are called after their folders: eval/base-s1 eval/base-s2 | eval/sft ─► base, sft."""
    names = [Path(arm[0]).name if len(arm) == 1 else _SEED.sub("", Path(arm[0]).name) for arm in arms]
    different = len({tuple(map(str, arm)) for arm in arms})  # A may be the peak as well
    told_apart = all(names) and len(set(names)) == different and names[0] != names[1]
    return names if told_apart else ["A", "B", "before", "peak"][: len(arms)]
