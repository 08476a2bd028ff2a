"""An evaluation or an SFT fit for readers and programs. In: `Evaluation`, `Fit`. Out: `Report`s, JSON, the model card.

benchmark profile / component / category  rows  problems    rate   95 % interval   strict    echo  …
weak_skills                                346       302  97.4 %   94.9 – 98.7 %   97.4 %   0.0 %
  weak_skills                              346       302  97.4 %   …
    bench_math_addition                     63        63  98.4 %   …

The card claims what the report claims and nothing else. Next: report.write_report.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from picochat.blocks import WRITTEN, Bars, Block, Charts, Reply, Report, Table, Text, interval, markdown_page, percent
from picochat.evidence import words
from picochat.evidence.answering import agreement
from picochat.evidence.evaluation import Evaluation, Gate
from picochat.evidence.html_page import Curves, charts
from picochat.evidence.lanes import GROUPINGS, Lane, Prediction, nested
from picochat.evidence.report import breakdown, facts, jsonl, mixtures, origin, origin_json, replies, reply, run_name
from picochat.evidence.sft_fit import Fit, LaneFit
from picochat.files import sha256_text

_HEADER = """---
library_name: transformers
pipeline_tag: text-generation
tags:
- picochat
---"""
_USE = """from transformers import AutoModelForCausalLM, AutoTokenizer

