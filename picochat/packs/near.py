"""Questions that nearly repeat others. In: the questions of one side. Out: which of them a text is near. Next:
contamination, overlap.

Two questions are near if their 3-word shingles overlap by 80 % (Jaccard). Pairs are found without comparing all of them
(prefix filtering, as in Bayardo et al. 2007, "All pairs"). Two sets of n and m shingles with Jaccard >= t share at
least t·n and t·m of them. Sort both by how rare their shingles are on the indexed side; then they share one among the
first n - ⌈t·n⌉ + 1 of the one and the first m - ⌈t·m⌉ + 1 of the other. Only those are indexed, and only those are
looked up. The rare ones hold the operands or the word, so the lists behind them are short; and a question with other
operands begins with shingles that the indexed side never has. Equal questions are indexed once, and whoever only wants
to know which were met takes them out (`pop`): a thousand copies of one question then cost what one costs.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import ceil

SHINGLE = 3  # words
NEAR = 0.8  # Jaccard similarity of the shingles
_WORD = re.compile(r"\w+|[-+=×/]")  # the sign is part of a problem: 45 + 10 is not 45 - 10

Gram = tuple[str, ...]


class NearIndex:
    """The questions of one side.

    Args:
        questions: each in words; None is near nothing.
        contents: words that a text must hold as often as they stand here to be near the question.
    """

    def __init__(self, questions: Sequence[list[str] | None], contents: Sequence[Mapping[str, int]]) -> None:
        groups: dict[tuple[frozenset[Gram], frozenset[tuple[str, int]]], list[int]] = defaultdict(list)
        for row, (words, content) in enumerate(zip(questions, contents, strict=True)):
            if words is not None:
                groups[_shingles(words), frozenset(content.items())].append(row)
        self._sets = [shingles for shingles, _ in groups]
        self._contents = [dict(content) for _, content in groups]
        self._rows = list(groups.values())
        spread = Counter(word for content in self._contents for word in content)
        rarest = [sorted(content, key=lambda word: (spread[word], word)) for content in self._contents]
        self._marks = [words[0] if words else None for words in rarest]
        self._frequency = Counter(shingle for shingles in self._sets for shingle in shingles)
        self._rare: dict[
            Gram, dict[tuple[int, int], set[int]]
        ] = {}  # shingle → (size of the set, its place there) → sets
        for group, shingles in enumerate(self._sets):
            for place, shingle in enumerate(self._first(shingles, _prefix(len(shingles)))):
                self._rare.setdefault(shingle, {}).setdefault((len(shingles), place), set()).add(group)

    def near(self, words: list[str]) -> set[int]:
        """The rows whose question is near a text."""
        return {row for group in self._groups(words) for row in self._rows[group]}

    def any(self, words: list[str]) -> bool:
        """Whether there is such a row."""
        return next(self._groups(words), None) is not None

    def pop(self, words: list[str]) -> set[int]:
        """The same, and forget these rows."""
        found = list(self._groups(words))
        for group in found:
            size = len(self._sets[group])
            for place, shingle in enumerate(self._first(self._sets[group], _prefix(size))):
                self._rare[shingle][size, place].discard(group)
        return {row for group in found for row in self._rows[group]}

    def _groups(self, words: list[str]) -> Iterator[int]:
        shingles = _shingles(words)
        size = len(shingles)
        if self._rare.keys().isdisjoint(shingles):
            return  # most questions end here
        known = self._frequency.keys() & shingles
        unknown = size - len(known)  # these are the rarest
        candidates: set[int] = set()
        for place, shingle in enumerate(self._first(known, max(_prefix(size) - unknown, 0)), unknown):
            for (other, there), groups in self._rare.get(shingle, {}).items():
                # what they share begins here: no more can follow than the shorter rest holds
                if min(size - place, other - there) >= NEAR / (1 + NEAR) * (size + other) - 1e-9:
                    candidates |= groups
        present = {*words, None}
        marks, sets = self._marks, self._sets  # one look-up of a mark spares most groups the comparison of sets
        for group in candidates:
            if (
                marks[group] in present
                and (shared := len(shingles & sets[group])) >= NEAR * (size + len(sets[group]) - shared)
                and holds(words, self._contents[group])
            ):
                yield group

    def _first(self, shingles: Iterable[Gram], number: int) -> list[Gram]:
        frequency = self._frequency
        return sorted(shingles, key=lambda shingle: (frequency[shingle], shingle))[:number]


def words_of(text: str) -> list[str]:
    """The words and signs of a text, in lower case."""
    return _WORD.findall(text.lower())


def ngrams(words: list[str], n: int) -> Iterable[Gram]:
    """Every run of n words."""
    return zip(*[words[start:] for start in range(n)], strict=False)


def holds(words: Sequence[str], content: Mapping[str, int]) -> bool:
    """Whether all of the content is there, and as often: 8 x 8 needs both of them."""
    return all(words.count(word) >= times for word, times in content.items())


def _prefix(size: int) -> int:
    return size - ceil(NEAR * size - 1e-9) + 1  # (0.8 * 35 must not become 28.000000000000004, hence 29)


def _shingles(words: list[str]) -> frozenset[Gram]:
    return frozenset(ngrams(words, SHINGLE)) if len(words) >= SHINGLE else frozenset((tuple(words),))
