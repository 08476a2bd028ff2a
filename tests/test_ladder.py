"""The whole recipe, rung by rung, through the user's entry point, on real prose: the text in Python's own help."""

import csv
import json
import pydoc_data.topics
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from picochat.cli import main
from picochat.packs.formats import read_rows

SMALL = [
    "--hidden-size",
    "32",
    "--intermediate-size",
    "64",
    "--num-layers",
    "2",
    "--num-heads",
    "2",
    "--head-dim",
    "16",
]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Corpus → tokenizer → base → task pack → SFT → two evaluations → comparison, each at the smallest scale."""
    root = tmp_path_factory.mktemp("ladder")
    prose = root / "topics.txt"
    prose.write_text("\n\n".join(pydoc_data.topics.topics.values()), encoding="utf-8")
    rows = f"{root}/pack/eval_task_mixture_capability.jsonl"
    for line in (
        f"data import --source {prose} --out-dir {root}/data",
        f"tok train --dataset-pack {root}/data/dataset_pack.json --vocab-size 512 --out {root}/tokenizer.json",
        f"train base --dataset-pack {root}/data/dataset_pack.json --tokenizer {root}/tokenizer.json --steps 40 "
        f"--out-dir {root}/base --batch-size 4 --context-length 160 --optimizer muon --learning-rate 0.004 "
        f"--device cpu --precision float32 --val-fraction 0.1 {' '.join(SMALL)}",
        f"data task-pack --dataset-pack {root}/data/dataset_pack.json --out-dir {root}/pack --profile capability "
        "--sft-rows 400 --eval-rows 80 --no-promote",
        f"train sft --input {root}/pack/chat_task_mixture_capability.jsonl --eval-input {rows} --steps 4 "
        f"--checkpoint {root}/base/best_checkpoint --out-dir {root}/sft --device cpu --precision float32 "
        "--batch-size 4 --on-long drop",
        f"eval chat --input {rows} --checkpoint {root}/base/best_checkpoint --out-dir {root}/eval/base "
        "--max-new-tokens 8 --device cpu",
        f"eval chat --input {rows} --checkpoint {root}/sft/best_checkpoint --out-dir {root}/eval/sft "
        "--max-new-tokens 8 --device cpu",
        f"eval compare {root}/eval/base {root}/eval/sft --out-dir {root}/comparison",
    ):
        main(line.split())
    return root


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
    report = json.loads((runs / "eval/sft/eval_report.json").read_text())
    rows = read_rows(runs / "pack/eval_task_mixture_capability.jsonl", "eval")
    assert report["overall"]["n"] == len(rows) == 80
    for lane in ("weak_skills", "release_behavior"):
        expected = sum(row["mixture_benchmark_profile"] == lane for row in rows)
        assert report["by_benchmark_profile"][lane]["n"] == expected > 0


def test_the_config_of_a_train_command_repeats_the_run_with_fit(runs: Path) -> None:
    again = runs / "again"
    main(["fit", "--config", str(runs / "sft/config.yaml"), f"--trainer.default_root_dir={again}"])
    for name in ("best_checkpoint", "last_checkpoint"):
        first = (runs / "sft" / name / "model.safetensors").read_bytes()
        assert first == (again / name / "model.safetensors").read_bytes()
    assert yaml.safe_load((runs / "sft/config.yaml").read_text())["model"]["optimizer"]["name"] == "adamw"


def test_two_devices_with_half_the_rows_each_log_what_one_logs(runs: Path) -> None:
    words = (
        f"train sft --input {runs}/pack/chat_task_mixture_capability.jsonl --steps 4 --device cpu --precision float32 "
        f"--eval-input {runs}/pack/eval_task_mixture_capability.jsonl --checkpoint {runs}/base/best_checkpoint "
        f"--on-long drop --batch-size 2 --devices 2 --out-dir {runs}/pair"
    )
    command = [sys.executable, "-m", "picochat", *words.split()]
    run = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    assert "sync_dist" not in run.stderr  # nothing that Lightning would rather have
    pair, one = _losses(runs / "pair"), _losses(runs / "sft")
    assert {"train/loss", "val/loss", "eval/loss"} <= one.keys()
    assert pair.keys() == one.keys()
    for name, losses in one.items():
        assert pair[name] == pytest.approx(losses, rel=1e-4), name


def _losses(run: Path) -> dict[str, list[float]]:
    """All that metrics.csv says of losses, by name."""
    with (run / "metrics.csv").open() as opened:
        rows = list(csv.DictReader(opened))
    names = [name for name in rows[0] if "loss" in name]
    return {name: [float(row[name]) for row in rows if row[name]] for name in names}


def test_validate_test_and_predict_run_on_the_same_config(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = ["--config", str(runs / "sft/config.yaml"), f"--trainer.default_root_dir={runs / 'other'}"]
    main(["validate", *config])
    assert "val/loss" in capsys.readouterr().out
    main(["test", *config])
    assert "test/loss" in capsys.readouterr().out
    main(["predict", *config, "--trainer.limit_predict_batches=2"])
    replies = [json.loads(line) for line in (runs / "other/predictions.jsonl").read_text().splitlines()]
    assert len(replies) == 8  # two batches of four rows
    assert all(isinstance(row["reply"], str) and row["id"] for row in replies)
    assert not (runs / "other/config.yaml").exists()  # only fit leaves one


def test_a_run_folder_is_not_overwritten_without_force(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (runs / "sft/last.ckpt").read_bytes()
    with pytest.raises(SystemExit) as stop:
        main(["fit", "--config", str(runs / "sft/config.yaml")])
    assert stop.value.code == 2
    assert f"resume it with --ckpt_path {runs / 'sft/last.ckpt'}" in capsys.readouterr().err
    assert (runs / "sft/last.ckpt").read_bytes() == before
