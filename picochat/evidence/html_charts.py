"""Inline SVG. In: rates with intervals, curves over steps. Out: HTML. Used by report_html and compare_report."""

import math
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from picochat.evidence.html_page import esc, name_cell

_COLOURS = ("#2563eb", "#d97706", "#059669", "#c026d3", "#dc2626", "#0891b2", "#65a30d", "#7c3aed")
_WIDTH, _HEIGHT, _LEFT, _RIGHT, _BOTTOM, _TOP = 480, 240, 48, 12, 24, 8
_POINTS = 300  # of a curve that are drawn; more cannot be seen at this width
_DOTTED = 25  # curves of fewer points show each of them

Curve = Sequence[tuple[float, float]]
Scale = Literal["linear", "log", "share"]  # of the values; "share" is 0 to 100 %


class Bar(NamedTuple):
    """A share with its interval; `kind` is "a" (the run in question) or "b" (what it is compared with)."""

    rate: float
    low: float
    high: float
    kind: str = "a"


def interval_bars(lanes: Mapping[str, Sequence[Bar]], key: Mapping[str, str] | None = None) -> str:
    """One line for each lane: its name, its bars with interval whiskers from 0 to 100 %, its rates.

    Args:
        lanes: name → one bar, or two above each other.
        key: "a" and "b" → what they stand for; shown where two are compared.
    """
    lines = []
    for name, bars in lanes.items():
        height = 12 / len(bars)
        shapes = "".join(_bar(bar, place * height, height) for place, bar in enumerate(bars))
        size = ' class="two"' if len(bars) > 1 else ""
        told = ", ".join(f"{100 * bar.rate:.1f} %" for bar in bars)
        described = "; ".join(
            f"{100 * bar.rate:.1f} % (interval {100 * bar.low:.1f} to {100 * bar.high:.1f} %)" for bar in bars
        )
        lines.append(
            f"<span>{name_cell(name)}</span>"
            f'<svg{size} viewBox="0 0 100 12" preserveAspectRatio="none" role="img">'
            f"<title>{esc(name)}: {esc(described)}</title>"
            f'<rect width="100" height="12" style="fill:var(--tint)"/>{shapes}</svg><span>{esc(told)}</span>'
        )
    legend = ""
    if key:
        names = "".join(
            f'<span><i style="background:var(--{kind})"></i>{esc(text)}</span>' for kind, text in key.items()
        )
        legend = f'<p class="key">{names}</p>'
    return f'{legend}<div class="bars">{"".join(lines)}</div>' if lines else ""


def line_chart(title: str, curves: Mapping[str, Curve], scale: Scale = "linear") -> str:
    """Curves over optimizer steps with a grid; nothing where there are none.

    "log" is drawn on a linear scale where values are not positive or span less than a factor of thirty.
    """
    curves = {name: _thinned([point for point in curve if _drawable(point)]) for name, curve in curves.items()}
    curves = {name: curve for name, curve in curves.items() if curve}
    values = [value for curve in curves.values() for _, value in curve]
    if not values:
        return ""
    if scale == "log" and (min(values) < 1e-300 or max(values) / min(values) < 30):
        scale = "linear"
    steps = [step for curve in curves.values() for step, _ in curve]
    x_low, x_high = _range(min(steps), max(steps))
    y_ticks = _decades(min(values), max(values)) if scale == "log" else _ticks(*_range(min(values), max(values)))
    y_ticks = [0, 0.25, 0.5, 0.75, 1] if scale == "share" else y_ticks
    y_low, y_high = min(y_ticks[0], *values), max(y_ticks[-1], *values)

    def across(step: float) -> float:
        return _LEFT + (step - x_low) / (x_high - x_low) * (_WIDTH - _LEFT - _RIGHT)

    def down(value: float) -> float:
        if scale == "log":
            part = math.log(value / y_low) / math.log(y_high / y_low)
        else:
            part = (value - y_low) / (y_high - y_low)
        return _HEIGHT - _BOTTOM - part * (_HEIGHT - _BOTTOM - _TOP)

    grid = [_tick_line(down(tick), f"{tick:.0%}" if scale == "share" else f"{tick:.4g}") for tick in y_ticks]
    grid += [
        f'<text x="{across(tick):.1f}" y="{_HEIGHT - 7}" text-anchor="middle">{tick:.6g}</text>'
        for tick in _ticks(x_low, x_high)
        if x_low <= tick <= x_high
    ]
    lines, legend = [], []
    for number, (name, curve) in enumerate(curves.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        dashes = ' stroke-dasharray="6 3"' if number >= len(_COLOURS) else ""
        corners = [(f"{across(step):.1f}", f"{down(value):.1f}") for step, value in curve]
        points = " ".join(map(",".join, corners))
        lines.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"{dashes}/>')
        if len(corners) < _DOTTED:
            lines += [f'<circle cx="{x}" cy="{y}" r="2.2" fill="{colour}"/>' for x, y in corners]
        patch = f"background:{colour}" if not dashes else f"border:2px dashed {colour}"
        legend.append(f'<span><i style="{patch}"></i>{esc(name)}</span>')
    told = f"{title}{' (logarithmic)' if scale == 'log' else ''}"
    return (
        f'<div><h3>{esc(told)}</h3><svg class="chart" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">'
        f'<title>{esc(told)} over steps</title><g style="fill:var(--soft);font-size:11px">{"".join(grid)}</g>'
        f'{"".join(lines)}</svg><p class="key">{"".join(legend)}</p></div>'
    )


def _bar(bar: Bar, top: float, height: float) -> str:
    middle = top + height / 2
    low, high = 100 * bar.low, 100 * bar.high
    return (
        f'<rect y="{top + height * 0.15:.2f}" width="{100 * bar.rate:.2f}" height="{height * 0.7:.2f}" '
        f'style="fill:var(--{bar.kind})"/>'
        f'<path d="M{low:.2f} {middle:.2f}H{high:.2f}M{low:.2f} {top + height * 0.3:.2f}V{top + height * 0.7:.2f}'
        f'M{high:.2f} {top + height * 0.3:.2f}V{top + height * 0.7:.2f}" '
        f'style="stroke:var(--ink);stroke-width:1.2px" vector-effect="non-scaling-stroke"/>'
    )


def _thinned(curve: Curve) -> Curve:
    if len(curve) <= _POINTS:
        return curve
    step = (len(curve) - 1) / (_POINTS - 1)
    return [curve[round(place * step)] for place in range(_POINTS)]


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


def _tick_line(height: float, text: str) -> str:
    return (
        f'<path d="M{_LEFT} {height:.1f}H{_WIDTH - _RIGHT}" style="stroke:var(--line)"/>'
        f'<text x="{_LEFT - 6}" y="{height + 4:.1f}" text-anchor="end">{text}</text>'
    )
