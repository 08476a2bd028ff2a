"""Reports in words. In: report dict and predictions. Out: the terminal's table, Markdown, four files. Next: a reader.

    benchmark profile / component / category     n    rate   95 % interval    echo  unsupported  over-refusal  steps
    weak_skills                                346  97.4 %   95.1 – 98.6 %   0.0 %        0.0 %         0.3 %  98.0 %
      weak_skills                              346  97.4 %   …
        bench_math_addition                     63  98.4 %   …

Model text is data: in Markdown every sign with a meaning is escaped, in HTML (report_html) every character that is one.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from picochat.evidence.lanes import SKILL_NAMES, UNTAGGED, Prediction, percent, shown_names
from picochat.evidence.scoring import REASONS
from picochat.files import write_files

EVAL_FILES = ("eval_report.json", "eval_report.md", "eval_report.html", "predictions.jsonl")
COLUMNS = ("n", "rate", "95 % interval", "echo", "unsupported", "over-refusal", "steps")
_TABLES = (
    ("By skill", "by_skill"),
    ("By category", "by_category"),
    ("By stage", "by_stage"),
    ("By phrasing", "by_phrasing"),
    ("By category and phrasing", "by_category_and_phrasing"),
    ("By answer style", "by_style"),
    ("By knowledge", "by_knowledge"),
)
_STATUS = {"not tested": "not tested in this pack", "diagnostic": "research diagnostic, no public claim"}
_SAMPLES = 12  # failures shown in Markdown; predictions.jsonl has all


def write_eval(out_dir: str | Path, report: Mapping[str, Any], predictions: Sequence[Prediction], html: str) -> None:
    """Write the four files of an evaluation so that they appear together."""
    contents = (
        json.dumps(report, indent=2, ensure_ascii=False) + "\n",
        eval_markdown(report, predictions),
        html,
        "".join(json.dumps(asdict(prediction), ensure_ascii=False) + "\n" for prediction in predictions),
    )
    write_files({Path(out_dir) / name: text for name, text in zip(EVAL_FILES, contents, strict=True)})


def eval_table(report: Mapping[str, Any]) -> str:
    """The table for the terminal, with choice levels, gates and claims beneath it."""
    lines = [["  " * (len(lane["path"]) - 1) + lane["path"][-1], *cells(lane)] for lane in report["table"]]
    head = ["benchmark profile / component / category", *COLUMNS]
    parts = [aligned([head, *lines, ["overall", *cells(report["overall"])]])]
    choice = report["overall"]["choice"]
    if choice:
        parts.append(choice_sentence(choice))
    if report["gates"]:
        parts.append(aligned([["gate", "limit", "measured", "95 % interval", ""], *map(gate_cells, report["gates"])]))
    parts.append("\n".join(_status(claim) for claim in report["claims"]))
    return "\n\n".join(parts)


def eval_markdown(report: Mapping[str, Any], predictions: Sequence[Prediction]) -> str:
    """The report as Markdown."""
    model, pack = report["model"], report["pack"]
    parts = [
        f"# Evaluation of {md(model['folder'])}",
        f"{pack['rows']} eval rows of {md(pack['path'])}; {report['overall']['passed']} passed "
        f"({percent(report['overall']['rate'])}, 95 % interval {interval(report['overall']['ci95'])}).",
        "## Claims",
        "\n".join(f"- {md(line)}" for line in claim_lines(report["claims"])),
        "## Lanes",
        md_table(
            ["benchmark profile", "component", "category", *COLUMNS],
            [[*_nested(lane["path"]), *cells(lane)] for lane in report["table"]],
        ),
    ]
    if report["overall"]["choice"]:
        parts.append(choice_sentence(report["overall"]["choice"]))
    if report["gates"]:
        gates = md_table(
            ["gate", "limit", "measured", "95 % interval", ""], (map(md, gate_cells(gate)) for gate in report["gates"])
        )
        parts += ["## Gates", gates]
    for title, grouping in _TABLES:
        if list(report[grouping]) == [UNTAGGED]:
            continue
        rows = [[md(name), *cells(lane)] for name, lane in named_lanes(report, grouping).items()]
        parts += [f"## {title}", md_table([grouping_name(grouping), *COLUMNS], rows)]
    parts += ["## Why replies failed", _reasons(report["overall"]["reasons"])]
    failures = [prediction for prediction in predictions if not prediction.passed]
    if failures:
        step = max(1, len(failures) // _SAMPLES)
        shown = failures[::step][:_SAMPLES]
        rows = [[md(clip(text)) for text in (p.prompt, p.reply, p.expected or "", ", ".join(p.reasons))] for p in shown]
        parts += [f"{len(shown)} of {len(failures)} failures:", md_table(["prompt", "reply", "expected", "why"], rows)]
    parts += ["## Where this comes from", _md_facts(report)]
    return "\n\n".join(parts) + "\n"


def cells(lane: Mapping[str, Any]) -> list[str]:
    """One lane's `COLUMNS`."""
    steps = lane["steps_correct"]
    return [
        str(lane["n"]),
        percent(lane["rate"]),
        interval(lane["ci95"]),
        percent(lane["prompt_echo"]),
        percent(lane["unsupported_claims"]),
        percent(lane["over_refusal"]),
        percent(steps["lines"] if steps else None),
    ]


