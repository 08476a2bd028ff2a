"""A run's metrics as line charts. In: the metrics.csv of Lightning's CSVLogger. Out: `Chart`s, their places in an SVG.

    step,train/loss,val/loss,lr         {"train/loss": [(10, 3.2), (20, 2.9)],
    10,3.2,,0.004                 ─►     "val/loss": [(20, 3.0)],
    20,2.9,,                             "lr": [(10, 0.004)]}
    20,,3.0,

Cells that are empty or hold no number are skipped. Next: eval_report, and for the geometry templates/blocks.html.
"""

import csv
import math
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from picochat.blocks import Chart
from picochat.errors import UserError

Curves = dict[str, list[tuple[float, float]]]
WIDTH, HEIGHT = 480, 240
_LEFT, _RIGHT, _BOTTOM, _TOP = 48, 12, 24, 8
_COLOURS = ("#2563eb", "#d97706", "#059669", "#c026d3", "#dc2626", "#0891b2", "#65a30d", "#7c3aed")
_POINTS = 300  # of a curve that are drawn; more cannot be seen at this width
_DOTTED = 25  # curves of fewer points show each of them


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


def draw(chart: Chart) -> dict[str, Any] | None:
    """Title, ticks as (place, label), and of each line corners, dots, values and look; None where nothing can be drawn.

    "log" is drawn on a linear scale where values are not positive or span less than a factor of thirty.
    """
    curves = {name: _thinned([point for point in curve if _drawable(point)]) for name, curve in chart.curves.items()}
    curves = {name: curve for name, curve in curves.items() if curve}
    steps = [step for curve in curves.values() for step, _ in curve]
    heights = [value for curve in curves.values() for _, value in curve]
    if not heights:
        return None
    lowest, highest = min(heights), max(heights)
    log = chart.scale == "log" and lowest >= 1e-300 and highest / lowest >= 30
    x_low, x_high = _range(min(steps), max(steps))
    if chart.scale == "share":
        y_ticks = [0, 0.25, 0.5, 0.75, 1]
    else:
        y_ticks = _decades(lowest, highest) if log else _ticks(*_range(lowest, highest))
    y_low, y_high = min(y_ticks[0], lowest), max(y_ticks[-1], highest)

    def across(step: float) -> float:
        return round(_LEFT + (step - x_low) / (x_high - x_low) * (WIDTH - _LEFT - _RIGHT), 1)

    def down(value: float) -> float:
        low, high, value = map(math.log10, (y_low, y_high, value)) if log else (y_low, y_high, value)
        part = (value - low) / (high - low)
        return round(HEIGHT - _BOTTOM - part * (HEIGHT - _BOTTOM - _TOP), 1)

    lines = []
    for number, (name, curve) in enumerate(curves.items()):
        corners = [(across(step), down(value)) for step, value in curve]
        dots = corners if len(corners) < _DOTTED else []
        look = {"colour": _COLOURS[number % len(_COLOURS)], "dashed": number >= len(_COLOURS)}
        said = [f"{value:.4g} at step {step:g}" for step, value in curve]
        lines.append({"name": name, "corners": corners, "dots": dots, "said": said, **look})
    bottom = [(across(tick), f"{tick:.6g}") for tick in _ticks(x_low, x_high) if x_low <= tick <= x_high]
    left = [(down(tick), f"{tick:.0%}" if chart.scale == "share" else f"{tick:.4g}") for tick in y_ticks]
    title = f"{chart.title}{' (logarithmic)' if log else ''}"
    return {"title": title, "lines": lines, "bottom": bottom, "left": left}


def _thinned(curve: Sequence[tuple[float, float]]) -> Sequence[tuple[float, float]]:
    if len(curve) <= _POINTS:
        return curve
    step = (len(curve) - 1) / (_POINTS - 1)
    return [curve[round(number * step)] for number in range(_POINTS)]


def _drawable(point: tuple[float, float]) -> bool:
    return all(abs(number) < 1e300 for number in point)  # not of nan; the span of larger ones would be infinite


def _range(low: float, high: float) -> tuple[float, float]:
    """Both ends, moved apart where they are too near for ticks between them: 1e17 + 0.5 is 1e17."""
    size = max(abs(low), abs(high), 1e-280)
    room = max(0.5, size / 1000)
    return (low, high) if high - low > size / 1e9 else (low - room, high + room)


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers around low … high, about four steps of 1, 2 or 5 times a power of ten: 13 … 178 → 0, 50, … 200."""
    rough = (high - low) / 4
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(number * step, 12) for number in range(first, last + 1)]


def _decades(low: float, high: float) -> list[float]:
    """Powers of ten from the one below `low` to the one above `high`."""
    return [10.0**power for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)]


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text else None
    except (TypeError, ValueError):  # a line with more cells than names gives a list
        return None
