"""Rows and an answerer become predictions, lanes, gates and claims."""

from dataclasses import replace
from pathlib import Path

import pytest
from students import Parrot, complete, eval_row, perfect

from picochat.errors import UserError
from picochat.evidence.evaluation import Evaluation, answer_rows, load_eval_rows
from picochat.evidence.gates import check_gates, limits_with
from picochat.evidence.lanes import count, nested
from picochat.evidence.words import claim_line
from picochat.packs.rows import Row, write_rows


def evaluated(rows: list[Row], student: Parrot) -> Evaluation:
    return complete(answer_rows(rows, student))


def test_a_perfect_student_passes_every_lane(rows: list[Row], student: Parrot) -> None:
    found = evaluated(rows, student)
    assert [prediction.reasons for prediction in found.predictions] == [()] * 10
    assert found.overall.rate == 1.0
    assert {name: lane.n for name, lane in found.lanes("by_category").items()} == {
        "bench_choice_language": 1,
        "bench_math_addition": 4,
        "bench_spelling_spaced": 2,
        "identity": 2,
        "refusal": 1,
    }
    assert found.lanes("by_benchmark_profile")["weak_skills"].n == 7
    assert found.lanes("by_skill")["math"].n == 4
    assert found.lanes("by_phrasing")["new"].n == 2
    both = found.lanes("by_category_and_phrasing")
    assert {name.rpartition(", ")[2] for name in both} == {"known", "new"}
    assert sum(lane.n for lane in both.values()) == 10
    steps = found.lanes("by_category")["bench_math_addition"].steps_correct
    assert steps is not None and (steps.n, steps.all) == (4, 1.0)


def test_predictions_come_in_the_order_of_the_rows_though_choices_are_scored_apart(
    rows: list[Row], student: Parrot
) -> None:
    mixed = [rows[9], *rows[:9]]
    predictions = answer_rows(mixed, student)
    assert [prediction.id for prediction in predictions] == [row["id"] for row in mixed]
    assert (predictions[0].reply, predictions[0].raw_reply) == ("A", None)


def test_the_table_nests_profile_component_category(rows: list[Row], student: Parrot) -> None:
    assert {path: len(own) for path, own in nested(answer_rows(rows, student)).items()} == {
        ("release_behavior",): 3,
        ("release_behavior", "behavior_anchor"): 3,
        ("release_behavior", "behavior_anchor", "identity"): 2,
        ("release_behavior", "behavior_anchor", "refusal"): 1,
        ("weak_skills",): 7,
        ("weak_skills", "weak_skills"): 7,
        ("weak_skills", "weak_skills", "bench_choice_language"): 1,
        ("weak_skills", "weak_skills", "bench_math_addition"): 4,
        ("weak_skills", "weak_skills", "bench_spelling_spaced"): 2,
    }


def test_shares_have_the_right_denominators(rows: list[Row]) -> None:
    def half_refusing(prompt: str) -> str:
        if prompt.startswith("What time"):
            return "It is noon."
        return "I cannot tell." if prompt in ("cat", "1 + 2?") else perfect(prompt)

    predictions = answer_rows(rows, Parrot(half_refusing))
    overall = count(predictions)
    assert overall.passed == 7  # 10 rows, of which 9 are generated and 8 both generated and answerable
    assert (overall.over_refusal, overall.unsupported_claims, overall.prompt_echo) == (2 / 8, 1 / 9, 0.0)
    assert overall.reasons == {"wrong_answer": 1, "unsupported_claim": 1, "over_refusal": 2, "no_final_answer": 1}
    only_choice = count([prediction for prediction in predictions if prediction.choice_scores])
    assert (only_choice.prompt_echo, only_choice.over_refusal) == (None, None)


