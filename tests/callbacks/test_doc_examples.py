"""The Trainer(…) line that each callback's docstring shows runs in another project."""

import importlib
import pkgutil
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from tiny import Line, loader

import picochat.callbacks
from picochat.model.config import DecoderConfig
from picochat.model.decoder import Decoder
from picochat.model.vocabulary import train_tokenizer

MODULES = {
    name: importlib.import_module(f"picochat.callbacks.{name}").__doc__ or ""
    for _, name, _ in pkgutil.iter_modules(picochat.callbacks.__path__)
}
EXAMPLES = sorted(name for name, text in MODULES.items() if "Trainer(" in text)
SETTINGS: dict[str, Any] = {
    "accelerator": "cpu",
    "devices": 1,
    "log_every_n_steps": 1,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "num_sanity_val_steps": 0,
}
MADE = {  # callback module → what shows that it worked: a file, or a logged name
    "benchmark_metrics": "samples.md",
    "best_checkpoint": "best_checkpoint/model.safetensors",
    "grad_clip": "train/grad_norm",
    "last_checkpoint": "last.ckpt",
    "lr_schedule": "train/lr",
    "run_logger": "runs/demo/metrics.csv",
    "progress": "report.md",
}


class Other(Line):
    """Another project's module; it can chat as well, for the one callback that asks it to."""

    def __init__(self) -> None:
        super().__init__()
        self.chat_tokenizer = train_tokenizer(["one two three four"] * 9, 262)
        size = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "head_dim": 4}
        heads = {"num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 300}
        self.decoder = Decoder(DecoderConfig(vocab_size=self.chat_tokenizer.vocab_size, **size, **heads))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.layer.parameters(), lr=0.01)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    row = '{"messages": [{"role": "user", "content": "one?"}], "answer": "two", "mixture_benchmark_profile": "full"}'
    (tmp_path / "eval.jsonl").write_text(row + "\n")
    return tmp_path


def test_every_callback_has_an_example() -> None:
    public = {getattr(picochat.callbacks, name) for name in picochat.callbacks.__all__}
    owners = {one.__module__.rpartition(".")[2] for one in public if isinstance(one, type)}
    assert owners <= set(EXAMPLES)
    assert set(MADE) <= owners


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_line_of_the_example_trains_another_projects_module(name: str, folder: Path) -> None:
    line = re.search(r"^    (Trainer\(.*\))$", MODULES[name], flags=re.M)
    assert line is not None
    defaults = {"max_steps": 200 if name == "benchmark_metrics" else 8, "default_root_dir": folder, "logger": False}
    run = eval(line[1], {**vars(picochat.callbacks), "Trainer": lambda **own: Trainer(**SETTINGS | defaults | own)})
    module = Other()
    module.validation_step = lambda batch, batch_idx: module.log("val/acc", 1.0)  # type: ignore[method-assign, assignment]
    run.fit(module, loader(1000), loader(rows=2))
    assert run.global_step == run.max_steps
    made = MADE.get(name, "")
    assert made in run.callback_metrics if made.startswith("train/") else (folder / made).exists()
    if name == "benchmark_metrics":
        assert run.callback_metrics["eval/full/pass_rate"] == 0.0
