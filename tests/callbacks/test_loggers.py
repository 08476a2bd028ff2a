"""Loggers by config: metrics.csv always, TensorBoard and W&B beside it, all with the same numbers."""

import csv
import json
import warnings
from pathlib import Path

import pytest

from picochat.cli import main

RUN = [
    *("fit", "--config", "capability.yaml", "--model.checkpoint=null", "--trainer.max_steps=4"),
    *("--trainer.val_check_interval=4", "--trainer.log_every_n_steps=2", "--trainer.precision=32-true"),
    *("--data.sft_rows=400", "--data.eval_rows=80", "--benchmark_metrics.max_new_tokens=8"),
]
STORIES = ["data", "import", "--source", "stories", "--documents", "300", "--out-dir", "runs/data"]
SHOWN = {  # what a run has to show, wherever it is shown
    *("train/loss", "train/lr", "train/grad_norm", "train/tokens_per_s", "train/supervised_tokens_per_s"),
    *("train/loader_wait", "train/padding", "val/loss", "val/loss/identity", "eval/weak_skills/pass_rate"),
    *("data/tokens/identity", "data/examples/identity", "data/rows/identity", "data/learnt/identity"),
}


def csv_values(root: Path) -> dict[str, list[float]]:
    with (root / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {name: [float(row[name]) for row in rows if row[name]] for name in rows[0]}


@pytest.fixture(scope="module")
def tensorboard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that was told to log to TensorBoard."""
    pytest.importorskip("tensorboard")
    root = tmp_path_factory.mktemp("tensorboard")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        main(STORIES)
        main([*RUN, "--trainer.logger=TensorBoardLogger", "--trainer.logger.save_dir=runs/capability/tensorboard"])
    return root / "runs/capability"


def test_metrics_csv_shows_everything_whatever_else_is_asked_for(tensorboard: Path) -> None:
    values = csv_values(tensorboard)
    assert values.keys() >= SHOWN
    learnt = [shares[0] for name, shares in values.items() if name.startswith("data/learnt/")]
    assert len(learnt) > 5
    assert sum(learnt) == pytest.approx(1, abs=1e-6)
    assert len(values["train/tokens_per_s"]) == 2
    assert min(values["train/tokens_per_s"]) > 0


def test_tensorboard_shows_the_same(tensorboard: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of tensorboard's own imports
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        (folder,) = {path.parent for path in tensorboard.rglob("events.out.tfevents.*")}
        events = EventAccumulator(str(folder))
        events.Reload()
    assert set(events.Tags()["scalars"]) >= SHOWN
    for name in ("train/loss", "train/padding", "data/learnt/identity", "val/loss"):
        shown = [event.value for event in events.Scalars(name)]
        assert shown == pytest.approx(csv_values(tensorboard)[name], rel=1e-6), name
    settings = (folder / "hparams.yaml").read_text()
    assert "max_steps: 4" in settings


@pytest.mark.slow
def test_wandb_shows_the_same_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of wandb's own
        main(STORIES)
        main([*RUN, "--trainer.logger=WandbLogger", "--trainer.logger.save_dir=runs", "--trainer.logger.offline=true"])
        import wandb

        run = wandb.run
        assert run is not None
        summary = json.loads(json.dumps(dict(run.summary), default=float))
        assert run.config["trainer"]["max_steps"] == 4
        wandb.finish()
    assert set(summary) >= SHOWN
    assert list(tmp_path.glob("runs/wandb/offline-run-*"))
    for name in ("train/loss", "train/padding", "val/loss"):
        assert summary[name] == pytest.approx(csv_values(tmp_path / "runs/capability")[name][-1], rel=1e-6), name
