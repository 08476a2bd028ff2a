"""What users do beyond the command line: datamodules in a notebook, callbacks of their own."""

import subprocess
import sys
from pathlib import Path

import pytest

from picochat.cli import main

CALLBACK = '''
from lightning import Callback


class Mine(Callback):
    """Writes down how many optimizer steps it saw.

    Args:
        path: where to.
    """

    def __init__(self, path: str) -> None:
        self.path = path

    def on_train_end(self, trainer, pl_module):
        with open(self.path, "w") as file:
            file.write(str(trainer.global_step))
'''
NOTEBOOK = """
from picochat.datamodules import CapabilityDataModule
dm = CapabilityDataModule()
dm.prepare_data()
dm.setup("fit")
batch = next(iter(dm.train_dataloader()))
for name, value in batch._asdict().items():
    print(name, tuple(value.shape))
print(dm.describe())
print(dm.render_row(batch, 0))
"""


def test_a_datamodule_works_in_a_notebook_with_nothing_prepared() -> None:
    done = subprocess.run([sys.executable, "-c", NOTEBOOK], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[:6] == [
        "input_ids (16, 256)",
        "labels (16, 256)",
        "position_ids (16, 256)",
        "document_ids (16, 256)",
        "lane_ids (16, 256)",
        "step_tokens ()",
    ]
    assert any(line.startswith("bench_math_addition ") for line in lines)
    assert any("<|bos|><|user|>" in line and "⟦" in line for line in lines)


def test_a_callback_of_the_current_folder_is_a_class_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "my_callbacks", raising=False)  # another test's
    (tmp_path / "my_callbacks.py").write_text(CALLBACK)
    (tmp_path / "mine.yaml").write_text(
        "trainer:\n  callbacks:\n    - class_path: my_callbacks.Mine\n      init_args: {path: seen.txt}\n"
    )
    main(["fit", "--config", "capability.yaml", "--config", "mine.yaml", "--model.checkpoint=null",
          "--trainer.max_steps=2", "--trainer.val_check_interval=2", "--data.init_args.sft_rows=400",
          "--data.init_args.eval_rows=80", "--trainer.log_every_n_steps=1"])  # fmt: skip
    assert (tmp_path / "seen.txt").read_text() == "2"
    assert "class_path: my_callbacks.Mine" in (tmp_path / "runs/capability/config.yaml").read_text()
