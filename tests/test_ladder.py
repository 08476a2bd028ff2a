"""The whole recipe, rung by rung, through the user's entry point, on real prose: the text in Python's own help."""

import json
import os
import pydoc_data.topics
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from refusing import Refused

from picochat.cli import main
from picochat.files import sha256_file
from picochat.packs.formats import read_rows

CHAT, EVAL = (f"pack/{kind}_task_mixture_capability.jsonl" for kind in ("chat", "eval"))
PACK = "--dataset-pack data/dataset_pack.json"
CPU = "--device cpu --precision float32"
ANSWER = f"--input {EVAL} --max-new-tokens 8 {CPU}"
RUNGS = [
    "data import --source topics.txt --out-dir data",
    f"tok train {PACK} --vocab-size 512 --out tokenizer.json",
    f"train base {PACK} --tokenizer tokenizer.json --steps 40 --out-dir base --batch-size 4 --context-length 256 "
    f"--optimizer muon --learning-rate 0.004 {CPU} --val-fraction 0.1 --hidden-size 32 --intermediate-size 64 "
    "--num-layers 2 --num-heads 2 --head-dim 16",
    f"data task-pack {PACK} --out-dir pack --profile capability --sft-rows 400 --eval-rows 80 --no-promote",
    f"train sft --input {CHAT} --eval-input {EVAL} --steps 4 --checkpoint base/best_checkpoint --out-dir sft {CPU} "
    "--batch-size 4",
    f"eval chat --checkpoint base/best_checkpoint --out-dir eval/base {ANSWER}",
    f"eval chat --checkpoint sft/best_checkpoint --out-dir eval/sft {ANSWER} --temperature 0.8",
    f"eval sft-fit --input {CHAT} --eval-input {EVAL} --checkpoint sft/best_checkpoint --out-dir eval/fit {CPU} "
    "--max-rows 20 --max-new-tokens 8",
    "eval compare eval/base eval/sft --out-dir comparison",
]


def start(folder: Path) -> Path:
    """A folder with the prose."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "topics.txt").write_text("\n\n".join(pydoc_data.topics.topics.values()), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Corpus → tokenizer → base → task pack → SFT → evaluations → comparison, each at the smallest scale."""
    root = start(tmp_path_factory.mktemp("ladder"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        for line in RUNGS:
            main(line.split())
    return root


@pytest.fixture
def runs(walked: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of all that, to stand in."""
    monkeypatch.chdir(walked)
    return walked


def test_every_rung_leaves_its_files(runs: Path) -> None:
    for run in ("base", "sft"):
        for name in ("config.yaml", "metrics.csv", "report.md", "last.ckpt", "best_checkpoint/model.safetensors",
                     "best_checkpoint/tokenizer.json", "last_checkpoint/config.json"):  # fmt: skip
            assert (runs / run / name).is_file(), f"{run}/{name}"
    for name in ("eval_report.json", "eval_report.md", "eval_report.html", "predictions.jsonl"):
        assert (runs / "eval/sft" / name).is_file()
    assert {path.suffix for path in (runs / "comparison").iterdir()} == {".json", ".md", ".html"}


def test_base_learns_the_prose(runs: Path) -> None:
    lines = (runs / "base/report.md").read_text().splitlines()
    losses = [float(line.split("|")[2]) for line in lines if line.startswith("| ") and line[2].isdigit()]
    assert len(losses) == 8
    assert losses[-1] < losses[0] - 0.2


def test_report_counts_every_eval_row_in_its_lane(runs: Path) -> None:
    """With those whose babble the rules cannot read: which they are depends on the processor."""
    report = json.loads((runs / "eval/sft/eval_report.json").read_text())
    rows = read_rows(runs / EVAL, "eval")
    assert report["overall"]["n"] + report["overall"]["not_judged"] == len(rows) == 80
    for lane in ("weak_skills", "release_behavior"):
        expected, found = (
            sum(row["mixture_benchmark_profile"] == lane for row in rows),
            report["by_benchmark_profile"][lane],
        )
        assert found["n"] + found["not_judged"] == expected > 0


def test_the_config_of_a_train_command_repeats_the_run_with_fit(runs: Path) -> None:
    main(["fit", "--config", "sft/config.yaml", "--trainer.default_root_dir=again"])
    for name in ("best_checkpoint/model.safetensors", "last_checkpoint/model.safetensors"):
        assert (runs / "sft" / name).read_bytes() == (runs / "again" / name).read_bytes()
    assert yaml.safe_load((runs / "sft/config.yaml").read_text())["model"]["optimizer"]["name"] == "adamw"


def test_validate_test_and_predict_run_on_the_same_config(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = ["--config", "sft/config.yaml", "--trainer.default_root_dir=other"]
    main(["validate", *config])
    assert "val/loss" in capsys.readouterr().out
    main(["test", *config])
    assert "test/loss" in capsys.readouterr().out
    main(["predict", *config, "--trainer.limit_predict_batches=2"])
    replies = [json.loads(line) for line in (runs / "other/predictions.jsonl").read_text().splitlines()]
    assert len(replies) == 8  # two batches of four rows
    assert all(isinstance(row["reply"], str) and row["id"] for row in replies)
    assert not (runs / "other/config.yaml").exists()  # only fit leaves one


def test_a_run_folder_is_not_overwritten_without_force(refused: Refused, runs: Path) -> None:
    before = (runs / "sft/last.ckpt").read_bytes()
    refused("fit", "--config", "sft/config.yaml", says="resume it with --ckpt_path sft/last.ckpt")
    assert (runs / "sft/last.ckpt").read_bytes() == before


@pytest.mark.slow
def test_another_walk_in_another_folder_with_another_hash_seed_leaves_the_same_bytes(tmp_path: Path) -> None:
    found = []
    for seed, name in enumerate(("one", "another/place")):
        folder, environment = start(tmp_path / name), {**os.environ, "PYTHONHASHSEED": str(seed + 1)}
        for line in RUNGS:  # processes of their own: another order of every set
            command = [sys.executable, "-W", "ignore", "-m", "picochat", *line.split()]
            done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        timed = ("report.md", "metrics.csv")  # hold what depends on the clock
        found.append({str(file.relative_to(folder)): file.name in timed or sha256_file(file) for file in files})
    first, second = found
    assert {"base/last_checkpoint/model.safetensors", "sft/last.ckpt", "eval/sft/predictions.jsonl"} <= first.keys()
    assert first == second
