"""Help of fit, validate, test and predict. In: the source of the classes. Out: text. Next: the terminal.

Importing torch and Lightning takes seconds, so the settings are read from source; `--help_all` asks Lightning itself.
"""

import textwrap

from picochat.commands.settings import ALIASES, CALLBACKS, parameter
from picochat.commands.signatures import read_signature

SUBCOMMANDS = {  # LightningCLI's
    "fit": "train from a config, such as `picochat fit --config capability.yaml`",
    "validate": "measure the losses of the validation sets",
    "test": "measure the loss of the eval set",
    "predict": "answer the eval rows of a datamodule",
}
EXAMPLES = {
    "fit": "picochat fit --config capability.yaml --trainer.max_steps=300 --trainer.val_check_interval=100",
    **{
        name: f"picochat {name} --config runs/capability/config.yaml --ckpt_path runs/capability/last.ckpt"
        for name in ("validate", "test", "predict")
    },
}
_FLAGS = (
    ("--config YAML", "a file, or a shipped config (`picochat list configs`); later ones change earlier ones"),
    ("--data CLASS", "the datamodule, if no config names one (`picochat list datamodules`)"),
    ("--ckpt_path CKPT", "last.ckpt of the run to resume; `last`: the one in the run's folder"),
    ("--trainer.max_steps", "optimizer steps"),
    ("--trainer.default_root_dir", "the run's folder"),
    ("--force", "start over in a folder that holds a run"),
    ("--print_config", "print the whole config and do nothing else"),
    ("--data.help CLASS", "document a datamodule's settings"),
    ("--help_all", "document every setting, Lightning's included"),
)


def trainer_help(command: str) -> str:
    """The help page of one of LightningCLI's commands: purpose, usage, flags, frequent settings, example."""
    usage = f"usage: picochat {command} --config YAML [--trainer.SETTING VALUE] [--model.SETTING VALUE] …"
    settings = {setting: datamodule for _, datamodule, aliases in ALIASES.values() for setting in aliases.values()}
    rows = [(f"--{name}", _summary(parameter(name, owner).help)) for name, owner in sorted(settings.items())]
    callbacks = [(f"{key}:", _summary(read_signature(path).purpose)) for key, path in CALLBACKS.items()]
    return "\n\n".join(
        [
            f"{SUBCOMMANDS[command][0].upper()}{SUBCOMMANDS[command][1:]}.",
            usage,
            f"flags:\n{_table(_FLAGS)}",
            f"frequent settings:\n{_table(rows)}",
            f"callbacks of every run, with settings under these keys:\n{_table(callbacks)}",
            f"example: {EXAMPLES[command]}",
        ]
    )


def class_help(path: str) -> str:
    """The help page of a class of picochat: its purpose and its settings with types and defaults.

    Raises:
        LookupError: picochat has no such class.
    """
    found = read_signature(path)
    parts = [f"{path}: {found.purpose}"]
    for item in found.parameters.values():
        default = "required" if item.default is None else f"default: {item.default}"
        parts.append(f"  {item.name}: {item.annotation} ({default})\n{_wrapped(item.help, '      ')}")
    return "\n".join(parts)


def _table(rows: "tuple[tuple[str, str], ...] | list[tuple[str, str]]") -> str:
    width = max(len(name) for name, _ in rows) + 4
    return "\n".join(f"  {name}".ljust(width) + _wrapped(text, " " * width).lstrip() for name, text in rows)


def _wrapped(text: str, indent: str) -> str:
    return textwrap.fill(text, 110, initial_indent=indent, subsequent_indent=indent)


def _summary(text: str) -> str:
    """The first sentence."""
    return text.partition(". ")[0].rstrip(".")
