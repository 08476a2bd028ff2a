"""Chat and eval rows of a few lanes, with answers of very different lengths, and a model that can read them."""

import json
from pathlib import Path
from typing import Any

import torch

from picochat.model.checkpoint import save_checkpoint
from picochat.model.config import DecoderConfig
from picochat.model.decoder import Decoder
from picochat.model.tokenizer import ChatTokenizer
from picochat.model.vocabulary import train_tokenizer

WORDS = "one fine morning the small dog went to market with apples and came home".split()  # noqa: SIM905
SIZE = DecoderConfig(vocab_size=270, hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=1,
                     num_key_value_heads=1, head_dim=16)  # fmt: skip


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


def make_data(folder: Path) -> Path:
    """chat.jsonl, three lanes whose answers have from 1 to 60 words; eval.jsonl, seven rows; tokenizer.json."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [chat_row("add", n, 1 + n % 5) for n in range(90)]
    rows += [chat_row("spell", n, 4 + n * 7 % 57) for n in range(60)]
    rows += [chat_row("identity", n, 2) for n in range(30)]
    write_jsonl(folder / "chat.jsonl", rows)
    write_jsonl(folder / "eval.jsonl", [eval_row("spell", n, 1 + 9 * n) for n in range(7)])
    texts = [message["content"] for row in rows for message in row["messages"]]
    train_tokenizer(texts, 300).write(folder / "tokenizer.json")
    return folder


def small_tokenizer(text: str = "the cat sat on the mat and the dog sat on the log ") -> ChatTokenizer:
    return train_tokenizer([text * 20], SIZE.vocab_size)


def small_model(folder: Path, size: DecoderConfig = SIZE) -> Path:
    """Write a model folder of fresh weights, always the same."""
    torch.manual_seed(0)
    save_checkpoint(folder, Decoder(size), small_tokenizer(), {})
    return folder
