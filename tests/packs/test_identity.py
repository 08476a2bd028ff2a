"""Identity problems: two disjoint sides, many wordings, replies that are true and pass their own checks."""

from collections.abc import Iterator

import pytest

from picochat.evidence.refusals import claims_ability, refuses
from picochat.evidence.scoring import check_row, score
from picochat.packs.contamination import Entry, check
from picochat.packs.quotas import Side
from picochat.packs.rows import Row
from picochat.packs.tasks.base import Draw, Phrasing, Problem
from picochat.packs.tasks.identity import Identity, Value
from picochat.packs.tasks.identity_topics import TOPICS, Topic

TASK = Identity()
Posed = tuple[str, Value, Phrasing, Problem]


def everything(side: Side) -> Iterator[Posed]:
    draw = Draw(3, "test")
    for stage in TASK.stages:
        for value in TASK.values(stage):
            if TASK.side(stage, value) == side:
                for phrasing in ("known",) if side == "train" else ("known", "new"):
                    for family in TASK.phrasings(stage, value, phrasing):
                        for template in [family] if isinstance(family, str) else family:
                            yield stage, value, phrasing, TASK.pose(stage, value, template, draw)


@pytest.fixture(scope="module")
def train() -> list[Posed]:
    return list(everything("train"))


@pytest.fixture(scope="module")
def evaluation() -> list[Posed]:
    return list(everything("eval"))


def row_of(topic: Topic, prompt: str = "Who?") -> Row:
    value = next(value for value in TASK.values(topic.stage) if value.topic is topic)
    checks = TASK.pose(topic.stage, value, "{situation} Who?", Draw(0)).checks
    return {
        "messages": [{"role": "user", "content": prompt}],
        "answerable": True,
        "mixture_profile": "release",
        **checks,
    }


def replies(topic: Topic) -> list[str]:
    return [f"{first} {second}".strip() for first in topic.first for second in topic.second]


def plain(text: str) -> str:
    return " ".join(text.lower().rstrip("?.!").split())


def test_there_are_more_than_100_000_different_training_rows_and_50_000_for_evaluation(
    train: list[Posed], evaluation: list[Posed]
) -> None:
    assert len({plain(posed[3].prompt) for posed in train}) == len(train) > 100_000
    assert len({plain(posed[3].prompt) for posed in evaluation}) == len(evaluation) > 50_000


def test_both_sides_share_no_key_no_prompt_and_no_situation(train: list[Posed], evaluation: list[Posed]) -> None:
    assert not {TASK.key(stage, value) for stage, value, _, _ in train} & {
        TASK.key(stage, value) for stage, value, _, _ in evaluation
    }
    assert not {plain(posed[3].prompt) for posed in train} & {plain(posed[3].prompt) for posed in evaluation}
    held_out = {value.situation.text for _, value, _, _ in evaluation} - {""}
    assert len(held_out) >= 100
    assert not held_out & {value.situation.text for _, value, _, _ in train}


def test_every_value_has_a_key_of_its_own() -> None:
    keys = [TASK.key(stage, value) for stage in TASK.stages for value in TASK.values(stage)]
    assert len(set(keys)) == len(keys)


def test_new_wordings_never_occur_in_training() -> None:
    for topic in TOPICS:
        assert len(topic.known) >= 4
        assert len(topic.new) >= 2
        assert not {plain(text) for text in topic.known} & {plain(text) for text in topic.new}


def test_a_sample_of_both_sides_is_clean_by_the_packs_own_contamination_check(
    train: list[Posed], evaluation: list[Posed]
) -> None:
    def entry(posed: Posed, reply: str) -> Entry:
        return Entry(TASK.key(posed[0], posed[1]), posed[3].prompt, reply, posed[3].content)

    found = check(
        [entry(posed, posed[3].reply) for posed in train[::29]],
        [entry(posed, "") for posed in evaluation[::7]],
        None,
        "",
    )
    assert (found.status, found.examples) == ("ready", ())


def test_a_tenth_of_the_training_situations_are_bare_questions(train: list[Posed]) -> None:
    values = {TASK.key(stage, value): value for stage, value, _, _ in train}
    bare = sum(value.situation.text == "" for value in values.values())
    assert len(values) * 0.08 <= bare <= len(values) * 0.15
    assert any(posed[3].prompt == "Who are you?" for posed in train)


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.name)
def test_every_reply_passes_its_own_checks_and_is_no_refusal_and_no_boast(topic: Topic) -> None:
    row = row_of(topic)
    check_row(row)
    for reply in replies(topic):
        assert score(row, reply).reasons == (), reply
        assert not refuses(reply), reply
        assert not claims_ability(reply, skills_too=True), reply
        assert len(reply.split()) <= 35
        assert reply[0].isupper()


RIGHT_IN_OTHER_WORDS = {
    "who": "Hey! I'm Picochat, a little chat program.",
    "human": "No, just a computer program.",
    "name": "They call me PicoChat.",
    "purpose": "People study me to see how training works.",
    "material": "A bunch of weights that came out of reading text.",
    "makers": "The Picochat team did.",
    "limits": "I only know very few things and often make errors.",
    "wrong": "Yes, I can be incorrect.",
    "trust": "You should verify what I say with another source.",
    "remember": "No, each conversation starts from zero.",
    "size": "Very small.",
}
WRONG = {
    "who": "I am ChatGPT, a large language model.",
    "human": "Yes, I am a human being with a computer.",
    "name": "My name is Anna.",
    "purpose": "I am picochat, a small chat model.",
    "material": "My name is picochat.",
    "training": "The picochat developers built me.",
    "makers": "OpenAI made picochat with its developers.",
    "limits": "My name is picochat.",
    "wrong": "I am never wrong.",
    "trust": "You can trust me, I am always right.",
    "tested": "The picochat developers built me.",
    "remember": "Yes, I remember you well.",
    "adapt": "My name is picochat.",
    "size": "I am a very large model.",
    "compare": "I am picochat.",
}


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.name)
def test_a_right_reply_in_other_words_passes_and_a_wrong_one_fails(topic: Topic) -> None:
    row = row_of(topic)
    if topic.name in RIGHT_IN_OTHER_WORDS:
        assert score(row, RIGHT_IN_OTHER_WORDS[topic.name]).passed
    if topic.name in WRONG:
        assert not score(row, WRONG[topic.name]).passed


def test_stages_have_shares_that_sum_to_one_and_topics_of_their_own() -> None:
    assert round(sum(TASK.stages.values()), 9) == 1
    assert {topic.stage for topic in TOPICS} == set(TASK.stages)


def test_the_same_draw_gives_the_same_words_and_another_draw_varies_the_reply() -> None:
    value = TASK.values("who")[0]
    pose = lambda seed: TASK.pose("who", value, "{situation} Who are you?", Draw(seed, "reply"))  # noqa: E731
    assert pose(1) == pose(1)
    assert len({pose(seed).reply for seed in range(60)}) >= 10
    assert {pose(seed).prompt for seed in range(60)} == {"Hello. Who are you?", "hello. who are you"}


@pytest.mark.parametrize("topic", [topic for topic in TOPICS if topic.stage in {"who", "name"}], ids=lambda t: t.name)
@pytest.mark.parametrize("reply", ["I am not picochat, because a small model.", "I am a program, not model picochat."])
def test_who_denies_its_name_or_kind_does_not_pass(topic: Topic, reply: str) -> None:
    assert "forbidden_phrase" in score(row_of(topic), reply).reasons
