"""Reports: the terminal's table, Markdown, HTML; hostile text stays text."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from students import Parrot, eval_row, perfect

from picochat.errors import UserError
from picochat.evidence.curves import charts, find_metrics, read_curves
from picochat.evidence.evaluation import evaluate
from picochat.evidence.html_charts import Bar, interval_bars, line_chart
from picochat.evidence.html_page import esc
from picochat.evidence.lanes import Prediction, summarise
from picochat.evidence.model_card import model_card, write_model_card
from picochat.evidence.read_back import read_before, read_eval
from picochat.evidence.report import eval_markdown, eval_table, md, run_name, write_eval
from picochat.evidence.report_html import eval_html, sampled
from picochat.files import sha256_file, sha256_text
from picochat.packs.rows import Row, write_rows

HOSTILE = [
    "<script>alert(1)</script>",
    "</pre></article><script src=https://evil.example/x.js></script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "<!-- --><svg/onload=alert(1)>",
    "&lt;script&gt;",
    "\x00\x1b[31m\u202e\ud800",
    "javascript:alert(1)",
]
Evaluated = tuple[dict[str, Any], list[Prediction]]


class Elements(HTMLParser):
    """All tags with their attributes, the text of all <pre>, and whether tags are balanced."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.pre: list[str] = []
        self.open: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "link", "input", "br", "wbr", "rect", "path", "circle", "polyline"):
            self.open.append(tag)
        if tag == "pre":
            self.pre.append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "pre":
            self.pre[-1] += data


def complete(body: dict[str, Any], n: int, folder: str = "runs/x/best_checkpoint") -> dict[str, Any]:
    head = {
        "kind": "eval chat",
        "picochat": "0.1.0",
        "pack": {"path": "eval.jsonl", "sha256": "ab" * 32, "rows": n},
        "model": {"folder": folder, "sha256": "cd" * 32, "provenance": {"stage": "sft", "inputs": {"chat": "ef"}}},
        "settings": {"max_new_tokens": 256, "temperature": 0.0, "top_k": None, "top_p": None, "seed": 42},
    }
    return {**head, **body}


@pytest.fixture
def evaluated(rows: list[Row]) -> Evaluated:
    predictions, body = evaluate(rows, Parrot(lambda prompt: "no" if prompt == "cat" else perfect(prompt)))
    return complete(body, len(rows)), predictions


def test_the_table_shows_every_lane_its_gates_and_claims(evaluated: Evaluated) -> None:
    table = eval_table(evaluated[0])
    lines = [re.sub(r" +", " ", line.strip()) for line in table.splitlines()]
    assert lines[0].endswith("/ category n rate 95 % interval echo unsupported over-refusal steps")
    assert lines[5] == "weak_skills 7 85.7 % 48.7 – 97.4 % 0.0 % 0.0 % 0.0 % 100.0 %"
    assert lines[8] == "bench_math_addition 4 100.0 % 51.0 – 100.0 % 0.0 % 0.0 % 0.0 % 100.0 %"
    assert len({line.index("%") for line in table.splitlines()[1:10]}) == 1
    assert "multiple choice: 100.0 % of 1 rows where chance gives 25.0 %; adjusted for chance 100.0 %" in table
    assert re.search(r"weak_skills: spelling +≥ 40.0 % +50.0 % .* met \(interval reaches beyond\)", table)
    assert "full: not tested in this pack" in table


def test_the_profile_full_is_a_diagnostic_in_every_form_though_its_gates_are_met(student: Parrot) -> None:
    rows = [
        eval_row("1 + 2?", "bench_math_addition", "full", answer="3"),
        eval_row("cat", "identity", "full", answer="dog"),
    ]
    predictions, body = evaluate(rows, student)
    report = complete(body, len(rows))
    claim = next(claim for claim in report["claims"] if claim["benchmark_profile"] == "full")
    assert claim["status"] == "diagnostic"
    met = {statement["name"]: statement["met"] for statement in claim["statements"]}
    assert met == {"identity": False, "math": True, "echo": True}
    said = "research diagnostic, no public claim"
    assert f"full: {said} (missed: identity)" in eval_table(report)
    assert f"- full: {said}; identity: 0.0 % of 1 rows" in eval_markdown(report, predictions)
    assert f">{said}</span>" in eval_html(report, predictions)
    assert f"- full: {said}; identity: 0.0 % of 1 rows" in model_card(Path("runs/x"), report)


def test_markdown_has_claims_lanes_failures_and_fingerprints(evaluated: Evaluated) -> None:
    text = eval_markdown(*evaluated)
    for line in ("## Claims", "## Lanes", "## Gates", "## By stage", "## By phrasing", "## Why replies failed"):
        assert line in text
    assert "1 of 1 failures:" in text
    assert "| cat | no | c a t | wrong_answer |" in text
    assert "ab" * 32 in text
    assert "cd" * 32 in text


