"""What the model says of itself. In: content/en/identity.toml. Out: identity problems. Next: packs.rows.

    stage  topic     situation (who asks, and how it begins)           phrasing                     reply
    who    who       I am a nurse and I found you on a laptop.         Tell me who you are.         I am picochat, …
    name   name      (none)                                            What is your name?           My name is picochat.

No piece of an eval situation occurs in training. Of questions without a situation the known wordings train, the new
ones evaluate. The stage ``composed``, for evaluation only, joins two topics ("Tell me what your name is and how you
were trained."), which no training reply answers.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, ClassVar, NamedTuple

from picochat.packs.content import content
from picochat.packs.quotas import Side, spread_evenly
from picochat.packs.tasks.base import Draw, Family, Phrasing, Problem, Task
from picochat.packs.tasks.wording import in_lower_case


class Value(NamedTuple):
    """One problem: a topic, or two ("name+training"), in a situation; or in one ``wording``, without a situation."""

    topic: str
    side: Side
    situation: str
    wording: str = ""


class Identity(Task):
    """Who it is, what it is for and made from, its limits, and how one can know."""

    category = "identity"
    stages: ClassVar[Mapping[str, float]] = {
        "who": 0.18,
        "name": 0.108,
        **dict.fromkeys(("purpose", "made_from", "limits", "evidence"), 0.099),
        "developers": 0.09,
        **dict.fromkeys(("memory", "size"), 0.063),
        "composed": 0.1,
    }
    eval_only: ClassVar = frozenset({"composed"})

    def values(self, stage: str) -> Sequence[Value]:
        if stage in self.eval_only:
            return [Value(pair, "eval", text) for pair in content("identity")["composed"] for text in _texts("eval")]
        sides: tuple[Side, Side] = ("train", "eval")
        found = []
        for topic, table in content("identity")["topic"].items():
            if table["stage"] == stage:
                found += [Value(topic, side, text) for side in sides for text in _texts(side)]
                found += _without_situation(topic)
        return found

    def key(self, stage: str, value: Value) -> str:
        return f"identity:{value.topic}/{value.situation or value.wording}"

    def unit(self, stage: str, value: Value) -> str:
        return f"situation:{value.situation or value.wording}"

    def side(self, stage: str, value: Value) -> Side:
        return value.side

    def phrasings(self, stage: str, value: Value, phrasing: Phrasing) -> Sequence[Family]:
        if value.wording:
            return [value.wording] if (phrasing == "new") == (value.side == "eval") else []
        return _families(value.topic, phrasing)

    def pose(self, stage: str, value: Value, template: str, draw: Draw) -> Problem:
        prompt = template.replace("{situation}", value.situation)
        if draw.chance(0.1):
            prompt = in_lower_case(prompt)
        topics = _tables(value.topic)
        said = [draw.pick(topic["first"]) for topic in topics]
        said += [draw.pick(topics[0]["second"])] if len(topics) == 1 else []
        reply, distinctive = " ".join(filter(None, said)), (value.situation or prompt,)
        return Problem(prompt, reply, checks=_checks(value.topic), content=distinctive)


def _tables(topic: str) -> list[Mapping[str, Any]]:
    return [content("identity")["topic"][name] for name in topic.split("+")]


@cache
def _checks(topic: str) -> Mapping[str, Any]:
    tables = _tables(topic)
    not_said = [phrase for table in (content("identity"), *tables) for phrase in table.get("must_not_include", ())]
    groups = [list(group) for table in tables for group in table["must_include_any"]]
    return {"must_include_any": groups, "must_not_include": not_said, "max_words": 60}


@cache
def _texts(side: Side) -> list[str]:
    """The situations of a side: greetings, notes, pairs of both, and speakers with clauses."""
    greetings, notes, speakers, clauses = content("identity")[side].values()
    texts = [*greetings, *notes]
    for place, greeting in enumerate(greetings):
        texts += [f"{greeting} {note}" for note in spread_evenly(notes, 5, start=place)]
    for place, speaker in enumerate(speakers):
        texts += [f"I am {speaker} {clause}." for clause in spread_evenly(clauses, 5, start=place)]
    return texts


@cache
def _without_situation(topic: str) -> list[Value]:
    known, new = _wordings(topic, "known"), _wordings(topic, "new")
    lowered = [text if text.startswith("I ") else text[0].lower() + text[1:] for text in known]
    paused = [f"{pause} {text}" for pause in content("identity")["pauses"] for text in lowered]
    sides: Sequence[tuple[Side, Sequence[str]]] = (("train", known), ("eval", new), ("train", paused))
    return [Value(topic, side, "", text) for side, texts in sides for text in texts]


@cache
def _families(topic: str, phrasing: Phrasing) -> Sequence[Family]:
    """Each wording with the situation before it or after it."""
    return [(f"{{situation}} {text}", f"{text} {{situation}}") for text in _wordings(topic, phrasing)]


def _wordings(topic: str, phrasing: Phrasing) -> list[str]:
    tables = _tables(topic)
    asked, own = " and ".join(table["embedded"] for table in tables), tables[0][phrasing] if len(tables) == 1 else ()
    leads = content("identity")["leads" if phrasing == "known" else "new_leads"]
    return [*own, *(lead.format(asked) for lead in leads)]
