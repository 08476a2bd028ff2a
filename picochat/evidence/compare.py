"""Paired comparison. In: folders of `eval chat`, one or more an arm. Out: the compare report. Next: compare_report.

Both arms answered the same rows, so a lane is compared row by row:

    row      1  2  3  4  5  6        A passes 4/6, B passes 5/6, difference B - A = +1/6
    A        ✓  ✓  ✓  ✗  ✓  ✗        only A: row 3; only B: rows 4 and 6; exact McNemar looks at these three
    B        ✓  ✓  ✗  ✓  ✓  ✓        flips: 3 lost, 4 and 6 gained

An arm of several runs (seeds) enters with each row's share of runs that passed, and the interval then includes how much
the runs differ from each other. With one run an arm it cannot, and the report says so in words.

Two more arms on the same rows tell what a later stage kept of an earlier one's gain:

    before 2 %, peak 98 %, B 80 %        B kept (80 - 2) / (98 - 2) = 81 % of the gain
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import correlation, mean
from typing import Any, NamedTuple

import picochat
from picochat.errors import UserError
from picochat.evidence.compare_words import notes, reading, summary
from picochat.evidence.lanes import GROUPINGS, Prediction, grouped, shown_names
from picochat.evidence.read_back import read_eval
from picochat.evidence.stats import (
    Interval,
    RunSpread,
    holm,
    mcnemar_exact,
    paired_difference,
    run_spread,
    share_of_gain,
    widen,
    wilson,
)

_SURE = 0.05  # a gain whose corrected p is above this is none, and nothing is said of what was kept of it


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


class Difference(NamedTuple):
    """One arm minus another on the same rows."""

    value: float
    rows: Interval  # over rows alone
    whole: Interval  # over rows and, where an arm has several, over runs
    p_value: float
    spread: RunSpread
    only_first: float
    only_second: float
    both: float


def compare_runs(
    arm_a: Sequence[str | Path],
    arm_b: Sequence[str | Path],
    *,
    before: Sequence[str | Path] = (),
    peak: Sequence[str | Path] = (),
    names: Sequence[str] = ("A", "B"),
    margin: float = 0.02,
) -> dict[str, Any]:
    """Compare two arms; the difference is always B - A.

    Args:
        arm_a, arm_b: folders that `eval chat` wrote.
        before: runs of the model that `peak` started from; tells what B and A keep of the gain of `peak`.
        peak: runs of the model whose gain is meant; arm A where it is empty.
        names: of A, B and, where they are given, of before and peak.
        margin: arms whose whole interval lies within ± this share are called equal.

    Raises:
        UserError: a margin that is none, one name for two arms, a folder without evaluation, runs on different eval
            rows, the same run twice in an arm, or a peak without its start.
    """
    if peak and not before:
        raise UserError("--peak needs --before: a gain has a start")
    folders = [arm_a, arm_b, *(group for group in (before, peak) if group)]
    names = [*names, *("before", "peak")[len(names) - 2 :]][: len(folders)]
    if not 0 < margin <= 1:
        raise UserError(f"--margin must be above 0 and at most 100 points, not {100 * margin:g}")
    named: dict[str, list[str]] = {}
    for name, group in zip(names, folders, strict=True):
        own = [str(folder) for folder in group]  # A may be the peak as well
        if named.setdefault(name, own) != own:
            raise UserError(f"two arms are called {name!r}; tell them apart with --name-a and --name-b")
    arms = [Arm(name, [_read(folder) for folder in group]) for name, group in zip(names, folders, strict=True)]
    runs = [run for arm in arms for run in arm.runs]
    first = runs[0]
    for run in runs[1:]:
        _same_rows(first, run)
    for arm in arms:
        _distinct(arm)
    a, b, *others = arms
    start = others[0] if before else None
    top = others[1] if peak else a
    report: dict[str, Any] = {
        "kind": "eval compare",
        "picochat": picochat.__version__,
        "pack": first.report["pack"],
        "a": _describe(a),
        "b": _describe(b),
        "before": _describe(start) if start else None,
        "peak": _describe(top) if peak else None,
        "margin": margin,
    }
    everything = [prediction.index for prediction in first.predictions]
    report["overall"] = _corrected({"overall": _lane(everything, a, b, start, top, margin)})["overall"]
    for grouping in GROUPINGS:
        members = sorted(grouped(first.predictions, grouping).items())
        lanes = {name: _lane([p.index for p in rows], a, b, start, top, margin) for name, rows in members}
        report[grouping] = _corrected(lanes)
    skills = shown_names(report["by_skill"])
    report["summary"] = summary(skills, report)
    report["readings"] = [reading(name, lane, report) for name, lane in skills.items()]
    report["notes"] = notes({arm.name: [run.report["settings"] for run in arm.runs] for arm in arms})
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


def _difference(members: Sequence[int], one: Arm, other: Arm) -> Difference:
    """`other` minus `one` on the rows `members`; see the module's drawing."""
    rates_one, rates_other = one.rates(members), other.rates(members)
    shares_one, shares_other = one.shares(members), other.shares(members)
    both = sum(x * y for x, y in zip(shares_one, shares_other, strict=True))
    only_one, only_other = sum(shares_one) - both, sum(shares_other) - both
    neither = max(0.0, len(members) - both - only_one - only_other)
    value = mean(rates_other) - mean(rates_one)
    rows = paired_difference(both, only_other, only_one, neither)
    spread = run_spread(rates_one, rates_other)
    p_rows = mcnemar_exact(
        sum(x > y for x, y in zip(shares_one, shares_other, strict=True)),
        sum(x < y for x, y in zip(shares_one, shares_other, strict=True)),
    )
    p_value = p_rows if spread.p_value is None else max(p_rows, spread.p_value)
    return Difference(value, rows, widen(value, rows, spread), p_value, spread, only_one, only_other, both)


