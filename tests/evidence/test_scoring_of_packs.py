"""The scoring and the packs agree: every reference passes its own row, and replies to other rows do not."""

import json
from itertools import pairwise
from pathlib import Path

import pytest

from picochat.evidence.habits import asks_about_the_speaker
from picochat.evidence.scoring import is_choice, score
from picochat.evidence.texts import normalise
from picochat.packs.content import content
from picochat.packs.formats import read_rows
from picochat.packs.mixture import build_task_pack
from picochat.packs.rows import Row, prompt_text

PACKS = [("balanced", "scratchpad"), ("balanced", "direct"), ("release", "direct"), ("capability", "scratchpad")]


@pytest.fixture(scope="module", params=PACKS, ids="-".join)
def rows(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[Row]:
    profile, style = request.param
    folder = tmp_path_factory.mktemp("pack")
    (folder / "dataset_pack.json").write_text(json.dumps({"name": "p", "corpus": "corpus.jsonl"}))
    report = build_task_pack(
        folder / "dataset_pack.json", profile=profile, sft_rows=400, eval_rows=600, skill_answer_style=style
    )
    return read_rows(Path(report.eval_path), "eval")


def test_every_reference_passes_with_all_its_steps(rows: list[Row]) -> None:
    for row in rows:
        assert not row.get("answer") or score(row, row["answer"]).passed, row
        verdict = score(row, row["reference"], raw=f"{row['reference']}<|end|>")
        assert (verdict.reasons, verdict.steps_correct in (None, 1.0)) == ((), True), (row, verdict)


def test_no_training_reply_answers_a_composed_question(rows: list[Row]) -> None:
    topics = content("identity")["topic"].values()
    replies = [f"{first} {second}" for topic in topics for first in topic["first"] for second in topic["second"]]
    asked = {row["key"].split("/")[0]: row for row in rows if row["stage"] == "composed"}.values()
    assert len(asked) > 5
    assert not [(row, reply) for row in asked for reply in replies if score(row, reply).passed]


def test_a_refusal_fails_every_answerable_row_and_an_answer_every_other(rows: list[Row]) -> None:
    declined = [row for row in rows if not row["answerable"]]
    answered = [row for row in rows if row["answerable"] and not is_choice(row)]
    assert len(declined) > 15
    assert len(answered) > 300
    spared = 0
    for number, row in enumerate(answered):
        verdict = score(row, declined[number % len(declined)]["reference"])
        if (
            "over_refusal" not in verdict.reasons
        ):  # "Do you remember our last chat?" "I see only the words of this chat."
            spared += 1
            assert row["category"] == "identity" and asks_about_the_speaker(prompt_text(row)), (row, verdict)
    assert spared <= 0.02 * len(answered)
    for number, row in enumerate(declined):
        verdict = score(row, answered[number % len(answered)]["reference"])
        assert "unsupported_claim" in verdict.reasons, (row, verdict)


def test_a_reference_with_a_fact_behind_it_is_no_clean_refusal(rows: list[Row]) -> None:
    for row in rows:
        if not row["answerable"]:
            for fact in ("It is 21.", "But the answer is blue.", "I think it is Anna."):
                assert "unsupported_claim" in score(row, f"{row['reference']} {fact}").reasons, (row, fact)


def test_the_answer_to_another_row_is_wrong(rows: list[Row]) -> None:
    answers = [row for row in rows if row.get("answer") and not is_choice(row)]
    tried = 0
    for row, other in pairwise(answers):
        if normalise(row["answer"]) != normalise(other["answer"]):
            tried += 1
            assert not score(row, other["reference"]).passed, (row, other)
    assert tried > 0.8 * len(answers) - 1
