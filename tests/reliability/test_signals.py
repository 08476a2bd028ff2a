"""Ctrl-C, SIGTERM and SLURM's SIGUSR1 at every place of a run, sent to real processes."""

import signal
from pathlib import Path

import pytest
from killable import RESUME, fit, go_on, results, slow, start

STATUS = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGUSR1: 138}


@pytest.mark.parametrize(
    ("place", "step", "number", "stopped_after"),
    [
        ("validation", 4, signal.SIGINT, 4),  # which is finished
        ("step", 7, signal.SIGTERM, 8),  # with a validation due, which is done
        ("step", 5, signal.SIGUSR1, 6),
    ],
)
def test_a_signal_stops_a_run_which_resumes_as_if_nothing_had_happened(
    folder: Path, undisturbed: Path, place: str, step: int, number: signal.Signals, stopped_after: int
) -> None:
    run = start(folder, slow(place, step))
    run.until(f"at {place}")
    run.send(number)
    go_on(folder)
    assert run.end() == STATUS[number], run.printed()
    line = f"stopped by {number.name} after step {stopped_after}; resume with: picochat fit --config run/config.yaml"
    assert run.printed().count(line) == 1
    assert "Traceback" not in run.printed()
    fit(folder, RESUME)
    assert results(folder / "run") == results(undisturbed / "run")


def test_a_second_ctrl_c_ends_at_once(folder: Path) -> None:
    run = start(folder, slow("step", step=5))
    run.until("at step")
    run.send(signal.SIGINT)
    run.until("stopping after this step (Ctrl-C again: at once)")
    run.send(signal.SIGINT)
    assert run.end() == -signal.SIGINT  # which a shell shows as 130


@pytest.mark.parametrize(
    ("place", "words", "number"),
    [
        ("prepare", ["--data=slow.Preparing"], signal.SIGINT),
        ("sanity", ["--trainer.num_sanity_val_steps=2", *slow("sanity")], signal.SIGTERM),
    ],
)
def test_a_signal_before_the_first_step_ends_at_once_and_the_folder_is_free_for_the_next_run(
    folder: Path, place: str, words: list[str], number: signal.Signals
) -> None:
    run = start(folder, words)
    run.until(f"at {place}")
    run.send(number)
    assert run.end() == STATUS[number], run.printed()
    assert f"picochat: stopped by {number.name}" in run.printed()
    assert "Traceback" not in run.printed()
    assert not (folder / "run" / "last.ckpt").exists()
    assert not (folder / "run" / ".lock").exists()
