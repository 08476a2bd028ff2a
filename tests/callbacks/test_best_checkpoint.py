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
    module = Scripted([float("nan"), 1.0, 3.0, float("nan")])
    callback = BestCheckpoint(monitor="val/score", mode=mode)  # type: ignore[arg-type]
    fit(tmp_path, module, [callback, LastCheckpoint()], 4)
    assert len(set(module.at)) == 4
    assert saved_weight(tmp_path) == module.at[best]
    assert saved_weight(tmp_path, "last_checkpoint") == module.at[3]
    assert callback.best_step == best + 1


@pytest.mark.parametrize(
    ("meanwhile", "mode", "values", "best"),
    [
        ("nothing", "min", [4.0, 3.0], (1.0, 1)),  # both are worse
        ("killed between two renames", "min", [4.0, 3.0], (1.0, 1)),
        # behind a best whose step no checkpoint holds: it is done again, perhaps with other settings
        ("killed after a better one", "min", [7.0, 8.0], (7.0, 3)),
        ("into another folder", "min", [3.0, 4.0], (3.0, 3)),  # which is to have a best of its own
        ("the other way round", "max", [0.5, 0.4], (0.5, 3)),
    ],
)
def test_a_resumed_run_has_the_best_from_before_where_it_is_one(
    tmp_path: Path, meanwhile: str, mode: str, values: list[float], best: tuple[float, int]
) -> None:
    fit(tmp_path, first := Scripted([1.0, 5.0]), [BestCheckpoint("val/score"), LastCheckpoint()], 2)
    folder, root = tmp_path / "best_checkpoint", tmp_path
    if meanwhile == "killed between two renames":
        folder.rename(tmp_path / ".best_checkpoint.old")
    elif meanwhile == "killed after a better one":
        (folder / "picochat.json").write_text('{"monitor": {"best_step": 3}}')
    elif meanwhile == "into another folder":
        root = tmp_path / "new"
    resumed, callback = Scripted([0.0, 0.0, *values]), BestCheckpoint("val/score", mode)  # type: ignore[arg-type]
    fit(root, resumed, [callback, LastCheckpoint()], 4, ckpt_path=str(tmp_path / "last.ckpt"))
    assert len(resumed.at) == 2
    assert (callback.best_value, callback.best_step) == best
    assert saved_weight(root) == (first.at[0] if best[1] == 1 else resumed.at[0])
    assert saved_weight(root, "last_checkpoint") == resumed.at[1]


def test_without_the_value_the_last_weights_are_the_best_and_it_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    module = Scripted([1.0, 2.0])
    with caplog.at_level("INFO"):
        fit(tmp_path, module, [BestCheckpoint(monitor="val/loss", patience=1), LastCheckpoint()], 2)
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
