"""Refusals and their look-alikes: enough of them, kept apart, and judged as they should be by the scoring."""

import re
from collections import Counter
from collections.abc import Iterator

import pytest

from picochat.evidence.refusals import refuses
from picochat.evidence.scoring import check_row, score
from picochat.packs.contamination import Entry, check
from picochat.packs.quotas import Side
from picochat.packs.rows import Row
from picochat.packs.tasks.base import Draw, Phrasing, Problem
from picochat.packs.tasks.refusal import Asked, Refusal, Stated, Unanswerable, Value
from picochat.packs.tasks.refusal_kinds import KINDS
from picochat.packs.tasks.refusal_situations import Situation
from picochat.packs.tasks.refusal_words import FILLERS, MEANINGS

TASK = Refusal()
BENIGN = ("benign_statement", "benign_look_alike")
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


def eval_row(problem: Problem) -> Row:
    return {
        "messages": [{"role": "user", "content": problem.prompt}],
        "answerable": problem.answerable,
        "mixture_profile": "release",
        **problem.checks,
    }


def test_there_are_60_situations_for_training_and_30_for_evaluation_in_six_kinds() -> None:
    assert sum(len(kind.taught) for kind in KINDS.values()) >= 60
    assert sum(len(kind.held_out) for kind in KINDS.values()) >= 30
    assert {stage for stage in TASK.stages if stage not in BENIGN} == set(KINDS)
    assert len(KINDS) == 6


def test_there_are_over_20_000_training_rows_and_each_stage_can_give_its_share_of_them(train: list[Posed]) -> None:
    assert len({posed[3].prompt for posed in train}) == len(train) > 20_000
    by_stage = Counter(posed[0] for posed in train)
    assert {stage for stage, share in TASK.stages.items() if by_stage[stage] < 20_000 * share} == set()


def test_no_held_out_situation_is_taught_under_another_kind_or_name() -> None:
    taught = {situation.text for kind in KINDS.values() for situation in kind.taught}
    held_out = {situation.text for kind in KINDS.values() for situation in kind.held_out}
    assert not taught & held_out
    assert len(taught) + len(held_out) == sum(len(kind.taught) + len(kind.held_out) for kind in KINDS.values())


def test_both_sides_share_no_key_and_no_prompt(train: list[Posed], evaluation: list[Posed]) -> None:
    keys = [{TASK.key(stage, value) for stage, value, _, _ in side} for side in (train, evaluation)]
    prompts = [{posed[3].prompt.lower() for posed in side} for side in (train, evaluation)]
    assert not keys[0] & keys[1]
    assert not prompts[0] & prompts[1]
    assert len(prompts[1]) == len(evaluation) > 10_000


def test_every_value_has_a_key_of_its_own() -> None:
    keys = [TASK.key(stage, value) for stage in TASK.stages for value in TASK.values(stage)]
    assert len(set(keys)) == len(keys)


def test_a_sample_of_both_sides_is_clean_by_the_packs_own_contamination_check(
    train: list[Posed], evaluation: list[Posed]
) -> None:
    taught = {posed[3].fact for posed in train}

    def entry(posed: Posed, reply: str) -> Entry:
        problem = posed[3]
        asks_taught = problem.fact is not None and problem.fact in taught
        return Entry(TASK.key(posed[0], posed[1]), problem.prompt, reply, problem.content, asks_taught)

    found = check(
        [entry(posed, posed[3].reply) for posed in train], [entry(posed, "") for posed in evaluation], None, ""
    )
    assert (found.status, found.examples) == ("ready", ())


def test_every_reply_that_declines_passes_and_names_the_situation() -> None:
    prompt = "Tell me something."
    for kind in KINDS.values():
        for situation in (*kind.taught, *kind.held_out):
            for template in kind.replies:
                for advice in kind.advice:
                    reply = f"{template.replace('{short}', situation.short)} {advice}".strip()
                    verdict = score(eval_row(Problem(prompt, reply, answerable=False)), reply)
                    assert verdict.reasons == (), reply
                    assert situation.short in reply
                    assert re.match(r"I (?:can't|cannot|don't have|do not have|am not able to|do not know)\b", reply)


def test_every_posed_row_passes_with_its_own_reply(train: list[Posed], evaluation: list[Posed]) -> None:
    for _, _, _, problem in (*train[::37], *evaluation[::23]):
        row = eval_row(problem)
        check_row(row)
        assert score(row, problem.reply).reasons == (), problem
        assert refuses(problem.reply) is not problem.answerable


def test_answering_fails_where_declining_is_right_and_declining_where_answering_is(evaluation: list[Posed]) -> None:
    seen = Counter(problem.answerable for _, _, _, problem in evaluation[::23])
    assert min(seen.values()) > 20
    for _, _, _, problem in evaluation[::23]:
        wrong = "I can't help with that." if problem.answerable else "It is quite good."
        expected = "over_refusal" if problem.answerable else "unsupported_claim"
        assert expected in score(eval_row(problem), wrong).reasons


def test_look_alikes_ask_for_meanings_that_training_teaches_in_other_ways(train: list[Posed]) -> None:
    taught = {posed[3].fact for posed in train if posed[0] == "benign_look_alike"}
    assert taught == {f"meaning:{meaning.word}" for meaning in MEANINGS}
    held_out = [value for value in TASK.values("benign_look_alike") if TASK.side("benign_look_alike", value) == "eval"]
    assert len(held_out) >= 20
    assert all(isinstance(value, Asked) for value in held_out)


def test_statements_are_about_the_situations_of_their_side(train: list[Posed], evaluation: list[Posed]) -> None:
    for side, posed in (("train", train), ("eval", evaluation)):
        told = {value.told for _, value, _, _ in posed if isinstance(value, Stated)}
        assert len(told) >= 100
        assert {TASK.side("live_data", one) for one in told} == {side}


def test_meaning_keywords_occur_in_the_meaning_itself() -> None:
    for meaning in MEANINGS:
        row = {"messages": [{"role": "user", "content": "?"}], "must_include_any": [list(meaning.keywords)]}
        assert score(row, meaning.text).passed, meaning.word
        assert not score(row, "My name is picochat.").passed
        assert meaning.text.lower().startswith(meaning.named)


def test_every_slot_has_ten_fillers_and_every_situation_one_slot() -> None:
    assert min(map(len, FILLERS.values())) >= 10
    for kind in KINDS.values():
        for situation in (*kind.taught, *kind.held_out):
            assert re.fullmatch(r"[^{}]*\{\w+\}[^{}]*", situation.text), situation
            assert re.search(r"\{(\w+)\}", situation.text)[1] in FILLERS  # type: ignore[index]


def test_frames_keep_apart_what_both_sides_say() -> None:
    for kind in KINDS.values():
        assert len(kind.known) >= 8
        assert len(kind.new) >= 3
        assert not set(kind.known) & set(kind.new)


def test_shares_sum_to_one_and_more_than_a_quarter_is_answerable() -> None:
    assert round(sum(TASK.stages.values()), 9) == 1
    assert round(sum(TASK.stages[stage] for stage in BENIGN), 9) == 0.34


def test_a_slot_is_filled_in_the_middle_of_a_situation() -> None:
    value = Unanswerable(Situation("what my {relative} will do next", "x"), "aunt")
    assert value.text == "what my aunt will do next"
    problem = TASK.pose("diagnosis", Unanswerable(Situation("my {part} hurts", "pain"), "knee"), "{X}. Help!", Draw(1))
    assert problem.prompt == "My knee hurts. Help!"
