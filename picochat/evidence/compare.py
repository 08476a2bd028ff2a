"""Paired comparison. In: folders of `eval chat`, one or more an arm. Out: the compare report. Next: compare_report.

Both arms answered the same rows, so a lane is compared row by row:

    row      1  2  3  4  5  6        A passes 4/6, B passes 5/6, difference B - A = +1/6
    A        ✓  ✓  ✓  ✗  ✓  ✗        only A: row 3; only B: rows 4 and 6; exact McNemar looks at these three
    B        ✓  ✓  ✗  ✓  ✓  ✓        flips: 3 lost, 4 and 6 gained

An arm of several runs (seeds) enters with each row's share of runs that passed, and the interval then includes how much
the runs differ from each other. With one run an arm it cannot, and the report says so in words.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

import picochat
from picochat.errors import UserError
from picochat.evidence.lanes import GROUPINGS, SKILL_NAMES, Prediction, grouped, percent
from picochat.evidence.report import read_eval
from picochat.evidence.stats import holm, mcnemar_exact, paired_difference, run_spread, widen, wilson

_DRAWS = 2_000  # bootstrap samples of the rows, for the interval of the share of a gain that was kept
_LEAST_GAIN = 0.05  # a gain below five points is too small to say what share of it was kept
_SAME_DECODING = ("max_new_tokens", "temperature", "top_k", "top_p", "precision")


class Run(NamedTuple):
    """One evaluation that was read back."""

    folder: str
    report: dict[str, Any]
    predictions: list[Prediction]


class Arm(NamedTuple):
    """Runs that differ by their seed only; `name` is for the reader."""

    name: str
    runs: list[Run]

    def rates(self, rows: Sequence[int]) -> list[float]:
        """Each run's share of `rows` (indices) that passed."""
        return [mean(run.predictions[index].passed for index in rows) for run in self.runs]

    def shares(self, rows: Sequence[int]) -> list[float]:
        """Each row's share of runs that passed it."""
        return [mean(run.predictions[index].passed for run in self.runs) for index in rows]


def compare_runs(
    arm_a: Sequence[str | Path],
    arm_b: Sequence[str | Path],
    *,
    base: str | Path | None = None,
    names: tuple[str, str] = ("A", "B"),
    margin: float = 0.02,
) -> dict[str, Any]:
    """Compare two arms; the difference is always B - A.

    Args:
        arm_a, arm_b: folders that `eval chat` wrote.
        base: the evaluation of the model before either; gives the share of A's gain that B keeps.
        names: of the arms.
        margin: arms whose whole interval lies within ± this share are called equal.

    Raises:
        UserError: a folder without evaluation, runs on different eval rows, or the same run twice in an arm.
    """
    a, b = (
        Arm(name, [_read(folder) for folder in folders]) for name, folders in zip(names, (arm_a, arm_b), strict=True)
    )
    base_run = _read(base) if base else None
    runs = [*a.runs, *b.runs] + ([base_run] if base_run else [])
    first = runs[0]
    for run in runs[1:]:
        _same_rows(first, run)
    for arm in (a, b):
        _distinct(arm)
    report: dict[str, Any] = {
        "kind": "eval compare",
        "picochat": picochat.__version__,
        "pack": first.report["pack"],
        "a": _describe(a),
        "b": _describe(b),
        "base": _describe(Arm("base", [base_run])) if base_run else None,
        "margin": margin,
        "overall": _lane("overall", range(len(first.predictions)), a, b, base_run, margin),
    }
    for grouping in GROUPINGS:
        members = sorted(grouped(first.predictions, grouping).items())
        lanes = {name: _lane(name, [p.index for p in rows], a, b, base_run, margin) for name, rows in members}
        for lane, p_holm in zip(lanes.values(), holm([lane["p"] for lane in lanes.values()]), strict=True):
            lane["p_holm"] = p_holm
        report[grouping] = lanes
    report["overall"]["p_holm"] = report["overall"]["p"]
    report["readings"] = [
        _reading(SKILL_NAMES.get(name, name), lane, report) for name, lane in report["by_skill"].items()
    ]
    report["notes"] = _notes(runs, a, b)
    report["flips"] = _flips(a, b)
    return report


