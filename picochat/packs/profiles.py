"""What a mixture is made of. In: a profile's name. Out: components, categories, stages and their rows. Next: mixture.

    capability ─┬─ 0.72 weak_skills ──────┬─ bench_math_addition ─┬─ single_digit      (shares of a task's stages
                │                         ├─ bench_spelling_count └─ two_digit …        are the task's own)
                │                         └─ …
                └─ 0.28 behavior_anchor ──┬─ 0.85 identity
                                          └─ 0.15 refusal

``quotas.largest_remainder`` turns shares into whole rows on each of the three levels: what is asked for comes out.
"""

import functools
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Literal

from picochat.errors import UserError
from picochat.packs.quotas import exact
from picochat.plugins import load_named


@dataclass(frozen=True)
class Component:
    """One part of a mixture.

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


@functools.cache
def built_in_profiles() -> Mapping[str, Profile]:
    """The profiles of profiles.toml by name."""
    table = tomllib.loads((resources.files("picochat.packs") / "profiles.toml").read_text(encoding="utf-8"))
    return {
        name: Profile(name, tuple(Component(**{**one, "tasks": table["tasks"][one["tasks"]]}) for one in components))
        for name, components in table["profile"].items()
    }


def load_profile(name: str) -> Profile:
    """The profile of that name: built in, registered by a package (``picochat.profiles``), or a path ``module.name``.

    Raises:
        UserError: there is none.
    """
    if name in built_in_profiles():
        return built_in_profiles()[name]
    found = load_named(name, "picochat.profiles", f"profile (built in: {', '.join(built_in_profiles())})")
    if not isinstance(found, Profile):
        raise UserError(f"--profile {name} is a {type(found).__name__}; a picochat.packs.Profile is expected")
    return found
