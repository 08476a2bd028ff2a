"""A comparison for readers and programs. In: a `Comparison`. Out: a `Report`, JSON. Next: report.write_report."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import picochat
from picochat.blocks import EVERYWHERE, WRITTEN, Bars, Block, Differences, Medium, Rate, Reply, Report, Text, percent
from picochat.evidence.arms import Arm
from picochat.evidence.compare import Comparison, Difference, Flip
from picochat.evidence.lanes import GROUPINGS
from picochat.evidence.report import breakdown, facts, mixtures, replies
from picochat.evidence.words import notes, p_text, points, readings, summary, to, visible


def compare_json(comparison: Comparison) -> dict[str, Any]:
    """The content of comparison.json."""
    arms = {name: getattr(comparison, name) for name in ("a", "b", "before", "peak")}
    groupings = {name: {lane: asdict(own) for lane, own in lanes.items()} for name, lanes in comparison.lanes.items()}
    return {
        "kind": "eval compare",
        "picochat": picochat.__version__,
        "pack": asdict(comparison.pack),
        **{name: arm and {"name": arm.name, "runs": _runs_json(arm)} for name, arm in arms.items()},
        "margin": comparison.margin,
        "noise_from": comparison.noise_from,
        "overall": asdict(comparison.overall),
        **groupings,
        "summary": summary(comparison),
        "readings": readings(comparison),
        "notes": notes(comparison),
        "flips": list(map(asdict, comparison.flips)),
    }


def compare_report(comparison: Comparison) -> Report:
    """The comparison as blocks."""
    a, b, pack = comparison.a, comparison.b, comparison.pack
    others = [arm for arm in (comparison.before, comparison.peak) if arm]
    kept = ["gain kept"] if comparison.before else []
    arms = [arm.name for arm in (*others, a, b)]
    found = ("difference", "95 % interval", "visible", "lost", "gained", "corrected p")
    columns = ("rows", "problems", *arms, *found, *kept)
    bars = {
        name: [Rate(arm.rate, *(arm.interval or ())) for arm in (lane.b, lane.a)]
        for name, lane in comparison.lanes["by_category"].items()
    }
    changes = {
        name: (
            lane.change.value,
            lane.change.interval,
            [rate - lane.a.rate for rate in lane.rates_b[1:] and lane.rates_b],
        )
        for name, lane in sorted(comparison.lanes["by_category"].items(), key=lambda item: -item[1].change.value)
    }
    blocks: list[Block] = [
        *_words(comparison, WRITTEN),
        Differences(changes, title=f"{b.name} minus {a.name}, in points with 95 % intervals"),
        Bars(bars, (b.name, a.name), title="Rates, with 95 % intervals over problems"),
    ]
    for grouping in sorted(GROUPINGS, key=lambda name: name != "by_skill"):
        lanes = {**comparison.lanes[grouping], "overall": comparison.overall}
        rows = [(name, *_cells(lane, comparison)) for name, lane in lanes.items()]
        shown = EVERYWHERE if grouping in ("by_skill", "by_category") else WRITTEN
        blocks += breakdown(grouping, columns, rows, shown)
    runs = {
        f"{arm.name}: {run['folder']}": f"{run['model']['folder']} (sha256 {run['model']['sha256']}), "
        f"{percent(run['rate'])}"
        for arm in comparison.arms
        for run in _runs_json(arm)
    }
    origin = {
        "picochat": picochat.__version__,
        "eval rows": f"{pack.path} (sha256 {pack.sha256})",
        "run-to-run variation": comparison.noise_from if comparison.overall.noise else "unknown",
        **runs,
    }
    blocks += [
        mixtures({arm.name: arm.runs[0].evaluation.model for arm in (b, a)}),
        replies("Rows that flipped", comparison.flips, _kind, lambda flip: _reply(flip, comparison)),
        facts(origin),
    ]
    blocks += [*reversed(_words(comparison, ("terminal",)))]
    under = f"{pack.rows} eval rows of {pack.path}; differences are in points, {b.name} minus {a.name}"
    return Report(f"Comparison of {a.name} and {b.name}", under, blocks)


def _words(comparison: Comparison, media: Sequence[Medium]) -> list[Block]:
    """On a page the result comes first; in a terminal it is best seen at the end."""
    return [
        Text([summary(comparison)], "lead", media=media),
        Text(readings(comparison), "list", media=media),
        Text(notes(comparison), "soft", media=media),
    ]


def _cells(lane: Difference, comparison: Comparison) -> list[str]:
    gain, change = lane.gain, lane.change
    others = [gain.before, gain.before + gain.change.value][: 1 + bool(comparison.peak)] if gain else []
    kept = [f"{round(100 * gain.kept_b.share)} %" if gain.kept_b else "–"] if gain else []
    return [
        str(change.rows),
        str(change.clusters),
        *map(percent, (*others, lane.a.rate, lane.b.rate)),
        points(change.value),
        to(change.interval),
        visible(lane),
        *(f"{flips:.1f}".removesuffix(".0") for flips in (lane.lost, lane.gained)),
        "–" if lane.p_corrected is None else p_text(lane.p_corrected),
        *kept,
    ]


def _kind(flip: Flip) -> tuple[str, str]:
    return flip.a.tag("category"), flip.direction


def _reply(flip: Flip, comparison: Comparison) -> Reply:
    parts = {"prompt": flip.a.prompt}
    head = f"row {flip.a.index + 1} · {' · '.join(_kind(flip))}"
    for arm, reply in ((comparison.a, flip.a), (comparison.b, flip.b)):
        head += f" · {arm.name}: {', '.join(reply.reasons) or 'passed'}"
        parts[f"reply of {arm.name}"] = reply.reply
    if flip.a.expected is not None:
        parts["expected"] = flip.a.expected
    lane, verdict = _kind(flip)
    fields = {"lane": [lane], "verdict": [verdict], "reason": [*flip.a.reasons, *flip.b.reasons]}
    return Reply(head, parts, fields, failed=flip.direction == "lost")


def _runs_json(arm: Arm) -> list[dict[str, Any]]:
    return [
        {"folder": run.folder, "model": asdict(run.evaluation.model), "rate": run.evaluation.overall.rate}
        for run in arm.runs
    ]
