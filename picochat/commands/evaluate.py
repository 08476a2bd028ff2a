"""`picochat eval chat | sft-fit | compare | power`: from checkpoint and rows to evidence. Calls picochat.evidence."""

import sys
from argparse import Namespace
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from picochat.blocks import Report, terminal
from picochat.commands.parser import DECODING, LOADING, READING, Parser, arguments_of
from picochat.errors import UserError
from picochat.files import refuse_existing, sha256_file, sha256_text, write_files
from picochat.model.engine import Decoding, load_model
from picochat.packs.formats import Reading, Tally, read_rows

if TYPE_CHECKING:
    from picochat.evidence.answering import Answerer
    from picochat.packs.rows import Row

_FIT = "picochat.evidence.sft_fit.measure_fit"
_POWER = "picochat.evidence.runs.visible_difference"


def add_eval(group: Parser) -> None:
    parser = group.add_command("chat", chat)
    answers = parser.add_argument_group("what answers (one of these)").add_mutually_exclusive_group(required=True)
    _add_texts(
        answers,
        ("--checkpoint", "DIR", "a model folder, such as RUN/best_checkpoint"),
        ("--replies", "FILE", "replies made elsewhere: a line a row, with the row's id or in the order of the rows"),
        ("--server", "URL", "a server that speaks OpenAI's protocol, such as http://localhost:8000/v1; needs --model"),
        ("--hf", "NAME", "a chat model of transformers: a folder, or a name on the Hugging Face hub"),
    )
    _add_model_flags(parser, "eval rows, or chat rows with an answer: .jsonl, .json, .csv or .parquet; also .gz, .zst")
    _add_texts(
        parser,
        ("--model", "NAME", "what the server calls the model"),
        ("--judge", "URL", "a server whose model gives a second opinion on what text rules judge"),
        ("--judge-model", "NAME", "what that server calls its model"),
        ("--before", "DIR", "an earlier eval output on the same rows, drawn beside this one"),
    )
    parser.add_argument("--allow-overlap", action="store_true", help="evaluate rows that the model was trained on")
    parser.add_argument(
        "--model-card", action="store_true", help="write the model card, README.md, into the checkpoint"
    )

    parser = group.add_command("sft-fit", sft_fit)
    parser.add_parameters(LOADING, "checkpoint")
    _add_model_flags(parser, "the chat rows that were trained on", "learn")
    parser.add_parameters(_FIT, "eval_input", "max_rows")

    parser = group.add_command("compare", compare)
    parser.add_argument("runs", nargs="*", metavar="DIR", help="two folders that `eval chat` wrote: A B")
    _add_texts(
        parser,
        ("--a", "DIR …", "arm A, several runs (seeds)"),
        ("--b", "DIR …", "arm B, several runs (seeds)"),
        ("--before", "DIR …", "the model before any of this: shows the retained gain (what was not forgotten)"),
        ("--peak", "DIR …", "the model whose gain over --before is measured (default: A)"),
        ("--name-a", "NAME", "what arm A is called (default: after its folder)"),
        ("--name-b", "NAME", "what arm B is called (default: after its folder)"),
        ("--noise", "DIR …", "earlier runs of one recipe, which show how much runs differ"),
        ("--declare", "LANE …", "skills or categories that this comparison is made for (default: every skill)"),
    )
    margin = "equivalence margin: arms are equal where the whole interval lies within so many points (default: 2)"
    parser.add_argument("--margin", type=float, default=2.0, metavar="X", help=margin)
    parser.add_argument("--out-dir", metavar="DIR", help="write comparison.json, .md and .html here")
    parser.add_argument("--force", action="store_true", help="replace existing output")

    group.add_command("power", power).add_parameters(_POWER)


def _add_texts(parser: Any, *flags: tuple[str, str, str]) -> None:
    """Flags with a text each, or with several: "DIR …"."""
    for flag, metavar, text in flags:
        many: dict[str, Any] = {"nargs": "+", "default": []} if metavar.endswith(" …") else {}
        parser.add_argument(flag, metavar=metavar.removesuffix(" …"), help=text, **many)


def _add_model_flags(parser: Parser, rows: str, *more: str) -> None:
    parser.add_argument("--input", required=True, metavar="FILE", help=rows)
    parser.add_parameters(READING, *more, "format", "map", "on_unsupported", "on_bad", "strip_control")
    parser.add_parameters(LOADING, "tokenizer", "device", "precision")
    parser.add_parameters(DECODING)
    parser.add_argument("--out-dir", required=True, metavar="DIR", help="where the report goes")
    parser.add_argument("--force", action="store_true", help="replace existing output")


