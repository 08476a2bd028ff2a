"""Time and memory of each stage against size: python benchmarks/growth.py [--decades 3] [--stages NAME …]

Every size runs in a process of its own, so that memory is that of the size and not of the ones before. Time is CPU time
of all threads: what else the machine does hardly counts. A line is fitted through log(size), log(seconds) of the upper
half of the sizes, where constant costs weigh least:

    slope 1.0  in proportion        slope 1.1  about n log n over three decades        slope 2.0  its square

Writes results/growth.json and results/growth.svg (log–log, a panel for time and one for memory).
"""

import argparse
import json
import math
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from report import RESULTS, record

Stage = Callable[[int, Path], Callable[[], object]]  # (size, folder) → what is timed
_STEEPEST = 1.25  # n log n from 10³ to 10⁶ has 1.1; what lies above is steeper, noise allowed for
_RULE = 0.05  # seconds below which a time says more of the clock than of the size


def task_pack(size: int, folder: Path) -> Callable[[], object]:
    """Rows of a capability pack."""
    from picochat.cli import main

    quiet(main, ["data", "import", "--source", "stories", "--documents", "200", "--out-dir", str(folder)])
    words = f"data task-pack --dataset-pack {folder}/dataset_pack.json --sft-rows {size} --eval-rows 32".split()
    return lambda: quiet(main, words)


def tokenise(size: int, folder: Path) -> Callable[[], object]:
    """Rows into a token store."""
    from picochat.datamodules.tokenise import tokens_of_rows
    from picochat.model.tokenizer import train_tokenizer

    task_pack(size, folder)()
    tokenizer = train_tokenizer((line for line in (folder / "corpus.jsonl").open(encoding="utf-8")), 400)
    rows = folder / "chat_task_mixture_capability.jsonl"
    return lambda: tokens_of_rows(rows, "chat", tokenizer, folder / "tokens", verify=False)


def vocabulary(size: int, folder: Path) -> Callable[[], object]:
    """Learning a tokenizer of so many tokens, from words enough for the largest."""
    from picochat.model.tokenizer import train_tokenizer

    letters = np.random.default_rng(0).integers(97, 123, (60_000, 7)).astype(np.uint8)
    words = [bytes(word).decode() for word in letters]
    texts = [" ".join(words[i : i + 100] * 2) for i in range(0, len(words), 100)]
    return lambda: train_tokenizer(texts, size)


def packing(size: int, folder: Path) -> Callable[[], object]:
    """Best-fit decreasing of so many lengths."""
    from picochat.datamodules.packing import pack_bestfit

    lengths = np.random.default_rng(0).lognormal(4.0, 0.6, size).clip(8, 512).astype(np.int64)
    return lambda: pack_bestfit(lengths, 512)


