"""An evaluation for readers and programs. In: an `Evaluation`. Out: a `Report`, JSON, the model card.

benchmark profile / component / category  rows  problems    rate   95 % interval   strict    echo  …
weak_skills                                346       302  97.4 %   94.9 – 98.7 %   97.4 %   0.0 %
  weak_skills                              346       302  97.4 %   …
    bench_math_addition                     63        63  98.4 %   …

The card claims what the report claims and nothing else. Next: report.write_report.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from picochat.blocks import (
    WRITTEN,
    Bars,
    Block,
    Charts,
    Rate,
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
from picochat.evidence.curves import Curves, charts
from picochat.evidence.evaluation import Evaluation
from picochat.evidence.gates import Claim, Gate
from picochat.evidence.lanes import GROUPINGS, Lane, Prediction, count, grouped, nested
from picochat.evidence.report import breakdown, facts, jsonl, mixtures, origin, origin_json, replies, run_name
from picochat.evidence.scoring import REASONS
from picochat.evidence.server import Agreement, agreement
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
COLUMNS = ("rows", "problems", "rate", "95 % interval", "strict", "echo", "unsupported", "over-refusal", "steps")


def eval_json(evaluation: Evaluation) -> dict[str, Any]:
    """The content of eval_report.json."""
    by_path = nested(evaluation.predictions)
    return {
        "kind": "eval chat",
        **origin_json(evaluation),
        "overlap": evaluation.overlap,
        "limits": evaluation.limits,
        "says": evaluation.says,
        "predictions_sha256": sha256_text(jsonl(evaluation.predictions)),
        "overall": asdict(evaluation.overall),
        **{name: {lane: asdict(own) for lane, own in evaluation.lanes(name).items()} for name in GROUPINGS},
        "table": [{"path": path, **asdict(count(rows))} for path, rows in by_path.items()],
        "gates": list(map(asdict, evaluation.gates)),
        "claims": list(map(_claim_json, evaluation.claims)),
        "judge": {name: asdict(own) for name, own in _agreements(evaluation)},
    }


def _claim_json(claim: Claim) -> dict[str, Any]:
    fields = ("name", "n", "problems", "rate", "ci95", "verdict")
    statements = [
        {"text": words.gate_sentence(gate), **{name: getattr(gate, name) for name in fields}} for gate in claim.gates
    ]
    head = {"benchmark_profile": claim.benchmark_profile, "status": claim.status, "words": claim.words, "n": claim.n}
    return {**head, "statements": statements}


def eval_report(evaluation: Evaluation, curves: Curves | None = None, before: Evaluation | None = None) -> Report:
    """The evaluation as blocks.

    Args:
        evaluation: what was measured.
        curves: of the training run, where a metrics.csv was at hand.
        before: another model on the same rows, drawn beside this one.
    """
    overall, claims = evaluation.overall, list(map(words.claim_cells, evaluation.claims))
    reasons = [(name, str(n), REASONS.get(name, f"the check {name}")) for name, n in overall.reasons.items()]
    if overall.not_judged:
        reasons.append(("not_judged", str(overall.not_judged), REASONS["not_judged"] + "; not counted in any rate"))
    gates = list(map(_gate, evaluation.gates))
    blocks: list[Block] = [
        Text([words.result(overall)], "lead", media=WRITTEN),
        Text([evaluation.overlap] if evaluation.overlap else [], "lead"),
        _bars(evaluation, before),
        Table(("benchmark profile", "claim", "gates missed", "rows"), claims, left=3, title="Claims"),
        lane_table(evaluation),
        Text([words.choice_sentence(overall.choice)] if overall.choice else []),
        Table(("gate", "limit", "measured", "95 % interval", "verdict"), gates, title="Gates", folded=True),
    ]
    agreements = [
        (
            name,
            *map(str, (own.both, own.rules_alone, own.judge_alone, own.neither)),
            f"{own.kappa:.2f}" if own.kappa is not None else "–",
        )
        for name, own in _agreements(evaluation)
    ]
    blocks.append(Table(_JUDGE, agreements, title="Judge model beside the rules"))
    for grouping in GROUPINGS[2:]:  # profiles and components are in the table of lanes
        rows = [(name, *cells(lane)) for name, lane in evaluation.lanes(grouping).items()]
        blocks += breakdown(grouping, COLUMNS, rows)
    blocks += [
        Charts(charts(curves or {}), title="Curves"),
        Table(("reason", "rows", "meaning"), reasons, left=3, title="Why replies failed", media=WRITTEN),
        replies("Replies", evaluation.predictions, lambda row: (row.tag("category"), str(row.passed)), _reply),
        mixtures({evaluation.model.folder: evaluation.model}),
        origin(evaluation),
    ]
    folder = evaluation.model.folder
    return Report(f"Evaluation of {run_name(folder)}", f"{folder} on {evaluation.pack.path}", blocks)


def lane_table(evaluation: Evaluation) -> Table:
    """Every benchmark profile, inside it its components, inside these their categories."""
    lanes = {path: count(rows) for path, rows in nested(evaluation.predictions).items()}
    rows = [*((path[-1], *cells(lane)) for path, lane in lanes.items()), ("overall", *cells(evaluation.overall))]
    head = ("benchmark profile / component / category", *COLUMNS)
    return Table(head, rows, depths=[*(len(path) - 1 for path in lanes), 0], title="Lanes")


def cells(lane: Lane) -> tuple[str, ...]:
    """One lane's `COLUMNS`."""
    shares = (lane.prompt_echo, lane.unsupported_claims, lane.over_refusal)
    steps = lane.steps_correct.lines if lane.steps_correct else None
    measured = (str(lane.n), str(lane.problems), percent(lane.rate), interval(lane.ci95))
    return *measured, *map(percent, (lane.strict, *shares, steps))


