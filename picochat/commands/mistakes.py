"""A mistake in a config, in one sentence. In: jsonargparse's message. Out: the setting, and what it takes. Next: fit.

Parser key "data":                                        data: picochat.datamodules.CapabilityDataModule has no
  Does not validate against any of the Union subtypes     setting 'batchsize' (did you mean batch_size?)
  Subtypes: [<class 'lightning.pytorch.core.…
  Errors:
    - Problem with given class_path 'picochat.datamodules.CapabilityDataModule':
        Option 'batchsize' is not accepted
    - Expected a <class 'NoneType'>
"""

import importlib
import inspect
import re

from picochat.cli import nearest

_GROUPS = {"trainer": "lightning.Trainer", "model": "picochat.model.module.ChatModule"}
_TOP = ("trainer", "model", "data", "seed_everything", "ckpt_path", "force", "config", "weights_only")
_TYPES = {"int": "a whole number", "float": "a number", "bool": "true or false", "str": "text", "list": "a list"}
_A_CLASS = "name a class by its path, such as my_module.MyClass"
_SENTENCES = {  # what jsonargparse says → what is told of the setting; {0} is the match, {1} and {2} its groups
    r"arguments are required: \w+\.(\w+)": "{1} is missing; name one in a config, or with --{1}",
    r"No module named '[\w.]+'": "{place}: {owner}: {0}; correct the path, or install what holds it",
    r"Expected a dot import path string: (.*)": f"{{place}}: there is no {{1}}; {_A_CLASS}",
    r"Import path (\S+) does not correspond to a subclass of (\w+)": "{place}: {1} is no {2}; name one that is",
    r"Not a valid subclass of (\w+)\. Got value: (.*)": f"{{place}}: {{2}} is no {{1}}; {_A_CLASS}",
}


def in_a_sentence(message: str) -> str:
    """What is wrong with which setting, and what there is instead; the message itself where it is of no known kind."""
    place = ".".join(re.findall(r'Parser key "([^"]+)"', message))
    owner = ["", *re.findall(r"given class_path '([^']+)'", message)][-1]
    if match := re.search(r"(?:does not accept option '|unrecognized arguments: (?:--)?)([^\s']+)", message):
        return f"there is no setting {match[1]}{_meant(match[1])}"
    if owner and (match := re.search(r"Option '([^']+)' is not accepted", message)):
        return f"{place}{_without(match[1], owner)}"
    if match := re.search(r"module '([\w.]+)' has no attribute '(\w+)'", message):
        module = importlib.import_module(match[1])
        return f"{place}: {match[1]} has no {match[2]}{nearest(match[2], getattr(module, '__all__', dir(module)))}"
    for said, told in _SENTENCES.items():
        if match := re.search(said, message):
            return told.format(match[0], *match.groups(), place=place, owner=owner)
    if (match := re.search(r"(?:Got|Given) value: (.*)", message)) and (takes := _takes(message)):
        return f"{place} is {match[1]}; use {takes}"
    return " ".join(message.split())


def _meant(place: str) -> str:
    """' (did you mean trainer.max_steps?)' for trainer.max_stpes."""
    group, _, _ = place.rpartition(".")
    if group in _GROUPS:
        return nearest(place, [f"{group}.{name}" for name in _settings(_GROUPS[group])])
    first = place.partition(".")[0]
    return "" if first in _TOP else nearest(first, _TOP)


def _without(name: str, path: str) -> str:
    known = _settings(path)
    if not known:  # a base class of Lightning's, which stands for a class that was not named
        return f".class_path is missing; name the class whose setting '{name}' is"
    return f": {path} has no setting '{name}'{nearest(name, known) or '; it has ' + ', '.join(known)}"


def _settings(path: str) -> list[str]:
    """What the class of that path takes."""
    module, _, name = path.rpartition(".")
    owner = getattr(importlib.import_module(module), name)
    return [name for name in inspect.signature(owner).parameters if name not in ("args", "kwargs")]


def _takes(message: str) -> str:
    """The words and types that were expected; "" where one of them is of no plain type."""
    found: list[str] = []
    for literals, kind in re.findall(r"Expected an? (?:typing\.Literal\[(.*?)\]|<class '(.*?)'>|\S+)", message):
        if literals:
            found += [word.strip(" '") for word in literals.split(",")]
        elif kind != "NoneType":
            found.append(_TYPES.get(kind, ""))
    *some, last = dict.fromkeys(found) or [""]
    return "" if "" in found else f"{', '.join(some)} or {last}" if some else last
