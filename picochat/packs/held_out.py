"""What "held out" proves. In: rows of both sides. Out: figures by lane. Next: packs.pack_report.

    eval      "What is 27 + 15?"      nearest training prompt of its category: "What is 27 + 14?", one word apart
              "7+5=12, carry 1"       a line of its working that stands in some training row's working
              "I am picochat."        a reply that stands in training word for word: a known reply to a new question

A problem that was never trained on may still be close to one that was. These figures say how close; contamination
(packs.contamination) is what a pack is refused for.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from statistics import mean, median
from typing import NamedTuple

import numpy as np

from picochat.packs.near import words_of
from picochat.packs.rows import Row, prompt_text


class Closeness(NamedTuple):
    """How close the eval rows of a lane are to training.

    Attributes:
        rows: eval rows.
        words_apart: median, over rows, of the words to change, add or drop to get to the nearest training prompt.
        one_word_apart: share of rows for which that is one word.
        jaccard: median of the largest share of words in common, words / all words of both.
        replies_met: share of rows whose reference reply is some training row's reply.
        steps_met: mean share of the working's lines that some training row's working holds; None without working.
    """

    rows: int
    words_apart: float
    one_word_apart: float
    jaccard: float
    replies_met: float
    steps_met: float | None


def closeness(train: Sequence[Row], evaluation: Sequence[Row]) -> dict[str, dict[str, Closeness]]:
    """The figures of generated rows by category and by stage; prompts are compared within their category."""
    replies = {row["messages"][-1]["content"] for row in train}
    lines = {line for reply in replies for line in reply.splitlines()}
    by_category: dict[str, list[str]] = defaultdict(list)
    for row in train:
        by_category[row["category"]].append(prompt_text(row))
    nearest = {category: _Nearest(prompts) for category, prompts in by_category.items()}
    none = _Nearest(())
    lanes: dict[str, dict[str, list[tuple[int, float, bool, float | None]]]] = {
        name: defaultdict(list) for name in ("category", "stage")
    }
    for row in evaluation:
        apart, jaccard = nearest.get(row["category"], none).find(prompt_text(row))
        steps = [line in lines for line in row.get("steps", ())]
        found = (apart, jaccard, row.get("reference") in replies, mean(steps) if steps else None)
        lanes["category"][row["category"]].append(found)
        lanes["stage"][f"{row['category']}/{row['stage']}"].append(found)
    return {f"by_{name}": {lane: _summed(rows) for lane, rows in sorted(own.items())} for name, own in lanes.items()}


def _summed(rows: Sequence[tuple[int, float, bool, float | None]]) -> Closeness:
    apart, jaccard, met, steps = zip(*rows, strict=True)
    worked = [share for share in steps if share is not None]
    return Closeness(
        rows=len(rows),
        words_apart=median(apart),
        one_word_apart=mean(words <= 1 for words in apart),
        jaccard=round(median(jaccard), 4),
        replies_met=mean(met),
        steps_met=round(mean(worked), 4) if worked else None,
    )


class _Nearest:
    """Training prompts by their words; "the" twice in a prompt is two words, ("the", 1) and ("the", 2)."""

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
    seen: Counter[str] = Counter()
    numbered = []
    for word in words:
        seen[word] += 1
        numbered.append((word, seen[word]))
    return numbered


def _edits(one: Sequence[str], other: Sequence[str]) -> int:
    """Levenshtein's distance in words."""
    before = list(range(len(other) + 1))
    for place, word in enumerate(one, start=1):
        row = [place]
        for column, other_word in enumerate(other, start=1):
            row.append(min(before[column] + 1, row[-1] + 1, before[column - 1] + (word != other_word)))
        before = row
    return before[-1]
