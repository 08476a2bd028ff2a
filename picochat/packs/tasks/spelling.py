"""Spelling letter by letter. In: common words. Out: counts, first, last, spaced, reversed. Next: packs.mixture.

The scratchpad walks the word; each line is one letter with what is known of it so far:

    count e in "sheep"   first of "ship"         spaced "cat"           reversed "cat"
    s=e no 0             s h i p                 1 c                    1 c
    h=e no 0             Final answer: s         2 a                    2 a
    e=e yes 1                                    3 t                    3 t
    e=e yes 2                                    Final answer: c a t    3 t
    p=e no 2                                                            2 a
    Final answer: 2                                                     1 c
                                                                        Final answer: tac

A line of a count names the letter that is looked for beside the one at hand: without it ("e 1") small models write the
letters and never learn to compare them with the question.

A word is held out whole: what one spelling task asks in evaluation, no spelling task trains on.
"""

import hashlib
from collections.abc import Sequence
from typing import ClassVar

from picochat.packs.tasks.base import Draw, Problem, Side, Task, side_of
from picochat.packs.words import common_words


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
        answer, steps = self.work(value)
        return Problem(template.format(word=value), answer, answer, steps, content=(value,))

    def work(self, word: str) -> tuple[str, tuple[str, ...]]:
        """The answer and the lines that lead to it."""
        raise NotImplementedError


