"""Corpora and dataset packs that are broken in one way each, through data import, tok train and data task-pack."""

import json
import os
import struct
from pathlib import Path

import pytest
from refusing import Refused

from picochat.cli import main

DEEP = b"[" * 100_000 + b"]" * 100_000
DOCUMENTS: dict[str, tuple[str, bytes, str]] = {  # name → (file, bytes, words)
    "empty text": ("a.txt", b"", "holds no text"),
    "blank text": ("a.txt", b"\n \n\t\r\n", "holds no text"),
    "BOM alone": ("a.txt", b"\xef\xbb\xbf", "holds no text"),
    "NUL in a text": ("a.txt", b"fine\na\x00b", "a.txt: holds a NUL character; is this a text?"),
    "Latin-1 text": ("a.txt", b"fine\ncaf\xe9", r"a.txt:2: is not UTF-8 \(byte 4 of the line\); save it as UTF-8"),
    "UTF-16 text": ("a.txt", "fine".encode("utf-16"), r"a.txt:1: is not UTF-8 \(byte 1"),
    "binary text": ("a.txt", bytes(range(256)), "a.txt:2: is not UTF-8"),
    "empty rows": ("a.jsonl", b"", "holds no text"),
    "blank documents": ("a.jsonl", b'{"text": " \\n"}\n', "holds no text"),
    "broken JSON": ("a.jsonl", b'{"text": "x"}\n{"text": \n', "a.jsonl:2: is not JSON"),
    "a list": ("a.jsonl", b"[]", "a.jsonl:1: holds a list; an object with the field 'text'"),
    "null": ("a.jsonl", b"null", "a.jsonl:1: holds null; an object"),
    "text a number": ("a.jsonl", b'{"text": 5}', "a.jsonl:1: has no text in 'text'"),
    "text null": ("a.jsonl", b'{"text": null}', "a.jsonl:1: has no text in 'text'"),
    "other field": ("a.jsonl", b'{"body": "x"}', r"a.jsonl:1: has no text in 'text'; .* reads another \(body\)"),
    "5,000 fields": ("a.jsonl", json.dumps({f"k{n}": 1 for n in range(5000)}).encode(), r"\(k0, .*k11, …\)"),
    "NUL in a document": ("a.jsonl", b'{"text": "a\\u0000"}', "a.jsonl:1: holds a NUL character"),
    "surrogate in a document": ("a.jsonl", b'{"text": "\\ud800"}', "a.jsonl:1: holds half of a surrogate pair"),
    "surrogate in a field's name": ("a.jsonl", b'{"\\ud800": "x"}', "a.jsonl:1: holds half of a surrogate pair"),
    "field twice": ("a.jsonl", b'{"text": "x", "text": "y"}', "a.jsonl:1: has the key 'text' twice"),
    "Latin-1 document": ("a.jsonl", b'{"text": "caf\xe9"}', "a.jsonl:1: is not UTF-8"),
    "UTF-16 documents": ("a.jsonl", '{"text": "x"}'.encode("utf-16"), "a.jsonl:1: is not UTF-8"),
    "BOM in the middle": ("a.jsonl", b'{"text": "x"}\n\xef\xbb\xbf{"text": "y"}', "a.jsonl:2: .*byte order mark"),
    "5,000 digits": (
        "a.jsonl",
        b'{"text": "x", "n": ' + b"9" * 5000 + b"}",
        "holds a number of 5,000 digits",
    ),
    "NaN": ("a.jsonl", b'{"text": "x", "n": NaN}', "a.jsonl:1: holds NaN, which is not JSON"),
    "nested deeply": ("a.jsonl", b'{"text": "x", "n": ' + DEEP + b"}", "a.jsonl:1: is nested too deeply"),
    "empty parquet": ("a.parquet", b"", "a.parquet: cannot be read as parquet"),
    "text as parquet": ("a.parquet", b"hello", "a.parquet: cannot be read as parquet"),
    "hollow parquet": ("a.parquet", b"PAR1" + b"\0" * 40 + b"PAR1", "a.parquet: cannot be read as parquet"),
    "parquet that lies": (
        "a.parquet",
        b"PAR1" + b"\0" * 20 + struct.pack("<I", 2**31) + b"PAR1",
        "a.parquet: cannot be read as parquet",
    ),
    "another format": ("a.json", b"{}", r"a.json: is no .jsonl, .txt or .parquet file; convert it"),
    "no suffix": ("corpus", b"text", "corpus: is no .jsonl, .txt or .parquet file"),
}


@pytest.mark.parametrize("case", DOCUMENTS)
def test_a_broken_corpus_is_not_imported(case: str, refused: Refused) -> None:
    name, content, says = DOCUMENTS[case]
    Path(name).write_bytes(content)
    refused("data", "import", "--source", name, "--out-dir", "out", says=says)


