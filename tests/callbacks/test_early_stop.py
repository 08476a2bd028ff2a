"""A resumed run waits as long as its present settings say."""

from pathlib import Path

from tiny import Line, loader, trainer

from picochat.callbacks import EarlyStop, LastCheckpoint


def test_a_resumed_run_has_the_patience_of_its_own_settings(tmp_path: Path) -> None:
    def fit(patience: int, **settings: str) -> int:
        stop = EarlyStop(monitor="val/loss", patience=patience, min_delta=100.0)
        run = trainer(tmp_path, [stop, LastCheckpoint()], max_steps=8, val_check_interval=2, enable_checkpointing=True)
        run.fit(Line(), loader(), loader(rows=2), **settings)
        return int(run.global_step)

    assert fit(2) == 6
    assert fit(100, ckpt_path=str(tmp_path / "last.ckpt")) == 8