def _lane(members: Sequence[int], a: Arm, b: Arm, start: Arm | None, top: Arm, margin: float) -> dict[str, Any]:
    """Everything about one lane but the p-values corrected over its neighbours."""
    n = len(members)
    found = _difference(members, a, b)
    rates_a, rates_b = a.rates(members), b.rates(members)
    return {
        "n": n,
        "rate_a": mean(rates_a),
        "rate_b": mean(rates_b),
        "ci95_a": list(wilson(sum(a.shares(members)), n)),
        "ci95_b": list(wilson(sum(b.shares(members)), n)),
        "rates_a": rates_a,
        "rates_b": rates_b,
        "difference": found.value,
        "ci95": list(found.whole),
        "both": found.both,
        "only_a": found.only_first,
        "only_b": found.only_second,
        "p": found.p_value,
        "test": "exact McNemar"
        if found.spread.p_value is None
        else "the larger p of an exact sign test over rows and Welch's t over runs",
        "equal": -margin <= found.whole.low and found.whole.high <= margin,
        "gain": _gain(members, start, top, a, b) if start else None,
    }


def _gain(members: Sequence[int], start: Arm, top: Arm, a: Arm, b: Arm) -> dict[str, Any]:
    """What `top` gained over `start`, and the share of it that A and B still have."""
    gain = _difference(members, start, top)
    return {
        "rate_before": mean(start.rates(members)),
        "rate_peak": mean(top.rates(members)),
        "gain": gain.value,
        "ci95": list(gain.whole),
        "p": gain.p_value,
        "kept_a": None if top is a else _kept(members, start, top, gain, a),
        "kept_b": _kept(members, start, top, gain, b),
    }


def _kept(members: Sequence[int], start: Arm, top: Arm, gain: Difference, arm: Arm) -> dict[str, Any] | None:
    """{"share", "ci95"}; None where the interval of the gain touches 0."""
    if gain.whole.low <= 0:
        return None
    left = _difference(members, start, arm)
    before = start.shares(members)
    own = [x - y for x, y in zip(arm.shares(members), before, strict=True)]
    peak = [x - y for x, y in zip(top.shares(members), before, strict=True)]
    together = correlation(own, peak) if len(set(own)) > 1 and len(set(peak)) > 1 else 0.0
    # The rows' errors go together, those of the runs do not: the more of a width comes from runs, the less they do.
    for one in (left, gain):
        together *= (one.rows.high - one.rows.low) / max(one.whole.high - one.whole.low, 1e-12)
    ends = share_of_gain(left.value, left.whole, gain.value, gain.whole, min(1.0, together))
    return {"share": left.value / gain.value, "ci95": list(ends)} if ends else None


def _corrected(lanes: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The lanes with `p_holm`; what was kept of a gain that is not significant is taken out."""
    for lane, p_holm in zip(lanes.values(), holm([lane["p"] for lane in lanes.values()]), strict=True):
        lane["p_holm"] = p_holm
    gains = [lane["gain"] for lane in lanes.values() if lane["gain"]]
    for gain, p_holm in zip(gains, holm([gain["p"] for gain in gains]), strict=True):
        gain["p_holm"] = p_holm
        if p_holm >= _SURE:
            gain |= {"kept_a": None, "kept_b": None}
    return dict(lanes)


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
