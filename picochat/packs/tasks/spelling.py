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

A word is held out whole: what one spelling task asks in evaluation, no spelling task trains on.
"""

import hashlib
from collections.abc import Sequence
from typing import ClassVar

from picochat.packs.tasks.base import Draw, Family, Problem, Side, Task, side_of
from picochat.packs.tasks.wording import as_typed, families, new_families
from picochat.packs.words import common_words


def _named(asked: Sequence[Family]) -> list[Family]:
    """Each family with its word named in four ways."""
    ways = ("{word}", '"{word}"', "the word {word}", 'the word "{word}"')
    listed = [(family,) if isinstance(family, str) else family for family in asked]
    return [tuple(text.replace("{word}", way) for text in texts for way in ways) for texts in listed]


class _Spelling(Task):
    """What the tasks on whole words share. Values: words."""

    def __init__(self, words: Sequence[str] | None = None) -> None:
        self.words = tuple(words) if words is not None else common_words()

    def values(self, stage: str) -> Sequence[str]:
        return self.words

    def key(self, stage: str, value: str) -> str:
        return f"{stage}:{value}"

    def side(self, stage: str, value: str) -> Side:
        return side_of(f"word:{value}")

    def pose(self, stage: str, value: str, template: str, draw: Draw) -> Problem:
        answer, lines = self.work(value)
        steps = (f"{value}, {stage}", *lines)
        return Problem(as_typed(template.format(word=value), draw), answer, answer, steps, content=(value,))

    def fault(self, stage: str, value: str, problem: Problem) -> str | None:
        asked, *lines = problem.steps
        right = asked.split(", ") == [value, stage] and self.follows(value, lines, problem.answer)
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
    stages: ClassVar = {"count": 1.0}
    nouns = (
        *("the number of {letter} in {word}", 'the number of "{letter}" in {word}', "the count of {letter} in {word}"),
        *("the number of letters {letter} in {word}", "the number of times {letter} is in {word}"),
    )
    known = _named(
        families(
            nouns,
            (
                *("how often {letter} is in {word}", "how many times {letter} appears in {word}"),
                *('how often the letter "{letter}" is in {word}', "how many {letter} are in {word}"),
                *("how many {letter} there are in {word}", "how many times the letter {letter} is used in {word}"),
                *("how often the letter {letter} occurs in {word}", 'how many "{letter}" {word} has'),
            ),
            (
                *(
                    "How many times does the letter {letter} appear in {word}?",
                    'How many times is "{letter}" in {word}?',
                ),
                *("How often does the letter {letter} occur in {word}?", "How often is the letter {letter} in {word}?"),
                *("Count the letter {letter} in {word}.", 'Count the letter "{letter}" in {word}.'),
                *("How many {letter} are in {word}?", "In {word}, how many letters are {letter}?"),
                *("In {word}, count the letter {letter}.", "Please count how often {letter} is in {word}."),
                *("Please count the {letter} in {word}.", "Look at {word}. How often is {letter} in it?"),
                *("Look at {word}. How many {letter} does it have?", "How many times is {letter} used in {word}?"),
                *("How many of the letters of {word} are {letter}?", "Look for {letter} in {word} and count it."),
                *("How many {letter} does {word} have?", 'Can you count the "{letter}" in {word}?'),
                *("How often do you see {letter} in {word}?", "Does {word} have {letter}? How many?"),
            ),
        )
    )
    new = _named(
        new_families(
            nouns,
            ("the number of times that {letter} occurs in {word}",),
            ("how many letters {letter} {word} has", "how often you see {letter} in {word}"),
            (
                *(
                    "Look at {word}. How many of its letters are {letter}?",
                    "Look at {word} and count the letter {letter}.",
                ),
                *("How often does {word} have the letter {letter}?", "Count how many {letter} there are in {word}."),
            ),
        )
    )

    def __init__(self, words: Sequence[str] | None = None) -> None:
        self.words = tuple(words) if words is not None else common_words()

    def values(self, stage: str) -> Sequence[tuple[str, str]]:
        """For each word its repeated letters, one of the others, and for every third word a letter it lacks.

        Asking for every letter alike would make "1" the answer nearly always.
        """
        return [(word, letter) for word in self.words for letter in _letters_to_count(word)]

    def key(self, stage: str, value: tuple[str, str]) -> str:
        return f"count:{value[0]}/{value[1]}"

    def side(self, stage: str, value: tuple[str, str]) -> Side:
        return side_of(f"word:{value[0]}")

    def pose(self, stage: str, value: tuple[str, str], template: str, draw: Draw) -> Problem:
        word, letter = value
        seen, lines = 0, [f"{word}, {stage} {letter}"]
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
    nouns = (
        *("the first letter of {word}", "the first letter in {word}", "the letter at the start of {word}"),
        "the letter that {word} starts with",
    )
    known = _named(
        families(
            nouns,
            (
                *(
                    "which letter comes first in {word}",
                    "which letter {word} starts with",
                    "which letter is first in {word}",
                ),
                *("with which letter {word} starts", "what the first letter of {word} is", "how {word} begins"),
            ),
            (
                *(
                    "Which letter comes first in {word}?",
                    "Which letter is first in {word}?",
                    "Name the first letter of {word}.",
                ),
                *("Which letter does {word} start with?", "With which letter does {word} start?"),
                *("Which letter begins {word}?", "What letter does {word} start with?", "How does {word} start?"),
                *(
                    "{word}: which letter is first?",
                    "{word} starts with which letter?",
                    "Look at {word}. What comes first?",
                ),
                *("Look at {word}. Which letter is the first?", "Which letter stands at the start of {word}?"),
                *(
                    "Please name the letter that {word} starts with.",
                    "First letter of {word}?",
                    "Where does {word} start?",
                ),
            ),
        )
    )
    new = _named(
        new_families(
            nouns,
            ("the letter which is first in {word}",),
            ("what letter {word} begins with",),
            (
                *("With which letter does {word} begin?", "Which is the first letter of {word}?"),
                *("What letter stands first in {word}?", "Look at {word}. Which letter does it start with?"),
            ),
        )
    )

    def work(self, word: str) -> tuple[str, tuple[str, ...]]:
        return word[0], (" ".join(word),)

    def follows(self, word: str, lines: Sequence[str], answer: str) -> bool:
        letters = lines[0].split(" ")
        return len(lines) == 1 and "".join(letters) == word and answer == letters[0]


class Last(_Spelling):
    """The last letter."""

    category = "bench_spelling_last"
    stages: ClassVar = {"last": 1.0}
    nouns = (
        *("the last letter of {word}", "the last letter in {word}", "the letter at the end of {word}"),
        "the letter that {word} ends with",
    )
    known = _named(
        families(
            nouns,
            (
                *(
                    "which letter comes last in {word}",
                    "which letter {word} ends with",
                    "which letter is last in {word}",
                ),
                *("with which letter {word} ends", "what the last letter of {word} is", "how {word} ends"),
            ),
            (
                *(
                    "Which letter comes last in {word}?",
                    "Which letter is last in {word}?",
                    "Name the last letter of {word}.",
                ),
                *("Which letter does {word} end with?", "With which letter does {word} end?"),
                *("Which letter closes {word}?", "What letter does {word} end with?", "How does {word} end?"),
                *(
                    "{word}: which letter is last?",
                    "{word} ends with which letter?",
                    "Look at {word}. What comes last?",
                ),
                *("Look at {word}. Which letter is the last?", "Which letter stands at the end of {word}?"),
                *("Please name the letter that {word} ends with.", "Last letter of {word}?", "Where does {word} end?"),
            ),
        )
    )
    new = _named(
        new_families(
            nouns,
            ("the letter which is last in {word}",),
            ("what letter {word} finishes with",),
            (
                *("With which letter does {word} finish?", "Which is the last letter of {word}?"),
                *("What letter stands last in {word}?", "Look at {word}. Which letter does it end with?"),
            ),
        )
    )

    def work(self, word: str) -> tuple[str, tuple[str, ...]]:
        return word[-1], (" ".join(word),)

    def follows(self, word: str, lines: Sequence[str], answer: str) -> bool:
        letters = lines[0].split(" ")
        return len(lines) == 1 and "".join(letters) == word and answer == letters[-1]


class Spaced(_Spelling):
    """The word with a space after each letter."""

    category = "bench_spelling_spaced"
    stages: ClassVar = {"spaced": 1.0}
    nouns = (
        *("the letters of {word} with spaces", "all letters of {word}", "the letters of {word} one by one"),
        *("{word} with spaces between the letters", "{word} letter by letter", "the spelling of {word}"),
    )
    known = _named(
        families(
            nouns,
            ("how to spell {word}", "how {word} is spelled", "how you spell {word}", "which letters {word} has"),
            (
                *("Spell {word} with spaces between the letters.", "Spell {word} letter by letter.", "Spell {word}."),
                *("Write {word} with a space after each letter.", "Write {word} with spaces between its letters."),
                *("How do you spell {word}?", "Please spell {word}.", "Separate the letters of {word} with spaces."),
                *("Put spaces between the letters of {word}.", "Put a space after each letter of {word}."),
                *("List all letters of {word}.", "List the letters of {word} one by one.", "How is {word} spelled?"),
                *("Name the letters of {word} one by one.", "Name all letters of {word}.", "Can you spell {word}?"),
                *("Which letters does {word} have?", "Take {word} apart, letter by letter."),
            ),
        )
    )
    new = _named(
        new_families(
            nouns,
            ("the letters of {word} with a space after each",),
            ("how to spell {word} letter by letter",),
            (
                *("Put a space between all letters of {word}.", "List the letters of {word} with spaces."),
                *("Please name all letters of {word} one by one.", "Write all letters of {word} with spaces."),
            ),
        )
    )

    def work(self, word: str) -> tuple[str, tuple[str, ...]]:
        return " ".join(word), tuple(f"{n} {letter}" for n, letter in enumerate(word, start=1))

    def follows(self, word: str, lines: Sequence[str], answer: str) -> bool:
        right = _numbered(lines, range(1, len(word) + 1)) == word == answer[::2]
        return right and set(answer[1::2]) <= {" "}


class Reverse(_Spelling):
    """The word from its end to its beginning."""

    category = "bench_spelling_reverse"
    stages: ClassVar = {"reverse": 1.0}
    nouns = (
        *("{word} backwards", "{word} in reverse", "the letters of {word} from last to first", "the reverse of {word}"),
        *("{word} spelled backwards", "{word} from its end to its start"),
    )
    known = _named(
        families(
            nouns,
            ("how to spell {word} backwards", "what {word} is backwards", "how {word} is spelled in reverse"),
            (
                *(
                    "Spell {word} backwards.",
                    "Please spell {word} backwards.",
                    "Reverse {word}.",
                    "Please reverse {word}.",
                ),
                *("Write {word} backwards.", "Reverse the letters of {word}.", "How do you spell {word} backwards?"),
                *("Spell {word} from its end to its start.", "Write {word} from the end to the start."),
                *("Write the letters of {word} from last to first.", "Name the letters of {word} from last to first."),
                *("Spell {word} in reverse.", "What does {word} become backwards?", "Turn {word} around."),
                *(
                    "Turn the letters of {word} around.",
                    "What is {word} when it is reversed?",
                    "Can you reverse {word}?",
                ),
                *("What does {word} look like backwards?", "Start at the end of {word} and spell it."),
            ),
        )
    )
    new = _named(
        new_families(
            nouns,
            ("the letters of {word} in reverse",),
            ("what {word} is in reverse",),
            (
                *("Write {word} from its last letter to its first.", "What does {word} become in reverse?"),
                *("Spell {word} from the last letter to the first.", "Can you spell {word} backwards?"),
            ),
        )
    )

    def work(self, word: str) -> tuple[str, tuple[str, ...]]:
        forth = tuple(f"{n} {letter}" for n, letter in enumerate(word, start=1))
        return word[::-1], (*forth, *reversed(forth))

    def follows(self, word: str, lines: Sequence[str], answer: str) -> bool:
        n, backwards = len(word), "".join(reversed(word))
        return _numbered(lines, [*range(1, n + 1), *range(n, 0, -1)]) == word + backwards and answer == backwards


def _numbered(lines: Sequence[str], numbers: Sequence[int]) -> str | None:
    """The letters of lines "1 c", "2 a", … if they carry these numbers, else None."""
    pairs = [line.split(" ") for line in lines]
    return "".join(letter for _, letter in pairs) if [n for n, _ in pairs] == [str(n) for n in numbers] else None


def _letters_to_count(word: str) -> list[str]:
    present = sorted(set(word))
    repeated = [letter for letter in present if word.count(letter) > 1]
    once = [letter for letter in present if word.count(letter) == 1]
    absent = [letter for letter in "abcdefghijklmnopqrstuvwxyz" if letter not in word]
    number = int.from_bytes(hashlib.sha256(word.encode()).digest()[:4], "big")
    chosen = repeated + ([once[number % len(once)]] if once else [])
    return chosen + ([absent[number % len(absent)]] if absent and number % 3 == 0 else [])
