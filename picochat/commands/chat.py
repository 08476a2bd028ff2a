"""`picochat chat`: talk to a checkpoint. In: lines. Out: replies as they are made. Calls picochat.model.generation.
The whole conversation is rendered again for every reply, as training rendered it. In a pipe every line of stdin is one
turn, and nothing but replies goes to stdout.
"""

import io
import signal
import sys
from argparse import Namespace
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

from picochat.commands.generate import require_text
from picochat.commands.parser import DECODING, LOADING, Parser, arguments_of
from picochat.errors import UserError
from picochat.model.engine import Decoding, load_model
from picochat.packs.formats import read_rows
from picochat.packs.rows import Message, validate_row, write_rows

HELP = """/reset          forget the conversation; the system prompt stays
/save FILE      add the conversation to FILE as a chat row (JSONL), ready to be trained on
/temperature X  0 is greedy; above 0, tokens are sampled
/help           this list
/quit           end, as Ctrl-D does; Ctrl-C stops a reply"""
_PAGE = f"""Talk to a checkpoint: in the terminal, or through a pipe with one turn a line.

{HELP}

example: picochat chat --checkpoint runs/capability/best_checkpoint --temperature 0.7"""


def add_chat(commands: Parser) -> None:
    parser = commands.add_command("chat", chat, _PAGE)
    parser.add_parameters(LOADING)
    parser.add_parameters(DECODING, "max_new_tokens", "temperature", "top_k", "top_p", "seed")
    parser.add_argument("--system", metavar="TEXT", help="a system message before the first turn")
    alone = "answer every turn alone; picochat's own packs teach single turns"
    parser.add_argument("--forget", action="store_true", help=alone)


def chat(args: Namespace) -> None:
    """Read turns until the input ends."""
    session = ChatSession(args)
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(encoding="utf-8", errors="replace")
    lines: Iterator[str] = iter(sys.stdin)
    if sys.stdin.isatty():
        signal.signal(signal.SIGINT, signal.default_int_handler)  # Ctrl-C is to stop a reply, not the program
        print(f"{args.checkpoint}: /help lists the commands, Ctrl-D ends", file=sys.stderr)
        lines = _typed_lines()
    for line in lines:
        if line.strip() and not session.take(line.strip()):
            break


class ChatSession:
    """A conversation and what a line does to it; `args` are the command's flags."""

    def __init__(self, args: Namespace) -> None:
        self.args = args
        self.decoding = Decoding(**arguments_of(args, DECODING))
        said = None if args.system is None else require_text("--system", args.system)
        self.system: list[Message] = [{"role": "system", "content": said}] if said else []
        model = load_model(**arguments_of(args, LOADING))
        from picochat.model.inference import Weights

        self.weights, self.tokenizer = Weights(model.decoder), model.tokenizer
        self.context = self.weights.config.max_position_embeddings
        self.messages, self.turns = list(self.system), 0

    def take(self, line: str) -> bool:
        """Run a slash command or answer a turn; returns False after /quit. Mistakes go to stderr."""
        command, value = [*line.split(maxsplit=1), ""][:2]
        try:
            if not line.startswith("/"):
                self._answer(line)
            elif command == "/save":
                self._save(value)
            elif command == "/temperature":
                self._set_temperature(value)
            elif command == "/reset":
                self.messages, self.turns = list(self.system), 0
                _note("forgotten")
            elif command == "/help":
                print(HELP, file=sys.stderr)
            elif command != "/quit":
                raise UserError(f"unknown command {command}; /help lists them")
        except UserError as error:
            _note(str(error))
        return command != "/quit"

    def _answer(self, text: str) -> None:
        from picochat.model.generation import read_window, stream

        question: Message = {"role": "user", "content": text}
        messages = [*(self.system if self.args.forget else self.messages), question]
        try:
            validate_row({"messages": messages, "answerable": True}, "eval")
        except ValueError as error:
            raise UserError(f"this is not a valid message: {error}") from error
        # a reply may need as many tokens as were allowed, but the past is worth half of the context
        room = min(self.decoding.max_new_tokens, self.context // 2)
        prompt, dropped = read_window(messages, self.tokenizer, self.context - room)
        if dropped:
            _note(f"turns no longer read, since the context of {self.context} tokens is full: {dropped // 2}")
        reply, end = "", "stopped"  # by Ctrl-C
        pieces = stream(self.weights, self.tokenizer, prompt, self.decoding, index=self.turns)
        self.turns += 1  # distinguishes the random numbers of one reply from the next's
        with closing(pieces), suppress(KeyboardInterrupt):
            try:
                while True:
                    reply += (piece := next(pieces))
                    print(_visible(piece), end="", flush=True)
            except StopIteration as stop:
                full = len(prompt) + self.decoding.max_new_tokens > self.context
                why = f"the context of {self.context} tokens is full" if full else "--max-new-tokens allows no more"
                end = "" if stop.value else f"cut off: {why}"
        print(flush=True)
        if end:
            _note(end)
        if reply.strip():
            self.messages = [*messages, {"role": "assistant", "content": reply}]
        else:
            _note("no reply; the question is forgotten")

    def _save(self, file: str) -> None:
        if not file:
            raise UserError("/save needs a file name, such as /save talk.jsonl")
        if not file.endswith(".jsonl"):  # a table or a packed file would be replaced
            raise UserError(f"{file} would become JSONL; name a file such as talk.jsonl")
        if self.messages == self.system:
            raise UserError("nothing was said yet")
        row = {"messages": self.messages, "category": "chat", "checkpoint": str(self.args.checkpoint)}
        try:
            file = str(Path(file).expanduser())
            rows = read_rows(file, "chat") if Path(file).exists() else []
            write_rows(file, [*rows, row])
        except (OSError, RuntimeError, ValueError) as error:  # a name that is too long, ~ of nobody, NUL
            raise UserError(f"cannot save to {file[:200]}: {error}") from error
        _note(f"saved as row {len(rows) + 1} of {file}")

    def _set_temperature(self, value: str) -> None:
        try:
            temperature = float(value)
        except ValueError:
            raise UserError("/temperature needs a number, such as /temperature 0.7") from None
        # without effect at 0; a later temperature above 0 brings them back
        top_k, top_p = (self.args.top_k, self.args.top_p) if temperature else (None, None)
        self.decoding = replace(self.decoding, temperature=temperature, top_k=top_k, top_p=top_p)
        _note(f"temperature {temperature}")


def _typed_lines() -> Iterator[str]:
    """Lines of a terminal until Ctrl-D; Ctrl-C at the prompt throws the line away."""
    with suppress(ImportError):  # not on every system
        import readline  # noqa: F401 - line editing and history for input()

    while True:
        try:
            yield input("> ")
        except (KeyboardInterrupt, EOFError) as end:
            print(file=sys.stderr)
            if isinstance(end, EOFError):
                return


def _note(text: str) -> None:
    print(f"({text})", file=sys.stderr, flush=True)


def _visible(text: str) -> str:
    """What a model says may hold control characters, which a terminal would obey."""
    if not sys.stdout.isatty():
        return text
    return "".join(sign if sign.isprintable() or sign in "\n\t" else "\ufffd" for sign in text)
