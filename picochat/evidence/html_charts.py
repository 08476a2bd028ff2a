"""Inline SVG. In: rates with intervals, curves over steps. Out: HTML. Used by report_html and compare_report."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from picochat.evidence.html_page import esc

_COLOURS = ("#2563eb", "#d97706", "#059669", "#c026d3", "#dc2626", "#0891b2", "#65a30d", "#7c3aed")
_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP = 640, 240, 60, 24, 10
_POINTS = 300  # of a curve that are drawn; more cannot be seen at this width

Curve = Sequence[tuple[float, float]]


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
        told = ", ".join(f"{100 * bar.rate:.1f} %" for bar in bars)
        described = "; ".join(
            f"{100 * bar.rate:.1f} % (interval {100 * bar.low:.1f} to {100 * bar.high:.1f} %)" for bar in bars
        )
        lines.append(
            f'<span>{esc(name)}</span><svg viewBox="0 0 100 12" preserveAspectRatio="none" role="img">'
            f"<title>{esc(name)}: {esc(described)}</title>"
            f'<rect width="100" height="12" style="fill:var(--tint)"/>{shapes}</svg><span>{esc(told)}</span>'
        )
    legend = ""
    if key:
        names = "".join(f'<i style="background:var(--{kind})"></i>{esc(text)}' for kind, text in key.items())
        legend = f'<p class="key">{names}</p>'
    return f'{legend}<div class="bars">{"".join(lines)}</div>' if lines else ""


def line_chart(title: str, curves: Mapping[str, Curve]) -> str:
    """Curves over optimizer steps with their smallest and largest values on the axes; nothing where there are none."""
    curves = {name: _thinned([point for point in curve if math.isfinite(point[1])]) for name, curve in curves.items()}
    curves = {name: curve for name, curve in curves.items() if curve}
    points = [point for curve in curves.values() for point in curve]
    if not points:
        return ""
    (x_low, x_high), (y_low, y_high) = _range([x for x, _ in points]), _range([y for _, y in points])

    def place(x: float, y: float) -> str:
        across = _LEFT + (x - x_low) / (x_high - x_low) * (_WIDTH - _LEFT - 10)
        down = _HEIGHT - _BOTTOM - (y - y_low) / (y_high - y_low) * (_HEIGHT - _BOTTOM - _TOP)
        return f"{across:.1f},{down:.1f}"

    lines, legend = [], []
    for number, (name, curve) in enumerate(curves.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        corners = " ".join(place(x, y) for x, y in curve)
        lines.append(f'<polyline points="{corners}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        if len(curve) == 1:
            x, y = place(*curve[0]).split(",")
            lines.append(f'<circle cx="{x}" cy="{y}" r="3" fill="{colour}"/>')
        legend.append(f'<i style="background:{colour}"></i>{esc(name)}')
    return (
        f'<h3>{esc(title)}</h3><svg class="chart" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">'
        f"<title>{esc(title)} over steps</title>"
        f'<g style="fill:var(--soft);font-size:11px">'
        f'<text x="{_LEFT - 6}" y="{_TOP + 8}" text-anchor="end">{_short(y_high)}</text>'
        f'<text x="{_LEFT - 6}" y="{_HEIGHT - _BOTTOM}" text-anchor="end">{_short(y_low)}</text>'
        f'<text x="{_LEFT}" y="{_HEIGHT - 8}">{_short(x_low)}</text>'
        f'<text x="{_WIDTH - 10}" y="{_HEIGHT - 8}" text-anchor="end">step {_short(x_high)}</text></g>'
        f'<path d="M{_LEFT} {_TOP}V{_HEIGHT - _BOTTOM}H{_WIDTH - 10}" fill="none" style="stroke:var(--line)"/>'
        f'{"".join(lines)}</svg><p class="key">{"".join(legend)}</p>'
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


def _range(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _short(value: float) -> str:
    return f"{value:.4g}"
