"""The learning rate is arithmetic, and what a checkpoint remembers of it does not matter."""

from pathlib import Path

import pytest
import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.callbacks import LearningRateFinder
from tiny import Line, loader, trainer

from picochat.callbacks import LastCheckpoint, LRSchedule, lr_factor
from picochat.errors import UserError


@pytest.mark.parametrize(
    ("decay", "factors"),
    [
        ("none", [0.5, 1, 1, 1, 1, 1]),
        ("linear", [0.5, 1, 0.75, 0.5, 0.25, 0]),
        ("cosine", [0.5, 1, 0.8535534, 0.5, 0.1464466, 0]),
    ],
)
def test_six_steps_follow_the_drawing(decay: str, factors: list[float]) -> None:
    assert [lr_factor(step, 2, 6, decay, 0.0) for step in range(1, 7)] == pytest.approx(factors)  # type: ignore[arg-type]


def test_the_recipe_s_rates_come_out_and_the_end_stays_at_the_floor() -> None:
    rates = [1e-5 * lr_factor(step, 20, 180, "cosine", 0.1) for step in (1, 20, 100, 180)]
    assert rates == pytest.approx([5e-7, 1e-5, 5.5e-6, 1e-6])
    assert lr_factor(500, 20, 180, "linear", 0.1) == pytest.approx(0.1)
    assert lr_factor(1, 0, 10**9, "cosine", 0.0) == pytest.approx(1.0)
    assert lr_factor(5, 5, 5, "cosine", 0.1) == 1.0  # nothing but warm-up


def test_each_optimizer_step_uses_its_own_rate(tmp_path: Path) -> None:
    module = Line(lr=1.0)
    callback = LRSchedule(warmup_steps=2, decay="linear", min_lr_ratio=0.0)
    trainer(tmp_path, [callback], max_steps=6, accumulate_grad_batches=3).fit(module, loader())
    expected = [0.5, 1, 0.75, 0.5, 0.25, 0]
    assert module.rates == pytest.approx([rate for rate in expected for _ in range(3)])


def test_a_rate_changed_on_resume_takes_effect_and_a_restored_one_never_does(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    first = Line(lr=1.0)
    callbacks = lambda: [LRSchedule(0, "none"), LastCheckpoint(4)]  # noqa: E731
    trainer(tmp_path, callbacks(), max_steps=4, enable_checkpointing=True).fit(first, loader())
    resumed = Line(lr=0.25)
    second = trainer(tmp_path, callbacks(), max_steps=6, enable_checkpointing=True)
    second.fit(resumed, loader(), ckpt_path=str(tmp_path / "last.ckpt"), weights_only=True)
    assert first.rates == [1.0] * 4
    assert resumed.rates == [0.25] * 2
    assert second.optimizers[0].state_dict()["state"][0]["step"] == 6  # the optimizer's state was restored
    change = "LRSchedule: resuming changes the rate of step 5 from 1 to 0.25 (base 1.0 → 0.25, max_steps 4 → 6)"
    assert [line for line in caplog.messages if "LRSchedule" in line] == [change]


def test_more_steps_raise_a_decayed_rate_and_a_long_warm_up_never_ends_and_both_are_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    for steps, schedule in (
        (4, LRSchedule(0, "linear", 0.05)),
        (8, LRSchedule(0, "linear", 0.05)),
        (9, LRSchedule(18)),
    ):
        run = trainer(tmp_path, [schedule, LastCheckpoint(4)], max_steps=steps, enable_checkpointing=True)
        last = tmp_path / "last.ckpt"
        run.fit(Line(lr=1.0), loader(), ckpt_path=str(last) if last.exists() else None, weights_only=True)
    raised, short, *_ = [line for line in caplog.messages if "LRSchedule" in line]
    assert raised == "LRSchedule: resuming changes the rate of step 5 from 0.05 to 0.406 (max_steps 4 → 8)"
    assert short.endswith(
        "warmup_steps 18 is more than the run's 9 steps, so its rate ends at 50% of the base; set it lower"
    )


def test_a_rate_that_lightnings_finder_sets_is_the_base(tmp_path: Path) -> None:
    finder, module = LearningRateFinder(num_training_steps=20), Line(lr=1.0)
    trainer(tmp_path, [LRSchedule(0, "none"), finder], max_steps=3).fit(module, loader())
    assert finder.optimal_lr is not None and finder.optimal_lr.suggestion() == module.lr != 1.0
    assert module.rates[-3:] == pytest.approx([module.lr] * 3)


class TwoGroups(Line):
    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD([{"params": [self.layer.weight], "lr": 0.2}, {"params": [self.layer.bias], "lr": 0.1}])


def test_every_group_keeps_its_own_base_rate_and_the_largest_is_logged(tmp_path: Path) -> None:
    fit = trainer(tmp_path, [LRSchedule(warmup_steps=4)], max_steps=2)
    fit.fit(TwoGroups(), loader())
    assert [group["lr"] for group in fit.optimizers[0].param_groups] == pytest.approx([0.1, 0.05])
    assert float(fit.callback_metrics["train/lr"]) == pytest.approx(0.1)


@pytest.mark.parametrize("max_steps", [-1, 100])
def test_epochs_that_end_first_give_the_length(tmp_path: Path, max_steps: int) -> None:
    module = Line(lr=1.0)
    trainer(tmp_path, [LRSchedule(0, "linear", 0.0)], max_steps=max_steps, max_epochs=2).fit(module, loader(rows=4))
    assert module.rates == pytest.approx([0.75, 0.5, 0.25, 0.0])


class Scheduled(Line):
    def configure_optimizers(self) -> LightningModule:  # type: ignore[override]
        optimizer = torch.optim.SGD(self.parameters(), lr=0.1)
        return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 1)]  # type: ignore[return-value]


class Two(Line):
    automatic_optimization = False

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:  # type: ignore[override]
        return [torch.optim.SGD([weight], lr=0.4) for weight in self.parameters()]


@pytest.mark.parametrize("module", [Scheduled, Two])
def test_another_scheduler_and_a_second_optimizer_are_refused(tmp_path: Path, module: type[Line]) -> None:
    with pytest.raises(UserError, match="is for one optimizer without a scheduler"):
        trainer(tmp_path, [LRSchedule()], max_epochs=2).fit(module(), loader())
