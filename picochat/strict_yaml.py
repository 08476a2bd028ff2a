"""YAML as people write settings. In: a file. Out: plain values. Next: commands.configs, packs.profiles.

PyYAML's own reader lets the second of two equal keys replace the first in silence; here it is a fault with its line.
Nine lists of nine aliases each are 300 million values for whoever walks through them: too many are a fault, too.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from picochat.errors import UserError, nearest
from picochat.strict_json import not_utf8

_LARGEST = 1 << 20  # bytes; reading them takes a second
_MOST_VALUES = 100_000  # the shipped configs have 60 values
_WORDS = {str: "text", int: "a whole number", float: "a number", bool: "true or false"} | dict.fromkeys(
    (Sequence, list), "a list"
)


def read_yaml(file: Path) -> Any:
    """The value of a YAML file; UserError names file and line where it is none, is too large, or has a key twice."""
    import yaml  # 20 ms that no help page waits for

    try:
        if (size := file.stat().st_size) > _LARGEST:
            raise UserError(f"{file}: has {size:,} bytes; a config holds settings and nothing else")
        loader = yaml.SafeLoader(file.read_text(encoding="utf-8"))
        node = loader.get_single_node()
        if _count(node, {}, file) > _MOST_VALUES:
            raise UserError(f"{file}: holds more than {_MOST_VALUES:,} values, each alias (*name) counted in full")
        return None if node is None else loader.construct_document(node)
    except UnicodeDecodeError as error:
        fault = not_utf8(error)
        raise UserError(f"{file}:{fault.line}: {fault}") from None
    except OSError as error:
        raise UserError(f"cannot read {file}: {error.strerror}") from error
    except RecursionError:
        raise UserError(f"{file}: is nested too deeply; a config holds settings and nothing else") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{file}:{mark.line + 1}" if mark else str(file)
        problem = getattr(error, "problem", None) or " ".join(str(error).split())
        raise UserError(f"{place}: is not YAML: {problem}; correct it") from None
    except (
        ValueError,
        ArithmeticError,
        LookupError,
        AttributeError,
    ) as error:  # 2001-02-30, 5,000 digits, !!bool maybe
        raise UserError(f"{file}: holds a value that cannot be read: {error}") from None


def check_value(value: Any, hint: Any, place: str) -> None:
    """Raise ValueError, "PLACE.KEY: is 'lots'; use a number", where a value of a file has not the type of a hint:
    int | None, Mapping[str, float], Literal, or a dataclass, whose arguments a mapping holds."""
    kinds = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    words: list[str] = []
    for kind in kinds:
        origin, inner = get_origin(kind) or kind, get_args(kind)
        if is_dataclass(kind) and isinstance(value, dict):
            return _check_arguments(value, kind, place)
        if origin in (Mapping, dict) and isinstance(value, dict):
            for key, one in value.items():
                check_value(key, str, place)
                check_value(one, inner[1], f"{place}.{key}")
            return None
        if origin in (Sequence, list) and isinstance(value, list):
            for number, one in enumerate(value):
                check_value(one, inner[0], f"{place}[{number}]")
            return None
        if origin is Literal:
            fits = value in inner
            words += inner
        else:
            fits = type(value) is kind or (kind is float and type(value) is int) or kind is Any
            words += [_WORDS.get(origin, "a mapping (key: value)")] if kind is not type(None) else []
        if fits and not (isinstance(value, float) and not math.isfinite(value)):
            return None
    raise ValueError(f"{place}: is {value!r}; use {' or '.join(dict.fromkeys(words))}")


def _check_arguments(table: dict[Any, Any], kind: Any, place: str) -> None:
    hints = get_type_hints(kind)
    for key, value in table.items():
        if key not in hints:
            raise ValueError(f"{place}.{key}: unknown key{nearest(str(key), hints)}; known are {', '.join(hints)}")
        check_value(value, hints[key], f"{place}.{key}")
    for field in fields(kind):
        if field.default is field.default_factory is MISSING and field.name not in table:
            raise ValueError(f"{place}: lacks the key {field.name}; add it")


def _count(node: Any, known: dict[int, int], file: Path) -> int:
    """Nodes from this one on with every alias expanded: each is counted once, and taken as often as it is named."""
    if id(node) not in known:
        known[id(node)] = _MOST_VALUES + 1  # until it is counted: an alias may name what it is part of
        items = node.value if isinstance(getattr(node, "value", None), list) else []
        keys = set[str]()
        for key, _ in (item for item in items if isinstance(item, tuple) and isinstance(item[0].value, str)):
            if key.value in keys:
                raise UserError(f"{file}:{key.start_mark.line + 1}: has the key {key.value!r} twice; keep one of them")
            keys.add(key.value)
        parts = [part for item in items for part in (item if isinstance(item, tuple) else (item,))]
        known[id(node)] = 1 + sum(_count(part, known, file) for part in parts)
    return known[id(node)]
