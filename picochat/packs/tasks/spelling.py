"""Spelling letter by letter. In: common words. Out: counts, first, last, spaced, reversed. Next: packs.mixture.

The scratchpad first says in one line what was asked (the same few words for every way of asking), then walks the word;
each further line is one letter with what is known of it so far:

    count e in "sheep"   first of "ship"         spaced "cat"           reversed "cat"
    sheep, count e       ship, first             cat, spaced            cat, reverse
    s=e no 0             s h i p                 1 c                    1 c
    h=e no 0             Final answer: s         2 a                    2 a
    e=e yes 1                                    3 t                    3 t
    e=e yes 2                                    Final answer: c a t    3 t
    p=e no 2                                                            2 a
    Final answer: 2                                                     1 c
                                                                        Final answer: tac

Without that first line the letters have to be found in a question that can end in any way; with it they are copied
from one place (docs/experiments.md: reversed words 43 → 86 %).
A line of a count names the letter that is looked for beside the one at hand: without it ("e 1") small models write the
letters and never learn to compare them with the question.

A word is held out whole: what one spelling task asks in evaluation, no spelling task trains on. Beside words, nonwords
("wmozeh") are practised on: they hold all pairs of letters alike, where words hardly ever compare a b with an f.
"""

import functools
from collections.abc import Sequence
from string import ascii_lowercase
from typing import ClassVar

from picochat.packs.quotas import Side, split_hash, split_of
from picochat.packs.tasks.base import Draw, Problem, Task
from picochat.packs.tasks.spelling_wordings import COUNT, FIRST, LAST, REVERSE, SPACED
from picochat.packs.tasks.wording import as_typed
from picochat.packs.words import common_words


class _Spelling(Task):
    """What the tasks on whole words share. Values: words."""

    slips = True

    def __init__(self, words: Sequence[str] | None = None) -> None:
        self.words = tuple(words) if words is not None else common_words()

    def values(self, stage: str) -> Sequence[str]:
        return nonwords(self.words) if stage in self.practice else self.words

    def key(self, stage: str, value: str) -> str:
        return f"{stage}:{value}"

    def side(self, stage: str, value: str) -> Side:
        return "train" if stage in self.practice else split_of(f"word:{value}")

    def pose(self, stage: str, value: str, template: str, draw: Draw) -> Problem:
        answer, lines = self.work(value)
        steps = (f"{value}, {_asked(stage)}", *lines)
        return Problem(as_typed(template.format(word=value), draw), answer, answer, steps, content=(value,))

    def fault(self, stage: str, value: str, problem: Problem) -> str | None:
        asked, *lines = problem.steps
        right = asked.split(", ") == [value, _asked(stage)] and self.follows(value, lines, problem.answer)
        return None if right else f"{value}: '{problem.answer}' or the lines before it are wrong"

    def work(self, word: str) -> tuple[str, tuple[str, ...]]:
        """The answer and the lines that lead to it."""
        raise NotImplementedError

    def follows(self, word: str, lines: Sequence[str], answer: str) -> bool:
        """Whether lines and answer are right, found without ``work``."""
        raise NotImplementedError


class Count(Task):
    """How often a letter occurs. Values: (word, letter)."""

    category = "bench_spelling_count"
    stages: ClassVar = {"count": 0.75, "count_nonwords": 0.25}
    practice: ClassVar = frozenset({"count_nonwords"})
    slips = True
    known, new = COUNT.known, COUNT.new

    def __init__(self, words: Sequence[str] | None = None) -> None:
        self.words = tuple(words) if words is not None else common_words()

    def values(self, stage: str) -> Sequence[tuple[str, str]]:
        """For each word its repeated letters, one of the others, and for every third word a letter it lacks.

        Asking for every letter alike would make "1" the answer nearly always. Of a nonword one letter is asked.
        """
        if stage in self.practice:
            draw = Draw(0, "letters of nonwords")
            return [(text, draw.pick(text if draw.chance(2 / 3) else ascii_lowercase)) for text in nonwords(self.words)]
        return [(word, letter) for word in self.words for letter in _letters_to_count(word)]

    def key(self, stage: str, value: tuple[str, str]) -> str:
        return f"count:{value[0]}/{value[1]}"

    def side(self, stage: str, value: tuple[str, str]) -> Side:
        return "train" if stage in self.practice else split_of(f"word:{value[0]}")

    def pose(self, stage: str, value: tuple[str, str], template: str, draw: Draw) -> Problem:
        word, letter = value
        seen, lines = 0, [f"{word}, {_asked(stage)} {letter}"]
        for character in word:
            seen += character == letter
            lines.append(f"{character}={letter} {'yes' if character == letter else 'no'} {seen}")
        prompt = as_typed(template.format(word=word, letter=letter), draw)
        return Problem(prompt, str(seen), str(seen), tuple(lines), content=(word, letter))

    def fault(self, stage: str, value: tuple[str, str], problem: Problem) -> str | None:
        word, letter = value
        asked, *lines = problem.steps
        fields = [line.replace("=", " ").split(" ") for line in lines]
        expected = [
            [at_hand, letter, "yes" if at_hand == letter else "no", str(word[: n + 1].count(letter))]
            for n, at_hand in enumerate(word)
        ]
        right = asked.split(", ") == [word, f"count {letter}"] and fields == expected
        right = right and problem.answer == str(word.count(letter))
        return None if right else f"counting {letter} in {word} went wrong"


