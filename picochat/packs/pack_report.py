"""What a task pack holds, said in numbers. In: the rows. Out: summary, Markdown and JSON. Next: the reader.

Every count is taken from the finished rows, not from the plan. A problem that was never trained on may still be close
to one that was (`closeness`); contamination is what a pack is refused for.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median
from typing import Any

import numpy as np

from picochat.blocks import WRITTEN, Block, Report, Table, Text, markdown_page, percent, terminal
from picochat.files import sha256_file
from picochat.packs.rows import Row, cluster_of, prompt_text, words_of
from picochat.strict_json import parse_json

ICC = 0.3  # of replies to rows of one problem, where a design effect is told before there are replies
_HEAD = ("train", "eval", "problems in train", "problems in eval", "rows a problem", f"design effect (ICC {ICC})")
_CLOSE = ("words from nearest", "Jaccard", "replies met")
_COUNTED = {  # what reports call it → field of a row
    "component": "mixture_component",
    **{name: name for name in ("category", "stage", "phrasing")},
    "source": "source_dataset",
    "knowledge": "knowledge",
}


@dataclass(frozen=True)
class TaskPackReport:
    """The result of building a task pack; `data` is the report as it stands in ``task_mixture_<profile>.json``."""

    chat_path: Path
    eval_path: Path
    markdown_path: Path
    json_path: Path
    promoted: bool  # whether the dataset pack points at the two files of rows now
    data: dict[str, Any]

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
        tables = [Table((name, *_HEAD), _table(data, name), title=f"By {name}") for name in _COUNTED]
        sources = [f"{source['name']}: {source['outcome']}" for source in data["sources"]]
        corpus = "" if found["corpus_ngrams"] is None else f": {found['corpus_ngrams']} eval rows share 8-grams with it"
        contamination = (
            f"contamination: {found['status']} ({found['shared_keys']} shared keys, {found['shared_prompts']} shared "
            f"prompts, {found['train_ngrams']} eval rows with 8-grams of training rows, {found['near_duplicates']} "
            f"near-duplicates; corpus {found['corpus']}{corpus})"
        )
        return [
            *(table for table in tables if table.rows),
            *_held_out(data["held_out"]),
            Text(sources, "list", title="Sources"),
            Text([contamination], "lead"),
            Text(found["examples"], "list", media=WRITTEN),
        ]


def _table(data: Mapping[str, Any], name: str) -> list[tuple[str, ...]]:
    train, evaluation = data["train"][f"by_{name}"], data["eval"][f"by_{name}"]
    none = {"rows": 0, "problems": 0}
    rows = []
    for label in sorted({**train, **evaluation}):
        sides, asked = [side.get(label, none) for side in (train, evaluation)], evaluation.get(label)
        told = (f"{asked['rows'] / asked['problems']:.1f}", f"{asked['design_effect']:.1f}") if asked else ("–", "–")
        rows.append((label, *(str(side[count]) for count in ("rows", "problems") for side in sides), *told))
    return rows


def _held_out(found: Mapping[str, Any]) -> list[Block]:
    """How close eval rows are to training."""
    rows = [
        (lane, f"{own['words_apart']:g}", f"{own['jaccard']:.2f}", percent(own["replies_met"]))
        for lane, own in found.items()
    ]
    said = "Replies met: the reference reply occurs in training word for word; such a row asks for a known reply."
    table = Table(("category", *_CLOSE), rows, title="Eval rows against their nearest training row")
    return [table, Text([said] if rows else [], media=WRITTEN)]


def report_of(rows: str | Path) -> dict[str, Any] | None:
    """The report of the task pack that a file of rows belongs to, where it lies beside it."""
    for place in sorted(Path(rows).parent.glob("task_mixture_*.json")):
        try:
            said = parse_json(place.read_bytes())
            if sha256_file(rows) in [file["sha256"] for file in said["files"]]:
                return dict(said)
        except (OSError, ValueError, KeyError, TypeError):
            continue  # the report of something else
    return None


def in_one_pack(rows: str | Path, hashes: Sequence[str]) -> bool:
    """Whether files of these sha256 belong to the task pack of a file of eval rows, which was found free of overlap."""
    report = report_of(rows)
    named = {file["sha256"] for file in report["files"]} if report else set()
    return report is not None and set(hashes) <= named and report["contamination"]["status"] == "ready"


def counts(rows: Sequence[Row]) -> dict[str, Any]:
    """Rows and problems (what is held out whole), in all and by each tag; a stage is named with its category.

    The design effect says how many times the variance of a rate is that of as many rows with a problem each:
    1 + (Σ n_k² / n - 1) · ICC, for n_k rows of problem k (Kish 1965).
    """
    found: dict[str, Any] = {"rows": len(rows), "problems": len(set(map(cluster_of, rows)))}
    for name, field in _COUNTED.items():
        lanes: dict[str, Counter[str]] = defaultdict(Counter)
        for row in rows:
            if (label := row.get(field)) is not None:
                lanes[f"{row['category']}/{label}" if name == "stage" else label][cluster_of(row)] += 1
        found[f"by_{name}"] = {
            label: {
                "rows": problems.total(),
                "problems": len(problems),
                "design_effect": round(1 + (sum(n**2 for n in problems.values()) / problems.total() - 1) * ICC, 2),
            }
            for label, problems in sorted(lanes.items())
        }
    return found


def closeness(train: Sequence[Row], evaluation: Sequence[Row]) -> dict[str, dict[str, Any]]:
    """How close the eval rows of each category are to the training rows of it.

    words_apart      median of the words to change, add or drop: 1 from "What is 27 + 15?" to "What is 27 + 14?"
    jaccard          median of the largest share of words in common, words / all words of both
    replies_met      share of rows whose reference reply is some training row's reply
    """
    replies = {row["messages"][-1]["content"] for row in train}
    prompts: dict[str, list[str]] = defaultdict(list)
    for row in train:
        prompts[row["category"]].append(prompt_text(row))
    nearest = {category: _Nearest(texts) for category, texts in prompts.items()}
    lanes: dict[str, list[tuple[int, float, bool]]] = defaultdict(list)
    for row in evaluation:
        found = nearest.get(row["category"], _Nearest(())).find(prompt_text(row))
        lanes[row["category"]].append((*found, row.get("reference") in replies))
    summed = {}
    for lane, rows in sorted(lanes.items()):
        apart, jaccard, met = zip(*rows, strict=True)
        summed[lane] = {"words_apart": median(apart), "jaccard": round(median(jaccard), 4), "replies_met": mean(met)}
    return summed


class _Nearest:
    """Training prompts by their words; "the" twice in a prompt is two words, ("the", 0) and ("the", 1)."""

    def __init__(self, prompts: Iterable[str]) -> None:
        self.prompts = [words_of(prompt) for prompt in dict.fromkeys(prompts)]
        self.sizes = np.array([len(words) for words in self.prompts], dtype=np.int64)
        places: dict[tuple[str, int], list[int]] = defaultdict(list)
        for place, words in enumerate(self.prompts):
            for word in _numbered(words):
                places[word].append(place)
        self.places = {word: np.array(found) for word, found in places.items()}

    def find(self, prompt: str) -> tuple[int, float]:
        """Words to change to get to the nearest prompt, and the largest share of words in common."""
        words = words_of(prompt)
        if not self.prompts:
            return len(words), 0.0
        found = [self.places[word] for word in _numbered(words) if word in self.places]
        shared = np.bincount(np.concatenate(found or [np.zeros(0, dtype=np.int64)]), minlength=len(self.prompts))
        # No fewer changes than words of the longer one that the other lacks: prompts are tried in that order.
        least, best = np.maximum(len(words), self.sizes) - shared, len(words) + 1
        for place in np.argsort(least, kind="stable"):
            if least[place] >= best:
                break
            best = min(best, _edits(words, self.prompts[place]))
        return best, float((shared / (len(words) + self.sizes - shared)).max())


def _numbered(words: Sequence[str]) -> list[tuple[str, int]]:
    return [(word, words[:place].count(word)) for place, word in enumerate(words)]


def _edits(one: Sequence[str], other: Sequence[str]) -> int:
    """Levenshtein's distance in words."""
    before = list(range(len(other) + 1))
    for place, word in enumerate(one, start=1):
        row = [place]
        for column, other_word in enumerate(other, start=1):
            row.append(min(before[column] + 1, row[-1] + 1, before[column - 1] + (word != other_word)))
        before = row
    return before[-1]