def test_no_form_of_a_release_report_says_a_word_on_skills(rows: list[Row], student: Parrot) -> None:
    release = [{**row, "mixture_profile": "release"} for row in rows if row["category"] in ("identity", "refusal")]
    predictions, body = evaluate(release, student)
    report = complete(body, len(release))
    forms = [eval_table(report), eval_markdown(report, predictions), eval_html(report, predictions)]
    for form in forms:
        assert "identity" in form
        assert not re.search(r"arithmetic|\bmath|spelling|multiple choice", form, flags=re.I)


def test_a_row_of_markdown_tables_has_as_many_cells_as_its_head(evaluated: Evaluated) -> None:
    report, predictions = evaluated
    hostile = [replace(p, reply="a | b\n| c |", prompt="`|`", passed=False, reasons=("empty",)) for p in predictions]
    blocks = re.findall(r"(?:^\|.*\n)+", eval_markdown(report, hostile), flags=re.M)
    assert len(blocks) >= 8
    for block in blocks:
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}) == 1


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_stays_text_in_the_page(evaluated: Evaluated, text: str) -> None:
    report, predictions = evaluated
    tags = {**predictions[0].tags, "category": text, "stage": text}
    spoilt = [
        replace(
            p, reply=text, prompt=text, raw_reply=text, expected=text, tags=tags, passed=False, reasons=("prompt_echo",)
        )
        for p in predictions
    ]
    report = {**report, "model": {**report["model"], "folder": text, "provenance": {text: text}}}
    report["by_category"] = {text: report["overall"]}
    page = eval_html(report, spoilt, curves={f"loss{text}": [(1, 2.0), (2, 1.0)]}, before=report)
    page.encode()
    elements = Elements(page)
    assert elements.open == []
    assert [attributes for tag, attributes in elements.tags if tag == "script"] == [{}]
    assert not [tag for tag, _ in elements.tags if tag in ("img", "iframe", "object", "form")]
    assert all(re.fullmatch("#[a-z-]+", attributes["href"] or "") for tag, attributes in elements.tags if tag == "a")
    assert not [name for _, attributes in elements.tags for name in attributes if name.startswith("on")]
    shown = re.sub(r"[\x00-\x08\x1b\ud800]", "\ufffd", text)
    assert elements.pre.count(shown) == 4 * len(spoilt)


@settings(deadline=None)
@given(st.text(st.characters(codec=None), max_size=80))
def test_escaped_text_comes_back_as_it_was(text: str) -> None:
    elements = Elements(f'<pre title="{esc(text)}">{esc(text)}</pre>')
    assert [tag for tag, _ in elements.tags] == ["pre"]
    plain = re.sub(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]", "\ufffd", text)
    assert elements.pre == [plain]
    assert elements.tags[0][1]["title"] == plain


@settings(deadline=None)
@given(st.text(max_size=80))
def test_markdown_cells_stay_on_one_line_and_hold_no_tag_or_bar(text: str) -> None:
    cell = md(text)
    assert not re.search(r"[\n\r<>]|(?<!\\)\|", cell.replace("\\\\", ""))


@pytest.mark.parametrize("text", HOSTILE[:6])
def test_hostile_text_stays_text_in_markdown(evaluated: Evaluated, text: str) -> None:
    predictions = [replace(p, reply=text, prompt=text, expected=text, passed=False) for p in evaluated[1]]
    predictions = [replace(p, tags=dict.fromkeys(p.tags, text)) for p in predictions]
    report = complete(summarise(predictions), len(predictions), folder=text)
    written = eval_markdown(report, predictions)
    assert not re.search(r"<(?!br)", written)
    assert "https://" not in written
    assert written.count(text[-4:].replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")) > 20


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("bench_math_addition", "bench_math_addition"),
        ("_x_ *y* a_", "\\_x\\_ \\*y\\* a\\_"),
        ("# title", "\\# title"),
        ("- item - x", "\\- item - x"),
        ("1. one", "1\\. one"),
        ("[a](b) `c` | d", "\\[a\\](b) \\`c\\` \\| d"),
        ("a\nb", "a ⏎ b"),
        ("<b> & www.x", "&lt;b&gt; &amp; www&#46;x"),
    ],
)
def test_markdown_is_escaped_where_it_means_something(text: str, written: str) -> None:
    assert md(text) == written


