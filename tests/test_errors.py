"""Bad input through a real process: one sentence, exit status 2, no traceback, nothing written."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from small_rows import small_model, small_tokenizer

ROW = {"messages": [{"role": "user", "content": "2 + 2?"}, {"role": "assistant", "content": "4"}]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows, two tokenizers and a checkpoint of the first; `before` lists all of it."""
    root = tmp_path_factory.mktemp("errors")
    rows = [{**ROW, "key": f"problem {number}"} for number in range(40)]
    (root / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (root / "broken.jsonl").write_text(json.dumps(ROW) + "\n" + '{"messages": [}\n')
    small_tokenizer("many more words went into another tokenizer than this ").write(root / "other.json")
    small_model(root / "model")
    return root


SFT = "train sft --checkpoint model --out-dir run --steps 1 --device cpu"
REFUSED = {  # what the commands refuse is tested by the tables of bad_input, each in this process
    "unknown command": ("trian sft", "unknown command 'trian' (did you mean train?)"),
    "unknown flag": (f"{SFT} --input rows.jsonl --learnin-rate 1", "'--learnin-rate' (did you mean --learning-rate?)"),
    "malformed line": (f"{SFT} --input broken.jsonl", "broken.jsonl:2: is not JSON"),
    "wrong tokenizer": (f"{SFT} --input rows.jsonl --tokenizer other.json", "tokenizer"),
    "existing output": ("tok train --input rows.jsonl --vocab-size 300 --out other.json", "--force"),
    "no such device": (f"{SFT} --input rows.jsonl --device cuda", "gpu backend"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_in_one_sentence(case: str, folder: Path) -> None:
    command, expected = REFUSED[case]
    before = sorted(folder.rglob("*"))
    contents = {path: path.read_bytes() for path in before if path.is_file()}
    done = subprocess.run(
        [sys.executable, "-m", "picochat", *command.split()], capture_output=True, text=True, cwd=folder, env=os.environ
    )
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("picochat: error: ")]
    assert len(errors) == 1
    assert expected in done.stdout + done.stderr
    left = [path for path in sorted(folder.rglob("*")) if "tokens" not in path.parts]  # the token cache may be filled
    assert left == before
    assert all(path.read_bytes() == content for path, content in contents.items())