def chat(args: Namespace) -> None:
    r"""Answer an eval file with a checkpoint, judge the replies, and report per lane with 95 % intervals.

    example: picochat eval chat --input runs/capability-pack/eval_task_mixture_capability.jsonl \
        --checkpoint runs/capability/best_checkpoint --out-dir runs/eval/capability
    """
    from picochat.evidence.answering import ModelAnswerer, ServerAnswerer, ask_judge
    from picochat.evidence.eval_report import eval_json, eval_report, model_card
    from picochat.evidence.evaluation import Evaluation, RowFile, answer_rows, read_eval
    from picochat.evidence.html_page import read_curves
    from picochat.evidence.scoring import Policy
    from picochat.packs.rows import conversation

    _refuse_existing(args, "eval_report", "predictions.jsonl")
    for flag, name in (("server", "model"), ("judge", "judge_model")):
        if bool(getattr(args, flag)) != bool(getattr(args, name)):
            name = name.replace("_", "-")
            raise UserError(f"--{flag} and --{name}, what the server calls the model, need each other")
    tally, decoding = Tally(Reading(**arguments_of(args, READING))), Decoding(**arguments_of(args, DECODING))
    _refuse_idle(args, decoding)
    card = Path(args.checkpoint or "", "README.md")
    if args.model_card:
        refuse_existing([card], force=args.force)
    rows = read_rows(args.input, "eval", tally=tally)
    policy = Policy.of(rows, args.input)
    pack = RowFile(args.input, sha256_file(args.input), len(rows))
    before = read_eval(args.before) if args.before else None
    if before and before.pack.sha256 != pack.sha256:
        raise UserError(f"--before {args.before} answered other rows; run `eval chat` on the same file for both")
    answerer, origin = _answerer(args, rows, decoding)
    predictions = answer_rows(rows, answerer, policy)
    if isinstance(answerer, ModelAnswerer):
        from picochat.model.likelihood import reference_nll

        said = [conversation(row) for row in rows]
        nll = reference_nll(answerer.decoder, answerer.tokenizer, said, decoding.batch_size)
        predictions = [replace(one, nll=own) for one, own in zip(predictions, nll, strict=True)]
    servers = [answerer] if isinstance(answerer, ServerAnswerer) else []
    if args.judge:
        thinking = Decoding(max_new_tokens=1024, batch_size=min(args.batch_size, 16))  # a judge may think first
        judge = ServerAnswerer(args.judge, args.judge_model, thinking, Path(args.out_dir, "judge.partial.jsonl"))
        predictions, servers = ask_judge(predictions, rows, judge), [*servers, judge]
    curves = None
    if args.checkpoint and (metrics := Path(args.checkpoint).resolve().parent / "metrics.csv").is_file():
        with suppress(UserError):  # a log without curves is no reason for no report
            curves = read_curves(metrics)
    evaluation = Evaluation(pack, predictions=predictions, policy=policy, **origin)
    report = eval_report(evaluation, curves, before)
    _finish(args, "eval_report", report, eval_json(evaluation), predictions, tally)
    for server in servers:  # asked again, it may have another model under this name
        server.kept.unlink(missing_ok=True)
    if args.model_card:
        write_files({card: model_card(card.resolve().parent, evaluation)})
        print(f"wrote {card}")


def _refuse_idle(args: Namespace, decoding: Decoding) -> None:
    """Settings that what answers does not use."""
    for name in () if args.checkpoint else ("model_card", "tokenizer", "allow_overlap"):
        if getattr(args, name):
            raise UserError(f"--{name.replace('_', '-')} has no effect without --checkpoint")
    if (args.replies or args.server) and (args.device, args.precision) != ("auto", "auto"):
        raise UserError("--device and --precision have no effect on replies from elsewhere; leave them out")
    if args.replies and replace(decoding, batch_size=Decoding.batch_size) != Decoding():
        raise UserError("--replies FILE holds replies that were decoded already; leave the decoding flags out")


