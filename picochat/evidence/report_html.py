"""The report page. In: report dict, predictions, the run's curves. Out: one self-contained HTML file."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from picochat.evidence.curves import Curves, charts
from picochat.evidence.html_charts import Bar, Scale, interval_bars, line_chart
from picochat.evidence.html_page import (
    article,
    beyond_first,
    bullets,
    esc,
    facts,
    filtered,
    name_cell,
    page,
    paragraph,
    pre,
    section,
    table,
)
from picochat.evidence.lanes import UNTAGGED, Prediction, grouped, percent
from picochat.evidence.report import (
    COLUMNS,
    cells,
    choice_sentence,
    gate_cells,
    grouping_name,
    interval,
    report_facts,
    run_name,
    status_words,
)
from picochat.evidence.scoring import REASONS
from picochat.packs.quotas import spread_evenly

_BREAKDOWNS = ("by_phrasing", "by_category_and_phrasing", "by_style", "by_knowledge", "by_stage")
_FOLDED = 8  # tables of more lanes are folded away
_FAILED_PER_LANE, _PASSED_PER_LANE = 20, 8  # replies shown of each category; predictions.jsonl has all


def eval_html(
    report: Mapping[str, Any],
    predictions: Sequence[Prediction],
    *,
    curves: Curves | None = None,
    before: Mapping[str, Any] | None = None,
) -> str:
    """The page of one evaluation.

    Args:
        report: content of eval_report.json.
        predictions: of the same evaluation.
        curves: of the training run, where a metrics.csv was at hand.
        before: the eval_report.json of another model on the same rows, drawn beneath this one's bars.
    """
    overall, choice = report["overall"], report["overall"]["choice"]
    drawn = charts(curves or {})
    return page(
        f"Evaluation of {run_name(report['model']['folder'])}",
        [
            paragraph(
                f"{overall['passed']} of {overall['n']} rows passed: {percent(overall['rate'])}, 95 % interval "
                f"{interval(overall['ci95'])}; prompt echo {percent(overall['prompt_echo'])}",
                "lead",
            ),
            section("Claims", _claims(report["claims"])),
            section(
                "Lanes",
                paragraph("benchmark profile, inside it component, inside it category", "soft"),
                table(
                    ["lane", *COLUMNS],
                    [[lane["path"][-1], *cells(lane)] for lane in report["table"]],
                    [len(lane["path"]) for lane in report["table"]],
                ),
                paragraph(choice_sentence(choice)) if choice else "",
            ),
            section("Rates", paragraph("with 95 % intervals", "soft"), lane_bars(report, before)),
            section("Gates", _gates(report["gates"])),
            *(_breakdown(report, name) for name in _BREAKDOWNS),
            section("Curves", _charts(drawn)),
            section("Replies", paragraph("Why replies failed"), _reasons(overall["reasons"]), _replies(predictions)),
            section("Provenance", facts(report_facts(report))),
        ],
        under=f"{report['model']['folder']} on {report['pack']['path']}",
    )


def lane_bars(report: Mapping[str, Any], before: Mapping[str, Any] | None) -> str:
    """Bars by category; with `before`, the other model's bar under each."""
    lanes: dict[str, list[Bar]] = {}
    for name, lane in report["by_category"].items():
        lanes[name] = [_bar(lane, "a")]
        other = before["by_category"].get(name) if before else None
        if other:
            lanes[name].append(_bar(other, "b"))
    key = {"a": report["model"]["folder"], "b": f"before: {before['model']['folder']}"} if before else None
    return interval_bars(lanes, key)


def sampled(predictions: Sequence[Prediction]) -> list[Prediction]:
    """Of each category some failures and some passes, evenly spaced over the file, in its order."""
    shown: list[Prediction] = []
    for rows in grouped(predictions, "by_category").values():
        for passed, limit in ((False, _FAILED_PER_LANE), (True, _PASSED_PER_LANE)):
            some = [prediction for prediction in rows if prediction.passed == passed]
            shown += spread_evenly(some, limit)
    return sorted(shown, key=lambda prediction: prediction.index)


