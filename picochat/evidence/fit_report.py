"""An SFT fit for readers and programs. In: a `Fit`. Out: a `Report`, JSON. Next: report.write_report."""

from dataclasses import asdict
from typing import Any

from picochat.blocks import EVERYWHERE, WRITTEN, Bars, Block, Rate, Reply, Report, Text, interval, percent
from picochat.evidence.lanes import lane_of
from picochat.evidence.report import breakdown, origin, origin_json, replies, run_name
from picochat.evidence.sft_fit import FIT_GROUPINGS, Fit, FitRow, LaneFit
from picochat.evidence.words import NO_HELD_OUT, SIDE_NAMES, fit_reading

_COLUMNS = ("side", "n", "exact", "correct", "95 % interval", "token accuracy", "nll")


def fit_json(fit: Fit) -> dict[str, Any]:
    """The content of eval_report.json."""
    return {
        "kind": "eval sft-fit",
        **origin_json(fit),
        "held_out": fit.held_out and asdict(fit.held_out),
        "overall": asdict(fit.overall),
        **{name: {lane: asdict(own) for lane, own in fit.lanes(name).items()} for name in FIT_GROUPINGS},
        "readings": _readings(fit),
    }


def fit_report(fit: Fit) -> Report:
    """The fit as blocks."""
    bars = {
        name: [
            Rate(own.correct.rate, *(own.correct.interval or ())) if own and own.correct else None
            for own in (lane.train, lane.held_out)
        ]
        for name, lane in fit.lanes("by_category").items()
        if lane.verdict != "unknown"
    }
    words = [*_readings(fit), *([] if fit.held_out else [NO_HELD_OUT])]
    blocks: list[Block] = [
        Text(words, "list", media=WRITTEN),
        Bars(bars, list(SIDE_NAMES.values()), title="Answers correct, with 95 % intervals"),
    ]
    for grouping in FIT_GROUPINGS[1:]:
        rows = [line for name, lane in fit.lanes(grouping).items() for line in _lines(name, lane)]
        rows += _lines("overall", fit.overall)
        blocks += breakdown(grouping, _COLUMNS, rows, EVERYWHERE if grouping == "by_category" else WRITTEN)
    blocks += [
        replies("Replies", fit.rows, _kind, _reply),
        Text(words, media=("terminal",)),
        origin(fit, {"held-out rows": f"{fit.held_out.path} (sha256 {fit.held_out.sha256})"} if fit.held_out else {}),
    ]
    folder = fit.model.folder
    return Report(f"SFT fit of {run_name(folder)}", f"{folder} on {fit.pack.path}", blocks)


def _readings(fit: Fit) -> list[str]:
    return [fit_reading(name, lane) for name, lane in fit.lanes("by_category").items()]


def _lines(name: str, lane: LaneFit) -> list[tuple[str, ...]]:
    """Every number of a lane, one line a side."""
    lines = []
    for side, own in zip(SIDE_NAMES.values(), (lane.train, lane.held_out), strict=True):
        if own:
            rates = (percent(share.rate if share else None) for share in (own.exact, own.correct))
            ends = interval(own.correct.interval if own.correct else None)
            nll = "–" if own.nll is None else f"{own.nll:.4f}"
            lines.append((name, side, str(own.n), *rates, ends, percent(own.token_accuracy), nll))
    return lines


def _kind(row: FitRow) -> tuple[str, str, str]:
    return SIDE_NAMES[row.side], lane_of(row.tags, "by_category"), "exact" if row.exact else "not exact"


def _reply(row: FitRow) -> Reply:
    side, category, verdict = _kind(row)
    head = [f"row {row.index + 1}", side, category, verdict, *row.reasons]
    if row.tokens:
        head.append(f"{row.tokens_right} of {row.tokens} tokens, nll {row.nll or 0.0:.4f}")
    parts = {"prompt": row.prompt, "reply": row.reply}
    if row.reference is not None:
        parts["reference"] = row.reference
    fields = {"lane": [category], "side": [side], "verdict": [verdict], "reason": row.reasons}
    failed = row.correct is False or (row.correct is None and not row.exact)
    return Reply(" · ".join(head), parts, fields, failed)
