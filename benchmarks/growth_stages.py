"""What `growth` times. In: a size and a folder. Out: what is timed, its material ready. Next: growth.

Every stage of the recipe against what it grows with: documents and rows, tokens of a row, tokens of the vocabulary,
eval rows.
"""

import io
import json
import multiprocessing
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np


class Stage(NamedTuple):
    """A stage and the sizes at which it is measured.

    Attributes:
        prepare: (size, folder) → what is timed.
        unit: of the size.
        sizes: from small to large.
        square: why its time grows faster than n log n, if it has to.
    """

    prepare: Callable[[int, Path], Callable[[], object]]
    unit: str
    sizes: tuple[int, ...]
    square: str = ""


def _apart(work: Callable[..., object], *args: object) -> None:
    """In a process of its own, whose memory is not counted."""
    process = multiprocessing.get_context("fork").Process(target=work, args=args)
    process.start()
    process.join()
    if process.exitcode:
        raise SystemExit(f"{work} failed")


def picochat(words: str) -> None:
    """A command line without its output."""
    from picochat.cli import main

    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        main(words.split())


def importing(size: int, folder: Path) -> Callable[[], object]:
    """Documents of a file into a corpus."""
    source = folder / "source.jsonl"
    with source.open("w", encoding="utf-8") as file:
        for number in range(size):
            file.write(json.dumps({"text": f"Document {number} of a few words. " * 5}) + "\n")
    return lambda: picochat(f"data import --source {source} --out-dir {folder}/data")


def task_pack(size: int, folder: Path) -> Callable[[], object]:
    """Rows of a capability pack."""
    (folder / "dataset_pack.json").write_text("{}")
    words = f"data task-pack --dataset-pack {folder}/dataset_pack.json --sft-rows {size} --eval-rows 32"
    return lambda: picochat(words)


def tokenise(size: int, folder: Path) -> Callable[[], object]:
    """Rows into a token store."""
    from picochat.datamodules.tokenise import tokens_of_rows
    from picochat.model.tokenizer import train_tokenizer

    rows, lines = _chat_rows(size, folder)
    tokenizer = train_tokenizer(lines, 400)
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


def setup(size: int, folder: Path) -> Callable[[], object]:
    """What `fit` does before its first batch, with tokens that are there, and 100 batches."""
    from picochat.datamodules import ChatDataModule
    from picochat.model.tokenizer import train_tokenizer

    rows, lines = _chat_rows(size, folder)
    train_tokenizer(lines, 400).write(folder / "tokenizer.json")
    settings = {"tokenizer": str(folder / "tokenizer.json"), "work_dir": str(folder)}
    _apart(ChatDataModule(chat_input=str(rows), **settings).prepare_data)

    def run() -> int:
        data = ChatDataModule(chat_input=str(rows), **settings)
        data.setup("fit")
        batches = iter(data.train_dataloader())
        return sum(1 for _ in zip(range(100), batches, strict=False))

    return run


def context(size: int, folder: Path) -> Callable[[], object]:
    """One training step of the demo model: 4,096 positions, in rows of so many, documents of 64 tokens."""
    return _step(size, 320, document=64)


def document(size: int, folder: Path) -> Callable[[], object]:
    """The same step with one document a row: attention is in proportion to its length."""
    return _step(size, 320, document=size)


def head(size: int, folder: Path) -> Callable[[], object]:
    """The same step with so many tokens in the vocabulary, in rows of 256."""
    return _step(256, size, document=64)


def generation(size: int, folder: Path) -> Callable[[], object]:
    """So many new tokens for each of eight prompts, with the demo model."""
    import torch

    from picochat.model.decoder import Decoder, DecoderConfig
    from picochat.model.engine import Decoding
    from picochat.model.generation import generate
    from picochat.model.tokenizer import ChatTokenizer, train_tokenizer

    class Endless(ChatTokenizer):
        """No token stops a reply."""

        def __init__(self, content: str) -> None:
            super().__init__(content)
            self.stop_ids = ()

    torch.set_num_threads(1)
    torch.manual_seed(0)
    tokenizer = Endless(train_tokenizer(["words " * 9], 262).content)
    model = Decoder(DecoderConfig(vocab_size=262, max_position_embeddings=size + 64)).eval()
    prompts = [[3 + place % 200 for place in range(32)]] * 8
    return lambda: generate(model, tokenizer, prompts, Decoding(max_new_tokens=size, batch_size=8))


def evaluation(size: int, folder: Path) -> Callable[[], object]:
    """So many eval rows and replies: judged, counted lane by lane, all reports written."""
    rows = _eval_rows(size, folder)
    _evaluated(rows[:50], folder / "warm", wrong=7)  # imports
    return lambda: _evaluated(rows, folder / "a", wrong=7)


