"""AdamW beside Muon with AdamW at the base stage: what a step costs, and how well the corpus is learnt.

    python benchmarks/optimizers.py [--steps 150]

Each optimizer runs `picochat train base` on the same stories at a few learning rates and with two seeds; with muon the
matrices get five times the rate shown. Bits per byte are those of the last validation, on documents that were held out.
"""

import argparse
import csv
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from report import record

from picochat.model.decoder import Decoder, DecoderConfig
from picochat.model.optim import OptimizerConfig, build_optimizer

RUNS = (("adamw", 0.002), ("adamw", 0.004), ("adamw", 0.008), ("muon", 0.004), ("muon", 0.008))
SEEDS = (42, 43)
DEMO = DecoderConfig(vocab_size=262, num_hidden_layers=6, intermediate_size=192)  # what base.yaml trains


def cost_of_a_step(name: str) -> float:
    """Milliseconds of the optimizer alone, best of ten, at the demo's size."""
    decoder = Decoder(DEMO)
    optimizer = build_optimizer(decoder, OptimizerConfig(name))  # type: ignore[arg-type]
    for parameter in decoder.parameters():
        parameter.grad = torch.randn_like(parameter)
    best = float("inf")
    for _ in range(10):
        begun = time.perf_counter()
        optimizer.step()
        best = min(best, time.perf_counter() - begun)
    return best * 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--documents", type=int, default=20_000)
    args = parser.parse_args()
    rows: list[list[object]] = []
    with tempfile.TemporaryDirectory() as folder:
        picochat = [sys.executable, "-m", "picochat"]
        pack, tokenizer = f"{folder}/data/dataset_pack.json", f"{folder}/tokenizer.json"
        made = ["data", "import", "--source", "stories", "--documents", str(args.documents)]
        subprocess.run([*picochat, *made, "--out-dir", f"{folder}/data"], check=True)
        made = ["tok", "train", "--dataset-pack", pack, "--vocab-size", str(DEMO.vocab_size), "--out", tokenizer]
        subprocess.run([*picochat, *made], check=True)
        for name, rate in RUNS:
            bits = [last_bits(name, rate, seed, args.steps, Path(folder)) for seed in SEEDS]
            rows.append([name, str(rate), *(f"{one:.3f}" for one in bits), cost_of_a_step(name)])
    columns = ["optimizer", "learning rate", *(f"bits per byte, seed {seed}" for seed in SEEDS), "optimizer, ms a step"]
    record("optimizers-demo", columns, rows, f"Demo size, {args.steps} steps of 16 rows of 256.")


def last_bits(name: str, rate: float, seed: int, steps: int, folder: Path) -> float:
    """Bits per byte of held-out documents at the end of a run."""
    run = folder / f"{name}-{rate}-{seed}"
    words = ["--dataset-pack", f"{folder}/data/dataset_pack.json", "--tokenizer", f"{folder}/tokenizer.json"]
    words += ["--out-dir", str(run), "--optimizer", name, "--learning-rate", str(rate), "--seed", str(seed)]
    words += ["--steps", str(steps), "--eval-every", str(steps), "--batch-size", "16", "--context-length", "256"]
    subprocess.run([sys.executable, "-m", "picochat", "train", "base", *words], check=True, capture_output=True)
    with (run / "metrics.csv").open(newline="") as file:
        return float([row["val/bits_per_byte"] for row in csv.DictReader(file) if row["val/bits_per_byte"]][-1])


if __name__ == "__main__":
    main()
