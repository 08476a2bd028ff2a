"""Was an eval row met in training? In: entries of both sides, a corpus. Out: counts. Next: packs.pack_report.

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
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import ceil
from typing import Any, NamedTuple

N = 8  # words in a row
SHINGLE = 3  # words
NEAR = 0.8  # Jaccard similarity of the shingles
_EXAMPLES = 5
_WORD = re.compile(r"\w+|[-+=×/]")  # the sign is part of a problem: 45 + 10 is not 45 - 10

Gram = tuple[str, ...]


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
    keys, prompts = {entry.key for entry in train}, {_plain(entry.prompt) for entry in train}
    in_runs: set[int] = set()
    in_near: set[int] = set()
    examples: list[str] = []
    for entry in train:
        runs, near = screen.met(entry.prompt, entry.reply)
        for row in sorted((runs - in_runs) | (near - in_near))[: _EXAMPLES - len(examples)]:
            examples.append(f"eval '{evaluation[row].prompt}' against training '{entry.prompt}'")
        in_runs |= runs
        in_near |= near
    in_corpus = set().union(*map(screen.runs, corpus or ()))
    examples += [f"eval '{evaluation[row].prompt}' against the corpus" for row in sorted(in_corpus)]
    return Contamination(
        eval_rows=len(evaluation),
        train_rows=len(train),
        shared_keys=sum(entry.key in keys for entry in evaluation),
        shared_prompts=sum(_plain(entry.prompt) in prompts for entry in evaluation),
        train_ngrams=len(in_runs),
        near_duplicates=len(in_near),
        corpus_ngrams=None if corpus is None else len(in_corpus),
        corpus=corpus_note,
        examples=tuple(examples[:_EXAMPLES]),
    )


class Screen:
    """What must not appear in training text: the eval rows, indexed once, asked per text.

    The eval side is indexed because it is the smaller one; a training row or a document then costs a few set look-ups.

    Near copies are found without comparing all pairs (prefix filtering, as in Bayardo et al. 2007, "All pairs"). Two
    sets of n and m shingles with Jaccard >= t share at least t·n and t·m of them. Sort both sets by how rare their
    shingles are in evaluation; then they share one among the first n - ⌈t·n⌉ + 1 of the one and the first m - ⌈t·m⌉ + 1
    of the other. Only those are indexed, and only those are looked up. The rare ones hold the operands or the word, so
    the lists behind them are short; and a question with other operands begins with shingles that evaluation never has.
    """

    def __init__(self, entries: Sequence[Entry]) -> None:
        self._content = [Counter(words_of(" ".join(entry.content or ()))) for entry in entries]
        self._grams: dict[Gram, list[int]] = defaultdict(list)
        self._sets: list[frozenset[Gram]] = []
        for row, entry in enumerate(entries):
            asked = words_of(entry.prompt)
            self._sets.append(frozenset() if entry.taught else _shingles(asked))
            for gram in () if entry.taught else _ngrams(asked + words_of(entry.reply), N):
                if _holds(gram, self._content[row]):
                    self._grams[gram].append(row)
        words = Counter(word for gram in self._grams for word in gram)
        self._rare_words = {min(gram, key=lambda word: (words[word], word)) for gram in self._grams}
        spread = Counter(word for content in self._content for word in content)
        self._mark = [min(content, key=lambda word: (spread[word], word), default=None) for content in self._content]
        self._frequency = Counter(shingle for shingles in self._sets for shingle in shingles)
        self._rare: dict[Gram, list[int]] = defaultdict(list)
        for row, shingles in enumerate(self._sets):
            for shingle in self._first(shingles, _prefix(len(shingles))):
                self._rare[shingle].append(row)

    def met(self, prompt: str, reply: str) -> tuple[set[int], set[int]]:
        """Eval rows that share a run of eight words with prompt and reply; those whose question is near the prompt."""
        asked = words_of(prompt)
        return self._runs(asked + words_of(reply)), self._near(asked)

    def runs(self, text: str) -> set[int]:
        """Eval rows that share a run of eight words with the text."""
        return self._runs(words_of(text))

    def _runs(self, words: list[str]) -> set[int]:
        if self._rare_words.isdisjoint(words):
            return set()  # each run has a rare word; most texts hold none of those
        return {row for gram in self._grams.keys() & _ngrams(words, N) for row in self._grams[gram]}

    def _near(self, words: list[str]) -> set[int]:
        shingles = _shingles(words)
        if self._rare.keys().isdisjoint(shingles):
            return set()  # most questions end here
        known = self._frequency.keys() & shingles
        looked_up = _prefix(len(shingles)) - (len(shingles) - len(known))  # unknown ones are the rarest
        present = {*words, None}
        mark = self._mark  # the rarest word of a row's content: one look-up spares most rows the comparison of sets
        rows = {row for shingle in self._first(known, max(looked_up, 0)) for row in self._rare.get(shingle, ())}
        return {
            row
            for row in rows
            if mark[row] in present
            and (shared := len(shingles & self._sets[row])) >= NEAR * (len(shingles) + len(self._sets[row]) - shared)
            and _holds(words, self._content[row])
        }

    def _first(self, shingles: Iterable[Gram], number: int) -> list[Gram]:
        frequency = self._frequency
        return sorted(shingles, key=lambda shingle: (frequency[shingle], shingle))[:number]


def _prefix(size: int) -> int:
    return size - ceil(NEAR * size - 1e-9) + 1  # (0.8 * 35 must not become 28.000000000000004, hence 29)


def _holds(words: Sequence[str], content: Mapping[str, int]) -> bool:
    """Whether all of the content is there, and as often: 8 x 8 needs both of them."""
    return all(words.count(word) >= times for word, times in content.items())


def words_of(text: str) -> list[str]:
    """Words in lower case, and signs of arithmetic."""
    return _WORD.findall(text.lower())


def _plain(prompt: str) -> str:
    return " ".join(prompt.lower().split())


def _ngrams(words: list[str], n: int) -> Iterable[Gram]:
    return zip(*[words[start:] for start in range(n)], strict=False)


def _shingles(words: list[str]) -> frozenset[Gram]:
    return frozenset(_ngrams(words, SHINGLE)) if len(words) >= SHINGLE else frozenset((tuple(words),))
