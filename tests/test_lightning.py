"""docs/howto/lightning.md: each line of its tables, and its programs, with picochat's module, data and callbacks."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from lightning import Trainer
from lightning.pytorch import callbacks as lightning_callbacks
from lightning.pytorch import loggers
from lightning_utilities.core.imports import RequirementCache
from refusing import Refused
from small_rows import SIZE, chat_row, write_jsonl

from picochat.callbacks import AtomicCheckpointIO, BestCheckpoint, GradientClip, LastCheckpoint, LRSchedule, RunLogger
from picochat.cli import main
from picochat.datamodules import ChatDataModule
from picochat.errors import UserError
from picochat.model.module import ChatModule
from picochat.model.vocabulary import train_tokenizer

PAGE = (Path(__file__).parents[1] / "docs/howto/lightning.md").read_text("utf-8")
ROWS: dict[str, str] = dict(re.findall(r"^\| `(.+?)` \| (works|refused) \|", PAGE, flags=re.MULTILINE))
CALLBACKS = {name for name in ROWS if name[0].isupper()}
BASES = {"BaseFinetuning", "BasePredictionWriter", "Callback", "Checkpoint", "LambdaCallback", "ProgressBar"}
ARGUMENTS: dict[str, dict[str, Any]] = {
    "EMAWeightAveraging": {"decay": 0.5},
    "EarlyStopping": {"monitor": "val/loss"},
    "GradientAccumulationScheduler": {"scheduling": {0: 4}},
    "ModelPruning": {"pruning_fn": "l1_unstructured"},
    "OnExceptionCheckpoint": {"dirpath": "."},
    "StochasticWeightAveraging": {"swa_lrs": 0.01, "swa_epoch_start": 1},
    "ThroughputMonitor": {"batch_size_fn": lambda batch: len(batch.input_ids), "window_size": 2},
    "Timer": {"duration": "00:00:10:00"},
}
NEEDS = {"DeviceStatsMonitor": "psutil", "logger: TensorBoardLogger": "tensorboard"}
QUIET: dict[str, Any] = {"accelerator": "cpu", "devices": 1, "logger": False, "enable_progress_bar": False,
                         "enable_model_summary": False, "num_sanity_val_steps": 0}  # fmt: skip
pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning's callbacks advise and warn about each other


@pytest.fixture(scope="module")
def _files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lightning")
    rows = [chat_row(lane, number, 2 + number % 5) for lane in ("add", "spell") for number in range(30)]
    write_jsonl(folder / "rows.jsonl", rows)
    texts = [message["content"] for row in rows for message in row["messages"]]
    train_tokenizer(texts, 280).write(folder / "tokenizer.json")
    return folder


@pytest.fixture
def folder(_files: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(_files)
    yield _files
    torch.use_deterministic_algorithms(False)


def data() -> ChatDataModule:
    settings: dict[str, Any] = {"batch_size": 2, "context_length": 128, "val_fraction": 0.2, "block_size": 60}
    return ChatDataModule(chat_input="rows.jsonl", tokenizer="tokenizer.json", work_dir=".", **settings)


def run(root: Path, extra: list[lightning_callbacks.Callback], **own: Any) -> tuple[Trainer, BestCheckpoint]:
    """A fit of four steps with two validations, and its best."""
    torch.manual_seed(1)
    best = BestCheckpoint()
    bar = any(isinstance(callback, lightning_callbacks.ProgressBar) for callback in extra)
    settings = {**QUIET, "enable_progress_bar": bar, "logger": RunLogger(str(root)), "default_root_dir": root}
    if isinstance(own.get("logger"), str):
        own["logger"] = [settings["logger"], getattr(loggers, own["logger"])(root)]
    settings |= {"max_steps": 4, "val_check_interval": 2, "check_val_every_n_epoch": None, "log_every_n_steps": 1}
    callbacks = [*extra, LRSchedule(1, min_lr_ratio=0.5), GradientClip(), best, LastCheckpoint(2)]
    trainer = Trainer(callbacks=callbacks, plugins=[AtomicCheckpointIO()], **(settings | own))
    trainer.fit(ChatModule(SIZE), datamodule=data())
    return trainer, best


def test_the_table_has_every_callback_of_lightning() -> None:
    assert set(lightning_callbacks.__all__) - BASES == CALLBACKS


@pytest.mark.parametrize("row", ROWS)
def test_what_the_table_says(row: str, folder: Path, tmp_path: Path) -> None:
    """Where it works, the best folder has the loss that was recorded as the best."""
    if row in NEEDS:
        pytest.importorskip(NEEDS[row])
    kind = getattr(lightning_callbacks, row, None)
    extra = [kind(**ARGUMENTS.get(row, {}))] if kind else []
    own: dict[str, Any] = {} if kind else yaml.safe_load(f"{{{row}}}")
    if ROWS[row] == "refused":
        with pytest.raises(UserError, match=row if kind else "|".join(own)):
            run(tmp_path, extra, **own)
        return
    trainer, best = run(tmp_path, extra, **own)
    assert trainer.global_step == (1 if "fast_dev_run" in own else 4)
    if "fast_dev_run" in own:
        assert not list(tmp_path.glob("*checkpoint")) and not (tmp_path / "last.ckpt").exists()
        return
    check = Trainer(**QUIET, limit_val_batches=own.get("limit_val_batches", 1.0))
    module = ChatModule(checkpoint=str(tmp_path / "best_checkpoint"))
    measured = check.validate(module, datamodule=data(), verbose=False)[0]["val/loss"]
    precise = "precision" not in own or own["precision"] in ("32-true", "64-true")
    assert best.best_value == pytest.approx(measured, rel=1e-5 if precise else 2e-3)


@pytest.mark.parametrize("program", re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL))
def test_the_programs_of_the_page_run(program: str, folder: Path) -> None:
    space: dict[str, Any] = {}
    exec(program, space)
    if "fabric" in space:
        decoder, batch = space["decoder"], space["batch"]
        after = space["supervised_nll"](decoder, decoder(*batch[:1], *batch[2:4]), batch.labels).sum()
        assert after / batch.step_tokens < space["loss"]
    elif "metric" in space:
        assert set(space["metric"].seen) == {"add", "spell"}
    else:
        assert Path("runs/mine/best_checkpoint/model.safetensors").is_file()


def test_without_a_datamodule_the_module_says_what_it_needs(folder: Path, tmp_path: Path) -> None:
    dm = data()
    dm.prepare_data()
    dm.setup("fit")
    trainer = Trainer(**QUIET, max_steps=1, enable_checkpointing=False)
    for go in (trainer.fit, trainer.validate, lambda module, _: module.configure_optimizers()):  # the last is Fabric's
        with pytest.raises(UserError, match=r"needs a datamodule: trainer.fit\(module, datamodule=ChatDataModule"):
            go(ChatModule(SIZE), dm.val_dataloader())
    run(tmp_path, [])
    with pytest.raises(UserError, match=r"load a last.ckpt.s model folder \(`picochat export`\)"):
        ChatModule.load_from_checkpoint(tmp_path / "last.ckpt")


def fit_words(root: Path, callback: str) -> list[str]:
    files = ["--data=ChatDataModule", "--data.chat_input=rows.jsonl", "--data.tokenizer=tokenizer.json"]
    size = ["--model.decoder.hidden_size=16", "--model.decoder.num_hidden_layers=1", "--trainer.accelerator=cpu"]
    run = ["--trainer.max_steps=2", f"--trainer.default_root_dir={root}", f"--trainer.callbacks+={callback}"]
    return ["fit", *files, "--data.work_dir=.", *size, *run]


def test_fit_takes_a_timer_and_a_progress_bar(folder: Path, tmp_path: Path) -> None:
    """Timer's default is an Enum, which YAML has not; without a terminal there is a bar only where one is asked for."""
    main([*fit_words(tmp_path, "Timer"), "--trainer.callbacks+=TQDMProgressBar"])
    left = yaml.safe_load((tmp_path / "config.yaml").read_text())
    assert left["trainer"]["callbacks"][0]["init_args"]["interval"] == "step"


def test_fit_says_what_a_callback_needs_that_is_not_installed(
    refused: Refused, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("accelerators.cpu", "callbacks.device_stats_monitor"):  # either asks; psutil may be installed here
        monkeypatch.setattr(f"lightning.pytorch.{module}._PSUTIL_AVAILABLE", RequirementCache("no-psutil"))
    refused(*fit_words(folder / "run", "DeviceStatsMonitor"), says="pip install -U 'no-psutil'")
