"""YAML as people write settings. In: a file. Out: plain values. Next: commands.configs, packs.mixture_file.

PyYAML's own reader lets the second of two equal keys replace the first in silence; here it is a fault with its line.
"""

from pathlib import Path
from typing import Any

from picochat.errors import UserError


def read_yaml(file: Path) -> Any:
    """The value of a YAML file.

    Raises:
        UserError: the file cannot be read, or is not YAML; the message names file and line.
    """
    import yaml  # 20 ms that no help page waits for

    try:
        loader = yaml.SafeLoader(file.read_text(encoding="utf-8"))
        node = loader.get_single_node()
        if twice := _repeated_key(node):
            raise UserError(f"{file}:{twice.start_mark.line + 1}: has the key {twice.value!r} twice; keep one of them")
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


def _repeated_key(root: Any) -> Any:
    """The second node of a key that a mapping has twice, or None."""
    waiting, seen = [root], set[int]()
    while waiting:
        node = waiting.pop()
        if id(node) in seen or not isinstance(getattr(node, "value", None), list):
            continue
        seen.add(id(node))  # an alias may name what it is part of
        keys: set[str] = set()
        for item in node.value:
            key, value = item if isinstance(item, tuple) else (None, item)
            if key is not None and isinstance(key.value, str):
                if key.value in keys:
                    return key
                keys.add(key.value)
            waiting.append(value)
    return None
