"""Public data sets, read from small snapshots in the layout in which the hub stores them."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from making import ask, build, sides, write

from picochat.errors import UserError
from picochat.packs import TaskPackReport
from picochat.packs.rows import prompt_text

WORDS = ["river", "stone", "cloud", "engine", "garden", "signal", "market", "winter", "copper", "island"]
SENTENCE = "Tell me what the {} near the {} does when the {} meets {} item number {}"


def sentence(number: int) -> str:
    return SENTENCE.format(*(WORDS[number // 10**place % 10] for place in range(3)), WORDS[number * 7 % 10], number)


def mmlu(number: int) -> dict[str, Any]:
    choices = [f"answer {number} {letter}" for letter in "wxyz"]
    return {"question": f"Exam: {sentence(number)}?", "subject": "s", "choices": choices, "answer": number % 4}


def arc(number: int) -> dict[str, Any]:
    labels = ["A", "B", "C", "D"] if number % 2 else ["1", "2", "3", "4"]
    options = {"text": [f"choice {number} {letter}" for letter in "pqrs"], "label": labels}
    return {"id": str(number), "question": f"Science: {sentence(number)}?", "choices": options, "answerKey": labels[2]}


def gsm8k(number: int) -> dict[str, Any]:
    worked = f"First {number} + 1 = <<{number}+1={number + 1}>>{number + 1}.\nThen stop.\n#### 1,{number:03d}"
    return {"question": f"Sums: {sentence(number)}?", "answer": worked}


@pytest.fixture(scope="module")
def built(pack: Path, tmp_path_factory: pytest.TempPathFactory) -> TaskPackReport:
    """Five splits of three data sets; smol-smoltalk is missing, MMLU's test split repeats a part of training."""
    hub = tmp_path_factory.mktemp("hub")
    write(hub / "cais/mmlu/all/auxiliary_train-00000-of-00001.parquet", *map(mmlu, range(400)))
    write(hub / "cais/mmlu/all/test-00000-of-00001.parquet", *map(mmlu, range(390, 420)))
    write(hub / "allenai--ai2_arc/ARC-Easy/test-0.parquet", *map(arc, range(500, 540)))
    write(hub / "allenai--ai2_arc/ARC-Challenge/test-0.parquet", *map(arc, range(600, 605)))
    write(hub / "gsm8k/main/train.jsonl", *map(gsm8k, range(200)))
    return build(pack, "auto", profile="benchmark", source="auto", hub_dir=hub, sft_rows=400, eval_rows=200)


def test_sources_stand_in_for_half_of_their_lane_and_the_rest_is_generated(built: TaskPackReport) -> None:
    train, evaluation = sides(built)
    # 400 rows: choice 48 + 40 + 48 = 136, half of it 68; math 32 + 24 + 20 + 20 = 96, half of it 48
    by_source = Counter(row["source_dataset"] for row in train)
    assert by_source == {"cais/mmlu": 68, "openai/gsm8k": 48, "offline": 400 - 68 - 48}
    lanes = Counter(row["category"].split("_")[1] for row in train if row["category"].startswith("bench_"))
    assert lanes == {"choice": 136, "math": 96, "spelling": 80}
    # choice 24 + 20 + 24 = 68, half of it 34 = 12 + 11 + 11; ARC-Challenge has five rows
    easy, challenge = (f"bench_choice_arc_{name}" for name in ("easy", "challenge"))
    kinds = Counter(row["category"] for row in evaluation if row["source_dataset"] != "offline")
    assert kinds == {easy: 12, challenge: 5, "bench_choice_mmlu": 11}
    assert len(evaluation) == 200


def test_each_source_says_what_became_of_it(built: TaskPackReport) -> None:
    outcomes = {source["name"]: source["outcome"] for source in built.data["sources"]}
    assert outcomes["cais/mmlu all auxiliary_train"] == "68 of 68 training rows"
    assert outcomes["allenai/ai2_arc ARC-Challenge test"] == "5 of 11 eval rows; 6 generated offline instead"
    assert "holds no file main/test*" in outcomes["openai/gsm8k main test"]
    assert "holds no folder HuggingFaceTB/smol-smoltalk" in outcomes["HuggingFaceTB/smol-smoltalk train"]
    assert "cais/mmlu all auxiliary_train: 68 of 68" in built.summary()


def test_questions_of_the_eval_side_never_reach_training(built: TaskPackReport) -> None:
    train, evaluation = ({prompt_text(row) for row in rows} for rows in sides(built))
    trap = [f"number {number}?" for number in range(390, 400)]
    assert any(asked in prompt for prompt in evaluation for asked in trap)
    assert not train & evaluation
    assert built.data["contamination"]["status"] == "ready"


def test_a_chat_source_gives_its_first_exchange(pack: Path, tmp_path: Path) -> None:
    chats = [ask(f"Chat: {sentence(number)}", f"Reply {number}.") for number in range(50)]
    chats = [{"messages": [{"role": "system", "content": "Be kind."}, *row["messages"]]} for row in chats]
    write(tmp_path / "smol-smoltalk/data/train-00000-of-00002.parquet", *chats)
    report = build(pack, profile="benchmark", source="hub", hub_dir=tmp_path, sft_rows=100, eval_rows=16)
    found = [row["messages"] for row in sides(report)[0] if row["source_dataset"] != "offline"]
    assert len(found) == 10
    asked, told = (message["content"] for message in found[0])
    assert (asked[:14], told[:6]) == ("Chat: Tell me ", "Reply ")


def test_hub_alone_fails_when_nothing_loads(pack: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--source hub loaded nothing .*cais/mmlu all test: .*--source auto goes on"):
        build(pack, "none", profile="benchmark", source="hub", hub_dir=tmp_path)
    with pytest.raises(UserError, match=r"--hub-dir .* is not a folder"):
        build(pack, "none", profile="benchmark", source="auto", hub_dir=tmp_path / "none")
    assert not (pack / "none").exists()


def test_a_broken_file_is_named_and_the_rest_goes_on(pack: Path, tmp_path: Path) -> None:
    write(tmp_path / "cais/mmlu/all/auxiliary_train-0.parquet", mmlu(0)).write_text("PAR1 not really")
    write(tmp_path / "gsm8k/main/test.jsonl", {"question": "What?"})
    report = build(pack, profile="benchmark", source="auto", hub_dir=tmp_path, sft_rows=64, eval_rows=32)
    failures = {source["name"]: source["outcome"].partition("failed: ")[2] for source in report.data["sources"]}
    assert failures["openai/gsm8k main test"].startswith("a record is not in the known form: needs 'messages', or")
    assert "auxiliary_train-0.parquet: cannot be read as parquet" in failures["cais/mmlu all auxiliary_train"]
    assert (report.data["train"]["rows"], report.data["eval"]["rows"]) == (64, 32)
