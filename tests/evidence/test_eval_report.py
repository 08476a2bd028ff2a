"""The report of an evaluation: terminal, Markdown, JSON, model card; written, and read back."""

import json
import re
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from students import Parrot, complete, eval_row, perfect

from picochat.blocks import markdown_page, terminal
from picochat.evidence.eval_report import eval_json, eval_report, model_card
from picochat.evidence.evaluation import Evaluation, answer_rows, read_eval
from picochat.evidence.html_page import charts, page, read_curves
from picochat.evidence.report import breakdown, facts, write_report
from picochat.packs.rows import Row


@pytest.fixture
def evaluation(rows: list[Row]) -> Evaluation:
    return complete(answer_rows(rows, Parrot(lambda prompt: "no" if prompt == "cat" else perfect(prompt))))


def write(folder: Path, evaluation: Evaluation) -> None:
    write_report(folder, "eval_report", eval_report(evaluation), eval_json(evaluation), evaluation.predictions)


def test_the_terminal_shows_every_lane_the_claims_and_the_gates(evaluation: Evaluation) -> None:
    shown = terminal(*eval_report(evaluation).blocks)
    lines = [re.sub(r" +", " ", line.strip()) for line in shown.splitlines()]
    assert lines[1] == "benchmark profile claim gates missed rows"
    assert "full not tested in this pack – 0" in lines
    assert "weak_skills 7 7 85.7 % 48.7 – 97.4 % 85.7 % 0.0 % 0.0 % 0.0 % 100.0 %" in lines
    assert "bench_math_addition 4 4 100.0 % 51.0 – 100.0 % 100.0 % 0.0 % 0.0 % 0.0 % 100.0 %" in lines
    choice = "multiple choice: 100.0 % of 1 rows where chance gives 25.0 %; adjusted for chance 100.0 %; "
    assert f"{choice}by the likelihood per byte of a label 100.0 %" in lines
    assert re.search(r"weak_skills: spelling +≥ 40.0 % +50.0 % of 2 rows .* point estimate only", shown)


def test_the_profile_full_is_a_diagnostic_in_every_form_though_its_gates_are_met(student: Parrot) -> None:
    rows = [
        eval_row("1 + 2?", "bench_math_addition", "full", answer="3"),
        eval_row("cat", "identity", "full", answer="dog"),
    ]
    evaluation = complete(answer_rows(rows, student))
    claim = next(claim for claim in evaluation.claims if claim.benchmark_profile == "full")
    lucky, missing = "point estimate only", dict.fromkeys(("choice", "refusal", "spelling"), "not tested")
    verdicts = {gate.name: gate.verdict for gate in claim.gates}
    assert verdicts == {"identity": "missed", "math": lucky, "echo": lucky, **missing}
    report, said = eval_report(evaluation), "research diagnostic, no public claim"
    gates = "choice (not tested), identity, refusal (not tested), spelling (not tested)"
    assert re.search(rf"full +{said} +{re.escape(gates)} +2", terminal(*report.blocks))
    assert f"| full | {said} | {gates} | 2 |" in markdown_page(report)
    assert f">{said}</td>" in page(report)
    card = model_card(Path("runs/x"), evaluation)
    assert f"- full: {said}; choice: no row judged, gate at least 50.0 %: not tested; identity: 0.0 % of 1 rows" in card


def test_markdown_has_reasons_and_fingerprints(evaluation: Evaluation) -> None:
    text = markdown_page(eval_report(evaluation))
    for line in (
        "## By skill",
        "## Why replies failed",
        "| wrong_answer | gives another answer | 1 |",
        "ab" * 32,
        "cd" * 32,
    ):
        assert line in text


