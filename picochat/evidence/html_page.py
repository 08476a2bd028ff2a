"""Reports as HTML, and a run's curves. In: a `Report`, a metrics.csv. Out: one self-contained page. Look: templates/.

The page loads nothing: style and script are inside, and a content security policy forbids the rest. The only script
that may run is templates/report.js (allowed by its hash); it filters what is there already.

    step,train/loss,val/loss,lr         {"train/loss": [(10, 3.2), (20, 2.9)],
    10,3.2,,0.004                 ─►     "val/loss": [(20, 3.0)],                  ─►   Chart   ─►   places in an SVG
    20,2.9,,                             "lr": [(10, 0.004)]}
    20,,3.0,
"""

import base64
import csv
import hashlib
import math
import re
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from picochat.blocks import Block, Chart, Charts, Replies, Report
from picochat.errors import UserError

Curves = dict[str, list[tuple[float, float]]]
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
_WIDTH, _HEIGHT = 480, 240
_LEFT, _RIGHT, _BOTTOM, _TOP = 48, 12, 24, 8
_POINTS = 300  # of a curve that are drawn; more cannot be seen at this width
_DOTTED = 25  # curves of fewer points show each of them


def page(report: Report) -> str:
    blocks = [block for block in report.blocks if "page" in block.media and _has_content(block)]
    template = environment().get_template("report.html")
    return template.render(report=report, blocks=blocks, policy=Markup(script_policy()))


def script_policy() -> str:
    """The content security policy of a report page: its own script may run, and nothing is loaded."""
    digest = base64.b64encode(hashlib.sha256(_file("report.js").encode()).digest()).decode()
    return f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; img-src data:"


@cache
def environment(*packages: str) -> Environment:
    """The templates of reports, and of other packages that show blocks."""
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(package) for package in ("picochat.evidence", *packages)]),
        autoescape=True,  # all text is escaped; what is shown as it is says so in the template
        finalize=_clean,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {"chart_width": _WIDTH, "chart_height": _HEIGHT}
    environment.globals |= {"style": Markup(_file("report.css")), "script": Markup(_file("report.js"))}
    environment.filters |= {
        "kind": lambda block: type(block).__name__,
        "anchor": lambda title: re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-"),
        "prose": lambda text: _with(text, " %", "&nbsp;%"),  # a number and its sign stay on one line
        "name": lambda text: _with(text, "_", "_<wbr>"),  # a phone is narrow
        "human": lambda tag: _clean(tag).removeprefix("bench_").replace("_", " "),
        "draw": draw,
        "choices": _choices,
    }
    return environment


def _clean(value: object) -> str:
    return value if isinstance(value, Markup) else _CONTROL.sub("\ufffd", str(value))


def _with(text: str, old: str, new: str) -> Markup:
    return escape(_clean(text)).replace(old, Markup(new))


@cache
def _file(name: str) -> str:
    return (resources.files("picochat.evidence") / "templates" / name).read_text("utf-8")


def _has_content(block: Block) -> bool:
    if isinstance(block, Charts):
        return any(map(draw, block.charts))
    return any(getattr(block, name, ()) for name in ("lines", "rows", "lanes", "shown"))


def _choices(replies: Replies) -> dict[str, list[str]]:
    """Every value of every field, for the filters."""
    names = dict.fromkeys(name for reply in replies.shown for name in reply.fields)
    return {name: sorted({value for reply in replies.shown for value in reply.fields.get(name, ())}) for name in names}


def read_curves(path: str | Path) -> Curves:
    """The columns of a metrics.csv over its step column (UserError: it has none); only numbers are kept."""
    curves: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
    try:
        with Path(path).open(encoding="utf-8", newline="") as file:
            table = csv.DictReader(file)
            if "step" not in (table.fieldnames or ()):
                raise UserError(f"{path} has no column named step; metrics.csv of a training run has one")
            for line in table:
                for name in [name for name in line if name not in ("step", "epoch", None)]:
                    with suppress(TypeError, ValueError):
                        point = float(line["step"]), float(line[name])
                        curves[name].append(point)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"cannot read {path}: {error}") from error
    return dict(curves)


