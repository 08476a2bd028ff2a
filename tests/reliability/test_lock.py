"""One run a folder; a killed run's folder is free again."""

import signal
import socket
from pathlib import Path

from runs import fit, results, slow, start


def test_a_second_run_in_the_same_folder_is_refused_and_names_the_first(folder: Path, undisturbed: Path) -> None:
    first = start(folder, slow("step", step=5, seconds=600))
    first.until("at step")
    for words in (["--ckpt_path", "run/last.ckpt"], ["--force"], []):
        errors = fit(folder, words, status=2)
        expected = f"run is being written by process {first.process.pid} on {socket.gethostname()}; wait until"
        assert errors.count(expected) == 1
        assert "Traceback" not in errors
    first.send(signal.SIGKILL)
    assert first.end() == -signal.SIGKILL
    assert (folder / "run" / ".lock").exists()  # as the killed run left it
    fit(folder, ["--ckpt_path", "run/last.ckpt"])
    assert results(folder / "run") == results(undisturbed / "run")
    left, expected = ({path.name for path in (one / "run").iterdir()} for one in (folder, undisturbed))
    assert left == expected


def test_a_loader_worker_that_outlives_a_killed_run_does_not_hold_its_folder(folder: Path, undisturbed: Path) -> None:
    first = start(folder, ["--data.num_workers=1", *slow("step", step=5, seconds=600)])
    first.until("at step")
    first.send(signal.SIGKILL)
    assert first.end() == -signal.SIGKILL
    fit(folder, ["--ckpt_path", "run/last.ckpt"])
    assert results(folder / "run") == results(undisturbed / "run")
