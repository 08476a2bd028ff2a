"""What counts as a refusal, what leaks an answer, and what claims an ability; the replies are in refusal_cases.toml."""

import tomllib
from pathlib import Path

import pytest

from picochat.evidence.habits import (
    asks_about_the_speaker,
    claims_ability,
    leaks_an_answer,
    opens_with_refusal,
    refuses,
)

CASES = tomllib.loads((Path(__file__).parent / "refusal_cases.toml").read_text(encoding="utf-8"))
ASKED = "Who won the game in Oslo yesterday at 5?"


@pytest.mark.parametrize("reply", CASES["refuses"])
def test_first_person_inability_refuses(reply: str) -> None:
    assert refuses(reply)


@pytest.mark.parametrize("reply", CASES["does_not_refuse"])
def test_other_words_do_not_refuse(reply: str) -> None:
    assert not refuses(reply)


@pytest.mark.parametrize("reply", CASES["clean"])
def test_a_clean_refusal_leaks_nothing(reply: str) -> None:
    assert refuses(reply)
    assert not leaks_an_answer(reply, ASKED)


@pytest.mark.parametrize("reply", CASES["leaks"])
def test_a_refusal_that_answers_all_the_same_is_found_out(reply: str) -> None:
    assert refuses(reply)
    assert leaks_an_answer(reply, ASKED)


@pytest.mark.parametrize(("reply", "opens"), CASES["opens"])
def test_a_refusal_in_passing_does_not_open_the_reply(reply: str, opens: bool) -> None:
    assert opens_with_refusal(reply) == opens


@pytest.mark.parametrize(("reply", "opens"), CASES["opens_about_itself"])
def test_asked_about_itself_only_a_bare_refusal_opens_as_one(reply: str, opens: bool) -> None:
    assert opens_with_refusal(reply, "Tell me what you remember of our last chat.") == opens


@pytest.mark.parametrize(("prompt", "asks"), CASES["asks_about_the_speaker"])
def test_a_question_about_the_speaker_is_told_from_a_polite_request(prompt: str, asks: bool) -> None:
    assert asks_about_the_speaker(prompt) == asks


@pytest.mark.parametrize(("reply", "always", "in_release"), CASES["claims_ability"])
def test_claims_of_abilities(reply: str, always: bool, in_release: bool) -> None:
    assert claims_ability(reply, skills_too=False) == always
    assert claims_ability(reply, skills_too=True) == in_release
