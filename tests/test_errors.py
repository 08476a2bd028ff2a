"""Bad input through a real process: one sentence, exit status 2, no traceback, nothing written."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from picochat.model.checkpoint import save_checkpoint
from picochat.model.config import DecoderConfig
from picochat.model.decoder import Decoder
from picochat.model.vocabulary import train_tokenizer

ROW = {"messages": [{"role": "user", "content": "2 + 2?"}, {"role": "assistant", "content": "4"}]}
SIZE = DecoderConfig(hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=1,
                     num_key_value_heads=1, head_dim=16, vocab_size=270)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows, two tokenizers and a checkpoint of the first; `before` lists all of it."""
    root = tmp_path_factory.mktemp("errors")
    rows = [{**ROW, "key": f"problem {number}"} for number in range(40)]
    (root / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (root / "broken.jsonl").write_text(json.dumps(ROW) + "\n" + '{"messages": [}\n')
    (root / "pack.json").write_text("{}")
    ours = train_tokenizer(["the cat sat on the mat and the dog sat on the log " * 20], 270)
    other = train_tokenizer(["many more words went into another tokenizer than this " * 20], 270)
    other.write(root / "other.json")
    save_checkpoint(root / "model", Decoder(SIZE), ours, {})
    return root


SFT = "train sft --checkpoint model --out-dir run --steps 1 --device cpu"
REFUSED = {
    "unknown command": ("trian sft", "unknown command 'trian' (did you mean train?)"),
    "unknown flag": (f"{SFT} --input rows.jsonl --learnin-rate 1", "'--learnin-rate' (did you mean --learning-rate?)"),
    "unknown setting of fit": ("fit --config base.yaml --trainer.max_stepz=3", "max_stepz"),
    "missing file": (f"{SFT} --input nowhere.jsonl", "--input: nowhere.jsonl does not exist"),
    "missing eval file": ("eval chat --input nowhere.jsonl --checkpoint model --out-dir out", "nowhere.jsonl"),
    "malformed line": (f"{SFT} --input broken.jsonl", "broken.jsonl:2: is not JSON"),
    "malformed line inspected": ("data inspect broken.jsonl", "broken.jsonl"),
    "wrong tokenizer": (f"{SFT} --input rows.jsonl --tokenizer other.json", "tokenizer"),
    "not a model folder": (
        "train sft --checkpoint pack.json --input rows.jsonl --out-dir run --steps 1",
        "not a model folder",
    ),
    "existing output": ("tok train --input rows.jsonl --vocab-size 300 --out other.json", "--force"),
    "existing pack": ("data import --source stories --documents 5 --out-dir .", "--force"),
    "impossible size": ("data task-pack --dataset-pack pack.json --sft-rows 5", "--sft-rows"),
    "no such device": (f"{SFT} --input rows.jsonl --device cuda", "gpu backend"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_in_one_sentence(case: str, folder: Path) -> None:
    command, expected = REFUSED[case]
    if case == "existing pack":
        (folder / "dataset_pack.json").write_text("{}")
    before = sorted(folder.rglob("*"))
    contents = {path: path.read_bytes() for path in before if path.is_file()}
    done = subprocess.run(
        [sys.executable, "-m", "picochat", *command.split()], capture_output=True, text=True, cwd=folder, env=os.environ
    )
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("picochat: error: ")]
    assert len(errors) == 1 or case == "malformed line inspected"
    assert expected in done.stdout + done.stderr
    left = [path for path in sorted(folder.rglob("*")) if "tokens" not in path.parts]  # the token cache may be filled
    assert left == before
    assert all(path.read_bytes() == content for path, content in contents.items())
