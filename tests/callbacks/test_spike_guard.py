"""A spike is undone on every rank, the rate falls, and a resumed run decides like one that never stopped."""

import json
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from tiny import Line, loader, trainer, weights

from picochat.callbacks import GradientClip, LastCheckpoint, LRSchedule, SpikeGuard, is_spike
from picochat.errors import UserError
from picochat.model.optim import JoinedOptimizer


def test_a_spike_is_measured_in_robust_deviations() -> None:
    recent = [1.0, 2.0, 3.0, 4.0, 100.0]  # median 3; deviations 2 1 0 1 97, so MAD 1; the outlier does not count
    assert not is_spike(3 + 2 * 1.4826 - 0.01, recent, threshold=2.0)
    assert is_spike(3 + 2 * 1.4826 + 0.01, recent, threshold=2.0)
    assert not is_spike(-50.0, recent, threshold=2.0)


def test_a_loss_that_hardly_moves_makes_no_spike_of_a_ripple() -> None:
    recent = [2.0] * 9
    assert not is_spike(2.19, recent, threshold=10.0)
    assert is_spike(2.21, recent, threshold=10.0)


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


def test_a_spike_brings_back_the_snapshot_and_halves_the_rate(tmp_path: Path) -> None:
    diary, spikes = Diary(), guard()
    run = trainer(tmp_path, [spikes, diary], max_steps=12)
    run.fit(Line(lr=0.01, spoil=poison(9)), loader())
    # Snapshots are of steps 0, 3, 6 and, once the loss of the step after them was seen, 9 …
    assert spikes.rollbacks == 1
    assert diary.weights[9] == diary.weights[6]  # step 9 was not taken
    assert diary.weights[9] != diary.weights[8]
    assert len({str(state) for state in diary.weights}) == 12  # every other step moved: 13 states, two of them equal
    assert diary.rates == pytest.approx([0.01] * 9 + [0.005] * 3)
    assert float(run.callback_metrics["train/lr_factor"]) == 0.5
    assert run.optimizers[0].state_dict()["state"][0]["step"] == 6 + 3


def test_a_second_rollback_to_the_same_snapshot_finds_it_as_it_was(tmp_path: Path) -> None:
    diary = Diary()
    run = trainer(tmp_path, [guard(snapshot_every=5), diary], max_steps=9)
    run.fit(Line(lr=0.01, spoil=poison(7, 9)), loader())
    assert diary.weights[7] == diary.weights[9] == diary.weights[5] != diary.weights[8]
    assert run.optimizers[0].state_dict()["state"][0]["step"] == 5


def test_a_run_without_spikes_is_left_exactly_alone(tmp_path: Path) -> None:
    plain, guarded = Line(), Line()
    trainer(tmp_path, []).fit(plain, loader())
    trainer(tmp_path, [guard(threshold=1000.0)]).fit(guarded, loader())
    assert weights(guarded) == weights(plain)


@pytest.mark.parametrize("guard_first", [True, False])
def test_the_order_of_guard_schedule_and_clipping_does_not_matter(tmp_path: Path, guard_first: bool) -> None:
    diary, spikes, clip = Diary(), guard(), GradientClip(max_norm=5.0)
    others: list[Callback] = [LRSchedule(decay="linear", min_lr_ratio=0.0), clip]
    callbacks = [spikes, *others] if guard_first else [*others, spikes]
    module = Line(lr=0.01, spoil=lambda step: math.nan if step == 8 else poison(9)(step))
    trainer(tmp_path, [*callbacks, diary], max_steps=10).fit(module, loader())
    assert diary.rates == pytest.approx([0.01 * (1 - step / 10) * (0.5 if step > 9 else 1) for step in range(1, 11)])
    assert (clip.skipped_steps, spikes.rollbacks) == (1, 1)  # the nan is the clipper's, the spike the guard's
    assert diary.weights[8] == diary.weights[7]
    assert diary.weights[9] == diary.weights[6]


def test_weights_that_are_no_numbers_are_replaced(tmp_path: Path) -> None:
    diary, spikes = Diary(), guard()
    module = Line(lr=0.01, spoil=poison(5, factor=math.nan))  # no clipper: step 5 ruins the weights
    trainer(tmp_path, [spikes, diary]).fit(module, loader())
    assert math.isnan(diary.weights[5]["layer.weight"][0])
    assert diary.weights[6] == diary.weights[3]
    assert all(math.isfinite(value) for values in weights(module).values() for value in values)


