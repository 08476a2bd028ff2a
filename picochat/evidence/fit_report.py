"""The SFT fit for readers. In: the fit report and its rows. Out: the terminal's table, Markdown, HTML, four files."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from picochat.evidence.compare_words import points
from picochat.evidence.html_charts import Bar, interval_bars
from picochat.evidence.html_page import (
    article,
    beyond_first,
    bullets,
    facts,
    filtered,
    page,
    paragraph,
    pre,
    section,
    table,
)
from picochat.evidence.lanes import UNTAGGED, percent
from picochat.evidence.report import EVAL_FILES, aligned, clip, interval, md, md_table, report_facts, run_name
from picochat.evidence.sft_fit import SIDES, FitRow
from picochat.files import write_files
from picochat.packs.quotas import spread_evenly

FIT_FILES = EVAL_FILES
_COLUMNS = ("side", "n", "exact", "correct", "95 % interval", "token accuracy", "nll")
_GLANCE = ("train", "held-out", "gap", "95 % interval", "train nll", "held-out nll", "verdict")
_TABLES = {
    "By category": "by_category",
    "By stage": "by_stage",
    "By phrasing": "by_phrasing",
    "By component": "by_component",
}
_TITLES = {"train": "train", "held_out": "held-out"}
_SAMPLES = 12  # of each category and side, in the page; predictions.jsonl has all


def write_fit(out_dir: str | Path, report: Mapping[str, Any], rows: Sequence[FitRow]) -> None:
    """Write the four files so that they appear together."""
    contents = (
        json.dumps(report, indent=2, ensure_ascii=False) + "\n",
        fit_markdown(report, rows),
        fit_html(report, rows),
        "".join(json.dumps(asdict(row), ensure_ascii=False) + "\n" for row in rows),
    )
    write_files({Path(out_dir) / name: text for name, text in zip(FIT_FILES, contents, strict=True)})


def fit_table(report: Mapping[str, Any]) -> str:
    """The terminal's tables: one line a category to tell heart from head, then every number, then the words."""
    lanes = {**report["by_category"], "overall": report["overall"]}
    lines = [cells for name, sides in lanes.items() for cells in _lines(name, sides)]
    parts = [aligned([["category", *_COLUMNS], *lines]), *_words(report)]
    parts.append(aligned([["category", *_GLANCE], *([name, *_glance(sides)] for name, sides in lanes.items())]))
    return "\n\n".join(parts)


def fit_markdown(report: Mapping[str, Any], rows: Sequence[FitRow]) -> str:
    """The report as Markdown."""
    parts = [
        f"# SFT fit of {md(report['model']['folder'])}",
        "\n".join(f"- {md(line)}" for line in report["readings"]),
        *(md(line) for line in _words(report)[1:]),
    ]
    glance = [[md(name), *_glance(sides)] for name, sides in _lanes(report)]
    parts += ["## At a glance", md_table(["category", *_GLANCE], glance)]
    for title, grouping in _TABLES.items():
        lines = [line for name, sides in report[grouping].items() for line in _lines(md(name), sides)]
        parts += [f"## {title}", md_table([grouping.removeprefix("by_"), *_COLUMNS], lines)]
    wrong = [row for row in rows if row.exact is False]
    shown = spread_evenly(wrong, _SAMPLES)
    if shown:
        told = [
            [_TITLES[row.side], *(md(clip(text)) for text in (row.prompt, row.reference or "", row.reply))]
            for row in shown
        ]
        parts += [
            "## Not reproduced exactly",
            f"{len(shown)} of {len(wrong)}:",
            md_table(["side", "prompt", "reference", "reply"], told),
        ]
    parts += ["## Where this comes from", md_table(["what", "value"], [[md(k), md(v)] for k, v in _facts(report)])]
    return "\n\n".join(parts) + "\n"


def fit_html(report: Mapping[str, Any], rows: Sequence[FitRow]) -> str:
    """The report as one self-contained page."""
    lines = [line for name, sides in report["by_category"].items() for line in _lines(name, sides)]
    bars = {name: found for name, sides in report["by_category"].items() if (found := list(_bars(sides)))}
    key = {"a": "train", "b": "held-out"}
    glance = [[name, *_glance(sides)] for name, sides in _lanes(report)]
    return page(
        f"SFT fit of {run_name(report['model']['folder'])}",
        [
            section("At a glance", table(["category", *_GLANCE], glance)),
            section("Answers correct", paragraph("with 95 % intervals", "soft"), interval_bars(bars, key)),
            bullets(report["readings"]),
            *(paragraph(line, "soft") for line in _words(report)[1:]),
            section("By category", table(["category", *_COLUMNS], lines)),
            section("Replies", _replies(rows)),
            section("Provenance", facts(_facts(report))),
        ],
        under=f"{report['model']['folder']} on {report['pack']['path']}",
    )


