"""Small files to train on: a tokenizer, chat rows of three lanes with answers of very different lengths, eval rows."""

import json
from pathlib import Path
from typing import Any

import pytest

from picochat.model.tokenizer import train_tokenizer

WORDS = [
    "one",
    "fine",
    "morning",
    "the",
    "small",
    "dog",
    "went",
    "to",
    "market",
    "with",
    "apples",
    "and",
    "came",
    "home",
]


def chat_row(lane: str, number: int, reply_words: int) -> dict[str, Any]:
    reply = " ".join(WORDS[(number + index) % len(WORDS)] for index in range(reply_words))
    return {
        "id": f"{lane}-{number}",
        "key": f"{lane}:{number}",
        "messages": [
            {"role": "user", "content": f"Question {number} of {lane}?"},
            {"role": "assistant", "content": reply},
        ],
        "category": lane,
        "mixture_component": "skills" if lane != "identity" else "anchor",
    }


def eval_row(lane: str, number: int, reply_words: int) -> dict[str, Any]:
    row = chat_row(lane, number + 1000, reply_words)
    reply = row["messages"].pop()["content"]
    return {**row, "answer": reply, "reference": reply}


def write_jsonl(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Settings of a ChatDataModule over 100 + 36 + 16 rows; roots 10 : 6 : 4."""
    folder = tmp_path_factory.mktemp("rows")
    rows = [chat_row("add", n, 1 + n % 7) for n in range(100)]
    rows += [chat_row("spell", n, 5 + n % 30) for n in range(36)]
    rows += [chat_row("identity", n, 2) for n in range(16)]
    chat = write_jsonl(folder / "chat.jsonl", rows)
    evaluation = write_jsonl(folder / "eval.jsonl", [eval_row("add", n, 3) for n in range(20)])
    tokenizer = folder / "tokenizer.json"
    texts = [message["content"] for row in rows for message in row["messages"]]
    train_tokenizer(texts, 300).write(tokenizer)
    return {
        "chat_input": str(chat),
        "eval_input": str(evaluation),
        "tokenizer": str(tokenizer),
        "work_dir": str(folder / "work"),
    }
