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


def small_tokenizer(text: str = "the cat sat on the mat and the dog sat on the log ") -> ChatTokenizer:
    return train_tokenizer([text * 20], SIZE.vocab_size)


def small_model(folder: Path, size: DecoderConfig = SIZE) -> Path:
    """Write a model folder of fresh weights, always the same."""
    torch.manual_seed(0)
    save_checkpoint(folder, Decoder(size), small_tokenizer(), {})
    return folder
