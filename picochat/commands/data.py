"""`picochat data …`: files in, files out. Next: `picochat tok`, `train`."""

import argparse
import gc
import sys
from pathlib import Path
from typing import Any

from picochat.commands.parser import arguments_of

_IMPORT = "picochat.packs.corpus.import_corpus"
_TASK_PACK = "picochat.packs.mixture.build_task_pack"
_IMPORT_ROWS = "picochat.packs.corpus.import_rows"
_READING = "picochat.packs.formats.Reading"
_EXPORT = "picochat.evidence.lm_eval_export.export_lm_eval"
_ROWS = "rows of any form: .jsonl, .json, .csv or .parquet; also .gz, .zst"


def add_parser(subparsers: Any) -> None:
    """Add the commands of the group ``data``."""
    parser = subparsers.add_parser(
        "import",
        help="make a corpus and its dataset_pack.json",
        description="Make a corpus from built-in stories, from files and folders, or from a data set of the hub.",
        epilog="examples:\n  picochat data import --source stories --documents 20000 --out-dir runs/data\n"
        "  picochat data import --source hub:karpathy/climbmix-400b-shuffle --shards 16 --max-rows 80000 \\\n"
        "      --out-dir runs/climbmix",
    )
    parser.add_parameters(_IMPORT, documents="--documents --max-rows")
    parser.set_defaults(run=run_import)

    parser = subparsers.add_parser(
        "import-rows",
        help="write anybody's rows in our form, as JSONL",
        description="Read rows of any known form (messages, ShareGPT, Alpaca, prompt + completion, …) and write ours.",
        epilog="example: picochat data import-rows tickets.csv --map title=prompt,body=completion --out tickets.jsonl",
    )
    parser.add_argument("files", nargs="+", metavar="FILE", help=_ROWS)
    parser.add_parameters(_IMPORT_ROWS, "out", "force")
    parser.add_parameters(_READING)
    parser.set_defaults(run=run_import_rows)

    parser = subparsers.add_parser(
        "task-pack",
        help="make the training and eval rows of a profile",
        description="Make training and eval rows with problems held out by the hash of their key, and a report.",
        epilog="example: picochat data task-pack --dataset-pack runs/data/dataset_pack.json --profile capability "
        "--sft-rows 2400 --eval-rows 480",
    )
    parser.add_parameters(_TASK_PACK, dataset_pack="--dataset-pack --pack")
    parser.set_defaults(run=run_task_pack)

    parser = subparsers.add_parser(
        "inspect",
        help="count and check the rows of a file",
        description="Count rows, turns, lengths and lanes of a file of chat or eval rows, and list its bad lines.",
        epilog="example: picochat data inspect runs/data/chat_task_mixture_capability.jsonl",
    )
    parser.add_argument("file", metavar="FILE", help=_ROWS)
    parser.add_argument("--tokenizer", metavar="FILE", help="tokenizer.json or model folder, to count tokens with")
    parser.add_parameters(_READING)
    parser.set_defaults(run=run_inspect)

    parser = subparsers.add_parser(
        "export-lm-eval",
        help="write eval rows as a task folder for lm-eval",
        description="Write the eval rows that have an exact answer, or choices, as tasks for lm-eval.",
        epilog="example: picochat data export-lm-eval --input runs/data/eval_task_mixture_capability.jsonl "
        "--out-dir runs/lm-eval",
    )
    parser.add_parameters(_EXPORT, input_path="--input")
    parser.set_defaults(run=run_export)


def run_import(args: argparse.Namespace) -> None:
    """Write the corpus and say what it holds."""
    from picochat.packs.corpus import import_corpus

    pack = import_corpus(**arguments_of(args, _IMPORT))
    print(f"wrote {pack.corpus_path}: {pack.data['description']}")
    print(f"wrote {pack.path}")


def run_import_rows(args: argparse.Namespace) -> None:
    """Write the rows and say what there is to say of each file."""
    from picochat.packs.corpus import import_rows
    from picochat.packs.formats import Reading

    done = import_rows(args.files, args.out, args.force, Reading(**arguments_of(args, _READING)))
    for path, (rows, tally) in done.items():
        print("\n    ".join((f"{path}: {rows:,} rows", *tally.said())))
    print(f"wrote {args.out}: {sum(rows for rows, _ in done.values()):,} rows")


def run_task_pack(args: argparse.Namespace) -> None:
    """Write the pack and print its summary."""
    from picochat.packs.mixture import build_task_pack

    sys.path.append(str(Path.cwd()))  # a profile or task of the user's own, in the current directory
    gc.disable()  # rows hold no cycles, and looking for some among 100,000 takes a tenth of the time
    arguments = arguments_of(args, _TASK_PACK)
    print(build_task_pack(arguments.pop("dataset_pack"), **arguments).summary())


def run_inspect(args: argparse.Namespace) -> None:
    """Print what the file holds; bad lines make the command fail."""
    from picochat.errors import UserError
    from picochat.packs.formats import Reading, no_rows
    from picochat.packs.inspection import inspect_rows

    render = None
    if args.tokenizer:
        from picochat.model.tokenizer import ChatTokenizer

        render = ChatTokenizer.load(args.tokenizer).render
    found = inspect_rows(args.file, Reading(**arguments_of(args, _READING)), render)
    print(found.summary())
    if found.bad:
        line, reason = found.bad[0]
        raise UserError(
            f"{args.file}: {len(found.bad)} of {found.tally.lines} lines are bad, the first is line {line}: {reason}"
        )
    if not found.rows:
        raise no_rows(args.file)


def run_export(args: argparse.Namespace) -> None:
    """Write the tasks, say what was left out and how they are run."""
    from picochat.evidence.lm_eval_export import command_line, export_lm_eval

    done = export_lm_eval(**arguments_of(args, _EXPORT))
    print(f"wrote {args.out_dir}: {sum(done.tasks.values())} rows in {len(done.tasks)} tasks")
    for reason, count in done.left_out.items():
        print(f"left out: {count} rows {reason}")
    print(f"\n{command_line(done, args.out_dir)}")
