"""Spelling letter by letter. In: common words. Out: counts, first, last, spaced, reversed. Next: packs.mixture.

The scratchpad first says in one line what was asked (the same few words for every way of asking), then walks the word;
each further line is one letter with what is known of it so far:

    count e in "sheep"   first of "ship"   spaced "cat"   reversed "cat"
    sheep, count e       ship, first       cat, spaced    cat, reverse
    s=e no 0             s h i p           1 c            1 c
    h=e no 0                               2 a            2 a
    e=e yes 1                              3 t            3 t
    e=e yes 2                                             3 t
    p=e no 2                                              2 a
                                                          1 c

Without the first line the letters have to be found in a question that can end in any way (docs/experiments.md: reversed
words 43 → 86 %); a count that does not name the letter ("e 1") is never learnt by small models. A word is held out
with the word that it is backwards ("pin" and "nip"). Nonwords ("wmozeh"), for training, hold all pairs of letters.
"""

import functools
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from string import ascii_lowercase
from typing import Any, ClassVar

from picochat.packs.content import common_words
from picochat.packs.quotas import split_hash
from picochat.packs.tasks.base import Draw, Family, Phrasing, Problem, Task
from picochat.packs.tasks.wording import with_filler, word_families


class _Spelling(Task):
    """What the tasks share. Values: words, or tuples (word, letter) of a letter to count."""

    typos = True
    skill: ClassVar[str]
    """Names the phrases, and is part of the scratchpad's first line."""

    def __init__(self, words: Sequence[str] | None = None) -> None:
        self.words = tuple(words) if words is not None else common_words()
        self._known = frozenset(self.words).union(common_words())

    @abstractmethod
    def work(self, word: str, letter: str) -> tuple[str, Iterable[str]]:
        """The answer and the lines that lead to it."""

    @abstractmethod
    def read(self, word: str, letter: str) -> tuple[str, Sequence[Sequence[str]]]:
        """The answer and the parts of each line, found without ``work``."""

    def values(self, stage: str) -> Sequence[Any]:
        return nonwords(self.words) if stage in self.train_only else self.words

    def key(self, stage: str, value: Any) -> str:
        return f"{stage}:{value}"

    def unit(self, stage: str, value: Any) -> str:
        word = _parts(value)[0]
        return f"word:{min(word, word[::-1]) if word[::-1] in self._known else word}"

    def phrasings(self, stage: str, value: Any, phrasing: Phrasing) -> Sequence[Family]:
        return word_families(self.skill, phrasing)

    def pose(self, stage: str, value: Any, template: str, draw: Draw) -> Problem:
        word, letter = _parts(value)
        answer, lines = self.work(word, letter)
        asked = f"{word}, {self.skill} {letter}".rstrip()
        prompt = with_filler(template.format(word=word, letter=letter), draw)
        return Problem(prompt, answer, answer, (asked, *lines), content=(word, letter) if letter else (word,))

    def fault(self, stage: str, value: Any, problem: Problem) -> str | None:
        word, letter = _parts(value)
        answer, parts = self.read(word, letter)
        lines = [line.replace("=", " ").split(" ") for line in problem.steps]
        right = lines == [[f"{word},", self.skill, *letter], *map(list, parts)] and problem.answer == answer
        return None if right else f"{value}: '{problem.answer}' or the lines before it are wrong"