def test_choice_lanes_show_chance_and_the_adjusted_rate(student: Parrot) -> None:
    rows = [
        eval_row(f"p{i}", "bench_choice_science", "full", choice_labels=["A", "B", "C", "D"], correct_choice=right)
        for i, right in enumerate("AABCD" + "AAAAA")
    ]
    choice = count(answer_rows(rows, student)).choice
    assert choice is not None and (choice.chance, choice.rate) == (0.25, 0.7)
    assert choice.adjusted == pytest.approx(0.6)  # (0.70 - 0.25) / 0.75


def test_rows_without_tags_are_counted_in_an_untagged_lane(student: Parrot) -> None:
    found = evaluated([{"messages": [{"role": "user", "content": "cat"}], "answer": "c a t"}], student)
    assert {name: lane.passed for name, lane in found.lanes("by_benchmark_profile").items()} == {"(untagged)": 1}
    assert [(claim.benchmark_profile, claim.status) for claim in found.claims] == [
        ("release_behavior", "not tested"),
        ("weak_skills", "not tested"),
        ("full", "not tested"),
        ("(untagged)", "no gate"),
    ]


def test_gates_are_met_and_missed_per_benchmark_profile(rows: list[Row]) -> None:
    found = evaluated(rows, Parrot(lambda prompt: "no" if prompt in ("cat", "dog") else perfect(prompt)))
    assert {(gate.benchmark_profile, gate.name): gate.met for gate in found.gates} == {
        ("release_behavior", "identity"): True,
        ("release_behavior", "refusal"): True,
        ("release_behavior", "echo"): True,
        ("weak_skills", "choice"): True,
        ("weak_skills", "math"): True,
        ("weak_skills", "spelling"): False,
        ("weak_skills", "echo"): True,
    }
    status = {claim.benchmark_profile: claim.status for claim in found.claims}
    assert status == {"release_behavior": "claimed", "weak_skills": "failed its gate", "full": "not tested"}


def test_a_gate_met_by_few_rows_says_that_the_interval_reaches_beyond_it(rows: list[Row], student: Parrot) -> None:
    identity = [one for one in answer_rows(rows, student) if one.tag("category") == "identity"]
    few, many = (claim_line(complete(identity * times).claims[0]) for times in (1, 50))
    assert few.startswith(
        "release_behavior: claimed; identity: 100.0 % of 2 rows (95 % interval 34.2 % to 100.0 %), "
        "gate at least 60.0 % met, though the interval reaches beyond it; prompt echo: 0.0 % of 2 rows"
    )
    assert "identity: 100.0 % of 100 rows (95 % interval 96.3 % to 100.0 %), gate at least 60.0 % met;" in many


def test_gates_can_be_set(rows: list[Row], student: Parrot) -> None:
    gates = check_gates(answer_rows(rows, student), {"math": 1.01})
    assert [(gate.name, gate.limit, gate.met) for gate in gates] == [("math", 1.01, False)]
    assert limits_with(["math=0.5", "echo=0"])["math"] == 0.5


@pytest.mark.parametrize("change", ["maths=0.5", "math=2", "math=nan", "math", "math=half"])
def test_a_gate_that_is_none_is_refused(change: str) -> None:
    with pytest.raises(UserError, match=f"--gate {change} is not NAME=SHARE"):
        limits_with([change])


def test_replies_are_the_same_evaluation_but_for_their_limits(rows: list[Row], student: Parrot) -> None:
    found = evaluated(rows, student)
    stricter = replace(found, limits={"identity": 1.0, "echo": 0.0})
    assert [claim.status for claim in stricter.claims] == ["claimed", "no gate", "not tested"]


def test_a_check_that_cannot_be_applied_is_named_by_file_and_line(tmp_path: Path, rows: list[Row]) -> None:
    path = tmp_path / "eval.jsonl"
    write_rows(path, [rows[0], {**rows[1], "must_include": "word"}])
    with pytest.raises(UserError, match=r"eval\.jsonl:2: 'must_include' must be a list of strings"):
        load_eval_rows(path)
