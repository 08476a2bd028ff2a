"""`picochat chat`: talk to a checkpoint. In: lines. Out: replies as they are made. Calls picochat.model.generation.

The whole conversation is rendered again for every reply, as training rendered it. In a terminal there are a prompt and
line editing; in a pipe every line of stdin is one turn, and nothing but replies goes to stdout.
"""

import argparse
import io
import signal
import sys
from collections.abc import Generator, Iterator
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from picochat.commands.decoding import DECODING, LOADING, require_text
from picochat.commands.parser import arguments_of
from picochat.errors import UserError
from picochat.model.engine import Decoding, load_model
from picochat.packs.formats import read_rows
from picochat.packs.rows import Message, validate_row, write_rows

if TYPE_CHECKING:
    from picochat.model.checkpoint import Checkpoint

HELP = """/reset          forget the conversation; the system prompt stays
/save FILE      add the conversation to FILE as a chat row (JSONL), ready to be trained on
/temperature X  0 is greedy; above, replies are drawn
/help           this list
/quit           end, as Ctrl-D does; Ctrl-C stops a reply
//TEXT          say TEXT that begins with a slash"""


def add_parser(subparsers: Any) -> None:
    """Add ``chat`` to the commands."""
    parser = subparsers.add_parser(
        "chat",
        help="talk to a checkpoint",
        description="Talk to a checkpoint: in the terminal, or through a pipe with one turn a line.\n\n" + HELP,
        epilog="example: picochat chat --checkpoint runs/capability/best_checkpoint --temperature 0.7",
    )
    parser.add_parameters(LOADING)
    parser.add_parameters(DECODING, *("max_new_tokens", "temperature", "top_k", "top_p", "seed"))
    parser.add_argument("--system", metavar="TEXT", help="a system message before the first turn")
    parser.add_argument(
        "--forget", action="store_true", help="answer every turn alone; picochat's own packs teach single turns"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Read turns until the input ends."""
    decoding = Decoding(**arguments_of(args, DECODING))
    system = None if args.system is None else require_text("--system", args.system)
    model = load_model(**arguments_of(args, LOADING))
    terminal = sys.stdin.isatty()
    session = ChatSession(model, decoding, system, str(args.checkpoint), forget=args.forget)
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(encoding="utf-8", errors="replace")
    if terminal:
        # Ctrl-C is to stop a reply, not the program
        signal.signal(signal.SIGINT, signal.default_int_handler)
        print(f"{args.checkpoint}: /help lists the commands, Ctrl-D ends", file=sys.stderr)
    for line in _typed_lines() if terminal else sys.stdin:
        if line.strip() and not session.take(line.strip()):
            break


class ChatSession:
    """A conversation and what a line does to it.

    Args:
        model: who answers.
        decoding: how; ``batch_size`` is not used.
        system: text of the system message, or None.
        name: of the checkpoint, for saved rows.
        forget: read the system message and the last question only.
    """

    def __init__(self, model: "Checkpoint", decoding: Decoding, system: str | None, name: str, *, forget: bool) -> None:
        from picochat.model.inference import Weights

        self.weights = Weights(model.decoder)
        self.tokenizer = model.tokenizer
        self.given = self.decoding = decoding
        self.name = name
        self.system: list[Message] = [{"role": "system", "content": system}] if system else []
        self.messages = list(self.system)
        self.forget = forget
        self.context = self.weights.config.max_position_embeddings
        self.turns = 0  # answered; distinguishes the random numbers of one reply from the next's
        self.dropped = 0

    def take(self, line: str) -> bool:
        """Run a slash command or answer a turn; returns False after /quit. Mistakes go to stderr."""
        try:
            if line.startswith("/") and not line.startswith("//"):
                return self._run_slash_command(*line.split(maxsplit=1))
            self._answer(line.removeprefix("/") if line.startswith("//") else line)
        except UserError as error:
            _note(str(error))
        return True

    def _run_slash_command(self, command: str, value: str = "") -> bool:
        if command == "/reset":
            self.messages, self.turns, self.dropped = list(self.system), 0, 0
            _note("forgotten")
        elif command == "/save":
            self._save(value.strip())
        elif command == "/temperature":
            self._set_temperature(value)
        elif command == "/help":
            print(HELP, file=sys.stderr)
        elif command != "/quit":
            raise UserError(f"unknown command {command}; /help lists them")
        return command != "/quit"

    def _answer(self, text: str) -> None:
        from picochat.model.generation import stream

        question: Message = {"role": "user", "content": text}
        messages = [*(self.system if self.forget else self.messages), question]
        try:
            validate_row({"messages": messages, "answerable": True}, "eval")
        except ValueError as error:
            raise UserError(f"this is not a valid message: {error}") from error
        prompt = self._prompt(messages)
        pieces = stream(self.weights, self.tokenizer, prompt, self.decoding, index=self.turns)
        self.turns += 1
        reply, end = _print_reply(pieces)
        if end == "cut off":
            full = len(prompt) + self.decoding.max_new_tokens > self.context
            why = f"the context of {self.context} tokens is full" if full else "--max-new-tokens allows no more"
            _note(f"cut off: {why}")
        elif end:
            _note(end)
        if reply.strip():
            self.messages = [*messages, {"role": "assistant", "content": reply}]
        else:
            _note("no reply; the question is forgotten")

    def _prompt(self, messages: list[Message]) -> list[int]:
        """The part of a conversation that fits the context; says what no longer does."""
        from picochat.model.generation import read_window

        # a reply may need as many tokens as were allowed, but the past is worth half of the context
        room = min(self.decoding.max_new_tokens, self.context // 2)
        try:
            ids, dropped = read_window(messages, self.tokenizer, self.context - room)
        except UserError:
            ids, dropped = read_window(messages, self.tokenizer, self.context - 1)  # a short reply is better than none
        if dropped > self.dropped:
            self.dropped = dropped
            _note(f"turns no longer read, since the context of {self.context} tokens is full: {self.dropped // 2}")
        return ids

    def _save(self, file: str) -> None:
        if not file:
            raise UserError("/save needs a file name, such as /save talk.jsonl")
        if self.messages == self.system:
            raise UserError("nothing was said yet")
        try:
            file = str(Path(file).expanduser())
            rows = read_rows(file, "chat") if Path(file).exists() else []
            write_rows(file, [*rows, {"messages": self.messages, "category": "chat", "checkpoint": self.name}])
        except (OSError, RuntimeError, ValueError) as error:  # a name that is too long, ~ of nobody, NUL
            raise UserError(f"cannot save to {file[:200]}: {error}") from error
        _note(f"saved as row {len(rows) + 1} of {file}")

    def _set_temperature(self, value: str) -> None:
        try:
            temperature = float(value)
        except ValueError:
            raise UserError("/temperature needs a number, such as /temperature 0.7") from None
        # without effect at 0; a later temperature above 0 brings them back
        top_k, top_p = (self.given.top_k, self.given.top_p) if temperature else (None, None)
        self.decoding = replace(self.given, temperature=temperature, top_k=top_k, top_p=top_p)
        _note(f"temperature {temperature}")


def _typed_lines() -> Iterator[str]:
    """Lines of a terminal until Ctrl-D; Ctrl-C at the prompt throws the line away."""
    with suppress(ImportError):  # not on every system
        import readline  # noqa: F401 - line editing and history for input()

    while True:
        try:
            yield input("> ")
        except KeyboardInterrupt:
            print(file=sys.stderr)
        except EOFError:
            print(file=sys.stderr)
            return


def _print_reply(stream: Generator[str, None, bool]) -> tuple[str, str]:
    """Print a reply as it comes; gives it, and how it ended: "" of itself, "cut off", "stopped" by Ctrl-C."""
    pieces: list[str] = []
    end = "stopped"
    with closing(stream), suppress(KeyboardInterrupt):
        try:
            while True:
                pieces.append(next(stream))
                print(_visible(pieces[-1]), end="", flush=True)
        except StopIteration as stop:
            end = "" if stop.value else "cut off"
    print(flush=True)
    return "".join(pieces), end


def _note(text: str) -> None:
    print(f"({text})", file=sys.stderr, flush=True)


def _visible(text: str) -> str:
    """What a model says may hold control characters, which a terminal would obey."""
    if not sys.stdout.isatty():
        return text
    return "".join(sign if sign.isprintable() or sign in "\n\t" else "\ufffd" for sign in text)
