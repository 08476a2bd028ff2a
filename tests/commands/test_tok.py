"""`picochat tok train` through the terminal's entry point: what it writes, and what it refuses."""

import json
from pathlib import Path

import pytest
from refusing import Refused

from picochat.cli import main
from picochat.model.tokenizer import ChatTokenizer

STORY = "The cat sat on the mat and the dog ran to the park. "


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    lines = [json.dumps({"text": STORY * 3, "source": "test"}) for _ in range(20)]
    (tmp_path / "corpus.jsonl").write_text("\n".join(lines) + "\n")
    (tmp_path / "dataset_pack.json").write_text('{"name": "cats", "corpus": "corpus.jsonl"}')
    return tmp_path


def test_pack_and_files_give_the_same_tokenizer(corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = corpus / "new" / "tokenizer.json", corpus / "second.json"
    main(["tok", "train", "--dataset-pack", f"{corpus}/dataset_pack.json", "--vocab-size", "280", "--out", str(first)])
    main(["tok", "train", "--input", f"{corpus}/corpus.jsonl", "--vocab_size", "280", "--out", str(second)])
    assert first.read_bytes() == second.read_bytes()
    tokenizer = ChatTokenizer.load(first)
    assert tokenizer.vocab_size == 280
    assert tokenizer.decode(tokenizer.encode(STORY)) == STORY
    assert f"{first}: 280 tokens, sha256 {tokenizer.fingerprint[:12]}" in capsys.readouterr().out


def test_chat_rows_are_read_for_what_is_said_in_them(corpus: Path) -> None:
    said = [{"role": "user", "content": "Spell the cat."}, {"role": "assistant", "content": "c a t said the cat"}]
    (corpus / "rows.jsonl").write_text(json.dumps({"messages": said, "category": "spelling spelling spelling"}) + "\n")
    out = corpus / "tokenizer.json"
    words = ["--vocab-size", "264", "--whole-words", "--out", str(out)]
    main(["tok", "train", "--input", f"{corpus}/rows.jsonl", *words])
    tokenizer = ChatTokenizer.load(out)
    assert [tokenizer.decode([i]) for i in (262, 263)] == [" cat", " the"]
    main(["tok", "train", "--input", f"{corpus}/rows.jsonl", f"{corpus}/corpus.jsonl", *words, "--force"])
    both = ChatTokenizer.load(out)
    assert [both.decode([i]) for i in (262, 263)] == [" the", " park"]  # 4 × 60 × 3 and 60 × 4 letters spared


def test_what_cannot_be_is_refused(corpus: Path, refused: Refused) -> None:
    text = ["tok", "train", "--input", f"{corpus}/corpus.jsonl", "--out", f"{corpus}/new.json", "--vocab-size"]
    refused(*text, "4096", says="too small for a vocabulary of 4096")
    refused(*text, "100", says="control tokens and 256 bytes make 262")
    refused(*text[:4], "--out", f"{corpus}/corpus.jsonl", says="exists already; add --force")
    (corpus / "dataset_pack.json").write_text('{"name": "no corpus"}')
    pack = ["tok", "train", "--dataset-pack", f"{corpus}/dataset_pack.json", "--out", f"{corpus}/t.json"]
    refused(*pack, says="names no corpus")
