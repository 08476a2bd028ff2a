"""dataset_pack.json: what is read, what promotion changes, and what is refused."""

import json
from pathlib import Path
from typing import Any

import pytest

from picochat.errors import UserError
from picochat.packs.dataset_pack import load_dataset_pack, promoted_text


def write_pack(folder: Path, data: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "dataset_pack.json"
    path.write_text(json.dumps(data), encoding="utf-8")
    return path


def test_relative_paths_count_from_the_packs_folder_and_need_not_exist(tmp_path: Path) -> None:
    write_pack(tmp_path, {"corpus": "a/c.jsonl", "chat": "../chat.jsonl", "eval": "/abs/e.jsonl"})
    pack = load_dataset_pack(tmp_path)  # a folder stands for the file in it
    found = (pack.corpus_path, pack.chat_path, pack.eval_path)
    assert found == (tmp_path / "a/c.jsonl", tmp_path / "../chat.jsonl", Path("/abs/e.jsonl"))


def test_a_corpus_object_and_the_alias_keys_are_read(tmp_path: Path) -> None:
    aliases = {"corpus": {"input": "c.txt"}, "chat_input": "c.jsonl", "eval_input": "e.jsonl"}
    pack = load_dataset_pack(write_pack(tmp_path, aliases))
    found = (pack.corpus_path, pack.chat_path, pack.eval_path)
    assert found == (tmp_path / "c.txt", tmp_path / "c.jsonl", tmp_path / "e.jsonl")
    assert load_dataset_pack(write_pack(tmp_path, {"corpus": {"recipe": "mix.yaml"}})).corpus_path is None


def test_promotion_rewrites_chat_and_eval_alone(tmp_path: Path) -> None:
    before = {"name": "n", "x_unknown": {"deep": [1, "ü"]}, "corpus": {"input": "c"}, "chat": "old", "eval": "old"}
    pack = load_dataset_pack(write_pack(tmp_path / "pack", before))
    text = promoted_text(pack, tmp_path / "pack" / "new_chat.jsonl", tmp_path / "out" / "new_eval.jsonl")
    assert json.loads(text) == before | {"chat": "new_chat.jsonl", "eval": "../out/new_eval.jsonl"}
    assert list(json.loads(text)) == list(before)
    aliases = load_dataset_pack(write_pack(tmp_path, {"corpus": "c", "chat_input": "old", "eval_input": "old"}))
    promoted = json.loads(promoted_text(aliases, tmp_path / "c.jsonl", tmp_path / "e.jsonl"))
    assert promoted == {"corpus": "c", "chat_input": "c.jsonl", "eval_input": "e.jsonl"}


def test_a_promoted_path_still_leads_there_when_the_packs_folder_is_a_link(tmp_path: Path) -> None:
    path = write_pack(tmp_path / "deep" / "er" / "pack", {"corpus": "c"})
    (tmp_path / "link").symlink_to(path.parent)
    chat = tmp_path / "chat.jsonl"
    chat.write_text("x")
    path.write_text(promoted_text(load_dataset_pack(tmp_path / "link"), chat, chat))
    promoted = load_dataset_pack(tmp_path / "link").chat_path
    assert promoted is not None
    assert promoted.read_text() == "x"


BROKEN: dict[str, tuple[bytes, str]] = {
    "empty": (b"", ":1: is not JSON"),
    "cut short": (b'{"name":\n "x"', ":2: is not JSON"),
    "a list": (b"[]", ": holds a list; an object is expected"),
    "Latin-1": (b'{\n"name": "caf\xe9"}', r":2: is not UTF-8 \(byte 13 of the line\)"),
    "corpus a list": (b'{"corpus": []}', r"'corpus' must be a path .*, not \[\]"),
    "corpus blank": (b'{"corpus": " "}', "'corpus' must be a path"),
    "corpus with NUL": (b'{"corpus": "a\\u0000"}', "holds a NUL character in 'corpus'"),
    "corpus of two kinds": (b'{"corpus": {"input": "a", "recipe": "b"}}', "exactly one of 'input' and 'recipe'"),
    "corpus of no kind": (b'{"corpus": {}}', "exactly one of 'input' and 'recipe'"),
    "input a number": (b'{"corpus": {"input": 5}}', "'corpus.input' must be a path, not 5"),
    "name too long": (b'{"corpus": "' + b"a" * 5000 + b'.txt"}', "a name in it has more than 255 bytes"),
    "chat a list": (b'{"chat": ["a"]}', r"'chat' must be a path, not \[\"a\"\]"),
    "eval false": (b'{"eval_input": false}', "'eval_input' must be a path, not false"),
    "chat in two spellings": (b'{"chat": "a", "chat_input": "b"}', "both 'chat' and 'chat_input'; keep one"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_pack_is_refused_by_file_and_key(case: str, tmp_path: Path) -> None:
    content, words = BROKEN[case]
    path = tmp_path / "dataset_pack.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match=f"^{path}.*{words}"):
        load_dataset_pack(path)
