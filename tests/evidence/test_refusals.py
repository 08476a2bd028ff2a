"""What counts as a refusal, what leaks an answer, and what claims an ability; the replies are in refusal_cases.toml."""

import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from picochat.evidence.habits import (
    asks_about_the_speaker,
    claims_ability,
    is_english,
    is_somebody_else,
    leaks_an_answer,
    opens_with_refusal,
    refuses,
)

CASES = tomllib.loads((Path(__file__).parent / "refusal_cases.toml").read_text(encoding="utf-8"))
ASKED = "Who won the game in Oslo yesterday at 5?"
RULES: dict[str, Callable[[str], object]] = {  # section of the file → what is said of each of its texts
    "refuses": refuses,
    "does_not_refuse": lambda reply: not refuses(reply),
    "clean": lambda reply: refuses(reply) and not leaks_an_answer(reply, ASKED),
    "leaks": lambda reply: refuses(reply) and leaks_an_answer(reply, ASKED),
    "opens": opens_with_refusal,
    "opens_about_itself": lambda reply: opens_with_refusal(reply, "Tell me what you remember of our last chat."),
    "asks_about_the_speaker": asks_about_the_speaker,
    "claims_ability": lambda reply: [claims_ability(reply, skills_too=too) for too in (False, True)],
}
TEXTS = [(rule, *(one if isinstance(one, list) else (one, True))) for rule, own in CASES.items() for one in own]


@pytest.mark.parametrize(("rule", "text", "said"), TEXTS)
def test_the_text_rules_say_of_each_text_what_a_reader_says(rule: str, text: str, said: object) -> None:
    assert RULES[rule](text) == said


def test_identity_reads_names_with_their_sense() -> None:
    assert not is_somebody_else("I am no Siri, and nobody at Google built me. My name is picochat.", "picochat")
    for other in ("I am picochat from Google.", "My name is Lisa.", "I am a woman.", "I am not picochat."):
        assert is_somebody_else(other, "picochat")


@pytest.mark.parametrize("reply", ["Nie wiem.", "Je ne sais pas.", "我不知道。", "Das weiß ich nicht."])
def test_other_languages_are_recognised(reply: str) -> None:
    assert not is_english(reply) and is_english("I don't know that, sorry.") and is_english("Paris")
