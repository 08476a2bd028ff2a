"""`picochat data import | task-pack | inspect | export-lm-eval`: files in, files out. Next: `picochat tok`, `train`."""

import argparse
import gc
import sys
from pathlib import Path


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the commands of the group ``data``."""
    _add_import(subparsers)
    _add_task_pack(subparsers)
    _add_inspect(subparsers)
    _add_export(subparsers)


def _add_import(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser(
        "import",
        help="make a corpus and its dataset_pack.json",
        description="Make a corpus from built-in stories, from files and folders, or from a data set of the hub.",
        epilog="examples:\n  picochat data import --source stories --documents 20000 --out-dir runs/data\n"
        "  picochat data import --source hub:karpathy/climbmix-400b-shuffle --shards 16 --max-rows 80000 \\\n"
        "      --out-dir runs/climbmix",
    )
    parser.add_argument(
        "--source",
        nargs="+",
        required=True,
        metavar="SOURCE",
        help="stories, or files and folders (.txt, .jsonl, .parquet), or hub:OWNER/NAME, hub:OWNER/NAME:CONFIG",
    )
    parser.add_argument(
        "--documents",
        "--max-rows",
        type=int,
        metavar="N",
        help="take the first N (default: 20000 stories, else all)",
    )
    parser.add_argument("--out-dir", required=True, metavar="DIR", help="gets corpus.jsonl and dataset_pack.json")
    parser.add_argument("--text-field", metavar="NAME", help="the field or column that holds the text (default: text)")
    parser.add_argument("--shards", type=int, metavar="N", help="of a hub data set, read only the first N files")
    parser.add_argument("--hub-dir", metavar="DIR", help="snapshots of data sets, read in place of the hub")
    parser.add_argument("--seed", type=int, default=42, help="which stories are told (default: 42)")
    parser.add_argument("--force", action="store_true", help="replace an earlier corpus")
    parser.set_defaults(run=run_import)


def _add_task_pack(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser(
        "task-pack",
        help="make the training and eval rows of a profile",
        description="Make training and eval rows with problems held out by the hash of their key, and a report.",
        epilog="example: picochat data task-pack --dataset-pack runs/data/dataset_pack.json --profile capability "
        "--sft-rows 2400 --eval-rows 480",
    )
    add = parser.add_argument
    add("--dataset-pack", "--pack", required=True, metavar="FILE", help="the dataset_pack.json that the rows belong to")
    add(
        "--profile",
        default="capability",
        help="release, capability, balanced, benchmark, a registered name, or module.name",
    )
    add("--out-dir", metavar="DIR", help="where the files go (default: the dataset pack's folder)")
    add("--chat-out", metavar="FILE", help="training rows (default: OUT_DIR/chat_task_mixture_PROFILE.jsonl)")
    add("--eval-out", metavar="FILE", help="eval rows (default: OUT_DIR/eval_task_mixture_PROFILE.jsonl)")
    add("--sft-rows", type=int, default=1600, metavar="N", help="training rows, at least 32 (default: 1600)")
    add("--eval-rows", type=int, default=320, metavar="N", help="eval rows, at least 16 (default: 320)")
    add(
        "--source",
        default="offline",
        type=lambda name: "hub" if name == "hf" else name,
        choices=("offline", "auto", "hub"),
        help="offline: generate all; hub: take part of the benchmark component from public data sets; auto: as far as "
        "they load (default: offline)",
    )
    add("--hub-dir", metavar="DIR", help="snapshots of the data sets, read in place of the hub")
    add(
        "--skill-answer-style",
        default="scratchpad",
        choices=("direct", "scratchpad"),
        help="whether skills show their steps (default: scratchpad)",
    )
    add("--word-list", metavar="FILE", help="words for the spelling tasks, one a line (default: built in)")
    add("--seed", type=int, default=42, help="decides the content (default: 42)")
    add("--force", action="store_true", help="replace existing files")
    add(
        "--promote",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="point the dataset pack at the new files (default: yes)",
    )
    parser.set_defaults(run=run_task_pack)


def _add_inspect(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser(
        "inspect",
        help="count and check the rows of a JSONL file",
        description="Count rows, roles, lengths and lanes of a file of chat or eval rows, and list its bad lines.",
        epilog="example: picochat data inspect runs/data/chat_task_mixture_capability.jsonl",
    )
    parser.add_argument(
        "file", metavar="FILE", help="rows as JSONL: messages, user + assistant, or prompt + completion"
    )
    parser.set_defaults(run=run_inspect)


def _add_export(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser(
        "export-lm-eval",
        help="write eval rows as a task folder for lm-eval",
        description="Write the eval rows that have an exact answer, or choices, as tasks for lm-eval.",
        epilog="example: picochat data export-lm-eval --input runs/data/eval_task_mixture_capability.jsonl "
        "--out-dir runs/lm-eval",
    )
    parser.add_argument("--input", required=True, metavar="FILE", help="eval rows (JSONL)")
    parser.add_argument("--out-dir", required=True, metavar="DIR", help="the folder of tasks to write")
    parser.add_argument("--name", metavar="NAME", help="of the group of tasks (default: the rows' profile)")
    parser.add_argument(
        "--max-new-tokens", type=int, metavar="N", help="a reply is cut off here (default: what the longest one needs)"
    )
    parser.add_argument("--force", action="store_true", help="replace an existing folder")
    parser.set_defaults(run=run_export)


def run_import(args: argparse.Namespace) -> None:
    """Write the corpus and say what it holds."""
    from picochat.packs.corpus import import_corpus

    pack = import_corpus(
        args.source,
        args.out_dir,
        args.documents,
        args.seed,
        args.force,
        text_field=args.text_field,
        shards=args.shards,
        hub_dir=args.hub_dir,
    )
    print(f"wrote {pack.corpus_path}: {pack.data['description']}")
    print(f"wrote {pack.path}")


def run_task_pack(args: argparse.Namespace) -> None:
    """Write the pack and print its summary."""
    from picochat.packs.mixture import build_task_pack

    sys.path.append(str(Path.cwd()))  # a profile or task of the user's own, in the folder they stand in
    gc.disable()  # rows hold no cycles, and looking for some among 100,000 takes a tenth of the time
    report = build_task_pack(
        args.dataset_pack,
        profile=args.profile,
        out_dir=args.out_dir,
        chat_out=args.chat_out,
        eval_out=args.eval_out,
        sft_rows=args.sft_rows,
        eval_rows=args.eval_rows,
        source=args.source,
        skill_answer_style=args.skill_answer_style,
        seed=args.seed,
        force=args.force,
        promote=args.promote,
        word_list=args.word_list,
        hub_dir=args.hub_dir,
    )
    print(report.summary())


def run_inspect(args: argparse.Namespace) -> None:
    """Print what the file holds; bad lines make the command fail."""
    from picochat.errors import UserError
    from picochat.packs.inspection import inspect_rows
    from picochat.packs.rows import no_rows

    found = inspect_rows(args.file)
    print(found.summary())
    if found.bad:
        line, reason = found.bad[0]
        raise UserError(
            f"{args.file}: {len(found.bad)} of {found.lines} lines are bad, the first is line {line}: {reason}"
        )
    if not found.rows:
        raise no_rows(args.file)


def run_export(args: argparse.Namespace) -> None:
    """Write the tasks, say what was left out and how they are run."""
    from picochat.errors import UserError
    from picochat.evidence.lm_eval_export import command_line, export_lm_eval

    limit = args.max_new_tokens
    if limit is not None and limit < 1:
        raise UserError(f"--max-new-tokens must be at least 1, not {limit}")
    done = export_lm_eval(args.input, args.out_dir, name=args.name, max_new_tokens=limit, force=args.force)
    print(f"wrote {args.out_dir}: {sum(done.tasks.values())} rows in {len(done.tasks)} tasks")
    for reason, count in done.left_out.items():
        print(f"left out: {count} rows {reason}")
    print(f"\n{command_line(done, args.out_dir)}")
