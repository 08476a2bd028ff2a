"""benchmarks/plan_scale.py at a small size: a plan over mapped columns holds far less than the columns are."""

import importlib.util
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "plan_scale.py"
ROWS = 5_000_000


def test_a_rank_starts_without_holding_the_columns() -> None:
    spec = importlib.util.spec_from_file_location("plan_scale", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    found = script.measure(ROWS)
    assert found["held"] < ROWS * (4 + 4 + 2) / 2
    assert found["first"] > 0
