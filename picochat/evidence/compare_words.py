"""A comparison in words. In: the lanes of a compare report. Out: sentences. Next: compare_report shows them.

summary   release-from-capability against release-from-base: identity equal within ±2 points; arithmetic 60.2 points
          higher, 81 % of its gain kept
reading   the same for one lane, with every number that it rests on
notes     what the intervals include and what they do not
"""

import re
from collections.abc import Mapping, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any

from picochat.evidence.lanes import percent

_SAME_DECODING = ("max_new_tokens", "temperature", "top_k", "top_p", "precision")


def points(share: float) -> str:
    """A difference of shares in percentage points, with its sign: 0.123 → "+12.3"."""
    return f"{100 * share + 0.0:+.1f}"


def p_text(p_value: float) -> str:
    """0.0312 → "0.031"; below 0.0001 only that: exact tails of that size mean nothing more."""
    return f"{p_value:.2g}" if p_value >= 1e-4 else "< 0.0001"


def arm_names(arms: Sequence[Sequence[str | Path]]) -> list[str]:
    """What arms are called after their folders: the last part of the path in which all of them differ.

    runs/eval/base | runs/eval/sft          → base, sft
    runs/base/eval | runs/sft/eval          → base, sft
    eval/base-s1 eval/base-s2 | eval/sft    → base, sft     (several runs: what their names begin with)
    """
    parts = [[Path(folder).parts for folder in arm] for arm in arms]
    different = len({tuple(map(str, arm)) for arm in arms})  # A may be the peak as well
    for place in range(1, 1 + min(len(folder) for arm in parts for folder in arm)):
        names = [_common([folder[-place] for folder in arm]) for arm in parts]
        if all(names) and len(set(names)) == different and names[0] != names[1]:
            return names
    return ["A", "B", "before", "peak"][: len(arms)]


def summary(lanes: Mapping[str, Mapping[str, Any]], report: Mapping[str, Any]) -> str:
    """All lanes in one sentence."""
    parts = []
    for name, lane in lanes.items():
        low, high = lane["ci95"]
        if lane["equal"]:
            words = f"{name} equal within {_margin(report)}"
        elif lane["p_holm"] < 0.05:
            words = f"{name} {abs(100 * lane['difference']):.1f} points {_more(lane)}"
        else:
            words = f"{name} undecided ({points(low)} to {points(high)} points)"
        kept = lane["gain"]["kept_b"] if lane["gain"] else None
        parts.append(words if kept is None else f"{words}, {_how_much(kept['share'])} of its gain kept")
    return f"{report['b']['name']} against {report['a']['name']}: {'; '.join(parts)}"


def reading(name: str, lane: Mapping[str, Any], report: Mapping[str, Any]) -> str:
    """One lane in words."""
    a, b = report["a"]["name"], report["b"]["name"]
    low, high = lane["ci95"]
    p_value = p_text(lane["p_holm"])
    measured = (
        f"95 % interval {points(low)} to {points(high)}, n = {lane['n']}, "
        f"corrected p {p_value if p_value.startswith('<') else f'= {p_value}'}"
    )
    if lane["equal"]:
        words = f"{name}: equal within {_margin(report)} ({points(lane['difference'])} points, {measured})"
    elif lane["p_holm"] < 0.05:
        words = f"{name}: {b} is {_more(lane)} than {a} by {abs(100 * lane['difference']):.1f} points ({measured})"
    else:
        words = (
            f"{name}: no difference shown, and not enough rows to call them equal within {_margin(report)} "
            f"({points(lane['difference'])} points, {measured})"
        )
    return words + _gain(lane["gain"], report)


def notes(settings: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[str]:
    """What the intervals include, and what may disturb the comparison; `settings` of every run of every arm."""
    found = []
    single = [name for name, runs in settings.items() if len(runs) == 1]
    if single:
        which = " and ".join([", ".join(single[:-1]), single[-1]] if len(single) > 1 else single)
        found.append(
            f"{which}: a single run{' each' if len(single) > 1 else ''}. The intervals cover the variation between "
            "rows, not the variation between training runs; another seed may give another result. Give several runs "
            "an arm (--a … --b …) to include it."
        )
    else:
        found.append("The intervals include the variation between rows and between runs (seeds).")
    for field in _SAME_DECODING:
        values = list(dict.fromkeys(_setting(run.get(field)) for runs in settings.values() for run in runs))
        if len(values) > 1:
            found.append(f"The runs were decoded differently: {field} is {' and '.join(values)}.")
    found.append("p-values are two-sided; within each table they are corrected over its lanes (Holm).")
    return found


def _setting(value: Any) -> str:
    return "float32" if value == "auto" else str(value)


def _common(names: Sequence[str]) -> str:
    if len(set(names)) == 1:
        return names[0]
    start = "".join(signs[0] for signs in takewhile(lambda signs: len(set(signs)) == 1, zip(*names, strict=False)))
    return re.sub(r"(?:[-_. ]+(?:seed|run|s)?[-_. ]*\d*|\d+)$", "", start)


def _gain(gain: Mapping[str, Any] | None, report: Mapping[str, Any]) -> str:
    """ "; of the 96.0 points that X gained over Y, B kept 81 % (…), A 3 % (…)"; nothing where no gain was shown."""
    if not gain or gain["kept_b"] is None:
        return ""
    kept = f"{report['b']['name']} kept {_with_interval(gain['kept_b'])}"
    if gain["kept_a"]:
        kept += f", {report['a']['name']} {_with_interval(gain['kept_a'])}"
    top = (report["peak"] or report["a"])["name"]
    return (
        f"; of the {100 * gain['gain']:.1f} points that {top} ({percent(gain['rate_peak'])}) gained over "
        f"{report['before']['name']} ({percent(gain['rate_before'])}), {kept}"
    )


def _with_interval(kept: Mapping[str, Any]) -> str:
    low, high = kept["ci95"]
    digits = 1 if high - low < 0.02 else 0
    share, low, high = (round(100 * part, digits) + 0.0 for part in (kept["share"], low, high))
    return f"{share:.{digits}f} % (95 % interval {low:.{digits}f} to {high:.{digits}f} %)"


def _how_much(share: float) -> str:
    return "all" if share >= 0.995 else f"{round(100 * share)} %"


def _margin(report: Mapping[str, Any]) -> str:
    return f"±{100 * report['margin']:g} points"


def _more(lane: Mapping[str, Any]) -> str:
    return "higher" if lane["difference"] > 0 else "lower"
