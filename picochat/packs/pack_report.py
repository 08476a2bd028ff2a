"""What a task pack holds, said in numbers. In: the rows. Out: summary, Markdown and JSON. Next: the reader.

Every count is taken from the finished rows, not from the plan. Nothing in here depends on the clock or the machine, so
the same seed gives the same report.
"""

import json
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from picochat import __version__
from picochat.files import sha256_text
from picochat.packs.contamination import Contamination
from picochat.packs.rows import Row, tag_name

_FIELDS = ("mixture_component", "category", "stage", "phrasing", "source_dataset", "knowledge")
_COUNTED = {tag_name(field).removesuffix("_dataset"): field for field in _FIELDS}


@dataclass(frozen=True)
class TaskPackReport:
    """The result of building a task pack.

    Attributes:
        data: the report as it stands in ``task_mixture_<profile>.json``.
        chat_path, eval_path: the two row files.
        promoted: whether the dataset pack points at them now.
    """

    chat_path: Path
    eval_path: Path
    markdown_path: Path
    json_path: Path
    promoted: bool
    data: dict[str, Any]

    def json(self) -> str:
        """The text of ``task_mixture_<profile>.json``."""
        return json.dumps(self.data, indent=2, ensure_ascii=False) + "\n"

    def summary(self) -> str:
        """What the command prints."""
        data = self.data
        lines = [
            f"Task pack '{data['profile']}': {data['train']['rows']} training rows, {data['eval']['rows']} eval rows"
        ]
        for name in _COUNTED:
            table = _table(data, name)
            if table:
                width = max(len(row[0]) for row in table)
                lines.append(f"\n{name:<{width + 2}}  train   eval   different problems")
                lines += [f"  {row[0]:<{width}} {row[1]:>6} {row[2]:>6}   {row[3]}/{row[4]}" for row in table]
        lines.append("")
        lines += [f"source {source['name']}: {source['outcome']}" for source in data["sources"]]
        lines += [f"contamination: {_contamination_line(data['contamination'])}"]
        lines += [f"wrote {path}" for path in (self.chat_path, self.eval_path, self.markdown_path, self.json_path)]
        lines.append(f"promoted: {data['promotion']}")
        return "\n".join(lines)

    def markdown(self) -> str:
        """The text of ``task_mixture_<profile>.md``."""
        data = self.data
        lines = [
            f"# Task mixture: {data['profile']}",
            "",
            f"{data['train']['rows']} training rows and {data['eval']['rows']} eval rows, made by picochat "
            f"{data['picochat_version']} with seed {data['settings']['seed']}.",
            "",
        ]
        for name in _COUNTED:
            table = _table(data, name)
            if table:
                lines += [f"## By {name}", "", f"| {name} | train | eval | problems in train | problems in eval |"]
                lines += ["|---|---:|---:|---:|---:|"]
                lines += ["| {} | {} | {} | {} | {} |".format(*row) for row in table] + [""]
        lines += ["## Sources", ""]
        lines += [f"- {source['name']}: {source['outcome']}" for source in data["sources"]]
        lines += ["", "## Contamination", "", f"**{_contamination_line(data['contamination'])}**", ""]
        lines += [f"- {example}" for example in data["contamination"]["examples"]]
        lines += ["", "## Files", ""]
        lines += [f"- `{file['path']}`, sha256 `{file['sha256']}`" for file in data["files"]]
        lines += ["", f"Promoted: {data['promotion']}.", ""]
        return "\n".join(lines)


def describe(
    *,
    profile: str,
    pack: Path,
    settings: Mapping[str, Any],
    train: Sequence[Row],
    evaluation: Sequence[Row],
    texts: Mapping[Path, str],
    reports: Sequence[Path],
    sources: Sequence[Mapping[str, Any]],
    contamination: Contamination,
    promote: bool,
) -> TaskPackReport:
    """Count the rows and put everything together; ``texts`` are the chat file and the eval file, in this order."""
    chat_path, eval_path = texts
    blocked = contamination.status == "blocked"
    promotion = "no (the pack is contaminated)" if blocked else "yes" if promote else "no (--no-promote)"
    data = {
        "profile": profile,
        "dataset_pack": _seen_from(pack, reports[0].parent),
        "settings": dict(settings),
        "train": _counts(train),
        "eval": _counts(evaluation),
        "sources": [dict(source) for source in sources],
        "contamination": contamination.as_dict(),
        "files": [
            {"path": _seen_from(path, reports[0].parent), "sha256": sha256_text(text)} for path, text in texts.items()
        ],
        "promotion": promotion,
        "picochat_version": __version__,
    }
    return TaskPackReport(chat_path, eval_path, reports[0], reports[1], promotion == "yes", data)


def _counts(rows: Sequence[Row]) -> dict[str, Any]:
    """Rows and different problems (keys), in all and by each tag; a stage is named with its category."""
    groups: dict[tuple[str | None, ...], list[str]] = defaultdict(list)  # few: rows alike in every tag
    for row in rows:
        stage = f"{row['category']}/{row['stage']}"
        groups[(stage, *(row.get(field) for field in _COUNTED.values()))].append(row["key"])
    counts: dict[str, Any] = {"rows": len(rows), "problems": len({row["key"] for row in rows})}
    for place, name in enumerate(_COUNTED, start=1):
        of_label: dict[str, list[str]] = defaultdict(list)
        for tags, keys in groups.items():
            label = tags[0] if name == "stage" else tags[place]
            if label is not None:
                of_label[label] += keys
        counts[f"by_{name}"] = {
            label: {"rows": len(keys), "problems": len(set(keys))} for label, keys in sorted(of_label.items())
        }
    return counts


def _table(data: Mapping[str, Any], name: str) -> list[tuple[str, int, int, int, int]]:
    train, evaluation = data["train"][f"by_{name}"], data["eval"][f"by_{name}"]
    none = {"rows": 0, "problems": 0}
    return [
        (label, a["rows"], b["rows"], a["problems"], b["problems"])
        for label in sorted({**train, **evaluation})
        for a, b in [(train.get(label, none), evaluation.get(label, none))]
    ]


def _contamination_line(found: Mapping[str, Any]) -> str:
    corpus = "" if found["corpus_ngrams"] is None else f": {found['corpus_ngrams']} eval rows share 8-grams with it"
    return (
        f"{found['status']} ({found['shared_keys']} shared keys, {found['shared_prompts']} shared prompts, "
        f"{found['train_ngrams']} eval rows with 8-grams of training rows, {found['near_duplicates']} near-duplicates; "
        f"corpus {found['corpus']}{corpus})"
    )


def _seen_from(path: Path, folder: Path) -> str:
    """A path that does not depend on where the run was started."""
    try:
        return Path(os.path.relpath(path, folder)).as_posix()
    except ValueError:  # another drive on Windows
        return path.as_posix()
