"""Two processes that talk through gloo do what one does, stop together, and do not wait for a dead one."""

import json
import os
import signal
import time
from pathlib import Path

import pytest
from killable import (
    IMPATIENT,
    RESUME,
    TWO,
    command,
    fit,
    go_on,
    logged,
    results,
    second_rank,
    slow,
    start,
    write_config,
)

METRICS = ["train/loss", "val/loss", "eval/loss", "eval/untagged/pass_rate"]

pytestmark = pytest.mark.slow


@pytest.fixture
def pair(folder: Path) -> Path:
    """The world, with two rows on each of two ranks in place of four on one."""
    write_config(folder, batch_size=2)
    return folder


def assert_same_numbers(run: Path, expected: Path) -> None:
    for name in METRICS:
        wanted = logged(expected, name)
        assert len(wanted) == (12 if name == "train/loss" else 3)
        assert logged(run, name) == pytest.approx(wanted, rel=1e-4), name


def test_two_ranks_log_what_one_logs_and_a_run_goes_on_with_one(pair: Path, undisturbed: Path) -> None:
    fit(pair, TWO)
    assert_same_numbers(pair / "run", undisturbed / "run")
    before = logged(pair / "run", "val/loss")
    (pair / "run").rename(pair / "whole")
    stopped = start(pair, [*TWO, *slow("step", step=5)])
    stopped.until("at step")
    stopped.send(signal.SIGTERM)  # to rank 0 alone
    go_on(pair)
    assert stopped.end() == 143, stopped.printed()
    assert stopped.printed().count("stopped by SIGTERM after step 6; resume with") == 1
    assert "Traceback" not in stopped.printed()
    fit(pair, [*RESUME, "--data.batch_size=4"])  # with one rank
    assert_same_numbers(pair / "run", undisturbed / "run")
    assert logged(pair / "run", "val/loss")[4] == before[4]


def test_train_with_two_devices_has_the_losses_of_one(folder: Path, undisturbed: Path) -> None:
    """`picochat train sft --devices 2 --batch-size 2` takes the steps of `--batch-size 4`."""
    words = f"train sft --input chat.jsonl --checkpoint {undisturbed}/run/best_checkpoint --steps 20 --eval-every 5"
    words += " --device cpu --precision float32 --optimizer muon --learning-rate 0.004 --val-fraction 0.2"
    for out, more in (("one", "--batch-size 4"), ("two", "--batch-size 2 --devices 2")):
        run = command(folder, f"{words} --out-dir {out} {more}".split())
        assert run.end() == 0, run.printed()
    for name, count in (("train/loss", 2), ("val/loss", 4)):
        one, two = (logged(folder / out, name) for out in ("one", "two"))
        assert len(one) == count
        assert two == pytest.approx(one, rel=1e-4)
        assert len(set(one.values())) == count  # it learns


def test_two_ranks_end_together_by_early_stopping_and_by_the_time_limit(pair: Path) -> None:
    fit(pair, [*TWO, IMPATIENT])
    assert max(logged(pair / "run", "train/loss")) == 8
    fit(pair, [*TWO, "--force", "--trainer.max_time=00:00:00:03", *slow("step", step=1, seconds=5)])
    assert max(logged(pair / "run", "train/loss")) in (1, 2)  # 1 where a machine needs three seconds for a step
    fit(pair, RESUME)
    assert max(logged(pair / "run", "train/loss")) == 12


def test_the_predictions_of_two_ranks_are_those_of_one_in_the_order_of_the_rows(pair: Path) -> None:
    rows = (pair / "eval.jsonl").read_text().splitlines(keepends=True)
    for count, ranks in ((7, []), (7, TWO), (1, TWO)):  # an odd number, and fewer than ranks
        (pair / "eval.jsonl").write_text("".join(rows[:count]))
        predict = command(pair, ["predict", "--config", "run.yaml", "--data.batch_size=1", *ranks])
        assert predict.end() == 0, predict.printed()
        lines = (pair / "run" / "predictions.jsonl").read_text().splitlines()
        assert [json.loads(line)["id"] for line in lines] == [f"spell-{1000 + n}" for n in range(count)]
        (pair / "run" / "predictions.jsonl").unlink()


@pytest.mark.parametrize("dead", [0, 1])
@pytest.mark.parametrize("place", ["step", "validation"])
def test_when_a_rank_dies_the_other_ends_with_an_error_and_the_run_can_be_resumed(
    pair: Path, undisturbed: Path, dead: int, place: str
) -> None:
    run = start(pair, [*TWO, *slow(place, step=4)])
    run.until(f"at {place}")
    assert run.process.pid is not None
    other = second_rank(run)
    os.kill((run.process.pid, other)[dead], signal.SIGKILL)
    go_on(pair)
    assert run.end() != 0
    patience = time.monotonic() + 600
    while Path(f"/proc/{other}").exists() and "Z" not in Path(f"/proc/{other}/stat").read_text().split()[2]:
        assert time.monotonic() < patience
        time.sleep(0.1)
    fit(pair, [*RESUME, "--data.batch_size=4"])
    assert_same_numbers(pair / "run", undisturbed / "run")
    assert results(pair / "run").keys() == results(undisturbed / "run").keys()
