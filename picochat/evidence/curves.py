"""A run's metrics. In: the metrics.csv that Lightning's CSVLogger wrote. Out: curves by name. Next: eval_report.

    step,train/loss,val/loss,lr         {"train/loss": [(10, 3.2), (20, 2.9)],
    10,3.2,,0.004                 ─►     "val/loss": [(20, 3.0)],
    20,2.9,,                             "lr": [(10, 0.004)]}
    20,,3.0,

Cells that are empty or hold no number are skipped.
"""

import csv
from collections import defaultdict
from pathlib import Path
from typing import Literal

from picochat.blocks import Chart
from picochat.errors import UserError

Curves = dict[str, list[tuple[float, float]]]


def find_metrics(checkpoint: str | Path) -> Path | None:
    """The metrics.csv of the run that a model folder lies in (RUN/best_checkpoint → RUN/metrics.csv), or None."""
    path = Path(checkpoint).resolve().parent / "metrics.csv"
    return path if path.is_file() else None


def read_curves(path: str | Path) -> Curves:
    """Every numeric column over `step`.

    Raises:
        UserError: the file cannot be read or has no column `step`.
    """
    curves: Curves = defaultdict(list)
    try:
        with Path(path).open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            if "step" not in (reader.fieldnames or []):
                raise UserError(f"{path} has no column 'step'; a metrics.csv of a training run is expected")
            for line in reader:
                step = _number(line["step"])
                for name, text in line.items():
                    value = _number(text)
                    if name not in ("step", "epoch", None) and step is not None and value is not None:
                        curves[name].append((step, value))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"cannot read {path}: {error}") from error
    return dict(curves)


def charts(curves: Curves) -> list[Chart]:
    """Which curves are drawn together, in this order; all others are left out.

    train/loss, val/loss                       → "Loss"
    train/lr, train/lr/matrices, lr-AdamW      → "Learning rate"
    val/loss/identity, val/loss/bench_math_…   → "Loss by lane: val"
    eval/weak_skills/pass_rate, eval/full/…    → "eval: pass_rate", one curve for each benchmark profile
    """
    drawn: dict[str, Curves] = {"Loss": {}, "Learning rate": {}}
    for name, curve in sorted(curves.items()):
        parts = name.split("/")
        if parts[-1] == "loss":
            drawn["Loss"][name] = curve
        elif any(part == "lr" or part.startswith("lr-") for part in parts):
            drawn["Learning rate"][name] = curve
        elif parts[1:2] == ["loss"]:
            drawn.setdefault(f"Loss by lane: {parts[0]}", {})["/".join(parts[2:])] = curve
        elif parts[0] == "eval" and len(parts) == 3:
            drawn.setdefault(f"eval: {parts[2]}", {})[parts[1]] = curve
    scales: dict[str, Literal["log", "share"]] = {"Loss": "log", "Loss by lane": "log", "eval": "share"}
    return [Chart(title, own, scales.get(title.partition(":")[0], "linear")) for title, own in drawn.items()]


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text else None
    except (TypeError, ValueError):  # a line with more cells than names gives a list
        return None
