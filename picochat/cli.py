"""The command line. The first word decides: fit | validate | test | predict → LightningCLI, all others → `commands`.

Nothing heavy is imported here; each command imports what it needs when it runs.
"""

import errno
import io
import os
import signal
import sys
from argparse import Namespace
from collections.abc import Sequence
from itertools import groupby
from pkgutil import resolve_name

from picochat import __doc__ as purpose
from picochat import __version__
from picochat.commands.parser import Parser
from picochat.commands.settings import SUBCOMMANDS, add_trainer, class_help
from picochat.errors import UserError, nearest, one_line, out_of_memory
from picochat.signals import PARENT, end_with_parent, ended_by

COMMANDS = {  # command → what a person wants, the module whose `add_COMMAND` adds it, what it is for
    "data": ("make data", "picochat.commands.data", "import a corpus, generate task packs, inspect row files"),
    "tok": ("make data", "picochat.commands.data", "train a tokenizer"),
    "train": ("train", "picochat.commands.train", "pretrain the base or fine-tune it: short flags for fit"),
    "fit": ("train", "picochat.commands.fit", SUBCOMMANDS["fit"]),
    "plan": ("train", "picochat.commands.plan", "what a run needs, before it runs: memory, time, tokens, epochs"),
    "eval": ("measure", "picochat.commands.evaluate", "answer eval rows, measure SFT fit, compare runs"),
    "study": ("measure", "picochat.commands.study", "which lane of a mixture caused what: designed sets of runs"),
    "validate": ("measure", "picochat.commands.fit", SUBCOMMANDS["validate"]),
    "test": ("measure", "picochat.commands.fit", SUBCOMMANDS["test"]),
    "predict": ("measure", "picochat.commands.fit", SUBCOMMANDS["predict"]),
    "board": ("use a model", "picochat.commands.generate", "a local page: live curves, reports, two checkpoints"),
    "chat": ("use a model", "picochat.commands.chat", "talk to a checkpoint in the terminal, or through a pipe"),
    "generate": ("use a model", "picochat.commands.generate", "answer one prompt, or a file of them"),
    "export": ("use a model", "picochat.commands.generate", "write a checkpoint in another number format"),
    "list": ("look up and extend", "picochat.commands.extend", "show tasks, profiles, datamodules, callbacks, configs"),
    "new": ("look up and extend", "picochat.commands.extend", "start a plug-in package of your own"),
    "completion": ("look up and extend", "picochat.cli", "print the script that completes commands in a shell"),
}
GROUPS = ("data", "tok", "train", "eval", "study", "new")  # commands that have commands
_NAMELESS = {  # what an OSError without a file name speaks of
    errno.ENOENT: "the current directory",
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO), "the output"),
}


def main(args: Sequence[str] | None = None) -> None:
    """Run one command line; `args` stands for sys.argv[1:].

    Raises:
        SystemExit: 2 for bad input (one sentence on stderr), 130 after Ctrl-C, 143 after SIGTERM,
            141 if nobody reads stdout any more.
    """
    words = list(sys.argv[1:] if args is None else args)
    _open_streams()
    # read when torch loads OpenMP: a thread that spins while it waits takes the core of the process beside it, and one
    # that never spins wakes up late; benchmarks/train.py has the figures
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    if os.environ.get(PARENT) == str(os.getppid()):
        end_with_parent(grace=0.0)
    try:
        with ended_by(signal.SIGTERM):
            _dispatch(words)
        sys.stdout.flush()  # here, where a closed pipe is caught
    except BrokenPipeError:  # as in `picochat list | head -1`
        _drop_output()
        raise SystemExit(128 + signal.SIGPIPE) from None
    except UserError as error:
        _end(f"error: {one_line(str(error))}")
    except (MemoryError, RuntimeError) as error:
        if not (reason := out_of_memory(error)):
            raise
        _end(f"error: {reason}; lower --batch-size, or take a smaller input")
    except OSError as error:
        place = error.filename or _NAMELESS.get(error.errno or 0)
        if place is None:
            raise
        if place == "the output":  # as in `picochat list > /dev/full`
            _drop_output()
        _end(f"error: {one_line(f'cannot read or write {place}: {error.strerror}')}")
    except KeyboardInterrupt:
        _end("stopped by Ctrl-C", 130)


