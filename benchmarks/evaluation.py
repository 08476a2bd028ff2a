"""How fast evidence is made: python benchmarks/evaluation.py [--rows 2000] [--threads 1]

Rows a second of each part of an evaluation: scoring replies, counting lanes, writing the page; and of a freshly drawn
model of the demo's size that answers in batches and one row at a time. Such a model never ends its turn, so every reply
has its full 96 tokens.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from measure import flags, timed
from report import record

from picochat.blocks import markdown_page
from picochat.evidence.answering import ModelAnswerer
from picochat.evidence.eval_report import eval_json, eval_report
from picochat.evidence.evaluation import Evaluation, Model, RowFile, answer_rows
from picochat.evidence.html_page import page
from picochat.evidence.report import write_report
from picochat.evidence.scoring import is_choice, score
from picochat.model.config import DecoderConfig
from picochat.model.decoder import Decoder
from picochat.model.engine import Decoding
from picochat.model.vocabulary import train_tokenizer
from picochat.packs import build_task_pack
from picochat.packs.formats import read_rows
from picochat.packs.rows import Row


def eval_rows(count: int) -> list[Row]:
    """So many rows of a capability pack, repeated where it has fewer; none with choices."""
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "dataset_pack.json").write_text("{}")
        build_task_pack(Path(name), sft_rows=64, eval_rows=320, promote=False)
        rows = list(read_rows(Path(name) / "eval_task_mixture_capability.jsonl", "eval"))
    rows = [row for row in rows if not is_choice(row)]
    return [rows[number % len(rows)] for number in range(count)]


def reply(row: Row) -> str:
    """What answers the row rightly."""
    return str(row.get("reference") or row.get("answer"))


def evaluation_of(predictions: list[Any], model: str = "-") -> Evaluation:
    source = RowFile("-", "-", len(predictions))
    return Evaluation(source, Model("-", model, {}), {"temperature": 0.0, "seed": 0}, predictions)


class Said(NamedTuple):
    text: str
    raw_text: str
    finished: bool = True


class Student(NamedTuple):
    """Knows all replies, but gets every `wrong`-th wrong."""

    replies: list[str]
    wrong: int

    def reply(self, conversations: Any) -> list[Said]:
        said = [text if place % self.wrong else "no" for place, text in enumerate(self.replies)]
        return [Said(text, f"{text}<|end|>") for text in said]


def evaluated(rows: list[Any], out_dir: Path, wrong: int = 7) -> None:
    """An evaluation: scored, counted lane by lane, all reports written."""
    student: Any = Student([reply(row) for row in rows], wrong)
    evaluation = evaluation_of(answer_rows(rows, student), str(wrong))
    write_report(out_dir, "eval_report", eval_report(evaluation), eval_json(evaluation), evaluation.predictions)


def main() -> None:
    args = flags(__doc__, rows=(2000, "eval rows"), threads=(1, "of torch")).parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    rows = eval_rows(args.rows)
    table: list[list[object]] = []

    def measured(name: str, count: int, action: Callable[[], Any]) -> Any:
        """Its result; rows a second go into the table."""
        seconds, result = timed(action)
        table.append([name, count / seconds])
        return result

    measured("score replies", len(rows), lambda: [score(row, reply(row)) for row in rows])
    tokenizer = train_tokenizer((reply(row) for row in rows), 280)
    decoder = Decoder(DecoderConfig(vocab_size=tokenizer.vocab_size)).eval()
    for batch_size, some in ((1, rows[:16]), (64, rows[:256])):
        answerer = ModelAnswerer(decoder, tokenizer, Decoding(max_new_tokens=96, batch_size=batch_size))
        answer = measured(f"answer, {batch_size} at a time", len(some), lambda a=answerer, s=some: answer_rows(s, a))
    many = [answer[index % len(answer)] for index in range(args.rows)]
    evaluation = evaluation_of(many)
    measured("count lanes", len(many), lambda: eval_json(evaluation))
    report = eval_report(evaluation)
    measured("Markdown", len(many), lambda: markdown_page(report))
    html = measured("page", len(many), lambda: page(report))
    note = f"The page of {len(many):,} rows has {len(html.encode()) / 1024:.0f} KiB. {args.threads} thread."
    record("evaluation", ["part", "rows/s"], table, note)


if __name__ == "__main__":
    main()
