"""What a run will take from its plan. In: a `DataPlan`, how steps are split, their number. Out: shares and counts, for
`picochat plan`. The first block stands for all of them: they are alike but for the last rows of their packing.
"""

from dataclasses import dataclass

import numpy as np

from picochat.datamodules.plan import DataPlan, Split


@dataclass(frozen=True)
class Lane:
    """A category in a run.

    Args:
        name: of the category.
        rows: examples that there are.
        share: of the examples drawn.
        epoch_steps: optimizer steps in which each of its rows is drawn once.
        replays: times that each of its rows is drawn in the run, on average.
    """

    name: str
    rows: int
    share: float
    epoch_steps: float
    replays: float


@dataclass(frozen=True)
class Forecast:
    """A whole run.

    Args:
        steps: optimizer steps.
        step_rows: packed rows of a step, over all micro-batches and ranks.
        tokens: places of the run that are not padding.
        supervised: those of them that are learnt.
        padding: share of the places that is padding.
        epoch_rows: packed rows in which the average row comes once.
        visible: positions that the average position sees, twice the average of them: the length of a document.
        lanes: by category; a category without draws is left out.
    """

    steps: int
    step_rows: int
    tokens: float
    supervised: float
    padding: float
    epoch_rows: float
    visible: float
    lanes: tuple[Lane, ...]


def forecast(plan: DataPlan, split: Split, steps: int, names: list[str], scale: float = 1.0) -> Forecast:
    """What `steps` optimizer steps take.

    Args:
        names: of the lanes.
        scale: rows that there will be, for each row of `plan`, where it is a sample of them.
    """
    bins, learnt = plan.block(0)
    lengths = plan.lengths[bins.order].astype(np.int64)
    blocks = steps * split.rows / len(bins)  # drawn in the run
    rows = np.bincount(plan.lanes, minlength=len(names)) * scale
    places = float(lengths.sum())
    return Forecast(
        steps=steps,
        step_rows=split.rows,
        tokens=blocks * places,
        supervised=blocks * float(learnt.sum()),
        padding=1 - places / (len(bins) * plan.capacity),
        epoch_rows=len(bins) * float(rows.sum()) / plan.draws,
        visible=float((lengths * (lengths + 1)).sum()) / places,
        lanes=tuple(
            Lane(name, round(count), quota / plan.draws, count / quota * len(bins) / split.rows, blocks * quota / count)
            for name, count, quota in zip(names, rows.tolist(), plan.quotas.tolist(), strict=False)
            if quota
        ),
    )
