"""How spelling is asked for: counts, first, last, spaced, reversed. In: nothing. Out: families. Next: tasks.spelling.

{word} is named in four ways: sheep, "sheep", the word sheep, the word "sheep".
"""

from collections.abc import Sequence
from typing import NamedTuple

from picochat.packs.tasks.base import Family
from picochat.packs.tasks.wording import families, new_families


class Wordings(NamedTuple):
    """The families of both sides, and those of evaluation alone."""

    known: Sequence[Family]
    new: Sequence[Family]


def _named(asked: Sequence[Family]) -> list[Family]:
    """Each family with its word named in four ways."""
    ways = ("{word}", '"{word}"', "the word {word}", 'the word "{word}"')
    listed = [(family,) if isinstance(family, str) else family for family in asked]
    return [tuple(text.replace("{word}", way) for text in texts for way in ways) for texts in listed]


def _wordings(
    nouns: Sequence[str],
    clauses: Sequence[str],
    sentences: Sequence[str],
    *,
    new_nouns: Sequence[str],
    new_clauses: Sequence[str],
    new_sentences: Sequence[str],
) -> Wordings:
    known = families(nouns, clauses, sentences)
    return Wordings(_named(known), _named(new_families(nouns, new_nouns, new_clauses, new_sentences)))


COUNT = _wordings(
    (
        "the number of {letter} in {word}",
        'the number of "{letter}" in {word}',
        "the count of {letter} in {word}",
        "the number of letters {letter} in {word}",
        "the number of times {letter} is in {word}",
        "the number of places where {word} has {letter}",
        "the total of {letter} in {word}",
    ),
    (
        "how often {letter} is in {word}",
        "how many times {letter} appears in {word}",
        'how often the letter "{letter}" is in {word}',
        "how many {letter} are in {word}",
        "how many {letter} there are in {word}",
        "how many times the letter {letter} is used in {word}",
        "how often the letter {letter} occurs in {word}",
        'how many "{letter}" {word} has',
        "how many times you find {letter} in {word}",
        "how often {letter} turns up in {word}",
    ),
    (
        "How many times does the letter {letter} appear in {word}?",
        'How many times is "{letter}" in {word}?',
        "How often does the letter {letter} occur in {word}?",
        "How often is the letter {letter} in {word}?",
        "Count the letter {letter} in {word}.",
        'Count the letter "{letter}" in {word}.',
        "How many {letter} are in {word}?",
        "In {word}, how many letters are {letter}?",
        "In {word}, count the letter {letter}.",
        "Please count how often {letter} is in {word}.",
        "Please count the {letter} in {word}.",
        "Look at {word}. How often is {letter} in it?",
        "Look at {word}. How many {letter} does it have?",
        "How many times is {letter} used in {word}?",
        "How many of the letters of {word} are {letter}?",
        "Look for {letter} in {word} and count it.",
        "How many {letter} does {word} have?",
        'Can you count the "{letter}" in {word}?',
        "How often do you see {letter} in {word}?",
        "Does {word} have {letter}? How many?",
        "How many times can you find {letter} in {word}?",
        "Go through {word} and count every {letter}.",
        "{letter} in {word}: how many?",
        "Is {letter} in {word}, and how often?",
        "Count all {letter} of {word}.",
        "How many letters of {word} are {letter}?",
    ),
    new_nouns=("the number of times that {letter} occurs in {word}",),
    new_clauses=("how many letters {letter} {word} has", "how often you see {letter} in {word}"),
    new_sentences=(
        "Look at {word}. How many of its letters are {letter}?",
        "Look at {word} and count the letter {letter}.",
        "How often does {word} have the letter {letter}?",
        "Count how many {letter} there are in {word}.",
    ),
)

FIRST = _wordings(
    (
        "the first letter of {word}",
        "the first letter in {word}",
        "the letter at the start of {word}",
        "the letter that {word} starts with",
        "the opening letter of {word}",
        "the letter in front of all others in {word}",
    ),
    (
        "which letter comes first in {word}",
        "which letter {word} starts with",
        "which letter is first in {word}",
        "with which letter {word} starts",
        "what the first letter of {word} is",
        "how {word} begins",
        "which letter opens {word}",
        "what is at the start of {word}",
    ),
    (
        "Which letter comes first in {word}?",
        "Which letter is first in {word}?",
        "Name the first letter of {word}.",
        "Which letter does {word} start with?",
        "With which letter does {word} start?",
        "Which letter begins {word}?",
        "What letter does {word} start with?",
        "How does {word} start?",
        "{word}: which letter is first?",
        "{word} starts with which letter?",
        "Look at {word}. What comes first?",
        "Look at {word}. Which letter is the first?",
        "Which letter stands at the start of {word}?",
        "Please name the letter that {word} starts with.",
        "First letter of {word}?",
        "Where does {word} start?",
        "Which letter opens {word}?",
        "Which of the letters of {word} comes before all others?",
        "If you spell {word}, which letter do you say first?",
        "Read {word} and name its first letter.",
    ),
    new_nouns=("the letter which is first in {word}",),
    new_clauses=("what letter {word} begins with",),
    new_sentences=(
        "With which letter does {word} begin?",
        "Which is the first letter of {word}?",
        "What letter stands first in {word}?",
        "Look at {word}. Which letter does it start with?",
    ),
)

