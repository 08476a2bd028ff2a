"""A comparison for readers and programs, and what all reports share. In: `Comparison`. Out: blocks, JSON, files.

Next: html_page.
"""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import picochat
from picochat.blocks import (
    EVERYWHERE,
    WRITTEN,
    Bars,
    Block,
    Differences,
    Medium,
    Replies,
    Reply,
    Report,
    Table,
    Text,
    markdown_page,
    percent,
)
from picochat.evidence import words
from picochat.evidence.arms import Arm
from picochat.evidence.compare import Comparison, Difference, Flip
from picochat.evidence.evaluation import Evaluation, Model
from picochat.evidence.html_page import page
from picochat.evidence.lanes import GROUPINGS, UNTAGGED, Prediction, group_by
from picochat.evidence.sft_fit import Fit
from picochat.files import write_files
from picochat.packs.quotas import spread_evenly

_FOLDED = 12  # tables of more rows are folded away on a page
_SHOWN = 5  # rows of each lane and outcome on a page; predictions.jsonl and comparison.json have all


def write_report(folder: str | Path, name: str, report: Report, data: Any, rows: Iterable[Any] | None = None) -> None:
    """Write NAME.json, NAME.md and NAME.html, and `rows` as predictions.jsonl; all appear together."""
    texts = {
        f"{name}.json": json.dumps(data, indent=2, ensure_ascii=False, default=asdict) + "\n",
        f"{name}.md": markdown_page(report),
        f"{name}.html": page(report),
    }
    if rows is not None:
        texts["predictions.jsonl"] = jsonl(rows)
    write_files({Path(folder) / file: text for file, text in texts.items()})


def jsonl(rows: Iterable[Any]) -> str:
    """Dataclasses as JSON, one a line."""
    return "".join(json.dumps(asdict(row), ensure_ascii=False) + "\n" for row in rows)


def origin_json(source: Evaluation | Fit) -> dict[str, Any]:
    return {name: getattr(source, name) for name in ("picochat", "pack", "model", "settings")}


def origin(source: Evaluation | Fit) -> Table:
    """Fingerprints and settings: where a report comes from."""
    files = {"rows": source.pack, "held-out rows": source.held_out if isinstance(source, Fit) else None}
    return facts(
        {
            "picochat": source.picochat,
            **{what: f"{file.path} (sha256 {file.sha256})" for what, file in files.items() if file},
            "model": f"{source.model.folder} (sha256 {source.model.sha256})",
            **{f"model: {key}": value for key, value in source.model.provenance.items()},
            **{f"setting: {key}": value for key, value in source.settings.items()},
        }
    )


def facts(values: Mapping[str, Any]) -> Table:
    """Names and values, without those that are null."""
    rows = [(name, _plain(value)) for name, value in values.items() if value is not None]
    return Table(("what", "value"), rows, left=2, title="Provenance", media=WRITTEN)


