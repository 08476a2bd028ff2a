"""A setting out of its range is named by the callback that has it."""

import math
from typing import Any

import pytest

from picochat.callbacks import BenchmarkMetrics, BestCheckpoint, GradientClip, LastCheckpoint, LRSchedule
from picochat.errors import UserError


@pytest.mark.parametrize(
    ("callback", "setting"),
    [
        *((BestCheckpoint, one) for one in ({"patience": 0}, {"mode": "maximum"})),
        (BenchmarkMetrics, {"rows_per_lane": -1}),
        *((GradientClip, one) for one in ({"max_norm": 0.0}, {"max_norm": math.nan}, {"max_skipped": -1})),
        *((LRSchedule, one) for one in ({"warmup_steps": -1}, {"min_lr_ratio": 1.5}, {"decay": "cos"})),
        (LastCheckpoint, {"every_n_steps": 0}),
    ],
)
def test_settings_out_of_range_are_named(callback: type, setting: dict[str, Any]) -> None:
    ((name, value),) = setting.items()
    with pytest.raises(UserError, match=rf"{name}.* is '?{value}"):
        callback(**setting)