def _open_streams() -> None:
    """Standard streams for whatever the shell gave: closed ones (`>&-`), another encoding than UTF-8."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode))
    if isinstance(sys.stdout, io.TextIOWrapper):  # rows in a file are UTF-8; a name that is not is spelt out
        sys.stdout.reconfigure(encoding=None if sys.stdout.isatty() else "utf-8", errors="backslashreplace")


def _drop_output() -> None:
    """Send what was not written yet nowhere, or Python's last flush would complain."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _end(said: str, status: int = 2) -> None:
    print(f"picochat: {said}", file=sys.stderr)
    raise SystemExit(status)


def _dispatch(words: list[str]) -> None:
    if not words or words[0] in ("-h", "--help"):
        print(_overview())
    elif words[0] in ("-V", "--version"):
        print(f"picochat {__version__}")
    elif words[0] in SUBCOMMANDS:
        _run_trainer(words)
    elif words[0] not in COMMANDS:
        known = ", ".join(COMMANDS)
        raise UserError(f"unknown command '{words[0]}'{nearest(words[0], COMMANDS)}; known commands: {known}")
    else:
        namespace = parse_command(words)
        namespace.run(namespace)


def parse_command(words: Sequence[str]) -> Namespace:
    """Parse a command line that is not LightningCLI's; `run` of the result runs it. UserError where it is wrong."""
    parser = build_parser([words[0]])
    while words and words[0] in parser.commands():
        parser, words = parser.commands()[words[0]], words[1:]
    return parser.parse(words)


def _run_trainer(words: list[str]) -> None:
    from picochat.commands.configs import resolve_names
    from picochat.commands.refusals import refuse_paths

    words = resolve_names(words)  # before the slow imports: a wrong name is reported at once
    if {"-h", "--help"} & set(words):
        print(build_parser(words[:1]).commands()[words[0]].format_help().rstrip())
        return
    if "--data.help" in words[:-1]:
        try:
            print(class_help(words[words.index("--data.help") + 1]))
            return
        except LookupError:
            pass  # a class of somebody else's, which jsonargparse imports
    refuse_paths(words)
    from picochat.commands.fit import run_trainer

    run_trainer(["--help" if word == "--help_all" else word for word in words])


def _overview() -> str:
    lines = [purpose or "", "", "usage: picochat COMMAND …      each has --help"]
    for title, names in groupby(COMMANDS, lambda name: COMMANDS[name][0]):
        lines += ["", f"{title}:", *(f"  {name:<11}{COMMANDS[name][2]}" for name in names)]
    return "\n".join(
        [*lines, "", "example: picochat fit --config base.yaml    (makes what it needs, and trains a base)"]
    )


def build_parser(words: Sequence[str]) -> Parser:
    """The parser of these commands and groups of commands; importing all their modules would take a quarter second."""
    top = Parser(prog="picochat")
    for name in words:
        if name in SUBCOMMANDS:
            add_trainer(top, name)
        else:
            _, module, text = COMMANDS[name]
            parent = top.add_command(name, None, f"{text[0].upper()}{text[1:]}.") if name in GROUPS else top
            resolve_name(f"{module}:add_{name}")(parent)
    return top


def add_completion(commands: Parser) -> None:
    parser = commands.add_command("completion", _complete)
    parser.add_argument("shell", choices=("bash", "zsh", "tcsh"), metavar="SHELL", help="bash, zsh or tcsh")


def _complete(args: Namespace) -> None:
    """Print the script that completes commands and flags in bash, zsh or tcsh.

    example: picochat completion bash
    in use:  eval "$(picochat completion bash)"
    """
    import shtab

    print(shtab.complete(build_parser(list(COMMANDS)), args.shell))
