"""The whole recipe, walked twice in two folders of different names and with other hash seeds, leaves the same bytes."""

import csv
import hashlib
import io
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROWS = [f"pack/{kind}_task_mixture_capability.jsonl" for kind in ("chat", "eval")]
PACK = "data/dataset_pack.json"
DEVICE = "--device cpu --precision float32"
STAGES = [
    "data import --source stories --documents 300 --out-dir data",
    f"tok train --dataset-pack {PACK} --vocab-size 300 --out tokenizer.json",
    f"train base --dataset-pack {PACK} --tokenizer tokenizer.json --out-dir base --steps 6 --batch-size 4 {DEVICE} "
    "--hidden-size 32 --intermediate-size 64 --num-layers 2 --num-heads 2 --num-kv-heads 1 --head-dim 16",
    f"data task-pack --dataset-pack {PACK} --out-dir pack --sft-rows 300 --eval-rows 40 --no-promote",
    f"train sft --input {ROWS[0]} --eval-input {ROWS[1]} --checkpoint base/best_checkpoint --out-dir sft --steps 8 "
    f"--batch-size 4 --optimizer muon --eval-every 4 {DEVICE}",
    f"eval chat --input {ROWS[1]} --checkpoint base/best_checkpoint --out-dir eval/base --max-new-tokens 16 {DEVICE}",
    f"eval chat --input {ROWS[1]} --checkpoint sft/best_checkpoint --out-dir eval/sft --max-new-tokens 16 {DEVICE} "
    "--temperature 0.8",
    f"eval sft-fit --input {ROWS[0]} --eval-input {ROWS[1]} --checkpoint sft/best_checkpoint --out-dir eval/fit "
    f"--max-rows 20 --max-new-tokens 16 {DEVICE}",
    "eval compare eval/base eval/sft --out-dir compare",
]
CLOCK = re.compile(r"^(Time: |\| train/(\w*_per_s|loader_wait|mfu) ).*$", re.MULTILINE)  # lines of a report.md
# columns of metrics.csv; padding and learnt shares stay in: nobody interrupts these runs, and then they are facts
CLOCKED = ("_per_s", "/loader_wait", "/mfu")


def contents(folder: Path) -> dict[str, str]:
    """{file: sha256 of what must not depend on the clock}."""
    found = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = path.relative_to(folder).as_posix()
        data = path.read_bytes()
        if path.name == "report.md":
            data = CLOCK.sub("", data.decode()).encode()
        elif path.name == "metrics.csv":
            data = without_speed(data.decode()).encode()
        found[name] = hashlib.sha256(data).hexdigest()
    return found


def without_speed(text: str) -> str:
    """The columns that hold no time, rows that then say nothing left out."""
    rows = [
        {name: value for name, value in row.items() if value and not name.endswith(CLOCKED)}
        for row in csv.DictReader(io.StringIO(text))
    ]
    return "\n".join(str(row) for row in rows if row.keys() - {"step", "epoch"})


@pytest.mark.slow
def test_the_recipe_leaves_the_same_files_weights_and_verdicts_in_another_folder(tmp_path: Path) -> None:
    found = []
    for seed, name in enumerate(("one", "another/place")):
        folder = tmp_path / name
        folder.mkdir(parents=True)
        for stage in STAGES:  # processes of their own: another hash seed, another order of every set
            done = subprocess.run(
                [sys.executable, "-W", "ignore", "-m", "picochat", *stage.split()],
                cwd=folder,
                env={**os.environ, "PYTHONHASHSEED": str(seed + 1)},
                capture_output=True,
                text=True,
            )
            assert done.returncode == 0, done.stderr
        found.append(contents(folder))
    first, second = found
    assert first.keys() == second.keys()
    assert {"base/last_checkpoint/model.safetensors", "sft/last.ckpt", "eval/sft/predictions.jsonl"} <= first.keys()
    assert [name for name in first if first[name] != second[name]] == []