class Count(Task):
    """How often a letter occurs. Values: (word, letter)."""

    category = "bench_spelling_count"
    stages: ClassVar = {"count": 1.0}
    known = (
        ("How many times does the letter {letter} appear in {word}?", 'How many times is "{letter}" in "{word}"?'),
        ("How often does the letter {letter} occur in {word}?", "How often is the letter {letter} in {word}?"),
        ("Count the letter {letter} in {word}.", 'Count the letter "{letter}" in "{word}".'),
        ("How many {letter} are in the word {word}?", 'How many {letter} are in the word "{word}"?'),
        ("In the word {word}, how many letters are {letter}?", "In the word {word}, count the letter {letter}."),
        ("Please count how often {letter} is in {word}.", "Please count the {letter} in the word {word}."),
        ("Look at {word}. How often is {letter} in it?", 'Look at "{word}". How many {letter} does it have?'),
        ("Tell me how often {letter} is in {word}.", 'Tell me how many "{letter}" are in "{word}".'),
        ("How many times is {letter} used in {word}?", "How many of the letters of {word} are {letter}?"),
        ("What is the number of {letter} in {word}?", "Give the number of letters {letter} in the word {word}."),
        ("Find out how many times {letter} appears in {word}.", "Look for {letter} in {word} and count it."),
    )
    new = (
        ("Look at {word}. How many of its letters are {letter}?", "Look at {word} and count the letter {letter}."),
        ("Tell me how many times {letter} is used in {word}.", 'Tell me the number of "{letter}" in "{word}".'),
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
        seen, lines = 0, []
        for character in word:
            seen += character == letter
            lines.append(f"{character}={letter} {'yes' if character == letter else 'no'} {seen}")
        prompt = template.format(word=word, letter=letter)
        return Problem(prompt, str(seen), str(seen), tuple(lines), content=(word, letter))

    def fault(self, stage: str, value: tuple[str, str], problem: Problem) -> str | None:
        word, letter = value
        fields = [line.replace("=", " ").split(" ") for line in problem.steps]
        expected = [
            [at_hand, letter, "yes" if at_hand == letter else "no", str(word[: n + 1].count(letter))]
            for n, at_hand in enumerate(word)
        ]
        right = fields == expected and problem.answer == str(word.count(letter))
        return None if right else f"counting {letter} in {word} went wrong"


class First(_Spelling):
    """The first letter."""

    category = "bench_spelling_first"
    stages: ClassVar = {"first": 1.0}
    known = (
        ("What is the first letter of {word}?", 'What is the first letter of "{word}"?'),
        ("What is the first letter of the word {word}?", "What is the first letter in {word}?"),
        (
            "Which letter comes first in {word}?",
            'Which letter comes first in "{word}"?',
            "Which letter is first in {word}?",
        ),
        ("Name the first letter of {word}.", "Please name the first letter of {word}."),
        ("The word {word} starts with which letter?", "Which letter does {word} start with?"),
        ("With which letter does {word} start?", 'With which letter does "{word}" start?'),
        ("Tell me which letter is first in {word}.", "Tell me the first letter in {word}."),
        ("Give me the first letter of the word {word}.", 'Give the first letter of "{word}".'),
        ("Say the first letter of {word}.", "Find the first letter of {word}.", "Show the first letter of {word}."),
        ("Which letter begins the word {word}?", "What letter does the word {word} start with?"),
    )
    new = (
        ("With which letter does {word} begin?", 'With which letter does "{word}" begin?'),
        ("Tell me the first letter of {word}.", "Give the first letter of {word}."),
    )

    def work(self, word: str) -> tuple[str, tuple[str, ...]]:
        return word[0], (" ".join(word),)

    def fault(self, stage: str, value: str, problem: Problem) -> str | None:
        letters = problem.steps[0].split(" ")
        return None if "".join(letters) == value and problem.answer == letters[0] else f"{value} was misspelled"


class Last(_Spelling):
    """The last letter."""

    category = "bench_spelling_last"
    stages: ClassVar = {"last": 1.0}
    known = (
        ("What is the last letter of {word}?", 'What is the last letter of "{word}"?'),
        ("What is the last letter of the word {word}?", "What is the last letter in {word}?"),
        (
            "Which letter comes last in {word}?",
            'Which letter comes last in "{word}"?',
            "Which letter is last in {word}?",
        ),
        ("Name the last letter of {word}.", "Please name the last letter of {word}."),
        ("The word {word} ends with which letter?", "Which letter does {word} end with?"),
        ("With which letter does {word} end?", 'With which letter does "{word}" end?'),
        ("Tell me which letter is last in {word}.", "Tell me the last letter in {word}."),
        ("Give me the last letter of the word {word}.", 'Give the last letter of "{word}".'),
        ("Say the last letter of {word}.", "Find the last letter of {word}.", "Show the last letter of {word}."),
        ("Which letter closes the word {word}?", "What letter does the word {word} end with?"),
    )
    new = (
        ("With which letter does {word} finish?", 'With which letter does "{word}" finish?'),
        ("Tell me the last letter of {word}.", "Give the last letter of {word}."),
    )

    def work(self, word: str) -> tuple[str, tuple[str, ...]]:
        return word[-1], (" ".join(word),)

    def fault(self, stage: str, value: str, problem: Problem) -> str | None:
        letters = problem.steps[0].split(" ")
        return None if "".join(letters) == value and problem.answer == letters[-1] else f"{value} was misspelled"


class Spaced(_Spelling):
    """The word with a space after each letter."""

    category = "bench_spelling_spaced"
    stages: ClassVar = {"spaced": 1.0}
    known = (
        ("Spell {word} with spaces between the letters.", 'Spell "{word}" with spaces between the letters.'),
        ("Spell the word {word} letter by letter.", 'Spell the word "{word}" letter by letter.'),
        ("Write {word} with a space after each letter.", "Write {word} with spaces between its letters."),
        ("How do you spell {word}?", 'How do you spell "{word}"?', "Please spell {word}."),
        ("Separate the letters of {word} with spaces.", "Please separate the letters of {word} with spaces."),
        ("Put spaces between the letters of {word}.", 'Put a space between the letters of "{word}".'),
        ("Put a space after each letter of {word}.", "Give {word} with a space between all letters."),
        ("List all letters of {word}.", "List the letters of the word {word} one by one."),
        ("Give me all letters of {word} in order.", "Name the letters of {word} one by one."),
        ("Show the letters of {word} in order.", "Tell me the letters of {word}, one after the other."),
    )
    new = (
        ("Put a space between all letters of {word}.", 'Put a space between all letters of "{word}".'),
        ("List the letters of {word} in order.", "Give me the letters of {word} one by one."),
    )

    def work(self, word: str) -> tuple[str, tuple[str, ...]]:
        return " ".join(word), tuple(f"{n} {letter}" for n, letter in enumerate(word, start=1))

    def fault(self, stage: str, value: str, problem: Problem) -> str | None:
        right = _numbered(problem.steps, range(1, len(value) + 1)) == value == problem.answer[::2]
        spaces = set(problem.answer[1::2]) <= {" "}
        return None if right and spaces else f"{value} was misspelled as {problem.answer}"


class Reverse(_Spelling):
    """The word from its end to its beginning."""

    category = "bench_spelling_reverse"
    stages: ClassVar = {"reverse": 1.0}
    known = (
        ("Spell {word} backwards.", 'Spell "{word}" backwards.', "Please spell {word} backwards."),
        ("Reverse the word {word}.", 'Reverse the word "{word}".', "Please reverse the word {word}."),
        ("Write {word} backwards.", "Write the word {word} backwards."),
        ("What is {word} spelled backwards?", 'What is "{word}" spelled backwards?'),
        ("Reverse the letters of {word}.", "Please reverse the letters of {word}."),
        ("Spell {word} from its end to its start.", "Write {word} from the end to the start."),
        ("Write the letters of {word} from last to first.", "Give the letters of {word} from the last to the first."),
        ("What is {word} in reverse?", 'What is "{word}" in reverse?', "Spell {word} in reverse."),
        ("What does {word} become backwards?", 'What does "{word}" become when it is reversed?'),
        ("Turn the word {word} around.", "Say {word} backwards.", "Give me {word} in reverse order."),
    )
    new = (
        ("Write {word} from its last letter to its first.", "Spell {word} from the last letter to the first."),
        ("What does {word} become in reverse?", 'What does "{word}" become in reverse?'),
    )

    def work(self, word: str) -> tuple[str, tuple[str, ...]]:
        forth = tuple(f"{n} {letter}" for n, letter in enumerate(word, start=1))
        return word[::-1], (*forth, *reversed(forth))

    def fault(self, stage: str, value: str, problem: Problem) -> str | None:
        n = len(value)
        read = _numbered(problem.steps, [*range(1, n + 1), *range(n, 0, -1)])
        backwards = "".join(reversed(value))
        return None if read == value + backwards and problem.answer == backwards else f"{value} was not reversed"


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
