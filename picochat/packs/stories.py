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
_TOKEN = re.compile(r"(\[[^\[\]]*\]|<[^<>]+>|\{[^{}]+\})")
_ARTICLE = re.compile(r"\b([Aa]) (?=[aei]|o(?!ne\b)|u(?!ni|se)|hour|honest)")  # an owl, a uniform, an hour
_START = re.compile(r"(?:^|[.!?] \"?|\.\" \"?|\n\"?)[a-z]")  # not after `?" `, where "said Tom" may follow


class _Slot(NamedTuple):
    """``<rule>`` (drawn afresh: no name) or ``{name.field}`` (remembered under its name)."""

    rule: str
    name: str = ""
    field: str = "name"
    capital: bool = False


_Text = tuple["str | _Slot | list[_Text]", ...]  # the list is [one|other]


class _Rule(NamedTuple):
    """Alternatives, each with one text for every field; a rule that is not a record has the single field "name"."""

    fields: tuple[str, ...]
    lines: list[tuple[_Text, ...]]


def story(seed: int, index: int) -> str:
    """Tell story number ``index`` of a seed: 40 to 150 words as a rule, in one or more paragraphs.

    The same two numbers give the same story on every machine; two indices practically never give the same.
    """
    telling = _Telling(Draw(seed, "story", index))
    told = _ARTICLE.sub(r"\1n ", telling.fresh("plot").replace(" // ", "\n"))
    return _START.sub(lambda start: start[0][:-1] + start[0][-1].upper(), told)


class _Telling:
    """One story on its way: whom and what it has met so far, and in which words."""

    def __init__(self, draw: Draw) -> None:
        self.draw = draw
        self.rules = _grammar()
        self.cast: dict[str, tuple[_Rule, tuple[_Text, ...], dict[str, str]]] = {}
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

    def expand(self, text: _Text) -> str:
        """The text with every slot and choice replaced."""
        return "".join([part if isinstance(part, str) else self.part(part) for part in text])

    def part(self, part: "_Slot | list[_Text]") -> str:
        if isinstance(part, list):
            return self.expand(self.draw.pick(part))
        if not part.name:
            return self.fresh(part.rule)
        if part.name not in self.cast:
            self.remember(part.name, part.rule)
        rule, line, pronouns = self.cast[part.name]
        key = part.name, part.field
        if key not in self.said:
            remembered = part.field in rule.fields
            self.said[key] = self.expand(line[rule.fields.index(part.field)]) if remembered else pronouns[part.field]
        words = self.said[key]
        return words[0].upper() + words[1:] if part.capital else words

    def fresh(self, rule_name: str) -> str:
        """A line of the rule that this story has not used, as long as there is one."""
        lines = self.rules[rule_name].lines
        first = self.draw.below(len(lines))
        order = [*range(first, len(lines)), *range(first)]
        number = next((number for number in order if (rule_name, number) not in self.used), first)
        self.used.add((rule_name, number))
        return self.expand(lines[number][0])


@functools.cache
def _grammar() -> dict[str, _Rule]:
    """The rules of stories.txt by name."""
    rules: dict[str, _Rule] = {}
    for line in resources.files("picochat.packs").joinpath("stories.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("@"):
            name, _, fields = line[1:].partition(":")
            rule = rules[name] = _Rule(tuple(fields.split()) or ("name",), [])
        elif line.strip() and not line.startswith("#"):
            cells = line.split(" | ") if len(rule.fields) > 1 else [line]
            if len(cells) != len(rule.fields):
                raise ValueError(f"stories.txt: {line!r} has {len(cells)} fields, @{name} has {len(rule.fields)}")
            rule.lines.append(tuple(map(_parse, cells)))
    return rules


def _parse(text: str) -> _Text:
    return tuple(_part(piece) for piece in _TOKEN.split(text) if piece)


def _part(piece: str) -> "str | _Slot | list[_Text]":
    if piece[0] == "[":
        return list(map(_parse, piece[1:-1].split("|")))
    if piece[0] == "<":
        return _Slot(piece[1:-1])
    if piece[0] == "{":
        name, _, which = piece[1:-1].partition(".")
        capital = name[0].isupper() or which[:1].isupper()
        return _Slot(name.lower().rstrip("234"), name.lower(), which.lower() or "name", capital)
    return piece
