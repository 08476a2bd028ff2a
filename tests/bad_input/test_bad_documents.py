"""Corpora that are broken in one way each, and one case of each kind through the commands that read them."""

import gzip
import json
import os
import struct
from pathlib import Path

import pytest
import zstandard
from refusing import Refused

from picochat.cli import main
from picochat.errors import UserError
from picochat.packs.corpus import import_corpus

DOCUMENTS: dict[str, tuple[str, bytes, str]] = {  # name → (file, bytes, words)
    "empty text": ("a.txt", b"", "holds no text"),
    "NUL in a text": ("a.txt", b"fine\na\x00b", "a.txt: holds a NUL character; is this a text?"),
    "Latin-1 text": (
        "a.txt",
        b"fine\ncaf\xe9",
        r"a.txt:2: is not UTF-8 \(byte 4 of the line\), it looks like Latin-1; save",
    ),
    "broken JSON": ("a.jsonl", b'{"text": "x"}\n{"text": \n', "a.jsonl:2: is not JSON"),
    "a line without an end": ("a.txt", b"fine\n" + b"x" * 2_000_000, "a.txt:2: holds 2,000,000 bytes; 1,048,576 are"),
    "eval rows": (
        "a.jsonl",
        b'{"prompt": "2 + 2?", "answer": "4"}',
        "a.jsonl:1: holds a chat or eval row and no document",
    ),
    "chat rows": ("a.jsonl", b'{"text": "x", "messages": []}', "a.jsonl:1: holds a chat or eval row and no document"),
    "200 MB in a line": (
        "a.jsonl",
        b'{"text": "' + b"x" * 17_000_000,
        "a.jsonl:1: holds 17,000,010 bytes; 8,388,608 are",
    ),
    "no gzip": ("a.txt.gz", b"hello", "cannot read a.txt.gz: Not a gzipped file"),
    "half a gzip": ("a.txt.gz", gzip.compress(b"hello" * 99)[:-9], "cannot read a.txt.gz: it is damaged or cut short"),
    "half a zstd file": ("a.txt.zst", zstandard.compress(b"hello" * 99)[:-4], "it is damaged or cut short"),
    "text a number": ("a.jsonl", b'{"text": 5}', "a.jsonl:1: has no text in 'text'"),
    "other field": ("a.jsonl", b'{"bodies": "x"}', r"a.jsonl:1: has no text in 'text'; .* reads another \(bodies\)"),
    "5,000 fields": ("a.jsonl", json.dumps({f"k{n}": 1 for n in range(5000)}).encode(), r"\(k0, .*k11, …\)"),
    "NUL in a document": ("a.jsonl", b'{"text": "a\\u0000"}', "a.jsonl:1: holds a NUL character"),
    "surrogate in a document": ("a.jsonl", b'{"text": "\\ud800"}', "a.jsonl:1: holds half of a surrogate pair"),
    "BOM in the middle": ("a.jsonl", b'{"text": "x"}\n\xef\xbb\xbf{"text": "y"}', "a.jsonl:2: .*byte order mark"),
    "text as parquet": ("a.parquet", b"hello", "a.parquet: cannot be read as parquet"),
    "parquet that lies": (
        "a.parquet",
        b"PAR1" + b"\0" * 20 + struct.pack("<I", 2**31) + b"PAR1",
        "a.parquet: cannot be read as parquet",
    ),
    "another format": (
        "a.pdf",
        b"{}",
        r"a.pdf: is not a .jsonl, .json, .txt, .md, .csv or .parquet file, or one packed as",
    ),
}