def _agreements(evaluation: Evaluation) -> list[tuple[str, Agreement]]:
    """Rules and judge model, by category and in all."""
    groups = {**grouped(evaluation.predictions, "by_category"), "overall": evaluation.predictions}
    return [(name, own) for name, rows in groups.items() if (own := agreement(rows))]


def _gate(gate: Gate) -> tuple[str, ...]:
    sign = "≥" if gate.direction == "at least" else "≤"
    measured = f"{percent(gate.rate, gate.limit)} of {words.of_problems(gate.n, gate.problems)}"
    verdict = gate.verdict.replace("missed", "MISSED")
    name = f"{gate.benchmark_profile}: {words.gate_name(gate)}"
    return name, f"{sign} {percent(gate.limit)}", measured, interval(gate.ci95), verdict


def _bars(evaluation: Evaluation, before: Evaluation | None) -> Bars:
    lanes = [run.lanes("by_category") for run in (evaluation, before) if run]
    rates = {
        name: [Rate(own[name].rate, *(own[name].ci95 or ())) if name in own else None for own in lanes]
        for name in lanes[0]
    }
    key = (evaluation.model.folder, f"before: {before.model.folder}") if before else ()
    return Bars(rates, key, title="Rates, with 95 % intervals")


def _reply(prediction: Prediction) -> Reply:
    verdict, category = "passed" if prediction.passed else "failed", prediction.tag("category")
    head = [f"row {prediction.index + 1}", category, verdict, *prediction.reasons]
    if prediction.steps_correct is not None:
        head.append(f"steps correct {percent(prediction.steps_correct)}")
    likelihoods = ", ".join(f"{label} {value:.2f}" for label, value in (prediction.choice_scores or {}).items())
    raw_reply = prediction.raw_reply if "prompt_echo" in prediction.reasons else None
    parts = {
        "prompt": prediction.prompt,
        "reply": prediction.reply,
        "raw reply": raw_reply,
        "expected": prediction.expected,
    }
    parts |= {"log-likelihoods": likelihoods or None, "signals": ", ".join(prediction.signals) or None}
    if prediction.judge_passed is not None:
        parts["judge model"] = "passed" if prediction.judge_passed else "failed"
    fields = {"lane": [category], "verdict": [verdict], "reason": prediction.reasons}
    known = {label: text for label, text in parts.items() if text is not None}
    return Reply(" · ".join(head), known, fields, failed=not prediction.passed)


def check_card_place(checkpoint: str | Path) -> None:
    """Make sure that a card would replace none but an earlier card of ours.

    Raises:
        UserError: README.md in the folder was written by somebody else.
    """
    path = Path(checkpoint) / "README.md"
    if path.is_file() and not path.read_text(encoding="utf-8", errors="replace").startswith(_HEADER):
        raise UserError(
            f"{path} is not a card of ours; move it away, leave --model-card out, or replace it with --force"
        )


def write_model_card(checkpoint: str | Path, evaluation: Evaluation) -> Path:
    """Write README.md into the model folder that was evaluated, and return its path."""
    path = Path(checkpoint) / "README.md"
    write_files({path: model_card(Path(checkpoint).resolve(), evaluation)})
    return path


def model_card(folder: Path, evaluation: Evaluation) -> str:
    """The card's text; RUN/best_checkpoint is called RUN."""
    overall, settings, model = evaluation.overall, evaluation.settings, evaluation.model
    decoding = ", ".join(f"{name} {settings[name]}" for name in _DECODING)
    measured = f"{words.result(overall)}; decoding: {decoding}."
    origin = {
        "model.safetensors": f"sha256 {model.sha256}",
        "eval rows": f"sha256 {evaluation.pack.sha256}",
        "picochat": evaluation.picochat,
        **model.provenance,
    }
    lanes = lane_table(evaluation)
    report = Report(
        run_name(folder),
        "A small chat model trained with picochat. It knows what its training rows taught and nothing more; this card "
        "claims what was measured on the eval rows named below.",
        [
            Text(list(map(words.claim_line, evaluation.claims)), "list", title="Claims"),
            Text([measured], title="Evaluation"),
            Table(lanes.head, lanes.rows, depths=lanes.depths),
            Text([words.choice_sentence(overall.choice)] if overall.choice else []),
            Text([_USE], "code", title="Use"),
            facts(origin),
        ],
    )
    return f"{_HEADER}\n\n{markdown_page(report)}"