def gate_cells(gate: Mapping[str, Any]) -> list[str]:
    """A gate in a table: name, limit, measured, interval, verdict."""
    sign = "≥" if gate["direction"] == "at least" else "≤"
    verdict = "met" if gate["met"] else "MISSED"
    if gate["met"] and not gate["sure"]:
        verdict += " (interval reaches beyond)"
    name = f"{gate['benchmark_profile']}: {SKILL_NAMES.get(gate['name'], gate['name'])}"
    return [name, f"{sign} {percent(gate['limit'])}", percent(gate["rate"]), interval(gate["ci95"]), verdict]


def _status(claim: Mapping[str, Any]) -> str:
    missed = ", ".join(statement["name"] for statement in claim["statements"] if not statement["met"])
    words = f"{claim['benchmark_profile']}: {status_words(claim['status'])}"
    return f"{words} (missed: {missed})" if missed else words


def status_words(status: str) -> str:
    """The status of a claim as every form of the report says it."""
    return _STATUS.get(status, status)


def claim_lines(claims: Iterable[Mapping[str, Any]]) -> list[str]:
    """One line for each benchmark profile, its statements behind it."""
    lines = []
    for claim in claims:
        head = f"{claim['benchmark_profile']}: {status_words(claim['status'])}"
        lines.append("; ".join([head, *(statement["text"] for statement in claim["statements"])]))
    return lines


def choice_sentence(choice: Mapping[str, Any]) -> str:
    """Chance level and adjusted rate in words."""
    return (
        f"multiple choice: {percent(choice['rate'])} of {choice['n']} rows where chance gives "
        f"{percent(choice['chance'])}; adjusted for chance {percent(choice['adjusted'])}"
    )


def interval(ends: Sequence[float]) -> str:
    """[0.8654, 0.989] → "86.5 – 98.9 %"."""
    return f"{100 * ends[0]:.1f} – {100 * ends[1]:.1f} %"


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Columns under each other: the first to the left, the others to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for first, *others in rows:
        right = (cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True))
        lines.append("  ".join([first.ljust(widths[0]), *right]).rstrip())
    return "\n".join(lines)


def clip(text: str, length: int = 200) -> str:
    """At most `length` characters, so that a table stays a table."""
    return text if len(text) <= length else text[: length - 1] + "…"


def md(text: str) -> str:
    """Any text as one line of Markdown that shows it and means nothing."""
    text = re.sub(r"[\x00-\x08\x0b-\x1f\x7f]", "\ufffd", text.replace("\r\n", "\n").replace("\r", "\n"))
    text = re.sub(r"[\\`*\[\]|~$]|(?<![^\W_])_|_(?![^\W_])|^\s*(?:[-+#=]|\d+[.)](?=\s))", _escaped, text)
    text = (
        text.replace("&", "&amp;")
        .replace("<", "&lt;")
        .replace(">", "&gt;")
        .replace("://", "&#58;//")
        .replace("www.", "www&#46;")
    )
    return text.replace("\t", " ").replace("\n", " ⏎ ")


def _escaped(found: re.Match[str]) -> str:
    return f"{found[0][:-1]}\\{found[0][-1]}"


def md_table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A Markdown table; the cells are Markdown already."""
    head = list(head)
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def named_lanes(report: Mapping[str, Any], grouping: str) -> dict[str, Any]:
    """The lanes of a grouping under the names that are shown: skills have names of their own."""
    return shown_names(report[grouping]) if grouping == "by_skill" else dict(report[grouping])


def grouping_name(grouping: str) -> str:
    """What the lanes of a grouping are: by_category_and_phrasing → "category and phrasing"."""
    return {"by_style": "answer style"}.get(grouping, grouping.removeprefix("by_").replace("_", " "))


def run_name(folder: str | Path) -> str:
    """What a model is called: RUN/best_checkpoint and RUN/last_checkpoint after their run, others after themselves."""
    path = Path(folder)
    inner = path.name in ("best_checkpoint", "last_checkpoint") and path.parent.name
    return path.parent.name if inner else path.name or str(folder)


def report_facts(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Fingerprints and settings: where a report comes from."""
    model, pack = report["model"], report["pack"]
    return [
        ("picochat", report["picochat"]),
        ("eval rows", f"{pack['path']} (sha256 {pack['sha256']})"),
        ("model", f"{model['folder']} (model.safetensors sha256 {model['sha256']})"),
        *((f"model: {key}", _compact(value)) for key, value in model["provenance"].items()),
        *((f"setting: {key}", _compact(value)) for key, value in report["settings"].items()),
    ]


def _md_facts(report: Mapping[str, Any]) -> str:
    return md_table(["what", "value"], [[md(key), md(clip(value, 600))] for key, value in report_facts(report)])


def _compact(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _nested(path: Sequence[str]) -> list[str]:
    return [*(md(name) for name in path), *["**all**"] * (3 - len(path))]


def _reasons(reasons: Mapping[str, int]) -> str:
    if not reasons:
        return "None did."
    return md_table(["reason", "rows", "meaning"], [[md(name), str(n), REASONS[name]] for name, n in reasons.items()])
