"""`picochat eval chat | sft-fit | compare`: from a checkpoint and rows to evidence. Calls picochat.evidence, prints."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from picochat.evidence.evaluation import Decoding


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add ``chat``, ``sft-fit`` and ``compare`` to the group ``eval``."""
    _add_chat(subparsers)
    _add_sft_fit(subparsers)
    _add_compare(subparsers)


def run_chat(args: argparse.Namespace) -> None:
    """Answer the rows, write the report, print the table."""
    from picochat.evidence.curves import find_metrics, read_curves
    from picochat.evidence.evaluation import evaluate_checkpoint
    from picochat.evidence.model_card import write_model_card
    from picochat.evidence.report import EVAL_FILES, eval_table, read_before, write_eval
    from picochat.evidence.report_html import eval_html
    from picochat.files import refuse_existing

    out_dir = Path(args.out_dir)
    refuse_existing([out_dir / name for name in EVAL_FILES], force=args.force)
    gates = _gates(args.gate)
    before = read_before(args.before, args.input) if args.before else None
    metrics = find_metrics(args.checkpoint)
    curves = read_curves(metrics) if metrics else None
    predictions, report = evaluate_checkpoint(
        args.input,
        args.checkpoint,
        tokenizer=args.tokenizer,
        decoding=_decoding(args),
        device=args.device,
        precision=args.precision,
        gates=gates,
        progress=True,
    )
    write_eval(out_dir, report, predictions, eval_html(report, predictions, curves=curves, before=before))
    print(eval_table(report))
    print(f"\nwrote {out_dir / 'eval_report.html'}, .md, .json and predictions.jsonl")
    if args.model_card:
        print(f"wrote {write_model_card(args.checkpoint, report)}")


def run_sft_fit(args: argparse.Namespace) -> None:
    """Measure how well training rows were learnt, and held-out rows with them."""
    from picochat.evidence.fit_report import FIT_FILES, fit_table, write_fit
    from picochat.evidence.sft_fit import measure_fit
    from picochat.files import refuse_existing

    out_dir = Path(args.out_dir)
    refuse_existing([out_dir / name for name in FIT_FILES], force=args.force)
    report, rows = measure_fit(
        args.input,
        args.checkpoint,
        eval_input=args.eval_input,
        max_rows=args.max_rows,
        tokenizer=args.tokenizer,
        decoding=_decoding(args),
        device=args.device,
        precision=args.precision,
        progress=True,
    )
    write_fit(out_dir, report, rows)
    print(fit_table(report))
    print(f"\nwrote {out_dir / 'eval_report.html'}, .md, .json and predictions.jsonl")


def run_compare(args: argparse.Namespace) -> None:
    """Compare two arms of evaluations on the same rows."""
    from picochat.errors import UserError
    from picochat.evidence.compare import compare_runs
    from picochat.evidence.compare_report import COMPARE_FILES, compare_table, write_compare
    from picochat.files import refuse_existing

    if args.runs and (args.a or args.b):
        raise UserError("give either two folders, or --a and --b, not both")
    if len(args.runs) not in (0, 2):
        raise UserError(
            f"eval compare takes two folders, not {len(args.runs)}; several runs of one arm go behind --a and --b"
        )
    arm_a, arm_b = ([args.runs[0]], [args.runs[1]]) if args.runs else (args.a, args.b)
    if not arm_a or not arm_b:
        raise UserError("eval compare needs two folders A B, or --a A1 A2 … --b B1 B2 …")
    out_dir = Path(args.out_dir) if args.out_dir else None
    if out_dir:
        refuse_existing([out_dir / name for name in COMPARE_FILES], force=args.force)
    report = compare_runs(arm_a, arm_b, base=args.base, names=(args.name_a, args.name_b), margin=args.margin / 100)
    print(compare_table(report))
    if out_dir:
        write_compare(out_dir, report)
        print(f"\nwrote {out_dir / 'comparison.html'}, .md and .json")


def _add_chat(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "chat",
        help="answer an eval file and report per lane what was shown",
        description="Answer eval rows with a checkpoint, judge the replies, and report per lane with 95 % intervals.",
        epilog="example: picochat eval chat --input runs/pack/eval_task_mixture_capability.jsonl "
        "--checkpoint runs/capability/best_checkpoint --out-dir runs/capability/eval/capability",
    )
    _add_model_flags(parser, "eval rows (JSONL)")
    parser.add_argument(
        "--gate",
        action="append",
        default=[],
        metavar="NAME=SHARE",
        help="change a gate, such as math=0.5 (identity, refusal, choice, math, spelling, echo); may be repeated",
    )
    parser.add_argument(
        "--before", metavar="DIR", help="an earlier eval output on the same rows, drawn beside this one"
    )
    parser.add_argument(
        "--model-card", action="store_true", help="write README.md, the model card, into the checkpoint"
    )
    parser.set_defaults(run=run_chat)