@pytest.mark.parametrize("case", DOCUMENTS)
def test_no_tokenizer_is_learnt_from_a_broken_corpus(case: str, refused: Refused) -> None:
    name, content, says = DOCUMENTS[case]
    Path(name).write_bytes(content)
    refused("tok", "train", "--input", name, "--vocab-size", "262", "--out", "new/tokenizer.json", says=says)


@pytest.mark.parametrize("command", ["data import --out-dir out --source", "tok train --out t.json --input"])
def test_pipes_missing_files_and_empty_folders_are_refused(command: str, refused: Refused) -> None:
    os.mkfifo("endless.txt")
    Path("folder").mkdir()
    refused(*command.split(), "endless.txt", says="endless.txt: is a device or a pipe; name a file or a folder")
    refused(*command.split(), "none.txt", says="none.txt: no such file or folder")
    refused(*command.split(), "folder", says="folder: the folder holds no .jsonl, .txt or .parquet file")


PACKS: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "dataset_pack.json:1: is not JSON"),
    "cut short": (b'{"name":\n "x"', "dataset_pack.json:2: is not JSON"),
    "a NUL": (b"\x00", "dataset_pack.json:1: is not JSON"),
    "a list": (b"[]", "dataset_pack.json: holds a list; an object is expected"),
    "null": (b"null", "dataset_pack.json: holds null; an object"),
    "Latin-1": (b'{\n"name": "caf\xe9"}', r"dataset_pack.json:2: is not UTF-8 \(byte 13 of the line\)"),
    "UTF-16": ("{}".encode("utf-16"), "dataset_pack.json:1: is not UTF-8"),
    "name a number": (b'{"name": 5}', "'name' must be a string, not a number"),
    "description a list": (b'{"description": []}', "'description' must be a string, not a list"),
    "corpus a number": (b'{"corpus": 5}', "'corpus' must be a path or an object with one of .*, not 5"),
    "corpus a list": (b'{"corpus": []}', r"'corpus' must be a path .*, not \[\]"),
    "corpus blank": (b'{"corpus": " "}', "'corpus' must be a path"),
    "corpus with NUL": (b'{"corpus": "a\\u0000"}', "holds a NUL character in 'corpus'"),
    "corpus of half a pair": (b'{"corpus": "\\ud800"}', "half of a surrogate pair .* in 'corpus'"),
    "half a pair somewhere": (b'{"notes": ["\\ud800"]}', "half of a surrogate pair .* in 'notes'"),
    "corpus twice": (b'{"corpus": "a", "corpus": "b"}', "has the key 'corpus' twice"),
    "corpus of two kinds": (b'{"corpus": {"input": "a", "recipe": "b"}}', "exactly one of 'input' and 'recipe'"),
    "corpus of no kind": (b'{"corpus": {}}', "exactly one of 'input' and 'recipe'; it has neither"),
    "input a number": (b'{"corpus": {"input": 5}}', "'corpus.input' must be a path, not 5"),
    "name too long": (b'{"corpus": "' + b"a" * 5000 + b'.txt"}', "a name in it has more than 255 bytes"),
    "chat a number": (b'{"chat": 5}', "'chat' must be a path, not 5"),
    "eval false": (b'{"eval": false}', "'eval' must be a path, not false"),
    "chat in two spellings": (b'{"chat": "a", "chat_input": "b"}', "both 'chat' and 'chat_input'; keep one"),
    "NaN": (b'{"x": NaN}', "holds NaN, which is not JSON"),
    "5,000 digits": (b'{"x": ' + b"9" * 5000 + b"}", "holds a number of 5,000 digits"),
    "nested deeply": (b'{"x": ' + DEEP + b"}", "is nested too deeply"),
    "corpus in a system file": (b'{"corpus": "../../../../../../../../etc/passwd"}', "passwd: is no .jsonl, .txt"),
    "corpus by an absolute path": (b'{"corpus": "/etc/passwd"}', "/etc/passwd: is no .jsonl, .txt"),
    "corpus a device": (b'{"corpus": "/dev/zero"}', "/dev/zero: is a device or a pipe"),
}


@pytest.mark.parametrize("case", PACKS)
def test_a_broken_dataset_pack_is_refused(case: str, refused: Refused) -> None:
    content, says = PACKS[case]
    Path("dataset_pack.json").write_bytes(content)
    words = "data task-pack --dataset-pack dataset_pack.json --sft-rows 32 --eval-rows 16"
    refused(*words.split(), says=says)
    refused(
        *["tok", "train", "--dataset-pack", "dataset_pack.json", "--vocab-size", "262", "--out", "t.json"], says=says
    )


@pytest.mark.parametrize("corpus", ["none.jsonl", "../none.jsonl"])
def test_no_tokenizer_comes_from_a_pack_whose_corpus_is_missing(corpus: str, refused: Refused) -> None:
    Path("dataset_pack.json").write_text(json.dumps({"corpus": corpus}))
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
