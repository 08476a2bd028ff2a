"""The geometry of a line chart. In: a `Chart`. Out: places in its SVG. Next: templates/blocks.html."""

import math
from collections.abc import Sequence
from typing import Any

from picochat.blocks import Chart

WIDTH, HEIGHT = 480, 240
_LEFT, _RIGHT, _BOTTOM, _TOP = 48, 12, 24, 8
_COLOURS = ("#2563eb", "#d97706", "#059669", "#c026d3", "#dc2626", "#0891b2", "#65a30d", "#7c3aed")
_POINTS = 300  # of a curve that are drawn; more cannot be seen at this width
_DOTTED = 25  # curves of fewer points show each of them

Curve = Sequence[tuple[float, float]]


def draw(chart: Chart) -> dict[str, Any] | None:
    """Title, ticks as (place, label), and for each line its corners, dots and look; None where nothing can be drawn.

    "log" is drawn on a linear scale where values are not positive or span less than a factor of thirty.
    """
    curves = {name: _thinned([point for point in curve if _drawable(point)]) for name, curve in chart.curves.items()}
    curves = {name: curve for name, curve in curves.items() if curve}
    steps = [step for curve in curves.values() for step, _ in curve]
    values = [value for curve in curves.values() for _, value in curve]
    if not values:
        return None
    log = chart.scale == "log" and min(values) >= 1e-300 and max(values) / min(values) >= 30
    x_low, x_high = _range(min(steps), max(steps))
    if chart.scale == "share":
        y_ticks = [0, 0.25, 0.5, 0.75, 1]
    else:
        y_ticks = _decades(min(values), max(values)) if log else _ticks(*_range(min(values), max(values)))
    y_low, y_high = min(y_ticks[0], *values), max(y_ticks[-1], *values)

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
        lines.append({"name": name, "corners": corners, "dots": dots, **look})
    bottom = [(across(tick), f"{tick:.6g}") for tick in _ticks(x_low, x_high) if x_low <= tick <= x_high]
    left = [(down(tick), f"{tick:.0%}" if chart.scale == "share" else f"{tick:.4g}") for tick in y_ticks]
    title = f"{chart.title}{' (logarithmic)' if log else ''}"
    return {"title": title, "lines": lines, "bottom": bottom, "left": left}


def _thinned(curve: Curve) -> Curve:
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
