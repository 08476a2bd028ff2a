"""What `fit` refuses, in one sentence with the setting and what it takes: mistakes in configs and flags, numbers that
Lightning stumbles over later, folders of other runs. In: jsonargparse's message, an error, or the settings. Next: fit.
"""

import inspect
import re
from collections.abc import Sequence
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from picochat.commands.configs import flags_of
from picochat.commands.settings import CALLBACKS
from picochat.errors import UserError, nearest
from picochat.files import remove
from picochat.model.config import config_of, find_model
from picochat.strict_yaml import read_yaml

_CLASSES = {"trainer": "lightning.Trainer", "model": "picochat.model.module.ChatModule", **CALLBACKS}
_TOP = (*_CLASSES, "data", "seed_everything", "ckpt_path", "force", "config", "weights_only")
_TYPES = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "str": "text",
    "list": "a list",
    "dict": 'a mapping such as {"add": 0.5}',
}
_NO_REASON = r"Parser key|Does not|Subtypes|Errors:|Problem with|Expected a (?:<class 'NoneType'|path)|Given|Group"
_MADE_FLAG = re.compile(r"--data\.(init_args\.)?(dataset_pack|tokenizer)")
_LEFT_BY_A_RUN = ("last.ckpt", "best_checkpoint", "last_checkpoint", "report.md")
_FOLDER = "trainer.default_root_dir"


def refuse_paths(words: Sequence[str]) -> None:
    """Refuse, before torch is imported, what is no config, a model that picochat does not read, and a typed path that
    does not exist: what a config names is made when it is missing."""
    checkpoint: Any = None
    for _, flag, value in flags_of(words):
        if flag in ("--config", "-c"):
            config = read_yaml(Path(value))
            if not isinstance(config, dict):
                remedy = "write settings into it, such as `trainer: {max_steps: 9}`"
                raise UserError(f"{value}: is not a config; {remedy}")
            for key in _CLASSES:  # `trainer:` with nothing under it would undo what other configs say
                if not isinstance(group := config.get(key, {}), dict):
                    raise UserError(f"{value}: {key} is {group!r}; write its settings under it, or leave it out")
            checkpoint = config.get("model", {}).get("checkpoint", checkpoint)
        elif flag == "--model.checkpoint":
            checkpoint = value
        elif _MADE_FLAG.fullmatch(flag) and value != "null" and not Path(value).exists():
            name, remedy = flag.replace("init_args.", ""), "or write it into a config, whose missing files are made"
            raise UserError(f"{name}: {value} does not exist; correct it, {remedy}")
    if isinstance(checkpoint, str) and checkpoint != "null" and (folder := find_model(checkpoint)).exists():
        config_of(folder)


def explain_parse_error(message: str) -> str:
    """What is wrong with which setting, and what it takes."""
    setting = ".".join(re.findall(r'Parser key "([^"]+)"', message))
    owner = ["", *re.findall(r"given class_path '([^']+)'", message)][-1]
    if match := re.search(r"arguments are required: \w+\.(\w+)", message):
        return f"{match[1]} is missing; name one in a config, or with --{match[1]}"
    if owner and (match := re.search(r"arguments are required: (.+)", message)):
        return f"{setting}: {owner} needs {match[1]}; write it under init_args, or give {setting}.{match[1]}"
    if match := re.search(r"Unable to load config '(.*)'", message):
        setting = re.sub(r"^(.+)\.\1$", r"\1", setting)
        return f"{setting} is {match[1]}; give its settings, such as {setting}.NAME=VALUE"
    if match := re.search(r"(?:ption '|unrecognized arguments: (?:--)?)([^\s'=]+)", message):
        name, (group, _, _), (first, _, _) = match[1], match[1].rpartition("."), match[1].partition(".")
        if owner and not (known := _parameters(owner)):  # a base class of Lightning's, in place of a class not named
            return f"{setting}.class_path is missing before this; name first the class that has the setting '{name}'"
        if owner:
            others = nearest(name, known) or f"; it has {', '.join(known)}"
            return f"{setting}: {owner} has no setting '{name}'{others}"
        if name.endswith(".yaml"):
            return f"{name} is not a setting; a config is named as --config {name}"
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
    if message.startswith("argument "):  # as argparse says: "argument --trainer.max_steps: expected one argument"
        return message
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
        (_FOLDER, trainer.default_root_dir, trainer.default_root_dir, "the name of the run's folder"),
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
