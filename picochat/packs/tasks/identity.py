"""What the model says of itself. In: content/en/identity.toml. Out: identity problems. Next: packs.rows.

    stage  topic     situation (who asks, and how it begins)           phrasing                     reply
    who    who       I am a nurse and I found you on a laptop.         Tell me who you are.         I am picochat, …
    size   compare   Good morning. Be honest.                          Are you as big as others?    No, I am smaller …
    name   name      (none)                                            What is your name?           My name is picochat.

A situation is made of two pieces, and no piece of an eval situation occurs in training: a held-out speaker comes with
a held-out clause. A question without a situation is a situation of its own for each wording: the known wordings train,
the new ones evaluate. Replies never open like refusals and claim no skill, whatever the profile teaches.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, ClassVar, NamedTuple

from picochat.packs.content import content
from picochat.packs.quotas import Side, spread_evenly
from picochat.packs.tasks.base import Draw, Family, Phrasing, Problem, Task
from picochat.packs.tasks.wording import PHRASINGS, in_lower_case

SIDES: tuple[Side, Side] = ("train", "eval")


class Situation(NamedTuple):
    """How a question begins, or (``wording``) the one wording of a question that begins with nothing."""

    side: Side
    text: str
    wording: str = ""


class Value(NamedTuple):
    """One problem."""

    topic: str
    situation: Situation


class Identity(Task):
    """Who it is, what it is for and made from, its limits, and how one can know."""

    category = "identity"
    stages: ClassVar[Mapping[str, float]] = {
        "who": 0.20,
        "name": 0.12,
        "purpose": 0.11,
        "made_from": 0.11,
        "limits": 0.11,
        "evidence": 0.11,
        "developers": 0.10,
        "memory": 0.07,
        "size": 0.07,
    }

    def values(self, stage: str) -> Sequence[Value]:
        topics = [name for name, topic in content("identity")["topic"].items() if topic["stage"] == stage]
        return [Value(topic, situation) for topic in topics for situation in _situations() + _bare(topic)]

    def key(self, stage: str, value: Value) -> str:
        return f"identity:{value.topic}/{value.situation.text or value.situation.wording}"

    def side(self, stage: str, value: Value) -> Side:
        return value.situation.side

    def phrasings(self, stage: str, value: Value, phrasing: Phrasing) -> Sequence[Family]:
        if wording := value.situation.wording:
            return [wording] if (phrasing == "new") == (value.situation.side == "eval") else []
        return _families(value.topic)[phrasing]

    def pose(self, stage: str, value: Value, template: str, draw: Draw) -> Problem:
        prompt = template.replace("{situation}", value.situation.text)
        if draw.chance(0.1):
            prompt = in_lower_case(prompt)
        topic = content("identity")["topic"][value.topic]
        first, second = draw.pick(topic["first"]), draw.pick(topic["second"])
        reply = f"{first} {second}" if second else first
        return Problem(prompt, reply, checks=_checks(value.topic), content=(value.situation.text or prompt,))


@cache
def _checks(topic: str) -> Mapping[str, Any]:
    words = content("identity")
    table = words["topic"][topic]
    not_said = [*words["must_not_include"], *table.get("must_not_include", ())]
    groups = list(map(list, table["must_include_any"]))
    return {"must_include_any": groups, "must_not_include": not_said, "max_words": 60}


@cache
def _situations() -> list[Situation]:
    """Greetings, notes, pairs of both, and speakers with clauses. Each piece belongs to one side."""
    found = []
    for side in SIDES:
        greetings, notes, speakers, clauses = content("identity")[side].values()
        texts = [*greetings, *notes]
        for place, greeting in enumerate(greetings):
            texts += [f"{greeting} {note}" for note in spread_evenly(notes, 5, start=place)]
        for place, speaker in enumerate(speakers):
            texts += [f"I am {speaker} {clause}." for clause in spread_evenly(clauses, 5, start=place)]
        found += [Situation(side, text) for text in texts]
    return found


@cache
def _bare(topic: str) -> list[Situation]:
    known, new = (_wordings(topic)[phrasing] for phrasing in PHRASINGS)
    paused = [f"{pause} {_lowered(text)}" for pause in content("identity")["pauses"] for text in known]
    sides: Sequence[tuple[Side, Sequence[str]]] = (("train", known), ("eval", new), ("train", paused))
    return [Situation(side, "", text) for side, texts in sides for text in texts]


def _lowered(text: str) -> str:
    return text if text.startswith("I ") else text[0].lower() + text[1:]


@cache
def _families(topic: str) -> Mapping[Phrasing, Sequence[Family]]:
    """Each wording with the situation before it or after it."""
    return {
        phrasing: [(f"{{situation}} {text}", f"{text} {{situation}}") for text in texts]
        for phrasing, texts in _wordings(topic).items()
    }


@cache
def _wordings(topic: str) -> Mapping[Phrasing, Sequence[str]]:
    words = content("identity")
    table = words["topic"][topic]
    return {
        "known": [*table["known"], *(lead.format(table["embedded"]) for lead in words["leads"])],
        "new": [*table["new"], *(lead.format(table["embedded"]) for lead in words["new_leads"])],
    }
