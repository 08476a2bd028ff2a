"""Where configs are found: in the current folder, else among those that come with picochat. Imports nothing heavy."""

import importlib.resources
from pathlib import Path

from picochat.cli import nearest
from picochat.errors import UserError


def shipped_configs() -> dict[str, Path]:
    """Name → path of the configs that come with picochat, such as "capability.yaml" and "scale/h100-pilot.yaml"."""
    folder = Path(str(importlib.resources.files("picochat.configs")))
    return {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*.yaml"))}


def find_configs(words: list[str]) -> list[str]:
    """Replace config names that the current folder does not have by the shipped files of that name."""
    result = list(words)
    for index, word in enumerate(words):
        flag, equals, value = word.partition("=")
        if flag in ("--config", "-c"):
            if equals:
                result[index] = f"{flag}={_config_path(value)}"
            elif index + 1 < len(words):
                result[index + 1] = _config_path(words[index + 1])
    return result


def _config_path(name: str) -> str:
    if Path(name).is_file():
        return name
    shipped = shipped_configs()
    if name in shipped:
        return str(shipped[name])
    raise UserError(f"no config {name}{nearest(name, list(shipped))}; the shipped ones are {', '.join(shipped)}")
