"""Time and memory of each stage against size: python benchmarks/growth.py [--points N] [--stages NAME …]

Every size runs in a process of its own, so that memory is that of the size and not of the ones before. Time is CPU time
of all threads: what else the machine does hardly counts. A line is fitted through log(size), log(seconds) of the upper
half of the sizes, where constant costs weigh least:

    slope 1.0  in proportion        slope 1.1  about n log n over three decades        slope 2.0  its square

A stage takes a size and a folder, prepares its input, and returns what is timed.
"""

import argparse
import io
import json
import math
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from measure import chat_rows, flags, fresh, training_step
from report import record

STEEPEST = 1.25  # n log n from 10³ to 10⁶ has 1.1; what lies above is steeper, noise allowed for
RULE = 0.05  # seconds below which a time says more of the clock than of the size
Run = Callable[[], object]


def quietly(words: str) -> None:
    """A command line of picochat in this process, without its output."""
    from picochat.cli import main

    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        main(words.split())


def apart(work: Callable[..., object], *args: object) -> None:
    """In a process of its own, whose memory is not counted."""
    process = multiprocessing.get_context("fork").Process(target=work, args=args)
    process.start()
    process.join()
    if process.exitcode:
        raise SystemExit(f"{work} failed")


def importing(size: int, folder: Path) -> Run:
    """Documents of a file into a corpus."""
    with (folder / "source.jsonl").open("w", encoding="utf-8") as file:
        file.writelines(json.dumps({"text": f"Document {n} of a few words. " * 5}) + "\n" for n in range(size))
    return lambda: quietly(f"data import --source {folder}/source.jsonl --out-dir {folder}/data")


def task_pack(size: int, folder: Path) -> Run:
    """Rows of a capability pack."""
    (folder / "dataset_pack.json").write_text("{}")
    words = f"data task-pack --dataset-pack {folder}/dataset_pack.json --sft-rows {size} --eval-rows 32"
    return lambda: quietly(words)


