"""`picochat generate`: prompts in, replies out. For one prompt the reply is printed; for rows a JSONL is written."""

import argparse
import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from picochat.commands.decoding import DECODING, LOADING, require_text
from picochat.commands.parser import arguments_of
from picochat.errors import UserError
from picochat.files import refuse_existing
from picochat.model.engine import Decoding, load_model
from picochat.packs.formats import read_rows
from picochat.packs.rows import Message, Row, dump_rows, write_rows

if TYPE_CHECKING:
    from picochat.evidence.answering import Reply as Said
    from picochat.model.checkpoint import Checkpoint


def add_parser(subparsers: Any) -> None:
    """Add ``generate`` to the commands."""
    parser = subparsers.add_parser(
        "generate",
        help="answer prompts",
        description="Answer one prompt, or every row of a JSONL file, with a checkpoint.",
        epilog="examples:\n"
        '  picochat generate --checkpoint runs/capability/best_checkpoint --prompt "What is 27 + 15?"\n'
        "  picochat generate --checkpoint runs/capability/best_checkpoint --input prompts.jsonl --out replies.jsonl",
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--prompt", action="append", metavar="TEXT", help="what to answer; may be repeated; - is stdin")
    source.add_argument(
        "--input", metavar="FILE", help='rows as JSONL: {"prompt": …}, or {"messages": […]} that end with the user'
    )
    parser.add_argument(
        "--out", metavar="FILE", help="rows with reply and finished added (default: printed, as JSONL for --input)"
    )
    parser.add_argument("--system", metavar="TEXT", help="a system message for prompts that have none")
    parser.add_argument(
        "--plain",
        action="store_true",
        help="continue the text as a document, as base models are trained to; no turns",
    )
    parser.add_parameters(LOADING)
    parser.add_parameters(DECODING)
    parser.add_argument("--force", action="store_true", help="replace --out if it exists")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Answer, and print or write."""
    decoding = Decoding(**arguments_of(args, DECODING))
    if args.plain and args.system is not None:
        raise UserError("--plain goes on with a text and has no turns: leave --system out")
    if args.out:
        refuse_existing([Path(args.out)], force=args.force)
    rows = _rows(args)
    if args.plain and any(len(row["messages"]) > 1 for row in rows):
        raise UserError(f"{args.input}: --plain goes on with one text; a row with several messages has none")
    model = load_model(**arguments_of(args, LOADING))
    replies = _answer(model, [row["messages"] for row in rows], decoding, plain=args.plain)
    done = [{**row, "reply": reply.text, "finished": reply.finished} for row, reply in zip(rows, replies, strict=True)]
    if args.out:
        write_rows(args.out, done)
        print(f"wrote {args.out}: {len(done)} replies, {sum(not row['finished'] for row in done)} of them cut off")
    elif args.input:
        sys.stdout.write(dump_rows(done))
    else:
        print("\n\n".join(row["reply"] for row in done))
        if cut := sum(not row["finished"] for row in done):
            print(f"({cut} of {len(done)} replies cut off; see --max-new-tokens)", file=sys.stderr)


def _rows(args: argparse.Namespace) -> list[Row]:
    if args.input:
        rows = read_rows(args.input, "prompt")
    else:
        if isinstance(sys.stdin, io.TextIOWrapper):
            sys.stdin.reconfigure(encoding="utf-8", errors="surrogateescape")  # as the words of the command line are
        texts = [require_text("--prompt", sys.stdin.read() if text == "-" else text) for text in args.prompt]
        rows = [{"messages": [{"role": "user", "content": text}]} for text in texts]
    system: list[Message] = []
    if args.system is not None:
        system = [{"role": "system", "content": require_text("--system", args.system)}]
    return [
        row if row["messages"][0]["role"] == "system" else {**row, "messages": [*system, *row["messages"]]}
        for row in rows
    ]


def _answer(
    model: "Checkpoint", conversations: list[list[Message]], decoding: Decoding, *, plain: bool
) -> "list[Said]":
    if not plain:
        from picochat.evidence.answering import ModelAnswerer

        return list(ModelAnswerer(model.decoder, model.tokenizer, decoding, progress=True).reply(conversations))
    from picochat.model.generation import generate

    prompts = [model.tokenizer.document(messages[0]["content"])[:-1] for messages in conversations]
    return list(generate(model.decoder, model.tokenizer, prompts, decoding, progress=True))
