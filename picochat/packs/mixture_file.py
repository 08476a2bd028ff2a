"""A mixture in YAML. In: a file, or a profile's name. Out: a `Profile`. Next: packs.mixture.

    components:
      - name: support
        weight: 0.5
        benchmark_profile: support
        gate: {refunds: 0.7, echo: 0.05}
        claim: handles refunds
        judge: [echo, loops]
        lanes:
          refunds:   {share: 0.6, file: refunds.jsonl, check: {includes_any: [refund]}, hold_out: 0.1}
          smalltalk: {share: 0.4, hub: HuggingFaceTB/smol-smoltalk, split: train, rows: 20000}
      - {name: anchor, weight: 0.5, benchmark_profile: release_behavior, lanes: {identity: 0.85, refusal: 0.15}}

The keys are those of `Component` and `Lane`; a number in place of a lane is its share, and a lane without a source is
the task of its own name. release, capability, balanced and benchmark are such files, in configs/mixtures/.
"""

import math
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from picochat.errors import UserError, nearest
from picochat.packs.formats import Reading
from picochat.packs.profiles import Component, Lane, Profile
from picochat.plugins import find_plugin, load_named
from picochat.strict_yaml import read_yaml

_SHIPPED = Path(__file__).parents[1] / "configs" / "mixtures"
_GROUP = "picochat.profiles"
_TYPES: dict[str, tuple[type, ...]] = {  # of the values that are no text
    **dict.fromkeys(("share", "weight", "hold_out", "gate"), (int, float)),
    **dict.fromkeys(("rows", "repeat"), (int,)),
    **dict.fromkeys(("lanes", "check", "reading"), (dict,)),
    "judge": (list,),
    "split": (str, dict),
    "strip_control": (bool,),
}
_WORDS = {str: "text", int: "a number", float: "a number", bool: "true or false", list: "a list"}
_WORDS |= {dict: "a mapping (key: value)"}


def built_in_profiles() -> dict[str, Profile]:
    """The profiles that come with picochat by name."""
    return {file.stem: read_mixture(file) for file in sorted(_SHIPPED.glob("*.yaml"))}


def load_profile(name: str) -> Profile:
    """The profile of that name: built in, a mixture file, registered by a package (``picochat.profiles``: a `Profile`,
    or a module in whose folder lies NAME.yaml), or a path ``module.name``.

    Raises:
        UserError: there is none, or its mixture file is faulty.
    """
    if Path(name).suffix in (".yaml", ".yml"):
        return read_mixture(Path(name))
    built_in = [file.stem for file in sorted(_SHIPPED.glob("*.yaml"))]
    if name in built_in:
        return read_mixture(_SHIPPED / f"{name}.yaml")
    if (plugin := find_plugin(_GROUP, name)) and ":" not in plugin.target:
        file = plugin.file(f"{name}.yaml")
        if file is None:
            raise UserError(f"{plugin.package} names a profile {name} in {plugin.target}, but there is no {name}.yaml")
        return read_mixture(file)
    found = load_named(name, _GROUP, f"profile (a mixture file, or built in: {', '.join(built_in)})")
    if not isinstance(found, Profile):
        raise UserError(f"--profile {name} is a {type(found).__name__}; a picochat.packs.Profile is expected")
    return found


def read_mixture(file: Path) -> Profile:
    """Read and check a mixture file.

    Raises:
        UserError: one sentence with the file and the key at fault.
    """
    try:
        table = read_yaml(file)
        if not isinstance(table, dict) or set(table) != {"components"} or not isinstance(table["components"], list):
            raise ValueError("holds no mixture; write `components:` and a list of them into it, and nothing else")
        places = [f"components[{number}]" for number in range(len(table["components"]))]
        return Profile(file.stem, tuple(map(_component, table["components"], places)), file)
    except ValueError as error:
        raise UserError(f"{file}: {error}") from None


def _component(table: Any, place: str) -> Component:
    place = f"components.{table['name']}" if isinstance(table, dict) and "name" in table else place
    values = _checked(Component, table, place)
    for gate, limit in values.get("gate", {}).items():
        _check_type(limit, (int, float), f"{place}.gate.{gate}")
    lanes = {}
    for name, lane in values["lanes"].items():
        _check_type(name, (str,), f"{place}.lanes")
        _check_type(lane, (int, float, dict), f"{place}.lanes.{name}")
        lanes[name] = Lane(**_checked(Lane, lane, f"{place}.lanes.{name}")) if isinstance(lane, dict) else Lane(lane)
        try:
            Reading(**_checked(Reading, lanes[name].reading or {}, f"{place}.lanes.{name}.reading"))
        except UserError as error:
            raise ValueError(f"{place}.lanes.{name}.reading: {error}") from None
    return Component(**{**values, "lanes": lanes})


def _checked(kind: type[Any], table: Any, place: str) -> dict[str, Any]:
    """A table whose keys are fields of the class, whose values have their types, and which lacks none."""
    _check_type(table, (dict,), place)
    known = {field.name: field for field in fields(kind)}
    for key, value in table.items():
        if key not in known:
            raise ValueError(f"{place}.{key}: unknown key{nearest(str(key), known)}; known are {', '.join(known)}")
        kinds = (known[key].type, *get_args(known[key].type))  # Literal[…], or Literal[…] | None
        choices = [word for one in kinds if get_origin(one) is Literal for word in get_args(one)]
        if choices and value not in choices:
            raise ValueError(f"{place}.{key}: is {value!r}; use {' or '.join(choices)}")
        types: tuple[type, ...] = (dict,) if key == "gate" and kind is Component else _TYPES.get(key, (str,))
        _check_type(value, types, f"{place}.{key}")
    for name, field in known.items():
        if field.default is MISSING and name not in table:
            raise ValueError(f"{place}: lacks the key {name}; add it")
    return dict(table)


def _check_type(value: Any, types: tuple[type, ...], place: str) -> None:
    fits = type(value) in types
    if not fits or (isinstance(value, float) and not math.isfinite(value)):
        raise ValueError(f"{place}: is {value!r}; use {' or '.join(dict.fromkeys(_WORDS[one] for one in types))}")
