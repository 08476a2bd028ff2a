"""Was an eval row met in training? In: entries of both sides, a corpus. Out: counts. Next: packs.pack_report.

    keys         the same problem on both sides
    prompts      the same question, word for word
    8-grams      eight words in a row of an eval question and its answer, in a training row
    near copies  questions whose 3-word shingles overlap by 80 % (Jaccard)
    corpus       the same 8-grams in the base corpus

Rows made from templates share long runs of words by design ("how many times does the letter"): such a run counts only
if it holds what makes the problem this problem, both operands or the word to be spelled. Rows from elsewhere have no
template: there every run counts. Files of rows that were not made together are compared by `Overlap`.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from math import ceil
from pathlib import Path
from typing import Any, NamedTuple

from picochat.files import sha256_file
from picochat.packs.formats import Reading, Tally, iter_rows
from picochat.packs.pack_report import in_one_pack
from picochat.packs.rows import ASKED, Row, normalised, questions, words_of
from picochat.strict_json import read_json_object

_RUN, _SHINGLE = 8, 3  # words
_NEAR = 0.8  # Jaccard similarity of the shingles
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


def check(
    train: Sequence[Entry], evaluation: Sequence[Entry], corpus: Iterable[str] | None, corpus_note: str
) -> dict[str, Any]:
    """What the report of a pack says: how many eval rows occur on its other side, or in the texts of a corpus (None:
    there is none); the status is "ready" where nothing does, else "blocked"."""
    screen = Screen(evaluation)
    keys, prompts = {entry.key for entry in train}, {normalised(entry.prompt) for entry in train}
    free = {row for row, entry in enumerate(evaluation) if entry.boilerplate}
    in_runs: set[int] = set()
    in_near: set[int] = set()
    examples: list[str] = []
    for entry in train:
        asked = words_of(entry.prompt)
        runs, near = screen.runs(asked + words_of(entry.reply)) - in_runs - free, screen.near.find(asked)
        screen.near.forget(near)
        for row in sorted(runs | near)[: _EXAMPLES - len(examples)]:
            examples.append(f"eval '{evaluation[row].prompt}' against training '{entry.prompt}'")
        in_runs |= runs
        in_near |= near
    in_corpus = {row for text in corpus or () for row in screen.runs(words_of(text))}
    examples += [f"eval '{evaluation[row].prompt}' against the corpus" for row in sorted(in_corpus)]
    met = {
        "shared_keys": sum(entry.key in keys for entry in evaluation),
        "shared_prompts": sum(normalised(entry.prompt) in prompts for entry in evaluation),
        "train_ngrams": len(in_runs),
        "near_duplicates": len(in_near),
        "corpus_ngrams": None if corpus is None else len(in_corpus),
    }
    status = "blocked" if any(met.values()) else "ready"
    return {"status": status, **met, "corpus": corpus_note, "examples": examples[:_EXAMPLES]}


class Screen:
    """What must not appear in training text: the eval rows, the smaller side, indexed once; a text costs look-ups."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        contents = [Counter(words_of(" ".join(entry.content or ()))) for entry in entries]
        asked = [words_of(entry.prompt) for entry in entries]
        self._prompts = {normalised(entry.prompt) for entry in entries}
        wanted = [None if entry.taught else words for entry, words in zip(entries, asked, strict=True)]
        self.near = NearIndex(wanted, contents)
        self._grams: dict[Gram, list[int]] = defaultdict(list)
        for row, entry in enumerate(entries):
            for gram in () if entry.taught else _ngrams(asked[row] + words_of(entry.reply), _RUN):
                if _holds(gram, contents[row]):
                    self._grams[gram].append(row)
        words = Counter(word for gram in self._grams for word in gram)
        self._rare_words = {min(gram, key=lambda word: (words[word], word)) for gram in self._grams}

    def asks(self, questions: Sequence[str], reply: str = "") -> bool:
        """Whether some eval row asks one of these, or nearly asks the last, or shares a run of words with the reply."""
        words = words_of(questions[-1])
        same = any(normalised(question) in self._prompts for question in questions)
        return bool(same or (reply and self.runs(words + words_of(reply))) or self.near.find(words))

    def runs(self, words: list[str]) -> set[int]:
        """Eval rows that share a run of eight words with a text."""
        if self._rare_words.isdisjoint(words):
            return set()  # each run has a rare word; most texts hold none of those
        return {row for gram in self._grams.keys() & _ngrams(words, _RUN) for row in self._grams[gram]}


