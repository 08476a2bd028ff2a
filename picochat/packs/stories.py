"""Short tales in simple English, as many as one likes. In: (seed, index). Out: one story. Next: corpus.

The tales are told from the grammar in stories.txt, whose first lines explain its signs:

    {hero} lost {hero.his} [red|blue] <toy>.      ──►      Clara lost her blue kite.

``{hero}`` is drawn once and remembered, so that Clara stays Clara (and "her") to the end; ``<toy>`` is drawn afresh at
every place. "a" becomes "an" where a vowel follows, and sentences begin with a capital letter.
"""

import functools
import re
from dataclasses import dataclass, field
from importlib import resources

from picochat.packs.tasks.base import Draw

_PRONOUNS = (
    {"he": "he", "him": "him", "his": "his", "himself": "himself", "kid": "boy"},
    {"he": "she", "him": "her", "his": "her", "himself": "herself", "kid": "girl"},
)
_TOKEN = re.compile(r"(\[[^\[\]]*\]|<[^<>]+>|\{[^{}]+\})")
_ARTICLE = re.compile(r"\b([Aa]) (?=[aei]|o(?!ne\b)|u(?!ni|se)|hour|honest)")  # an owl, a uniform, an hour
_START = re.compile(r"(?:^|[.!?] \"?|\.\" \"?|\n\"?)[a-z]")  # not after `?" `, where "said Tom" may follow


@dataclass(frozen=True, slots=True)
class _Slot:
    """``<rule>`` (drawn afresh: no name) or ``{name.field}`` (remembered under its name)."""

    rule: str
    name: str
    field: str
    capital: bool


@dataclass(frozen=True, slots=True)
class _Choice:
    """``[one|other]``."""

    options: "tuple[_Text, ...]"


_Text = tuple[str | _Slot | _Choice, ...]


@dataclass(frozen=True, slots=True)
class _Rule:
    """Alternatives, each with one text for every field; a rule that is no record has the single field "name"."""

    fields: tuple[str, ...]
    lines: list[tuple[_Text, ...]] = field(default_factory=list)


def story(seed: int, index: int) -> str:
    """Tell story number ``index`` of a seed: 40 to 150 words as a rule, in one or more paragraphs.

    The same two numbers give the same story on every machine; two indices practically never give the same.
    """
    return _Telling(Draw(seed, "story", index)).text()


class _Telling:
    """One story on its way: whom and what it has met so far, and in which words."""

    def __init__(self, draw: Draw) -> None:
        self.draw = draw
        self.rules = _grammar()
        self.cast: dict[str, tuple[_Rule, tuple[_Text, ...], dict[str, str]]] = {}
        self.said: dict[str, str] = {}
        self.used: set[tuple[str, int]] = set()
        self.remember("hero", draw.pick(("girl", "boy")))
        self.remember("friend", draw.pick(("girl", "boy")))

    def text(self) -> str:
        told = "".join(self.expand(self.fresh("plot")))
        told = _ARTICLE.sub(r"\1n ", told.replace(" // ", "\n"))
        return _START.sub(lambda start: start[0][:-1] + start[0][-1].upper(), told)

    def remember(self, name: str, rule_name: str) -> None:
        """Draw a line of the rule for ``name``: another one than any other name holds."""
        rule = self.rules[rule_name]
        taken = [line for _, line, _ in self.cast.values()]
        line = self.draw.pick(rule.lines)
        while any(line is other for other in taken):
            line = self.draw.pick(rule.lines)
        gender = {"girl": 1, "boy": 0}.get(rule_name, self.draw.below(2))
        self.cast[name] = (rule, line, _PRONOUNS[gender])

    def expand(self, text: _Text) -> list[str]:
        """The text's pieces, every slot and choice replaced."""
        out: list[str] = []
        for part in text:
            if isinstance(part, str):
                out.append(part)
            elif isinstance(part, _Choice):
                out.extend(self.expand(self.draw.pick(part.options)))
            elif not part.name:
                out.extend(self.expand(self.fresh(part.rule)))
            else:
                if part.name not in self.cast:
                    self.remember(part.name, part.rule)
                words = self.field(part)
                out.append(words[0].upper() + words[1:] if part.capital else words)
        return out

    def fresh(self, rule_name: str) -> _Text:
        """A line of the rule that this story has not used, as long as there is one."""
        lines = self.rules[rule_name].lines
        number = self.draw.below(len(lines))
        for step in range(len(lines)):
            key = (rule_name, (number + step) % len(lines))
            if key not in self.used:
                number = key[1]
                self.used.add(key)
                break
        return lines[number][0]

    def field(self, slot: _Slot) -> str:
        rule, line, pronouns = self.cast[slot.name]
        if slot.field not in rule.fields:
            return pronouns[slot.field]
        key = f"{slot.name}.{slot.field}"
        if key not in self.said:
            self.said[key] = "".join(self.expand(line[rule.fields.index(slot.field)]))
        return self.said[key]


@functools.cache
def _grammar() -> dict[str, _Rule]:
    """The rules of stories.txt by name."""
    rules: dict[str, _Rule] = {}
    for line in resources.files("picochat.packs").joinpath("stories.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("@"):
            name, _, fields = line[1:].partition(":")
            rule = rules[name] = _Rule(tuple(fields.split()) or ("name",))
        elif line.strip() and not line.startswith("#"):
            cells = line.split(" | ") if len(rule.fields) > 1 else [line]
            if len(cells) != len(rule.fields):
                raise ValueError(f"stories.txt: {line!r} has {len(cells)} fields, @{name} has {len(rule.fields)}")
            rule.lines.append(tuple(_parse(cell) for cell in cells))
    return rules


def _parse(text: str) -> _Text:
    return tuple(_part(piece) for piece in _TOKEN.split(text) if piece)


def _part(piece: str) -> str | _Slot | _Choice:
    if piece[0] == "[":
        return _Choice(tuple(_parse(option) for option in piece[1:-1].split("|")))
    if piece[0] == "<":
        return _Slot(rule=piece[1:-1], name="", field="name", capital=False)
    if piece[0] == "{":
        name, _, which = piece[1:-1].partition(".")
        which = which or "name"
        capital = name[0].isupper() or which[0].isupper()
        name, which = name.lower(), which.lower()
        return _Slot(rule=name.rstrip("234"), name=name, field=which, capital=capital)
    return piece
