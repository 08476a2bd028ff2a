"""One run a folder; a killed run's folder is free again."""

import signal
import socket
from pathlib import Path

from killable import RESUME, fit, kill, refused, results, slow, start


def test_a_second_run_in_the_same_folder_is_refused_and_names_the_first(folder: Path, undisturbed: Path) -> None:
    first = start(folder, slow("step", step=5))
    first.until("at step")
    error = refused(folder, ["fit", "--config", "run.yaml", "--force"])
    assert f"run is being written by process {first.process.pid} on {socket.gethostname()}; wait until" in error
    first.send(signal.SIGKILL)
    assert first.end() == -signal.SIGKILL
    assert (folder / "run" / ".lock").exists()  # as the killed run left it
    fit(folder, RESUME)
    assert results(folder / "run") == results(undisturbed / "run")
    left, expected_names = ({path.name for path in (one / "run").iterdir()} for one in (folder, undisturbed))
    assert left == expected_names


def test_a_loader_worker_that_outlives_a_killed_run_does_not_hold_its_folder(folder: Path, undisturbed: Path) -> None:
    kill(folder, ["--data.num_workers=1"], step=5)
    fit(folder, RESUME)
    assert results(folder / "run") == results(undisturbed / "run")
