"""AdamW beside Muon with AdamW at the base stage: what a step costs, and how well the corpus is learned.

    python benchmarks/optimizers.py [--steps 150]

Each optimizer runs `picochat train base` on the same stories at a few learning rates and with two seeds; with muon the
matrices get five times the rate shown. Bits per byte are those of the last validation, on documents that were held out.

Muon works in the format that the hardware multiplies. Its results in both, 150 steps of 8 rows of 256 with the demo's
tokenizer, everything else in bfloat16, seeds 42 and 43: 2.187 and 2.090 bits per byte in bfloat16, 2.184 and 2.085 in
float32.
"""

import csv
import tempfile
from pathlib import Path

import torch
from measure import fastest, flags, picochat
from report import record

from picochat.model.config import DecoderConfig
from picochat.model.decoder import Decoder
from picochat.model.optim import OptimizerConfig, build_optimizer

RUNS = (("adamw", 0.004), ("adamw", 0.008), ("muon", 0.004), ("muon", 0.008))
SEEDS = (42, 43)
DEMO = DecoderConfig(vocab_size=262, num_hidden_layers=6, intermediate_size=192)  # what base.yaml trains


def cost_of_a_step(name: str) -> float:
    """Milliseconds of the optimizer alone, at the demo's size."""
    decoder = Decoder(DEMO)
    optimizer = build_optimizer(decoder, OptimizerConfig(name))  # type: ignore[arg-type]
    for parameter in decoder.parameters():
        parameter.grad = torch.randn_like(parameter)
    return fastest({name: lambda: optimizer.step()}, rounds=10)[name] * 1e3


def last_bits(name: str, rate: float, seed: int, steps: int, folder: Path) -> float:
    """Bits per byte of held-out documents at the end of a run."""
    run = f"{name}-{rate}-{seed}"
    words = f"train base --dataset-pack data/dataset_pack.json --tokenizer tokenizer.json --out-dir {run} --seed {seed}"
    words += f" --optimizer {name} --learning-rate {rate} --steps {steps} --eval-every {steps}"
    picochat(f"{words} --batch-size 16 --context-length 256", folder)
    with (folder / run / "metrics.csv").open(newline="") as file:
        return float([row["val/bits_per_byte"] for row in csv.DictReader(file) if row["val/bits_per_byte"]][-1])


def main() -> None:
    args = flags(__doc__, steps=(150, "of each run"), documents=(20_000, "of the corpus")).parse_args()
    rows: list[list[object]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        picochat(f"data import --source stories --documents {args.documents} --out-dir data", folder)
        words = f"tok train --dataset-pack data/dataset_pack.json --vocab-size {DEMO.vocab_size} --out tokenizer.json"
        picochat(words, folder)
        for optimizer, rate in RUNS:
            bits = [last_bits(optimizer, rate, seed, args.steps, folder) for seed in SEEDS]
            rows.append([optimizer, str(rate), *(f"{one:.3f}" for one in bits), cost_of_a_step(optimizer)])
    columns = ["optimizer", "learning rate", *(f"bits per byte, seed {seed}" for seed in SEEDS), "optimizer, ms a step"]
    record("optimizers-demo", columns, rows, f"Demo size, {args.steps} steps of 16 rows of 256.", keys=2)


if __name__ == "__main__":
    main()
