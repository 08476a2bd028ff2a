"""What a skill is. In: a seed. Out: problems whose answers and steps are known. Next: packs.generation.

A *task* is one category of rows (``bench_math_addition``). It lists its problems, stage by stage, and words each:

    stages               {"two_digit_carry": 0.6, "three_digit": 0.4}         shares of the category's rows
    values(stage)        [(15, 27), (15, 28), …]                              every problem once, in a fixed order
    key(stage, value)    "add:15+27"                                          commuted operands share a key
    unit(stage, value)   "add:15+27", "word:sheep"                            what is held out with it, whole
    phrasings(…)         known: ("What is {a} + {b}?", …)   new: (…)          new ones are never trained on
    pose(…)              Problem(prompt="What is 27 + 15?", answer="42", steps=("27+15", "7+5=12, carry 1", …))

The sha256 of the unit assigns a problem to training or evaluation, in every pack and with every seed; a salt makes
other sides. Rows name their unit as their *cluster*: all replies about one held-out word are one piece of evidence.
"""

import random
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar, Literal, NamedTuple, TypeVar

from picochat.packs.quotas import Side, split_of

Phrasing = Literal["known", "new"]
Family = str | Sequence[str]
"""One way of asking: a template, or several that differ in a detail only (the thing counted, the order of operands)."""

T = TypeVar("T")


class Draw:
    """Random choices, the same on every machine and Python version (only ``Random.random()`` is promised to stay)."""

    __slots__ = ("_random",)

    def __init__(self, seed: int, *purpose: object) -> None:
        self._random = random.Random("/".join(map(str, (seed, *purpose)))).random

    def below(self, n: int) -> int:
        """A whole number from 0 to n - 1."""
        return int(self._random() * n)

    def chance(self, probability: float) -> bool:
        """True with this probability."""
        return self._random() < probability

    def pick(self, options: Sequence[T]) -> T:
        """One of the options."""
        return options[int(self._random() * len(options))]

    def shuffled(self, items: Sequence[T]) -> list[T]:
        """The items in a random order (Fisher and Yates), the original untouched."""
        deck = list(items)
        for last in range(len(deck) - 1, 0, -1):
            other = self.below(last + 1)
            deck[last], deck[other] = deck[other], deck[last]
        return deck


def members(family: Family) -> Sequence[str]:
    """The templates of a family."""
    return (family,) if isinstance(family, str) else family


class Problem(NamedTuple):
    """One problem in words, with everything that a teacher knows about it.

    Args:
        prompt: what the user says.
        reply: the whole reply in direct style.
        answer: the short exact answer that an eval row checks; empty where only ``checks`` can judge (identity).
        steps: the lines of the scratchpad, without the last one (``Final answer: …``); empty: there is no scratchpad.
        checks: further fields of the eval row (``must_include_any``, ``choice_labels``, …).
        answerable: False where a good reply declines.
        fact: what a row of knowledge teaches or asks ("capital:France"): eval rows say whether training teaches it.
        tags: further fields for chat and eval row alike.
        content: the words that make this problem this one (operands, the word to be spelled); eight words in a row
            that training shares are contamination only if they hold all of these. None: any eight are.
    """

    prompt: str
    reply: str
    answer: str = ""
    steps: tuple[str, ...] = ()
    checks: Mapping[str, Any] = MappingProxyType({})
    answerable: bool = True
    fact: str | None = None
    tags: Mapping[str, Any] = MappingProxyType({})
    content: tuple[str, ...] | None = None

    @property
    def scratchpad(self) -> str:
        """The whole reply in scratchpad style; the direct one where there are no steps."""
        return "\n".join((*self.steps, f"Final answer: {self.answer}")) if self.steps else self.reply


class Task(ABC):
    """One category of problems. A subclass sets the class fields and writes ``values``, ``key`` and ``pose``."""

    category: ClassVar[str]
    stages: ClassVar[Mapping[str, float]]
    """Share of each stage in the category's rows; they sum to 1, easy stages first."""
    train_only: ClassVar[Collection[str]] = ()
    """Stages that no evaluation asks; the other stages share the eval rows."""
    eval_only: ClassVar[Collection[str]] = ()
    """Stages that no training row is of."""
    salt: str = ""
    """Put in front of each unit before it is hashed to its side."""
    typos: ClassVar[bool] = False
    """Whether one training prompt in ten has a typo, in a word that is not of the problem's ``content``."""
    known: ClassVar[Sequence[Family]] = ()
    """Phrasings for training and evaluation. A family is drawn first, then a template in it."""
    new: ClassVar[Sequence[Family]] = ()
    """Phrasings for evaluation alone (may be empty)."""

    @abstractmethod
    def values(self, stage: str) -> Sequence[Any]:
        """Every problem of the stage once, in a fixed order."""

    @abstractmethod
    def key(self, stage: str, value: Any) -> str:
        """The canonical name of a problem, e.g. ``add:15+27``; no two values of a task share one."""

    @abstractmethod
    def pose(self, stage: str, value: Any, template: str, draw: Draw) -> Problem:
        """The problem in the words of one template; ``draw`` varies what need not be fixed (names, the reply)."""

    def unit(self, stage: str, value: Any) -> str:
        """What is held out whole: the problem, or something larger."""
        return self.key(stage, value)

    def side(self, stage: str, value: Any) -> Side:
        """Where the problem belongs, permanently."""
        if stage in self.train_only:
            return "train"
        return "eval" if stage in self.eval_only else self.split(self.unit(stage, value))

    def split(self, unit: str) -> Side:
        """The side of a unit."""
        return split_of(unit, purpose=self.salt)

    def phrasings(self, stage: str, value: Any, phrasing: Phrasing) -> Sequence[Family]:
        """The families of templates for a problem."""
        return self.known if phrasing == "known" else self.new

    def fault(self, stage: str, value: Any, problem: Problem) -> str | None:
        """What is wrong with the steps or answer, found by reading them back. One fault stops the build of a pack."""
        return None
