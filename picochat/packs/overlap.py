"""Does training ask what evaluation asks? In: rows of both. Out: eval rows that were met. Next: datamodules, evidence.

same   the same `key`, or the same question without regard to case and spaces, if only somewhere in a conversation
near   nearly the same question (packs.near), unless both rows have a key, which says that these are two problems
"""

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from picochat.packs.near import NearIndex, words_of
from picochat.packs.rows import ASKED, Row, normalised, questions


class Overlap:
    """Eval rows, and which of them were met in training.

    Args:
        path: the file of the eval rows.
        rows: the rows, each with its line.

    Attributes:
        compared: training rows so far.
    """

    def __init__(self, path: str | Path, rows: Iterable[tuple[int, Row]]) -> None:
        asked = [(line, _key(row), questions(row)[-1]) for line, row in rows]
        self.path, self.lines = path, [line for line, _, _ in asked]
        self._names: dict[str, list[int]] = defaultdict(list)
        for index, (_, key, question) in enumerate(asked):
            for name in {key, normalised(question)} - {""}:
                self._names[name].append(index)
        self._near = [  # the rows without a key, and those with one
            NearIndex([words_of(text) if bool(key) == keyed else None for _, key, text in asked], [{}] * len(asked))
            for keyed in (False, True)
        ]
        self.compared = 0
        self._same_at: dict[int, str] = {}
        self._near_at: dict[int, str] = {}

    def meet(self, place: str, row: Row) -> None:
        """Compare with a training row, which stands in `place`."""
        self.compared += 1
        key, asked = _key(row), questions(row)
        for name in {key, *map(normalised, asked)} & self._names.keys():
            self._same_at |= dict.fromkeys(self._names.pop(name), place)
        words = words_of(asked[-1])
        for near in self._near[:1] if key else self._near:
            self._near_at |= dict.fromkeys(near.pop(words), place)

    def said(self) -> str:
        """What was met in one line, "" where nothing was."""
        if not (met := {**self._near_at, **self._same_at}):
            return ""
        first, same = min(met), len(self._same_at)
        return (
            f"{self.path}: {len(met):,} of {len(self.lines):,} eval rows ask what training asks ({same:,} the same, "
            f"{len(met) - same:,} nearly; line {self.lines[first]} as {met[first]})"
        )


def _key(row: Row) -> str:
    """The row's own name of its problem; "" where it has none, or one that was made of its question."""
    key: str = row.get("key") or ""
    return "" if key.startswith(ASKED) else key
