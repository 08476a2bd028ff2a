"""Was an eval row met in training? In: entries of both sides, a corpus. Out: counts. Next: packs.pack_report.

    keys         the same problem on both sides
    prompts      the same question, word for word
    8-grams      eight words in a row of an eval question and its answer, in a training row
    near copies  questions whose 3-word shingles overlap by 80 % (Jaccard)
    corpus       the same 8-grams in the base corpus

Rows made from templates share long runs of words by design ("how many times does the letter"). Such a run counts only
if it holds what makes the problem this problem: both operands, the word to be spelled. Rows from elsewhere have no
template: there every run counts. A question that is shorter than eight words with its answer ("Spell wig backwards.")
is not looked for in the corpus.

Files of rows that were not made together are compared by `Overlap`: the same `key`, or the same question if only
somewhere in a conversation; and nearly the same, unless both rows have a key, which says that these are two problems.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any, NamedTuple

from picochat.files import sha256_file
from picochat.packs.formats import Reading, Tally, iter_rows
from picochat.packs.pack_report import in_one_pack
from picochat.packs.rows import ASKED, Row, normalised, questions, words_of
from picochat.strict_json import read_json_object

N = 8  # words in a row
SHINGLE = 3  # words
NEAR = 0.8  # Jaccard similarity of the shingles
_EXAMPLES = 5
Gram = tuple[str, ...]
_NO_ROW: Row = {}


class Entry(NamedTuple):
    """One row, and what its generator knows of it."""

    key: str
    prompt: str
    reply: str  # in training the whole reply, in evaluation the short answer: the steps are the method
    content: tuple[str, ...] | None = None  # the words that a shared run must hold to count; None: every run counts
    taught: bool = False  # a fact that training is meant to teach, asked in other words: only key and prompt count
    boilerplate: bool = False  # of somebody's file, whose questions may all begin alike: runs count in the corpus alone
    fact: str | None = None  # what it teaches or asks
    row: Row = _NO_ROW


@dataclass(frozen=True)
class Contamination:
    """Numbers of eval rows that were met on the other side; `corpus_ngrams` is None where there was no corpus."""

    status: str  # ready: nothing was met, or blocked
    eval_rows: int
    train_rows: int
    shared_keys: int
    shared_prompts: int
    train_ngrams: int
    near_duplicates: int
    corpus_ngrams: int | None
    corpus: str
    examples: tuple[str, ...]
    ngram_words: int = N
    near_duplicate_jaccard: float = NEAR


def check(
    train: Sequence[Entry], evaluation: Sequence[Entry], corpus: Iterable[str] | None, corpus_note: str
) -> Contamination:
    """Compare the two sides of a pack, and its eval side with the corpus (texts of documents), if there is one."""
    screen = Screen(evaluation)
    keys, prompts = {entry.key for entry in train}, {normalised(entry.prompt) for entry in train}
    free = {row for row, entry in enumerate(evaluation) if entry.boilerplate}
    in_runs: set[int] = set()
    in_near: set[int] = set()
    examples: list[str] = []
    for entry in train:
        asked = words_of(entry.prompt)
        runs, near = screen.runs(asked + words_of(entry.reply)) - in_runs - free, screen.questions.pop(asked)
        for row in sorted(runs | near)[: _EXAMPLES - len(examples)]:
            examples.append(f"eval '{evaluation[row].prompt}' against training '{entry.prompt}'")
        in_runs |= runs
        in_near |= near
    in_corpus = set().union(*(screen.runs(words_of(text)) for text in corpus or ()))
    examples += [f"eval '{evaluation[row].prompt}' against the corpus" for row in sorted(in_corpus)]
    met: dict[str, Any] = {
        "shared_keys": sum(entry.key in keys for entry in evaluation),
        "shared_prompts": sum(normalised(entry.prompt) in prompts for entry in evaluation),
        "train_ngrams": len(in_runs),
        "near_duplicates": len(in_near),
        "corpus_ngrams": None if corpus is None else len(in_corpus),
    }
    status, shown = "blocked" if any(met.values()) else "ready", tuple(examples[:_EXAMPLES])
    return Contamination(status, len(evaluation), len(train), **met, corpus=corpus_note, examples=shown)


class Screen:
    """What must not appear in training text: the eval rows, the smaller side, indexed once; a text costs look-ups."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        contents = [Counter(words_of(" ".join(entry.content or ()))) for entry in entries]
        asked = [words_of(entry.prompt) for entry in entries]
        self._prompts = {normalised(entry.prompt) for entry in entries}
        wanted = [None if entry.taught else words for entry, words in zip(entries, asked, strict=True)]
        self.questions = NearIndex(wanted, contents)
        self._grams: dict[Gram, list[int]] = defaultdict(list)
        for row, entry in enumerate(entries):
            for gram in () if entry.taught else _ngrams(asked[row] + words_of(entry.reply), N):
                if _holds(gram, contents[row]):
                    self._grams[gram].append(row)
        words = Counter(word for gram in self._grams for word in gram)
        self._rare_words = {min(gram, key=lambda word: (words[word], word)) for gram in self._grams}

    def asks(self, questions: Sequence[str], reply: str = "") -> bool:
        """Whether some eval row asks one of these, or nearly asks the last, or shares a run of words with the reply."""
        words = words_of(questions[-1])
        same = any(normalised(question) in self._prompts for question in questions)
        return (
            same or bool(reply and self.runs(words + words_of(reply))) or any(True for _ in self.questions.near(words))
        )

    def runs(self, words: list[str]) -> set[int]:
        """Eval rows that share a run of eight words with a text."""
        if self._rare_words.isdisjoint(words):
            return set()  # each run has a rare word; most texts hold none of those
        return {row for gram in self._grams.keys() & _ngrams(words, N) for row in self._grams[gram]}


