"""What names in a config stand for. In: a command line or a YAML config. Out: the same with paths and class paths.

--config capability.yaml      a file of the current directory, else one that picochat or a plug-in ships
--data Roman                  a class path, or the short name of a class: picochat's own or a plug-in's
"""

import re
from collections.abc import Sequence
from importlib import import_module
from importlib.resources import files
from itertools import zip_longest
from pathlib import Path
from typing import Any

from picochat.commands.parser import respell
from picochat.errors import UserError, nearest
from picochat.plugins import find_plugin, plugins
from picochat.strict_yaml import read_yaml

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

    Raises:
        UserError: there is no such config or datamodule, or its plug-in cannot be loaded.
    """
    words = respell(words, _setting_flag, lambda word: word[:2] == "--" and "=" not in word and word not in _SWITCHES)
    result = list(words)
    for index, word in enumerate(words):
        flag, equals, value = word.partition("=")
        place = index if equals else index + 1
        if place == len(words):
            break
        value = value if equals else words[place]
        if flag in ("--config", "-c"):
            value = _config_path(value)
        elif match := _CLASS_FLAG.fullmatch(flag):
            value = _class_path(value, _GROUPS[match[1].removeprefix("trainer.")])
        else:
            continue
        result[place] = f"{flag}={value}" if equals else value
    return result


def _setting_flag(name: str) -> str | None:
    return f"--{name.replace('-', '_')}" if re.fullmatch(r"[A-Za-z_][\w.+-]*", name) else None


def refuse_missing(words: Sequence[str]) -> None:
    """What a config names is made when it is missing; a path that somebody types must exist."""
    for word, following in zip_longest(words, words[1:], fillvalue=""):
        if match := re.fullmatch(r"--data\.(?:init_args\.)?(dataset_pack|tokenizer)(?:=(.*))?", word):
            path = following if match[2] is None else match[2]
            if path != "null" and not Path(path).exists():
                raise UserError(
                    f"--data.{match[1]}: {path} does not exist; correct it, or write it into a config, whose "
                    "missing files are made"
                )


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
            if not isinstance(plugin.load(), type):
                raise UserError(f"the plug-in {name} ({group}, from {plugin.package}) is not a class")
            return plugin.path
    if groups == (_DATA,):  # callbacks may be Lightning's own, which jsonargparse finds by name
        known = [*import_module(_DATA).__all__, *(plugin.name for plugin in plugins(_DATA))]
        raise UserError(
            f"unknown datamodule {name}{nearest(name, known)}; known are {', '.join(known)}, and class paths such as "
            "my_module.MyDataModule"
        )
    return name


def _config_path(name: str) -> str:
    if Path(name).is_file():
        if not isinstance(read_yaml(Path(name)), dict):
            raise UserError(f"{name}: is not a config; write settings into it, such as `trainer: {{max_steps: 100}}`")
        return name
    shipped = shipped_configs()
    if name in shipped:
        return str(shipped[name])
    plugin = find_plugin(CONFIGS, name)
    if plugin is None:
        known = [*shipped, *(plugin.name for plugin in plugins(CONFIGS))]
        raise UserError(f"unknown config {name}{nearest(name, known)}; the installed ones are {', '.join(known)}")
    path = plugin.file(name)
    if path is None:
        raise UserError(f"{plugin.package} names a config {name} in {plugin.target}, but there is no such file")
    return str(path)
