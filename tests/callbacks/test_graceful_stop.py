"""A signal ends training after the step under way, on all ranks, and what it leaves resumes exactly."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from lightning.pytorch import Callback
from test_resume import ResumableLoader, Rows, rows
from tiny import Line, trainer, weights
from torch.utils.data import DataLoader

from picochat.callbacks import AtomicCheckpointIO, BestCheckpoint, GracefulStop, RunLogger

SCRIPT = """
import sys, time
sys.path.insert(0, {tests!r})
from pathlib import Path
from test_graceful_stop import train
from lightning.pytorch import Callback

class Slow(Callback):
    def on_train_batch_start(self, trainer, *args):
        if trainer.is_global_zero:
            print("step", trainer.global_step + 1, flush=True)
        time.sleep(0.05)

train(Path(sys.argv[1]), [Slow()], devices=int(sys.argv[2]))
"""


def train(root: Path, extra: list[Callback], resume: bool = False, devices: int = 1) -> Line:
    module = Line()
    fit = trainer(
        root,
        [GracefulStop("resume {run}"), BestCheckpoint(), *extra],
        max_steps=30,
        val_check_interval=10,
        enable_checkpointing=True,
        logger=RunLogger(str(root)),
        plugins=[AtomicCheckpointIO()],
        devices=devices,
        strategy="ddp" if devices > 1 else "auto",
        use_distributed_sampler=False,
    )
    fit.fit(
        module,
        ResumableLoader(fit),
        DataLoader(Rows(), batch_size=8),
        ckpt_path=str(root / "last.ckpt") if resume else None,
    )
    return module


def start(folder: Path, devices: int = 1) -> "subprocess.Popen[str]":
    script = folder / "script.py"
    script.write_text(SCRIPT.format(tests=str(Path(__file__).parent)))
    command = [sys.executable, "-W", "ignore", str(script), str(folder / "run"), str(devices)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("step 3"):
            return process
    raise AssertionError(process.communicate()[1])


def test_ctrl_c_ends_the_run_after_its_step_and_it_resumes_exactly(tmp_path: Path) -> None:
    process = start(tmp_path)
    process.send_signal(signal.SIGINT)
    printed, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert len(printed.splitlines()) <= 2  # the step under way, and perhaps the start of the next
    assert "stopped by SIGINT after step" in errors
    assert f"resume with: resume {tmp_path / 'run'}" in errors
    resumed = train(tmp_path / "run", [], resume=True)
    whole = train(tmp_path / "whole", [])
    assert weights(resumed) == weights(whole)
    assert rows(tmp_path / "run") == rows(tmp_path / "whole")


class Interrupt(Callback):
    """Sends the signal at the end of a given step, before the other callbacks look."""

    def __init__(self, step: int, number: int = signal.SIGTERM) -> None:
        self.step = step
        self.number = number

    def on_train_batch_end(self, trainer: object, *args: object) -> None:
        if trainer.global_step == self.step:  # type: ignore[attr-defined]
            signal.raise_signal(self.number)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGUSR1, 138)])
def test_each_signal_has_the_status_a_shell_expects(
    tmp_path: Path, number: int, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        train(tmp_path, [Interrupt(4, number)])
    assert stop.value.code == status
    assert f"stopped by {signal.Signals(number).name} after step 4; resume with: resume" in capsys.readouterr().err
    assert (tmp_path / "last.ckpt").is_file()


def test_a_validation_that_is_due_is_left_to_the_resumed_run(tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as stop:
        train(tmp_path / "run", [Interrupt(10)])
    assert stop.value.code == 143
    assert "val/loss" not in rows(tmp_path / "run")[0]
    resumed, whole = train(tmp_path / "run", [], resume=True), train(tmp_path / "whole", [])
    assert weights(resumed) == weights(whole)
    assert rows(tmp_path / "run") == rows(tmp_path / "whole")


def test_a_signal_at_the_last_step_lets_the_run_end_by_itself(tmp_path: Path) -> None:
    train(tmp_path, [Interrupt(30)])
    assert (tmp_path / "last_checkpoint" / "model.safetensors").is_file()


def test_handlers_are_those_of_before_when_the_run_is_over(tmp_path: Path) -> None:
    before = [signal.getsignal(number) for number in GracefulStop.SIGNALS]
    train(tmp_path / "one", [])
    with pytest.raises(SystemExit):
        train(tmp_path / "two", [Interrupt(4)])
    assert [signal.getsignal(number) for number in GracefulStop.SIGNALS] == before


@pytest.mark.slow
def test_a_second_ctrl_c_ends_at_once(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    tests = str(Path(__file__).parent)
    script.write_text(SCRIPT.format(tests=tests).replace("time.sleep(0.05)", "time.sleep(600)"))
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", str(script), str(tmp_path / "run"), "1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    while not process.stdout.readline().startswith("step 1"):
        pass
    process.send_signal(signal.SIGINT)
    while "stopping after this step" not in process.stderr.readline():
        pass
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=10)
    assert process.returncode == -signal.SIGINT  # which a shell shows as 130


@pytest.mark.slow
def test_a_signal_to_one_rank_stops_both(tmp_path: Path) -> None:
    process = start(tmp_path, devices=2)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 143, errors
    assert errors.count("resume with: resume") == 1
    resumed = train(tmp_path / "run", [], resume=True)
    assert resumed.trainer.global_step == 30
