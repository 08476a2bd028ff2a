"""An evaluation or an SFT fit for readers and programs. In: `Evaluation`, `Fit`. Out: `Report`s, JSON, the model card.

benchmark profile / component / category  rows  problems    rate   95 % interval   strict    echo  …
weak_skills                                346       302  97.4 %   94.9 – 98.7 %   97.4 %   0.0 %
  weak_skills                              346       302  97.4 %   …
    bench_math_addition                     63        63  98.4 %   …

The card claims what the report claims and nothing else. Next: report.write_report.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

from picochat.blocks import (
    EVERYWHERE,
    WRITTEN,
    Bars,
    Block,
    Charts,
    Reply,
    Report,
    Table,
    Text,
    interval,
    markdown_page,
    percent,
)
from picochat.errors import UserError
from picochat.evidence import words
from picochat.evidence.answering import Agreement, agreement
from picochat.evidence.evaluation import Evaluation
from picochat.evidence.gates import Claim, Gate
from picochat.evidence.html_page import Curves, charts
from picochat.evidence.lanes import GROUPINGS, Lane, Prediction, grouped, nested
from picochat.evidence.report import breakdown, facts, jsonl, mixtures, origin, origin_json, replies, reply, run_name
from picochat.evidence.scoring import REASONS
from picochat.evidence.sft_fit import FIT_GROUPINGS, Fit, FitRow, LaneFit
from picochat.files import sha256_text, write_files

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
_JUDGE = ("category", "both pass", "rules alone", "judge alone", "neither", "kappa")
_COLUMNS = ("rows", "problems", "rate", "95 % interval", "strict", "echo", "unsupported", "over-refusal", "steps")
_FIT_COLUMNS = ("side", "n", "exact", "correct", "95 % interval", "token accuracy", "nll")
_STATED = ("name", "n", "problems", "rate", "ci95", "verdict")  # of a gate, in the JSON


def eval_json(evaluation: Evaluation) -> dict[str, Any]:
    """The content of eval_report.json."""
    return {
        "kind": "eval chat",
        **origin_json(evaluation),
        **{name: getattr(evaluation, name) for name in ("overlap", "limits", "says")},
        "predictions_sha256": sha256_text(jsonl(evaluation.predictions)),
        "overall": evaluation.overall,
        **{name: evaluation.lanes(name) for name in GROUPINGS},
        "table": [{"path": path, **vars(lane)} for path, lane in nested(evaluation.predictions).items()],
        "gates": evaluation.gates,
        "claims": list(map(_claim_json, evaluation.claims)),
        "judge": _agreements(evaluation),
    }


def _claim_json(claim: Claim) -> dict[str, Any]:
    stated = [
        {"text": words.gate_sentence(gate), **{name: getattr(gate, name) for name in _STATED}} for gate in claim.gates
    ]
    return {name: value for name, value in vars(claim).items() if name != "gates"} | {"statements": stated}


def eval_report(evaluation: Evaluation, curves: Curves | None = None, before: Evaluation | None = None) -> Report:
    """The evaluation as blocks, with curves of the training run; `before` is drawn beside it, on the same rows."""
    overall, folder = evaluation.overall, evaluation.model.folder
    reasons = [(name, str(n), REASONS.get(name, f"the check {name}")) for name, n in overall.reasons.items()]
    if overall.not_judged:
        reasons.append(("not_judged", str(overall.not_judged), REASONS["not_judged"] + "; not counted in any rate"))
    agreements = []
    for name, own in _agreements(evaluation).items():
        counts, kappa = (own.both, own.rules_alone, own.judge_alone, own.neither), own.kappa
        agreements.append((name, *map(str, counts), "–" if kappa is None else f"{kappa:.2f}"))
    claims, gates = map(words.claim_cells, evaluation.claims), map(_gate, evaluation.gates)
    blocks: list[Block] = [
        Text([words.result(overall)], "lead", media=WRITTEN),
        Text([evaluation.overlap] if evaluation.overlap else [], "lead"),
        _bars(evaluation, before),
        Table(("benchmark profile", "claim", "gates missed", "rows"), list(claims), left=3, title="Claims"),
        _lane_table(evaluation),
        Text([words.choice_sentence(overall.choice)] if overall.choice else []),
        Table(("gate", "limit", "measured", "95 % interval", "verdict"), list(gates), title="Gates", folded=True),
        Table(_JUDGE, agreements, title="Judge model beside the rules"),
    ]
    for grouping in GROUPINGS[2:]:  # profiles and components are in the table of lanes
        rows = [(name, *_cells(lane)) for name, lane in evaluation.lanes(grouping).items()]
        blocks += breakdown(grouping, _COLUMNS, rows)
    blocks += [
        Charts(charts(curves or {}), title="Curves"),
        Table(("reason", "rows", "meaning"), reasons, left=3, title="Why replies failed", media=WRITTEN),
        replies("Replies", evaluation.predictions, lambda row: (row.tag("category"), str(row.passed)), _reply),
        mixtures({folder: evaluation.model}),
        origin(evaluation),
    ]
    return Report(f"Evaluation of {run_name(folder)}", f"{folder} on {evaluation.pack.path}", blocks)


def _lane_table(evaluation: Evaluation) -> Table:
    """Every benchmark profile, inside it its components, inside these their categories."""
    lanes = nested(evaluation.predictions)
    rows = [*((path[-1], *_cells(lane)) for path, lane in lanes.items()), ("overall", *_cells(evaluation.overall))]
    head = ("benchmark profile / component / category", *_COLUMNS)
    return Table(head, rows, depths=[*(len(path) - 1 for path in lanes), 0], title="Lanes")


def _cells(lane: Lane) -> tuple[str, ...]:
    shares = (lane.strict, lane.prompt_echo, lane.unsupported_claims, lane.over_refusal)
    steps = lane.steps_correct.lines if lane.steps_correct else None
    return str(lane.n), str(lane.problems), percent(lane.rate), interval(lane.ci95), *map(percent, (*shares, steps))


def _agreements(evaluation: Evaluation) -> dict[str, Agreement]:
    """Rules and judge model, by category and in all."""
    groups = {**grouped(evaluation.predictions, "by_category"), "overall": evaluation.predictions}
    return {name: own for name, rows in groups.items() if (own := agreement(rows))}


def _gate(gate: Gate) -> tuple[str, ...]:
    sign = "≥" if gate.direction == "at least" else "≤"
    measured = f"{percent(gate.rate, gate.limit)} of {words.of_problems(gate.n, gate.problems)}"
    name, verdict = f"{gate.benchmark_profile}: {words.gate_name(gate)}", gate.verdict.replace("missed", "MISSED")
    return name, f"{sign} {percent(gate.limit)}", measured, interval(gate.ci95), verdict


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


def check_card_place(checkpoint: str | Path) -> None:
    """Raise UserError where a card would replace a README.md that somebody else wrote."""
    path = Path(checkpoint) / "README.md"
    if path.is_file() and not path.read_text(encoding="utf-8", errors="replace").startswith(_HEADER):
        raise UserError(f"{path} is not a card of ours; move it away, leave --model-card out, or use --force")


def write_model_card(checkpoint: str | Path, evaluation: Evaluation) -> Path:
    """Write README.md into the model folder that was evaluated, and return its path."""
    path = Path(checkpoint) / "README.md"
    write_files({path: model_card(Path(checkpoint).resolve(), evaluation)})
    return path


def model_card(folder: Path, evaluation: Evaluation) -> str:
    """The card's text; RUN/best_checkpoint is called RUN."""
    overall, model = evaluation.overall, evaluation.model
    about = (
        "A small chat model trained with picochat. It knows what its training rows taught and nothing more; this card "
        "claims what was measured on the eval rows named below."
    )
    decoding = ", ".join(f"{name} {evaluation.settings[name]}" for name in _DECODING)
    origin = {
        "model.safetensors": f"sha256 {model.sha256}",
        "eval rows": f"sha256 {evaluation.pack.sha256}",
        "picochat": evaluation.picochat,
        **model.provenance,
    }
    blocks = [
        Text(list(map(words.claim_line, evaluation.claims)), "list", title="Claims"),
        Text([f"{words.result(overall)}; decoding: {decoding}."], title="Evaluation"),
        replace(_lane_table(evaluation), title=""),
        Text([words.choice_sentence(overall.choice)] if overall.choice else []),
        Text([_USE], "code", title="Use"),
        facts(origin),
    ]
    return f"{_HEADER}\n\n{markdown_page(Report(run_name(folder), about, blocks))}"