def _answerer(args: Namespace, rows: "list[Row]", decoding: Decoding) -> "tuple[Answerer, dict[str, Any]]":
    """What answers, and what the report says of it: `model`, `settings`, `overlap`."""
    from picochat.evidence.answering import FileAnswerer, ModelAnswerer, ServerAnswerer
    from picochat.evidence.evaluation import Model
    from picochat.packs.contamination import met_in_training

    if args.replies:
        model = Model(args.replies, sha256_file(args.replies))
        return FileAnswerer(args.replies, rows), {"model": model, "settings": {}}
    if args.server:
        server = ServerAnswerer(args.server, args.model, decoding, Path(args.out_dir, "replies.partial.jsonl"))
        name = f"{args.model} at {server.shown}"
        return server, {"model": Model(name, sha256_text(name)), "settings": asdict(decoding)}
    settings = {**asdict(decoding), "device": args.device, "precision": args.precision}
    if args.hf:
        from picochat.model.any_lm import AnyLM

        own = AnyLM(args.hf, decoding, device=args.device, precision=args.precision)
        return own, {"model": Model.of(args.hf, own.provenance), "settings": settings}
    loaded = load_model(**arguments_of(args, LOADING))
    overlap, gone = met_in_training(args.input, rows, loaded.provenance)
    if overlap and not args.allow_overlap:
        raise UserError(f"{overlap}; take them out, or add --allow-overlap to evaluate all the same")
    if gone:
        print(f"(not compared with training rows that changed, or are gone: {', '.join(gone)})", file=sys.stderr)
    model = Model.of(args.checkpoint, loaded.provenance)
    answerer = ModelAnswerer(loaded.decoder, loaded.tokenizer, decoding, progress=True)
    return answerer, {"model": model, "settings": settings, "overlap": overlap}


def sft_fit(args: Namespace) -> None:
    r"""Tell memorisation from generalisation: training rows against held-out rows.

    Measures exact reproduction, correctness, token accuracy and nll on both.

    example: picochat eval sft-fit --input runs/capability-pack/chat_task_mixture_capability.jsonl \
        --checkpoint runs/capability/best_checkpoint --out-dir runs/fit
    """
    from picochat.evidence.eval_report import fit_json, fit_report
    from picochat.evidence.sft_fit import measure_fit

    _refuse_existing(args, "eval_report", "predictions.jsonl")
    tally, decoding = Tally(Reading(**arguments_of(args, READING))), Decoding(**arguments_of(args, DECODING))
    fit = measure_fit(args.input, **arguments_of(args, _FIT), tally=tally, decoding=decoding, progress=True)
    _finish(args, "eval_report", fit_report(fit), fit_json(fit), fit.rows, tally)


def compare(args: Namespace) -> None:
    """Compare two runs, or two arms of several runs, on the same eval rows.

    Paired, per lane: difference B - A, 95 % interval over problems and runs, corrected p-value, and the smallest
    difference that could have been seen.

    examples:
      picochat eval compare runs/eval/base runs/eval/capability --out-dir runs/comparison
      picochat eval compare --a runs/eval/old-s1 runs/eval/old-s2 --b runs/eval/new-s1 runs/eval/new-s2
    """
    from picochat.evidence.arms import arm_names, read_noise
    from picochat.evidence.compare import compare_runs
    from picochat.evidence.report import compare_json, compare_report

    arm_a, arm_b = (args.runs[:1], args.runs[1:]) if args.runs else (args.a, args.b)
    if not arm_a or not arm_b or len(args.runs) not in (0, 2) or (args.runs and args.a + args.b):
        raise UserError("eval compare takes two folders A B, or --a A1 A2 … --b B1 B2 … for several runs of an arm")
    _refuse_existing(args, "comparison")
    own = arm_names([arm for arm in (arm_a, arm_b, args.before, args.peak) if arm])
    names = [args.name_a or own[0], args.name_b or own[1], *own[2:]]
    settings: dict[str, Any] = {"margin": args.margin / 100, "declared": args.declare, "names": names}
    settings |= {"noise": read_noise(args.noise) if args.noise else None, "noise_from": ", ".join(args.noise)}
    comparison = compare_runs(arm_a, arm_b, before=args.before, peak=args.peak, **settings)
    _finish(args, "comparison", compare_report(comparison), compare_json(comparison))


def power(args: Namespace) -> None:
    """The smallest difference that rows, problems and runs will show with 80 % power, before any work.

    example: picochat eval power --rows 246 --problems 95 --runs 3
    """
    from picochat.evidence.runs import visible_difference

    seen = 100 * visible_difference(**arguments_of(args, _POWER))
    print(f"a difference of {seen:.1f} points or more is found with 80 % power; claim none that is smaller")


def _refuse_existing(args: Namespace, name: str, *others: str) -> None:
    if args.out_dir:
        files = [f"{name}.json", f"{name}.md", f"{name}.html", *others]
        refuse_existing([Path(args.out_dir) / file for file in files], force=args.force)


def _finish(
    args: Namespace, name: str, report: Report, data: Any, rows: Any = None, tally: Tally | None = None
) -> None:
    """Say what was read, write the report, print it."""
    from picochat.evidence.report import write_report

    for sentence in tally.said() if tally else ():
        print(sentence, file=sys.stderr)
    if args.out_dir:
        write_report(args.out_dir, name, report, data, rows)
    print(terminal(*report.blocks))
    if args.out_dir:
        beside = ".md and .json" if rows is None else ".md, .json and predictions.jsonl"
        print(f"\nwrote {Path(args.out_dir) / name}.html, {beside}")
