"""How much runs of one recipe differ, by lane. In: evaluations of several runs, or a file. Out: `Noise`. Next: compare.

    eval compare --a a1 a2 --b b1 b2        from the runs that are compared, all arms together
    eval compare a b --noise r1 r2 r3       from earlier runs of one recipe, which differ by their seed only
    eval compare a b --noise FILE           from the comparison.json of a comparison with several runs an arm

Each lane's variance is pulled towards what the categories share (runs.moderate): two runs say little about one lane.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from picochat.errors import UserError
from picochat.evidence.clusters import cluster_sums
from picochat.evidence.evaluation import Evaluation
from picochat.evidence.lanes import GROUPINGS, Prediction, grouped
from picochat.evidence.read_back import read_eval
from picochat.evidence.runs import RunNoise, moderate, run_noise
from picochat.strict_json import read_json_object

Noise = Mapping[str, Mapping[str, RunNoise]]
"""Grouping → lane → noise; all rows are the lane "overall" of the grouping "overall"."""


def noise_between(arms: Sequence[Sequence[Evaluation]]) -> Noise:
    """The noise of arms that answered the same rows; empty where no arm has two runs."""
    runs = [run for arm in arms for run in arm]
    design = np.repeat(np.eye(len(arms)), list(map(len, arms)), axis=0)
    scores = np.array([[row.passed for row in run.predictions] for run in runs], dtype=float)

    def raw(rows: Sequence[Prediction]) -> RunNoise | None:
        sums, sizes = cluster_sums(scores[:, [row.index for row in rows]], [row.cluster for row in rows])
        return run_noise(sums, sizes, design)

    rows = runs[0].predictions
    lanes = {name: {lane: raw(own) for lane, own in grouped(rows, name).items()} for name in GROUPINGS}
    lanes["overall"] = {"overall": raw(rows)}
    shared = [own for own in lanes["by_category"].values() if own]
    return {
        name: {lane: moderate([*(one for one in shared if one != own), own])[-1] for lane, own in found.items() if own}
        for name, found in lanes.items()
    }


def read_noise(paths: Sequence[str | Path]) -> Noise:
    """The noise of earlier runs: folders that `eval chat` wrote, or one comparison.json.

    Raises:
        UserError: a single folder, folders of different eval rows or of the same weights, or a file without noise.
    """
    if len(paths) == 1 and not Path(paths[0]).is_dir():
        return _from_file(Path(paths[0]))
    runs = [read_eval(path) for path in paths]
    if len(runs) < 2 or len({run.model.sha256 for run in runs}) < len(runs):
        raise UserError("--noise needs two or more runs of one recipe with different seeds, or one comparison.json")
    if len({run.pack.sha256 for run in runs}) > 1:
        raise UserError("--noise: the runs answered different eval rows; run `eval chat` with the same --input for all")
    return noise_between([runs])


def _from_file(path: Path) -> Noise:
    report = read_json_object(path)
    lanes: dict[str, Any] = {name: report.get(name) for name in GROUPINGS}
    lanes["overall"] = {"overall": report.get("overall")}
    try:
        noise = {
            name: {lane: RunNoise(**own["noise"]) for lane, own in found.items() if own["noise"]}
            for name, found in lanes.items()
        }
    except (AttributeError, KeyError, TypeError) as error:
        raise UserError(f"{path} is not the comparison.json of an `eval compare`") from error
    if not any(noise.values()):
        raise UserError(f"{path}: each arm was a single run, which tells nothing about how much runs differ")
    return noise
