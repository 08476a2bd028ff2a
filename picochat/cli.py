"""The command line. The first word decides: fit | validate | test | predict → LightningCLI, all others → `commands`.

Nothing heavy is imported here; each command imports what it needs when it runs.
"""

import os
import select
import signal
import sys
from argparse import Namespace
from collections.abc import Sequence
from pkgutil import resolve_name

from picochat import __doc__ as purpose
from picochat import __version__
from picochat.commands.parser import Parser
from picochat.commands.settings import SUBCOMMANDS, add_trainer, class_help, trainer_help
from picochat.errors import UserError, nearest, one_line, out_of_memory
from picochat.signals import PARENT, end_with_parent, ended_by

GROUPS = {  # command group → (the module whose `add_GROUP` adds its commands, what it is for)
    "data": ("picochat.commands.data", "import a corpus, generate task packs, inspect row files"),
    "tok": ("picochat.commands.data", "train a tokenizer"),
    "train": ("picochat.commands.train", "pretrain the base or fine-tune it: short flags for fit"),
    "eval": ("picochat.commands.evaluate", "answer eval rows, measure SFT fit, compare runs"),
    "study": ("picochat.commands.study", "which lane of a mixture caused what: designed sets of runs"),
    "new": ("picochat.commands.extend", "start a plug-in package of your own"),
}
COMMANDS = {  # command that is not a group → the same
    "list": ("picochat.commands.extend", "show tasks, profiles, datamodules, callbacks, configs, plug-ins included"),
    "plan": ("picochat.commands.plan", "what a run needs, before it runs: memory, time, tokens, epochs, warnings"),
    "chat": ("picochat.commands.chat", "talk to a checkpoint in the terminal, or through a pipe"),
    "generate": ("picochat.commands.generate", "answer one prompt, or a file of them"),
    "board": ("picochat.commands.generate", "a local page: live curves, reports, two checkpoints side by side"),
    "export": ("picochat.commands.generate", "write a checkpoint in another number format, or with an untied head"),
    "completion": ("picochat.cli", "print the script that completes commands and flags in bash, zsh or tcsh"),
}
PURPOSES = {  # what a person wants → the commands for it
    "make data": ("data", "tok"),
    "train": ("train", "fit", "plan"),
    "measure": ("eval", "study", "validate", "test", "predict"),
    "use a model": ("board", "chat", "generate", "export"),
    "look up and extend": ("list", "new", "completion"),
}


def main(args: Sequence[str] | None = None) -> None:
    """Run one command line; `args` stands for sys.argv[1:].

    Returns None always (a returned object would become exit status 1).

    Raises:
        SystemExit: 2 for bad input (one sentence on stderr), 130 after Ctrl-C, 143 after SIGTERM,
            141 if nobody reads stdout any more.
    """
    words = list(sys.argv[1:] if args is None else args)
    # read when torch loads OpenMP: a thread that spins while it waits takes the core of the process beside it, and one
    # that never spins wakes up late; benchmarks/train.py has the figures
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    if os.environ.get(PARENT) == str(os.getppid()):
        end_with_parent(grace=0.0)
    status = 2
    try:
        with ended_by(signal.SIGTERM):
            _dispatch(words)
        sys.stdout.flush()  # here, where a closed pipe can still be told from a fault
        return
    except BrokenPipeError:
        if not _reader_is_gone():
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python's last flush would complain
        raise SystemExit(128 + signal.SIGPIPE) from None
    except UserError as error:
        said = f"error: {one_line(str(error))}"
    except (MemoryError, RuntimeError) as error:
        if not (reason := out_of_memory(error)):
            raise
        said = f"error: {reason}; lower --batch-size, or take a smaller input"
    except OSError as error:
        if error.filename is None:
            raise
        said = f"error: {one_line(f'cannot read or write {error.filename}: {error.strerror}')}"
    except KeyboardInterrupt:
        said, status = "stopped by Ctrl-C", 130
    print(f"picochat: {said}", file=sys.stderr)
    raise SystemExit(status)


def _reader_is_gone() -> bool:
    """As in `picochat list | head -1`."""
    poll = select.poll()
    poll.register(sys.stdout.fileno())
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))


def _dispatch(words: list[str]) -> None:
    known = [*SUBCOMMANDS, *GROUPS, *COMMANDS]
    if not words or words[0] in ("-h", "--help"):
        print(_overview())
    elif words[0] in ("-V", "--version"):
        print(f"picochat {__version__}")
    elif words[0] in SUBCOMMANDS:
        _run_trainer(words)
    elif words[0] not in known:
        raise UserError(f"unknown command '{words[0]}'{nearest(words[0], known)}; known commands: {', '.join(known)}")
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
    from picochat.commands.configs import refuse_missing, resolve_names

    words = resolve_names(words)  # before the slow imports: a wrong name is reported at once
    if {"-h", "--help"} & set(words):
        print(trainer_help(words[0]))
        return
    if "--data.help" in words[:-1]:
        try:
            print(class_help(words[words.index("--data.help") + 1]))
            return
        except LookupError:
            pass  # a class of somebody else's, which jsonargparse imports
    refuse_missing(words)
    from picochat.commands.fit import run_trainer

    run_trainer(["--help" if word == "--help_all" else word for word in words])


def _overview() -> str:
    texts = SUBCOMMANDS | {name: text for name, (_, text) in {**GROUPS, **COMMANDS}.items()}
    lines = [purpose or "", "", "usage: picochat COMMAND …      each has --help"]
    for title, names in PURPOSES.items():
        lines += ["", f"{title}:", *(f"  {name:<11}{texts[name]}" for name in names)]
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
            module, text = {**GROUPS, **COMMANDS}[name]
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
    print(completion_script(args.shell))


def completion_script(shell: str) -> str:
    """The script by which a shell completes commands, flags, choices and names of shipped configs."""
    import shtab

    return str(shtab.complete(build_parser([*SUBCOMMANDS, *GROUPS, *COMMANDS]), shell))
