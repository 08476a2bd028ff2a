"""What a mixture is made of. In: a profile's name. Out: components, categories, stages and their rows. Next: mixture.

    capability ─┬─ 0.72 weak_skills ──────┬─ bench_math_addition ─┬─ single_digit      (shares of a task's stages
                │                         ├─ bench_spelling_count └─ two_digit …        are the task's own)
                │                         └─ …
                └─ 0.28 behavior_anchor ──┬─ 0.85 identity
                                          └─ 0.15 refusal

``largest_remainder`` turns shares into whole rows on each of the three levels, so what is asked for is what comes out.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from picochat.errors import UserError
from picochat.packs.quotas import exact
from picochat.plugins import load_named


@dataclass(frozen=True)
class Component:
    """One lane of a mixture.

    Args:
        name: goes into ``mixture_component``.
        weight: share of the profile's rows.
        benchmark_profile: goes into ``mixture_benchmark_profile``.
        tasks: share of each task in the component's rows. A task is named by its category, by an entry point of the
            group ``picochat.tasks``, or by a class path (``my_tasks.Roman``).
        source: "offline" (generated), or "asked": whatever ``--source`` says.
        answer_style: "direct", "scratchpad", or "asked": whatever ``--skill-answer-style`` says.
    """

    name: str
    weight: float
    benchmark_profile: str
    tasks: Mapping[str, float]
    source: Literal["offline", "asked"] = "offline"
    answer_style: Literal["direct", "scratchpad", "asked"] = "asked"


@dataclass(frozen=True)
class Profile:
    """A named mixture; the weights of its components sum to 1."""

    name: str
    components: tuple[Component, ...]

    def __post_init__(self) -> None:
        if not re.fullmatch(r"\w[\w.-]*", self.name):
            raise UserError(f"the profile name '{self.name}' goes into file names: use letters, digits, - and _")
        if len({component.name for component in self.components}) < len(self.components):
            raise UserError(f"profile {self.name}: two components have the same name")
        for what, shares in (
            ("the components", {component.name: component.weight for component in self.components}),
            *((f"the tasks of {component.name}", component.tasks) for component in self.components),
        ):
            total = sum(map(exact, shares.values()))
            if total != 1 or min(shares.values()) <= 0:
                raise UserError(
                    f"profile {self.name}: the shares of {what} must be above 0 and sum to 1, not {float(total)}"
                )


def load_profile(name: str) -> Profile:
    """The profile of that name: built in, registered by a package (``picochat.profiles``), or a path ``module.name``.

    Raises:
        UserError: there is none.
    """
    if name in PROFILES:
        return PROFILES[name]
    found = load_named(name, "picochat.profiles", f"profile (built in: {', '.join(PROFILES)})")
    if not isinstance(found, Profile):
        raise UserError(f"--profile {name} is a {type(found).__name__}; a picochat.packs.Profile is expected")
    return found


_BEHAVIOR = {"identity": 0.85, "refusal": 0.15}
# Arithmetic and spelling, half each; lanes with short replies get more rows, because what is learnt from are tokens. No
# choice, identity or refusal in here: the anchor carries identity and refusal, and the recipe lets a capability pack
# claim nothing about knowledge.
_SKILLS = {
    "bench_math_addition": 0.13,
    "bench_math_subtraction": 0.17,
    "bench_math_multiplication": 0.11,
    "bench_math_removal": 0.09,
    "bench_spelling_count": 0.10,
    "bench_spelling_first": 0.09,
    "bench_spelling_last": 0.09,
    "bench_spelling_spaced": 0.10,
    "bench_spelling_reverse": 0.12,
}
# Choice 34 %, math 24 %, spelling 20 %, identity 8 %, refusal 14 %.
_FULL = {
    "bench_choice_science": 0.12,
    "bench_choice_language": 0.10,
    "bench_choice_world": 0.12,
    "bench_math_addition": 0.08,
    "bench_math_subtraction": 0.06,
    "bench_math_multiplication": 0.05,
    "bench_math_removal": 0.05,
    "bench_spelling_count": 0.06,
    "bench_spelling_first": 0.03,
    "bench_spelling_last": 0.03,
    "bench_spelling_spaced": 0.04,
    "bench_spelling_reverse": 0.04,
    "identity": 0.08,
    "refusal": 0.14,
}

PROFILES: Mapping[str, Profile] = {
    profile.name: profile
    for profile in (
        Profile("release", (Component("release_behavior", 1.0, "release_behavior", _BEHAVIOR, answer_style="direct"),)),
        Profile(
            "capability",
            (
                Component("weak_skills", 0.72, "weak_skills", _SKILLS),
                Component("behavior_anchor", 0.28, "release_behavior", _BEHAVIOR, answer_style="direct"),
            ),
        ),
        Profile(
            "balanced",
            (
                Component("release_behavior", 0.25, "release_behavior", _BEHAVIOR, answer_style="direct"),
                Component("weak_skills", 0.45, "weak_skills", _SKILLS),
                Component("benchmark", 0.30, "full", _FULL, source="asked"),
            ),
        ),
        Profile("benchmark", (Component("benchmark", 1.0, "full", _FULL, source="asked"),)),
    )
}
