"""What the reports of evaluations, fits and comparisons share. In: their parts. Out: blocks, files. Next: html_page."""

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from picochat.blocks import WRITTEN, Bars, Medium, Rate, Replies, Reply, Report, Table, markdown_page
from picochat.evidence.evaluation import Evaluation, Model
from picochat.evidence.html_page import page
from picochat.evidence.lanes import UNTAGGED
from picochat.evidence.sft_fit import Fit
from picochat.files import write_files
from picochat.packs.quotas import spread_evenly

_FOLDED = 12  # tables of more rows are folded away on a page
_SHOWN = 12  # rows of each lane and outcome on a page; predictions.jsonl and comparison.json have all
T = TypeVar("T")


def write_report(folder: str | Path, name: str, report: Report, data: Any, rows: Iterable[Any] | None = None) -> None:
    """Write NAME.json, NAME.md and NAME.html, and `rows` as predictions.jsonl; all appear together."""
    texts = {
        f"{name}.json": json.dumps(data, indent=2, ensure_ascii=False) + "\n",
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
    """Where a report comes from."""
    parts = {"pack": asdict(source.pack), "model": asdict(source.model), "settings": dict(source.settings)}
    return {"picochat": source.picochat, **parts}


def origin(source: Evaluation | Fit, more: Mapping[str, Any] | None = None) -> Table:
    """Fingerprints and settings: where a report comes from."""
    model = source.model
    return facts(
        {
            "picochat": source.picochat,
            "eval rows": f"{source.pack.path} (sha256 {source.pack.sha256})",
            "model": f"{model.folder} (sha256 {model.sha256})",
            **{f"model: {key}": value for key, value in model.provenance.items()},
            **{f"setting: {key}": value for key, value in source.settings.items()},
            **(more or {}),
        }
    )


def mixtures(models: Mapping[str, Model]) -> Bars:
    """The mixtures that models were trained on, beside each other, where their folders say them."""
    said = [model.provenance.get("mixture") for model in models.values()]
    known = [one for one in said if isinstance(one, dict) and all(isinstance(v, int | float) for v in one.values())]
    lanes = dict.fromkeys(lane for one in known for lane in one) if len(known) == len(said) else {}
    shares = {str(lane): [Rate(min(1.0, max(0.0, one.get(lane, 0)))) for one in known] for lane in lanes}
    return Bars(shares, list(models) if len(models) > 1 else (), title="Mixture, in shares of the training examples")


def facts(values: Mapping[str, Any]) -> Table:
    """Names and values; what is not a text is shown as JSON."""
    rows = [
        (name, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
        for name, value in values.items()
    ]
    return Table(("what", "value"), rows, left=2, title="Provenance", media=WRITTEN)


def replies(
    title: str, rows: Sequence[T], lane: Callable[[T], tuple[str, ...]], shown: Callable[[T], Reply]
) -> Replies:
    """Some rows of each lane and outcome (`lane` tells both), evenly spaced, as `shown` makes them."""
    groups: dict[tuple[str, ...], list[T]] = defaultdict(list)
    for row in rows:
        groups[lane(row)].append(row)
    some = [shown(row) for _, own in sorted(groups.items()) for row in spread_evenly(own, _SHOWN)]
    note = f"{len(some)} of {len(rows)} rows: at most {_SHOWN} of each lane and outcome, evenly spaced."
    return Replies(some, note, title=title)


def breakdown(
    grouping: str, columns: Sequence[str], rows: Sequence[Sequence[str]], media: Sequence[Medium] = WRITTEN
) -> list[Table]:
    """A table by one of `lanes.GROUPINGS`, each row a lane's name and cells; none where no row carries the tag."""
    if all(row[0] in (UNTAGGED, "overall") for row in rows):
        return []
    name = {"by_style": "answer style"}.get(grouping, grouping.removeprefix("by_").replace("_", " "))
    return [Table((name, *columns), rows, title=f"By {name}", media=media, folded=len(rows) > _FOLDED)]


def run_name(folder: str | Path) -> str:
    """What a model is called: RUN/best_checkpoint and RUN/last_checkpoint after their run, others after themselves."""
    path = Path(folder)
    inner = path.name in ("best_checkpoint", "last_checkpoint") and path.parent.name
    return path.parent.name if inner else path.name or str(folder)
