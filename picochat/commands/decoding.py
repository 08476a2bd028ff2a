"""Flags of the model and its decoding, shared by `eval chat`, `eval sft-fit`, `generate` and `chat`."""

import argparse

from picochat.errors import UserError
from picochat.model.engine import Decoding

LOADING, DECODING = "picochat.model.engine.load_model", "picochat.model.engine.Decoding"  # what declares their flags


def add_decoding_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags of the model and of its decoding, but for ``--batch-size``."""
    parser.add_argument("--checkpoint", required=True, metavar="DIR", help="model folder, such as RUN/best_checkpoint")
    parser.add_argument(
        "--tokenizer", metavar="FILE", help="checked to be the checkpoint's own (default: taken from there)"
    )
    parser.add_argument(
        "--max-new-tokens", type=int, default=256, metavar="N", help="a reply is cut off here (default: 256)"
    )
    parser.add_argument("--temperature", type=float, default=0.0, metavar="X", help="0 is greedy (default: 0)")
    parser.add_argument("--top-k", type=int, metavar="N", help="sample among the k likeliest tokens")
    parser.add_argument(
        "--top-p", type=float, metavar="SHARE", help="sample among the likeliest tokens with this share of probability"
    )
    parser.add_argument(
        "--seed", type=int, default=42, metavar="N", help="of sampling; without effect at temperature 0 (default: 42)"
    )
    parser.add_argument("--device", default="auto", help="cpu, cuda, mps or auto (default: auto)")
    parser.add_argument(
        "--precision",
        default="auto",
        choices=["float32", "bf16", "fp16", "auto"],
        help="auto is float32: no reply depends on the batch",
    )


def add_batch_size(parser: argparse.ArgumentParser) -> None:
    """Add ``--batch-size``, for commands that answer many rows."""
    parser.add_argument(
        "--batch-size", type=int, default=64, metavar="N", help="rows at a time; no reply depends on it (default: 64)"
    )


def decoding_of(args: argparse.Namespace) -> Decoding:
    """The decoding settings of a command line; UserError where one is out of range."""
    batch_size = getattr(args, "batch_size", 1)
    return Decoding(args.max_new_tokens, args.temperature, args.top_k, args.top_p, args.seed, batch_size)


def require_text(flag: str, text: str) -> str:
    """A text of the command line or of stdin; UserError, naming its flag, where it is empty or not UTF-8."""
    if not text.strip():
        raise UserError(f"{flag} is empty; give a text, or leave it out")
    try:
        text.encode()
    except UnicodeEncodeError as error:  # where Python put half of a surrogate pair for a byte that it could not read
        raise UserError(f"{flag} is not UTF-8 (character {error.start + 1}); give it as UTF-8") from error
    return text