def comparison(size: int, folder: Path) -> Callable[[], object]:
    """Two evaluations of so many rows, paired lane by lane, by `picochat eval compare`."""
    rows = _eval_rows(size, folder)
    for name, wrong, count in (("a", 7, size), ("b", 5, size), ("few-a", 7, 50), ("few-b", 5, 50)):
        _apart(_evaluated, rows[:count], folder / name, wrong)
    picochat(f"eval compare {folder}/few-a {folder}/few-b --out-dir {folder}/few")  # imports
    return lambda: picochat(f"eval compare {folder}/a {folder}/b --out-dir {folder}/compared")


class _Said(NamedTuple):
    text: str
    raw_text: str
    finished: bool = True


class _Student(NamedTuple):
    """Knows the replies by heart, but gets every `wrong`-th wrong."""

    replies: list[str]
    wrong: int

    def reply(self, conversations: Any) -> list[Any]:
        said = [text if place % self.wrong else "no" for place, text in enumerate(self.replies)]
        return [_Said(text, f"{text}<|end|>") for text in said]


def _evaluated(rows: list[dict[str, Any]], out_dir: Path, wrong: int) -> None:
    from picochat.evidence.eval_report import eval_json, eval_report
    from picochat.evidence.evaluation import Evaluation, Model, RowFile, answer_rows
    from picochat.evidence.report import write_report

    student: Any = _Student([str(row.get("reference") or row.get("answer")) for row in rows], wrong)
    source, model = RowFile("-", "-", len(rows)), Model("-", str(wrong), {})
    evaluation = Evaluation(source, model, {"temperature": 0.0, "seed": 0}, answer_rows(rows, student))
    report = eval_report(evaluation)
    write_report(out_dir, "eval_report", report, eval_json(evaluation), evaluation.predictions)


def _chat_rows(size: int, folder: Path) -> tuple[Path, list[str]]:
    """A file of so many rows, and the thousand that it repeats."""
    task_pack(1000, folder)()
    lines = (folder / "chat_task_mixture_capability.jsonl").read_text("utf-8").splitlines(keepends=True)
    rows = folder / "rows.jsonl"
    with rows.open("w", encoding="utf-8") as file:
        file.writelines(lines[number % len(lines)] for number in range(size))
    return rows, lines


def _eval_rows(size: int, folder: Path) -> list[dict[str, Any]]:
    from picochat.evidence.scoring import is_choice
    from picochat.packs.rows import read_rows

    (folder / "dataset_pack.json").write_text("{}")
    picochat(f"data task-pack --dataset-pack {folder}/dataset_pack.json --sft-rows 64 --eval-rows 320")
    rows = [row for row in read_rows(folder / "eval_task_mixture_capability.jsonl", "eval") if not is_choice(row)]
    return [rows[number % len(rows)] for number in range(size)]


def _step(context_length: int, vocabulary_size: int, document: int) -> Callable[[], object]:
    import torch

    from picochat.model.decoder import Decoder, DecoderConfig
    from picochat.model.loss import supervised_nll

    torch.set_num_threads(1)
    model = Decoder(DecoderConfig(vocab_size=vocabulary_size, max_position_embeddings=context_length))
    rows = 4096 // context_length
    ids = torch.randint(vocabulary_size, (rows, context_length))
    places = torch.arange(context_length)
    documents, positions = (places // document + 1).repeat(rows, 1), (places % document).repeat(rows, 1)
    labels = ids.roll(-1, 1)
    labels[:, ::2] = -100
    return lambda: supervised_nll(model, model(ids, positions, documents), labels).sum().backward()


_ROWS = (1_000, 3_200, 10_000, 32_000, 100_000, 320_000, 1_000_000)
_EVAL_ROWS = (100, 320, 1_000, 3_200, 10_000, 32_000, 100_000)
_VOCABULARY = (512, 1_024, 2_048, 4_096, 8_192, 16_384, 32_768)
_CONTEXT = (128, 256, 512, 1_024, 2_048, 4_096)
STAGES = {
    "import": Stage(importing, "documents", _ROWS),
    "task pack": Stage(task_pack, "rows", _ROWS[:-1]),  # the tasks can give 456,044 different rows
    "tokens": Stage(tokenise, "rows", _ROWS),
    "packing": Stage(packing, "rows", _ROWS),
    "plan": Stage(plan, "rows", _ROWS),
    "loader": Stage(setup, "rows", _ROWS),
    "evaluation": Stage(evaluation, "eval rows", _EVAL_ROWS),
    "comparison": Stage(comparison, "eval rows", _EVAL_ROWS),
    "tokenizer": Stage(vocabulary, "tokens of the vocabulary", _VOCABULARY),
    "step, vocabulary": Stage(head, "tokens of the vocabulary", _VOCABULARY),
    "step, short documents": Stage(context, "tokens a row", _CONTEXT),
    "step, a document a row": Stage(document, "tokens a row", _CONTEXT),
    "generation": Stage(generation, "new tokens", _CONTEXT, "each new token attends to all before it"),
}
