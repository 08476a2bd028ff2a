"""What the data costs a training step, and what tokenising costs a first start.

    python benchmarks/loader.py                     demo scale, on this machine's processor
    python benchmarks/loader.py --rows 1000000      tokenising a million rows, too

A demo step is taken twice: with the 0.85 M parameter model of base.yaml, and with a module that does nothing, so that
what remains is the loader (and Lightning's own loop). The loader alone, without a trainer, stands beside them.
"""

import argparse
import json
import logging
import tempfile
import time
import warnings
from pathlib import Path

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Timer

from picochat.datamodules import CapabilityDataModule
from picochat.datamodules.prepare import ensure_tokenizer
from picochat.datamodules.tokenise import tokens_of_rows
from picochat.model.batch import Batch
from picochat.model.module import ChatModule


class Nothing(LightningModule):
    """The model replaced by a no-op."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))

    def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
        return self.weight * 0

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.0)


def seconds_a_step(module: LightningModule, steps: int, workers: int) -> float:
    timer = Timer()
    trainer = Trainer(
        max_steps=steps,
        accelerator="cpu",
        precision="bf16-mixed",
        callbacks=[timer],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        limit_val_batches=0,
    )
    trainer.fit(module, CapabilityDataModule(num_workers=workers))
    return timer.time_elapsed("train") / steps


def steps(count: int) -> None:
    data = CapabilityDataModule(sft_rows=8000, eval_rows=320)
    data.prepare_data()
    data.setup("fit")
    batches = iter(data.train_dataloader())
    next(batches)
    start = time.perf_counter()
    loaded = sum(1 for _ in zip(range(100), batches, strict=False))
    loader = (time.perf_counter() - start) / loaded
    real = seconds_a_step(ChatModule(), count, 0)  # its default size is that of base.yaml
    print(f"a batch of {data.batch_size} × {data.context_length} from the loader alone: {loader * 1e3:.2f} ms")
    print(f"a real step: {real * 1e3:.1f} ms; the loader is {loader / real:.2%} of it")
    for workers in (0, 1):
        nothing = seconds_a_step(Nothing(), 200, workers)
        print(
            f"a step without a model, {workers} workers: {nothing * 1e3:.2f} ms, {nothing / real:.2%} of the real one"
        )


def tokenise(rows: int) -> None:
    data = CapabilityDataModule(sft_rows=8000, eval_rows=320)
    tokenizer = ensure_tokenizer(data.tokenizer_path, data.pack_path, 512)
    lines = (data.work_dir / "chat_task_mixture_capability.jsonl").read_text("utf-8").splitlines()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "chat.jsonl"
        with path.open("w", encoding="utf-8") as file:
            for number in range(rows):
                file.write(lines[number % len(lines)] + "\n")
        size = path.stat().st_size
        for what in ("tokenising", "finding and checking them again"):
            start = time.perf_counter()
            store = tokens_of_rows(path, "chat", tokenizer, Path(folder) / "cache", verify=True)
            seconds = time.perf_counter() - start
            print(f"{what}: {rows:,} rows, {size / 1e6:,.0f} MB, {len(store.tokens):,} tokens in {seconds:.1f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=60, metavar="N", help="real steps to time (default: 60)")
    parser.add_argument("--rows", type=int, default=100_000, metavar="N", help="rows to tokenise (default: 100,000)")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="torch threads (default: 1)")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    warnings.simplefilter("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    print(json.dumps({"torch": torch.__version__, "threads": torch.get_num_threads()}))
    steps(args.steps)
    tokenise(args.rows)


if __name__ == "__main__":
    main()
