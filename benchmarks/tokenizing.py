"""Chat rows into tokens: python benchmarks/tokenizing.py [--rows 100000]

Rows of the capability pack in a JSONL file, repeated to the number asked for; every way begins with the file and ends
with the ids of each row on disk (or, for the loop, in memory). Only picochat's ways make a loss mask.

    picochat              what a data module does at its first start: validated rows, chunks on all cores, a token store
    picochat, again       the store found and every byte of it checked: a second start
    one row at a time     the same tokenizer in a plain loop over the rows
    datasets.map          transformers' apply_chat_template in `datasets.map`, a row at a time, as trainers do it
    datasets.map, batched the same in batches of 1,000
"""

import json
import os
import tempfile
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from measure import chat_rows, flags, timed
from report import record

from picochat.datamodules.tokenise import Input, tokens_of_rows
from picochat.model.tokenizer import ChatTokenizer
from picochat.model.vocabulary import train_tokenizer
from picochat.packs.formats import iter_rows
from picochat.packs.rows import conversation


def mapped(path: Path, tokenizer: ChatTokenizer, *, batched: bool) -> int:
    import datasets
    from transformers import AutoTokenizer

    tokenizer.save(path.parent / "theirs")
    theirs = AutoTokenizer.from_pretrained(path.parent / "theirs")
    datasets.disable_progress_bars()
    rows = datasets.load_dataset("json", data_files=str(path), split="train", cache_dir=str(path.parent / f"{batched}"))

    def ids(row: dict[str, Any]) -> dict[str, Any]:
        return {"input_ids": theirs.apply_chat_template(row["messages"], tokenize=True, return_dict=False)}

    made = rows.map(ids, batched=batched, remove_columns=rows.column_names)
    return sum(len(row["input_ids"]) for row in made)


def main() -> None:
    args = flags(__doc__, rows=(100_000, "rows to tokenize")).parse_args()
    warnings.simplefilter("ignore")
    os.environ["TOKENIZERS_PARALLELISM"] = "true"
    with tempfile.TemporaryDirectory() as name:
        path, lines = chat_rows(Path(name), args.rows, different=8000)
        tokenizer = train_tokenizer((turn["content"] for line in lines for turn in json.loads(line)["messages"]), 512)

        def store() -> int:
            return len(tokens_of_rows([Input(path)], "chat", tokenizer, path.parent / "cache", verify=True).tokens)

        def loop() -> int:
            return sum(len(tokenizer.render(conversation(row) or []).ids) for _, row in iter_rows(path, "chat"))

        ways: dict[str, Callable[[], int]] = {"picochat": store, "picochat, again": store, "one row at a time": loop}
        if find_spec("datasets") and find_spec("transformers"):
            ways["datasets.map"] = lambda: mapped(path, tokenizer, batched=False)
            ways["datasets.map, batched"] = lambda: mapped(path, tokenizer, batched=True)
        rows: list[list[object]] = []
        tokens, ours = 0, 0.0
        for way, run in ways.items():
            seconds, found = timed(run)
            tokens, ours = tokens or found, ours or seconds
            if found != tokens:
                raise SystemExit(f"{way} made {found:,} tokens, picochat {tokens:,}")
            rows.append([way, seconds, args.rows / seconds, seconds / ours])
            print(f"{way}: {seconds:.1f} s", flush=True)
        size = path.stat().st_size / 1e6
    note = f"{args.rows:,} rows, {size:,.0f} MB, {tokens:,} tokens; all ways make the same ids."
    record("tokenizing", ["way", "seconds", "rows/s", "picochat is … × as fast"], rows, note)


if __name__ == "__main__":
    main()
