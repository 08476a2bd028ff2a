"""`picochat tok train` through the terminal's entry point: what it writes, and what it refuses."""

import json
from pathlib import Path

import pytest

from picochat.cli import main
from picochat.model.tokenizer import ChatTokenizer

STORY = "The cat sat on the mat and the dog ran to the park. "


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    lines = [json.dumps({"text": STORY * 3, "source": "test"}) for _ in range(20)]
    (tmp_path / "corpus.jsonl").write_text("\n".join(lines) + "\n")
    (tmp_path / "dataset_pack.json").write_text('{"name": "cats", "corpus": "corpus.jsonl"}')
    return tmp_path


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as caught:
        main(["tok", "train", *arguments])
    assert caught.value.code == 2
    return capsys.readouterr().err


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


def test_a_faulty_chat_row_is_named(corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (corpus / "rows.jsonl").write_text('{"messages": []}\n')
    says = refused(capsys, "--input", f"{corpus}/rows.jsonl", "--vocab-size", "264", "--out", f"{corpus}/t.json")
    assert "rows.jsonl:1: 'messages' must be a non-empty list" in says


def test_an_existing_file_is_replaced_only_by_force(corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = corpus / "tokenizer.json"
    out.write_text("mine")
    arguments = ["--input", f"{corpus}/corpus.jsonl", "--vocab-size", "270", "--out", str(out)]
    assert "exists already; add --force" in refused(capsys, *arguments)
    assert out.read_text() == "mine"
    main(["tok", "train", *arguments, "--force"])
    assert ChatTokenizer.load(out).vocab_size == 270


def test_a_vocabulary_that_the_corpus_cannot_fill_is_refused(corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = corpus / "tokenizer.json"
    arguments = ["--input", f"{corpus}/corpus.jsonl", "--out", str(out), "--vocab-size"]
    assert "too small for a vocabulary of 4096" in refused(capsys, *arguments, "4096")
    assert "control tokens and 256 bytes make 262" in refused(capsys, *arguments, "100")
    assert not out.exists()


def test_places_that_cannot_be_are_refused(corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = ["--input", f"{corpus}/corpus.jsonl"]
    assert "is a folder; name the file" in refused(capsys, *text, "--out", str(corpus))
    (corpus / "dataset_pack.json").write_text('{"name": "no corpus"}')
    pack = ["--dataset-pack", f"{corpus}/dataset_pack.json"]
    assert "names no corpus" in refused(capsys, *pack, "--out", f"{corpus}/t.json")
    assert "--out" in refused(capsys, *text)
