"""A comparison for readers. In: the compare report. Out: the terminal's table, Markdown, HTML, three files."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from picochat.evidence.compare_words import p_text, points
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
from picochat.evidence.report import aligned, clip, grouping_name, md, md_table, named_lanes
from picochat.files import write_files
from picochat.packs.quotas import spread_evenly

COMPARE_FILES = ("comparison.json", "comparison.md", "comparison.html")
_TABLES = {
    "by_skill": "By skill",
    "by_benchmark_profile": "By benchmark profile",
    "by_component": "By component",
    "by_category": "By category",
    "by_stage": "By stage",
    "by_phrasing": "By phrasing",
    "by_category_and_phrasing": "By category and phrasing",
    "by_style": "By answer style",
    "by_knowledge": "By knowledge",
}
_FOLDED = 12  # tables of more lanes are folded away
_FLIPS_MD, _FLIPS_HTML = 12, 15  # in all; of each category and direction. comparison.json has all.


def write_compare(out_dir: str | Path, report: Mapping[str, Any]) -> None:
    """Write the three files so that they appear together."""
    contents = (
        json.dumps(report, indent=2, ensure_ascii=False) + "\n",
        compare_markdown(report),
        compare_html(report),
    )
    write_files({Path(out_dir) / name: text for name, text in zip(COMPARE_FILES, contents, strict=True)})


def compare_table(report: Mapping[str, Any]) -> str:
    """The tables for the terminal: skills and categories, then the reading in words."""
    parts = []
    for grouping in ("by_skill", "by_category"):
        lanes = {**named_lanes(report, grouping), "overall": report["overall"]}
        head = [grouping_name(grouping), *_columns(report)]
        parts.append(aligned([head, *([name, *_cells(report, lane)] for name, lane in lanes.items())]))
    parts += ["\n".join(report[words]) for words in ("readings", "notes")]
    parts.append(f"in words: {report['summary']}")
    return "\n\n".join(parts)


def compare_markdown(report: Mapping[str, Any]) -> str:
    """The comparison as Markdown."""
    parts = [
        f"# {md(_title(report))}",
        f"{report['pack']['rows']} eval rows of {md(report['pack']['path'])}; differences are in points, "
        f"{md(report['b']['name'])} minus {md(report['a']['name'])}.",
        f"**{md(report['summary'])}**",
        "\n".join(f"- {md(line)}" for line in report["readings"]),
        "\n".join(f"- {md(line)}" for line in report["notes"]),
    ]
    for grouping, title in _TABLES.items():
        if list(report[grouping]) == [UNTAGGED]:
            continue
        lanes = named_lanes(report, grouping).items()
        head = [grouping_name(grouping), *map(md, _columns(report))]
        parts += [f"## {title}", md_table(head, [[md(name), *map(md, _cells(report, lane))] for name, lane in lanes])]
    flips = report["flips"]
    if flips:
        shown = spread_evenly(flips, _FLIPS_MD)
        rows = [
            [flip["direction"], *(md(clip(flip[key] or "")) for key in ("category", "prompt", "reply_a", "reply_b"))]
            for flip in shown
        ]
        head = ["", "category", "prompt", *(md(report[arm]["name"]) for arm in ("a", "b"))]
        parts += ["## Rows that flipped", f"{len(shown)} of {len(flips)}:", md_table(head, rows)]
    parts += ["## Where this comes from", md_table(["what", "value"], [[md(k), md(v)] for k, v in _facts(report)])]
    return "\n\n".join(parts) + "\n"


def compare_html(report: Mapping[str, Any]) -> str:
    """The comparison as one self-contained page."""
    key = {"b": report["a"]["name"], "a": report["b"]["name"]}  # the newer arm gets the strong colour
    tables = [
        section(title, _table(report, grouping), folded=grouping != "by_skill" and len(report[grouping]) > _FOLDED)
        for grouping, title in _TABLES.items()
        if len(report[grouping]) > 1
    ]
    return page(
        _title(report),
        [
            paragraph(report["summary"], "lead"),
            bullets(report["readings"]),
            *(paragraph(note, "soft") for note in report["notes"]),
            section(
                "Rates",
                paragraph("with 95 % intervals over rows", "soft"),
                interval_bars(_bars(report["by_category"]), key),
            ),
            *tables,
            section("Rows that flipped", _flips(report)),
            section("Provenance", facts(_facts(report))),
        ],
        under=f"{report['pack']['rows']} eval rows of {report['pack']['path']}",
    )


def _title(report: Mapping[str, Any]) -> str:
    return f"Comparison of {report['a']['name']} and {report['b']['name']}"


def _columns(report: Mapping[str, Any]) -> list[str]:
    others = [report[arm]["name"] for arm in ("before", "peak") if report[arm]]
    kept = ["gain kept"] if report["before"] else []
    arms = [report["a"]["name"], report["b"]["name"]]
    return ["n", *others, *arms, "difference", "95 % interval", "lost", "gained", "p", "p (Holm)", *kept]


def _cells(report: Mapping[str, Any], lane: Mapping[str, Any]) -> list[str]:
    gain = lane["gain"]
    low, high = lane["ci95"]
    others = [percent(gain[f"rate_{arm}"]) for arm in ("before", "peak") if report[arm]]
    kept = [] if gain is None else ["–" if gain["kept_b"] is None else f"{round(100 * gain['kept_b']['share'])} %"]
    return [
        str(lane["n"]),
        *others,
        percent(lane["rate_a"]),
        percent(lane["rate_b"]),
        points(lane["difference"]),
        f"{points(low)} to {points(high)}",
        f"{lane['only_a']:.1f}".removesuffix(".0"),
        f"{lane['only_b']:.1f}".removesuffix(".0"),
        p_text(lane["p"]),
        p_text(lane["p_holm"]),
        *kept,
    ]


def _table(report: Mapping[str, Any], grouping: str) -> str:
    lanes = {**named_lanes(report, grouping), "overall": report["overall"]}
    return table(
        [grouping_name(grouping), *_columns(report)],
        [[name, *_cells(report, lane)] for name, lane in lanes.items()],
    )


def _bars(lanes: Mapping[str, Mapping[str, Any]]) -> dict[str, list[Bar]]:
    drawn = {}
    for name, lane in lanes.items():
        (low_a, high_a), (low_b, high_b) = lane["ci95_a"], lane["ci95_b"]
        drawn[name] = [Bar(lane["rate_a"], low_a, high_a, "b"), Bar(lane["rate_b"], low_b, high_b, "a")]
    return drawn


def _flips(report: Mapping[str, Any]) -> str:
    flips: list[dict[str, Any]] = report["flips"]
    if not flips:
        return paragraph("None.")
    kinds = sorted({(flip["category"], flip["direction"]) for flip in flips})
    shown = []
    for kind in kinds:
        shown += spread_evenly([flip for flip in flips if (flip["category"], flip["direction"]) == kind], _FLIPS_HTML)
    reasons = sorted({reason for flip in shown for reason in (*flip["reasons_a"], *flip["reasons_b"])})
    menus = {
        "lane": sorted({flip["category"] for flip in shown}),
        "verdict": sorted({flip["direction"] for flip in shown}),
        "reason": reasons,
    }
    note = f"{len(shown)} of {len(flips)} rows that flipped; comparison.json has all."
    extra = beyond_first((flip["category"], flip["direction"]) for flip in shown)
    articles = [_flip(report, flip, more) for flip, more in zip(shown, extra, strict=True)]
    return paragraph(note, "soft") + filtered(menus, articles)


def _flip(report: Mapping[str, Any], flip: Mapping[str, Any], more: bool) -> str:
    body = paragraph(f"row {flip['index'] + 1} · {flip['category']} · {flip['direction']}") + pre(
        "prompt", flip["prompt"]
    )
    for arm in ("a", "b"):
        told = ", ".join(flip[f"reasons_{arm}"]) or "passed"
        body += pre(f"{report[arm]['name']}: {told}", flip[f"reply_{arm}"])
    if flip["expected"] is not None:
        body += pre("expected", flip["expected"])
    fields = {
        "lane": [flip["category"]],
        "verdict": [flip["direction"]],
        "reason": [*flip["reasons_a"], *flip["reasons_b"]],
    }
    return article(fields, body, failed=flip["direction"] == "lost", more=more)


def _facts(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    found = [
        ("picochat", report["picochat"]),
        ("eval rows", f"{report['pack']['path']} (sha256 {report['pack']['sha256']})"),
        ("test", report["overall"]["test"]),
    ]
    for arm in ("a", "b", "before", "peak"):
        for run in report[arm]["runs"] if report[arm] else []:
            told = (
                f"{run['folder']}: {run['model']['folder']} (sha256 {run['model']['sha256']}), {percent(run['rate'])}"
            )
            found.append((report[arm]["name"], told))
    return found