def fit_json(fit: Fit) -> dict[str, Any]:
    """The content of eval_report.json."""
    lanes = {name: fit.lanes(name) for name in FIT_GROUPINGS}
    head = {"kind": "eval sft-fit", **origin_json(fit), "held_out": fit.held_out, "overall": fit.overall}
    return {**head, **lanes, "readings": _fit_readings(fit)}


def fit_report(fit: Fit) -> Report:
    """The fit as blocks."""
    bars = {
        name: [(own.correct.rate, own.correct.interval) for own in (lane.train, lane.held_out) if own and own.correct]
        for name, lane in fit.lanes("by_category").items()
        if lane.verdict != "unknown"  # both sides have answers to check
    }
    said = [*_fit_readings(fit), *([] if fit.held_out else [words.NO_HELD_OUT])]
    blocks: list[Block] = [
        Text(said, "list", media=WRITTEN),
        Bars(bars, list(words.SIDE_NAMES.values()), title="Answers correct, with 95 % intervals"),
    ]
    for grouping in FIT_GROUPINGS[1:]:
        lanes = {**fit.lanes(grouping), "overall": fit.overall}
        rows = [line for name, lane in lanes.items() for line in _fit_lines(name, lane)]
        blocks += breakdown(grouping, _FIT_COLUMNS, rows, EVERYWHERE if grouping == "by_category" else WRITTEN)
    blocks += [
        replies("Replies", fit.rows, _fit_kind, _fit_reply),
        Text(said, media=("terminal",)),
        origin(fit, {"held-out rows": f"{fit.held_out.path} (sha256 {fit.held_out.sha256})"} if fit.held_out else {}),
    ]
    return Report(f"SFT fit of {run_name(fit.model.folder)}", f"{fit.model.folder} on {fit.pack.path}", blocks)


def _fit_readings(fit: Fit) -> list[str]:
    return [words.fit_reading(name, lane) for name, lane in fit.lanes("by_category").items()]


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


def _fit_kind(row: FitRow) -> tuple[str, str, str]:
    return words.SIDE_NAMES[row.side], row.tag("category"), "exact" if row.exact else "not exact"


def _fit_reply(row: FitRow) -> Reply:
    side, category, verdict = _fit_kind(row)
    head = [side, category, verdict, *row.reasons]
    if row.tokens:
        head.append(f"{row.tokens_right} of {row.tokens} tokens, nll {row.nll or 0.0:.4f}")
    parts = {"prompt": row.prompt, "reply": row.reply, "reference": row.reference}
    fields = {"lane": [category], "side": [side], "verdict": [verdict], "reason": row.reasons}
    return reply(row, head, parts, not (row.exact if row.correct is None else row.correct), **fields)
