"""Start-up: python benchmarks/startup.py [--repeat 9]

The median wall time of each command line in a fresh process beyond that of an empty interpreter (`python -c pass`),
beside its bound where there is one. `fit` counts from its start to the end of its first optimizer step, with tokens
already stored; its bound is 1.3 times what `import torch, lightning.pytorch` takes in the same run. The note says where
the time of the imports goes, by package.
"""

import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from measure import flags, picochat
from report import record

PACK = "data task-pack --dataset-pack data/dataset_pack.json --out-dir pack --sft-rows 1600 --eval-rows 320 --force"
COMMANDS: dict[str, float | None] = {  # words → bound in seconds beyond the interpreter's own time
    "--help": 0.3,
    "--version": 0.3,
    "data task-pack --help": 0.3,
    "train sft --help": 0.3,
    "eval chat --help": 0.3,
    "plan --help": 0.3,
    "fit --config nowhere.yaml": None,
    "fit --help": 3.0,
    "fit --data.help CapabilityDataModule": 3.0,
    PACK: 1.5,
}
BARE = "import torch, lightning.pytorch"
SAID = "; import time; print('first step at', time.time(), flush=True)"  # without the time that ending takes
STEP = """
import os, time
from lightning import Callback
class First(Callback):
    def on_train_batch_end(self, trainer, *_):
        print("first step at", time.time(), flush=True)
        os._exit(0)
"""
FIT = """\
trainer: {default_root_dir: run, max_steps: 1, accelerator: cpu, logger: false, enable_model_summary: false,
  num_sanity_val_steps: 0, use_distributed_sampler: false, callbacks: [first.First]}
model: {optimizer: {name: adamw}}
data:
  class_path: picochat.datamodules.ChatDataModule
  init_args: {chat_input: pack/chat_task_mixture_capability.jsonl, tokenizer: tokenizer.json, work_dir: pack}
"""


def spent(arguments: list[str], folder: Path) -> float:
    """Seconds of `python *arguments`; to its first optimizer step where it says when that was."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    start = time.time()
    done = subprocess.run([sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True)
    found = re.search(r"first step at (\S+)", done.stdout)
    return (float(found[1]) if found else time.time()) - start


def seconds(arguments: list[str], repeat: int, folder: Path) -> float:
    """Their median, after one run that fills the file caches."""
    return statistics.median([spent(arguments, folder) for _ in range(repeat + 1)][1:])


def imports(words: str, folder: Path) -> Counter[str]:
    """Own seconds of the imports of a command line, by top-level package."""
    command = [sys.executable, "-X", "importtime", "-m", "picochat", *words.split()]
    log = subprocess.run(command, cwd=folder, capture_output=True, text=True).stderr
    found: Counter[str] = Counter()
    for own, name in re.findall(r"import time:\s+(\d+) \|\s+\d+ \|\s+(\S+)", log):
        found[name.partition(".")[0]] += int(own) / 1e6
    return found


def main() -> None:
    repeat = flags(__doc__, repeat=(9, "runs of each command; the median counts")).parse_args().repeat
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        picochat("data import --source stories --documents 2000 --out-dir data", folder)
        picochat("tok train --dataset-pack data/dataset_pack.json --vocab-size 400 --out tokenizer.json", folder)
        picochat(PACK, folder)
        (folder / "first.py").write_text(STEP)
        (folder / "fit.yaml").write_text(FIT)
        empty = seconds(["-c", "pass"], repeat, folder)
        bare = seconds(["-c", BARE + SAID], repeat, folder)
        rows = []
        for words, bound in {**COMMANDS, "fit --config fit.yaml": 1.3 * bare}.items():
            total = seconds(["-m", "picochat", *words.split()], repeat, folder)
            shown = f"{bound:.2f}" if bound else "–"
            rows.append([f"picochat {words.partition(' --dataset-pack')[0]}", total, total - empty, shown])
        fit, light = imports("fit --config fit.yaml", folder), imports("--help", folder)
    rows += [[f"python -c '{BARE}'", bare, bare - empty, "–"], ["python -c pass", empty, 0.0, "–"]]
    parts = ", ".join(f"{package} {own:.2f}" for package, own in fit.most_common(8))
    few = ", ".join(f"{package} {own * 1000:.0f}" for package, own in light.most_common(4))
    note = f"Imports of `fit`, own seconds by package: {parts}. Of `--help`, in ms: {few}. Medians of {repeat} runs."
    record("startup", ["command", "median, s", "beyond the interpreter, s", "bound, s"], rows, note)


if __name__ == "__main__":
    main()