def contamination(size: int, folder: Path) -> Run:
    """Training questions of one template against a fifth as many eval questions: the worst case for near copies."""
    from picochat.packs.contamination import Entry, check

    def entries(name: str, count: int) -> list[Entry]:
        pairs = np.random.default_rng(count).integers(0, 10_000, (count, 2)).tolist()
        text = "There are {} boxes here with {} pens in each. How many pens are there?"
        return [Entry(f"{name}{a}+{b}", text.format(a, b), "", (str(a), str(b))) for a, b in pairs]

    train, evaluation = entries("t", size), entries("e", size // 5)
    return lambda: check(train, evaluation, None, "")


def tokens(size: int, folder: Path) -> Run:
    """Rows into a token store."""
    from picochat.datamodules.tokenise import Input, tokens_of_rows
    from picochat.model.vocabulary import train_tokenizer

    rows, lines = chat_rows(folder, size)
    tokenizer = train_tokenizer(lines, 400)
    return lambda: tokens_of_rows([Input(rows)], "chat", tokenizer, folder / "tokens", verify=False)


def tokenizer(size: int, folder: Path) -> Run:
    """Training a tokenizer of so many tokens, from words enough for the largest."""
    from picochat.model.vocabulary import train_tokenizer

    letters = np.random.default_rng(0).integers(97, 123, (60_000, 7)).astype(np.uint8)
    words = [bytes(word).decode() for word in letters]
    texts = [" ".join(words[i : i + 100] * 2) for i in range(0, len(words), 100)]
    return lambda: train_tokenizer(texts, size)


def plan(size: int, folder: Path) -> Run:
    """A data plan over columns in files, as one rank of 1,024 opens it: its first batch, and one five steps later.

    Memory counts the pages of the files that were read, which the system can drop.
    """
    from picochat.datamodules.plan import DataPlan, Split

    def columns(mode: Literal["r", "w+"]) -> list[Any]:
        return [np.memmap(folder / dtype, dtype, mode, shape=size) for dtype in ("i4", "i2")]

    def write() -> None:
        lengths, lanes = columns("w+")
        for start in range(0, size, 2**22):
            part = slice(start, min(start + 2**22, size))
            lengths[part] = np.random.default_rng(start).lognormal(4.0, 0.6, part.stop - start).clip(8, 512)
            lanes[part] = np.arange(start, part.stop) * 14 // size

    def run() -> None:
        lengths, lanes = columns("r")
        plan = DataPlan(lengths, lengths, lanes, capacity=512)
        for step in (0, 5):
            plan.bins(Split(batch_size=8, world_size=1024).start(step, 0, 1023), 8)

    apart(write)
    return run


def loader(size: int, folder: Path) -> Run:
    """What `fit` does before its first batch, with tokens already stored, and 100 batches."""
    from picochat.datamodules import ChatDataModule
    from picochat.model.vocabulary import train_tokenizer

    rows, lines = chat_rows(folder, size)
    train_tokenizer(lines, 400).write(folder / "tokenizer.json")
    settings = {"tokenizer": str(folder / "tokenizer.json"), "work_dir": str(folder)}
    apart(ChatDataModule(chat_input=str(rows), **settings).prepare_data)

    def run() -> int:
        data = ChatDataModule(chat_input=str(rows), **settings)
        data.setup("fit")
        return sum(1 for _ in zip(range(100), iter(data.train_dataloader()), strict=False))

    return run


def step(context: int, vocabulary: int, document: int) -> Run:
    """A training step of the demo model: 4,096 positions, in rows of so many, documents of so many."""
    import torch

    from picochat.model.config import DecoderConfig

    torch.set_num_threads(1)
    config = DecoderConfig(vocab_size=vocabulary, max_position_embeddings=context)
    return training_step(config, 4096 // context, context, document)


def generation(size: int, folder: Path) -> Run:
    """So many new tokens for each of eight prompts, with the demo model."""
    import torch
    from generation import endless

    from picochat.model.config import DecoderConfig
    from picochat.model.decoder import Decoder
    from picochat.model.engine import Decoding
    from picochat.model.generation import generate

    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = Decoder(DecoderConfig(vocab_size=262, max_position_embeddings=size + 64)).eval()
    prompts = [[3 + place % 200 for place in range(32)]] * 8
    return lambda: generate(model, endless(), prompts, Decoding(max_new_tokens=size, batch_size=8))


def evaluation(size: int, folder: Path) -> Run:
    from evaluation import eval_rows, evaluated

    rows = eval_rows(size)
    evaluated(rows[:50], folder / "warm")  # imports
    return lambda: evaluated(rows, folder / "a")


def comparison(size: int, folder: Path) -> Run:
    """Two evaluations, paired lane by lane, by `picochat eval compare`."""
    from evaluation import eval_rows, evaluated

    rows = eval_rows(size)
    for name, count, wrong in (("a", size, 7), ("b", size, 5), ("few-a", 50, 7), ("few-b", 50, 5)):
        apart(evaluated, rows[:count], folder / name, wrong)
    quietly(f"eval compare {folder}/few-a {folder}/few-b --out-dir {folder}/few")  # imports
    return lambda: quietly(f"eval compare {folder}/a {folder}/b --out-dir {folder}/compared")


class Stage(NamedTuple):
    """A stage, the unit of its size, and the sizes; why its time grows faster than n log n, if it has to."""

    prepare: Callable[[int, Path], Run]
    unit: str
    sizes: tuple[int, ...]
    square: str = ""


ROWS = (1_000, 3_200, 10_000, 32_000, 100_000, 320_000, 1_000_000)
EVAL_ROWS = (100, 320, 1_000, 3_200, 10_000, 32_000, 100_000)
VOCABULARY = (512, 1_024, 2_048, 4_096, 8_192, 16_384, 32_768)
CONTEXT = (128, 256, 512, 1_024, 2_048, 4_096)
STAGES = {
    "import": Stage(importing, "documents", ROWS),
    "task pack": Stage(task_pack, "rows", ROWS[:-1]),  # the tasks can give 456,044 different rows
    "contamination": Stage(contamination, "rows", ROWS[:-1]),
    "tokens": Stage(tokens, "rows", ROWS),
    "plan": Stage(plan, "rows", (10**5, 10**6, 10**7, 10**8)),
    "loader": Stage(loader, "rows", ROWS),
    "evaluation": Stage(evaluation, "eval rows", EVAL_ROWS),
    "comparison": Stage(comparison, "eval rows", EVAL_ROWS),
    "tokenizer": Stage(tokenizer, "tokens of the vocabulary", VOCABULARY),
    "step, vocabulary": Stage(lambda n, _: step(256, n, 64), "tokens of the vocabulary", VOCABULARY),
    "step, short documents": Stage(lambda n, _: step(n, 320, 64), "tokens a row", CONTEXT),
    "step, a document a row": Stage(lambda n, _: step(n, 320, n), "tokens a row", CONTEXT),
    "generation": Stage(generation, "new tokens", CONTEXT, "each new token attends to all before it"),
}


def once(name: str, size: int) -> list[float]:
    """CPU seconds, and MiB by which the peak memory grew, in this process."""
    with tempfile.TemporaryDirectory() as folder:
        run = STAGES[name].prepare(size, Path(folder))
        before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
        run()
        elapsed = time.process_time() - start
        return [elapsed, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024]


def slope(points: list[tuple[int, float]]) -> float:
    """Exponent of the growth over the upper half of the sizes."""
    upper = [(size, value) for size, value in points[len(points) // 2 :] if value > 0]
    if len(upper) < 2:
        return math.nan
    logs = np.log(np.array(upper, dtype=float))
    return float(np.polyfit(logs[:, 0], logs[:, 1], 1)[0])


def main() -> None:
    parser = flags(__doc__, points=(9, "sizes of each stage, from the smallest"))
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=list(STAGES), metavar="NAME")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)  # what it runs in a fresh process
    args = parser.parse_args()
    if args.one:
        print(json.dumps(once(args.one[0], int(args.one[1]))))
        return
    rows: list[list[Any]] = []
    steep = []
    for name in args.stages:
        curve = []
        for size in STAGES[name].sizes[: args.points]:
            seconds, memory = fresh(__file__, "--one", name, str(size))
            curve.append((size, seconds, memory))
            print(f"{name} {size:,}: {seconds:.3f} s, {memory:.1f} MiB", flush=True)
        slopes = [slope([(point[0], point[column]) for point in curve]) for column in (1, 2)]
        if curve[-1][1] > RULE and slopes[0] > STEEPEST:
            steep.append(f"{name} ({STAGES[name].square or 'a fault'})")
        rows.append([name, STAGES[name].unit, f"{curve[0][0]:,} – {curve[-1][0]:,}", *curve[-1][1:], *slopes])
    note = f"Steeper than n log n: {', '.join(steep) or 'none'}. Slopes over the upper half of the sizes."
    columns = ["stage", "of", "sizes", "largest, CPU s", "largest, MiB", "slope of time", "slope of memory"]
    record("growth", columns, rows, note, keys=3)


if __name__ == "__main__":
    main()
