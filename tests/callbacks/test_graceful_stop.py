"""A signal ends training after the step under way, in any Lightning project, and what it leaves resumes exactly."""

import signal
from pathlib import Path

import pytest
from lightning.pytorch import Callback
from test_resume import ResumableLoader, Rows, rows
from tiny import Line, trainer, weights
from torch.utils.data import DataLoader

from picochat.callbacks import AtomicCheckpointIO, BestCheckpoint, GracefulStop, RunLogger


def train(root: Path, extra: list[Callback], resume: bool = False) -> Line:
    module = Line()
    fit = trainer(
        root,
        [GracefulStop("resume {run}"), BestCheckpoint(), *extra],
        max_steps=30,
        val_check_interval=10,
        enable_checkpointing=True,
        logger=RunLogger(str(root)),
        plugins=[AtomicCheckpointIO()],
    )
    last = str(root / "last.ckpt") if resume else None
    fit.fit(module, ResumableLoader(fit), DataLoader(Rows(), batch_size=8), ckpt_path=last)
    return module


class Interrupt(Callback):
    """Sends the signal at the end of a given step, before the other callbacks look."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_end(self, trainer: object, *args: object) -> None:
        if trainer.global_step == self.step:  # type: ignore[attr-defined]
            signal.raise_signal(signal.SIGTERM)


@pytest.mark.parametrize("step", [10, 29])  # with a validation due, which is left to the resumed run; and without
def test_a_stopped_run_says_how_to_go_on_and_resumes_exactly(
    tmp_path: Path, step: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="143"):
        train(tmp_path / "run", [Interrupt(step)])
    said = f"stopped by SIGTERM after step {step}; resume with: resume {tmp_path / 'run'}"
    assert said in capsys.readouterr().err
    assert ("val/loss" in rows(tmp_path / "run")[0]) == (step > 10)
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
