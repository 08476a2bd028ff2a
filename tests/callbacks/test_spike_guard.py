"""examples/spike_guard.py: a spike is undone, on every rank."""

import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import forked
import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from tiny import Line, loader, trainer, weights

from picochat.callbacks import GradientClip, LRSchedule
from picochat.model.optim import MuonAdamW

sys.path.append(str(Path(__file__).parents[2] / "examples"))
from spike_guard import SpikeGuard, is_spike


@pytest.mark.parametrize(
    ("recent", "threshold", "limit"),
    [
        # median 3; deviations 2 1 0 1 97, so MAD 1; the outlier does not count
        ([1.0, 2.0, 3.0, 4.0, 100.0], 2.0, 3 + 2 * 1.4826),
        ([2.0] * 9, 10.0, 2.2),  # a loss that hardly moves makes no spike of a ripple
    ],
)
def test_a_spike_is_measured_in_robust_deviations(recent: list[float], threshold: float, limit: float) -> None:
    assert not is_spike(limit - 0.01, recent, threshold)
    assert is_spike(limit + 0.01, recent, threshold)
    assert not is_spike(-50.0, recent, threshold)


class Diary(Callback):
    """Weights before the first step and after each, and the rates the optimizer really used."""

    def __init__(self) -> None:
        self.weights: list[dict[str, list[float]]] = []
        self.rates: list[float] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.weights.append(weights(pl_module))
        optimizer = trainer.optimizers[0]
        optimizer.register_step_pre_hook(lambda opt, args, kwargs: self.rates.append(opt.param_groups[0]["lr"]))

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        self.weights.append(weights(pl_module))


def poison(*steps: int, factor: float = 1e4) -> Callable[[int], float]:
    return lambda step: factor if step in steps else 1.0


def guard(**settings: Any) -> SpikeGuard:
    return SpikeGuard(**{"window": 4, "threshold": 20.0, "snapshot_every": 3} | settings)


class TwoRules(Line):
    """Muon for the matrix, AdamW for the bias, behind one optimizer: what picochat trains with."""

    def configure_optimizers(self) -> torch.optim.Optimizer:
        muon = {"params": [self.layer.weight], "lr": 0.02, "momentum": 0.95, "weight_decay": 0.1}
        return MuonAdamW([muon, {"params": [self.layer.bias]}], lr=0.01)


@pytest.mark.parametrize("schedule", [[LRSchedule(0, "none")], []])  # which writes the rate anew at each step
def test_a_spike_brings_back_the_snapshot_and_halves_the_rate(schedule: list[Callback], tmp_path: Path) -> None:
    diary, spikes = Diary(), guard()
    run = trainer(tmp_path, [spikes, diary, *schedule], max_steps=12)
    run.fit(TwoRules(spoil=poison(9, 11)), loader())
    # Snapshots are of steps 0, 3, 6 and, once the loss of the step after them was seen, 9 …
    assert diary.weights[9] == diary.weights[11] == diary.weights[6]  # steps 9 and 11 were not taken
    assert diary.weights[9] != diary.weights[8]
    assert len({str(state) for state in diary.weights}) == 11  # every other step moved: 13 states, three of them equal
    assert diary.rates == pytest.approx([0.02] * 9 + [0.01] * 2 + [0.005])
    assert float(run.callback_metrics["train/lr_factor"]) == 0.25
    assert run.optimizers[0].state_dict()["state"][1]["step"] == 6 + 1


def two_ranks(folder: Path) -> None:
    """Two gloo processes; at step 9 only rank 1 meets poison, at step 11 only rank 0 meets a nan."""

    class Rank(Line):
        def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], batch_idx: int) -> torch.Tensor:
            step, rank = self.trainer.global_step + 1, self.global_rank
            factor = 1e4 if (step, rank) == (9, 1) else math.nan if (step, rank) == (11, 0) else 1.0
            return super().training_step(batch, batch_idx) * factor

    diary, spikes, clip = Diary(), guard(), GradientClip(max_norm=5.0)
    run = trainer(folder, [clip, spikes, diary], max_steps=12, devices=2, strategy="ddp_fork")

    class Report(Callback):
        def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
            report = {"weights": diary.weights, "rollbacks": spikes.state["rollbacks"], "skipped": clip.skipped_steps}
            (folder / f"rank{trainer.global_rank}.json").write_text(json.dumps(report))

    run.callbacks.append(Report())  # type: ignore[attr-defined]
    run.fit(Rank(lr=0.01), loader())


def test_two_ranks_roll_back_and_skip_together_when_one_meets_poison(tmp_path: Path) -> None:
    forked.run(two_ranks, tmp_path, output=tmp_path / "output")
    first, second = (json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in (0, 1))
    assert first == second
    assert (first["rollbacks"], first["skipped"]) == (1, 1)
    assert first["weights"][9] == first["weights"][6]
    assert first["weights"][11] == first["weights"][10]
    assert first["weights"][12] != first["weights"][11]