def _plain(value: Any, levels: int = 3) -> str:
    """{"name": "muon", "momentum": 0.95} → name muon, momentum 0.95; what lies deeper as JSON."""
    if levels and isinstance(value, Mapping):
        return ", ".join(f"{key} {_plain(own, levels - 1)}" for key, own in value.items() if own is not None)
    if levels and isinstance(value, list) and any(isinstance(own, Mapping) for own in value):
        return "; ".join(_plain(own, levels - 1) for own in value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def mixtures(models: Mapping[str, Model]) -> Bars:
    """The mixtures that models were trained on, beside each other, where their folders say them."""
    said = [model.provenance.get("mixture") for model in models.values()]
    known = [one for one in said if isinstance(one, dict) and all(isinstance(v, int | float) for v in one.values())]
    lanes = dict.fromkeys(lane for one in known for lane in one) if len(known) == len(said) else {}
    shares = {str(lane): [(min(1.0, max(0.0, one.get(lane, 0))), None) for one in known] for lane in lanes}
    return Bars(shares, list(models) if len(models) > 1 else (), title="Mixture, in shares of the training examples")


def replies(title: str, rows: Sequence[Reply]) -> Replies:
    """Some rows of each lane and outcome (all fields but the reason), evenly spaced."""
    kinds = group_by(rows, lambda row: tuple(str(own) for name, own in row.fields.items() if name != "reason"))
    some = [row for own in kinds.values() for row in spread_evenly(own, _SHOWN)]
    note = f"{len(some)} of {len(rows)} rows: at most {_SHOWN} of each lane and outcome, evenly spaced."
    return Replies(some, note, title=title)


def reply(
    row: Prediction, head: Sequence[str], parts: Mapping[str, str | None], failed: bool, **fields: Sequence[str]
) -> Reply:
    """A row of model text: what stands after its number, the parts that it has, and its values for the filters."""
    known = {label: text for label, text in parts.items() if text is not None}
    return Reply(" · ".join([f"row {row.index + 1}", *head]), known, fields, failed)


def breakdown(
    grouping: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    media: Sequence[Medium] = WRITTEN,
    shown: Collection[Sequence[str]] = (),
) -> list[Table]:
    """A table by one of `lanes.GROUPINGS`, each row a lane's name and cells.

    None where it would say nothing new: no row carries the tag, all have the same (skills are shown all the same), or
    all rows of the table are `shown` elsewhere.
    """
    names = {row[0] for row in rows} - {"overall"}
    if names <= {UNTAGGED} or (len(names) == 1 and grouping != "by_skill") or all(row in shown for row in rows):
        return []
    name = grouping.removeprefix("by_").replace("_", " ")
    return [Table((name, *columns), rows, title=f"By {name}", media=media, folded=len(rows) > _FOLDED)]


def run_name(folder: str | Path) -> str:
    """What a model is called: RUN/best_checkpoint after its run, others after themselves."""
    path = Path(folder)
    return (path.name in ("best_checkpoint", "last_checkpoint") and path.parent.name) or path.name or str(folder)


def compare_json(comparison: Comparison) -> dict[str, Any]:
    """The content of comparison.json."""

    def arm_json(arm: Arm | None) -> Any:
        runs = arm and [{"folder": run.folder, "model": run.model, "rate": run.overall.rate} for run in arm.runs]
        return arm and {"name": arm.name, "runs": runs}

    return {
        "kind": "eval compare",
        "picochat": picochat.__version__,
        "pack": comparison.pack,
        **{name: arm_json(getattr(comparison, name)) for name in ("a", "b", "before", "peak")},
        "margin": comparison.margin,
        "noise_from": comparison.noise_from,
        "overall": comparison.overall,
        **comparison.lanes,
        "summary": words.summary(comparison),
        "notes": words.notes(comparison),
        "flips": comparison.flips,
    }


def compare_report(comparison: Comparison) -> Report:
    """The comparison as blocks; on a page the result comes first, in a terminal it is best seen at the end."""
    a, b, pack = comparison.a, comparison.b, comparison.pack
    categories, result = comparison.lanes["by_category"], [words.summary(comparison)]
    changes = {}
    for name, lane in sorted(categories.items(), key=lambda item: -item[1].change.value):
        single = [rate - lane.a.rate for rate in lane.rates_b] if len(lane.rates_b) > 1 else []
        changes[name] = (lane.change.value, lane.change.interval, single)
    blocks: list[Block] = [
        Text(result, "lead", media=WRITTEN),
        Differences(changes, title=f"{b.name} minus {a.name}, in points with 95 % intervals"),
    ]
    tested = bool(comparison.overall.noise)
    head = ["rows", "problems", a.name, b.name, "difference", "95 % interval", "visible", "lost", "gained"]
    head += ["corrected p"] * tested
    shown: list[tuple[str, ...]] = []
    for grouping in sorted(GROUPINGS, key=lambda name: name != "by_skill"):
        lanes = {**comparison.lanes[grouping], "overall": comparison.overall}
        rows = [(name, *_compare_cells(lane)[: len(head)]) for name, lane in lanes.items()]
        media = EVERYWHERE if grouping in ("by_skill", "by_category") else WRITTEN
        blocks += breakdown(grouping, head, rows, media, shown)
        shown += rows
    if comparison.before:
        blocks.append(_kept_of_the_gain(comparison, comparison.before))
    origin = {
        "picochat": picochat.__version__,
        "eval rows": f"{pack.path} (sha256 {pack.sha256})",
        "run-to-run variation": comparison.noise_from if comparison.overall.noise else "unknown",
    }
    for name, run in ((arm.name, run) for arm in comparison.arms for run in arm.runs):
        model = f"{run.model.folder} (sha256 {run.model.sha256})"
        origin[f"{name}: {run.folder}"] = f"{model}, {percent(run.overall.rate)}"
    blocks += [
        Text(words.notes(comparison), "soft"),
        mixtures({arm.name: arm.runs[0].model for arm in (b, a)}),
        replies("Rows that flipped", [_flip_reply(flip, comparison) for flip in comparison.flips]),
        facts(origin),
        Text(result, "lead", media=("terminal",)),
    ]
    under = f"{pack.rows} eval rows of {pack.path}; differences are in points, {b.name} minus {a.name}"
    return Report(f"Comparison of {a.name} and {b.name}", under, blocks)


def _compare_cells(lane: Difference) -> tuple[str, ...]:
    """One for each column."""
    change = lane.change
    return (
        str(change.rows),
        str(change.clusters),
        percent(lane.a.rate),
        percent(lane.b.rate),
        words.points(change.value),
        words.to(change.interval),
        "–" if lane.visible is None else f"{100 * lane.visible:.1f}" if lane.visible <= 1 else "over 100",
        *(f"{rows:.1f}".removesuffix(".0") for rows in (lane.lost, lane.gained)),
        "–" if lane.p_corrected is None else words.p_text(lane.p_corrected),
    )


def _kept_of_the_gain(comparison: Comparison, before: Arm) -> Table:
    """What the peak (A, where none is named) gained over the start, and which share of it the others kept."""
    peak = comparison.peak or comparison.a
    kept_by = [comparison.b.name, *([comparison.a.name] if comparison.peak else [])]
    rows = []
    for name, lane in (*comparison.lanes["by_skill"].items(), *comparison.lanes["by_category"].items()):
        if gain := lane.gain:
            shares = [gain.kept_b, gain.kept_a][: len(kept_by)]
            kept = [one and "{} ({} to {})".format(*map(words.whole, (one.share, *one.ci95))) for one in shares]
            start, top = gain.before, gain.before + gain.change.value
            rows.append((name, percent(start), percent(top), *(cell or "–" for cell in kept)))
    head = ("lane", before.name, peak.name, *(f"kept by {name}" for name in kept_by))
    return Table(head, list(dict.fromkeys(rows)), title=f"What was kept of {peak.name}'s gain over {before.name}")


def _flip_reply(flip: Flip, comparison: Comparison) -> Reply:
    lane, arms = flip.a.tag("category"), {comparison.a.name: flip.a, comparison.b.name: flip.b}
    head = (lane, flip.direction, *(f"{name}: {', '.join(own.reasons) or 'passed'}" for name, own in arms.items()))
    said = {f"reply of {name}": own.reply for name, own in arms.items()}
    parts, reasons = {"prompt": flip.a.prompt, **said, "expected": flip.a.expected}, [*flip.a.reasons, *flip.b.reasons]
    fields = {"lane": [lane], "verdict": [flip.direction], "reason": reasons}
    return reply(flip.a, head, parts, flip.direction == "lost", **fields)
