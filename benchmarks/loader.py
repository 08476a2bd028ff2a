"""What the data costs a training step: python benchmarks/loader.py [--steps 60]

A demo step is taken twice: with the 0.77 M parameter model of base.yaml, and with a module that does nothing, so that
what remains is the loader (and Lightning's own loop). Beside them the loaders alone, over the same rows:

    picochat              packed rows of the plan: drawn, packed and laid out
    torch, padded         torch's DataLoader over the tokenised rows, shuffled, padded to the longest of a batch
    torch, text, padded   the same, tokenising each row when it is asked for
"""

import argparse
import itertools
import logging
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Timer
from report import record
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader

from picochat.datamodules import CapabilityDataModule
from picochat.model.batch import Batch
from picochat.model.module import ChatModule
from picochat.packs.rows import conversation, read_rows

SIZE = {"sft_rows": 8000, "eval_rows": 320}
BATCHES = 200
Labels = Iterator[Tensor]  # of batches, with -100 where nothing is learnt


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
    trainer.fit(module, CapabilityDataModule(num_workers=workers, **SIZE))
    return timer.time_elapsed("train") / steps


def packed(data: CapabilityDataModule) -> Labels:
    while True:
        yield from (batch.labels for batch in data.train_dataloader())


def padded(data: CapabilityDataModule) -> Labels:
    return _labels([data._train[index] for index in range(len(data._train))], lambda row: row, data.batch_size)


def tokenised_late(data: CapabilityDataModule) -> Labels:
    tokenizer = data.chat_tokenizer

    def tokens(row: dict[str, Any]) -> tuple[Any, Any]:
        made = tokenizer.render(conversation(row) or [])
        return made.ids, made.supervised

    return _labels(read_rows(data.work_dir / "chat_task_mixture_capability.jsonl", "chat"), tokens, data.batch_size)


def _labels(rows: list[Any], tokens: Callable[[Any], tuple[Any, Any]], batch_size: int) -> Labels:
    def collate(some: list[Any]) -> tuple[Tensor, Tensor]:
        made = [(torch.as_tensor(ids), torch.as_tensor(learnt)) for ids, learnt in map(tokens, some)]
        ids = pad_sequence([ids[:-1] for ids, _ in made], batch_first=True)
        targets = [ids.masked_fill(~learnt, -100)[1:] for ids, learnt in made]
        return ids, pad_sequence(targets, batch_first=True, padding_value=-100)

    while True:
        yield from (labels for _, labels in DataLoader(rows, batch_size, shuffle=True, collate_fn=collate))  # type: ignore[arg-type]


def alone(batches: Labels) -> tuple[float, float, float]:
    """(seconds a batch, learnt tokens a batch, learnt tokens a place)."""
    next(batches)
    start = time.perf_counter()
    seen = list(itertools.islice(batches, BATCHES))
    seconds = (time.perf_counter() - start) / BATCHES
    learnt, places = (sum(int(count) for count in counts) for counts in
                      ([(labels != -100).sum() for labels in seen], [labels.numel() for labels in seen]))  # fmt: skip
    return seconds, learnt / BATCHES, learnt / places


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=60, metavar="N", help="real steps to time (default: 60)")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="torch threads (default: 1)")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    warnings.simplefilter("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    data = CapabilityDataModule(**SIZE)
    data.prepare_data()
    data.setup("fit")
    real = seconds_a_step(ChatModule(), args.steps, 0)  # its default size is that of base.yaml
    ours = 0.0
    rows: list[list[object]] = [["a real step", real * 1e3, "", "", "", 1.0]]
    for name, batches in (("picochat", packed), ("torch, padded", padded), ("torch, text, padded", tokenised_late)):
        seconds, learnt, share = alone(batches(data))
        ours = ours or learnt / seconds
        rows.append(
            [f"loader: {name}", seconds * 1e3, learnt / seconds, ours * seconds / learnt, share, seconds / real]
        )
    for workers in (0, 1):
        nothing = seconds_a_step(Nothing(), 200, workers)
        rows.append([f"a step without a model, {workers} workers", nothing * 1e3, "", "", "", nothing / real])
    columns = ["what", "ms a batch", "learnt tokens/s", "picochat is … × as fast", "learnt share of the places"]
    record("loader", [*columns, "of a real step"], rows, f"Batches of {data.batch_size} rows; {args.threads} thread.")


if __name__ == "__main__":
    main()
