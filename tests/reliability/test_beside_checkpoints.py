"""What lies beside the checkpoints of a run that is resumed: the log and the sample replies."""

import json
from pathlib import Path

import pytest
from killable import IMPATIENT, RESUME, fit, logged, results, slow

WEIGHTS = ("best_checkpoint/model.safetensors", "last_checkpoint/model.safetensors")


def steps_of_samples(run: Path) -> list[int]:
    return [json.loads(line)["step"] for line in (run / "samples.jsonl").read_text().splitlines()]


def test_a_killed_and_resumed_run_shows_each_sample_reply_once(killed: Path, undisturbed: Path) -> None:
    run = killed / "run"
    assert steps_of_samples(run) == [4] * 4 + [8] * 4
    late = json.loads((run / "samples.jsonl").read_text().splitlines()[-1])
    with (run / "samples.jsonl").open("a") as file:  # as if the kill had come after a third validation
        file.write(json.dumps({**late, "step": 12, "reply": "of a future that did not come"}) + "\n")
    fit(killed, RESUME)
    assert steps_of_samples(run) == [4] * 4 + [8] * 4 + [12] * 4
    assert results(run) == results(undisturbed / "run")


@pytest.mark.parametrize(
    ("words", "stopped_at"),
    [(["--trainer.max_time=00:00:00:01", *slow("step", step=1, seconds=1.5)], (1, 2)), ([IMPATIENT], (8,))],
    ids=["time limit", "early stopping"],
)
def test_a_run_that_ended_early_goes_on_with_the_log_and_the_weights_of_one_that_did_not(
    folder: Path, undisturbed: Path, words: list[str], stopped_at: tuple[int, ...]
) -> None:
    run, whole = folder / "run", undisturbed / "run"
    fit(folder, words)
    assert max(logged(run, "train/loss")) in stopped_at  # a machine may need the second for its first step
    fit(folder, RESUME)
    assert logged(run, "train/loss") == logged(whole, "train/loss")
    found, expected = logged(run, "val/loss"), logged(whole, "val/loss")
    assert {step: found[step] for step in expected} == expected  # the one at the time limit is out of turn
    assert all(results(run)[name] == results(whole)[name] for name in WEIGHTS)
