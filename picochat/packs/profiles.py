"""What a mixture is made of. In: a mixture file, or a profile's name. Out: a `Profile`. Next: packs.mixture.

    capability ─┬─ 0.72 weak_skills ──────┬─ 0.13 bench_math_addition ─┬─ single_digit    (shares of a task's stages
                │                         ├─ 0.10 bench_spelling_count └─ two_digit …       are the task's own)
                └─ 0.28 behavior_anchor ──┬─ 0.85 identity
                                          └─ 0.15 refusal

    components:
      - name: support
        weight: 0.5
        benchmark_profile: support
        gate: {refunds: 0.7, echo: 0.05}
        lanes:
          refunds:   {share: 0.6, file: refunds.jsonl, check: {includes_any: [refund]}, hold_out: 0.1}
          smalltalk: {share: 0.4, hub: HuggingFaceTB/smol-smoltalk, split: train, rows: 20000}
      - {name: anchor, weight: 0.5, benchmark_profile: release_behavior, lanes: {identity: 0.85, refusal: 0.15}}

The keys are those of `Component` and `Lane`. release, capability, balanced and benchmark are such files, in
configs/mixtures/. ``quotas.largest_remainder`` turns shares into whole rows on each level: what is asked for comes out.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from picochat.errors import UserError, nearest
from picochat.files import sha256_file
from picochat.packs.formats import Reading
from picochat.packs.quotas import exact
from picochat.packs.rows import CHECKS as NAMED
from picochat.packs.rows import check_row, is_check
from picochat.plugins import find_plugin, load_named
from picochat.strict_yaml import check_value, read_yaml

CHECKS = {  # name in `check:` → field of an eval row; others go into the row's `check`
    "exact": "answer",  # true: the row's own reply is the answer
    "includes": "must_include",
    "includes_any": "must_include_any",
    "excludes": "must_not_include",
    "max_words": "max_words",
    "answerable": "answerable",
}
HABITS = ("echo", "loops", "claims", "skill_claims", "over_refusal")
"""What `judge` may name, faults beside the content; `skill_claims`: claims of arithmetic and spelling as well."""
DIAGNOSTIC = "diagnostic"  # the `claim` of a component about which nothing is said in public
_OF_ROWS = ("rows", "reading", "hold_out", "split", "eval_file", "repeat")  # settings of lanes whose rows are read
_ANY_ROW = {"steps": ["2 + 2 = 4"], "choice_labels": ["A", "B"], "correct_choice": "A"}  # whatever a check may need
_SHIPPED = Path(__file__).parents[1] / "configs" / "mixtures"
_GROUP = "picochat.profiles"


@dataclass(frozen=True)
class Lane:
    """A named part of a component, and where its rows come from: one of task, file and hub.

    Args:
        share: of the component's rows.
        task: generates them: a category, an entry point of ``picochat.tasks`` or a class path (``my_tasks.Roman``).
            None without file and data set: the task of the lane's own name.
        file: rows of anybody, in one of the forms that picochat reads.
        hub: a data set, "OWNER/NAME" or "OWNER/NAME:CONFIG".
        rows: the most rows that are read of file or data set, from its beginning.
        reading: the arguments of `Reading`; {"format": "text"} for a corpus, learnt as it is (a placebo for lanes).
        hold_out: the share of questions that is held out, by hash. None: 0.2 where rows have a check, else 0.
        split: of the data set; {"train": …, "eval": …} takes each side from one of its own (of a file: its field).
        eval_file: a second file, of the rows of the eval side.
        check: name of a check → what it wants: for eval rows without one, and where generated rows are judged.
        repeat: how often a row may come in training.
        gate: the share of the lane's rows that must pass before its component is claimed.
        judge: those of `HABITS` that fail a reply. None: as the component says.
    """

    share: float
    task: str | None = None
    file: str | None = None
    hub: str | None = None
    rows: int | None = None
    reading: Mapping[str, Any] | None = None
    hold_out: float | None = None
    split: str | Mapping[str, str] | None = None
    eval_file: str | None = None
    check: Mapping[str, Any] | None = None
    repeat: int = 1
    gate: float | None = None
    judge: Sequence[str] | None = None


@dataclass(frozen=True)
class Component:
    """One part of a mixture.

    Args:
        name: goes into ``mixture_component``.
        weight: share of the profile's rows.
        benchmark_profile: goes into ``mixture_benchmark_profile``.
        lanes: its lanes by name; a number stands for ``Lane(number)``.
        source: "offline" (generated), or "asked": whatever ``--source`` says.
        answer_style: "direct", "scratchpad", or "asked": whatever ``--skill-answer-style`` says.
        gate: skill or lane → share that must pass before anything is claimed; ``echo``: share that may echo the prompt.
        claim: what may be said once all gates are met; "diagnostic": nothing.
        judge: those of `HABITS` that fail a reply; by the others it is only marked.
    """

    name: str
    weight: float
    benchmark_profile: str
    lanes: Mapping[str, Any]
    source: Literal["offline", "asked"] = "offline"
    answer_style: Literal["direct", "scratchpad", "asked"] = "asked"
    gate: Mapping[str, float] | None = None
    claim: str | None = None
    judge: Sequence[str] = ()

    def __post_init__(self) -> None:
        lanes = {name: lane if isinstance(lane, Lane) else Lane(lane) for name, lane in self.lanes.items()}
        for name, lane in lanes.items():
            if not (lane.file or lane.hub):
                lanes[name] = replace(lane, task=lane.task or name)
        object.__setattr__(self, "lanes", lanes)


@dataclass(frozen=True)
class Profile:
    """A named mixture; the weights of its components sum to 1, and so do the shares of the lanes of each.

    Args:
        name: goes into file names and ``mixture_profile``.
        path: the mixture file that it was read from, to which its files are relative; None: the current directory.
    """

    name: str
    components: tuple[Component, ...]
    path: Path | None = None

    def __post_init__(self) -> None:
        if fault := next(self._faults(), None):
            raise UserError(f"{self.label}: {fault}")

    @property
    def label(self) -> str:
        """How messages call it: by its file, if it has one."""
        return str(self.path or f"profile {self.name}")

    def file(self, name: str) -> Path:
        """Where a file of the mixture lies."""
        return Path(name) if self.path is None else self.path.parent / name

    @property
    def lanes(self) -> dict[tuple[str, str], Lane]:
        """All lanes by (component, name)."""
        return {(part.name, name): lane for part in self.components for name, lane in part.lanes.items()}

    def described(self) -> dict[str, Any]:
        """The mixture as JSON values, with the sha256 of its files: what a report says that rows were made from."""
        files = sorted({name for lane in self.lanes.values() for name in (lane.file, lane.eval_file) if name})
        components = [asdict(component, dict_factory=_without_none) for component in self.components]
        return {"components": components, "files": {name: sha256_file(self.file(name)) for name in files}}

    def _faults(self) -> Iterator[str]:
        if not re.fullmatch(r"\w[\w.-]*", self.name):
            yield f"the profile name '{self.name}' goes into file names: use letters, digits, - and _"
        if len({component.name for component in self.components}) < len(self.components):
            yield "two components have the same name"
        shares = {"components": [component.weight for component in self.components]}
        for component in self.components:
            shares[f"components.{component.name}.lanes"] = [lane.share for lane in component.lanes.values()]
        for key, parts in shares.items():
            if (total := sum(map(exact, parts))) != 1 or min(parts) <= 0:
                yield f"the shares of {key} must be above 0 and sum to 1, not {float(total)}"
        for component in self.components:
            key, gates = f"components.{component.name}", list((component.gate or {}).values())
            yield from _limit_faults(key, {"gate": gates}, component.judge)
            for name, lane in component.lanes.items():
                yield from self._lane_faults(f"{key}.lanes.{name}", lane)

    def _lane_faults(self, key: str, lane: Lane) -> Iterator[str]:
        sources = [name for name in ("task", "file", "hub") if getattr(lane, name) is not None]
        if len(sources) > 1:
            yield f"{key}: names two sources, {' and '.join(sources)}; keep one of them"
        split = isinstance(lane.split, Mapping)
        idle = [field for field in _OF_ROWS if lane.task and getattr(lane, field) not in (None, 1)]
        if idle := idle or ["split"] * (lane.file is not None and isinstance(lane.split, str)):
            yield f"{key}.{idle[0]}: has no effect on the source `{sources[0]}`; leave it out"
        ways = {"hold_out": lane.hold_out is not None, "split": split, "eval_file": lane.eval_file is not None}
        if len(held := [name for name, used in ways.items() if used]) > 1:
            yield f"{key}: {' and '.join(held)} both say what is held out; keep one of them"
        if split and set(lane.split or ()) != {"train", "eval"}:
            yield f"{key}.split: names {', '.join(lane.split or ())}; name the splits train and eval"
        yield from _limit_faults(key, {"gate": [lane.gate], "hold_out": [lane.hold_out]}, lane.judge or ())
        for field, number in (("rows", lane.rows), ("repeat", lane.repeat)):
            if number is not None and number < 1:
                yield f"{key}.{field}: is {number}; use a number from 1"
        try:
            check_value(dict(lane.reading or {}), Reading, f"{key}.reading")
            Reading(**lane.reading or {})
        except ValueError as error:
            yield str(error)
        except UserError as error:
            yield f"{key}.reading: {error}"
        known = dict.fromkeys([*CHECKS, *NAMED])
        for name, value in (lane.check or {}).items():
            if name not in CHECKS and not is_check(name):
                yield f"{key}.check.{name}: unknown check{nearest(name, known)}; known are {', '.join(known)}"
            elif name in CHECKS and lane.task:
                yield f"{key}.check.{name}: has no effect on the source `task`, whose rows say it; leave it out"
            elif name == "exact" and not isinstance(value, bool):
                yield f"{key}.check.exact: is {value!r}; use true or false"
            else:
                try:
                    check_row({**_ANY_ROW, **({CHECKS[name]: value} if name in CHECKS else {"check": {name: value}})})
                except ValueError as error:
                    yield f"{key}.check.{name}: {error}"
        for field, file in (("file", lane.file), ("eval_file", lane.eval_file)):
            if file is not None and not self.file(file).is_file():
                yield f"{key}.{field}: {self.file(file)} does not exist"


def _limit_faults(key: str, limits: Mapping[str, Sequence[float | None]], judge: Sequence[str]) -> Iterator[str]:
    for name, numbers in limits.items():
        if wrong := [number for number in numbers if number is not None and not 0 <= number <= 1]:
            yield f"{key}.{name}: is {wrong[0]}; use a share from 0 to 1"
    if unknown := [habit for habit in judge if habit not in HABITS]:
        yield f"{key}.judge: is {unknown[0]!r}{nearest(str(unknown[0]), HABITS)}; use {', '.join(HABITS)}"


def _without_none(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return {name: [*value] if isinstance(value, tuple) else value for name, value in pairs if value is not None}


def built_in_profiles() -> dict[str, Profile]:
    """The profiles that come with picochat by name."""
    return {file.stem: read_mixture(file) for file in sorted(_SHIPPED.glob("*.yaml"))}


def load_profile(name: str) -> Profile:
    """The profile of that name: built in, a mixture file, registered by a package (a `Profile`, or a module in whose
    folder lies NAME.yaml), or a path ``module.name``; UserError where there is none, or a faulty one."""
    if Path(name).suffix in (".yaml", ".yml"):
        return read_mixture(Path(name))
    built_in = [file.stem for file in sorted(_SHIPPED.glob("*.yaml"))]
    if name in built_in:
        return read_mixture(_SHIPPED / f"{name}.yaml")
    if (plugin := find_plugin(_GROUP, name)) and ":" not in plugin.target:
        if file := plugin.file(f"{name}.yaml"):
            return read_mixture(file)
        raise UserError(f"{plugin.package} names a profile {name} in {plugin.target}, but there is no {name}.yaml")
    found = load_named(name, _GROUP, f"profile (a mixture file, or built in: {', '.join(built_in)})")
    if not isinstance(found, Profile):
        raise UserError(f"--profile {name} is a {type(found).__name__}; a picochat.packs.Profile is expected")
    return found


def read_mixture(file: Path) -> Profile:
    """Read and check a mixture file; UserError: one sentence with the file and the key at fault."""
    try:
        table = read_yaml(file)
        if not isinstance(table, dict) or set(table) != {"components"} or not isinstance(table["components"], list):
            raise ValueError("holds no mixture; write `components:` and a list of them into it, and nothing else")
        components = []
        for number, part in enumerate(table["components"]):
            named = isinstance(part, dict) and "name" in part
            place, lanes = f"components.{part['name']}" if named else f"components[{number}]", {}
            check_value(part, Component, place)
            for name, lane in part["lanes"].items():
                check_value(lane, Lane | float, f"{place}.lanes.{name}")
                lanes[name] = Lane(**lane) if isinstance(lane, dict) else Lane(lane)
            components.append(Component(**{**part, "lanes": lanes}))
        return Profile(file.stem, tuple(components), file)
    except ValueError as error:
        raise UserError(f"{file}: {error}") from None
