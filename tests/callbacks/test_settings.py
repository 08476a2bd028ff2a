"""A setting out of its range is named by the callback that has it."""

import math
from typing import Any

import pytest

from picochat.callbacks import BenchmarkMetrics, BestCheckpoint, GradientClip, LastCheckpoint, LRSchedule
from picochat.errors import UserError

OUT_OF_RANGE: list[tuple[type, dict[str, Any]]] = [
    *((BenchmarkMetrics, one) for one in ({"every_n_steps": 0}, {"rows_per_lane": -1}, {"top_p": 1.5})),
    *((BestCheckpoint, one) for one in ({"mode": "lower"}, {"patience": 0})),
    *((GradientClip, one) for one in ({"max_norm": 0.0}, {"max_norm": math.nan}, {"max_skipped": -1})),
    *((LRSchedule, one) for one in ({"warmup_steps": -1}, {"decay": "x"}, {"min_lr_ratio": 1.5}, {"max_steps": 0})),
    (LastCheckpoint, {"every_n_steps": 0}),
]


@pytest.mark.parametrize(("callback", "setting"), OUT_OF_RANGE)
def test_settings_out_of_range_are_named(callback: type, setting: dict[str, Any]) -> None:
    ((name, value),) = setting.items()
    with pytest.raises(UserError, match=rf"{name}.* is '?{value}"):
        callback(**setting)
