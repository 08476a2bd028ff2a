"""A world in which studies take seconds: a corpus, a tiny untrained model, rows of four lanes.

first   the reply is the number of the word's first letter           first bacd ─► 22
twin    a copy of that, but for a colon                              first: bacd ─► 22
last    the reply is the number of the word's last letter            last bacd ─► 44
noise   the reply is a number that has nothing to do with the word   noise bacd ─► 73
"""

import random
from pathlib import Path
from typing import Any

import torch
from small_rows import write_jsonl

from picochat.model.checkpoint import save_checkpoint
from picochat.model.config import DecoderConfig
from picochat.model.decoder import Decoder
from picochat.model.vocabulary import train_tokenizer

LETTERS = "abcdefgh"
NUMBERS = dict(zip(LETTERS, ("11", "22", "33", "44", "55", "66", "77", "88"), strict=True))
LANES = ("first", "twin", "last", "noise")


def world(folder: Path, rows: int = 400, asked: int = 40, hidden_size: int = 32) -> Path:
    """Fill a folder: dataset_pack.json, base/, chat.jsonl, eval.jsonl."""
    folder.mkdir(parents=True, exist_ok=True)
    dice = random.Random(1)
    documents = [" ".join(_word(dice) for _ in range(30)) for _ in range(60)]
    write_jsonl(folder / "corpus.jsonl", [{"text": text} for text in documents])
    (folder / "dataset_pack.json").write_text('{"name": "world", "corpus": "corpus.jsonl"}')
    chat = [_row(LANES[number % 4], dice) for number in range(rows)]
    known = {row["messages"][0]["content"] for row in chat}
    unseen = (row for number in range(100 * asked) if (row := _row(LANES[number % 4], dice)) is not None)
    held_out = [row for row in unseen if row["messages"][0]["content"] not in known][:asked]
    write_jsonl(folder / "chat.jsonl", chat)
    write_jsonl(folder / "eval.jsonl", [_question(row) for row in held_out])
    tokenizer = train_tokenizer(documents, 262)
    torch.manual_seed(0)
    size = {"hidden_size": hidden_size, "intermediate_size": 2 * hidden_size, "num_hidden_layers": 2, "head_dim": 8}
    config = DecoderConfig(vocab_size=tokenizer.vocab_size, max_position_embeddings=64, **size)
    save_checkpoint(folder / "base", Decoder(config), tokenizer, {"stage": "base", "seed": 1})
    return folder


def _word(dice: random.Random) -> str:
    return "".join(dice.choice(LETTERS) for _ in range(4))


def _row(lane: str, dice: random.Random) -> dict[str, Any]:
    word = _word(dice)
    known = {"first": NUMBERS[word[0]], "twin": NUMBERS[word[0]], "last": NUMBERS[word[-1]]}
    reply = known.get(lane) or str(dice.randrange(10, 100))
    name = "first:" if lane == "twin" else lane
    turns = [{"role": "user", "content": f"{name} {word}"}, {"role": "assistant", "content": reply}]
    return {"messages": turns, "category": lane, "key": f"{lane}:{word}"}


def _question(row: dict[str, Any]) -> dict[str, Any]:
    *asked, reply = row["messages"]
    return {**row, "messages": asked, "answer": reply["content"], "reference": reply["content"]}
