"""`picochat export`: a checkpoint in another number format, or with an untied head. Calls picochat.model.export."""

import argparse
from pathlib import Path


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add ``export`` to the commands."""
    parser = subparsers.add_parser(
        "export",
        help="write a checkpoint in another form",
        description="Write a checkpoint as a Hugging Face folder in another number format, or with an untied head.\n\n"
        "A checkpoint is such a folder already: this is for what it is to become, not a step that it needs.",
        epilog="example: picochat export --checkpoint runs/capability/best_checkpoint --out-dir runs/picochat-bf16 "
        "--dtype bfloat16\nthen:    hf upload OWNER/NAME runs/picochat-bf16",
    )
    parser.add_argument(
        "--checkpoint", required=True, metavar="DIR", help="model folder, such as RUN/best_checkpoint; or RUN/last.ckpt"
    )
    parser.add_argument("--out-dir", required=True, metavar="DIR", help="the folder to write")
    parser.add_argument(
        "--dtype", choices=("float32", "bfloat16", "float16"), help="number format of the weights (default: as it is)"
    )
    parser.add_argument(
        "--untie", action="store_true", help="write lm_head.weight by itself where it is shared with the embedding"
    )
    parser.add_argument("--force", action="store_true", help="replace an existing folder")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Write the folder and say what it weighs."""
    from picochat.files import refuse_existing

    refuse_existing([Path(args.out_dir)], force=args.force, folders=True)
    from picochat.model.export import export_checkpoint

    size = export_checkpoint(args.checkpoint, args.out_dir, args.dtype, args.untie)
    print(f"wrote {args.out_dir}: {size / 1e6:.1f} MB of weights")
