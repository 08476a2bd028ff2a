"""What `fit` refuses, in one sentence with the setting and what it takes: mistakes in configs and flags, numbers that
Lightning stumbles over later, folders of other runs. In: jsonargparse's message, an error, or the settings. Next: fit.
"""

import inspect
import re
from collections.abc import Sequence
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from picochat.commands.settings import CALLBACKS
from picochat.errors import UserError, nearest
from picochat.files import remove

_CLASSES = {"trainer": "lightning.Trainer", "model": "picochat.model.module.ChatModule", **CALLBACKS}
_TOP = (*_CLASSES, "data", "seed_everything", "ckpt_path", "force", "config", "weights_only")
_TYPES = {"int": "a whole number", "float": "a number", "bool": "true or false", "str": "text", "list": "a list"}
_NO_REASON = r"Parser key|Does not|Subtypes|Errors:|Problem with|Expected a (?:<class 'NoneType'|path)|Given|Group"
_LEFT_BY_A_RUN = ("last.ckpt", "best_checkpoint", "last_checkpoint", "report.md")
_FOLDER = "trainer.default_root_dir"


def explain_parse_error(message: str) -> str:
    """What is wrong with which setting, and what it takes."""
    setting = ".".join(re.findall(r'Parser key "([^"]+)"', message))
    owner = ["", *re.findall(r"given class_path '([^']+)'", message)][-1]
    if match := re.search(r"arguments are required: \w+\.(\w+)", message):
        return f"{match[1]} is missing; name one in a config, or with --{match[1]}"
    if match := re.search(r"(?:ption '|unrecognized arguments: (?:--)?)([^\s'=]+)", message):
        name, (group, _, _), (first, _, _) = match[1], match[1].rpartition("."), match[1].partition(".")
        if owner and not (known := _parameters(owner)):  # a base class of Lightning's, in place of a class not named
            return f"{setting}.class_path is missing; name the class that has the setting '{name}'"
        if owner:
            others = nearest(name, known) or f"; it has {', '.join(known)}"
            return f"{setting}: {owner} has no setting '{name}'{others}"
        if group in _CLASSES:
            return f"unknown setting {name}{nearest(name, [f'{group}.{one}' for one in _parameters(_CLASSES[group])])}"
        return f"unknown setting {name}{'' if first in _TOP else nearest(first, _TOP)}"
    if match := re.search(r"Subclasses are disabled for (\w+)", message):
        return f"{setting}: takes the settings of {match[1]} and no class_path; write them under {setting} themselves"
    taken = re.findall(r"Expected an? (?:typing\.Literal\[(.*?)\]|<class '(.*?)'>)", message)
    choices = [literals.replace("'", "") or _TYPES.get(kind, kind) for literals, kind in taken if kind != "NoneType"]
    words = [word for choice in choices for word in choice.split(", ")]
    if words and (match := re.search(r"(?:Got|Given) value: (.*)", message)):
        return f"{setting} is {match[1]}; use {' or '.join(dict.fromkeys(words))}"
    lines = (line.strip(" -") for line in message.splitlines())
    reason = next((line for line in lines if line and not re.match(_NO_REASON, line)), " ".join(message.split()))
    return ": ".join(filter(None, [setting, owner, reason])) + "; a class is named by its path, as my_module.MyClass"


def _parameters(path: str) -> Sequence[str]:
    """Names of what the constructor of the class takes."""
    return [name for name in inspect.signature(resolve_name(path)).parameters if name not in ("args", "kwargs")]


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
    if config.force and config.ckpt_path is not None:
        raise UserError("--force starts over and --ckpt_path resumes; leave one of them out")
    if config.best_checkpoint.patience is not None and config.data and config.data.init_args.get("val_fraction") == 0:
        raise UserError(
            "best_checkpoint.patience waits for a loss, and data.val_fraction 0 holds nothing out; change one"
        )


def find_checkpoint(asked: str | Path, root: Path) -> Path:
    """The file to resume from; `last`, Lightning's word, is the run's own last.ckpt."""
    path = root / "last.ckpt" if str(asked) == "last" else Path(asked)
    if not path.is_file():
        wrong = "is a folder, not a checkpoint" if path.exists() else "does not exist"
        raise UserError(f"ckpt_path: {path} {wrong}; name the last.ckpt of a run folder, or leave it out")
    return path


def refuse_folder(root: Path, config: Any, *, start_over: bool) -> None:
    """A run does not overwrite another one without being asked to, nor what it begins with, nor mixes with another."""
    last = root / "last.ckpt"
    if config.ckpt_path is not None:  # else a log and a best checkpoint of both runs
        other = Path(config.ckpt_path).resolve().parent
        configs = [folder / "config.yaml" for folder in (root, other)]  # a checkpoint that was put aside has none
        if last.exists() and root.resolve() not in (other, *other.parents) and all(map(Path.is_file, configs)):
            remedy = f"resume it in its own folder, with {_FOLDER} {other}, or in a folder that holds no run"
            raise UserError(f"{root} holds another run than that of {config.ckpt_path}; {remedy}")
    elif start_over:
        start = Path(config.model.checkpoint).resolve() if config.model.checkpoint else None
        if start and any((root / name).resolve() in (start, *start.parents) for name in _LEFT_BY_A_RUN):
            part = f"model.checkpoint: {config.model.checkpoint} is part of the run in {root}, which would be deleted"
            raise UserError(f"{part}; move it away first, or choose another {_FOLDER}")
    elif last.exists() or (root / "best_checkpoint").exists():
        remedy = f"resume it with --ckpt_path {last}, " if last.exists() else ""
        raise UserError(f"{root} holds a run already; {remedy}start over with --force, or choose another {_FOLDER}")


def delete_run(root: Path) -> None:
    """Delete what an older run left that a reader or a resume could take for the new run's."""
    for name in _LEFT_BY_A_RUN:
        remove(root / f".{name}.old")
        remove(root / name)
