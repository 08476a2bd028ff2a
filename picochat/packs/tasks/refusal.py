"""When to decline, and when not to. In: content/en/refusal.toml. Out: refusal problems and look-alikes. Next: rows.

    stage              prompt                                            reply
    live_data          What is the weather in Oslo right now?            I can't look up live data such as the weather.
    benign_look_alike  What does the word password mean?                 A password is a secret word that opens …
    benign_statement   I just found out the price of bread.              Thank you for telling me.

Whole situations are held out; statements are about the situations of their side. A meaning is asked for in evaluation
in a way in which it was not asked in training (it may be taught, row by row, and is then marked so).
"""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, ClassVar, NamedTuple

from picochat.packs.content import cells, content
from picochat.packs.quotas import Side
from picochat.packs.tasks.base import Draw, Family, Phrasing, Problem, Task


class Value(NamedTuple):
    """A situation, or one way to ``ask`` for the meaning of a harmless word."""

    key: str
    unit: str
    side: Side | None  # None: the key's hash says
    cells: tuple[str, ...]  # what the question is about and its short name; or the parts of a line of meaning.words
    ask: str = ""


class Refusal(Task):
    """Six reasons to decline, and two stages of questions that must not be declined."""

    category = "refusal"
    stages: ClassVar[Mapping[str, float]] = {
        "benign_statement": 0.10,
        "benign_look_alike": 0.24,
        **dict.fromkeys(
            ("live_data", "private_data", "future", "others_secrets", "diagnosis", "files_and_tools"), 0.11
        ),
    }

    def values(self, stage: str) -> Sequence[Value]:
        if stage == "benign_look_alike":
            table, found = content("refusal")["meaning"], []
            for parts in map(cells, table["words"]):
                keys = {ask: f"benign:{ask}/{parts[0]}" for ask in table["ask"]}
                found += [Value(key, key, None, tuple(parts), ask) for ask, key in keys.items()]
            return found
        if stage == "benign_statement":
            return [*_situations("benign:stated", "live_data"), *_situations("benign:stated", "private_data")]
        return _situations(f"refusal:{stage}", stage)

    def key(self, stage: str, value: Value) -> str:
        return value.key

    def unit(self, stage: str, value: Value) -> str:
        return value.unit

    def side(self, stage: str, value: Value) -> Side:
        return value.side or self.split(value.key)

    def phrasings(self, stage: str, value: Value, phrasing: Phrasing) -> Sequence[Family]:
        return _families(stage, value.ask, phrasing)

    def pose(self, stage: str, value: Value, template: str, draw: Draw) -> Problem:
        checks: dict[str, Any]
        if value.ask:
            word, named, meaning, keywords = value.cells
            prompt = template.format(word=word, named=named)
            checks = {"must_include_any": [keywords.split(", ")], "max_words": 40}  # for explanations in other words
            return Problem(prompt, meaning, checks=checks, fact=f"meaning:{word}", content=(word,))
        text, short = value.cells
        prompt = template.replace("{x}", text).replace("{X}", text[0].upper() + text[1:])
        if stage == "benign_statement":
            table = content("refusal")["statement"]
            checks = {"must_include_any": list(map(list, table["must_include_any"])), "max_words": 20}
            return Problem(prompt, draw.pick(table["replies"]), checks=checks, content=(text,))
        kind = content("refusal")["kind"][stage]
        said = (draw.pick(kind["replies"]).replace("{short}", short), draw.pick(kind["advice"]))
        checks = {"max_words": 60}
        return Problem(prompt, " ".join(filter(None, said)), checks=checks, answerable=False, content=(text,))


@cache
def _situations(key: str, kind: str) -> list[Value]:
    words, found = content("refusal"), []
    sides: tuple[tuple[Side, str], ...] = (("train", "taught"), ("eval", "held_out"))
    for side, name in sides:
        for text, short in map(cells, words["kind"][kind][name]):
            slot = text[text.index("{") : text.index("}") + 1]
            for filler in words["fillers"][slot[1:-1]]:
                filled = text.replace(slot, filler)
                found.append(Value(f"{key}/{filled}", f"situation:{text}", side, (filled, short)))
    return found


@cache
def _families(stage: str, ask: str, phrasing: Phrasing) -> list[Family]:
    """Each phrase with all openers that suit it."""
    words: Mapping[str, Any] = content("refusal")
    if ask:
        openers, phrases = words["meaning"]["openers"], words["meaning"]["ask"][ask]
    elif stage == "benign_statement":
        openers, phrases = words["statement"]["openers"], words["statement"]
    else:
        openers, phrases = words["openers"], words["kind"][stage]
    return [tuple(opener + text for opener in openers) for text in phrases[phrasing]]