def _bar(lane: Mapping[str, Any], kind: str) -> Bar:
    low, high = lane["ci95"]
    return Bar(lane["rate"], low, high, kind)


def _claims(claims: Sequence[Mapping[str, Any]]) -> str:
    tone = {"claimed": "good", "failed its gate": "bad"}
    cards = []
    for claim in claims:
        pill = f'<span class="pill {tone.get(claim["status"], "soft")}">{esc(status_words(claim["status"]))}</span>'
        statements = bullets([statement["text"] for statement in claim["statements"]])
        cards.append(f'<div class="card"><h3>{name_cell(claim["benchmark_profile"])} {pill}</h3>{statements}</div>')
    return f'<div class="cards">{"".join(cards)}</div>'


def _charts(drawn: Mapping[str, Curves]) -> str:
    if not drawn:
        return ""
    scales: dict[str, Scale] = {"Loss": "log", "eval": "share"}
    shown = [
        line_chart(title, curves, scales.get(re.split(r":| by", title)[0], "linear")) for title, curves in drawn.items()
    ]
    return f'<div class="charts">{"".join(shown)}</div>'


def _gates(gates: Sequence[Mapping[str, Any]]) -> str:
    if not gates:
        return ""
    return table(["gate", "limit", "measured", "95 % interval", "verdict"], map(gate_cells, gates))


def _breakdown(report: Mapping[str, Any], grouping: str) -> str:
    if list(report[grouping]) == [UNTAGGED]:
        return ""
    name = grouping_name(grouping)
    rows = [[lane, *cells(counted)] for lane, counted in report[grouping].items()]
    return section(f"By {name}", table([name, *COLUMNS], rows), folded=len(rows) > _FOLDED)


def _reasons(reasons: Mapping[str, int]) -> str:
    return bullets([f"{name} ({n}): {REASONS[name]}" for name, n in reasons.items()]) or paragraph("None did.")


def _replies(predictions: Sequence[Prediction]) -> str:
    shown = sampled(predictions)
    lanes = sorted({prediction.tag("category") for prediction in shown})
    reasons = [reason for reason in REASONS if any(reason in prediction.reasons for prediction in shown)]
    note = (
        f"{len(shown)} of {len(predictions)} replies: of each category at most {_FAILED_PER_LANE} that failed and "
        f"{_PASSED_PER_LANE} that passed, evenly spaced; predictions.jsonl has all."
    )
    menus = {"lane": lanes, "reason": reasons, "verdict": ["passed", "failed"]}
    extra = beyond_first((prediction.tag("category"), prediction.passed) for prediction in shown)
    return paragraph(note, "soft") + filtered(
        menus, [_reply(one, more) for one, more in zip(shown, extra, strict=True)]
    )


def _reply(prediction: Prediction, more: bool) -> str:
    verdict = "passed" if prediction.passed else "failed"
    head = [f"row {prediction.index + 1}", prediction.tag("category"), verdict, *prediction.reasons]
    if prediction.steps_correct is not None:
        head.append(f"steps correct {percent(prediction.steps_correct)}")
    body = paragraph(" · ".join(head)) + pre("prompt", prediction.prompt) + pre("reply", prediction.reply)
    if prediction.raw_reply is not None and "prompt_echo" in prediction.reasons:
        body += pre("raw reply", prediction.raw_reply)
    if prediction.expected is not None:
        body += pre("expected", prediction.expected)
    if prediction.choice_scores:
        scores = ", ".join(f"{label} {value:.2f}" for label, value in prediction.choice_scores.items())
        body += pre("log-likelihoods", scores)
    fields = {"lane": [prediction.tag("category")], "reason": prediction.reasons, "verdict": [verdict]}
    return article(fields, body, failed=not prediction.passed, more=more)
