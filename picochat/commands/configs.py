"""What names in a config stand for. Imports nothing heavy by itself.

A config is found in the current folder, else among those that come with picochat or with a plug-in. A datamodule or
callback is named by its class path, or shortly: by picochat's own name for it, or by that of a plug-in.

    picochat fit --config capability.yaml --data Roman         data:
                                                                 class_path: Roman
"""

import importlib
import importlib.resources
import importlib.util
import re
from pathlib import Path
from typing import Any

from picochat.cli import nearest
from picochat.errors import UserError
from picochat.plugins import PlugIn, find_plugin, plugins

CONFIGS = "picochat.configs"
_DATA, _CALLBACKS = "picochat.datamodules", "picochat.callbacks"
_PLACES = {"data": _DATA, "callbacks": _CALLBACKS, "callbacks+": _CALLBACKS}  # key of a config → what stands there
_WORD = re.compile(r"(?:--)?(data|trainer\.callbacks\+?)(?:\.class_path|\.help)?$")  # flags that a class name follows


def shipped_configs() -> dict[str, Path]:
    """Name → path of the configs that come with picochat, such as "capability.yaml" and "scale/h100-pilot.yaml"."""
    folder = Path(str(importlib.resources.files("picochat.configs")))
    return {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*.yaml"))}


def added_config(plugin: PlugIn) -> Path | None:
    """The file behind an entry point of the group picochat.configs: "roman.yaml" in the folder of its module."""
    try:
        spec = importlib.util.find_spec(plugin.target)
    except ImportError:
        return None
    folders = (spec.submodule_search_locations if spec else None) or []
    return next((path for folder in folders if (path := Path(folder) / plugin.name).is_file()), None)


def spell_out(words: list[str]) -> list[str]:
    """Replace what is short on a command line: names of configs that the current folder does not have by the installed
    files of that name, names of datamodules and callbacks by class paths.

    Raises:
        UserError: there is no such config or datamodule, or the plug-in that is meant cannot be loaded.
    """
    result = list(words)
    for index, word in enumerate(words):
        flag, equals, value = word.partition("=")
        place = index if equals else index + 1
        if place == len(words):
            break
        value = value if equals else words[place]
        if flag in ("--config", "-c") or (flag == "config" and equals):
            value = _config_path(value)
        elif match := _WORD.match(flag):
            value = _class_path(value, _PLACES[match[1].rpartition(".")[2]])
        else:
            continue
        result[place] = f"{flag}={value}" if equals else value
    return result


def spell_out_config(config: Any, group: str | None = None) -> Any:
    """The same for what a YAML config, or a part of one, holds."""
    if isinstance(config, list):
        return [spell_out_config(item, group) for item in config]
    if isinstance(config, str) and group:
        return _class_path(config, group)
    if not isinstance(config, dict):
        return config
    result = {}
    for key, value in config.items():
        if key == "class_path" and isinstance(value, str):
            result[key] = _class_path(value, *([group] if group else [_DATA, _CALLBACKS]))
        else:
            result[key] = value if key == "init_args" else spell_out_config(value, _PLACES.get(key))
    return result


def _class_path(name: str, *groups: str) -> str:
    """The class path that a short name stands for; anything else comes back as it is."""
    if not name.isidentifier():
        return name
    for group in groups:
        if name in importlib.import_module(group).__all__:
            return f"{group}.{name}"
        if plugin := find_plugin(group, name):
            if not isinstance(plugin.load(), type):
                raise UserError(f"the plug-in {name} ({group}, from {plugin.package}) is not a class")
            return plugin.path
    if groups == (_DATA,):  # callbacks may be Lightning's own, which jsonargparse finds by name
        known = [*importlib.import_module(_DATA).__all__, *(plugin.name for plugin in plugins(_DATA))]
        raise UserError(
            f"there is no datamodule named {name}{nearest(name, known)}; known are {', '.join(known)}, and class paths "
            "such as my_module.MyDataModule"
        )
    return name


def _config_path(name: str) -> str:
    if Path(name).is_file():
        _refuse_what_is_no_yaml(Path(name))
        return name
    shipped = shipped_configs()
    if name in shipped:
        return str(shipped[name])
    plugin = find_plugin(CONFIGS, name)
    if plugin is None:
        known = [*shipped, *(plugin.name for plugin in plugins(CONFIGS))]
        raise UserError(f"no config {name}{nearest(name, known)}; the installed ones are {', '.join(known)}")
    path = added_config(plugin)
    if path is None:
        raise UserError(f"{plugin.package} names a config {name} in {plugin.target}, but there is no such file")
    return str(path)


def _refuse_what_is_no_yaml(file: Path) -> None:
    import yaml

    try:
        config = yaml.safe_load(file.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise UserError(f"{file}:{line}: is not UTF-8; save it as UTF-8") from None
    except OSError as error:
        raise UserError(f"cannot read {file}: {error.strerror}") from error
    except RecursionError:
        raise UserError(f"{file}: is nested too deeply; write settings into it, and nothing else") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{file}:{mark.line + 1}" if mark else str(file)
        problem = getattr(error, "problem", None) or " ".join(str(error).split())
        raise UserError(f"{place}: is no YAML: {problem}; correct it") from None
    if not isinstance(config, dict):
        raise UserError(f"{file}: is no config; write settings into it, such as `trainer: {{max_steps: 100}}`")
