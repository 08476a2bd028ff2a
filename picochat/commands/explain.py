"""A mistake in a config or flag, in one sentence. In: jsonargparse's message, or an error of Lightning's. Out: the
setting, and what it takes.

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

from picochat.commands.settings import CALLBACKS
from picochat.errors import UserError, nearest

_CLASSES = {"trainer": "lightning.Trainer", "model": "picochat.model.module.ChatModule", **CALLBACKS}
_TOP = (*_CLASSES, "data", "seed_everything", "ckpt_path", "force", "config", "weights_only")
_TYPES = {"int": "a whole number", "float": "a number", "bool": "true or false", "str": "text", "list": "a list"}
_NAME_A_CLASS = "name a class by its path, such as my_module.MyClass"
_SENTENCES = {  # pattern of jsonargparse's message → sentence; {0} is the match, {1} and {2} its groups
    r"arguments are required: \w+\.(\w+)": "{1} is missing; name one in a config, or with --{1}",
    r"No module named '[\w.]+'": "{setting}: {owner}: {0}; correct the path, or install what holds it",
    r"Expected a dot import path string: (.*)": f"{{setting}}: there is no {{1}}; {_NAME_A_CLASS}",
    r"Import path (\S+) does not correspond to a subclass of (\w+)": "{setting}: {1} is not a {2}; name one that is",
    r"Not a valid subclass of (\w+)\. Got value: (.*)": f"{{setting}}: {{2}} is not a {{1}}; {_NAME_A_CLASS}",
}


def explain_parse_error(message: str) -> str:
    """What is wrong with which setting, and what it takes; the message on one line if it is of no known form."""
    setting = ".".join(re.findall(r'Parser key "([^"]+)"', message))
    owner = ["", *re.findall(r"given class_path '([^']+)'", message)][-1]
    if match := re.search(r"(?:does not accept option '|unrecognized arguments: (?:--)?)([^\s'=]+)", message):
        return f"unknown setting {match[1]}{_nearest_setting(match[1])}"
    if owner and (match := re.search(r"Option '([^']+)' is not accepted", message)):
        return f"{setting}{_unknown_argument(match[1], owner)}"
    if match := re.search(r"module '([\w.]+)' has no attribute '(\w+)'", message):
        module = importlib.import_module(match[1])
        return f"{setting}: {match[1]} has no {match[2]}{nearest(match[2], getattr(module, '__all__', dir(module)))}"
    for pattern, sentence in _SENTENCES.items():
        if match := re.search(pattern, message):
            return sentence.format(match[0], *match.groups(), setting=setting, owner=owner)
    if (match := re.search(r"(?:Got|Given) value: (.*)", message)) and (expected := _expected(message)):
        return f"{setting} is {match[1]}; use {expected}"
    return " ".join(message.split())


def explain_refusal(error: BaseException) -> UserError:
    """The first UserError in a chain of causes, else what the first cause says and the settings that it speaks of."""
    while not isinstance(error, UserError) and (cause := error.__cause__ or error.__context__):
        error = cause
    if isinstance(error, UserError):
        return error
    message = " ".join(str(error).split()).rstrip(".!")
    if isinstance(error, ImportError):
        return UserError(message if "pip install" in message else f"{message}; install what holds it")
    named = [name for name in _parameters(_CLASSES["trainer"]) if re.search(rf"\b{name}\b", message)]
    if "Timer(duration" in message:
        named = ["max_time"]
    if not named and re.search("gpu|cuda|tpu|mps", message, re.IGNORECASE):
        named = ["accelerator"]
    return UserError(f"{message}; change {', '.join(f'trainer.{name}' for name in named)}" if named else message)


def _nearest_setting(setting: str) -> str:
    """' (did you mean trainer.max_steps?)' for trainer.max_stpes."""
    group, _, _ = setting.rpartition(".")
    if group in _CLASSES:
        return nearest(setting, [f"{group}.{name}" for name in _parameters(_CLASSES[group])])
    first = setting.partition(".")[0]
    return "" if first in _TOP else nearest(first, _TOP)


def _unknown_argument(name: str, path: str) -> str:
    known = _parameters(path)
    if not known:  # a base class of Lightning's, in place of a class that was not named
        return f".class_path is missing; name the class that has the setting '{name}'"
    return f": {path} has no setting '{name}'{nearest(name, known) or '; it has ' + ', '.join(known)}"


def _parameters(path: str) -> list[str]:
    """Names of what the constructor of the class takes."""
    module, _, name = path.rpartition(".")
    owner = getattr(importlib.import_module(module), name)
    return [name for name in inspect.signature(owner).parameters if name not in ("args", "kwargs")]


def _expected(message: str) -> str:
    """The words and types that were expected; "" if one of them has no plain name."""
    found: list[str] = []
    for literals, kind in re.findall(r"Expected an? (?:typing\.Literal\[(.*?)\]|<class '(.*?)'>|\S+)", message):
        if literals:
            found += [word.strip(" '") for word in literals.split(",")]
        elif kind != "NoneType":
            found.append(_TYPES.get(kind, ""))
    *some, last = dict.fromkeys(found) or [""]
    return "" if "" in found else f"{', '.join(some)} or {last}" if some else last
