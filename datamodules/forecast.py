"""What a run takes from its plan. In: a `DataPlan`, how steps are split, their number. Out: figures. Next: plan.

The first block stands for all of them: they differ in the last rows of their packing only.
"""

from typing import Any

import numpy as np

from picochat.datamodules.plan import DataPlan, Split


def forecast(plan: DataPlan, split: Split, steps: int, names: list[str], scale: float = 1.0) -> dict[str, Any]:
    """Figures of `steps` optimizer steps, for `picochat plan`.

    Tokens are positions that are not padding; rows of a step or an epoch are packed ones. A lane's epoch_steps draw
    each of its rows once; replays are the draws of each in the run. Lanes without draws are left out.

    Args:
        names: of the lanes.
        scale: rows that there will be, for each row of `plan`, where it is a sample of them.
    """
    bins, supervised = plan.block(0)
    lengths = plan.lengths[bins.order].astype(np.int64)
    tokens, blocks = float(lengths.sum()), steps * split.rows / len(bins)  # of a block; blocks of the run
    counts = np.bincount(plan.lanes, minlength=len(names)) * scale
    rows_per_epoch = len(bins) * float(counts.sum()) / plan.draws
    return {
        "steps": steps,
        "rows_per_step": split.rows,
        "rows_per_epoch": rows_per_epoch,
        "epochs": steps * split.rows / rows_per_epoch,
        "tokens": round(blocks * tokens),
        "supervised_tokens": round(blocks * float(supervised.sum())),
        "padding": 1 - tokens / (len(bins) * plan.capacity),
        "document_length": float((lengths * (lengths + 1)).sum()) / tokens,
        "categories": [
            {
                "name": name,
                "rows": round(count),
                "share": quota / plan.draws,
                "epoch_steps": count / quota * len(bins) / split.rows,
                "replays": blocks * quota / count,
            }
            for name, count, quota in zip(names, counts.tolist(), plan.quotas.tolist(), strict=False)
            if quota
        ],
    }
