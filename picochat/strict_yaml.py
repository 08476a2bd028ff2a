"""YAML as people write settings. In: a file. Out: plain values. Next: commands.configs, packs.mixture_file.

PyYAML's own reader lets the second of two equal keys replace the first in silence; here it is a fault with its line.
Nine lists of nine aliases each are 300 million values for whoever walks through them: too many are a fault, too.
"""

import contextlib
from pathlib import Path
from typing import Any

from picochat.errors import UserError

_LARGEST = 1 << 20  # bytes; reading them takes a second
_MOST_VALUES, _DEEPEST = 100_000, 100  # the shipped configs have 60 values


def read_yaml(file: Path) -> Any:
    """The value of a YAML file; UserError names file and line where it is none, is too large, or has a key twice."""
    import yaml  # 20 ms that no help page waits for

    try:
        if (size := file.stat().st_size) > _LARGEST:
            raise UserError(f"{file}: has {size:,} bytes; a config holds settings and nothing else")
        loader = yaml.SafeLoader(file.read_text(encoding="utf-8"))
        node = loader.get_single_node()
        _check(node, str(file))
        return None if node is None else loader.construct_document(node)
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise UserError(f"{file}:{line}: is not UTF-8; save it as UTF-8") from None
    except OSError as error:
        raise UserError(f"cannot read {file}: {error.strerror}") from error
    except RecursionError:
        raise UserError(f"{file}: is nested too deeply; a config holds settings and nothing else") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{file}:{mark.line + 1}" if mark else str(file)
        problem = getattr(error, "problem", None) or " ".join(str(error).split())
        raise UserError(f"{place}: is not YAML: {problem}; correct it") from None
    except (ValueError, ArithmeticError) as error:  # 2001-02-30, or a number of 5,000 digits
        raise UserError(f"{file}: holds a value that cannot be read: {error}") from None


def refuse_bomb(text: str, place: str) -> None:
    """Raise UserError for what would exhaust memory or the stack of libyaml; what is no YAML passes."""
    import yaml

    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # jsonargparse's; C takes tabs, too
    depth = 0
    with contextlib.suppress(yaml.YAMLError):
        for event in yaml.parse(text, Loader=loader):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > _DEEPEST:
                raise UserError(f"{place}: is nested too deeply; a config holds settings and nothing else")
        _check(loader(text).get_single_node(), place)


def _check(root: Any, place: str) -> None:
    if _count(root, {}, place) > _MOST_VALUES:
        raise UserError(f"{place}: its aliases (*name) expand to more than {_MOST_VALUES:,} values; write them out")


def _count(node: Any, known: dict[int, int], place: str) -> int:
    """Nodes from this one on with every alias expanded: each is counted once, and taken as often as it is named."""
    if id(node) not in known:
        known[id(node)] = _MOST_VALUES + 1  # until it is counted: an alias may name what it is part of
        items = node.value if isinstance(getattr(node, "value", None), list) else []
        keys = set[str]()
        for key, _ in (item for item in items if isinstance(item, tuple) and isinstance(item[0].value, str)):
            if key.value in keys:
                raise UserError(f"{place}:{key.start_mark.line + 1}: has the key {key.value!r} twice; keep one of them")
            keys.add(key.value)
        parts = [part for item in items for part in (item if isinstance(item, tuple) else (item,))]
        known[id(node)] = 1 + sum(_count(part, known, place) for part in parts)
    return known[id(node)]