def _read(folder: str | Path) -> Run:
    report, predictions = read_eval(folder)
    return Run(str(folder), report, predictions)


def _same_rows(one: Run, other: Run) -> None:
    first, second = one.report["pack"]["sha256"], other.report["pack"]["sha256"]
    if first != second:
        raise UserError(
            f"{one.folder} and {other.folder} answered different eval rows (sha256 {first[:12]} and {second[:12]}); "
            "run `eval chat` with the same --input for both"
        )


def _distinct(arm: Arm) -> None:
    seen: dict[tuple[str, object], str] = {}
    for run in arm.runs:
        # The same weights may count twice only when sampling made the replies differ.
        settings = run.report["settings"]
        key = (run.report["model"]["sha256"], settings["seed"] if settings["temperature"] else None)
        if key in seen:
            raise UserError(
                f"{seen[key]} and {run.folder} are the same weights; each run of an arm must be a training of its own"
            )
        seen[key] = run.folder


def _lane(name: str, members: Sequence[int], a: Arm, b: Arm, base: Run | None, margin: float) -> dict[str, Any]:
    """Everything about one lane; see the module's drawing."""
    rates_a, rates_b = a.rates(members), b.rates(members)
    shares_a, shares_b = a.shares(members), b.shares(members)
    n = len(members)
    both = sum(x * y for x, y in zip(shares_a, shares_b, strict=True))
    only_a, only_b = sum(shares_a) - both, sum(shares_b) - both
    difference = mean(rates_b) - mean(rates_a)
    spread = run_spread(rates_a, rates_b)
    rows_interval = paired_difference(both, only_b, only_a, max(0.0, n - both - only_a - only_b))
    low, high = widen(difference, rows_interval, spread)
    p_rows = mcnemar_exact(
        sum(x > y for x, y in zip(shares_a, shares_b, strict=True)),
        sum(x < y for x, y in zip(shares_a, shares_b, strict=True)),
    )
    return {
        "n": n,
        "rate_a": mean(rates_a),
        "rate_b": mean(rates_b),
        "ci95_a": list(wilson(sum(shares_a), n)),
        "ci95_b": list(wilson(sum(shares_b), n)),
        "rates_a": rates_a,
        "rates_b": rates_b,
        "difference": difference,
        "ci95": [low, high],
        "both": both,
        "only_a": only_a,
        "only_b": only_b,
        "p": p_rows if spread.p_value is None else max(p_rows, spread.p_value),
        "test": "exact McNemar"
        if spread.p_value is None
        else "the larger p of an exact sign test over rows and Welch's t over runs",
        "equal": -margin <= low and high <= margin,
        "gain": _gain(members, shares_a, shares_b, base) if base else None,
    }


def _gain(members: Sequence[int], shares_a: Sequence[float], shares_b: Sequence[float], base: Run) -> dict[str, Any]:
    """A's gain over the base and the share of it that B keeps; the interval is a bootstrap over rows.

    base 2 %, A 98 %, B 80 %: kept = (0.80 - 0.02) / (0.98 - 0.02) = 0.81. `kept` is None where A gained too little.
    """
    import numpy as np

    before = np.array([float(base.predictions[index].passed) for index in members])
    gains_a, gains_b = np.array(shares_a) - before, np.array(shares_b) - before
    gain_a, gain_b = float(gains_a.mean()), float(gains_b.mean())
    found: dict[str, Any] = {"rate_base": float(before.mean()), "gain_a": gain_a, "gain_b": gain_b}
    if gain_a < _LEAST_GAIN:
        return {**found, "kept": None, "kept_ci95": None}
    generator = np.random.default_rng(0)
    ratios = []
    for _ in range(_DRAWS):
        drawn = generator.integers(0, len(before), len(before))
        bottom = gains_a[drawn].mean()
        if bottom > 0:
            ratios.append(gains_b[drawn].mean() / bottom)
    low, high = np.percentile(ratios, [2.5, 97.5])
    return {**found, "kept": gain_b / gain_a, "kept_ci95": [float(low), float(high)]}