class Count(_Spelling):
    """How often a letter occurs. Values: (word, letter)."""

    category = "bench_spelling_count"
    stages: ClassVar = {"count": 0.75, "count_nonwords": 0.25}
    train_only: ClassVar = frozenset({"count_nonwords"})
    skill = "count"

    def values(self, stage: str) -> Sequence[tuple[str, str]]:
        """Not every letter of a word, or "1" would be the answer nearly always; of a nonword one letter."""
        if stage in self.train_only:
            draw = Draw(0, "letters of nonwords")
            return [(text, draw.pick(text if draw.chance(2 / 3) else ascii_lowercase)) for text in nonwords(self.words)]
        return [(word, letter) for word in self.words for letter in _letters_to_count(word)]

    def key(self, stage: str, value: Any) -> str:
        return f"count:{value[0]}/{value[1]}"

    def work(self, word: str, letter: str) -> tuple[str, Iterable[str]]:
        seen, lines = 0, []
        for character in word:
            seen += character == letter
            lines.append(f"{character}={letter} {'yes' if character == letter else 'no'} {seen}")
        return str(seen), lines

    def read(self, word: str, letter: str) -> tuple[str, Sequence[Sequence[str]]]:
        said = {True: "yes", False: "no"}
        lines = [(one, letter, said[one == letter], str(word[: n + 1].count(letter))) for n, one in enumerate(word)]
        return str(word.count(letter)), lines


class First(_Spelling):
    """The first letter."""

    category = "bench_spelling_first"
    stages: ClassVar = {"first": 1.0}
    skill = "first"
    place = 0

    def work(self, word: str, letter: str) -> tuple[str, Iterable[str]]:
        return word[self.place], [" ".join(word)]

    def read(self, word: str, letter: str) -> tuple[str, Sequence[Sequence[str]]]:
        return list(word)[self.place], [word]


class Last(First):
    """The last letter."""

    category = "bench_spelling_last"
    stages: ClassVar = {"last": 1.0}
    skill = "last"
    place = -1


class Spaced(_Spelling):
    """The word with a space after each letter."""

    category = "bench_spelling_spaced"
    stages: ClassVar = {"spaced": 0.75, "spaced_nonwords": 0.25}
    train_only: ClassVar = frozenset({"spaced_nonwords"})
    skill = "spaced"

    def work(self, word: str, letter: str) -> tuple[str, Iterable[str]]:
        return " ".join(word), _numbered(word)

    def read(self, word: str, letter: str) -> tuple[str, Sequence[Sequence[str]]]:
        return word.replace("", " ").strip(), [(str(n + 1), word[n]) for n in range(len(word))]


class Reverse(_Spelling):
    """The word from its end to its beginning."""

    category = "bench_spelling_reverse"
    stages: ClassVar = {"reverse": 0.75, "reverse_nonwords": 0.25}
    train_only: ClassVar = frozenset({"reverse_nonwords"})
    skill = "reverse"

    def work(self, word: str, letter: str) -> tuple[str, Iterable[str]]:
        forth = _numbered(word)
        return word[::-1], [*forth, *reversed(forth)]

    def read(self, word: str, letter: str) -> tuple[str, Sequence[Sequence[str]]]:
        there = range(len(word))
        return "".join(reversed(word)), [(str(n + 1), word[n]) for n in (*there, *reversed(there))]


def _parts(value: str | tuple[str, str]) -> tuple[str, str]:
    """The word, and the letter to count in it."""
    return (value, "") if isinstance(value, str) else value


def _numbered(word: str) -> list[str]:
    return [f"{n} {letter}" for n, letter in enumerate(word, start=1)]


@functools.cache
def nonwords(words: tuple[str, ...]) -> tuple[str, ...]:
    """About 6,000 strings of 5 to 9 random letters, the same on every machine; none of them is one of the words."""
    draw, known = Draw(0, "nonwords"), set(words)
    texts = ("".join(draw.pick(ascii_lowercase) for _ in range(5 + draw.below(5))) for _ in range(6000))
    return tuple(dict.fromkeys(text for text in texts if text not in known))


def _letters_to_count(word: str) -> list[str]:
    """The repeated letters, one of the others, and of every third word a letter it lacks."""
    present, number = sorted(set(word)), split_hash(word)
    repeated = [letter for letter in present if word.count(letter) > 1]
    once = [letter for letter in present if word.count(letter) == 1]
    absent = [letter for letter in ascii_lowercase if letter not in word]
    chosen = repeated + ([once[number % len(once)]] if once else [])
    return chosen + ([absent[number % len(absent)]] if absent and number % 3 == 0 else [])
