"""A real study whose answer is known: of four lanes, one is a copy of another's format and one is noise."""

import json
from pathlib import Path

import pytest
import yaml
from world import world

from picochat.cli import main


@pytest.mark.slow
def test_a_copy_is_found_to_teach_what_its_original_does_and_noise_to_teach_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forked: None
) -> None:
    world(tmp_path, rows=2000, asked=240)
    monkeypatch.chdir(tmp_path)
    flags = "--batch-size 8 --context-length 64 --device cpu --precision float32 --learning-rate 0.01 --optimizer muon"
    settings = {
        "chat_input": "chat.jsonl",
        "eval_input": "eval.jsonl",
        "checkpoint": "base",
        "dataset_pack": "dataset_pack.json",
        "declared": [["first", "twin"], ["twin", "first"], ["noise", "first"], ["noise", "last"]],
        "arms": 16,
        "full": 4,
        "steps": 200,
        "train": flags,
        "evaluate": "--max-new-tokens 4 --device cpu --precision float32",
    }
    Path("study.yaml").write_text(yaml.safe_dump(settings))
    main(["study", "run", "study.yaml"])
    cells = json.loads(Path("runs/study/study/study.json").read_text())["effects"]["points"]
    helped = {(cell["lane"], cell["on"]) for cell in cells if cell["found"] and cell["value"] > 0}
    assert {("first", "first"), ("twin", "twin"), ("last", "last")} <= helped
    assert {("first", "twin"), ("twin", "first")} <= helped  # each teaches the other's rows
    # what other lanes do to the rate on noise is exploratory, of which one in ten is found by chance
    assert not [on for lane, on in helped if lane == "noise"]