def plan(size: int, folder: Path) -> Callable[[], object]:
    """A data plan over so many rows, and its first block."""
    from picochat.datamodules.plan import DataPlan

    rng = np.random.default_rng(0)
    lengths = rng.lognormal(4.0, 0.6, size).clip(8, 512).astype(np.int32)
    lanes = rng.integers(0, 14, size).astype(np.int16)
    return lambda: DataPlan(lengths, lengths // 2, lanes, 512).block(0)


def context(size: int, folder: Path) -> Callable[[], object]:
    """One training step of the demo model: 4,096 positions, in rows of so many, documents of 64 tokens."""
    return _step(size, 320)


def head(size: int, folder: Path) -> Callable[[], object]:
    """The same step with so many tokens in the vocabulary, in rows of 256."""
    return _step(256, size)


def scoring(size: int, folder: Path) -> Callable[[], object]:
    """So many eval rows and replies, judged and compared lane by lane."""
    from picochat.evidence.scoring import score
    from picochat.packs.rows import read_rows

    task_pack(64, folder)()
    rows = read_rows(folder / "eval_task_mixture_capability.jsonl", "eval")
    many = [rows[i % len(rows)] for i in range(size)]
    return lambda: [score(row, str(row.get("reference", ""))) for row in many]


def _step(context_length: int, vocabulary_size: int) -> Callable[[], object]:
    import torch

    from picochat.model.decoder import Decoder, DecoderConfig
    from picochat.model.loss import supervised_nll

    torch.set_num_threads(1)
    model = Decoder(DecoderConfig(vocab_size=vocabulary_size))
    rows = 4096 // context_length
    ids = torch.randint(vocabulary_size, (rows, context_length))
    places = torch.arange(context_length)
    documents, positions = (places // 64 + 1).repeat(rows, 1), (places % 64).repeat(rows, 1)
    labels = ids.roll(-1, 1)
    labels[:, ::2] = -100
    return lambda: supervised_nll(model, model(ids, positions, documents), labels).sum().backward()


STAGES: dict[str, tuple[Stage, str, int, float]] = {  # name → (stage, unit, smallest size, factor of each decade)
    "task_pack": (task_pack, "rows", 1000, 10),
    "tokenise": (tokenise, "rows", 1000, 10),
    "packing": (packing, "rows", 1000, 10),
    "plan": (plan, "rows", 1000, 10),
    "scoring": (scoring, "eval rows", 100, 10),
    "vocabulary": (vocabulary, "tokens", 512, 4),
    "context": (context, "tokens a row", 128, 32 ** (1 / 3)),  # three steps to 4,096
    "head": (head, "tokens", 512, 4),
}


def quiet(main: Callable[[list[str]], None], words: list[str]) -> None:
    """A command line without its output."""
    keep = os.dup(1)
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        try:
            main(words)
        finally:
            sys.stdout.flush()
            os.dup2(keep, 1)
            os.close(keep)


def once(name: str, size: int) -> dict[str, float]:
    """Seconds of CPU time and growth of the peak memory, in this process."""
    with tempfile.TemporaryDirectory() as folder:
        run = STAGES[name][0](size, Path(folder))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        start = time.process_time()
        run()
        elapsed = time.process_time() - start
        return {"seconds": elapsed, "bytes": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024}


def sizes_of(name: str, decades: int) -> list[int]:
    """Two sizes a decade, from the smallest on."""
    _, _, smallest, factor = STAGES[name]
    even = 32 if name == "context" else 1
    return [round(smallest * factor ** (half / 2) / even) * even for half in range(2 * decades + 1)]


def slope(points: list[tuple[int, float]]) -> float:
    """Exponent of the growth over the upper half of the sizes."""
    upper = [(size, value) for size, value in points[len(points) // 2 :] if value > 0]
    if len(upper) < 2:
        return math.nan
    logs = np.log(np.array(upper, dtype=float))
    return float(np.polyfit(logs[:, 0], logs[:, 1], 1)[0])


def drawn(curves: dict[str, list[tuple[int, float, float]]]) -> str:
    """An SVG of two log–log panels, seconds and MiB against size as a multiple of the smallest."""
    colours = ("#1b6ca8", "#c84b31", "#2d7d46", "#8a4fa3", "#b8860b", "#444444", "#d1699a", "#2a9d8f")
    width, height, left = 360, 300, 60
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="960" height="{height + 70}" font-family="sans-serif" font-size="12">']  # fmt: skip  # noqa: E501
    for panel, (title, index, least) in enumerate((("CPU seconds", 1, 1e-3), ("MiB beyond the start", 2, 1e-1))):
        x0 = left + panel * (width + 60)
        values = [max(point[index], least) for curve in curves.values() for point in curve]
        low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values) * 1.01))
        far = math.ceil(max(math.log10(curve[-1][0] / curve[0][0]) for curve in curves.values()))
        parts.append(f'<text x="{x0}" y="18">{title}</text>')
        for power in range(low, high + 1):
            y = 30 + height * (1 - (power - low) / (high - low))
            parts.append(f'<path d="M{x0} {y:.1f}h{width}" stroke="#ddd"/><text x="{x0 - 8}" y="{y + 4:.1f}" text-anchor="end">{10.0**power:g}</text>')  # fmt: skip  # noqa: E501
        for power in range(far + 1):
            parts.append(f'<text x="{x0 + width * power / far:.0f}" y="{height + 48}" text-anchor="middle">×{10**power:,}</text>')  # fmt: skip  # noqa: E501
        for colour, curve in zip(colours, curves.values(), strict=False):
            places = " ".join(
                f"{x0 + width * math.log10(point[0] / curve[0][0]) / far:.1f},"
                f"{30 + height * (1 - (math.log10(max(point[index], least)) - low) / (high - low)):.1f}"
                for point in curve
            )
            parts.append(f'<polyline points="{places}" fill="none" stroke="{colour}" stroke-width="2"/>')
    for row, (colour, name) in enumerate(zip(colours, curves, strict=False)):
        parts.append(f'<text x="{left + 2 * (width + 60)}" y="{50 + 20 * row}" fill="{colour}">{name}</text>')
    return "\n".join([*parts, "</svg>", ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--decades", type=int, default=3, help="of size (default: 3)")
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=list(STAGES))
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)  # what it runs in a fresh process
    args = parser.parse_args()
    if args.one:
        print(json.dumps(once(args.one[0], int(args.one[1]))))
        return
    rows, curves, steep = [], {}, []
    for name in args.stages:
        curve = []
        for size in sizes_of(name, args.decades):
            command = [sys.executable, __file__, "--one", name, str(size)]
            found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            curve.append((size, found["seconds"], found["bytes"] / 2**20))
            print(f"{name} {size:,}: {found['seconds']:.3f} s, {found['bytes'] / 2**20:.1f} MiB", flush=True)
        curves[name] = curve
        of_time = slope([(size, seconds) for size, seconds, _ in curve])
        of_memory = slope([(size, memory) for size, _, memory in curve])
        steep += [name] if curve[-1][1] > _RULE and of_time > _STEEPEST else []
        last = curve[-1]
        rows.append([name, STAGES[name][1], f"{curve[0][0]:,} – {last[0]:,}", last[1], last[2], of_time, of_memory])
    note = f"Steeper than n log n: {', '.join(steep) or 'none'}. Slopes over the upper half of the sizes."
    columns = ["stage", "of", "sizes", "largest, CPU s", "largest, MiB", "slope of time", "slope of memory"]
    record("growth", columns, rows, note, curves=curves)
    (RESULTS / "growth.svg").write_text(drawn(curves), encoding="utf-8")


if __name__ == "__main__":
    main()