folder = "."  # this folder
model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)"""
_DECODING = ("max_new_tokens", "temperature", "top_k", "top_p", "seed")
_COLUMNS = ("rows", "problems", "rate", "95 % interval", "strict", "echo", "unsupported", "over-refusal", "steps")
_FIT_COLUMNS = ("category", "side", "n", "exact", "correct", "95 % interval", "token accuracy", "nll")


def eval_json(evaluation: Evaluation) -> dict[str, Any]:
    """The content of eval_report.json."""
    return {
        "kind": "eval chat",
        **origin_json(evaluation),
        "overlap": evaluation.overlap,
        "predictions_sha256": sha256_text(jsonl(evaluation.predictions)),
        "overall": evaluation.overall,
        **{name: evaluation.lanes(name) for name in GROUPINGS},
        "table": [{"path": path, **vars(lane)} for path, lane in nested(evaluation.predictions).items()],
        "claims": evaluation.claims,
        "judge": agreement(evaluation.predictions),
    }


def eval_report(evaluation: Evaluation, curves: Curves | None = None, before: Evaluation | None = None) -> Report:
    """The evaluation as blocks, with curves of the training run; `before` is drawn beside it, on the same rows."""
    overall, folder = evaluation.overall, evaluation.model.folder
    failed = {**overall.reasons, **({"not_judged": overall.not_judged} if overall.not_judged else {})}
    reasons = [(name, words.REASONS.get(name, words.OWN_CHECK), str(n)) for name, n in failed.items()]
    both = agreement(evaluation.predictions)
    gates = [_gate(gate) for claim in evaluation.claims for gate in claim.gates]
    claims, lanes = list(map(words.claim_cells, evaluation.claims)), _lane_table(evaluation)
    _, *columns = lanes.head
    blocks: list[Block] = [
        Text([words.result(overall)], "lead", media=WRITTEN),
        Text([evaluation.overlap] if evaluation.overlap else [], "lead"),
        _bars(evaluation, before),
        Table(("benchmark profile", "claim", "gates missed", "rows"), claims, left=3, title="Claims"),
        lanes,
        Text([words.choice_sentence(overall.choice)] if overall.choice else []),
        Table(("gate", "limit", "measured", "95 % interval", "verdict"), gates, title="Gates", folded=True),
        Text([words.agreement_sentence(both)] if both else [], title="Judge model beside the rules"),
    ]
    for grouping in GROUPINGS[2:]:  # profiles and components are in the table of lanes
        rows = [(name, *_cells(lane, columns)) for name, lane in evaluation.lanes(grouping).items()]
        blocks += breakdown(grouping, columns, rows, shown=lanes.rows)
    blocks += [
        Charts(charts(curves or {}), title="Curves"),
        Table(("reason", "the reply", "rows"), reasons, left=2, title="Why replies failed", media=WRITTEN),
        replies("Replies", list(map(_reply, evaluation.predictions))),
        mixtures({folder: evaluation.model}),
        origin(evaluation),
    ]
    return Report(f"Evaluation of {run_name(folder)}", f"{folder} on {evaluation.pack.path}", blocks)


def _lane_table(evaluation: Evaluation) -> Table:
    """Every benchmark profile, inside it its components, inside these their categories."""
    lanes = nested(evaluation.predictions)
    columns = _COLUMNS if evaluation.overall.steps_correct is not None else _COLUMNS[:-1]
    names = [*((path[-1], lane) for path, lane in lanes.items()), ("overall", evaluation.overall)]
    rows = [(name, *_cells(lane, columns)) for name, lane in names]
    head = ("benchmark profile / component / category", *columns)
    return Table(head, rows, depths=[*(len(path) - 1 for path in lanes), 0], title="Lanes")


def _cells(lane: Lane, columns: Sequence[str]) -> tuple[str, ...]:
    shares = (lane.strict, lane.prompt_echo, lane.unsupported_claims, lane.over_refusal, lane.steps_correct)
    cells = str(lane.n), str(lane.problems), percent(lane.rate), interval(lane.ci95), *map(percent, shares)
    return cells[: len(columns)]


def _gate(gate: Gate) -> tuple[str, ...]:
    name, verdict = f"{gate.benchmark_profile}: {words.gate_name(gate)}", gate.verdict.replace("missed", "MISSED")
    limit = f"{'≤' if gate.name == 'echo' else '≥'} {percent(gate.limit)}"
    return name, limit, words.of_gate(gate), interval(gate.measured.interval if gate.measured else None), verdict


def _bars(evaluation: Evaluation, before: Evaluation | None) -> Bars:
    lanes, *others = [run.lanes("by_category") for run in (evaluation, before) if run]
    rates = {
        name: [(lane.rate, lane.ci95), *((own[name].rate, own[name].ci95) if name in own else None for own in others)]
        for name, lane in lanes.items()
    }
    key = (evaluation.model.folder, f"before: {before.model.folder}") if before else ()
    return Bars(rates, key, title="Rates, with 95 % intervals")


def _reply(row: Prediction) -> Reply:
    verdicts = {True: "passed", False: "failed", None: None}
    verdict, category = "passed" if row.passed else "failed", row.tag("category")
    head = [category, verdict, *row.reasons]
    if row.steps_correct is not None:
        head.append(f"steps correct {percent(row.steps_correct)}")
    parts = {
        "prompt": row.prompt,
        "reply": row.reply,
        "raw reply": row.raw_reply if "prompt_echo" in row.reasons else None,
        "expected": row.expected,
        "log-likelihoods": ", ".join(f"{label} {own:.2f}" for label, own in (row.choice_scores or {}).items()) or None,
        "signals": ", ".join(row.signals) or None,
        "judge model": verdicts[row.judge_passed],
    }
    return reply(row, head, parts, not row.passed, lane=[category], verdict=[verdict], reason=row.reasons)


def model_card(folder: Path, evaluation: Evaluation) -> str:
    """README.md of a model folder; RUN/best_checkpoint is called RUN."""
    overall, model = evaluation.overall, evaluation.model
    about = (
        "A small chat model trained with picochat. It knows what its training rows taught and nothing more; this card "
        "claims what was measured on the eval rows named below."
    )
    decoding = ", ".join(f"{name} {evaluation.settings[name]}" for name in _DECODING)
    made_of = {"model.safetensors": f"sha256 {model.sha256}", "eval rows": f"sha256 {evaluation.pack.sha256}"}
    blocks = [
        Text(list(map(words.claim_line, evaluation.claims)), "list", title="Claims"),
        Text([f"{words.result(overall)}; decoding: {decoding}."], title="Evaluation"),
        replace(_lane_table(evaluation), title=""),
        Text([words.choice_sentence(overall.choice)] if overall.choice else []),
        Text([_USE], "code", title="Use"),
        facts({**made_of, "picochat": evaluation.picochat, **model.provenance}),
    ]
    return f"{_HEADER}\n\n{markdown_page(Report(run_name(folder), about, blocks))}"


def fit_json(fit: Fit) -> dict[str, Any]:
    """The content of eval_report.json."""
    head = {"kind": "eval sft-fit", **origin_json(fit), "held_out": fit.held_out, "overall": fit.overall}
    return {**head, "by_category": fit.lanes, "readings": _fit_readings(fit)}


def fit_report(fit: Fit) -> Report:
    bars = {
        name: [(own.correct.rate, own.correct.interval) for own in (lane.train, lane.held_out) if own and own.correct]
        for name, lane in fit.lanes.items()
        if lane.verdict != "unknown"  # both sides have answers to check
    }
    said = [*_fit_readings(fit), *([] if fit.held_out else [words.NO_HELD_OUT])]
    rows = [line for name, lane in {**fit.lanes, "overall": fit.overall}.items() for line in _fit_lines(name, lane)]
    blocks: list[Block] = [
        Text(said, "list", media=WRITTEN),
        Bars(bars, list(words.SIDE_NAMES.values()), title="Answers correct, with 95 % intervals"),
        Table(_FIT_COLUMNS, rows, title="By category"),
        Text(said, media=("terminal",)),
        origin(fit),
    ]
    return Report(f"SFT fit of {run_name(fit.model.folder)}", f"{fit.model.folder} on {fit.pack.path}", blocks)


def _fit_readings(fit: Fit) -> list[str]:
    return [words.fit_reading(name, lane) for name, lane in fit.lanes.items()]


def _fit_lines(name: str, lane: LaneFit) -> list[tuple[str, ...]]:
    """Every number of a lane, one line a side."""
    lines = []
    for side, own in zip(words.SIDE_NAMES.values(), (lane.train, lane.held_out), strict=True):
        if own:
            rates = (percent(share.rate if share else None) for share in (own.exact, own.correct))
            nll = "–" if own.nll is None else f"{own.nll:.4f}"
            ends = interval(own.correct.interval if own.correct else None)
            lines.append((name, side, str(own.n), *rates, ends, percent(own.token_accuracy), nll))
    return lines
