"""What other libraries make of our files."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from picochat.packs import build_task_pack


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("pack")
    (folder / "dataset_pack.json").write_text("{}")
    report = build_task_pack(folder, profile="balanced", sft_rows=200, eval_rows=64)
    return report.chat_path, report.eval_path


def test_datasets_reads_both_files_as_they_stand(files: tuple[Path, Path], tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    chat, evaluation = (
        datasets.load_dataset("json", data_files=str(file), split="train", cache_dir=str(tmp_path)) for file in files
    )
    assert (len(chat), len(evaluation)) == (200, 64)
    assert chat[0]["messages"][-1]["role"] == "assistant"
    assert set(chat["mixture_profile"]) == {"balanced"}
    assert sum(steps is not None for steps in evaluation["steps"]) > 20


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("trl") is None, reason="needs TRL: pip install 'picochat[interop]'")
def test_trl_trains_a_checkpoint_of_ours_on_the_chat_rows(files: tuple[Path, Path], tmp_path: Path) -> None:
    """Both as they stand: the model folder with its tokenizer and chat template, and the file with its lane fields."""
    from picochat.model.checkpoint import save_checkpoint
    from picochat.model.config import DecoderConfig
    from picochat.model.decoder import Decoder
    from picochat.model.vocabulary import train_tokenizer

    rows = [json.loads(line) for line in files[0].read_text(encoding="utf-8").splitlines()]
    tokenizer = train_tokenizer([message["content"] for row in rows for message in row["messages"]], 300)
    config = DecoderConfig(vocab_size=300, hidden_size=16, intermediate_size=16, num_hidden_layers=1, head_dim=8)
    save_checkpoint(tmp_path / "model", Decoder(config), tokenizer, {"stage": "base"})
    code = """
import sys
import datasets, trl
rows = datasets.load_dataset("json", data_files=sys.argv[1], split="train", cache_dir=sys.argv[2])
settings = trl.SFTConfig(output_dir=sys.argv[2], max_steps=2, per_device_train_batch_size=2, report_to=[], use_cpu=True,
    bf16=False, save_strategy="no", dataset_num_proc=None, max_length=256)
trainer = trl.SFTTrainer(sys.argv[2] + "/model", settings, train_dataset=rows)
print("ids", *trainer.train_dataset[0]["input_ids"])
print("loss", trainer.train().training_loss)
"""
    command = [sys.executable, "-c", code, str(files[0]), str(tmp_path)]
    offline = {**os.environ, "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=offline)
    assert done.returncode == 0, done.stderr[-2000:]
    ids = next(line for line in done.stdout.splitlines() if line.startswith("ids"))
    assert [int(word) for word in ids.split()[1:]] == tokenizer.render(rows[0]["messages"]).ids
    assert 0 < float(done.stdout.split("loss")[-1].split()[0]) < 20
