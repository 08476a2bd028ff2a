"""Head and loss over supervised positions, beside the head over all of them: time and memory.

    python benchmarks/loss.py [--threads 1]

8 rows of 256 tokens, width 320, 40 % of the positions supervised. Each way runs in its own process; its memory is the
growth of the process's peak. Best of five rounds, forward and backward.
"""

import argparse
import multiprocessing
import resource
import time

import torch
from report import record
from torch.nn import functional as F  # noqa: N812 - the field's name

from picochat.model.decoder import Decoder, DecoderConfig
from picochat.model.loss import supervised_nll

WAYS = ("all positions", "supervised", "supervised, chunks of 256 rows")


def measure(way: str, vocabulary: int, threads: int) -> tuple[float, float]:
    """(seconds, MiB) of one way."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    size = {"hidden_size": 320, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4}
    decoder = Decoder(DecoderConfig(vocab_size=vocabulary, **size))
    decoder.lm_head.weight.grad = torch.zeros_like(decoder.lm_head.weight)
    hidden = torch.randn(8, 256, 320, requires_grad=True)
    hidden.grad = torch.zeros_like(hidden)
    labels = torch.randint(vocabulary, (8, 256))
    labels[torch.rand(8, 256) < 0.6] = -100
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    best = float("inf")
    for _ in range(5):
        begun = time.perf_counter()
        if way == "all positions":
            loss = F.cross_entropy(decoder.logits(hidden).flatten(0, 1), labels.flatten(), reduction="sum")
        else:
            loss = supervised_nll(decoder, hidden, labels, 2**62 if way == "supervised" else 256 * vocabulary).sum()
        loss.backward()
        best = min(best, time.perf_counter() - begun)
    return best, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--threads", type=int, default=1)
    threads = parser.parse_args().threads
    context = multiprocessing.get_context("spawn")
    torch.set_num_threads(threads)
    rows: list[list[object]] = []
    for vocabulary in (4096, 32768):
        reference = None
        for way in WAYS:
            with context.Pool(1) as pool:
                seconds, mebibytes = pool.apply(measure, (way, vocabulary, threads))
            reference = reference or seconds
            rows.append([f"{vocabulary:,}", way, seconds * 1e3, reference / seconds, mebibytes])
    record("loss-cpu", ["vocabulary", "way", "ms", "× as fast as all positions", "memory, MiB"], rows)


if __name__ == "__main__":
    main()
