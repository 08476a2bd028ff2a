"""`picochat generate`, `export` and `board`: what is done with a checkpoint, beside talking to it."""

import io
import socket
import sys
from argparse import Namespace
from pathlib import Path

from picochat.commands.parser import DECODING, LOADING, Parser, arguments_of
from picochat.errors import UserError
from picochat.files import refuse_existing
from picochat.packs.rows import Message, Row
from picochat.strict_json import text_fault

_EXPORT = "picochat.model.checkpoint.export_checkpoint"


def add_generate(commands: Parser) -> None:
    parser = commands.add_command("generate", generate)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--prompt", action="append", metavar="TEXT", help="what to answer; may be repeated; - is stdin")
    rows = 'rows as JSONL: {"prompt": …}, or {"messages": […]} that end with the user'
    source.add_argument("--input", metavar="FILE", help=rows)
    out = "rows with reply and finished added (default: printed, as JSONL for --input)"
    parser.add_argument("--out", metavar="FILE", help=out)
    parser.add_argument("--system", metavar="TEXT", help="a system message for prompts that have none")
    plain = "continue the text as a document, as base models are trained to; no turns"
    parser.add_argument("--plain", action="store_true", help=plain)
    parser.add_parameters(LOADING)
    parser.add_parameters(DECODING)
    parser.add_argument("--force", action="store_true", help="replace --out if it exists")


def add_export(commands: Parser) -> None:
    parser = commands.add_command("export", export)
    parser.add_parameters(_EXPORT)
    parser.add_argument("--force", action="store_true", help="replace an existing folder")


def add_board(commands: Parser) -> None:
    parser = commands.add_command("board", board)
    parser.add_argument("folder", nargs="?", default="runs", metavar="RUNS", help="the folder (default: runs)")
    parser.add_argument("--port", type=int, default=8765, metavar="N", help="of 127.0.0.1 (default: 8765; 0: any)")


def generate(args: Namespace) -> None:
    """Answer one prompt, or every row of a JSONL file, with a checkpoint.

    examples:
      picochat generate --checkpoint runs/capability/best_checkpoint --prompt "What is 27 + 15?"
      picochat generate --checkpoint runs/capability/best_checkpoint --input prompts.jsonl --out replies.jsonl
    """
    from picochat.evidence.answering import ModelAnswerer
    from picochat.model.engine import Decoding, Reply, load_model
    from picochat.packs.rows import dump_rows, write_rows

    decoding = Decoding(**arguments_of(args, DECODING))
    if args.out:
        refuse_existing([Path(args.out)], force=args.force)
    rows = _rows(args)
    if args.plain and any(len(row["messages"]) > 1 for row in rows):
        raise UserError("--plain goes on with one text: leave --system out, and rows with several messages")
    model = load_model(**arguments_of(args, LOADING))
    if args.plain:
        from picochat.model.generation import generate

        prompts = [model.tokenizer.document(row["messages"][0]["content"])[:-1] for row in rows]
        replies: list[Reply] = [*generate(model.decoder, model.tokenizer, prompts, decoding, progress=True)]
    else:
        answerer = ModelAnswerer(model.decoder, model.tokenizer, decoding, progress=True)
        replies = [*answerer.reply([row["messages"] for row in rows])]
    done = [{**row, "reply": reply.text, "finished": reply.finished} for row, reply in zip(rows, replies, strict=True)]
    cut = sum(not reply.finished for reply in replies)
    if args.out:
        write_rows(args.out, done)
        print(f"wrote {args.out}: {len(done)} replies, {cut} of them cut off")
    elif args.input:
        sys.stdout.write(dump_rows(done))
    else:
        print("\n\n".join(reply.text for reply in replies))
        if cut:
            print(f"({cut} of {len(done)} replies cut off; see --max-new-tokens)", file=sys.stderr)


def _rows(args: Namespace) -> list[Row]:
    from picochat.packs.formats import read_rows

    system: list[Message] = []
    if args.system is not None:
        system = [{"role": "system", "content": require_text("--system", args.system)}]
    if args.input:
        rows = read_rows(args.input, "prompt")
    else:
        if isinstance(sys.stdin, io.TextIOWrapper):
            sys.stdin.reconfigure(encoding="utf-8", errors="surrogateescape")  # as the words of the command line are
        texts = [require_text("--prompt", sys.stdin.read() if text == "-" else text) for text in args.prompt]
        rows = [{"messages": [{"role": "user", "content": text}]} for text in texts]
    for row in rows:
        if row["messages"][0]["role"] != "system":
            row["messages"] = [*system, *row["messages"]]
    return rows


def require_text(flag: str, text: str) -> str:
    """A text of the command line or of stdin; UserError, naming its flag, where it is empty or not UTF-8."""
    if not text.strip():
        raise UserError(f"{flag} is empty; give a text, or leave it out")
    if fault := text_fault(text):  # Python puts half of a surrogate pair for a byte that it cannot read
        raise UserError(f"{flag} {fault}; give it as UTF-8")
    return text


def export(args: Namespace) -> None:
    """Write a checkpoint as a Hugging Face folder in another number format, or with an untied head.

    A checkpoint is such a folder already: this is for what it is to become, not a step that it needs.

    example: picochat export --checkpoint runs/capability/best_checkpoint --out-dir runs/picochat-bf16 --dtype bfloat16
    then:    hf upload OWNER/NAME runs/picochat-bf16
    """
    refuse_existing([Path(args.out_dir)], force=args.force, folders=True)
    from picochat.model.checkpoint import export_checkpoint

    size = export_checkpoint(**arguments_of(args, _EXPORT))
    print(f"wrote {args.out_dir}: {size / 1e6:.1f} MB of weights")


def board(args: Namespace) -> None:
    """A local page over a folder of runs: live curves, reports, two checkpoints side by side.

    example: picochat board runs
    """
    if not 0 <= args.port < 2**16:
        raise UserError(f"--port {args.port} cannot be used; choose a number below 65536, or 0 for any")
    if not Path(args.folder).is_dir():
        raise UserError(
            f"{args.folder} is not a folder; name that of your runs (`picochat fit --config base.yaml` makes runs/)"
        )
    try:
        import uvicorn

        from picochat.board.app import Board
    except ImportError as error:
        raise UserError(f"the board needs {error.name}; install it with: pip install 'picochat[board]'") from error
    try:
        listening = socket.create_server(("127.0.0.1", args.port))
    except OSError as error:
        raise UserError(f"--port {args.port} cannot be used ({error}); choose another, or 0 for any") from error
    with listening:
        print(f"http://127.0.0.1:{listening.getsockname()[1]} shows {args.folder}; Ctrl-C ends it", flush=True)
        server = uvicorn.Server(uvicorn.Config(Board(Path(args.folder)).app(), log_level="warning"))
        server.run(sockets=[listening])