class NearIndex:
    """Questions in words (None is near nothing), to find those that a text is near without comparing all of them.

    Prefix filtering, as in Bayardo et al. 2007, "All pairs": two sets of n and m shingles with Jaccard >= t share at
    least t·n and t·m of them. Sort both by how rare their shingles are on the indexed side; then they share one among
    the first n - ⌈t·n⌉ + 1 of the one and the first m - ⌈t·m⌉ + 1 of the other. Only those are indexed, and only those
    are looked up. The rare ones hold the operands or the word, so the lists behind them are short. Equal questions are
    indexed once. `contents` are words that a text must hold as often as they stand there to be near a question.
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
        self._marks = [min(own, key=lambda word: (spread[word], word), default=None) for own in self._contents]
        self._frequency = Counter(shingle for shingles in self._sets for shingle in shingles)
        self._rare: dict[Gram, set[int]] = defaultdict(set)  # shingle → the sets that it is one of the first of
        for group, shingles in enumerate(self._sets):
            for shingle in self._first(shingles, _prefix(len(shingles))):
                self._rare[shingle].add(group)

    def near(self, words: list[str]) -> Iterator[int]:
        """The rows whose question is near a text."""
        return (row for group in self._groups(words) for row in self._rows[group])

    def pop(self, words: list[str]) -> set[int]:
        """The same, and forget these rows: a thousand copies of one question then cost what one costs."""
        found = list(self._groups(words))
        for group in found:
            for shingle in self._first(self._sets[group], _prefix(len(self._sets[group]))):
                self._rare[shingle].discard(group)
        return {row for group in found for row in self._rows[group]}

    def _groups(self, words: list[str]) -> Iterator[int]:
        shingles = _shingles(words)
        size = len(shingles)
        if self._rare.keys().isdisjoint(shingles):
            return  # most questions end here
        known = self._frequency.keys() & shingles  # the others are the rarest
        first = self._first(known, max(_prefix(size) - (size - len(known)), 0))
        present = {*words, None}
        marks, sets = self._marks, self._sets  # one look-up of a mark spares most groups the comparison of sets
        for group in set[int]().union(*(self._rare[shingle] for shingle in first if shingle in self._rare)):
            if (
                marks[group] in present
                and (shared := len(shingles & sets[group])) >= NEAR * (size + len(sets[group]) - shared)
                and _holds(words, self._contents[group])
            ):
                yield group

    def _first(self, shingles: Iterable[Gram], number: int) -> list[Gram]:
        frequency = self._frequency
        return sorted(shingles, key=lambda shingle: (frequency[shingle], shingle))[:number]


def _ngrams(words: list[str], n: int) -> Iterable[Gram]:
    return zip(*[words[start:] for start in range(n)], strict=False)


def _shingles(words: list[str]) -> frozenset[Gram]:
    return frozenset(_ngrams(words, SHINGLE)) or frozenset((tuple(words),))


def _holds(words: Sequence[str], content: Mapping[str, int]) -> bool:
    """Whether all of the content is there, and as often: 8 x 8 needs both of them."""
    return all(words.count(word) >= times for word, times in content.items())


def _prefix(size: int) -> int:
    return size - ceil(NEAR * size - 1e-9) + 1  # (0.8 * 35 must not become 28.000000000000004, hence 29)


class Overlap:
    """The eval rows of a file, each with its line, and which of them training asks."""

    def __init__(self, path: str | Path, rows: Iterable[tuple[int, Row]]) -> None:
        asked = [(line, _key(row), questions(row)[-1]) for line, row in rows]
        self.path, self.lines, self.compared = path, [line for line, _, _ in asked], 0  # … training rows so far
        self._names: dict[str, list[int]] = defaultdict(list)
        for index, (_, key, question) in enumerate(asked):
            for name in {key, normalised(question)} - {""}:
                self._names[name].append(index)
        self._near = [  # the rows without a key, and those with one
            NearIndex([words_of(text) if bool(key) == keyed else None for _, key, text in asked], [{}] * len(asked))
            for keyed in (False, True)
        ]
        self._same_at: dict[int, str] = {}
        self._near_at: dict[int, str] = {}

    def meet(self, place: str, row: Row) -> None:
        """Compare with a training row, which stands in `place`."""
        self.compared += 1
        key, asked = _key(row), questions(row)
        for name in {key, *map(normalised, asked)} & self._names.keys():
            self._same_at |= dict.fromkeys(self._names.pop(name), place)
        for near in self._near[:1] if key else self._near:
            self._near_at |= dict.fromkeys(near.pop(words_of(asked[-1])), place)

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


def met_in_training(pack: str | Path, rows: Sequence[Row], provenance: Mapping[str, Any]) -> tuple[str, list[str]]:
    """(The line that says which rows were met in training, "" where none; training files that are gone or changed).

    `provenance` is a model's picochat.json; the parent that it names has one of its own, and so on:

        {"trained_on": [{"path": "rows.jsonl", "sha256": "…", "reading": {…}}], "parent": "runs/base/best"}
    """
    overlap, gone = Overlap(pack, enumerate(rows, start=1)), []
    for sha256, (path, reading) in _files(provenance).items():
        if in_one_pack(pack, [sha256]):
            continue
        if not path.is_file() or sha256_file(path) != sha256:
            gone.append(str(path))
            continue
        for line, row in iter_rows(path, "chat", Tally(reading)):
            overlap.meet(f"{path}:{line}", row)
    return overlap.said(), gone


def _files(provenance: Mapping[str, Any]) -> dict[str, tuple[Path, Reading]]:
    """The files that a model and its parents were trained on, by sha256; a provenance of another form names none."""
    found: dict[str, tuple[Path, Reading]] = {}
    folders: set[str] = set()
    try:
        while True:
            for one in provenance.get("trained_on", []):
                found[str(one["sha256"])] = Path(one["path"]), Reading(**one["reading"])
            folder = provenance.get("parent")
            file = Path(folder or "", "picochat.json")
            if not folder or folder in folders or not file.is_file():
                return found
            folders.add(folder)
            provenance = read_json_object(file)
    except (KeyError, TypeError, AttributeError):
        return found