def _add_sft_fit(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "sft-fit",
        help="tell memorising from transfer: training rows against held-out rows",
        description="Measure exact reproduction, correctness, token accuracy and nll on training and held-out rows.",
        epilog="example: picochat eval sft-fit --input runs/pack/chat_task_mixture_capability.jsonl "
        "--checkpoint runs/capability/best_checkpoint --out-dir runs/capability/eval/fit",
    )
    _add_model_flags(parser, "the chat rows that were trained on (JSONL)")
    parser.add_argument(
        "--eval-input",
        metavar="FILE",
        help="held-out rows (default: the eval file beside the input that belongs to it)",
    )
    parser.add_argument("--max-rows", type=int, default=256, help="rows of each side, spread over lanes (default: 256)")
    parser.set_defaults(run=run_sft_fit)


def _add_compare(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "compare",
        help="compare two runs, or two arms of several runs, on the same eval rows",
        description="Paired comparison of eval outputs per lane: difference B - A, 95 % interval, exact test, Holm.",
        epilog="example: picochat eval compare runs/capability/eval/capability runs/release/eval/capability "
        "--base runs/base/eval/capability --out-dir runs/compare",
    )
    parser.add_argument("runs", nargs="*", metavar="DIR", help="two folders that `eval chat` wrote: A B")
    parser.add_argument("--a", nargs="+", default=[], metavar="DIR", help="arm A, several runs (seeds)")
    parser.add_argument("--b", nargs="+", default=[], metavar="DIR", help="arm B, several runs (seeds)")
    parser.add_argument("--name-a", default="A", metavar="NAME", help="what arm A is called in the report")
    parser.add_argument("--name-b", default="B", metavar="NAME", help="what arm B is called in the report")
    parser.add_argument("--base", metavar="DIR", help="the run before either; shows how much of A's gain B keeps")
    parser.add_argument(
        "--margin", type=float, default=2.0, help="points within which arms count as equal (default: 2)"
    )
    parser.add_argument("--out-dir", metavar="DIR", help="write comparison.json, .md and .html here")
    parser.add_argument("--force", action="store_true", help="replace existing output")
    parser.set_defaults(run=run_compare)


def _add_model_flags(parser: argparse.ArgumentParser, rows: str) -> None:
    parser.add_argument("--input", required=True, metavar="FILE", help=rows)
    parser.add_argument("--checkpoint", required=True, metavar="DIR", help="model folder, such as RUN/best_checkpoint")
    parser.add_argument(
        "--tokenizer", metavar="FILE", help="checked to be the checkpoint's own (default: taken from there)"
    )
    parser.add_argument("--out-dir", required=True, metavar="DIR", help="where the report goes")
    parser.add_argument("--max-new-tokens", type=int, default=256, help="a reply is cut off here (default: 256)")
    parser.add_argument("--temperature", type=float, default=0.0, help="0 is greedy (default: 0)")
    parser.add_argument("--top-k", type=int, help="sample among the k likeliest tokens")
    parser.add_argument("--top-p", type=float, help="sample among the likeliest tokens with this share of probability")
    parser.add_argument(
        "--seed", type=int, default=42, help="of sampling; without effect at temperature 0 (default: 42)"
    )
    parser.add_argument("--device", default="auto", help="cpu, cuda, mps or auto (default: auto)")
    parser.add_argument(
        "--precision",
        default="auto",
        choices=["float32", "bf16", "fp16", "auto"],
        help="auto is float32: no verdict depends on the batch",
    )
    parser.add_argument(
        "--batch-size", type=int, default=64, help="rows at a time; no verdict depends on it (default: 64)"
    )
    parser.add_argument("--force", action="store_true", help="replace existing output")


def _decoding(args: argparse.Namespace) -> "Decoding":
    from picochat.errors import UserError
    from picochat.evidence.evaluation import Decoding

    for flag in ("max_new_tokens", "batch_size", "top_k"):
        value = getattr(args, flag)
        if value is not None and value < 1:
            raise UserError(f"--{flag.replace('_', '-')} must be at least 1, not {value}")
    if args.temperature < 0:
        raise UserError(f"--temperature must be 0 or more, not {args.temperature}")
    if args.top_p is not None and not 0 < args.top_p <= 1:
        raise UserError(f"--top-p must be above 0 and at most 1, not {args.top_p}")
    return Decoding(args.max_new_tokens, args.temperature, args.top_k, args.top_p, args.seed, args.batch_size)


def _gates(changes: list[str]) -> dict[str, float]:
    from picochat.errors import UserError
    from picochat.evidence.lanes import GATES

    gates = dict(GATES)
    for change in changes:
        name, _, share = change.partition("=")
        try:
            value = float(share)
        except ValueError:
            value = -1.0
        if name not in gates or not 0 <= value <= 1:
            raise UserError(f"--gate {change} is not NAME=SHARE with a share from 0 to 1; names: {', '.join(GATES)}")
        gates[name] = value
    return gates
