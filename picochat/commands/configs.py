"""What names in a config stand for. In: a command line or a YAML config. Out: the same with paths and class paths.

--config capability.yaml      a file of the current directory, else one that picochat or a plug-in ships
--data Roman                  a class path, or the short name of a class: picochat's own or a plug-in's
"""

import re
from collections.abc import Iterator, Sequence
from importlib import import_module
from importlib.resources import files
from pathlib import Path
from typing import Any

from picochat.commands.parser import respell
from picochat.errors import UserError, nearest
from picochat.plugins import find_plugin, plugins

CONFIGS = "picochat.configs"
_DATA, _CALLBACKS = "picochat.datamodules", "picochat.callbacks"
_GROUPS = {"data": _DATA, "callbacks": _CALLBACKS, "callbacks+": _CALLBACKS}  # key of a config → what its names mean
_CLASS_FLAG = re.compile(r"--(data|trainer\.callbacks\+?)(?:\.class_path|\.help)?")
_SWITCHES = ("--print_config", "--help", "--help_all", "--force")  # flags that take no value


def shipped_configs() -> dict[str, Path]:
    """Name → path of the configs that come with picochat, such as "capability.yaml" and "scale/h100-pilot.yaml"."""
    folder = Path(str(files(CONFIGS)))
    found = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*.yaml"))}
    return {name: path for name, path in found.items() if not name.startswith(("mixtures/", "study/"))}


def resolve_names(words: list[str]) -> list[str]:
    """Spell out a command line of `fit`: flags in one spelling, configs as files, names of classes as class paths.

    "trainer.max-steps=5" → "--trainer.max_steps=5"; ["--data", "Roman"] → ["--data", "picochat_roman.RomanDataModule"]

    Configs come first, since jsonargparse lets the last one win: a flag changes every config, wherever it stands.

    Raises:
        UserError: there is no such config or datamodule, or its plug-in cannot be loaded.
    """
    words = respell(words, _setting_flag, lambda word: word[:2] == "--" and "=" not in word and word not in _SWITCHES)
    result, first = list(words), {0}
    for place, flag, value in flags_of(words):
        if flag in ("--config", "-c"):
            value = _config_path(value)
            first |= {place} if words[place].startswith(f"{flag}=") else {place - 1, place}
        elif match := _CLASS_FLAG.fullmatch(flag):
            value = _class_path(value, _GROUPS[match[1].removeprefix("trainer.")])
        else:
            continue
        result[place] = f"{flag}={value}" if words[place].startswith(f"{flag}=") else value
    return [result[place] for place in sorted(range(len(result)), key=lambda place: place not in first)]


def _setting_flag(name: str) -> str | None:
    return f"--{name.replace('-', '_')}" if re.fullmatch(r"[A-Za-z_][\w.+-]*", name) else None


def flags_of(words: Sequence[str]) -> Iterator[tuple[int, str, str]]:
    """(place of the word that holds the value, flag, value) of `--flag=value` and of `--flag value`."""
    for place, word in enumerate(words):
        flag, equals, value = word.partition("=")
        if equals:
            yield place, flag, value
        elif place + 1 < len(words):
            yield place + 1, flag, words[place + 1]


def resolve_config_names(config: Any, group: str | None = None) -> Any:
    """The same for the values of a YAML config, or of a part of one."""
    if isinstance(config, list):
        return [resolve_config_names(item, group) for item in config]
    if isinstance(config, str) and group:
        return _class_path(config, group)
    if not isinstance(config, dict):
        return config
    result = {}
    for key, value in config.items():
        if key == "class_path" and isinstance(value, str):
            result[key] = _class_path(value, *([group] if group else [_DATA, _CALLBACKS]))
        else:
            result[key] = value if key == "init_args" else resolve_config_names(value, _GROUPS.get(key))
    return result


def _class_path(name: str, *groups: str) -> str:
    """The class path that a short name stands for; anything else comes back unchanged."""
    if not name.isidentifier():
        return name
    for group in groups:
        if name in import_module(group).__all__:
            return f"{group}.{name}"
        if plugin := find_plugin(group, name):
            plugin.load()  # refused by name where it is broken
            return plugin.path
    if groups == (_DATA,):  # callbacks may be Lightning's own, which jsonargparse finds by name
        known = [*import_module(_DATA).__all__, *(plugin.name for plugin in plugins(_DATA))]
        others = f"{', '.join(known)}, and class paths such as my_module.MyDataModule"
        raise UserError(f"unknown datamodule {name}{nearest(name, known)}; known are {others}")
    return name


def _config_path(name: str) -> str:
    if Path(name).is_file():
        return name
    shipped = shipped_configs()
    if name in shipped:
        return str(shipped[name])
    if plugin := find_plugin(CONFIGS, name):
        return str(plugin.file(name))
    known = [*shipped, *(plugin.name for plugin in plugins(CONFIGS))]
    raise UserError(f"unknown config {name}{nearest(name, known)}; the installed ones are {', '.join(known)}")
