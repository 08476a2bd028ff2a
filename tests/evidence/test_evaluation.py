"""Rows and an answerer become predictions, lanes, gates and claims."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from students import Parrot, eval_row, perfect

from picochat.errors import UserError
from picochat.evidence.evaluation import answer_rows, evaluate, load_eval_rows
from picochat.evidence.lanes import bucket, percent, summarise
from picochat.packs.rows import Row, write_rows


def test_a_perfect_student_passes_every_lane(rows: list[Row], student: Parrot) -> None:
    predictions, report = evaluate(rows, student)
    assert [prediction.reasons for prediction in predictions] == [()] * 10
    assert report["overall"]["rate"] == 1.0
    assert {name: lane["n"] for name, lane in report["by_category"].items()} == {
        "bench_math_addition": 4,
        "bench_spelling_spaced": 2,
        "bench_choice_language": 1,
        "identity": 2,
        "refusal": 1,
    }
    assert report["by_benchmark_profile"]["weak_skills"]["n"] == 7
    assert report["by_phrasing"]["new"]["n"] == 2
    both = report["by_category_and_phrasing"]
    assert {name.rpartition(", ")[2] for name in both} == set(report["by_phrasing"])
    assert sum(lane["n"] for lane in both.values()) == report["overall"]["n"]
    assert report["by_category"]["bench_math_addition"]["steps_correct"]["all"] == 1.0
    assert json.loads(json.dumps(report)) == report


def test_predictions_come_in_the_order_of_the_rows_though_choices_are_scored_apart(
    rows: list[Row], student: Parrot
) -> None:
    mixed = [rows[9], *rows[:9]]
    predictions = answer_rows(mixed, student)
    assert [prediction.id for prediction in predictions] == [row["id"] for row in mixed]
    assert predictions[0].reply == "A"
    assert predictions[0].raw_reply is None


def test_the_table_nests_profile_component_category(rows: list[Row], student: Parrot) -> None:
    _, report = evaluate(rows, student)
    assert [(line["path"], line["n"]) for line in report["table"]] == [
        (["release_behavior"], 3),
        (["release_behavior", "behavior_anchor"], 3),
        (["release_behavior", "behavior_anchor", "identity"], 2),
        (["release_behavior", "behavior_anchor", "refusal"], 1),
        (["weak_skills"], 7),
        (["weak_skills", "weak_skills"], 7),
        (["weak_skills", "weak_skills", "bench_choice_language"], 1),
        (["weak_skills", "weak_skills", "bench_math_addition"], 4),
        (["weak_skills", "weak_skills", "bench_spelling_spaced"], 2),
    ]


def test_shares_have_the_right_denominators(rows: list[Row]) -> None:
    def half_refusing(prompt: str) -> str:
        if prompt.startswith("What time"):
            return "It is noon."
        return "I cannot tell." if prompt in ("cat", "1 + 2?") else perfect(prompt)

    predictions, report = evaluate(rows, Parrot(half_refusing))
    overall = report["overall"]
    assert overall["passed"] == 7  # 10 rows, of which 9 are generated and 8 both generated and answerable
    assert overall["over_refusal"] == pytest.approx(2 / 8)
    assert overall["unsupported_claims"] == pytest.approx(1 / 9)
    assert overall["prompt_echo"] == 0.0
    assert overall["reasons"] == {"wrong_answer": 1, "unsupported_claim": 1, "over_refusal": 2, "no_final_answer": 1}
    only_choice = bucket([prediction for prediction in predictions if prediction.choice_scores])
    assert (only_choice["prompt_echo"], only_choice["over_refusal"]) == (None, None)


def test_choice_lanes_show_chance_and_the_adjusted_rate(student: Parrot) -> None:
    rows = [
        eval_row(f"p{i}", "bench_choice_science", "full", choice_labels=["A", "B", "C", "D"], correct_choice=right)
        for i, right in enumerate("AABCD" + "AAAAA")
    ]
    choice = evaluate(rows, student)[1]["by_category"]["bench_choice_science"]["choice"]
    assert choice["chance"] == 0.25
    assert choice["rate"] == 0.7
    assert choice["adjusted"] == pytest.approx(0.6)  # (0.70 - 0.25) / 0.75


def test_rows_without_tags_are_counted_in_an_untagged_lane(student: Parrot) -> None:
    rows: list[Row] = [{"messages": [{"role": "user", "content": "cat"}], "answer": "c a t"}]
    predictions, report = evaluate(rows, student)
    assert predictions[0].passed
    assert report["by_benchmark_profile"]["(untagged)"]["n"] == 1
    assert [line["path"] for line in report["table"]] == [["(untagged)"] * depth for depth in (1, 2, 3)]
    assert [(claim["benchmark_profile"], claim["status"]) for claim in report["claims"]] == [
        ("release_behavior", "not tested"),
        ("weak_skills", "not tested"),
        ("full", "not tested"),
        ("(untagged)", "no gate"),
    ]


def test_gates_are_met_and_missed_per_benchmark_profile(rows: list[Row]) -> None:
    _, report = evaluate(rows, Parrot(lambda prompt: "no" if prompt in ("cat", "dog") else perfect(prompt)))
    gates = {(gate["benchmark_profile"], gate["name"]): gate["met"] for gate in report["gates"]}
    assert gates == {
        ("release_behavior", "identity"): True,
        ("release_behavior", "refusal"): True,
        ("release_behavior", "echo"): True,
        ("weak_skills", "choice"): True,
        ("weak_skills", "math"): True,
        ("weak_skills", "spelling"): False,
        ("weak_skills", "echo"): True,
    }
    status = {claim["benchmark_profile"]: claim["status"] for claim in report["claims"]}
    assert status == {"release_behavior": "claimed", "weak_skills": "failed its gate", "full": "not tested"}


def test_a_gate_met_by_few_rows_says_that_the_interval_reaches_beyond_it(rows: list[Row], student: Parrot) -> None:
    predictions, _ = evaluate(rows, student)
    identity = [replace(p, index=i) for i in range(50) for p in predictions if p.tag("category") == "identity"]
    few = summarise(identity[:2])["claims"][0]["statements"][0]["text"]
    many = summarise(identity)["claims"][0]["statements"][0]["text"]
    assert few == (
        "identity: 100.0 % of 2 rows (95 % interval 34.2 % to 100.0 %), gate at least 60.0 % met, "
        "though the interval reaches beyond it"
    )
    assert many == "identity: 100.0 % of 100 rows (95 % interval 96.3 % to 100.0 %), gate at least 60.0 % met"


def test_a_release_pack_never_yields_a_word_on_skills(rows: list[Row], student: Parrot) -> None:
    release = [{**row, "mixture_profile": "release"} for row in rows if row["category"] in ("identity", "refusal")]
    text = json.dumps(evaluate(release, student)[1]).casefold()
    for word in ("arithmetic", "math", "spelling", "choice_"):
        assert word not in text


def test_gates_can_be_set(rows: list[Row], student: Parrot) -> None:
    predictions, _ = evaluate(rows, student)
    gates = summarise(predictions, {"math": 1.01})["gates"]
    assert [(gate["name"], gate["limit"], gate["met"]) for gate in gates] == [("math", 1.01, False)]


def test_a_check_that_cannot_be_applied_is_named_by_file_and_line(tmp_path: Path, rows: list[Row]) -> None:
    path = tmp_path / "eval.jsonl"
    write_rows(path, [rows[0], {**rows[1], "must_include": "word"}])
    with pytest.raises(UserError, match=r"eval\.jsonl:2: 'must_include' must be a list of strings"):
        load_eval_rows(path)


def test_percent() -> None:
    assert (percent(None), percent(0.9583), percent(0.0)) == ("–", "95.8 %", "0.0 %")
