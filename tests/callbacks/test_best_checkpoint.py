"""The folders hold the weights of the best validation and of the end, whole, across resumes."""

from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import EMAWeightAveraging
from safetensors.torch import load_file
from tiny import Line, loader, trainer

from picochat.callbacks import BenchmarkMetrics, BestCheckpoint, LastCheckpoint


class Scripted(Line):
    """Validation values are what the test says; `at` holds the weight after each validation."""

    def __init__(self, values: list[float]) -> None:
        super().__init__()
        self.values = values
        self.at: list[float] = []
        self.live: list[float] = []

    def on_train_batch_end(self, *_: Any) -> None:
        self.live.append(float(self.layer.weight.detach()))

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        step = self.trainer.global_step
        self.log("val/score", self.values[step - 1])
        self.at.append(float(self.layer.weight.detach()))


def fit(root: Path, module: LightningModule, callbacks: list[Callback], steps: int, **settings: Any) -> Trainer:
    run = trainer(root, callbacks, max_steps=steps, val_check_interval=1, enable_checkpointing=True)
    run.fit(module, loader(), loader(rows=2), **settings)
    return run


def saved_weight(root: Path, name: str = "best_checkpoint") -> float:
    return float(load_file(root / name / "model.safetensors")["layer.weight"])


@pytest.mark.parametrize(("mode", "best"), [("min", 1), ("max", 2)])
def test_best_holds_the_weights_of_the_best_validation_and_last_those_of_the_end(
    tmp_path: Path, mode: str, best: int
) -> None:
    module = Scripted([2.0, 1.0, 3.0, float("nan")])
    callback = BestCheckpoint(monitor="val/score", mode=mode)  # type: ignore[arg-type]
    fit(tmp_path, module, [callback, LastCheckpoint()], 4)
    assert len(set(module.at)) == 4
    assert saved_weight(tmp_path) == module.at[best]
    assert saved_weight(tmp_path, "last_checkpoint") == module.at[3]
    assert callback.best_step == best + 1


@pytest.mark.parametrize("moved_aside", [False, True])  # by a kill between the two renames of the next best
def test_the_best_value_survives_a_resume(tmp_path: Path, moved_aside: bool) -> None:
    fit(tmp_path, first := Scripted([1.0, 5.0]), [BestCheckpoint("val/score"), LastCheckpoint()], 2)
    if moved_aside:
        (tmp_path / "best_checkpoint").rename(tmp_path / ".best_checkpoint.old")
    # 0.0 belongs to steps that were done before; 4.0 and 3.0 are worse than 1.0
    resumed = Scripted([0.0, 0.0, 4.0, 3.0])
    fit(tmp_path, resumed, [BestCheckpoint("val/score"), LastCheckpoint()], 4, ckpt_path=str(tmp_path / "last.ckpt"))
    assert len(resumed.at) == 2
    assert saved_weight(tmp_path) == first.at[0]
    assert saved_weight(tmp_path, "last_checkpoint") == resumed.at[1]


def test_a_best_of_steps_that_are_done_again_with_other_settings_is_replaced(tmp_path: Path) -> None:
    """Killed behind a best whose step no checkpoint holds."""
    fit(tmp_path, Scripted([2.0, 1.0]), [BestCheckpoint("val/score"), LastCheckpoint()], 2)
    (tmp_path / "best_checkpoint" / "picochat.json").write_text('{"monitor": {"best_step": 3}}')
    resumed, callback = Scripted([0.0, 0.0, 7.0, 8.0]), BestCheckpoint("val/score")
    fit(tmp_path, resumed, [callback, LastCheckpoint()], 4, ckpt_path=str(tmp_path / "last.ckpt"))
    assert (callback.best_value, callback.best_step) == (7.0, 3)
    assert saved_weight(tmp_path) == resumed.at[0]


def test_a_run_resumed_into_another_folder_has_a_best_of_its_own(tmp_path: Path) -> None:
    fit(tmp_path / "old", Scripted([1.0, 5.0]), [BestCheckpoint("val/score"), LastCheckpoint()], 2)
    resumed = Scripted([0.0, 0.0, 3.0, 4.0])  # both worse than the 1.0 of the old folder
    callback = BestCheckpoint("val/score")
    last = str(tmp_path / "old" / "last.ckpt")
    fit(tmp_path / "new", resumed, [callback, LastCheckpoint()], 4, ckpt_path=last)
    assert (callback.best_value, callback.best_step) == (3.0, 3)
    assert saved_weight(tmp_path / "new") == resumed.at[0]


def test_without_the_value_the_last_weights_are_the_best_and_it_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    module = Scripted([1.0, 2.0])
    with caplog.at_level("INFO"):
        fit(tmp_path, module, [BestCheckpoint(monitor="val/loss"), LastCheckpoint()], 2)
    assert saved_weight(tmp_path) == saved_weight(tmp_path, "last_checkpoint") == module.at[1]
    assert "val/loss was never logged, so best_checkpoint holds the last weights" in caplog.text


class Asked(BenchmarkMetrics):
    """Notes the weight that would answer."""

    def _evaluate(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, float]:
        self.weights = [*getattr(self, "weights", []), float(pl_module.state_dict()["layer.weight"])]
        return {}


@pytest.mark.parametrize("place", [0, 3])  # of the averaging callback
def test_averaged_weights_are_saved_and_answer_wherever_they_are_validated(tmp_path: Path, place: int) -> None:
    (tmp_path / "eval.jsonl").write_text('{"prompt": "one?", "answer": "two"}')
    asked, best = Asked(str(tmp_path / "eval.jsonl")), BestCheckpoint("val/score")
    callbacks: list[Callback] = [asked, best, LastCheckpoint()]
    callbacks.insert(place, EMAWeightAveraging(decay=0.5))
    module = Scripted([2.0, 1.0, 3.0])
    fit(tmp_path, module, callbacks, 3)
    assert saved_weight(tmp_path) == module.at[1]
    assert saved_weight(tmp_path, "last_checkpoint") == module.at[2] == float(module.layer.weight.detach())
    assert asked.weights == module.at
    assert module.at[1] != pytest.approx(module.live[1])


def test_training_stops_early_and_a_resumed_run_has_the_patience_of_its_own_settings(tmp_path: Path) -> None:
    values = [3.0, 2.0, 2.5, 1.0, 2.0, 1.5, 1.2, 1.1, 0.5, 2.0]  # two in a row without a better one at steps 5 and 6

    def stops_at(patience: int | None, **settings: str) -> int:
        callbacks = [BestCheckpoint("val/score", patience=patience), LastCheckpoint()]
        return int(fit(tmp_path, Scripted(values), callbacks, 10, **settings).global_step)

    assert stops_at(2) == 6
    assert stops_at(4, ckpt_path=str(tmp_path / "last.ckpt")) == 8  # two had been waited for
    assert stops_at(None, ckpt_path=str(tmp_path / "last.ckpt")) == 10
