"""Was an eval row met in training? In: entries of both sides, a corpus. Out: counts. Next: packs.pack_report,
datamodules, evidence.

Five questions, from plain to subtle:

    keys         the same problem on both sides
    prompts      the same question, word for word
    8-grams      eight words in a row of an eval question and its answer, in a training row
    near copies  questions whose 3-word shingles overlap by 80 % (Jaccard)
    corpus       the same 8-grams in the base corpus

Rows made from templates share long runs of words by design ("how many times does the letter"). Such a run counts only
if it holds what makes the problem this problem: both operands, the word to be spelled. Rows from elsewhere have no
template: there every run counts. So a clean pack is ``ready``, and one real leak makes it ``blocked``; but a question
that is shorter than eight words with its answer ("Spell wig backwards.") is not looked for in the corpus.

Files of rows that were not made together are compared by `Overlap`: the same `key`, or the same question if only
somewhere in a conversation; and nearly the same, unless both rows have a key, which says that these are two problems.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from picochat.files import sha256_file
from picochat.packs.formats import Reading, Tally, iter_rows
from picochat.packs.near import NEAR, Gram, NearIndex, holds, ngrams, words_of
from picochat.packs.pack_report import in_one_pack
from picochat.packs.rows import ASKED, Row, normalised, questions
from picochat.strict_json import read_json_object

N = 8  # words in a row
_EXAMPLES = 5


class Entry(NamedTuple):
    """One row, as contamination sees it."""

    key: str
    prompt: str
    reply: str
    """In training the whole reply, in evaluation the short answer (the steps are the method, not the problem)."""
    content: tuple[str, ...] | None = None
    """The words that a shared run must hold to count; None: every run counts."""
    taught: bool = False
    """A fact that the training rows are meant to teach, asked in other words: looked at for keys and prompts alone."""
    boilerplate: bool = False
    """A row of somebody's file, whose questions may all begin with the same words: runs count in the corpus alone."""


@dataclass(frozen=True)
class Contamination:
    """Numbers of eval rows that were met on the other side, with a few examples in words."""

    eval_rows: int
    train_rows: int
    shared_keys: int
    shared_prompts: int
    train_ngrams: int
    near_duplicates: int
    corpus_ngrams: int | None
    """None: the corpus was not looked at; ``corpus`` says why."""
    corpus: str
    examples: tuple[str, ...]

    @property
    def status(self) -> str:
        """``ready`` when nothing was met, ``blocked`` otherwise."""
        met = (self.shared_keys, self.shared_prompts, self.train_ngrams, self.near_duplicates, self.corpus_ngrams)
        return "blocked" if any(met) else "ready"

    def as_dict(self) -> dict[str, Any]:
        """For the report's JSON."""
        return {"status": self.status, **asdict(self), "ngram_words": N, "near_duplicate_jaccard": NEAR}


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
    return Contamination(
        eval_rows=len(evaluation),
        train_rows=len(train),
        shared_keys=sum(entry.key in keys for entry in evaluation),
        shared_prompts=sum(normalised(entry.prompt) in prompts for entry in evaluation),
        train_ngrams=len(in_runs),
        near_duplicates=len(in_near),
        corpus_ngrams=None if corpus is None else len(in_corpus),
        corpus=corpus_note,
        examples=tuple(examples[:_EXAMPLES]),
    )


class Screen:
    """What must not appear in training text: the eval rows, indexed once, asked per text.

    The eval side is indexed because it is the smaller one; a training row or a document then costs a few set look-ups.
    """

    def __init__(self, entries: Sequence[Entry]) -> None:
        contents = [Counter(words_of(" ".join(entry.content or ()))) for entry in entries]
        asked = [words_of(entry.prompt) for entry in entries]
        self._prompts = {normalised(entry.prompt) for entry in entries}
        self.questions = NearIndex(
            [None if e.taught else words for e, words in zip(entries, asked, strict=True)], contents
        )
        self._grams: dict[Gram, list[int]] = defaultdict(list)
        for row, entry in enumerate(entries):
            for gram in () if entry.taught else ngrams(asked[row] + words_of(entry.reply), N):
                if holds(gram, contents[row]):
                    self._grams[gram].append(row)
        words = Counter(word for gram in self._grams for word in gram)
        self._rare_words = {min(gram, key=lambda word: (words[word], word)) for gram in self._grams}

    def asks(self, questions: Sequence[str]) -> bool:
        """Whether some eval row asks one of these, or nearly asks the last."""
        same = any(normalised(question) in self._prompts for question in questions)
        return same or self.questions.any(words_of(questions[-1]))

    def met(self, prompt: str, reply: str) -> tuple[set[int], set[int]]:
        """Eval rows that share a run of eight words with prompt and reply; those whose question is near the prompt."""
        asked = words_of(prompt)
        return self.runs(asked + words_of(reply)), self.questions.near(asked)

    def runs(self, words: list[str]) -> set[int]:
        """Eval rows that share a run of eight words with a text."""
        if self._rare_words.isdisjoint(words):
            return set()  # each run has a rare word; most texts hold none of those
        return {row for gram in self._grams.keys() & ngrams(words, N) for row in self._grams[gram]}


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


def met_in_training(pack: str | Path, rows: Sequence[Row], provenance: Mapping[str, Any]) -> tuple[str, list[str]]:
    """(The line that says which rows were met in training, "" where none; training files that are gone or changed).

    `provenance` is a model's picochat.json; the parent that it names has one of its own, and so on:

        {"trained_on": [{"path": "rows.jsonl", "sha256": "…", "reading": {…}}], "parent": "runs/base/best"}
    """
    overlap, gone = Overlap(pack, enumerate(rows, start=1)), []
    for path, sha256, reading in _files(provenance):
        if in_one_pack(pack, [sha256]):
            continue
        if not path.is_file() or sha256_file(path) != sha256:
            gone.append(str(path))
            continue
        for line, row in iter_rows(path, "chat", Tally(reading)):
            overlap.meet(f"{path}:{line}", row)
    return overlap.said(), gone


def _files(provenance: Mapping[str, Any]) -> list[tuple[Path, str, Reading]]:
    """The files that a model and its parents were trained on; a provenance of another form names none."""
    found: dict[str, tuple[Path, str, Reading]] = {}
    folders: set[str] = set()
    try:
        while True:
            for one in provenance.get("trained_on", []):
                found[one["sha256"]] = Path(one["path"]), str(one["sha256"]), Reading(**one["reading"])
            folder = provenance.get("parent")
            file = Path(folder or "", "picochat.json")
            if not folder or folder in folders or not file.is_file():
                break
            folders.add(folder)
            provenance = read_json_object(file)
    except (KeyError, TypeError, AttributeError):
        pass
    return list(found.values())
