"""How fast evidence is made: python benchmarks/evaluation.py [--rows 2000] [--threads 1]

Prints rows per second of each part of an evaluation: judging replies, counting lanes, writing the page; and of a
freshly drawn model of the demo's size that answers in batches against one row at a time, which is what batching is
for. Such a model never ends its turn, so every reply has its full 96 tokens. On one core of a shared machine:

    part                         rows/s
    judge (scoring.score)         7,651
    answer, 64 at a time            153
    answer, 1 at a time              30
    batching                        5.2 ×
    count lanes                  47,628
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

from report import record

from picochat.blocks import markdown_page
from picochat.evidence.eval_report import eval_json, eval_report
from picochat.evidence.evaluation import Evaluation, Model, ModelAnswerer, RowFile, answer_rows
from picochat.evidence.html_page import page
from picochat.evidence.scoring import score
from picochat.model.engine import Decoding
from picochat.packs.rows import Row


def make_rows(count: int) -> list[Row]:
    """Sums with a scratchpad; no two alike."""
    rows = []
    for number in range(count):
        a, b = 10 + number % 90, 10 + number // 90
        steps = [f"{a} + {b}", f"{a % 10} + {b % 10} = {a % 10 + b % 10}, write {(a + b) % 10}"]
        row: Row = {
            "messages": [{"role": "user", "content": f"What is {a} + {b}?"}],
            "answer": str(a + b),
            "answer_style": "scratchpad",
            "steps": steps,
            "reference": "\n".join([*steps, f"Final answer: {a + b}"]),
            "answerable": True,
            "category": f"bench_math_{('addition', 'subtraction')[number % 2]}",
            "mixture_benchmark_profile": "weak_skills",
        }
        rows.append(row)
    return rows


def main() -> None:
    """Measure all parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()

    import torch

    from picochat.model.decoder import Decoder, DecoderConfig
    from picochat.model.tokenizer import train_tokenizer

    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    rows = make_rows(arguments.rows)
    table: list[list[object]] = []

    def timed(name: str, count: int, action: Callable[[], Any]) -> tuple[float, Any]:
        """Rows per second of an action, and its result."""
        start = time.perf_counter()
        result = action()
        rate = count / (time.perf_counter() - start)
        table.append([name, rate])
        return rate, result

    timed("judge (scoring.score)", len(rows), lambda: [score(row, row["reference"]) for row in rows])

    tokenizer = train_tokenizer((row["reference"] + row["messages"][0]["content"] for row in rows), 280)
    decoder = Decoder(DecoderConfig(vocab_size=tokenizer.vocab_size)).eval()
    rates = {}
    for batch_size, some in ((64, rows[:256]), (1, rows[:16])):
        answerer = ModelAnswerer(decoder, tokenizer, Decoding(max_new_tokens=96, batch_size=batch_size))
        name = f"answer, {batch_size} at a time"
        rates[batch_size], predictions = timed(name, len(some), lambda a=answerer, s=some: answer_rows(s, a))
    faster = f"Answering 64 at a time is {rates[64] / rates[1]:.1f} × as fast as one at a time."

    many = [predictions[index % len(predictions)] for index in range(arguments.rows)]
    evaluation = Evaluation(RowFile("-", "-", len(many)), Model("-", "-", {}), {}, many)
    timed("count lanes", len(many), lambda: eval_json(evaluation))
    report = eval_report(evaluation)
    timed("Markdown", len(many), lambda: markdown_page(report))
    _, html = timed("page", len(many), lambda: page(report))
    note = f"{faster} The page of {len(many):,} rows has {len(html.encode()) / 1024:.0f} KiB."
    record("evaluation", ["part", "rows/s"], table, note)


if __name__ == "__main__":
    main()
