"""A run's metrics. In: the metrics.csv that Lightning's CSVLogger wrote. Out: curves by name. Next: report_html.

    step,train/loss,val/loss,lr         {"train/loss": [(10, 3.2), (20, 2.9)],
    10,3.2,,0.004                 ─►     "val/loss": [(20, 3.0)],
    20,2.9,,                             "lr": [(10, 0.004)]}
    20,,3.0,

Cells that are empty or no numbers are passed over.
"""

import csv
from collections import defaultdict
from pathlib import Path

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


def charts(curves: Curves) -> dict[str, Curves]:
    """Which curves are drawn together: losses, learning rates, and each eval metric over all benchmark profiles.

    "eval/weak_skills/rate" and "eval/release_behavior/rate" share the chart "eval: rate".
    """
    drawn: dict[str, Curves] = defaultdict(dict)
    for name, curve in curves.items():
        if name.startswith("eval/"):
            _, *profile, metric = name.split("/")
            drawn[f"eval: {metric}"]["/".join(profile) or metric] = curve
        elif "loss" in name:
            drawn["Loss"][name] = curve
        elif name == "lr" or name.startswith(("lr", "learning_rate", "optim/lr")):
            drawn["Learning rate"][name] = curve
    order = {"Loss": 0, "Learning rate": 1}
    return {title: drawn[title] for title in sorted(drawn, key=lambda title: (order.get(title, 2), title))}


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        return None