class NearIndex:
    """Questions in words (None is near nothing), to find those that a text is near without comparing all of them.

    Prefix filtering, as in Bayardo et al. 2007, "All pairs": a set that has Jaccard >= t with one of n shingles holds
    t·n of them at least, and so one of any n - ⌈t·n⌉ + 1. Only so many are indexed of each question, the rarest ones:
    they hold the operands or the word. `contents` are words that a text must hold, as often, to be near a question.
    """

    def __init__(self, questions: Sequence[list[str] | None], contents: Sequence[Mapping[str, int]]) -> None:
        self._sets = [frozenset() if words is None else _shingles(words) for words in questions]
        self._contents = contents
        frequency = Counter(shingle for shingles in self._sets for shingle in shingles)
        self._rare: dict[Gram, set[int]] = defaultdict(set)  # shingle → the questions that it is one of the rarest of
        self._prefixes = []
        for row, own in enumerate(self._sets):
            size = len(own) - ceil(_NEAR * len(own)) + 1
            prefix = sorted(own, key=lambda shingle: (frequency[shingle], shingle))[:size]
            self._prefixes.append(prefix)
            for shingle in prefix:
                self._rare[shingle].add(row)

    def find(self, words: list[str]) -> set[int]:
        """The rows whose question is near a text."""
        shingles = _shingles(words)
        return {
            row
            for row in set[int]().union(*(self._rare[shingle] for shingle in self._rare.keys() & shingles))
            if (shared := len(shingles & self._sets[row])) / (len(shingles) + len(self._sets[row]) - shared) >= _NEAR
            and _holds(words, self._contents[row])
        }

    def forget(self, rows: Iterable[int]) -> None:
        """Find these no more: a thousand copies of one question then cost what one costs."""
        for row in rows:
            for shingle in self._prefixes[row]:
                self._rare[shingle].discard(row)


def _ngrams(words: list[str], n: int) -> Iterable[Gram]:
    return zip(*[words[start:] for start in range(n)], strict=False)


def _shingles(words: list[str]) -> frozenset[Gram]:
    return frozenset(_ngrams(words, _SHINGLE)) or frozenset([tuple(words)] if words else [])


def _holds(words: Sequence[str], content: Mapping[str, int]) -> bool:
    """Whether all of the content is there, and as often: 8 x 8 needs both of them."""
    return all(words.count(word) >= times for word, times in content.items())


class Overlap:
    """The eval rows of a file, each with its line, and which of them training asks.

    Two rows ask the same if they have the same `key`, or one asks the other's question anywhere in its conversation;
    nearly the same if their last questions are near, unless both have a key: then these are two problems.
    """

    def __init__(self, path: str | Path, rows: Iterable[tuple[int, Row]]) -> None:
        asked = [(line, _key(row), questions(row)[-1]) for line, row in rows]
        self.path, self.compared = path, 0  # … training rows so far
        self.lines, self._keys = [line for line, _, _ in asked], [key for _, key, _ in asked]
        self._names: dict[str, list[int]] = defaultdict(list)
        for index, (_, key, question) in enumerate(asked):
            for name in {key, normalised(question)} - {""}:
                self._names[name].append(index)
        self._near = NearIndex([words_of(question) for _, _, question in asked], [{}] * len(asked))
        self._same_at: dict[int, str] = {}
        self._near_at: dict[int, str] = {}

    def meet(self, place: str, row: Row) -> None:
        """Compare with a training row, which stands in `place`."""
        self.compared += 1
        key, asked = _key(row), questions(row)
        for name in {key, *map(normalised, asked)} & self._names.keys():
            self._same_at |= dict.fromkeys(self._names.pop(name), place)
        near = [index for index in self._near.find(words_of(asked[-1])) if not (key and self._keys[index])]
        self._near.forget(near)
        self._near_at |= dict.fromkeys(near, place)

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
