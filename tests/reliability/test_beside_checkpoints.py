"""What lies beside the checkpoints of a run that is resumed: the log and the sample replies, whole or damaged."""

import json
import signal
from pathlib import Path

import pytest
from runs import fit, logged, results, slow, start

RESUME = ["--ckpt_path", "run/last.ckpt"]


@pytest.fixture
def stopped(folder: Path) -> Path:
    """A run that was killed behind its second validation, at step 9; last.ckpt is of step 8."""
    run = start(folder, slow("step", step=9))
    run.until("at step")
    run.send(signal.SIGKILL)
    assert run.end() == -signal.SIGKILL
    return folder


def steps_of_samples(run: Path) -> list[int]:
    return [json.loads(line)["step"] for line in (run / "samples.jsonl").read_text().splitlines()]


def test_a_killed_and_resumed_run_shows_each_sample_reply_once_newest_first(stopped: Path, undisturbed: Path) -> None:
    run = stopped / "run"
    assert steps_of_samples(run) == [4] * 4 + [8] * 4
    late = json.loads((run / "samples.jsonl").read_text().splitlines()[-1])
    with (run / "samples.jsonl").open("a") as file:  # as if the kill had come behind a third one
        file.write(json.dumps({**late, "step": 12, "reply": "of a future that did not come"}) + "\n")
    fit(stopped, RESUME)
    assert steps_of_samples(run) == [4] * 4 + [8] * 4 + [12] * 4
    table = [line for line in (run / "samples.md").read_text().splitlines() if line.startswith("| ")]
    assert [line.split(" | ")[0] for line in table[2:]] == ["| 12"] * 4 + ["| 8"] * 4 + ["| 4"] * 4
    assert "future" not in (run / "samples.md").read_text()
    assert results(run) == results(undisturbed / "run")


@pytest.mark.parametrize(
    ("name", "line", "content", "says"),
    [
        ("samples.jsonl", 3, b"{", "run/samples.jsonl:3: is not JSON"),
        ("samples.jsonl", 1, b"[]", "run/samples.jsonl:1: is not a sample reply"),
        ("samples.jsonl", 2, b'{"step": "4"}', "run/samples.jsonl:2: is not a sample reply"),
        ("metrics.csv", 1, b"a,b", "run/metrics.csv:2: is not a row of a run's log"),
        ("metrics.csv", 3, b"x", "run/metrics.csv:3: is not a row of a run's log"),
        ("metrics.csv", 4, b"4,0,\xff", "cannot read run/metrics.csv"),
    ],
)
def test_a_log_that_somebody_damaged_is_one_sentence_and_the_run_goes_on_without_it(
    stopped: Path, undisturbed: Path, name: str, line: int, content: bytes, says: str
) -> None:
    run = stopped / "run"
    before = (run / "last.ckpt").read_bytes()
    lines = (run / name).read_bytes().split(b"\n")
    lines[line - 1] = content
    (run / name).write_bytes(b"\n".join(lines))
    said = fit(stopped, RESUME, status=2)
    assert f"picochat: error: {says}" in said
    assert "move the file away" in said
    assert "Traceback" not in said
    assert (run / "last.ckpt").read_bytes() == before
    (run / name).unlink()
    fit(stopped, RESUME)
    for other in ("best_checkpoint/model.safetensors", "last_checkpoint/model.safetensors"):
        assert results(run)[other] == results(undisturbed / "run")[other]


IMPATIENT = (
    '--trainer.callbacks+={"class_path": "lightning.pytorch.callbacks.EarlyStopping", '
    '"init_args": {"monitor": "val/loss", "patience": 1, "min_delta": 100.0}}'
)


@pytest.mark.parametrize(
    ("words", "stopped_at"),
    [(["--trainer.max_time=00:00:00:02", *slow("step", step=1, seconds=3)], (1, 2)), ([IMPATIENT], (8,))],
    ids=["time limit", "early stopping"],
)
def test_a_run_that_ended_early_goes_on_with_the_log_and_the_weights_of_one_that_did_not(
    folder: Path, undisturbed: Path, words: list[str], stopped_at: tuple[int, ...]
) -> None:
    run, whole = folder / "run", undisturbed / "run"
    fit(folder, words)
    assert max(logged(run, "train/loss")) in stopped_at  # a machine may need the two seconds for its first step
    fit(folder, RESUME)
    assert logged(run, "train/loss") == logged(whole, "train/loss")
    found, expected = logged(run, "val/loss"), logged(whole, "val/loss")
    assert {step: found[step] for step in expected} == expected  # the one at the time limit is out of turn
    for name in ("best_checkpoint/model.safetensors", "last_checkpoint/model.safetensors"):
        assert results(run)[name] == results(whole)[name]