def _reading(name: str, lane: Mapping[str, Any], report: Mapping[str, Any]) -> str:
    """One lane in words."""
    a, b = report["a"]["name"], report["b"]["name"]
    low, high = lane["ci95"]
    margin = f"±{100 * report['margin']:g} points"
    measured = (
        f"{points(lane['difference'])} points, 95 % interval {points(low)} to {points(high)}, n = {lane['n']}, "
        f"corrected p = {lane['p_holm']:.2g}"
    )
    if lane["equal"]:
        words = f"{name}: equal within {margin} ({measured})"
    elif lane["p_holm"] < 0.05:
        more = "higher" if lane["difference"] > 0 else "lower"
        words = f"{name}: {b} is {more} than {a} by {abs(100 * lane['difference']):.1f} points ({measured})"
    else:
        words = f"{name}: no difference shown, and not enough rows to call them equal within {margin} ({measured})"
    gain = lane["gain"]
    if gain and gain["kept"] is not None:
        kept_low, kept_high = gain["kept_ci95"]
        words += (
            f"; {b} kept {100 * gain['kept']:.0f} % of the gain of {a} (interval {100 * kept_low:.0f} to "
            f"{100 * kept_high:.0f} %; base {percent(gain['rate_base'])}, {a} {percent(lane['rate_a'])}, "
            f"{b} {percent(lane['rate_b'])})"
        )
    return words


def points(share: float) -> str:
    """A difference of shares in percentage points, with its sign: 0.123 → "+12.3"."""
    return f"{100 * share + 0.0:+.1f}"


def _notes(runs: Sequence[Run], a: Arm, b: Arm) -> list[str]:
    notes = []
    single = [arm.name for arm in (a, b) if len(arm.runs) == 1]
    if single:
        which = " and ".join(single)
        notes.append(
            f"{which}: a single run. The intervals cover the variation between rows, not the variation between "
            "training runs; another seed may give another result. Give several runs an arm (--a … --b …) to include it."
        )
    else:
        notes.append("The intervals include the variation between rows and between runs (seeds).")
    for name in _SAME_DECODING:
        values = list(dict.fromkeys(str(run.report["settings"].get(name)) for run in runs))
        if len(values) > 1:
            notes.append(f"The runs were decoded differently: {name} is {' and '.join(values)}.")
    notes.append("p-values are two-sided; within each table they are corrected over its lanes (Holm).")
    return notes


def _flips(a: Arm, b: Arm) -> list[dict[str, Any]]:
    """Rows on which the arms differ (by at least half of their runs), each with a reply of either side."""
    count = len(a.runs[0].predictions)
    found = []
    for index, share_a, share_b in zip(range(count), a.shares(range(count)), b.shares(range(count)), strict=True):
        if abs(share_a - share_b) < 0.5:
            continue
        gained = share_b > share_a
        one = next(run.predictions[index] for run in a.runs if run.predictions[index].passed != gained)
        other = next(run.predictions[index] for run in b.runs if run.predictions[index].passed == gained)
        found.append(
            {
                "index": index,
                "id": one.id,
                "category": one.tag("category"),
                "direction": "gained" if gained else "lost",
                "prompt": one.prompt,
                "expected": one.expected,
                "reply_a": one.reply,
                "reply_b": other.reply,
                "reasons_a": list(one.reasons),
                "reasons_b": list(other.reasons),
                "share_a": share_a,
                "share_b": share_b,
            }
        )
    return found


def _describe(arm: Arm) -> dict[str, Any]:
    runs = [
        {"folder": run.folder, "model": run.report["model"], "rate": run.report["overall"]["rate"]} for run in arm.runs
    ]
    return {"name": arm.name, "runs": runs}
