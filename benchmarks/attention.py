"""The ways to keep packed documents apart, forward and backward, on this machine.

    python benchmarks/attention.py [--threads 1]

4,096 tokens in rows of 256, 512 and 1,024 with documents of about 60 and 400 tokens; `causal` does not isolate and is
the measure of the others. Best of ten rounds, taken in turn, in milliseconds.
"""

import argparse
import time

import torch
from report import record
from torch import Tensor

from picochat.model.attention import Backend, isolate

TOKENS = 4096
SHAPES = [(4, 2, 32), (8, 2, 48), (16, 4, 64)]  # query heads, key heads, head size: the demo, the recipe, 107 M


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--threads", type=int, default=1)
    torch.set_num_threads(parser.parse_args().threads)
    torch.manual_seed(0)
    choices: tuple[Backend, ...] = ("causal", "mask", "segments")
    rows: list[list[object]] = []
    for heads, keys, size in SHAPES:
        for length, mean in ((256, 60), (512, 60), (512, 400), (1024, 60), (1024, 400)):
            document_ids = packs(TOKENS // length, length, mean)
            shapes = [(TOKENS // length, length, count, size) for count in (heads, keys, keys)]
            states = [torch.randn(shape, requires_grad=True) for shape in shapes]
            best = dict.fromkeys(choices, float("inf"))
            for _ in range(10):
                for choice in choices:
                    best[choice] = min(best[choice], seconds(document_ids, choice, states))
            figures = (f"{best[c] * 1e3:.1f} ({best[c] / best['causal']:.2f} ×)" for c in choices)
            rows.append([f"{heads}/{keys} × {size}", length, mean, *figures])
    record("attention-cpu", ["heads", "row", "document", *(f"{c}, ms" for c in choices)], rows)


def seconds(document_ids: Tensor, choice: Backend, states: list[Tensor]) -> float:
    """One layer's forward and backward, with its share of the preparation in a model of eight layers."""
    begun = time.perf_counter()
    attend = isolate(document_ids, choice)
    prepared = time.perf_counter()
    attend(*states).sum().backward()
    return time.perf_counter() - prepared + (prepared - begun) / 8


def packs(rows: int, tokens: int, mean: int) -> Tensor:
    """document_ids of rows filled with documents of mean / 2 to 3 · mean / 2 tokens, padded where none fits."""
    made = []
    for _ in range(rows):
        row: list[int] = []
        while len(row) + (length := int(torch.randint(mean // 2, mean * 3 // 2, ()))) <= tokens:
            row += [row[-1] + 1 if row else 1] * length
        made.append(row + [0] * (tokens - len(row)))
    return torch.tensor(made, dtype=torch.int32)


if __name__ == "__main__":
    main()
