"""What other libraries make of our files."""

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
def test_trl_trains_on_the_chat_rows(files: tuple[Path, Path], tmp_path: Path) -> None:
    pytest.importorskip("trl")
    code = """
import sys
import datasets, transformers, trl
from tokenizers import Tokenizer, models, pre_tokenizers
signs = sorted(pre_tokenizers.ByteLevel.alphabet())
raw = Tokenizer(models.BPE(vocab={sign: number for number, sign in enumerate(signs)}, merges=[]))
raw.pre_tokenizer = pre_tokenizers.ByteLevel()
raw.add_special_tokens(["<pad>", "<end>"])
tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=raw, pad_token="<pad>", eos_token="<end>")
tokenizer.chat_template = "{% for m in messages %}{{ m.role }}: {{ m.content }}<end>{% endfor %}"
config = transformers.Qwen3Config(vocab_size=len(tokenizer), hidden_size=16, intermediate_size=16, num_hidden_layers=1,
    num_attention_heads=2, num_key_value_heads=1, head_dim=8)
rows = datasets.load_dataset("json", data_files=sys.argv[1], split="train", cache_dir=sys.argv[2])
settings = trl.SFTConfig(output_dir=sys.argv[2], max_steps=2, per_device_train_batch_size=2, report_to=[], use_cpu=True,
    bf16=False, save_strategy="no", dataset_num_proc=None)
model = transformers.Qwen3ForCausalLM(config)
trainer = trl.SFTTrainer(model, settings, train_dataset=rows, processing_class=tokenizer)
print("loss", trainer.train().training_loss)
"""
    command = [sys.executable, "-c", code, str(files[0]), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert 0 < float(done.stdout.split("loss")[-1].split()[0]) < 20
