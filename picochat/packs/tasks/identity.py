"""What the model says of itself. In: content/en/identity.toml. Out: identity problems. Next: packs.rows.

    stage  topic     situation (who asks, and how it begins)           phrasing                     reply
    who    who       I am a nurse and I found you on a laptop.         Tell me who you are.         I am picochat, …
    size   compare   Good morning. Be honest.                          Are you as big as others?    No, I am smaller …
    name   name      (none)                                            What is your name?           My name is picochat.

Most eval rows ask for replies that training rows hold word for word. The stage ``composed``, for evaluation only, joins
two topics in one question ("Tell me what your name is and how you were trained."), which no training reply answers.

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


class Situation(NamedTuple):
    """How a question begins, or (``wording``) the one wording of a question that begins with nothing."""

    side: Side
    text: str
    wording: str = ""


class Value(NamedTuple):
    """One problem; a composed one has two topics, such as "name+training"."""

    topic: str
    situation: Situation


class Identity(Task):
    """Who it is, what it is for and made from, its limits, and how one can know."""

    category = "identity"
    stages: ClassVar[Mapping[str, float]] = {
        "who": 0.18,
        "name": 0.108,
        "purpose": 0.099,
        "made_from": 0.099,
        "limits": 0.099,
        "evidence": 0.099,
        "developers": 0.09,
        "memory": 0.063,
        "size": 0.063,
        "composed": 0.1,
    }
    eval_only: ClassVar = frozenset({"composed"})

    def values(self, stage: str) -> Sequence[Value]:
        if stage in self.eval_only:
            return [Value(pair, one) for pair in content("identity")["composed"] for one in _situations("eval")]
        topics = [name for name, topic in content("identity")["topic"].items() if topic["stage"] == stage]
        everywhere = [*_situations("train"), *_situations("eval")]
        return [Value(topic, situation) for topic in topics for situation in [*everywhere, *_bare(topic)]]

    def key(self, stage: str, value: Value) -> str:
        return f"identity:{value.topic}/{value.situation.text or value.situation.wording}"

    def unit(self, stage: str, value: Value) -> str:
        return f"situation:{value.situation.text or value.situation.wording}"

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
        topics = _tables(value.topic)
        said = [draw.pick(topic["first"]) for topic in topics]
        said += [draw.pick(topics[0]["second"])] if len(topics) == 1 else []
        checks, content_words = _checks(value.topic), (value.situation.text or prompt,)
        return Problem(prompt, " ".join(filter(None, said)), checks=checks, content=content_words)


def _tables(topic: str) -> list[Mapping[str, Any]]:
    return [content("identity")["topic"][name] for name in topic.split("+")]


@cache
def _checks(topic: str) -> Mapping[str, Any]:
    tables = _tables(topic)
    not_said = [*content("identity")["must_not_include"]]
    not_said += [phrase for table in tables for phrase in table.get("must_not_include", ())]
    groups = [list(group) for table in tables for group in table["must_include_any"]]
    return {"must_include_any": groups, "must_not_include": not_said, "max_words": 60}


@cache
def _situations(side: Side) -> list[Situation]:
    """Greetings, notes, pairs of both, and speakers with clauses. Each piece belongs to one side."""
    greetings, notes, speakers, clauses = content("identity")[side].values()
    texts = [*greetings, *notes]
    for place, greeting in enumerate(greetings):
        texts += [f"{greeting} {note}" for note in spread_evenly(notes, 5, start=place)]
    for place, speaker in enumerate(speakers):
        texts += [f"I am {speaker} {clause}." for clause in spread_evenly(clauses, 5, start=place)]
    return [Situation(side, text) for text in texts]


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
    words, tables = content("identity"), _tables(topic)
    asked, alone = " and ".join(table["embedded"] for table in tables), len(tables) == 1
    return {
        "known": [*(tables[0]["known"] if alone else ()), *(lead.format(asked) for lead in words["leads"])],
        "new": [*(tables[0]["new"] if alone else ()), *(lead.format(asked) for lead in words["new_leads"])],
    }
