"""What a short command loads. How long it takes is measured by benchmarks/startup.py; here nothing is timed."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROBE = """
import json, sys
from picochat.cli import main
try:
    main(json.loads(sys.argv[1]))
    status = 0
except SystemExit as stop:
    status = stop.code or 0
heavy = {"torch", "lightning", "torchmetrics", "jsonargparse", "transformers", "datasets"} & set(sys.modules)
print("\\nPROBE", json.dumps([status, sorted(heavy)]))
"""


def probe(words: list[str], cwd: Path) -> tuple[int, list[str], str]:
    """(exit status, heavy packages that were loaded, everything printed) of one command line in a fresh interpreter."""
    command = [sys.executable, "-c", PROBE, json.dumps(words)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=cwd)
    assert done.returncode == 0, done.stderr
    printed, _, result = done.stdout.rpartition("\nPROBE ")
    status, heavy = json.loads(result)
    return status, heavy, printed + done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["--version"],
        [],
        ["data", "--help"],
        ["data", "import", "--help"],
        ["data", "task-pack", "--help"],
        ["data", "inspect", "--help"],
        ["data", "export-lm-eval", "--help"],
        ["tok", "--help"],
        ["tok", "train", "--help"],
        ["train", "base", "--help"],
        ["train", "sft", "--help"],
        ["eval", "chat", "--help"],
        ["eval", "sft-fit", "--help"],
        ["eval", "compare", "--help"],
        ["chat", "--help"],
        ["generate", "--help"],
        ["export", "--help"],
        ["plan", "--help"],
        ["completion", "bash"],
    ],
    ids=" ".join,
)
def test_help_and_version_load_neither_torch_nor_lightning(words: list[str], tmp_path: Path) -> None:
    status, heavy, printed = probe(words, tmp_path)
    assert (status, heavy) == (0, [])
    assert "picochat" in printed
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["evall"], "did you mean eval"),
        (["data", "task-pack", "--dataset-pack", "x.json", "--sft-row", "5"], "did you mean --sft-rows"),
        (["data", "task-pack", "--dataset-pack", "nowhere.json"], "nowhere.json"),
        (["data", "inspect", "nowhere.jsonl"], "nowhere.jsonl"),
        (["generate", "--checkpoint", "x", "--input", "nowhere.jsonl"], "nowhere.jsonl"),
        (["chat", "--checkpoint", "x", "--top-p", "2"], "top_p (--top-p) is 2.0"),
        (["export", "--checkpoint", "x", "--out-dir", ".", "--dtype", "bf16"], "did you mean bfloat16"),
        (["fit", "--config", "nowhere.yaml"], "nowhere.yaml"),
        (["plan", "--config", "nowhere.yaml"], "nowhere.yaml"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_told_before_torch_is_loaded(words: list[str], sentence: str, tmp_path: Path) -> None:
    status, heavy, printed = probe(words, tmp_path)
    assert (status, heavy) == (2, [])
    assert sentence in printed
    assert "Traceback" not in printed


def test_the_data_commands_work_without_torch(tmp_path: Path) -> None:
    for words in (
        ["data", "import", "--source", "stories", "--documents", "50", "--out-dir", "data"],
        ["tok", "train", "--dataset-pack", "data/dataset_pack.json", "--vocab-size", "300", "--out", "tokenizer.json"],
        ["data", "task-pack", "--dataset-pack", "data/dataset_pack.json", "--sft-rows", "64", "--eval-rows", "32"],
        ["data", "inspect", "data/chat_task_mixture_capability.jsonl"],
    ):
        status, heavy, printed = probe(words, tmp_path)
        assert (status, heavy) == (0, []), printed
    assert (tmp_path / "data" / "eval_task_mixture_capability.jsonl").is_file()
