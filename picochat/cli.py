"""The command line. The first word decides: fit | validate | test | predict → LightningCLI, all others → `commands`.

Nothing heavy is imported here; each command imports what it needs when it runs.
"""

import argparse
import difflib
import importlib
import os
import re
import select
import signal
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from picochat import __version__
from picochat.errors import UserError, one_line
from picochat.signals import ended_by

GROUPS = {  # command group → (module, what it is for)
    "data": ("picochat.commands.data", "import a corpus, generate task packs, inspect row files"),
    "tok": ("picochat.commands.tok", "train a tokenizer"),
    "train": ("picochat.commands.train", "train the base or an SFT stage (fills in a config and runs fit)"),
    "eval": ("picochat.commands.evaluate", "answer eval rows, measure SFT fit, compare runs"),
}
COMMANDS = {  # command that is no group → the same
    "list": ("picochat.commands.list", "show tasks, profiles, datamodules, callbacks, configs, plug-ins included"),
    "plan": ("picochat.commands.plan", "what a run needs, before it runs: memory, time, tokens, epochs, warnings"),
    "chat": ("picochat.commands.chat", "talk to a checkpoint in the terminal, or through a pipe"),
    "generate": ("picochat.commands.generate", "answer one prompt, or a file of them"),
    "export": ("picochat.commands.export", "write a checkpoint in another number format, or with an untied head"),
    "completion": ("picochat.commands.completion", "print the script that completes commands and flags in bash or zsh"),
}
TRAINER = {  # LightningCLI's own subcommands
    "fit": "train from a config, such as `picochat fit --config capability.yaml`",
    "validate": "measure the losses of the validation sets",
    "test": "measure the loss of the eval set",
    "predict": "answer the eval rows of a datamodule",
}


class PurposeFirst(argparse.ArgumentParser):
    """Help that begins with what a command is for and ends with its example as it is written; argparse begins with the
    usage, which may be long."""

    def format_help(self, formatter: argparse.HelpFormatter | None = None) -> str:
        given = [formatter] if formatter else []  # jsonargparse takes one, argparse does not
        described, example = self.description, self.epilog
        purpose, _, more = (described or "").partition("\n")
        try:
            self.description, self.epilog = more.strip(), None
            usage = super().format_help(*given).rstrip()
        finally:
            self.description, self.epilog = described, example
        return "\n\n".join(filter(None, [purpose, usage, example])) + "\n"