def test_the_page_loads_nothing_and_allows_its_own_script_only(evaluated: Evaluated) -> None:
    import base64
    import hashlib

    page = eval_html(*evaluated)
    assert not re.search(r"(?:src|href)=\"(?!data:,|#)", page)
    assert not re.search(r"https?://", page)
    script = re.search(r"<script>(.*?)</script>", page, flags=re.S)
    assert script is not None
    digest = base64.b64encode(hashlib.sha256(script[1].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in page
    assert 'name="viewport"' in page
    assert "@media print" in page


def test_filters_offer_the_lanes_and_reasons_that_are_shown(evaluated: Evaluated) -> None:
    elements = Elements(eval_html(*evaluated))
    options = [attributes["value"] for tag, attributes in elements.tags if tag == "option"]
    assert options[1:6] == [
        "bench_choice_language",
        "bench_math_addition",
        "bench_spelling_spaced",
        "identity",
        "refusal",
    ]
    assert options[6:] == ["", "wrong_answer", "", "passed", "failed"]
    articles = [attributes for tag, attributes in elements.tags if tag == "article"]
    assert len(articles) == 10
    assert sum(attributes.get("class") == "failed" for attributes in articles) == 1


def test_the_page_shows_some_failures_and_some_passes_of_each_category(evaluated: Evaluated) -> None:
    one = evaluated[1][0]
    many = [replace(one, index=i, passed=i % 2 == 0) for i in range(200)]
    shown = sampled(many)
    assert [sum(p.passed for p in shown), sum(not p.passed for p in shown)] == [8, 20]
    assert [p.index for p in shown] == sorted(p.index for p in shown)
    assert shown[-1].index > 180


def test_the_first_three_of_each_lane_and_verdict_are_shown_before_a_filter_is_chosen(evaluated: Evaluated) -> None:
    report, predictions = evaluated
    many = [replace(predictions[0], index=i, passed=i % 2 == 0) for i in range(200)]
    articles = [attributes for tag, attributes in Elements(eval_html(report, many)).tags if tag == "article"]
    assert len(articles) == 28
    assert sum("more" not in (attributes.get("class") or "").split() for attributes in articles) == 6


@pytest.mark.parametrize(
    ("folder", "name"),
    [("runs/sft/best_checkpoint", "sft"), ("runs/sft/last_checkpoint", "sft"), ("best_checkpoint", "best_checkpoint")],
)
def test_a_model_is_called_after_its_run(folder: str, name: str) -> None:
    assert run_name(folder) == name


def test_files_are_written_together_and_read_back(evaluated: Evaluated, tmp_path: Path) -> None:
    report, predictions = evaluated
    write_eval(tmp_path / "out", report, predictions, "<html>")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "eval_report.html",
        "eval_report.json",
        "eval_report.md",
        "predictions.jsonl",
    ]
    again, read = read_eval(tmp_path / "out")
    assert read == predictions
    assert again == json.loads(json.dumps(report))


@pytest.mark.parametrize(
    "damage",
    [
        {"eval_report.json": None},
        {"predictions.jsonl": None},
        {"predictions.jsonl": ""},
        {"predictions.jsonl": "{}\n"},
        {"eval_report.json": "[]"},
    ],
)
def test_a_damaged_evaluation_is_one_sentence(
    evaluated: Evaluated, tmp_path: Path, damage: dict[str, str | None]
) -> None:
    write_eval(tmp_path, *evaluated, "<html>")
    for name, text in damage.items():
        (tmp_path / name).unlink() if text is None else (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match="eval chat"):
        read_eval(tmp_path)


def test_before_must_be_of_the_same_rows(evaluated: Evaluated, tmp_path: Path, rows: list[Row]) -> None:
    write_rows(tmp_path / "eval.jsonl", rows)
    write_eval(tmp_path / "out", *evaluated, "<html>")
    with pytest.raises(UserError, match=r"other rows \(sha256 abababababab\)"):
        read_before(tmp_path / "out", tmp_path / "eval.jsonl")


def test_bars_tell_both_runs_in_words_and_widths() -> None:
    bars = interval_bars({"math": [Bar(0.9, 0.8, 0.95), Bar(0.1, 0.05, 0.2, "b")]}, {"a": "new", "b": "old"})
    assert 'width="90.00"' in bars
    assert 'width="10.00"' in bars
    assert "math: 90.0 % (interval 80.0 to 95.0 %); 10.0 % (interval 5.0 to 20.0 %)" in bars
    assert "new" in bars


def test_a_long_curve_is_thinned_with_both_ends_kept_and_nan_left_out() -> None:
    chart = line_chart("Loss", {"train": [(step, 1.0 if step else float("nan")) for step in range(10_000)]})
    corners = re.search(r'points="([^"]*)"', chart)
    assert corners is not None
    points = corners[1].split()
    assert len(points) == 300
    assert points[0].startswith("48.0,")
    assert points[-1].startswith("468.0,")
    assert line_chart("Loss", {"train": [(1, float("nan"))]}) == ""


def test_axes_have_round_numbers() -> None:
    curve = [(0.0, 13.0), (200.0, 178.0)]
    texts = re.findall(r">([\d.e%-]+)</text>", line_chart("x", {"y": curve}))
    assert texts == ["0", "50", "100", "150", "200", "0", "50", "100", "150", "200"]
    shares = re.findall(r">([\d.e%-]+)</text>", line_chart("x", {"y": [(1.0, 0.3), (2.0, 0.4)]}, "share"))
    assert shares[:5] == ["0%", "25%", "50%", "75%", "100%"]


def test_a_loss_that_falls_far_is_drawn_by_its_logarithm_and_others_are_not() -> None:
    far = line_chart("Loss", {"train": [(1.0, 8.0), (2.0, 0.02)]}, "log")
    assert "Loss (logarithmic)" in far
    assert re.findall(r">([\d.e-]+)</text>", far)[:4] == ["0.01", "0.1", "1", "10"]
    assert "logarithmic" not in line_chart("Loss", {"train": [(1.0, 8.0), (2.0, 2.0)]}, "log")
    assert "logarithmic" not in line_chart("Loss", {"train": [(1.0, 8.0), (2.0, 0.0)]}, "log")


@pytest.mark.parametrize(
    "curve",
    [
        [(float("nan"), 1.0), (1.0, 2.0), (2.0, 3.0)],
        [(1.0, 2.0), (float("inf"), 1.0), (2.0, float("-inf"))],
        [(1.0, 1e17), (2.0, 1e17)],
        [(1e17, 1.0), (1e17, 2.0)],
        [(1.0, 1e17), (2.0, 1e17 + 16)],
        [(1.0, 1.7e308), (2.0, -1.7e308), (3.0, 1.0)],
        [(1.0, 5e-324), (2.0, 1e290)],
        [(1.0, 5e-324), (2.0, 1e-323)],
    ],
)
@pytest.mark.parametrize("scale", ["linear", "log"])
def test_whatever_finite_numbers_a_curve_holds_they_are_drawn_inside_the_chart(
    curve: list[tuple[float, float]], scale: Literal["linear", "log"]
) -> None:
    corners = re.search(r'points="([^"]*)"', line_chart("Loss", {"train": curve}, scale))
    assert corners is not None
    for corner in corners[1].split():
        x, y = map(float, corner.split(","))
        assert 48 <= x <= 468
        assert 8 <= y <= 216


def test_more_lanes_than_colours_are_told_apart_by_dashes() -> None:
    chart = line_chart("Loss", {f"lane{n}": [(1.0, n), (2.0, n + 1.0)] for n in range(10)})
    assert chart.count("stroke-dasharray") == 2


def test_metrics_become_one_chart_for_losses_rates_and_each_eval_metric(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_text(
        "epoch,eval/full/rate,eval/weak_skills/rate,train/lr,step,train/loss,val/loss,val/loss/identity,data/x\n"
        "0,,,0.004,10,3.5,,,1\n0,,,,20,,2.5,2.0,\n0,0.1,0.2,,20,,,,\n0,,,oops,30,1e400,,,\n"
    )
    assert find_metrics(tmp_path / "best_checkpoint") == tmp_path / "metrics.csv"
    drawn = charts(read_curves(tmp_path / "metrics.csv"))
    assert list(drawn) == ["Loss", "Learning rate", "eval: rate", "Loss by lane: val"]
    assert drawn["Loss"]["val/loss"] == [(20.0, 2.5)]
    assert drawn["eval: rate"] == {"full": [(20.0, 0.1)], "weak_skills": [(20.0, 0.2)]}
    assert drawn["Learning rate"] == {"train/lr": [(10.0, 0.004)]}


def test_the_model_card_claims_what_was_measured_on_these_very_weights(evaluated: Evaluated, tmp_path: Path) -> None:
    folder = tmp_path / "my_run" / "best_checkpoint"
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_text("weights")
    report = evaluated[0]
    with pytest.raises(UserError, match="other weights"):
        write_model_card(folder, report)
    report["model"]["sha256"] = sha256_text("weights")
    card = write_model_card(folder, report).read_text()
    assert card.startswith("---\nlibrary_name: transformers\n")
    assert "# my_run" in card
    assert "- weak_skills: claimed; multiple choice: 100.0 % of 1 rows" in card
    assert "- full: not tested in this pack" in card
    assert sha256_file(folder / "model.safetensors") in card
