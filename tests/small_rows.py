"""Chat and eval rows of a few lanes, with answers of very different lengths."""

import json
from pathlib import Path
from typing import Any

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
