"""Ctrl-C, SIGTERM and SLURM's SIGUSR1 at every place of a run, sent to real processes."""

import signal
from pathlib import Path

import pytest
from runs import fit, results, slow, start

STATUS = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGUSR1: 138}
RESUME = ["--ckpt_path", "run/last.ckpt"]


@pytest.mark.parametrize(
    ("place", "number"),
    [
        ("validation", signal.SIGINT),
        ("validation", signal.SIGUSR1),
        ("validation end", signal.SIGTERM),
    ],
)
def test_a_signal_in_a_validation_does_not_wait_for_it_and_the_resumed_run_does_it_again(
    folder: Path, undisturbed: Path, place: str, number: signal.Signals
) -> None:
    run = start(folder, slow(place, step=4))
    run.until(f"at {place}")
    run.send(number)
    assert run.end(timeout=60) == STATUS[number], run.printed()
    line = f"stopped by {number.name} after step 4; resume with: picochat fit --config run/config.yaml"
    assert run.printed().count(line) == 1
    assert "Traceback" not in run.printed()
    fit(folder, RESUME)
    assert results(folder / "run") == results(undisturbed / "run")


@pytest.mark.parametrize("number", STATUS)
def test_a_signal_in_training_stops_after_the_step_under_way(
    folder: Path, undisturbed: Path, number: signal.Signals
) -> None:
    run = start(folder, slow("step", step=5, seconds=1.0))
    run.until("at step")
    run.send(number)
    assert run.end() == STATUS[number], run.printed()
    assert f"stopped by {number.name} after step 6; resume with: picochat fit" in run.printed()
    fit(folder, RESUME)
    assert results(folder / "run") == results(undisturbed / "run")


def test_a_second_ctrl_c_ends_at_once(folder: Path) -> None:
    run = start(folder, slow("step", step=5))
    run.until("at step")
    run.send(signal.SIGINT)
    run.until("stopping after this step (Ctrl-C again: at once)")
    run.send(signal.SIGINT)
    assert run.end(timeout=20) == -signal.SIGINT  # which a shell shows as 130


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("prepare", ["--data=slow.Preparing"]),
        ("sanity", ["--trainer.num_sanity_val_steps=2", *slow("sanity")]),
    ],
)
def test_a_signal_before_the_first_step_ends_at_once_and_the_folder_is_free_for_the_next_run(
    folder: Path, number: signal.Signals, place: str, words: list[str]
) -> None:
    run = start(folder, words)
    run.until(f"at {place}")
    run.send(number)
    assert run.end(timeout=20) == STATUS[number], run.printed()
    assert f"picochat: stopped by {number.name}" in run.printed()
    assert "Traceback" not in run.printed()
    assert not (folder / "run" / "last.ckpt").exists()
    assert not (folder / "run" / ".lock").exists()
