"""How a skill is asked for. In: nouns, clauses, sentences. Out: families of templates. Next: the tasks of skills.

    noun       "the sum of {a} and {b}"       with every noun lead     "What is {x}?"  "Give me {x}."  …
    clause     "what {a} plus {b} makes"      with every clause lead   "Tell me {x}."  "I wonder {x}."  …
    sentence   "Add {b} to {a}."              as it stands

A model that meets a skill in a few fixed sentences learns the sentences. With many leads it has to find what is asked
for, wherever it stands. In evaluation a new wording is a new lead with a known noun, a known lead with a new noun, or a
new sentence; none of these combinations is ever trained on.
"""

import re
from collections.abc import Iterable, Sequence

from picochat.packs.tasks.base import Draw, Family

_NOUN_LEADS = (
    *("What is {x}?", "What's {x}?", "Tell me {x}.", "Please tell me {x}.", "Give me {x}.", "Please give me {x}."),
    *("Find {x}.", "Please find {x}.", "Work out {x}.", "Can you tell me {x}?", "Can you find {x}?", "I need {x}."),
    *(
        "Do you know {x}?",
        "Let me know {x}.",
        "Show me {x}.",
        "Say {x}.",
        "I want to know {x}.",
        "I am looking for {x}.",
    ),
    *("Write down {x}.", "Help me find {x}.", "Your task: find {x}.", "Let us find {x}.", "Figure out {x}."),
    *("Try to find {x}.", "Would you find {x}?", "Who knows {x}?", "Who can tell me {x}?", "Please show me {x}."),
    *("I ask for {x}.", "I have to know {x}.", "The question is: {x}?", "{x}, please.", "And {x}?", "How about {x}?"),
)
_NEW_NOUN_LEADS = ("Could you tell me {x}?", "Please work out {x}.", "I want you to find {x}.", "Now tell me {x}.")
_CLAUSE_LEADS = (
    *("Tell me {x}.", "Please tell me {x}.", "Can you tell me {x}?", "Find out {x}.", "Please find out {x}."),
    *("I want to know {x}.", "I wonder {x}.", "Do you know {x}?", "Let me know {x}.", "Say {x}.", "Show me {x}."),
    *("I need to know {x}.", "Work out {x}.", "Help me find out {x}.", "Can you say {x}?", "Write down {x}."),
    *("Try to find out {x}.", "Would you tell me {x}?", "Who knows {x}?", "Who can tell me {x}?", "Figure out {x}."),
    *("Please show me {x}.", "I have to know {x}.", "The question is {x}.", "Let us find out {x}.", "I ask {x}."),
)
_NEW_CLAUSE_LEADS = ("Could you tell me {x}?", "Please say {x}.", "I would like to know {x}.", "Now tell me {x}.")

_OPENERS = (
    *("Hello. ", "Hi! ", "Please help me. ", "A question: ", "For my homework: ", "Next one. ", "Good morning. "),
    *("I have a question. ", "Quick question: ", "Be careful. ", "My teacher asks: ", "OK, ", "Here is one. "),
    *("Let us practice. ", "Think first. ", "One more: ", "Take your time. ", "Now: ", "Please: ", "Listen: "),
)
_NAMED_OPENERS = (
    *("{} asks: ", "{} wants to know: ", "For {}: ", "A question from {}: ", "Hello, I am {}. ", "{} is here. "),
    *("I ask for {}. ", "This one is for {}. ", "{} sent me. ", "My friend {} asks: "),
)
_CLOSERS = (
    *(" Thanks!", " Thank you.", " Please.", " I forgot.", " It is for {}.", " {} cannot do it.", " No tricks."),
    *(" I need it today.", " Go.", " Can you do that?", " Help!", " {} wants to know.", " Thanks, says {}."),
)
_STRANGERS = (  # seldom heard, so that they come in letters as the words to spell do: not all letters are asked for
    *("Agatha", "Bartholomew", "Cornelius", "Dorothea", "Edmund", "Fernanda", "Giselle", "Horatio", "Ingrid", "Jasper"),
    *("Katrin", "Lorenzo", "Matilda", "Nikolai", "Octavia", "Percival", "Quentin", "Rosalind", "Sigmund", "Tabitha"),
    *("Ursula", "Valentin", "Wanda", "Xavier", "Yolanda", "Zacharias", "Ophelia", "Humphrey", "Beatrix", "Ludmila"),
)
_WORD = re.compile(r"[A-Za-z]+")


def families(nouns: Iterable[str] = (), clauses: Iterable[str] = (), sentences: Iterable[Family] = ()) -> list[Family]:
    """The families of training: each noun and each clause with all its leads, each sentence alone."""
    asked: list[Family] = [_with(_NOUN_LEADS, noun) for noun in nouns]
    asked += [_with(_CLAUSE_LEADS, clause) for clause in clauses]
    return asked + list(sentences)


def new_families(
    known_nouns: Iterable[str] = (),
    nouns: Iterable[str] = (),
    clauses: Iterable[str] = (),
    sentences: Iterable[Family] = (),
) -> list[Family]:
    """The families of evaluation alone: new leads with known nouns, known leads with new nouns, new sentences."""
    return [
        tuple(text for noun in known_nouns for text in _with(_NEW_NOUN_LEADS, noun)),
        *families(nouns, clauses, sentences),
    ]


def _with(leads: Sequence[str], asked: str) -> tuple[str, ...]:
    return tuple(lead.replace("{x}", asked) for lead in leads)


def as_typed(prompt: str, draw: Draw) -> str:
    """The prompt as people type it: often with a word to the reader before or behind it, sometimes in lower case."""
    if draw.chance(0.4):
        prompt = draw.pick(_OPENERS if draw.chance(0.7) else _NAMED_OPENERS).format(draw.pick(_STRANGERS)) + prompt
    if draw.chance(0.1):
        stop = "" if prompt[-1] in ".!?" else "."
        prompt += stop + draw.pick(_CLOSERS).format(draw.pick(_STRANGERS))
    return prompt.lower().rstrip("?.!") if draw.chance(1 / 12) else prompt


def mistyped(prompt: str, kept: Iterable[str], draw: Draw) -> str:
    """The prompt with a slip in one of its words: a letter left out, doubled, or swapped with the next one.

    Args:
        prompt: what the user says.
        kept: texts whose words stay whole; shorter words than four letters do so, too.
        draw: picks the word and the slip.

    Returns:
        The prompt as it is, where it holds no such word.
    """
    whole = {word.lower() for text in kept for word in _WORD.findall(text)}
    words = [match for match in _WORD.finditer(prompt) if len(match[0]) > 3 and match[0].lower() not in whole]
    if not words:
        return prompt
    match = draw.pick(words)
    at = match.start() + 1 + draw.below(len(match[0]) - 2)
    one, next_one = prompt[at], prompt[at + 1]
    return prompt[:at] + draw.pick((next_one, one + one + next_one, next_one + one)) + prompt[at + 2 :]