class First(_Spelling):
    """The first letter."""

    category = "bench_spelling_first"
    stages: ClassVar = {"first": 1.0}
    known, new = FIRST.known, FIRST.new

    def work(self, word: str) -> tuple[str, tuple[str, ...]]:
        return word[0], (" ".join(word),)

    def follows(self, word: str, lines: Sequence[str], answer: str) -> bool:
        letters = lines[0].split(" ")
        return len(lines) == 1 and "".join(letters) == word and answer == letters[0]


class Last(_Spelling):
    """The last letter."""

    category = "bench_spelling_last"
    stages: ClassVar = {"last": 1.0}
    known, new = LAST.known, LAST.new

    def work(self, word: str) -> tuple[str, tuple[str, ...]]:
        return word[-1], (" ".join(word),)

    def follows(self, word: str, lines: Sequence[str], answer: str) -> bool:
        letters = lines[0].split(" ")
        return len(lines) == 1 and "".join(letters) == word and answer == letters[-1]


class Spaced(_Spelling):
    """The word with a space after each letter."""

    category = "bench_spelling_spaced"
    stages: ClassVar = {"spaced": 0.75, "spaced_nonwords": 0.25}
    practice: ClassVar = frozenset({"spaced_nonwords"})
    known, new = SPACED.known, SPACED.new

    def work(self, word: str) -> tuple[str, tuple[str, ...]]:
        return " ".join(word), tuple(f"{n} {letter}" for n, letter in enumerate(word, start=1))

    def follows(self, word: str, lines: Sequence[str], answer: str) -> bool:
        right = _numbered(lines, range(1, len(word) + 1)) == word == answer[::2]
        return right and set(answer[1::2]) <= {" "}


class Reverse(_Spelling):
    """The word from its end to its beginning."""

    category = "bench_spelling_reverse"
    stages: ClassVar = {"reverse": 0.75, "reverse_nonwords": 0.25}
    practice: ClassVar = frozenset({"reverse_nonwords"})
    known, new = REVERSE.known, REVERSE.new

    def work(self, word: str) -> tuple[str, tuple[str, ...]]:
        forth = tuple(f"{n} {letter}" for n, letter in enumerate(word, start=1))
        return word[::-1], (*forth, *reversed(forth))

    def follows(self, word: str, lines: Sequence[str], answer: str) -> bool:
        n, backwards = len(word), "".join(reversed(word))
        return _numbered(lines, [*range(1, n + 1), *range(n, 0, -1)]) == word + backwards and answer == backwards


def _asked(stage: str) -> str:
    """The verb of the scratchpad's first line: "reverse" in the stages reverse and reverse_nonwords."""
    return stage.partition("_")[0]


@functools.cache
def nonwords(words: tuple[str, ...]) -> tuple[str, ...]:
    """About 6,000 strings of 5 to 9 random letters, the same on every machine; none of them is one of the words."""
    draw, known = Draw(0, "nonwords"), set(words)
    texts = ("".join(draw.pick(ascii_lowercase) for _ in range(5 + draw.below(5))) for _ in range(6000))
    return tuple(dict.fromkeys(text for text in texts if text not in known))


def _numbered(lines: Sequence[str], numbers: Sequence[int]) -> str | None:
    """The letters of lines "1 c", "2 a", … if they carry these numbers, else None."""
    pairs = [line.split(" ") for line in lines]
    return "".join(letter for _, letter in pairs) if [n for n, _ in pairs] == [str(n) for n in numbers] else None


def _letters_to_count(word: str) -> list[str]:
    present = sorted(set(word))
    repeated = [letter for letter in present if word.count(letter) > 1]
    once = [letter for letter in present if word.count(letter) == 1]
    absent = [letter for letter in ascii_lowercase if letter not in word]
    number = split_hash(word)
    chosen = repeated + ([once[number % len(once)]] if once else [])
    return chosen + ([absent[number % len(absent)]] if absent and number % 3 == 0 else [])
