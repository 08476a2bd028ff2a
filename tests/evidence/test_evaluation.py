"""Rows and an answerer become predictions, lanes, gates and claims."""

from dataclasses import replace

import pytest
from students import Parrot, complete, eval_row, perfect

from picochat.evidence.evaluation import Claim, Evaluation, answer_rows, check_gates
from picochat.evidence.lanes import count, nested
from picochat.evidence.words import claim_line
from picochat.packs.rows import Row


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
    assert steps == 1.0


def test_predictions_come_in_the_order_of_the_rows_though_choices_are_scored_apart(
    rows: list[Row], student: Parrot
) -> None:
    mixed = [rows[9], *rows[:9]]
    predictions = answer_rows(mixed, student)
    assert [prediction.id for prediction in predictions] == [row["id"] for row in mixed]
    assert (predictions[0].reply, predictions[0].raw_reply) == ("A", None)


def test_the_table_nests_profile_component_category(rows: list[Row], student: Parrot) -> None:
    release, skills = ("release_behavior", "behavior_anchor"), ("weak_skills", "weak_skills")
    below = {(*release, "identity"): 2, (*release, "refusal"): 1, (*skills, "bench_choice_language"): 1}
    below |= {(*skills, "bench_math_addition"): 4, (*skills, "bench_spelling_spaced"): 2}
    found = {path: own.n for path, own in nested(answer_rows(rows, student)).items()}
    assert found == {release[:1]: 3, release: 3, skills[:1]: 7, skills: 7, **below}


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
    rows[0]["answer"] = "the cat"  # what the label stands for
    choice = count(answer_rows(rows, student)).choice
    assert choice is not None and (choice.chance, choice.rate) == (0.25, 0.7)
    assert choice.adjusted == pytest.approx(0.6)  # (0.70 - 0.25) / 0.75
    assert choice.per_byte == 0.7


def test_the_likelihood_per_byte_is_that_of_the_labels_bytes(student: Parrot) -> None:
    (one,) = answer_rows([eval_row("?", "c", "full", choice_labels=["はい", "abc"], correct_choice="はい")], student)
    # -3.0 / 6 bytes is more than -2.4 / 3, -3.0 / 2 characters is less, and so is -3.0
    choice = count([replace(one, passed=False, choice_scores={"はい": -3.0, "abc": -2.4})]).choice
    assert choice is not None and (choice.rate, choice.per_byte) == (0.0, 1.0)


def test_strict_and_lenient_stand_side_by_side_and_another_language_counts_in_neither() -> None:
    rows = [eval_row(f"{n}?", "sums", "mine", answer="42") for n in range(4)]
    said = {"0?": "42", "1?": "$42.00", "2?": "#### 42", "3?": "41"}
    lane = count(answer_rows(rows, Parrot(said.__getitem__)))
    assert (lane.rate, lane.strict) == (0.75, 0.25)
    said = {"0?": "Das kann ich leider nicht wissen.", "1?": "I don't know.", "2?": "It is noon.", "3?": "Not now."}
    lane = count(
        answer_rows([eval_row(asked, "refusal", "mine", answerable=False) for asked in said], Parrot(said.__getitem__))
    )
    assert (lane.n, lane.not_judged) == (3, 1)


def test_rows_without_tags_are_counted_in_an_untagged_lane(student: Parrot) -> None:
    found = evaluated([{"messages": [{"role": "user", "content": "cat"}], "answer": "c a t"}], student)
    assert {name: lane.passed for name, lane in found.lanes("by_benchmark_profile").items()} == {"(untagged)": 1}
    assert [(claim.benchmark_profile, claim.status) for claim in found.claims] == [("(untagged)", "no gate")]


