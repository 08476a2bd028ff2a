"""Questions with four options. In: facts. Out: choice problems of science, language and world. Next: packs.mixture.

    What is the capital of France?        reply: B
    A. Rome
    B. Paris          A fact can be asked from both ends (Paris is the capital of which country?). Each end is a
    C. Cairo          problem of its own, so evaluation can ask one end of a fact whose other end was taught. Of every
    D. Oslo           fifth fact both ends are held out: only what the model knew before can answer those ("probe").

Options come from the same relation, the right one equally often under each label. Always answered directly: the label
is scored by its likelihood, which a scratchpad in front would change.
"""

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar, Literal, NamedTuple

from picochat.packs.quotas import Side, split_of
from picochat.packs.tasks.base import Draw, Family, Phrasing, Problem, Task
from picochat.packs.tasks.facts import LANGUAGE, SCIENCE, WORLD, Relation

LABELS = ("A", "B", "C", "D")
_LAYOUTS = (
    "{question}\nA. {A}\nB. {B}\nC. {C}\nD. {D}\nAnswer with the letter.",
    "{question}\nA) {A}\nB) {B}\nC) {C}\nD) {D}\nWhich letter is right?",
    "{question} A: {A}, B: {B}, C: {C}, D: {D}. Answer A, B, C or D.",
    "Choose the right letter.\n{question}\nA. {A}\nB. {B}\nC. {C}\nD. {D}",
)

_OPTION = re.compile(r"\b([A-D])[.):] ([^\n,.]+)")


class Question(NamedTuple):
    """One end of one fact."""

    relation: Relation
    left: str
    right: str
    asked: Literal["left", "right"]

    @property
    def fact(self) -> str:
        return f"{self.relation.name}/{self.left}"


class _Choice(Task):
    """Values: questions. A template is "label|wording|layout": each label, each wording, each layout."""

    stages: ClassVar[Mapping[str, float]] = {"facts": 1.0}
    relations: ClassVar[Sequence[Relation]]

    def values(self, stage: str) -> Sequence[Question]:
        ends: tuple[Literal["left", "right"], ...] = ("right", "left")
        return [
            Question(relation, *pair, end) for relation in self.relations for pair in relation.pairs for end in ends
        ]

    def key(self, stage: str, value: Question) -> str:
        return f"choice:{value.fact}/{value.asked}"

    def side(self, stage: str, value: Question) -> Side:
        return "eval" if split_of(f"fact:{value.fact}") == "eval" else split_of(self.key(stage, value))

    def phrasings(self, stage: str, value: Question, phrasing: Phrasing) -> Sequence[Family]:
        return self._families[value.relation.name, value.asked, phrasing]

    @cached_property
    def _families(self) -> dict[tuple[str, str, Phrasing], list[list[str]]]:
        families: dict[tuple[str, str, Phrasing], list[list[str]]] = {}
        for relation in self.relations:
            for asked, wordings in (("left", relation.left), ("right", relation.right)):
                by_wording = [
                    [f"{label}|{wording}|{layout}" for layout in _LAYOUTS for label in LABELS] for wording in wordings
                ]
                families[relation.name, asked, "known"] = by_wording[:-1]
                families[relation.name, asked, "new"] = by_wording[-1:]
        return families

    def pose(self, stage: str, value: Question, template: str, draw: Draw) -> Problem:
        label, wording, layout = template.split("|")
        given, wanted = (value.left, value.right) if value.asked == "right" else (value.right, value.left)
        options = dict(zip((label, *(other for other in LABELS if other != label)), _options(value, draw), strict=True))
        prompt = layout.format(question=wording.format(given), **options)
        checks: dict[str, Any] = {"choice_labels": list(LABELS), "correct_choice": label}
        tags = {"choice": wanted}
        return Problem(prompt, label, label, checks=checks, fact=value.fact, tags=tags, content=(given, wanted))

    def fault(self, stage: str, value: Question, problem: Problem) -> str | None:
        options: dict[str, str] = dict(_OPTION.findall(problem.prompt))
        pairs = [(value.left, name) if value.asked == "right" else (name, value.right) for name in options.values()]
        true = [label for label, pair in zip(options, pairs, strict=True) if pair in value.relation.pairs]
        return (
            None if true == [problem.answer] else f"{problem.prompt!r} is answered by {true}, not by {problem.answer}"
        )


class Science(_Choice):
    """Chemical symbols, animals, the body."""

    category = "bench_choice_science"
    relations = SCIENCE


class Language(_Choice):
    """Plurals, past tenses, opposites."""

    category = "bench_choice_language"
    relations = LANGUAGE


class World(_Choice):
    """Capitals and continents."""

    category = "bench_choice_world"
    relations = WORLD


def _options(question: Question, draw: Draw) -> list[str]:
    """The right option and three wrong ones: other ends of the relation that do not answer the question as well."""
    pairs, fact = question.relation.pairs, (question.left, question.right)
    end = 1 if question.asked == "right" else 0
    given, right = fact[1 - end], fact[end]
    answers = {pair[end] for pair in pairs if pair[1 - end] == given}
    wrong = [name for name in dict.fromkeys(pair[end] for pair in pairs) if name not in answers]
    chosen = [right]
    while len(chosen) < 4:
        name = draw.pick(wrong)
        if name not in chosen:
            chosen.append(name)
    return chosen
