"""Time and memory of each stage against size: python benchmarks/growth.py [--points N] [--stages NAME …]

Every size runs in a process of its own, so that memory is that of the size and not of the ones before. Time is CPU time
of all threads: what else the machine does hardly counts. A line is fitted through log(size), log(seconds) of the upper
half of the sizes, where constant costs weigh least:

    slope 1.0  in proportion        slope 1.1  about n log n over three decades        slope 2.0  its square

The stages stand in growth_stages.py. Writes results/growth.json, and docs/static/growth.svg (log–log, a panel for time
and one for memory).
"""

import argparse
import json
import math
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from growth_stages import STAGES
from report import FIGURES, record

Curve = list[tuple[int, float, float]]  # size, CPU seconds, MiB
STEEPEST = 1.25  # n log n from 10³ to 10⁶ has 1.1; what lies above is steeper, noise allowed for
_RULE = 0.05  # seconds below which a time says more of the clock than of the size
_WIDTH, _HEIGHT, _LEFT, _GAP = 360, 300, 60, 60  # of a panel


def once(name: str, size: int) -> dict[str, float]:
    """Seconds of CPU time and growth of the peak memory, in this process."""
    with tempfile.TemporaryDirectory() as folder:
        run = STAGES[name].prepare(size, Path(folder))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        start = time.process_time()
        run()
        elapsed = time.process_time() - start
        return {"seconds": elapsed, "bytes": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024}


def measured(name: str, points: int) -> Curve:
    """A stage at its first sizes, each in a fresh process."""
    curve = []
    for size in STAGES[name].sizes[:points]:
        command = [sys.executable, __file__, "--one", name, str(size)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        found = json.loads(done.stdout.splitlines()[-1])
        curve.append((size, found["seconds"], found["bytes"] / 2**20))
        print(f"{name} {size:,}: {found['seconds']:.3f} s, {curve[-1][2]:.1f} MiB", flush=True)
    return curve


def slope(points: list[tuple[int, float]]) -> float:
    """Exponent of the growth over the upper half of the sizes."""
    upper = [(size, value) for size, value in points[len(points) // 2 :] if value > 0]
    if len(upper) < 2:
        return math.nan
    logs = np.log(np.array(upper, dtype=float))
    return float(np.polyfit(logs[:, 0], logs[:, 1], 1)[0])


def drawn(curves: dict[str, Curve]) -> str:
    """An SVG of two log–log panels, seconds and MiB against size as a multiple of the smallest."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_LEFT + 2 * (_WIDTH + _GAP) + 160}" height="{_HEIGHT + 70}" '
        'font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="white"/>'
    ]
    parts += _panel(_LEFT, "CPU seconds", {name: [(s, max(t, 1e-3)) for s, t, _ in c] for name, c in curves.items()})
    left = _LEFT + _WIDTH + _GAP
    parts += _panel(
        left, "MiB beyond the start", {name: [(s, max(m, 0.1)) for s, _, m in c] for name, c in curves.items()}
    )
    for row, name in enumerate(curves):
        x = left + _WIDTH + 20
        parts.append(f'<text x="{x}" y="{50 + 20 * row}" fill="{_colour(row, len(curves))}">{name}</text>')
    return "\n".join([*parts, "</svg>", ""])


def _panel(left: int, title: str, curves: dict[str, list[tuple[int, float]]]) -> list[str]:
    values = [value for curve in curves.values() for _, value in curve]
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values) * 1.01))
    far = math.ceil(max(math.log10(curve[-1][0] / curve[0][0]) for curve in curves.values()))
    parts = [f'<text x="{left}" y="18">{title}</text>']
    for power in range(low, high + 1):
        y = 30 + _HEIGHT * (1 - (power - low) / (high - low))
        parts.append(f'<path d="M{left} {y:.1f}h{_WIDTH}" stroke="#ddd"/>')
        parts.append(f'<text x="{left - 8}" y="{y + 4:.1f}" text-anchor="end">{10.0**power:g}</text>')
    for power in range(far + 1):
        x = left + _WIDTH * power / far
        parts.append(f'<text x="{x:.0f}" y="{_HEIGHT + 48}" text-anchor="middle">×{10**power:,}</text>')
    for number, curve in enumerate(curves.values()):
        places = " ".join(
            f"{left + _WIDTH * math.log10(size / curve[0][0]) / far:.1f},"
            f"{30 + _HEIGHT * (1 - (math.log10(value) - low) / (high - low)):.1f}"
            for size, value in curve
        )
        colour = _colour(number, len(curves))
        parts.append(f'<polyline points="{places}" fill="none" stroke="{colour}" stroke-width="2"/>')
    return parts


def _colour(number: int, of: int) -> str:
    return f"hsl({360 * number // of}, 70%, {35 + 15 * (number % 2)}%)"  # neighbours differ in lightness, too


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=9, help="sizes of each stage, from the smallest (default: all)")
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=list(STAGES), metavar="NAME")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)  # what it runs in a fresh process
    args = parser.parse_args()
    if args.one:
        print(json.dumps(once(args.one[0], int(args.one[1]))))
        return
    curves = {name: measured(name, args.points) for name in args.stages}
    rows, steep = [], []
    for name, curve in curves.items():
        first, last = curve[0], curve[-1]
        of_time = slope([(size, seconds) for size, seconds, _ in curve])
        of_memory = slope([(size, memory) for size, _, memory in curve])
        if last[1] > _RULE and of_time > STEEPEST:
            steep.append(f"{name} ({STAGES[name].square or 'a fault'})")
        rows.append([name, STAGES[name].unit, f"{first[0]:,} – {last[0]:,}", last[1], last[2], of_time, of_memory])
    note = f"Steeper than n log n: {', '.join(steep) or 'none'}. Slopes over the upper half of the sizes."
    columns = ["stage", "of", "sizes", "largest, CPU s", "largest, MiB", "slope of time", "slope of memory"]
    record("growth", columns, rows, note, curves=curves)
    (FIGURES / "growth.svg").write_text(drawn(curves), encoding="utf-8")


if __name__ == "__main__":
    main()
