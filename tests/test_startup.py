"""What a short command loads. How long it takes is measured by benchmarks/startup.py; here nothing is timed."""

import json
import subprocess
import sys
from pathlib import Path

from test_help import ALL

PROBE = """
import json, sys
from picochat.cli import main
for line in json.loads(sys.argv[1]):
    try:
        main(line.split())
        status = 0
    except SystemExit as stop:
        status = stop.code or 0
    heavy = {"torch", "lightning", "torchmetrics", "jsonargparse", "transformers", "datasets"} & set(sys.modules)
    sys.stdout.flush()
    print(f"PROBE {line}: {status} {sorted(heavy)}", file=sys.stderr)
"""
HELP = [*(f"{' '.join(path)} --help" for path in ALL), "fit --help", "fit --data.help CapabilityDataModule",
        "--help", "--version", "completion bash", "list"]  # fmt: skip
MODELS = ["fit --config sft.yaml", "plan --config sft.yaml --set"]
REFUSED = {
    "evall": "did you mean eval",
    "data task-pack --dataset-pack nowhere.json": "nowhere.json",
    "data inspect nowhere.jsonl": "nowhere.jsonl",
    "generate --checkpoint x --input nowhere.jsonl": "nowhere.jsonl",
    "chat --checkpoint x --top-p 2": "top_p (--top-p) is 2.0",
    "export --checkpoint x --out-dir . --dtype bf16": "choose from 'float32', 'bfloat16'",
    "fit --config nowhere.yaml": "nowhere.yaml",
    "plan --config nowhere.yaml": "nowhere.yaml",
    **{f"{line} model.checkpoint=gemma": "gemma holds a model of type gemma3_text; picochat reads" for line in MODELS},
    "fit --config sft.yaml --model.checkpoint empty": "empty is not a model folder: it has no config.json",
}
WORK = [
    "data import --source stories --documents 50 --out-dir data",
    "tok train --dataset-pack data/dataset_pack.json --vocab-size 300 --out tokenizer.json",
    "data task-pack --dataset-pack data/dataset_pack.json --sft-rows 64 --eval-rows 32",
    "data inspect data/chat_task_mixture_capability.jsonl",
]


def probe(lines: list[str], cwd: Path) -> tuple[list[str], list[str]]:
    """Run lines in one fresh interpreter: "LINE: STATUS [heavy packages loaded by then]" of each, and all of stderr."""
    command = [sys.executable, "-c", PROBE, json.dumps(lines)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd)
    assert done.returncode == 0, done.stderr
    said = done.stderr.splitlines()
    return [line.removeprefix("PROBE ") for line in said if line.startswith("PROBE ")], said


def test_help_and_version_load_neither_torch_nor_lightning(tmp_path: Path) -> None:
    assert probe(HELP, tmp_path)[0] == [f"{line}: 0 []" for line in HELP]
    assert not list(tmp_path.iterdir())


def test_a_mistake_is_told_before_torch_is_loaded(tmp_path: Path) -> None:
    for name in ("gemma", "empty"):
        (tmp_path / name).mkdir()
    (tmp_path / "gemma/config.json").write_text('{"model_type": "gemma3_text"}')
    found, said = probe(list(REFUSED), tmp_path)
    assert found == [f"{line}: 2 []" for line in REFUSED]
    for sentence, shown in zip(REFUSED.values(), (line for line in said if "error: " in line), strict=True):
        assert sentence in shown


def test_the_data_commands_work_without_torch(tmp_path: Path) -> None:
    assert probe(WORK, tmp_path)[0] == [f"{line}: 0 []" for line in WORK]
    assert (tmp_path / "data" / "eval_task_mixture_capability.jsonl").is_file()


def test_a_heavy_package_is_seen(tmp_path: Path) -> None:
    (found,), _ = probe(["plan --config sft.yaml"], tmp_path)
    assert "'torch'" in found
