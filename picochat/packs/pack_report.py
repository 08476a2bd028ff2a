"""What a task pack holds, said in numbers. In: the rows. Out: summary, Markdown and JSON. Next: the reader.

Every count is taken from the finished rows, not from the plan. Nothing in here depends on the clock or the machine, so
the same seed gives the same report.
"""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from picochat.blocks import WRITTEN, Block, Report, Table, Text, markdown_page, terminal
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
        paths = (self.chat_path, self.eval_path, self.markdown_path, self.json_path)
        wrote = Text([*(f"wrote {path}" for path in paths), f"promoted: {self.data['promotion']}"])
        return terminal(Text([f"Task pack '{self.data['profile']}': {self._size()}"]), *self._blocks(), wrote)

    def markdown(self) -> str:
        """The text of ``task_mixture_<profile>.md``."""
        data = self.data
        made = f"{self._size()}, made by picochat {data['picochat_version']} with seed {data['settings']['seed']}."
        files = [f"{file['path']}, sha256 {file['sha256']}" for file in data["files"]]
        blocks = [*self._blocks(), Text(files, "list", title="Files"), Text([f"Promoted: {data['promotion']}."])]
        return markdown_page(Report(f"Task mixture: {data['profile']}", made, blocks))

    def _size(self) -> str:
        return f"{self.data['train']['rows']} training rows, {self.data['eval']['rows']} eval rows"

    def _blocks(self) -> list[Block]:
        data, found = self.data, self.data["contamination"]
        head = ("train", "eval", "problems in train", "problems in eval")
        tables = [Table((name, *head), _table(data, name), title=f"By {name}") for name in _COUNTED]
        sources = [f"{source['name']}: {source['outcome']}" for source in data["sources"]]
        return [
            *(table for table in tables if table.rows),
            Text(sources, "list", title="Sources"),
            Text([f"contamination: {_contamination_line(found)}"], "lead"),
            Text(found["examples"], "list", media=WRITTEN),
        ]


def counts(rows: Sequence[Row]) -> dict[str, Any]:
    """Rows and different problems (keys), in all and by each tag; a stage is named with its category."""
    lanes: dict[str, dict[str, list[str]]] = {name: defaultdict(list) for name in _COUNTED}
    for row in rows:
        for name, field in _COUNTED.items():
            if (label := row.get(field)) is not None:
                lanes[name][f"{row['category']}/{label}" if name == "stage" else label].append(row["key"])
    found: dict[str, Any] = {"rows": len(rows), "problems": len({row["key"] for row in rows})}
    for name, keys_of in lanes.items():
        found[f"by_{name}"] = {
            label: {"rows": len(keys), "problems": len(set(keys))} for label, keys in sorted(keys_of.items())
        }
    return found


def _table(data: Mapping[str, Any], name: str) -> list[tuple[str, ...]]:
    train, evaluation = data["train"][f"by_{name}"], data["eval"][f"by_{name}"]
    none = {"rows": 0, "problems": 0}
    return [
        (label, *(str(side.get(label, none)[count]) for count in ("rows", "problems") for side in (train, evaluation)))
        for label in sorted({**train, **evaluation})
    ]


def _contamination_line(found: Mapping[str, Any]) -> str:
    corpus = "" if found["corpus_ngrams"] is None else f": {found['corpus_ngrams']} eval rows share 8-grams with it"
    return (
        f"{found['status']} ({found['shared_keys']} shared keys, {found['shared_prompts']} shared prompts, "
        f"{found['train_ngrams']} eval rows with 8-grams of training rows, {found['near_duplicates']} near-duplicates; "
        f"corpus {found['corpus']}{corpus})"
    )
