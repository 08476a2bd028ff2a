"""How a skill is asked for. In: content/en/leads.toml and a skill's phrases. Out: families of templates. Next: tasks.

    noun       "the sum of {a} and {b}"       with every noun lead     "What is {x}?"  "Give me {x}."  …
    clause     "what {a} plus {b} makes"      with every clause lead   "Tell me {x}."  "I wonder {x}."  …
    sentence   "Add {b} to {a}."              as it stands

With many leads a model has to find what is asked for. A held-out phrasing is a new lead with a known noun, a known lead
with a new noun, or a new sentence; none of these combinations is ever trained on.
"""

import re
from collections.abc import Iterable, Sequence
from functools import cache

from picochat.packs.content import content
from picochat.packs.tasks.base import Draw, Family, Phrasing, members

_WORD = re.compile(r"[A-Za-z]+")


@cache
def word_families(skill: str, phrasing: Phrasing) -> Sequence[Family]:
    """The families of a skill of spelling.toml; each names its word in all ways."""
    ways = content("spelling")["ways"]
    return [
        tuple(text.replace("{word}", way) for text in members(family) for way in ways)
        for family in _asked("spelling", skill, phrasing)
    ]


@cache
def pair_families(skill: str, phrasing: Phrasing, both_orders: bool, counted: bool, double: bool) -> Sequence[Family]:
    """The families of a skill of arithmetic.toml for one kind of pair. `both_orders`: {a} and {b} may change places;
    `counted`: there can be stories ("1 apples" cannot be said); `double`: both orders of 5 + 5 are one sentence."""
    families = _asked("arithmetic", skill, phrasing)
    if both_orders:
        families = [(*members(family), *map(_swapped, members(family))) for family in families]
    if counted:
        families += story_families(skill, phrasing)
    return _one_order(families) if double else families


@cache
def story_families(skill: str, phrasing: Phrasing) -> Sequence[Family]:
    """The stories of a skill of arithmetic.toml: each once for each kind of thing, as one family."""
    table = content("arithmetic")
    return [
        tuple(story.replace("{things}", thing) for thing in table["things"])
        for story in table[skill][phrasing]["stories"]
    ]


def with_filler(prompt: str, draw: Draw) -> str:
    """The prompt as people type it: often with an opener or a closer, sometimes in lower case."""
    leads = content("leads")
    if draw.chance(0.4):
        opener = draw.pick(leads["openers"] if draw.chance(0.7) else leads["named_openers"])
        prompt = opener.format(draw.pick(leads["strangers"])) + prompt
    if draw.chance(0.1):
        stop = "" if prompt[-1] in ".!?" else "."
        prompt += stop + draw.pick(leads["closers"]).format(draw.pick(leads["strangers"]))
    return in_lower_case(prompt) if draw.chance(1 / 12) else prompt


def in_lower_case(prompt: str) -> str:
    """ "What is 2 + 3?" → "what is 2 + 3"."""
    return prompt.lower().rstrip("?.!")


def add_typo(prompt: str, kept: Iterable[str], draw: Draw) -> str:
    """The prompt with a typo in one of its words of four letters or more, if it has one that is not in the texts of
    ``kept``: a letter left out, doubled, or swapped with the next one."""
    whole = {word.lower() for text in kept for word in _WORD.findall(text)}
    words = [match for match in _WORD.finditer(prompt) if len(match[0]) > 3 and match[0].lower() not in whole]
    if not words:
        return prompt
    match = draw.pick(words)
    at = match.start() + 1 + draw.below(len(match[0]) - 2)
    one, next_one = prompt[at], prompt[at + 1]
    return prompt[:at] + draw.pick((next_one, one + one + next_one, next_one + one)) + prompt[at + 2 :]


def _asked(file: str, skill: str, phrasing: Phrasing) -> list[Family]:
    leads, table = content("leads"), content(file)[skill]
    part, families = table[phrasing], list[Family]()
    if phrasing == "new":
        families.append(tuple(text for noun in table["known"]["nouns"] for text in _with(leads["new_nouns"], noun)))
    families += [_with(leads["nouns"], noun) for noun in part["nouns"]]
    families += [_with(leads["clauses"], clause) for clause in part["clauses"]]
    return [*families, *part["sentences"]]


def _with(leads: Sequence[str], asked: str) -> tuple[str, ...]:
    return tuple(lead.replace("{x}", asked) for lead in leads)


def _swapped(text: str) -> str:
    return re.sub(r"\{[ab]\}", lambda slot: "{b}" if slot[0] == "{a}" else "{a}", text)


def _one_order(families: Sequence[Family]) -> list[Family]:
    """The families without what says the same of a double as a text before it."""
    seen: set[str] = set()
    kept: list[Family] = []
    for family in families:
        texts = {text.replace("{b}", "{a}"): text for text in reversed(members(family))}  # of two alike the first stays
        kept.append(tuple(text for same, text in reversed(texts.items()) if same not in seen))
        seen.update(texts)
    return [family for family in kept if family]