def test_the_loss_of_a_step_is_the_mean_of_its_micro_batches(tmp_path: Path) -> None:
    spikes = guard(window=3)
    module = Line(lr=0.0)
    trainer(tmp_path, [spikes], max_steps=3, accumulate_grad_batches=2).fit(module, loader())
    pairs = zip(module.losses[::2], module.losses[1::2], strict=True)
    assert spikes.state_dict()["recent"] == pytest.approx([(a + b) / 2 for a, b in pairs])


def test_one_spike_too_many_ends_the_run_and_names_the_step(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"spiked to .* at optimizer step 8, after 2 rollbacks; lower"):
        trainer(tmp_path, [guard(max_rollbacks=2)]).fit(Line(lr=0.01, spoil=poison(6, 7, 8)), loader())


def test_a_resumed_run_rolls_back_to_the_snapshot_of_before_the_stop(tmp_path: Path) -> None:
    def run(root: Path, steps: int, ckpt_path: Path | None = None) -> tuple[Line, Diary]:
        module, diary = Line(lr=0.01, spoil=poison(6, 11)), Diary()
        rows = torch.utils.data.Subset(loader().dataset, range(2 * 8 if ckpt_path else 0, 64))
        fit = trainer(root, [guard(), diary, LastCheckpoint()], max_steps=steps, enable_checkpointing=True)
        fit.fit(module, torch.utils.data.DataLoader(rows, batch_size=2), ckpt_path=ckpt_path, weights_only=True)
        return module, diary

    whole, whole_diary = run(tmp_path / "whole", 14)
    run(tmp_path / "parts", 8)  # between the two spikes; the last snapshot is of step 6
    resumed, diary = run(tmp_path / "parts", 14, tmp_path / "parts" / "last.ckpt")
    assert weights(resumed) == weights(whole)
    assert diary.rates == whole_diary.rates[8:] == pytest.approx([0.005] * 3 + [0.0025] * 3)


class TwoRules(Line):
    """Muon for the matrix, AdamW for the bias, behind one optimizer: what picochat trains with."""

    def configure_optimizers(self) -> torch.optim.Optimizer:
        muon = torch.optim.Muon([self.layer.weight], lr=0.02, momentum=0.95)
        return JoinedOptimizer([muon, torch.optim.AdamW([self.layer.bias], lr=0.01)])


def test_both_rules_of_the_joined_optimizer_go_back(tmp_path: Path) -> None:
    diary = Diary()
    run = trainer(tmp_path, [guard(), diary, LRSchedule(decay="none")], max_steps=12)
    run.fit(TwoRules(spoil=poison(9)), loader())
    assert diary.weights[9] == diary.weights[6]
    assert diary.weights[12] != diary.weights[11]
    assert diary.rates == pytest.approx([0.02] * 9 + [0.01] * 3)
    assert run.optimizers[0].state_dict()["state"][1]["step"] == 6 + 3


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
            report = {"weights": diary.weights, "rollbacks": spikes.rollbacks, "skipped": clip.skipped_steps}
            (folder / f"rank{trainer.global_rank}.json").write_text(json.dumps(report))

    run.callbacks.append(Report())  # type: ignore[attr-defined]
    run.fit(Rank(lr=0.01), loader())


def test_two_ranks_roll_back_and_skip_together_when_one_meets_poison(tmp_path: Path) -> None:
    code = "import sys; from pathlib import Path; from test_spike_guard import two_ranks; two_ranks(Path(sys.argv[1]))"
    command = [sys.executable, "-W", "ignore", "-c", code, str(tmp_path)]
    subprocess.run(command, check=True, timeout=120, capture_output=True, cwd=Path(__file__).parent)
    first, second = (json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in (0, 1))
    assert first == second
    assert (first["rollbacks"], first["skipped"]) == (1, 1)
    assert first["weights"][9] == first["weights"][6]
    assert first["weights"][11] == first["weights"][10]
    assert first["weights"][12] != first["weights"][11]


@pytest.mark.parametrize(
    "settings", [{"window": 1}, {"threshold": 0.0}, {"lr_cut": 0.0}, {"snapshot_every": 0}, {"max_rollbacks": -1}]
)
def test_settings_out_of_range_are_named(settings: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=next(iter(settings))):
        SpikeGuard(**settings)
