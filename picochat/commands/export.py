"""`picochat export`: a checkpoint in another number format, or with an untied head. Calls picochat.model.checkpoint."""

import argparse
from pathlib import Path
from typing import Any

from picochat.commands.parser import arguments_of

_EXPORT = "picochat.model.checkpoint.export_checkpoint"


def add_parser(subparsers: Any) -> None:
    """Add ``export`` to the commands."""
    parser = subparsers.add_parser(
        "export",
        help="write a checkpoint in another form",
        description="Write a checkpoint as a Hugging Face folder in another number format, or with an untied head.\n\n"
        "A checkpoint is such a folder already: this is for what it is to become, not a step that it needs.",
        epilog="example: picochat export --checkpoint runs/capability/best_checkpoint --out-dir runs/picochat-bf16 "
        "--dtype bfloat16\nthen:    hf upload OWNER/NAME runs/picochat-bf16",
    )
    parser.add_parameters(_EXPORT)
    parser.add_argument("--force", action="store_true", help="replace an existing folder")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Write the folder and say what it weighs."""
    from picochat.files import refuse_existing

    refuse_existing([Path(args.out_dir)], force=args.force, folders=True)
    from picochat.model.checkpoint import export_checkpoint

    size = export_checkpoint(**arguments_of(args, _EXPORT))
    print(f"wrote {args.out_dir}: {size / 1e6:.1f} MB of weights")
