"""Short tales in simple English, as many as one likes. In: (seed, index). Out: one story. Next: corpus.

The tales are told from the grammar in stories.txt, whose first lines explain its signs:

    {hero} lost {hero.his} [red|blue] <toy>.      ──►      Clara lost her blue kite.

``{hero}`` is drawn once and remembered, so that Clara stays Clara (and "her") to the end; ``<toy>`` is drawn afresh at
every place. "a" becomes "an" where a vowel follows, and sentences begin with a capital letter.
"""

import functools
import re
from importlib import resources
from typing import NamedTuple

from picochat.packs.tasks.base import Draw

_PRONOUNS = (
    {"he": "he", "him": "him", "his": "his", "himself": "himself", "kid": "boy"},
    {"he": "she", "him": "her", "his": "her", "himself": "herself", "kid": "girl"},
)
_TOKEN = re.compile(r"\[[^\[\]]*\]|<[^<>]+>|\{[^{}]+\}")
_ARTICLE = re.compile(r"\b([Aa]) (?=[aei]|o(?!ne\b)|u(?!ni|se)|hour|honest)")  # an owl, a uniform, an hour
_START = re.compile(r"(?:^|[.!?] \"?|\.\" \"?|\n\"?)[a-z]")  # not after `?" `, where "said Tom" may follow


class _Rule(NamedTuple):
    """Alternatives, each with one text for every field; a rule that is not a record has the single field "name"."""

    fields: list[str]
    lines: list[list[str]]


def story(seed: int, index: int) -> str:
    """Story number ``index`` of a seed, the same on every machine: 40 to 150 words as a rule, in paragraphs."""
    telling = _Telling(Draw(seed, "story", index))
    told = _ARTICLE.sub(r"\1n ", telling.fresh("plot").replace(" // ", "\n"))
    return _START.sub(lambda start: start[0][:-1] + start[0][-1].upper(), told)


class _Telling:
    """One story on its way: whom and what it has met so far, and in which words."""

    def __init__(self, draw: Draw) -> None:
        self.draw = draw
        self.rules = _grammar()
        self.cast: dict[str, tuple[_Rule, list[str], dict[str, str]]] = {}
        self.said: dict[tuple[str, str], str] = {}
        self.used: set[tuple[str, int]] = set()
        self.remember("hero", draw.pick(("girl", "boy")))
        self.remember("friend", draw.pick(("girl", "boy")))

    def remember(self, name: str, rule_name: str) -> None:
        """Draw a line of the rule for ``name``: another one than any other name holds."""
        rule = self.rules[rule_name]
        line = self.draw.pick(rule.lines)
        while any(line is other for _, other, _ in self.cast.values()):
            line = self.draw.pick(rule.lines)
        gender = {"girl": 1, "boy": 0}.get(rule_name, self.draw.below(2))
        self.cast[name] = (rule, line, _PRONOUNS[gender])

    def recall(self, name: str, field: str) -> str:
        """A field of what ``name`` holds, in the same words each time."""
        if name not in self.cast:
            self.remember(name, name.rstrip("234"))
        rule, line, pronouns = self.cast[name]
        if (name, field) not in self.said:
            own = field in rule.fields
            self.said[name, field] = self.expand(line[rule.fields.index(field)]) if own else pronouns[field]
        return self.said[name, field]

    def fresh(self, rule_name: str) -> str:
        """A line of the rule that this story has not used, as long as there is one."""
        lines = self.rules[rule_name].lines
        first = self.draw.below(len(lines))
        order = [*range(first, len(lines)), *range(first)]
        number = next((number for number in order if (rule_name, number) not in self.used), first)
        self.used.add((rule_name, number))
        return self.expand(lines[number][0])

    def expand(self, text: str) -> str:
        """The text with every [one|other], <rule> and {name.field} replaced."""
        return _TOKEN.sub(lambda found: self.part(found[0][0], found[0][1:-1]), text)

    def part(self, sign: str, inside: str) -> str:
        if sign == "[":
            return self.expand(self.draw.pick(inside.split("|")))
        if sign == "<":
            return self.fresh(inside)
        name, _, field = inside.partition(".")
        words = self.recall(name.lower(), field.lower() or "name")
        return words[0].upper() + words[1:] if name[0].isupper() or field[:1].isupper() else words


@functools.cache
def _grammar() -> dict[str, _Rule]:
    """The rules of stories.txt by name."""
    rules: dict[str, _Rule] = {}
    for line in resources.files("picochat.packs").joinpath("stories.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("@"):
            name, _, fields = line[1:].partition(":")
            rule = rules[name] = _Rule(fields.split() or ["name"], [])
        elif line.strip() and not line.startswith("#"):
            rule.lines.append(line.split(" | ") if len(rule.fields) > 1 else [line])
    return rules