def test_provenance_is_in_words_without_what_is_null() -> None:
    optimizer = {"name": "muon", "betas": [0.9, 0.95], "matrix_learning_rate": None}
    files = [{"path": "a.jsonl", "reading": {"map": None, "learn": "all"}}, {"path": "b.jsonl"}]
    rows = facts({"optimizer": optimizer, "trained_on": files, "top_k": None, "seed": 42, "config": "config.yaml"}).rows
    assert rows == [
        ("optimizer", "name muon, betas [0.9, 0.95]"),
        ("trained_on", "path a.jsonl, reading learn all; path b.jsonl"),
        ("seed", "42"),
        ("config", "config.yaml"),
    ]
    deep: list[object] = []
    for _ in range(400):
        deep = [{"a": deep}]
    assert facts({"deep": deep}).rows[0][1].endswith("}")  # whatever a folder of somebody else's says


def test_a_breakdown_that_says_nothing_new_is_left_out() -> None:
    one, two = [("direct", "3"), ("overall", "3")], [("known", "1"), ("new", "2"), ("overall", "3")]
    assert breakdown("by_style", ["rows"], one) == breakdown("by_phrasing", ["rows"], two, shown=two) == []
    assert breakdown("by_phrasing", ["rows"], two, shown=one)[0].rows == two
    assert breakdown("by_skill", ["rows"], one)[0].rows == one  # a report has one table at least


def test_no_form_of_a_release_report_says_a_word_on_skills(rows: list[Row], student: Parrot) -> None:
    release = [{**row, "mixture_profile": "release"} for row in rows if row["category"] in ("identity", "refusal")]
    evaluation = complete(answer_rows(release, student))
    report = eval_report(evaluation)
    for form in (
        terminal(*report.blocks),
        markdown_page(report),
        page(report),
        json.dumps(eval_json(evaluation), default=asdict),
    ):
        assert "identity" in form
        assert not re.search(r"arithmetic|\bmath|spelling|multiple choice", form, flags=re.I)


def test_what_is_written_is_read_back_as_it_was(evaluation: Evaluation, tmp_path: Path) -> None:
    write(tmp_path / "out", evaluation)
    names = ["eval_report.html", "eval_report.json", "eval_report.md", "predictions.jsonl"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == names
    again = read_eval(tmp_path / "out")
    assert replace(again, folder="", policy=evaluation.policy) == evaluation


def test_metrics_become_one_chart_for_losses_rates_and_each_eval_metric(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_text(
        "epoch,eval/full/rate,eval/weak_skills/rate,train/lr,step,train/loss,val/loss,val/loss/identity,data/x\n"
        "0,,,0.004,10,3.5,,,1\n0,,,,20,,2.5,2.0,\n0,0.1,0.2,,20,,,,\n0,,,oops,30,1e400,,,\n"
    )
    charted = charts(read_curves(tmp_path / "metrics.csv"))
    assert [chart.title for chart in charted] == ["Loss"]  # the others have single points
    with (tmp_path / "metrics.csv").open("a") as file:
        file.write("0,,,0.002,30,3.4,,,\n0,0.3,,,30,,,1.9,\n")
    drawn = {chart.title: chart for chart in charts(read_curves(tmp_path / "metrics.csv"))}
    assert list(drawn) == ["Loss", "Learning rate", "eval: rate", "Loss by lane: val"]
    assert [chart.scale for chart in drawn.values()] == ["log", "linear", "share", "log"]
    assert drawn["Loss"].curves["val/loss"] == [(20.0, 2.5)]
    assert drawn["eval: rate"].curves == {"full": [(20.0, 0.1), (30.0, 0.3)], "weak_skills": [(20.0, 0.2)]}
    assert drawn["Learning rate"].curves == {"train/lr": [(10.0, 0.004), (30.0, 0.002)]}


def test_the_model_card_claims_what_was_measured_and_names_the_weights(evaluation: Evaluation) -> None:
    card = model_card(Path("my_run/best_checkpoint"), evaluation)
    assert card.startswith("---\nlibrary_name: transformers\n")
    claim = "- weak_skills: point estimate only: short arithmetic and spelling; math: 100.0 % of 4 rows"
    for line in ("# my_run", claim, "- full: not tested in this pack", "```\nfrom transformers", "cd" * 32):
        assert line in card
