"""What a mixture is made of. In: a mixture file, or a profile's name. Out: a `Profile`. Next: packs.mixture.

    capability ─┬─ 0.72 weak_skills ──────┬─ 0.13 bench_math_addition ─┬─ single_digit    (shares of a task's stages
                │                         ├─ 0.10 bench_spelling_count └─ two_digit …       are the task's own)
                └─ 0.28 behavior_anchor ──┬─ 0.85 identity
                                          └─ 0.15 refusal

    components:
      - name: support
        weight: 0.5
        benchmark_profile: support
        lanes: {refunds: {share: 1, file: refunds.jsonl, check: {includes_any: [refund]}, hold_out: 0.1}}
      - {name: anchor, weight: 0.5, benchmark_profile: release_behavior, lanes: {identity: 0.85, refusal: 0.15}}

The keys are those of `Component` and `Lane`. The built-in profiles are such files, in configs/mixtures/.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from picochat.errors import UserError
from picochat.files import sha256_file
from picochat.packs.formats import Reading
from picochat.packs.quotas import exact
from picochat.packs.rows import check_row
from picochat.plugins import find_plugin, load_named
from picochat.strict_yaml import check_value, read_yaml

Habit = Literal["echo", "loops", "claims", "skill_claims", "over_refusal"]
"""Faults of a reply beside its content; `skill_claims`: claims of arithmetic and spelling as well."""
DIAGNOSTIC = "diagnostic"  # the `claim` of a component about which nothing is said in public
_OF_ROWS = ("rows", "reading", "hold_out", "split", "eval_file", "repeat")  # settings of lanes whose rows are read
# whatever a check may need
_ANY_ROW = {"answer": "4", "steps": ["2 + 2 = 4"], "choice_labels": ["A", "B"], "correct_choice": "A"}
_SHARE = "use a share from 0 to 1"
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
        check: name of a check → what it wants, for eval rows without one, and beside those of a task's rows;
            {"exact": true}: the row's own reply.
        repeat: how often a row may come in training.
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
        judge: the habits that fail a reply; by the others it is only marked.
    """

    name: str
    weight: float
    benchmark_profile: str
    lanes: Mapping[str, Any]
    source: Literal["offline", "asked"] = "offline"
    answer_style: Literal["direct", "scratchpad", "asked"] = "asked"
    gate: Mapping[str, float] | None = None
    claim: str | None = None
    judge: Sequence[Habit] = ()

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

    @property
    def files(self) -> dict[str, Path]:
        """The files of its lanes, as they are named there, and where they lie."""
        names = {name for lane in self.lanes.values() for name in (lane.file, lane.eval_file) if name}
        return {name: self.file(name) for name in sorted(names)}

    def described(self) -> dict[str, Any]:
        """The mixture as JSON values, with the sha256 of its files: what a report says that rows were made from."""
        components = [asdict(component, dict_factory=_without_none) for component in self.components]
        return {"components": components, "files": {name: sha256_file(file) for name, file in self.files.items()}}

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
            key = f"components.{component.name}"
            for name, gate in (component.gate or {}).items():
                if not 0 <= gate <= 1:
                    yield f"{key}.gate.{name}: is {gate}; {_SHARE}"
            for name, lane in component.lanes.items():
                yield from (f"{key}.lanes.{name}{fault}" for fault in self._lane_faults(lane))

    def _lane_faults(self, lane: Lane) -> Iterator[str]:
        sources = [name for name in ("task", "file", "hub") if getattr(lane, name) is not None]
        if len(sources) > 1:
            yield f": names two sources, {' and '.join(sources)}; keep one of them"
        idle = [field for field in _OF_ROWS if lane.task and getattr(lane, field) != getattr(Lane, field)]
        if lane.file and isinstance(lane.split, str):
            idle = ["split"]
        if idle:
            yield f".{idle[0]}: has no effect on the source `{sources[0]}`; leave it out"
        sides = isinstance(lane.split, Mapping)
        ways = {"hold_out": lane.hold_out is not None, "split": sides, "eval_file": lane.eval_file is not None}
        if len(held := [name for name, used in ways.items() if used]) > 1:
            yield f": {' and '.join(held)} both say what is held out; keep one of them"
        if sides and set(lane.split or ()) != {"train", "eval"}:
            yield f".split: names {', '.join(lane.split or ())}; name the splits train and eval"
        if not 0 <= (lane.hold_out or 0) <= 1:
            yield f".hold_out: is {lane.hold_out}; {_SHARE}"
        for field, number in (("rows", lane.rows), ("repeat", lane.repeat)):
            if number is not None and number < 1:
                yield f".{field}: is {number}; use a number from 1"
        try:
            check_value(dict(lane.reading or {}), Reading, ".reading")
            Reading(**lane.reading or {})
        except ValueError as error:
            yield str(error)
        except UserError as error:
            yield f".reading: {error}"
        for name, value in (lane.check or {}).items():
            try:
                check_row({**_ANY_ROW, "check": {name: value}})
            except ValueError as error:
                yield f".check.{name}: {error}"
        for field, file in (("file", lane.file), ("eval_file", lane.eval_file)):
            if file is not None and not self.file(file).is_file():
                yield f".{field}: {self.file(file)} does not exist"


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
        return read_mixture(plugin.file(f"{name}.yaml"))
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
