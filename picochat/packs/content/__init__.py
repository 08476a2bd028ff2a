"""What tasks say. In: the name of a file. Out: the tables of en/<name>.toml, with tuples for lists. Next: packs.tasks.

One phrase a line: a wording, a situation or a fact is added by adding a line. tests/packs/test_content.py tells of an
unknown {slot}, a phrase that stands twice, and a side that is empty.
"""

import functools
import tomllib
from importlib import resources
from typing import Any

from picochat.errors import UserError


@functools.cache
def content(name: str) -> dict[str, Any]:
    """One file, read once."""
    file = resources.files(__name__) / "en" / f"{name}.toml"
    try:
        return {key: _frozen(value) for key, value in tomllib.loads(file.read_text(encoding="utf-8")).items()}
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{file}: {error}") from None


def cells(line: str) -> list[str]:
    """The parts of a phrase that has several: "the weather in {place} | the weather"."""
    return line.split(" | ")


def _frozen(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _frozen(inner) for key, inner in value.items()}
    return tuple(map(_frozen, value)) if isinstance(value, list) else value