LAST = _wordings(
    (
        "the last letter of {word}",
        "the last letter in {word}",
        "the letter at the end of {word}",
        "the letter that {word} ends with",
        "the closing letter of {word}",
        "the letter behind all others in {word}",
    ),
    (
        "which letter comes last in {word}",
        "which letter {word} ends with",
        "which letter is last in {word}",
        "with which letter {word} ends",
        "what the last letter of {word} is",
        "how {word} ends",
        "which letter closes {word}",
        "what is at the end of {word}",
    ),
    (
        "Which letter comes last in {word}?",
        "Which letter is last in {word}?",
        "Name the last letter of {word}.",
        "Which letter does {word} end with?",
        "With which letter does {word} end?",
        "Which letter closes {word}?",
        "What letter does {word} end with?",
        "How does {word} end?",
        "{word}: which letter is last?",
        "{word} ends with which letter?",
        "Look at {word}. What comes last?",
        "Look at {word}. Which letter is the last?",
        "Which letter stands at the end of {word}?",
        "Please name the letter that {word} ends with.",
        "Last letter of {word}?",
        "Where does {word} end?",
        "Which letter ends {word}?",
        "Which of the letters of {word} comes after all others?",
        "If you spell {word}, which letter do you say last?",
        "Read {word} and name its last letter.",
    ),
    new_nouns=("the letter which is last in {word}",),
    new_clauses=("what letter {word} finishes with",),
    new_sentences=(
        "With which letter does {word} finish?",
        "Which is the last letter of {word}?",
        "What letter stands last in {word}?",
        "Look at {word}. Which letter does it end with?",
    ),
)

SPACED = _wordings(
    (
        "the letters of {word} with spaces",
        "all letters of {word}",
        "the letters of {word} one by one",
        "{word} with spaces between the letters",
        "{word} letter by letter",
        "the spelling of {word}",
        "each letter of {word}",
        "the single letters of {word}",
        "{word} with its letters apart",
    ),
    (
        "how to spell {word}",
        "how {word} is spelled",
        "how you spell {word}",
        "which letters {word} has",
        "which letters are in {word}",
        "what the letters of {word} are",
    ),
    (
        "Spell {word} with spaces between the letters.",
        "Spell {word} letter by letter.",
        "Spell {word}.",
        "Write {word} with a space after each letter.",
        "Write {word} with spaces between its letters.",
        "How do you spell {word}?",
        "Please spell {word}.",
        "Separate the letters of {word} with spaces.",
        "Put spaces between the letters of {word}.",
        "Put a space after each letter of {word}.",
        "List all letters of {word}.",
        "List the letters of {word} one by one.",
        "How is {word} spelled?",
        "Name the letters of {word} one by one.",
        "Name all letters of {word}.",
        "Can you spell {word}?",
        "Which letters does {word} have?",
        "Take {word} apart, letter by letter.",
        "Break {word} into its letters.",
        "Split {word} into letters.",
        "What are the letters of {word}?",
        "Which letters make up {word}?",
        "Which letters do you need to write {word}?",
        "Pull the letters of {word} apart.",
    ),
    new_nouns=("the letters of {word} with a space after each",),
    new_clauses=("how to spell {word} letter by letter",),
    new_sentences=(
        "Put a space between all letters of {word}.",
        "List the letters of {word} with spaces.",
        "Please name all letters of {word} one by one.",
        "Write all letters of {word} with spaces.",
    ),
)

REVERSE = _wordings(
    (
        "{word} backwards",
        "{word} in reverse",
        "the letters of {word} from last to first",
        "the reverse of {word}",
        "{word} spelled backwards",
        "{word} from its end to its start",
        "{word} with its letters turned around",
        "{word} from right to left",
        "the backwards spelling of {word}",
    ),
    (
        "how to spell {word} backwards",
        "what {word} is backwards",
        "how {word} is spelled in reverse",
        "how {word} looks from right to left",
        "what {word} becomes when it is reversed",
        "how you write {word} backwards",
    ),
    (
        "Spell {word} backwards.",
        "Please spell {word} backwards.",
        "Reverse {word}.",
        "Please reverse {word}.",
        "Write {word} backwards.",
        "Reverse the letters of {word}.",
        "How do you spell {word} backwards?",
        "Spell {word} from its end to its start.",
        "Write {word} from the end to the start.",
        "Write the letters of {word} from last to first.",
        "Name the letters of {word} from last to first.",
        "Spell {word} in reverse.",
        "What does {word} become backwards?",
        "Turn {word} around.",
        "Turn the letters of {word} around.",
        "What is {word} when it is reversed?",
        "Can you reverse {word}?",
        "What does {word} look like backwards?",
        "Start at the end of {word} and spell it.",
        "Read {word} backwards.",
        "Write {word} from right to left.",
        "How is {word} spelled backwards?",
        "Put the letters of {word} in the opposite order.",
        "Take the letters of {word} from the end to the start.",
        "Say {word} backwards, letter by letter.",
    ),
    new_nouns=("the letters of {word} in reverse",),
    new_clauses=("what {word} is in reverse",),
    new_sentences=(
        "Write {word} from its last letter to its first.",
        "What does {word} become in reverse?",
        "Spell {word} from the last letter to the first.",
        "Can you spell {word} backwards?",
    ),
)