def _lanes(report: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    return [*report["by_category"].items(), ("overall", report["overall"])]


def _glance(sides: Mapping[str, Any]) -> list[str]:
    """Both sides of a lane in one line: answers correct, their gap, nll a token, and the verdict."""
    gap, both = sides["gap"], [sides[side] or {"correct": None, "nll": None} for side in SIDES]
    known = gap["difference"] is not None
    return [
        *(percent(side["correct"]["rate"] if side["correct"] else None) for side in both),
        points(gap["difference"]) if known else "–",
        f"{points(gap['ci95'][0])} to {points(gap['ci95'][1])}" if known else "–",
        *("–" if side["nll"] is None else f"{side['nll']:.4f}" for side in both),
        gap["verdict"],
    ]


def _lines(name: str, sides: Mapping[str, Any]) -> list[list[str]]:
    lines = []
    for side in SIDES:
        counted = sides[side]
        if counted:
            exact, correct = counted["exact"], counted["correct"]
            lines.append(
                [
                    name,
                    _TITLES[side],
                    str(counted["n"]),
                    percent(exact["rate"] if exact else None),
                    percent(correct["rate"] if correct else None),
                    interval(correct["ci95"]) if correct else "–",
                    percent(counted["token_accuracy"]),
                    "–" if counted["nll"] is None else f"{counted['nll']:.4f}",
                ]
            )
    return lines


def _words(report: Mapping[str, Any]) -> list[str]:
    words = ["\n".join(report["readings"])]
    if report["held_out"] is None:
        words.append("No held-out rows were found beside the input: nothing is said about transfer (use --eval-input).")
    return words


def _bars(sides: Mapping[str, Any]) -> Iterator[Bar]:
    for side, kind in zip(SIDES, "ab", strict=True):
        correct = sides[side]["correct"] if sides[side] else None
        if correct:
            low, high = correct["ci95"]
            yield Bar(correct["rate"], low, high, kind)


def _replies(rows: Sequence[FitRow]) -> str:
    kinds = sorted({(row.side, row.tags.get("category") or UNTAGGED) for row in rows})
    shown: list[FitRow] = []
    for side, category in kinds:
        own = [row for row in rows if row.side == side and (row.tags.get("category") or UNTAGGED) == category]
        shown += spread_evenly(own, _SAMPLES)
    menus = {
        "lane": sorted({category for _, category in kinds}),
        "side": [_TITLES[side] for side in SIDES],
        "verdict": ["exact", "not exact"],
        "reason": sorted({reason for row in shown for reason in row.reasons}),
    }
    note = f"{len(shown)} of {len(rows)} rows; predictions.jsonl has all."
    extra = beyond_first((row.side, row.tags.get("category")) for row in shown)
    return paragraph(note, "soft") + filtered(
        menus, [_reply(row, more) for row, more in zip(shown, extra, strict=True)]
    )


def _reply(row: FitRow, more: bool) -> str:
    category = row.tags.get("category") or UNTAGGED
    verdict = "exact" if row.exact else "not exact"
    told = [f"row {row.index + 1}", _TITLES[row.side], category, verdict, *row.reasons]
    if row.tokens:
        told.append(f"{row.tokens_right} of {row.tokens} tokens, nll {(row.nll or 0.0) / row.tokens:.4f}")
    body = paragraph(" · ".join(told)) + pre("prompt", row.prompt) + pre("reply", row.reply)
    if row.reference is not None:
        body += pre("reference", row.reference)
    fields = {"lane": [category], "side": [_TITLES[row.side]], "verdict": [verdict], "reason": row.reasons}
    return article(fields, body, failed=row.correct is False or (row.correct is None and not row.exact), more=more)


def _facts(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    found = report_facts(report)
    if report["held_out"]:
        found.append(("held-out rows", f"{report['held_out']['path']} (sha256 {report['held_out']['sha256']})"))
    return found