class Parser(PurposeFirst):
    """argparse with hyphenated flags, one-sentence errors and the nearest name."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        options = {"formatter_class": argparse.RawDescriptionHelpFormatter, "allow_abbrev": False, **kwargs}
        super().__init__(*args, **options)

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; see `{self.prog} --help`")

    def _check_value(self, action: argparse.Action, value: object) -> None:
        if action.choices is not None and value not in action.choices:
            known = [str(choice) for choice in action.choices]
            what = action.metavar or "/".join(action.option_strings) or action.dest
            self.error(f"{what}: unknown value '{value}'{nearest(str(value), known)}; known: {', '.join(known)}")

    def flags(self) -> list[str]:
        """All long flags."""
        return [flag for flag in self._option_string_actions if flag.startswith("--")]

    def switches(self) -> list[str]:
        """Those of them that take no value."""
        return [flag for flag in self.flags() if self._option_string_actions[flag].nargs == 0]


def main(args: Sequence[str] | None = None) -> None:
    """Run one command line; `args` stands for sys.argv[1:].

    Returns None always (a returned object would become exit status 1).

    Raises:
        SystemExit: 2 for bad input (one sentence on stderr), 130 after Ctrl-C, 143 after SIGTERM,
            141 where nobody reads stdout any more.
    """
    words = list(sys.argv[1:] if args is None else args)
    try:
        with ended_by(signal.SIGTERM):
            _dispatch(words)
        sys.stdout.flush()  # here, where a reader that is gone can still be told from a fault
    except BrokenPipeError:
        if not _reader_is_gone():
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python's last flush would complain
        raise SystemExit(128 + signal.SIGPIPE) from None
    except UserError as error:
        print(f"picochat: error: {one_line(str(error))}", file=sys.stderr)
        raise SystemExit(2) from None
    except OSError as error:
        if error.filename is None:
            raise
        reason = one_line(f"cannot read or write {error.filename}: {error.strerror}")
        print(f"picochat: error: {reason}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        print("picochat: stopped by Ctrl-C", file=sys.stderr)
        raise SystemExit(130) from None


def _reader_is_gone() -> bool:
    """As in `picochat list | head -1`."""
    poll = select.poll()
    poll.register(sys.stdout.fileno())
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))


def nearest(word: str, known: Sequence[str]) -> str:
    """' (did you mean X?)' where a known name is close, else ''."""
    found = difflib.get_close_matches(word, known, n=1)
    return f" (did you mean {found[0]}?)" if found else ""


def _dispatch(words: list[str]) -> None:
    if not words or words[0] in ("-h", "--help"):
        print(_overview())
    elif words[0] in ("-V", "--version"):
        print(f"picochat {__version__}")
    elif words[0] in TRAINER:
        from picochat.commands.configs import spell_out

        words = spell_out(words)  # before the slow imports: a wrong name is said at once
        from picochat.commands.fit import run_trainer

        run_trainer(words)
    elif words[0] in GROUPS or words[0] in COMMANDS:
        _run_command(words)
    else:
        known = [*TRAINER, *GROUPS, *COMMANDS]
        raise UserError(f"unknown command '{words[0]}'{nearest(words[0], known)}; known commands: {', '.join(known)}")


def _overview() -> str:
    lines = [__import__("picochat").__doc__ or "", "", "usage: picochat COMMAND …      each has --help", ""]
    lines += [f"  {name:<11}{text}" for name, text in TRAINER.items()]
    lines += [f"  {name:<11}{text}" for name, (_, text) in {**GROUPS, **COMMANDS}.items()]
    lines += ["", "example: picochat data import --source stories --documents 20000 --out-dir runs/data"]
    return "\n".join(lines)


def _run_command(words: list[str]) -> None:
    group, subparsers = parser_of(words[0])
    arguments = words[1:] if words[0] in GROUPS else words
    command: Parser | None = subparsers.choices.get(arguments[0]) if arguments else None
    if command:
        arguments = normalise(arguments, command.flags(), command.switches())
        _refuse_unknown_flags(arguments, command.flags(), command.prog)
    namespace = group.parse_args(arguments)
    namespace.run(namespace)


def sentence(purpose: str) -> str:
    """A purpose of the tables above as it stands in a command's own help."""
    return f"{purpose[0].upper()}{purpose[1:]}."


def parser_of(word: str) -> tuple[Parser, Any]:
    """The parser of a group or of a command that is no group, and argparse's table of the commands in it."""
    module_name, purpose = {**GROUPS, **COMMANDS}[word]
    group = Parser(prog=f"picochat {word}" if word in GROUPS else "picochat", description=sentence(purpose))
    subparsers = group.add_subparsers(dest="command", metavar="COMMAND", required=True)
    importlib.import_module(module_name).add_parser(subparsers)
    group.epilog = f"example: picochat {word} {next(iter(subparsers.choices))} --help"
    return group, subparsers


def _refuse_unknown_flags(words: Sequence[str], flags: Sequence[str], command: str) -> None:
    """Before argparse, which would name a missing required flag and not the mistyped one that was meant for it."""
    for word in words:
        flag = word.partition("=")[0]
        if flag.startswith("--") and flag != "--" and flag not in flags:
            raise UserError(f"unknown argument '{flag}'{nearest(flag, flags)}; see `{command} --help`")


def normalise(words: Sequence[str], flags: Sequence[str], switches: Sequence[str] = ()) -> list[str]:
    """Accept `--sft_rows 5` and `sft_rows=5` as spellings of `--sft-rows 5`; what stands behind a flag is its value."""
    known, valued = set(flags), set(flags) - set(switches)
    result: list[str] = []
    for word in words:
        if result and result[-1] in valued and not word.startswith("--"):
            result.append(word)
            continue
        match = re.match(r"(?:--)?([A-Za-z][\w-]*)(=.*)?$", word, flags=re.DOTALL)
        flag = "--" + match[1].replace("_", "-") if match else ""
        spelt = match is not None and flag in known and (word.startswith("--") or match[2] is not None)
        result.append(flag + (match[2] or "") if match and spelt else word)
    return result
