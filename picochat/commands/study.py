"""`picochat study plan | run | status | report | check | bundle`: which lane caused what. Calls picochat.study."""

import ast
from argparse import Namespace
from collections import Counter
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from picochat.blocks import Report, Table, Text, terminal
from picochat.commands.parser import Parser, read_signature
from picochat.errors import UserError

if TYPE_CHECKING:
    from picochat.study import Study

_COMMANDS = {
    "plan": "Runs, lanes and precision, before anything trains.",
    "run": "Train and evaluate every run that is not finished, then report.",
    "status": "How many runs are finished, running, waiting.",
    "report": "The report of a study whose runs are finished.",
    "check": "Whether all runs are finished, with their files as they left them.",
    "bundle": "Plan, replies, verdicts and report in one file, without weights.",
}
_FLAGS = (
    *("out_dir", "profile", "chat_input", "eval_input", "checkpoint", "dataset_pack", "sft_rows", "eval_rows"),
    *("steps", "budget", "train", "evaluate", "slots"),
)


def add_study(group: Parser) -> None:
    declared = read_signature("picochat.study.settings.Settings").parameters
    for name, purpose in _COMMANDS.items():
        parser = group.add_command(name, run_study, f"{purpose}\n\nexample: picochat study {name} study.yaml")
        parser.add_argument("file", nargs="?", metavar="FILE", help="a study file; flags replace its settings")
        parser.add_argument("--lanes", metavar="A,B,…", help="categories, or components as one lane (default: all)")
        parser.add_argument("--arms", type=int, metavar="N", help="8, 16, 24 or 32 (default: the fewest that suffice)")
        for flag in _FLAGS:  # no default here, which would replace the file's setting
            default = ast.literal_eval(declared[flag].default or "None")
            parser.add_declared(f"--{flag.replace('_', '-')}", declared[flag], dest=flag, shown=default)
        parser.set_defaults(study_command=name)
    plan, report = group.commands()["plan"], group.commands()["report"]
    plan.add_argument("--measure", action="store_true", help="train and evaluate a little: how long it takes")
    report.add_argument("--table", metavar="CSV", help="runs trained elsewhere: run,LANE,… and 1, 0 or 0.5")
    report.add_argument("--evals", metavar="DIR", help="their results, in DIR/RUN: picochat, lm-eval, inspect")
    report.add_argument("--recommend", action="store_true", help="propose the next mixture, and how to test it")


def run_study(args: Namespace) -> None:
    """All six commands: a study is its file and flags, and each of them asks it for one thing."""
    from picochat.study import Study, report_table

    command = args.study_command
    if command == "report" and (args.table or args.evals):
        if not (args.table and args.evals and args.out_dir) or args.recommend or args.file:
            needs = "--table, --evals and --out-dir go together, without a study file"
            raise UserError(f"{needs}, and without --recommend: such a table has no shares")
        _show(report_table(args.table, args.evals, Path(args.out_dir)), Path(args.out_dir))
        return
    more = {name: getattr(args, name) for name in (*_FLAGS, "arms") if getattr(args, name) is not None}
    if args.lanes:
        more["lanes"] = None if args.lanes == "all" else args.lanes.split(",")
    study = Study.read(args.file, **more)
    if command in ("run", "report"):
        say = partial(print, flush=True)  # into logs, too, when it happens
        _show(study.run(say) if command == "run" else study.report(args.recommend), study.folder)
    elif command == "bundle":
        print(f"wrote {study.bundle()}")
    elif command == "plan":
        print(_plan(study))
        if args.measure:
            print(f"\nabout {study.hours():.1f} hours here")
    else:
        states = Counter(study.status())
        print(", ".join(f"{states[state]} {state}" for state in sorted(states)) + f" of {len(study.runs)} runs")
        if command == "check" and set(states) != {"finished"}:
            raise UserError(f"{study.folder}: not all runs are finished, with their files as they left them")


def _show(report: Report, folder: Path) -> None:
    print(f"{terminal(*report.blocks)}\n\nwrote {folder}/study.html, .md, .json and effects.csv")


def _plan(study: "Study") -> str:
    lanes = [(n, f"{one.rows:,}", f"{one.share:.1%}", f"{one.tokens:.1%}") for n, one in study.lane_rows.items()]
    seen = [
        (lane, str(study.eval_lanes[lane]), *(f"{value:.1f}" for value in (one.error, one.one_test, one.holm)))
        for lane, one in study.planned.items()
    ]
    arms = len(set(study.design.signs))
    return terminal(
        Text([f"{len(study.runs)} runs of {arms} arms, {study.optimizer_steps} in {study.folder}"]),
        Table(("lane", "rows", "of draws", "of tokens"), lanes),
        Table(
            ("eval lane", "problems", "standard error", "visible alone", f"visible among {len(study.cells)}"),
            seen,
            title=f"In points, at 80 % power, if runs differ by {study.sigma:g} points and half of the rows pass:",
        ),
    )
