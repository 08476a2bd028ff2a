"""Every scoring rule with replies that pass and replies that fail, all written by hand."""

import json
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from students import Parrot, ask

from picochat.evidence.evaluation import answer_rows
from picochat.evidence.habits import echoes, is_looping
from picochat.evidence.lanes import count
from picochat.evidence.scoring import REASONS, score, score_choice
from picochat.evidence.texts import normalise

CASES = tomllib.loads((Path(__file__).parent / "verdicts.toml").read_text(encoding="utf-8"))
ROWS = {name: ask(**row) for name, row in CASES["rows"].items()}
GENERATED = (Path(__file__).parent / "verdicts.jsonl").read_text(encoding="utf-8").splitlines()
SUM, SUM_WITH_WORK = ROWS["sum"], ROWS["sum_with_work"]
WORK = "7 + 5 = 12, write 2 carry 1\n2 + 1 + 1 = 4, write 4\n"


def test_every_reason_is_shown_on_a_row_that_other_replies_pass() -> None:
    passable = {row for row, _ in CASES["passing"]}
    reasons = {reason for row, _, reasons in CASES["failing"] if row in passable for reason in reasons}
    assert reasons == set(REASONS) - {"not_judged"}


@pytest.mark.parametrize(
    ("row", "reply", "reasons"), [*((row, reply, []) for row, reply in CASES["passing"]), *CASES["failing"]]
)
def test_a_reply_passes_or_fails_for_its_reasons(row: str, reply: str, reasons: list[str]) -> None:
    verdict = score(ROWS[row], reply)
    assert sorted(verdict.reasons) == sorted(reasons)
    assert verdict.passed == (not reasons)


def test_verdicts_on_generated_rows_stay_what_they_were() -> None:
    """References of task packs, whole, cut, shuffled, with other replies and role tokens added; judged in edition 1."""
    assert len(GENERATED) > 100
    for line in GENERATED:
        one = json.loads(line)
        verdict = score(one["row"], one["reply"], raw=one["raw"], finished=one["finished"])
        found = (list(verdict.reasons), verdict.candidate, verdict.steps_correct)
        assert found == (one["reasons"], one["candidate"], one["steps_correct"]), line


@pytest.mark.parametrize("end", ["<|user|>", "<|assistant|>", "<|system|>", "<|bos|>", "\nUser: next?", "\nassistant:"])
def test_another_turn_in_the_raw_reply_is_an_echo_and_the_end_of_the_turn_is_none(end: str) -> None:
    assert score(SUM, "42", raw=f"42{end}").reasons == ("prompt_echo",)
    assert score(SUM, "42", raw="42<|end|>").passed


def test_a_reply_cut_off_at_the_limit_fails_by_length() -> None:
    assert score(SUM, "42", finished=False).reasons == ("length",)


@pytest.mark.parametrize(
    ("prompt", "raw", "is_echo"),
    [
        ("one two three four five six seven eight nine", "two three four five six seven eight stop", False),
        ("one two three four five six seven eight nine", "two three four five six seven eight nine stop", True),
        ("Spell the cat.", "Spell the cat.", True),
        ("Hello!", "Hello!", False),
        ("What is the tallest tree of the old park?", "The tallest tree of the old park is the oak.", False),
        ("The sun is up. How many birds sit on the wire?", "How many birds sit on the wire? Four.", True),
        ("Mend: the old man walk to the sea every day", "the old man walks to the sea every day", False),
        ("请问最长的河是哪一条河？", "请问最长的河是哪一条河？", True),
        ("Write a config.", "user: admin\nport: 80", False),
        ("What is 2 + 2?", "4\nUser: and 3 + 3?", True),
        ("What is 2 + 2?", "User: 4\nUser: 4", True),
        ("Write a dialogue.", "Hello.\nUser: hi\nAssistant: hi", False),
    ],
)
def test_an_echo_is_told_from_an_answer_in_the_words_of_the_question(prompt: str, raw: str, is_echo: bool) -> None:
    assert echoes(prompt, raw) == is_echo


@pytest.mark.parametrize(
    ("reply", "loops"),
    [
        ("我喜欢散步" * 8, True),
        ("It is what it is and so it goes on and on until the end of the day. " * 4, True),
        ("ha" * 12, True),
        ("4 + 4 = 8\n8 + 4 = 12\n12 + 4 = 16\n16 + 4 = 20", False),
        ("4 + 4 = 8\n" * 4, True),
        ("Name: ____________________", False),
        ("| a | b |\n|-----------------|----------------|", False),
        ("." * 300, True),
    ],
)
def test_loops_in_any_script_are_told_from_tables(reply: str, loops: bool) -> None:
    assert is_looping(reply) == loops


