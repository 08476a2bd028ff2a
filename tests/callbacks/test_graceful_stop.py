"""What a stop by a signal leaves alone; that it resumes exactly is tested by reliability/test_signals.py."""

import signal
from pathlib import Path

import pytest
from lightning.pytorch import Callback
from tiny import Line, loader, trainer

from picochat.callbacks import BestCheckpoint, GracefulStop


class Interrupt(Callback):
    """Sends the signal at the end of a given step, before the other callbacks look."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_end(self, trainer: object, *args: object) -> None:
        if trainer.global_step == self.step:  # type: ignore[attr-defined]
            signal.raise_signal(signal.SIGTERM)


def train(root: Path, step: int) -> None:
    callbacks = [Interrupt(step), GracefulStop(), BestCheckpoint()]
    trainer(root, callbacks, max_steps=8, enable_checkpointing=True).fit(Line(), loader())


def test_a_signal_at_the_last_step_lets_the_run_end_by_itself(tmp_path: Path) -> None:
    train(tmp_path, 8)
    assert (tmp_path / "last_checkpoint" / "model.safetensors").is_file()


def test_the_command_that_resumes_is_named_where_there_is_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "my run"
    command = f"with: picochat fit --config '{run}/config.yaml' --ckpt_path '{run}/last.ckpt'"
    for remedy in (f"from {run}/last.ckpt", command):
        with pytest.raises(SystemExit, match="143"):
            train(run, 4)
        assert capsys.readouterr().err == f"stopped by SIGTERM after step 4; resume {remedy}\n"
        (run / "config.yaml").touch()  # as of `picochat fit`


def test_handlers_are_those_of_before_when_the_run_is_over(tmp_path: Path) -> None:
    before = [signal.getsignal(number) for number in GracefulStop.SIGNALS]
    train(tmp_path / "one", 9)
    with pytest.raises(SystemExit, match="143"):
        train(tmp_path / "two", 4)
    assert [signal.getsignal(number) for number in GracefulStop.SIGNALS] == before