def charts(curves: Curves) -> list[Chart]:
    """Which curves are drawn together, in this order; others are left out, and charts of single points.

    train/loss, val/loss                       → "Loss"
    train/lr, train/lr/matrices, lr-AdamW      → "Learning rate"
    val/loss/identity, val/loss/bench_math_…   → "Loss by lane: val"
    eval/weak_skills/pass_rate, eval/full/…    → "eval: pass rate", one curve for each benchmark profile
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
            drawn.setdefault(f"eval: {parts[2].replace('_', ' ')}", {})[parts[1]] = curve
    scales: dict[str, Literal["log", "share"]] = {"Loss": "log", "Loss by lane": "log", "eval": "share"}
    several = {title: own for title, own in drawn.items() if any(len(curve) > 1 for curve in own.values())}
    return [Chart(title, own, scales.get(title.partition(":")[0], "linear")) for title, own in several.items()]


def draw(chart: Chart) -> dict[str, Any] | None:
    """Title, ticks as (place, label), and of each line corners, dots and values; None where nothing can be drawn.

    "log" is drawn on a linear scale where values are not positive or span less than a factor of thirty.
    """
    curves = {name: thinned for name, curve in chart.curves.items() if (thinned := _drawable(curve))}
    if not curves:
        return None
    steps, heights = zip(*(point for curve in curves.values() for point in curve), strict=True)
    lowest, highest = min(heights), max(heights)
    log = chart.scale == "log" and lowest > 1e-9 and highest / lowest >= 30
    x_low, x_high = _range(min(steps), max(steps))
    if chart.scale == "share":
        y_ticks = [0, 0.25, 0.5, 0.75, 1]
    elif log:
        y_ticks = [10.0**power for power in range(math.floor(math.log10(lowest)), math.ceil(math.log10(highest)) + 1)]
    else:
        y_ticks = _ticks(*_range(lowest, highest))
    y_low, y_high = min(y_ticks[0], lowest), max(y_ticks[-1], highest)

    def across(step: float) -> float:
        return round(_LEFT + (step - x_low) / (x_high - x_low) * (_WIDTH - _LEFT - _RIGHT), 1)

    def down(value: float) -> float:
        low, high, value = map(math.log10, (y_low, y_high, value)) if log else (y_low, y_high, value)
        return round(_HEIGHT - _BOTTOM - (value - low) / (high - low) * (_HEIGHT - _BOTTOM - _TOP), 1)

    lines = []
    for number, (name, curve) in enumerate(curves.items()):
        corners = [(across(step), down(value)) for step, value in curve]
        dots = corners if len(corners) < _DOTTED else []
        colour = f"hsl({(220 + 137.5 * number) % 360:g} 65% 45%)"  # the golden angle keeps neighbours far apart
        said = [f"{value:.4g} at step {step:g}" for step, value in curve]
        lines.append({"name": name, "corners": corners, "dots": dots, "said": said, "colour": colour})
    bottom = [(across(tick), f"{tick:.6g}") for tick in _ticks(x_low, x_high) if x_low <= tick <= x_high]
    left = [(down(tick), f"{tick:.0%}" if chart.scale == "share" else f"{tick:.4g}") for tick in y_ticks]
    title = f"{chart.title}{' (logarithmic)' if log else ''}"
    return {"title": title, "lines": lines, "bottom": bottom, "left": left}


def _drawable(curve: Sequence[tuple[float, float]]) -> Sequence[tuple[float, float]]:
    """About `_POINTS` points with the last one; nan, and numbers too large for ticks between them, are left out."""
    known = [point for point in curve if all(abs(number) < 1e12 for number in point)]
    return known[:: -max(1, len(known) // _POINTS)][::-1]


def _range(low: float, high: float) -> tuple[float, float]:
    """Both ends, moved apart where they are too near for ticks between them."""
    room = max(0.5, abs(high) / 1000)
    return (low, high) if high - low > 1e-9 * max(1e-3, high, -low) else (low - room, high + room)


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers around low … high, about four steps of 1, 2 or 5 times a power of ten: 13 … 178 → 0, 50, … 200."""
    rough = (high - low) / 4
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(number * step, 12) for number in range(first, last + 1)]