@pytest.mark.parametrize(
    ("reply", "fraction"),
    [
        (WORK + "Final answer: 42", 1.0),
        ("7 + 5 = 12, write 2 carry 1\n2 + 1 = 3, write 3\nFinal answer: 42", 0.5),
        ("7 + 5 = 12, write 2 carry 1\nFinal answer: 42", 0.5),
        (WORK + "4 + 0 = 4\n\nFinal answer: 42", 2 / 3),
        ("Final answer: 42", 0.0),
        ("2 + 1 + 1 = 4, write 4\n7 + 5 = 12, write 2 carry 1\nFinal answer: 42", 0.0),
    ],
)
def test_steps_are_checked_line_by_line_beside_the_verdict(reply: str, fraction: float) -> None:
    verdict = score(SUM_WITH_WORK, reply)
    assert verdict.steps_correct == pytest.approx(fraction)
    assert verdict.passed
    assert score(SUM, reply).steps_correct is None  # the row has no steps


@pytest.mark.parametrize(
    ("scores", "passed", "chosen"),
    [([-3.0, -1.0, -2.0], True, "B"), ([-1.0, -3.0, -2.0], False, "A"), ([-1.0, -1.0, -1.0], False, "A")],
)
def test_a_choice_row_is_decided_by_the_most_likely_label(scores: list[float], passed: bool, chosen: str) -> None:
    row = ask("Which is a colour?", choice_labels=["A", "B", "C"], correct_choice="B")
    verdict = score_choice(row, scores)
    assert (verdict.passed, verdict.candidate) == (passed, chosen)
    assert verdict.reasons == (() if passed else ("wrong_choice",))


@given(st.text(max_size=200))
def test_normalising_twice_changes_nothing_more(text: str) -> None:
    assert normalise(normalise(text)) == normalise(text)


@given(st.integers(min_value=-99_999, max_value=99_999), st.integers(min_value=-99_999, max_value=99_999))
def test_one_number_passes_for_itself_and_for_no_other(wanted: int, said: int) -> None:
    row = ask("Which number?", answer=str(wanted), answer_style="direct")
    assert score(row, f"{said}").passed == (wanted == said)
    assert score(row, f"{said:,}.").passed == (wanted == said)


@given(st.text(max_size=300), st.text(max_size=300))
def test_no_reply_whatever_breaks_the_scoring(reply: str, raw: str) -> None:
    for row in (SUM, SUM_WITH_WORK, ROWS["who"], ROWS["weather"]):
        verdict = score(row, reply, raw=raw)
        assert verdict.passed == (not verdict.reasons)


def test_habits_are_signals_where_no_mixture_judges_them() -> None:
    prompt, echo = "Please tell me what the longest river is.", "Please tell me what the longest river is. The Nile."
    row = ask(prompt, must_include=["Nile"])
    (loose,) = answer_rows([row], Parrot(lambda _: echo))
    (strict,) = answer_rows([{**row, "mixture_profile": "capability"}], Parrot(lambda _: echo))
    assert (loose.passed, loose.reasons, loose.signals) == (True, (), ("prompt_echo",))
    assert (strict.passed, strict.reasons, strict.signals) == (False, ("prompt_echo",), ())
    assert count([loose]).prompt_echo == 1.0
    (nothing_else,) = answer_rows([ask(prompt, must_include=["river"])], Parrot(str))
    assert nothing_else.reasons == ("prompt_echo",)


def test_what_the_rows_own_reply_does_is_no_fault() -> None:
    bare = {**SUM_WITH_WORK, "messages": [{"role": "user", "content": "27+15"}]}
    working = ["27+15", "7+5=12, carry 1", "3+1=4"]
    reply = "\n".join([*working, "Final answer: 42"])
    assert score({**bare, "steps": working}, reply).passed
    assert score({**bare, "steps": working}, reply, raw=f"{reply}<|user|>").reasons == ("prompt_echo",)
    assert score(bare, reply).reasons == ("prompt_echo",)  # the row knows no such working
    million = {**SUM, "answer": "1" + "0" * 12}
    assert score(million, "1" + "0" * 12).passed
    assert score(SUM, "1" + "0" * 12).reasons == ("wrong_answer", "repetition")