@pytest.mark.parametrize("case", DOCUMENTS)
def test_a_broken_corpus_is_not_imported(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name, content, says = DOCUMENTS[case]
    monkeypatch.chdir(tmp_path)
    Path(name).write_bytes(content)
    with pytest.raises(UserError, match=says):
        import_corpus(name, "out")
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize(
    "command",
    [
        "data import --source a.jsonl --out-dir out",
        "tok train --input a.jsonl --vocab-size 262 --out new/tokenizer.json",
        "tok train --dataset-pack dataset_pack.json --vocab-size 262 --out t.json",
        "data task-pack --dataset-pack dataset_pack.json --sft-rows 32 --eval-rows 16",
    ],
)
def test_every_command_names_file_and_line_of_a_broken_corpus(command: str, refused: Refused) -> None:
    Path("dataset_pack.json").write_text('{"corpus": "a.jsonl"}')
    for case in ("broken JSON", "5,000 fields"):
        Path("a.jsonl").write_bytes(DOCUMENTS[case][1])
        refused(*command.split(), says=DOCUMENTS[case][2])


@pytest.mark.parametrize("command", ["data import --out-dir out --source", "tok train --out t.json --input"])
def test_pipes_missing_files_and_empty_folders_are_refused(command: str, refused: Refused) -> None:
    os.mkfifo("endless.txt")
    Path("folder").mkdir()
    refused(*command.split(), "endless.txt", says="endless.txt: is a device or a pipe; name a file or a folder")
    refused("data", "inspect", "/dev/zero", says="/dev/zero: is a device; name a file")
    refused(*command.split(), "none.txt", says="none.txt: no such file or folder")
    refused(*command.split(), "folder", says="folder: the folder holds no .jsonl, .txt, .md or .parquet file")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b'{"name":\n "x"', "dataset_pack.json:2: is not JSON.*; a dataset_pack.json is expected"),
        (b'{"corpus": "../../../../../../../../etc/passwd"}', "passwd: is not a .jsonl, .json"),
        (b'{"corpus": "/etc/passwd"}', "/etc/passwd: is not a .jsonl, .json"),
        (b'{"corpus": "/dev/zero"}', "/dev/zero: is a device or a pipe"),
    ],
)
def test_a_broken_dataset_pack_is_refused_by_every_command(content: bytes, says: str, refused: Refused) -> None:
    Path("dataset_pack.json").write_bytes(content)
    for words in ("data task-pack --sft-rows 32 --eval-rows 16", "tok train --vocab-size 262 --out t.json"):
        refused(*words.split(), "--dataset-pack", "dataset_pack.json", says=says)


def test_no_tokenizer_comes_from_a_pack_whose_corpus_is_missing(refused: Refused) -> None:
    Path("dataset_pack.json").write_text('{"corpus": "../none.jsonl"}')
    words = "tok train --dataset-pack dataset_pack.json --vocab-size 262 --out t.json"
    refused(*words.split(), says="none.jsonl: no such file or folder")


def test_a_pack_with_a_bom_is_read(refused: Refused, tmp_path: Path) -> None:
    Path("a.txt").write_text("the cat and the dog " * 40)
    Path("dataset_pack.json").write_bytes(b'\xef\xbb\xbf{"corpus": "a.txt"}\r\n')
    main(["tok", "train", "--dataset-pack", "dataset_pack.json", "--vocab-size", "262", "--out", "t.json"])
    assert (tmp_path / "t.json").is_file()


def test_a_pack_from_elsewhere_writes_no_file_outside_its_folder(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    for name in ("chat.jsonl", "eval.jsonl", "corpus.jsonl", "profile"):
        (outside / name).write_text('{"text": "precious"}\n')
    before = {path.name: path.read_bytes() for path in outside.iterdir()}
    pack = tmp_path / "pack" / "dataset_pack.json"
    pack.parent.mkdir()
    hostile = {
        "chat": str(outside / "chat.jsonl"),
        "eval": "../outside/eval.jsonl",
        "corpus": "../outside/corpus.jsonl",
    }
    pack.write_text(json.dumps({"name": "../outside/profile", **hostile}))
    main(["data", "task-pack", "--dataset-pack", str(pack), "--sft-rows", "32", "--eval-rows", "16", "--force"])
    assert {path.name: path.read_bytes() for path in outside.iterdir()} == before
    assert {path.name for path in tmp_path.iterdir()} == {"outside", "pack"}
    assert json.loads(pack.read_text())["chat"] == "chat_task_mixture_capability.jsonl"  # promoted to our own
