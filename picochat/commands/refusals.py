"""What `fit` refuses, in one sentence with the setting and what it takes: mistakes in configs and flags, numbers that
Lightning stumbles over later, folders of other runs. In: jsonargparse's message, an error, or the settings. Next: fit.

Parser key "data":                                        data: picochat.datamodules.CapabilityDataModule has no
  Does not validate against any of the Union subtypes     setting 'batchsize' (did you mean batch_size?)
  Subtypes: [<class 'lightning.pytorch.core.…
  Errors:
    - Problem with given class_path 'picochat.datamodules.CapabilityDataModule':
        Option 'batchsize' is not accepted
    - Expected a <class 'NoneType'>
"""

import inspect
import re
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from picochat.commands.settings import CALLBACKS
from picochat.errors import UserError, nearest
from picochat.files import remove, sha256_file

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
_LEFT_BY_A_RUN = ("last.ckpt", "best_checkpoint", "last_checkpoint", "report.md")
_FOLDER = "trainer.default_root_dir"


def explain_parse_error(message: str) -> str:
    """What is wrong with which setting, and what it takes; the message on one line if it is of no known form."""
    setting = ".".join(re.findall(r'Parser key "([^"]+)"', message))
    owner = ["", *re.findall(r"given class_path '([^']+)'", message)][-1]
    if match := re.search(r"(?:does not accept option '|unrecognized arguments: (?:--)?)([^\s'=]+)", message):
        name, group = match[1], match[1].rpartition(".")[0]
        if group in _CLASSES:
            return f"unknown setting {name}{nearest(name, [f'{group}.{one}' for one in _parameters(_CLASSES[group])])}"
        first = name.partition(".")[0]
        return f"unknown setting {name}{'' if first in _TOP else nearest(first, _TOP)}"
    if owner and (match := re.search(r"Option '([^']+)' is not accepted", message)):
        if not (known := _parameters(owner)):  # a base class of Lightning's, in place of a class that was not named
            return f"{setting}.class_path is missing; name the class that has the setting '{match[1]}'"
        others = nearest(match[1], known) or f"; it has {', '.join(known)}"
        return f"{setting}: {owner} has no setting '{match[1]}'{others}"
    if match := re.search(r"module '([\w.]+)' has no attribute '(\w+)'", message):
        module = import_module(match[1])
        return f"{setting}: {match[1]} has no {match[2]}{nearest(match[2], getattr(module, '__all__', dir(module)))}"
    for pattern, sentence in _SENTENCES.items():
        if match := re.search(pattern, message):
            return sentence.format(match[0], *match.groups(), setting=setting, owner=owner)
    if (match := re.search(r"(?:Got|Given) value: (.*)", message)) and (expected := _expected(message)):
        return f"{setting} is {match[1]}; use {expected}"
    return " ".join(message.split())


def _parameters(path: str) -> Sequence[str]:
    """Names of what the constructor of the class takes."""
    return [name for name in inspect.signature(resolve_name(path)).parameters if name not in ("args", "kwargs")]


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


def refuse_impossible(config: Any) -> None:
    """Numbers that Lightning takes and stumbles over later."""
    trainer, seed = config.trainer, config.seed_everything
    batches, every = trainer.accumulate_grad_batches, trainer.val_check_interval
    devices = trainer.devices if re.search(r"^-?[\d.]+$", str(trainer.devices)) else 1
    rate = config.model.optimizer.learning_rate if config.model.optimizer else 1
    for name, value, possible, expected in (
        ("seed_everything", seed, 0 <= seed < 2**32, "a number from 0 to 4294967295"),
        ("trainer.accumulate_grad_batches", batches, batches >= 1, "a number from 1"),
        ("trainer.devices", devices, re.search("^(-1|0*[1-9][0-9]*)$", str(devices)), "a number from 1, or -1 for all"),
        ("model.optimizer.learning_rate", rate, rate > 0, "a number above 0"),
        ("trainer.val_check_interval", every, not isinstance(every, int | float) or every > 0, "a number above 0"),
    ):
        if not possible:
            raise UserError(f"{name} is {value}; use {expected}")
    held_out = config.data.init_args.get("val_fraction") if config.data else None
    if config.best_checkpoint.patience is not None and held_out == 0:
        raise UserError(
            "best_checkpoint.patience waits for the validation loss, and data.val_fraction 0 holds nothing out to "
            "measure it on; leave one of the two out"
        )


def find_checkpoint(asked: str | Path, root: Path) -> Path:
    """The file to resume from; `last`, Lightning's word, is the run's own last.ckpt."""
    path = root / "last.ckpt" if str(asked) == "last" else Path(asked)
    if not path.is_file():
        wrong = "is a folder, not a checkpoint" if path.exists() else "does not exist"
        remedy = "name the last.ckpt of a run folder" + ("" if path.exists() else ", or leave it out")
        raise UserError(f"ckpt_path: {path} {wrong}; {remedy}")
    return path


def refuse_folder(root: Path, config: Any, *, start_over: bool) -> None:
    """A run does not overwrite another one without being asked to, nor what it begins with, nor mixes with another."""
    last = root / "last.ckpt"
    if config.ckpt_path is not None:  # else a log and a best checkpoint of both runs
        other = Path(config.ckpt_path).resolve().parent
        configs = [folder / "config.yaml" for folder in (root, other)]  # a checkpoint that was put aside has none
        if last.exists() and root.resolve() not in (other, *other.parents) and all(map(Path.is_file, configs)):
            own, theirs = (sha256_file(config)[:12] for config in configs)
            raise UserError(
                f"{root} holds another run (sha256 of its config.yaml: {own}) than that of {config.ckpt_path} "
                f"({theirs}); resume it in its own folder, with {_FOLDER} {other}, or in a folder that holds no run"
            )
    elif start_over:
        start = Path(config.model.checkpoint).resolve() if config.model.checkpoint else None
        if start and any((root / name).resolve() in (start, *start.parents) for name in _LEFT_BY_A_RUN):
            raise UserError(
                f"model.checkpoint: {config.model.checkpoint} is part of the run in {root}, which would be deleted; "
                f"move it away first, or choose another {_FOLDER}"
            )
    elif last.exists() or (root / "best_checkpoint").exists():
        remedy = f"resume it with --ckpt_path {last}, " if last.exists() else ""
        raise UserError(f"{root} holds a run already; {remedy}start over with --force, or choose another {_FOLDER}")


def delete_run(root: Path) -> None:
    """Delete what an older run left that a reader or a resume could take for the new run's."""
    for name in _LEFT_BY_A_RUN:
        remove(root / f".{name}.old")
        remove(root / name)
