"""Resuming under Lightning: the stream goes on at the optimizer step, whatever the split, workers or time of saving."""

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import Logger

from picochat.datamodules import ChatDataModule
from picochat.errors import UserError
from picochat.model.batch import IGNORE_INDEX, Batch


class Probe(LightningModule):
    """Learns one number and remembers what it was shown: {optimizer step: [(rows, step_tokens), …]}."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.shown: dict[int, list[tuple[list[list[int]], int]]] = {}
        self.validated_at: list[int] = []

    def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
        seen = self.shown.setdefault(self.global_step, [])
        seen.append((batch.input_ids.tolist(), int(batch.step_tokens)))
        learnt = (batch.labels != IGNORE_INDEX).sum()
        return self.weight * learnt * self.trainer.accumulate_grad_batches / batch.step_tokens

    def validation_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> None:
        if batch_idx == dataloader_idx == 0:
            self.validated_at.append(self.global_step)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=1.0)

    def rows_of_steps(self) -> dict[int, list[list[int]]]:
        return {step: [row for rows, _ in parts for row in rows] for step, parts in self.shown.items()}


class SaveAfter(Callback):
    """Saves behind a micro-batch, counted over the run, and stops the run there as a kill would."""

    def __init__(self, path: Path, micro_batch: int) -> None:
        self.path = path
        self.micro_batch = micro_batch

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        if trainer.fit_loop.total_batch_idx + 1 == self.micro_batch:
            trainer.save_checkpoint(self.path)
            raise KeyboardInterrupt


def opened(files: dict[str, str], batch_size: int = 4, kind: type[ChatDataModule] = ChatDataModule) -> ChatDataModule:
    return kind(**files, batch_size=batch_size, context_length=128, block_size=60)


def fit(
    files: dict[str, str],
    folder: Path,
    *,
    steps: int = 12,
    batch_size: int = 4,
    accumulate: int = 1,
    stop_after: int | None = None,
    resume: bool = False,
    data: ChatDataModule | None = None,
    **trainer_settings: Any,
) -> Probe:
    probe = Probe()
    callbacks = [SaveAfter(folder / "saved.ckpt", stop_after)] if stop_after else []
    trainer = Trainer(
        max_steps=steps,
        accumulate_grad_batches=accumulate,
        accelerator="cpu",
        devices=1,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        default_root_dir=folder,
        callbacks=callbacks,
        **{"limit_val_batches": 0, "logger": False, **trainer_settings},
    )
    data = data or opened(files, batch_size)
    try:
        trainer.fit(probe, data, ckpt_path=folder / "saved.ckpt" if resume else None, weights_only=False)
    except SystemExit:  # Lightning's way out of a KeyboardInterrupt
        assert stop_after
    return probe


@pytest.mark.parametrize(("batch_size", "accumulate"), [(8, 1), (2, 4), (1, 8), (4, 2)])
def test_a_run_resumed_with_another_split_of_the_step_is_shown_the_same_rows(
    files: dict[str, str], tmp_path: Path, batch_size: int, accumulate: int
) -> None:
    straight = fit(files, tmp_path, accumulate=2)
    fit(files, tmp_path, accumulate=2, stop_after=10)  # 5 optimizer steps of 8 rows
    after = fit(files, tmp_path, batch_size=batch_size, accumulate=accumulate, resume=True)
    expected = straight.rows_of_steps()
    assert after.rows_of_steps() == {step: expected[step] for step in range(5, 12)}
    assert all(len(parts) == accumulate for parts in after.shown.values())
    tokens = {step: parts[0][1] for step, parts in straight.shown.items()}
    assert all(tokens[step] == count for step, parts in after.shown.items() for _, count in parts)
    assert after.weight.item() == pytest.approx(straight.weight.item(), rel=1e-6)


def test_a_run_resumed_twice_with_different_splits_goes_on(files: dict[str, str], tmp_path: Path) -> None:
    straight = fit(files, tmp_path)
    fit(files, tmp_path, stop_after=6)
    fit(files, tmp_path, batch_size=2, accumulate=4, resume=True, stop_after=8 + 24)  # two steps of 8 rows: 40 by now
    after = fit(files, tmp_path, steps=10, resume=True)
    stream = [row for rows in straight.rows_of_steps().values() for row in rows]
    assert [row for rows in after.rows_of_steps().values() for row in rows] == stream[40:48]


def test_a_datamodule_that_resumed_a_run_begins_the_next_one_at_its_start(
    files: dict[str, str], tmp_path: Path
) -> None:
    straight, data = fit(files, tmp_path, batch_size=2), opened(files, batch_size=2)
    fit(files, tmp_path, stop_after=6)
    fit(files, tmp_path, data=data, resume=True)
    assert fit(files, tmp_path, data=data).shown == straight.shown


@pytest.mark.parametrize(
    ("settings", "stop_after", "first_step"),
    [
        ({}, 9, 9),  # in a later block
        ({"accumulate": 4}, 22, 5),  # saved after 5 steps and 2 micro-batches: the step is done again whole
        ({"limit_train_batches": 5}, 7, 7),  # epochs that a user cuts short
    ],
    ids=str,
)
def test_a_run_goes_on_in_the_stream_wherever_it_stopped(
    files: dict[str, str], tmp_path: Path, settings: dict[str, int], stop_after: int, first_step: int
) -> None:
    straight = fit(files, tmp_path, accumulate=settings.get("accumulate", 1))
    assert fit(files, tmp_path, **settings).shown == straight.shown
    fit(files, tmp_path, **settings, stop_after=stop_after)
    after = fit(files, tmp_path, **settings, resume=True)
    assert after.shown == {step: straight.shown[step] for step in range(first_step, 12)}
    assert after.weight.item() == straight.weight.item()


def test_validation_falls_on_the_same_steps_after_resuming(files: dict[str, str], tmp_path: Path) -> None:
    often = {"val_check_interval": 6, "check_val_every_n_epoch": None, "limit_val_batches": 1.0}
    straight = fit(files, tmp_path, accumulate=2, **often)
    before = fit(files, tmp_path, accumulate=2, stop_after=10, **often)
    after = fit(files, tmp_path, accumulate=2, resume=True, **often)
    assert straight.validated_at == [3, 6, 9, 12]
    assert before.validated_at + after.validated_at == [3, 6, 9, 12]


def test_a_share_of_the_run_that_ends_inside_a_step_is_refused(files: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"limit_train_batches=0\.25 ends inside an optimizer step"):
        fit(files, tmp_path, steps=3, accumulate=2, limit_train_batches=0.25)


def test_another_plan_or_other_rows_than_the_checkpoint_s_are_refused(files: dict[str, str], tmp_path: Path) -> None:
    fit(files, tmp_path, stop_after=3)
    said = r"other settings of the data .*: sha256 [0-9a-f]{12} then, [0-9a-f]{12} now; resume with its config"
    with pytest.raises(UserError, match=said):
        fit({**files, "seed": 7}, tmp_path, steps=4, resume=True)  # type: ignore[dict-item]
    path = tmp_path / "chat.jsonl"
    path.write_bytes(Path(files["chat_input"]).read_bytes().replace(b"market", b"tekram"))  # as long, in letters
    with pytest.raises(UserError, match=r"other training rows or their tokenizer: sha256 [0-9a-f]{12} then"):
        fit({**files, "chat_input": str(path)}, tmp_path, steps=4, resume=True)

    class Other(ChatDataModule):
        """Its state has another name in a checkpoint."""

    with pytest.raises(UserError, match=r"run had another data module than .*Other; resume with its config"):
        fit(files, tmp_path, steps=4, resume=True, data=opened(files, kind=Other))


def test_shares_of_the_lanes_are_logged_when_a_run_begins_and_not_again(
    files: dict[str, str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Memory(Logger):
        name, version = "memory", 0

        def __init__(self) -> None:
            self.metrics: dict[str, float] = {}

        def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:  # type: ignore[override]
            self.metrics.update({name: value for name, value in metrics.items() if name.startswith("data/")})

        def log_hyperparams(self, *_: Any) -> None: ...

    first, second = Memory(), Memory()
    with caplog.at_level("INFO"):
        fit(files, tmp_path, stop_after=2, logger=first, log_every_n_steps=1)
    assert "lane" in caplog.text
    assert first.metrics["data/examples/add"] == 0.5
    assert sum(value for name, value in first.metrics.items() if name.startswith("data/tokens/")) == pytest.approx(1)
    assert first.metrics["data/tokens/spell"] > first.metrics["data/examples/spell"]
    fit(files, tmp_path, steps=3, resume=True, logger=second, log_every_n_steps=1)
    assert second.metrics == {}
