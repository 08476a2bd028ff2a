"""Small files to train on: a tokenizer, chat rows of three lanes, eval rows."""

import pytest
from small_rows import chat_row, eval_row, write_jsonl

from picochat.model.vocabulary import train_tokenizer


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