def test_gates_are_met_and_missed_per_benchmark_profile(rows: list[Row]) -> None:
    found = evaluated(rows, Parrot(lambda prompt: "no" if prompt in ("cat", "dog") else perfect(prompt)))
    gates = [gate for claim in found.claims for gate in claim.gates]
    assert {(gate.benchmark_profile, gate.name): gate.verdict for gate in gates} == {
        ("release_behavior", "identity"): "point estimate only",  # 2 of 2
        ("release_behavior", "refusal"): "point estimate only",
        ("release_behavior", "echo"): "point estimate only",
        ("weak_skills", "math"): "met",  # 4 of 4: from 51 % on, where 30 % were asked for
        ("weak_skills", "spelling"): "missed",
        ("weak_skills", "echo"): "point estimate only",
    }
    status = {claim.benchmark_profile: claim.status for claim in found.claims}
    assert status == {"release_behavior": "point estimate only", "weak_skills": "failed its gate", "full": "not tested"}


def test_a_gate_is_met_where_the_interval_says_so_and_rows_of_one_problem_are_one_piece_of_evidence(
    student: Parrot,
) -> None:
    def line(rows: int, problems: int) -> str:
        asked = [
            eval_row(f"Who {n}?", "identity", "release_behavior", must_include=["Picochat"], cluster=f"{n % problems}")
            for n in range(rows)
        ]
        asked += [eval_row(f"What time {n}?", "refusal", "release_behavior", answerable=False) for n in range(rows)]
        return claim_line(complete(answer_rows(asked, student)).claims[0])

    said = "says who it is, and declines what it cannot know or do; identity: 100.0 % of"
    few = f"release_behavior: point estimate only: {said} 2 rows (95 % interval 34.2 – 100.0 %), gate at least 60.0 %: "
    assert line(2, 2).startswith(f"{few}point estimate only; refusal: 100.0 % of 2 rows (")
    met = f"release_behavior: claimed: {said} 100 rows (95 % interval 96.3 – 100.0 %), gate at least 60.0 %: met; "
    assert line(100, 100).startswith(f"{met}refusal: 100.0 % of 100 rows (")
    assert "100.0 % of 100 rows, 10 problems (95 % interval 80.3 – 100.0 %)" in line(100, 10)
    assert "100 rows, 9 problems (no interval: fewer than 10 problems), gate at least 60.0 %: point" in line(100, 9)


def test_a_claim_whose_gates_were_not_all_tested_is_not_made(student: Parrot) -> None:
    asked = [eval_row(f"Who {n}?", "identity", "release_behavior", must_include=["Picochat"]) for n in range(100)]
    refusals = [eval_row("What time?", "refusal", "release_behavior", answerable=False) for _ in range(9)]
    abroad = Parrot(lambda prompt: "Das weiß ich nicht." if prompt == "What time?" else "I am Picochat.")
    for rows, speaker in ((asked, student), (asked + refusals, abroad)):  # no row, or none that the rules read
        claim = complete(answer_rows(rows, speaker)).claims[0]
        assert (claim.status, claim.words) == ("partly tested", "")
        assert {gate.name: gate.verdict for gate in claim.gates} == {
            "identity": "met",
            "refusal": "not tested",
            "echo": "met",
        }
        assert "refusal: no row judged, gate at least 75.0 %: not tested" in claim_line(claim)


def test_an_echo_counts_against_its_gate_where_the_mixture_does_not_judge_it(student: Parrot) -> None:
    (one,) = answer_rows([eval_row("Who?", "identity", "x", must_include=["Picochat"])], student)
    (gate,) = check_gates("x", [replace(one, signals=("prompt_echo",))], {"echo": 0.05})
    assert gate.verdict == "missed"
    chosen = replace(one, choice_scores={"A": -1.0})
    assert check_gates("x", [chosen], {"echo": 0.05}) == []  # a choice by likelihood cannot echo


def test_rounding_never_shows_a_rate_as_the_limit_that_it_misses(student: Parrot) -> None:
    (one,) = answer_rows([eval_row("Who?", "identity", "x", must_include=["Picochat"])], student)
    replies = [replace(one, passed=n >= 100, cluster=str(n)) for n in range(9600)]  # 98.958 %
    said = claim_line(Claim("x", "failed its gate", "", 9600, check_gates("x", replies, {"identity": 0.99})))
    assert said.startswith("x: failed its gate; identity: 98.96 % of 9600 rows (")
    assert said.endswith("gate at least 99.0 %: missed")
