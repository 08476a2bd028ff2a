"""Questions with four options. In: content/en/facts.toml. Out: choice problems of science, language, world. Next: rows.

A fact can be asked from both ends (What is the capital of France? Paris is the capital of which country?), and each end
is a problem: evaluation can ask one end of a fact whose other end was taught. Of every fifth fact both ends are held
out: only what the model knew before can answer those ("probe"). The label alone is the answer: it is scored by its
likelihood, which a scratchpad in front would change.
"""

import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, ClassVar, NamedTuple

from picochat.packs.content import cells, content
from picochat.packs.quotas import Side
from picochat.packs.tasks.base import Draw, Family, Phrasing, Problem, Task

LABELS = ("A", "B", "C", "D")
_OPTION = re.compile(r"\b([A-D])[.):] ([^\n,.]+)")


class Question(NamedTuple):
    """One end of one fact, whose name is "capital/France": "right" asks for Paris, given France."""

    relation: str
    fact: str
    asked: str
    given: str
    wanted: str


class _Choice(Task):
    """Values: questions. A template is "label|wording|layout": each label, each wording, each layout."""

    stages: ClassVar[Mapping[str, float]] = {"facts": 1.0}
    subject: ClassVar[str]

    def values(self, stage: str) -> Sequence[Question]:
        return [
            Question(relation, f"{relation}/{left}", *end)
            for relation in content("facts")[self.subject]
            for left, right in _pairs(self.subject, relation)
            for end in (("right", left, right), ("left", right, left))
        ]

    def key(self, stage: str, value: Question) -> str:
        return f"choice:{value.fact}/{value.asked}"

    def unit(self, stage: str, value: Question) -> str:
        return f"fact:{value.fact}"

    def side(self, stage: str, value: Question) -> Side:
        return "eval" if self.split(self.unit(stage, value)) == "eval" else self.split(self.key(stage, value))

    def phrasings(self, stage: str, value: Question, phrasing: Phrasing) -> Sequence[Family]:
        return _families(self.subject, value.relation, value.asked if phrasing == "known" else f"new_{value.asked}")

    def pose(self, stage: str, value: Question, template: str, draw: Draw) -> Problem:
        label, wording, layout = template.split("|")
        given, wanted = value.given, value.wanted
        labels = (label, *(other for other in LABELS if other != label))
        options = dict(zip(labels, _options(_pairs(self.subject, value.relation), value, draw), strict=True))
        prompt = layout.format(question=wording.format(given), **options)
        checks: dict[str, Any] = {"choice_labels": list(LABELS), "correct_choice": label}
        telling = (*[given] * (1 + (given in LABELS)), wanted)  # the symbol C, and the label that every question has
        return Problem(prompt, label, label, checks=checks, fact=value.fact, tags={"choice": wanted}, content=telling)

    def fault(self, stage: str, value: Question, problem: Problem) -> str | None:
        facts, order = _pairs(self.subject, value.relation), 1 if value.asked == "right" else -1
        options = dict(_OPTION.findall(problem.prompt))
        true = [label for label, name in options.items() if (value.given, name)[::order] in facts]
        right = true == [problem.answer]
        return None if right else f"{problem.prompt!r} is answered by {true}, not by {problem.answer}"


class Science(_Choice):
    """Chemical symbols, animals, the body."""

    category = "bench_choice_science"
    subject = "science"


class Language(_Choice):
    """Plurals, past tenses, opposites."""

    category = "bench_choice_language"
    subject = "language"


class World(_Choice):
    """Capitals and continents."""

    category = "bench_choice_world"
    subject = "world"


@cache
def _pairs(subject: str, relation: str) -> Sequence[tuple[str, str]]:
    return [(left, right) for left, right in map(cells, content("facts")[subject][relation]["pairs"])]


@cache
def _families(subject: str, relation: str, wordings: str) -> Sequence[Family]:
    words = content("facts")
    return [
        [f"{label}|{wording}|{layout}" for layout in words["layouts"] for label in LABELS]
        for wording in words[subject][relation][wordings]
    ]


def _options(pairs: Sequence[tuple[str, str]], question: Question, draw: Draw) -> list[str]:
    """The right option and three wrong ones: other ends of the relation that do not answer the question as well."""
    end = int(question.asked == "right")
    answers = {pair[end] for pair in pairs if pair[1 - end] == question.given}
    wrong = [name for name in dict.fromkeys(pair[end] for pair in pairs) if name not in answers]
    chosen = [question.wanted]
    while len(chosen) < len(LABELS):
        name = draw.pick(wrong)
        if name not in chosen:
            chosen.append(name)
    return chosen
