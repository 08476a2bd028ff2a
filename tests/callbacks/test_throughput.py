"""Speed, waiting, padding and mixture, as they appear in the log and in the report."""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import forked
import pytest
import torch
from exact_run import losses as logged
from exact_run import open_data
from lightning.pytorch import Trainer
from small_rows import make_data
from tiny import Line, trainer

from picochat.callbacks import RunLogger, RunReport, Throughput, throughput
from picochat.callbacks.throughput import metrics
from picochat.datamodules import ChatDataModule
from picochat.model.config import DecoderConfig
from picochat.model.module import ChatModule

SIZE = DecoderConfig(hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
                     num_key_value_heads=1, head_dim=8)  # fmt: skip


class Clock:
    """Stands for the module `time`: nothing takes time but what says so, however busy the machine is."""

    def __init__(self) -> None:
        self.now = 100.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(throughput, "time", clock)
    return clock


class Batches:
    """Batches of a plain project, each of which takes three seconds to fetch."""

    def __init__(self, clock: Clock, count: int) -> None:
        self.clock, self.count = clock, count

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Any]:
        for _ in range(self.count):
            self.clock.now += 3
            yield torch.ones(2, 1), torch.ones(2, 1)


class Slow(Line):
    """A training step takes a second, a validation step a hundred."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.clock = clock

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        self.clock.now += 1
        return super().training_step(batch, batch_idx)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.clock.now += 100


def chat_run(root: Path, steps: int = 4, accumulate: int = 1, ranks: int = 1) -> tuple[Trainer, ChatDataModule]:
    """Steps of two packed rows a micro-batch, dealt out to the ranks."""
    data = open_data(make_data(root), batch_size=2 // ranks)
    fit = trainer(
        root,
        [RunReport(), Throughput()],  # in any order
        max_steps=steps,
        log_every_n_steps=2,
        accumulate_grad_batches=accumulate,
        logger=RunLogger(str(root)),
        val_check_interval=2 * accumulate,
        check_val_every_n_epoch=None,
        devices=ranks,
        strategy="ddp_fork" if ranks > 1 else "auto",
    )
    fit.fit(ChatModule(SIZE), data)
    return fit, data


@pytest.mark.parametrize("accumulate", [1, 3])
def test_padding_and_mixture_are_those_of_the_batches(tmp_path: Path, accumulate: int) -> None:
    fit, data = chat_run(tmp_path, accumulate=accumulate)
    data.trainer = fit
    stream = data.plan.bins(0, 4 * 2 * accumulate)  # rows of four steps
    for row, window in enumerate((stream[: 4 * accumulate], stream[4 * accumulate :])):
        examples = [example for places in window for example in places.tolist()]
        lengths = sum(int(data.plan.lengths[example]) for example in examples)
        learnt = dict.fromkeys(data.lanes, 0)
        for example in examples:
            learnt[data.lanes[data.plan.lanes[example]]] += int(data.plan.supervised[example])
        total = sum(learnt.values())
        assert set(learnt) == {"add", "spell", "identity"}
        assert logged(tmp_path, "train/padding")[row] == pytest.approx(1 - lengths / (4 * accumulate * 192), rel=1e-6)
        for lane, tokens in learnt.items():
            assert logged(tmp_path, f"data/learnt/{lane}")[row] == pytest.approx(tokens / total, rel=1e-6)
        ratio = logged(tmp_path, "train/supervised_tokens_per_s")[row] / logged(tmp_path, "train/tokens_per_s")[row]
        assert ratio == pytest.approx(total / lengths, rel=1e-6)
    assert len(logged(tmp_path, "train/padding")) == 2
    assert not (tmp_path / "metrics.csv").read_text().count("train/mfu")  # nobody knows the peak of a CPU


def test_two_ranks_count_together(tmp_path: Path) -> None:
    chat_run(tmp_path)
    names = ("train/padding", "data/learnt/add", "data/learnt/spell")
    alone = [logged(tmp_path, name) for name in names]
    (tmp_path / "metrics.csv").unlink()
    forked.run(chat_run, tmp_path, 4, 1, 2, output=tmp_path / "output")
    assert [logged(tmp_path, name) for name in names] == alone
    assert "## Speed" in (tmp_path / "report.md").read_text()


@pytest.mark.parametrize("accumulate", [1, 2])
def test_waiting_is_told_from_working_and_validation_is_neither(tmp_path: Path, clock: Clock, accumulate: int) -> None:
    meter, logger = Throughput(), RunLogger(str(tmp_path))
    settings = {"max_steps": 3, "log_every_n_steps": 2, "val_check_interval": 2 * accumulate, "logger": logger}
    fit = trainer(tmp_path, [meter, RunReport()], accumulate_grad_batches=accumulate, **settings)
    fit.fit(Slow(clock), Batches(clock, 3 * accumulate), Batches(clock, 1))
    assert clock.now > 200  # it was validated
    assert logged(tmp_path, "train/steps_per_s") == [pytest.approx(1 / (4 * accumulate))]
    assert logged(tmp_path, "train/loader_wait") == [0.75]
    assert meter.total == [12 * accumulate, pytest.approx(9 * accumulate), 3, 0, 0, 0]
    report = (tmp_path / "report.md").read_text()
    assert "| train/loader_wait | 0.75 |" in report
    assert "tokens" not in report


def test_the_profiler_of_the_trainer_is_given_back(tmp_path: Path, clock: Clock) -> None:
    fit = trainer(tmp_path, [Throughput()], max_steps=2, profiler="simple")
    before: Any = fit.profiler
    fit.fit(Slow(clock), Batches(clock, 2))
    assert fit.profiler is before
    assert copy.deepcopy(throughput._FetchTimer(before)).profiler is not before  # as other processes get it
    assert "[_TrainingEpochLoop].train_dataloader_next" in before.recorded_durations  # it was kept informed


def test_mfu_of_a_chat_model_counts_weights_head_and_attention(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throughput, "get_available_flops", lambda device, dtype: 10**9)
    fit, data = chat_run(tmp_path, steps=2)
    data.trainer = fit
    examples = [example for places in data.plan.bins(0, 4) for example in places.tolist()]
    lengths = [int(data.plan.lengths[example]) for example in examples]
    tokens, learnt = sum(lengths), sum(int(data.plan.supervised[example]) for example in examples)
    seen = sum(length * (length + 1) // 2 for length in lengths)
    # one layer of 16 × (2 × 16 + 2 × 8) + 3 × 16 × 32 weights, a head of 300 × 16, 2 query heads of width 8
    flops = 6 * (768 + 1536) * tokens + 6 * 300 * 16 * learnt + 12 * 2 * 8 * seen
    rate = logged(tmp_path, "train/tokens_per_s")[0]
    assert logged(tmp_path, "train/mfu")[0] == pytest.approx(flops * rate / tokens / 1e9, rel=1e-4)


def test_the_metrics_of_hand_written_sums() -> None:
    sums = [4.0, 1.0, 3, 80, 12, 0, 7, 11]  # 12 places of padding, 18 tokens, of which 11 supervised
    assert metrics(sums, ["only"]) == {
        "train/steps_per_s": 0.75,
        "train/loader_wait": 0.25,
        "train/tokens_per_s": 4.5,
        "train/supervised_tokens_per_s": 2.75,
        "train/padding": 0.4,
    }
    two = metrics([4.0, 1.0, 3, 80, 12, 0, 3, 2, 4, 6], ["a", "b"])
    assert (two["data/learnt/a"], two["data/learnt/b"]) == (0.25, 0.75)
