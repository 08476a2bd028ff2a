"""How every command line is read: one spelling of flags, one layout of help, errors in one sentence. Next: commands.

A flag is declared once: in the library function or class that takes it. `add_parameters` reads it from there. What a
help page says stands once, too: in the docstring of the function that runs the command.
"""

import argparse
import ast
import inspect
import re
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from picochat.commands.signatures import Parameter, read_signature
from picochat.errors import UserError, nearest

# whose parameters are flags of several commands
LOADING, DECODING = "picochat.model.engine.load_model", "picochat.model.engine.Decoding"
READING = "picochat.packs.formats.Reading"
_TYPES = {"int": int, "float": float}
_UNSET = object()


class HelpLayout(argparse.ArgumentParser):
    """Help that begins with the purpose and ends with the example; argparse begins with the usage, which is long."""

    def format_help(self, formatter: argparse.HelpFormatter | None = None) -> str:
        arguments = [formatter] if formatter else []  # jsonargparse passes one, argparse does not
        description, epilog = self.description, self.epilog
        purpose, _, details = (description or "").partition("\n")
        try:
            self.description, self.epilog = details.strip(), None
            usage = super().format_help(*arguments).rstrip()
        finally:
            self.description, self.epilog = description, epilog
        return "\n\n".join(filter(None, [purpose, usage, epilog])) + "\n"


class Parser(HelpLayout):
    """argparse with hyphenated flags, one-sentence errors and the nearest name."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.members: Any = None
        options = {"formatter_class": argparse.RawDescriptionHelpFormatter, "allow_abbrev": False, **kwargs}
        super().__init__(*args, **options)

    def commands(self) -> "dict[str, Parser]":
        """The parsers of its commands by name; none if it is a command itself."""
        return dict(self.members.choices) if self.members else {}

    def add_command(self, name: str, run: Callable[[argparse.Namespace], None] | None, page: str = "") -> "Parser":
        """Add a command. Its page (by default the docstring of `run`) is a sentence, details, and an example."""
        if not self.members:
            self.members = self.add_subparsers(dest="command", metavar="COMMAND", required=True)
            self.epilog = f"example: {self.prog} {name} --help"
        description, _, example = inspect.cleandoc(page or run.__doc__ or "").partition("\n\nexample")
        purpose = description.partition("\n")[0].rstrip(".").replace("%", "%%")
        parser: Parser = self.members.add_parser(
            name, help=purpose[:1].lower() + purpose[1:], description=description, epilog=f"example{example}"
        )
        parser.set_defaults(run=run)
        return parser

    def parse(self, words: Sequence[str]) -> argparse.Namespace:
        """Parse the words after the command's name; UserError where they are no command line of this command."""
        actions = {flag: action for flag, action in self._option_string_actions.items() if flag.startswith("--")}
        valued = {flag for flag, action in actions.items() if action.nargs != 0}
        flags = {flag[2:].replace("-", "_"): flag for flag in actions}
        words = respell(words, lambda name: flags.get(name.replace("-", "_")), valued.__contains__)
        for word in words:  # before argparse, which would name a missing flag and not the mistyped one
            flag = word.partition("=")[0]
            if flag.startswith("--") and flag != "--" and flag not in actions:
                raise UserError(f"unknown argument '{flag}'{nearest(flag, actions)}; see `{self.prog} --help`")
        return self.parse_args(words)

    def add_parameters(self, path: str, *names: str, **flags: str) -> None:
        """Add a flag for each of these parameters (all, if none is named) of the library function or class at `path`.

        `flags` has those that are not --PARAMETER: dataset_pack="--dataset-pack --pack".
        """
        parameters = read_signature(path).parameters
        for name in names or parameters:
            self.add_declared(flags.get(name, f"--{name.replace('_', '-')}"), parameters[name], dest=name)

    def add_declared(
        self, flags: str, declared: Parameter, *, dest: str | None = None, shown: Any = _UNSET, required: bool = False
    ) -> None:
        """Add a flag for a parameter. With `shown` the flag has no default, since something else sets `shown`."""
        default = None if declared.default is None else ast.literal_eval(declared.default)
        default, shown = (default, default) if shown is _UNSET else (None, shown)
        # "…; null takes the checkpoint's": a flag that is left out stands for null
        text, null = [*re.split(r"[;.] [Nn]ull(?: takes| writes| reads)?:? ", declared.help.rstrip(".")), None][:2]
        if shown is None and not required:
            shown = null
        kind = declared.annotation.removesuffix(" | None")
        options: dict[str, Any] = {"dest": dest, "default": default, "help": (text or "").replace("%", "%%")}
        options["help"] += "" if shown is None or shown is False else f" (default: {shown})"
        if kind == "bool":
            options["action"] = "store_true" if default is False else argparse.BooleanOptionalAction
        else:
            options |= {"type": _TYPES.get(kind, str), "required": required or declared.default is None}
            options |= {"nargs": "+"} if "Sequence" in kind else {"action": "append"} if "list[" in kind else {}
            options |= {"choices": declared.choices} if declared.choices else {"metavar": _metavar(declared.name, kind)}
        self.add_argument(*flags.split(), **options)

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; see `{self.prog} --help`")

    def _check_value(self, action: argparse.Action, value: object) -> None:
        if action.choices is not None and value not in action.choices:
            known = [str(choice) for choice in action.choices]
            argument = "/".join(action.option_strings) or action.metavar or action.dest
            self.error(f"{argument}: unknown value '{value}'{nearest(str(value), known)}; known: {', '.join(known)}")


def arguments_of(args: argparse.Namespace, path: str) -> dict[str, Any]:
    """The arguments of a call of the function at `path`, from flags that `Parser.add_parameters` added."""
    return {name: getattr(args, name) for name in read_signature(path).parameters if hasattr(args, name)}


def respell(
    words: Sequence[str], canonical: Callable[[str], str | None], takes_value: Callable[[str], bool]
) -> list[str]:
    """Rewrite each flag to its canonical spelling: `--sft_rows 5` and `sft_rows=5` → `--sft-rows 5`, `--sft-rows=5`.

    Args:
        words: the command line.
        canonical: the flag of a name such as "sft_rows", or None if there is no such flag.
        takes_value: whether a word is a flag whose value is the next word, whatever that looks like.
    """
    result: list[str] = []
    for word in words:
        name, equals, value = word.partition("=")
        is_value = bool(result) and takes_value(result[-1]) and not word.startswith("--")
        is_flag = not is_value and (word.startswith("--") or equals)
        flag = canonical(name.removeprefix("--")) if is_flag else None
        result.append(f"{flag}{equals}{value}" if flag else word)
    return result


def _metavar(name: str, kind: str) -> str:
    if "Path" not in kind:
        return {"int": "N", "float": "X"}.get(kind, "TEXT")
    return "DIR" if name.endswith("_dir") or name == "checkpoint" else "FILE"
