"""dataset_pack.json: what is read, what promotion changes, and what is refused."""

import json
from pathlib import Path
from typing import Any

import pytest

from picochat.errors import UserError
from picochat.packs.dataset_pack import dataset_pack_text, load_dataset_pack, promote, promoted_text


def write_pack(folder: Path, data: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "dataset_pack.json"
    path.write_text(json.dumps(data), encoding="utf-8")
    return path


def test_relative_paths_count_from_the_packs_folder_and_need_not_exist(tmp_path: Path) -> None:
    path = write_pack(tmp_path, {"name": "n", "corpus": "a/c.jsonl", "chat": "../chat.jsonl", "eval": "/abs/e.jsonl"})
    pack = load_dataset_pack(path)
    assert pack.name == "n"
    assert pack.corpus_path == tmp_path / "a/c.jsonl"
    assert pack.chat_path == tmp_path / "../chat.jsonl"
    assert pack.eval_path == Path("/abs/e.jsonl")


def test_a_corpus_object_and_the_alias_keys_are_read(tmp_path: Path) -> None:
    pack = load_dataset_pack(
        write_pack(tmp_path, {"corpus": {"input": "c.txt"}, "chat_input": "c.jsonl", "eval_input": "e.jsonl"})
    )
    assert (pack.corpus_path, pack.chat_path, pack.eval_path) == (
        tmp_path / "c.txt",
        tmp_path / "c.jsonl",
        tmp_path / "e.jsonl",
    )


def test_a_corpus_recipe_is_accepted_and_names_no_file(tmp_path: Path) -> None:
    assert load_dataset_pack(write_pack(tmp_path, {"corpus": {"recipe": "mix.yaml"}})).corpus_path is None


def test_a_pack_without_a_name_is_called_like_its_folder(tmp_path: Path) -> None:
    assert load_dataset_pack(write_pack(tmp_path / "my-pack", {"corpus": "c"})).name == "my-pack"


def test_the_folder_of_a_pack_may_be_named_in_its_place(tmp_path: Path) -> None:
    write_pack(tmp_path, {"name": "inside", "corpus": "c"})
    assert load_dataset_pack(tmp_path).name == "inside"


def test_a_byte_order_mark_is_understood(tmp_path: Path) -> None:
    path = tmp_path / "dataset_pack.json"
    path.write_bytes(b'\xef\xbb\xbf{"name": "bom"}')
    assert load_dataset_pack(path).name == "bom"


def test_promotion_rewrites_chat_and_eval_alone(tmp_path: Path) -> None:
    before = {"name": "n", "x_unknown": {"deep": [1, "ü"]}, "corpus": {"input": "c"}, "chat": "old", "eval": "old"}
    path = write_pack(tmp_path / "pack", before)
    promote(load_dataset_pack(path), tmp_path / "pack" / "new_chat.jsonl", tmp_path / "out" / "new_eval.jsonl")
    after = json.loads(path.read_text(encoding="utf-8"))
    assert after == before | {"chat": "new_chat.jsonl", "eval": "../out/new_eval.jsonl"}
    assert list(after) == list(before)
    assert load_dataset_pack(path).eval_path == tmp_path / "pack" / "../out/new_eval.jsonl"
    assert [file.name for file in (tmp_path / "pack").iterdir()] == ["dataset_pack.json"]


def test_promotion_keeps_to_the_alias_keys_that_the_pack_uses(tmp_path: Path) -> None:
    path = write_pack(tmp_path, {"corpus": "c", "chat_input": "old", "eval_input": "old"})
    text = promoted_text(load_dataset_pack(path), tmp_path / "c.jsonl", tmp_path / "e.jsonl")
    assert json.loads(text) == {"corpus": "c", "chat_input": "c.jsonl", "eval_input": "e.jsonl"}
    assert json.loads(path.read_text())["chat_input"] == "old"  # the text alone changes nothing on disk


def test_a_promoted_path_still_leads_there_when_the_packs_folder_is_a_link(tmp_path: Path) -> None:
    path = write_pack(tmp_path / "deep" / "er" / "pack", {"corpus": "c"})
    (tmp_path / "link").symlink_to(path.parent)
    chat = tmp_path / "chat.jsonl"
    chat.write_text("x")
    pack = load_dataset_pack(tmp_path / "link" / "dataset_pack.json")
    promote(pack, chat, chat)
    promoted = load_dataset_pack(pack.path).chat_path
    assert promoted is not None
    assert promoted.read_text() == "x"


def test_a_new_packs_text_loads_again_with_its_extra_keys(tmp_path: Path) -> None:
    path = tmp_path / "dataset_pack.json"
    path.write_text(dataset_pack_text(name="n", description="d", corpus="corpus.jsonl", extra={"seed": 7}))
    assert load_dataset_pack(path).data == {"name": "n", "description": "d", "corpus": "corpus.jsonl", "seed": 7}


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ([], "holds a list; an object"),
        ({"name": 3}, "'name' must be a string, not a number"),
        ({"corpus": 3}, "'corpus' must be a path or an object"),
        ({"corpus": " "}, "'corpus' must be a path"),
        ({"corpus": {}}, "exactly one of 'input' and 'recipe'; it has neither"),
        ({"corpus": {"input": "a", "recipe": "b"}}, "it has both"),
        ({"corpus": {"input": ["a"]}}, "'corpus.input' must be a path"),
        ({"chat": ["a"]}, "'chat' must be a path, not"),
        ({"eval_input": False}, "'eval_input' must be a path, not false"),
        ({"chat": "a", "chat_input": "a"}, "both 'chat' and 'chat_input'"),
    ],
)
def test_a_wrong_value_is_refused_by_file_and_key(tmp_path: Path, data: Any, words: str) -> None:
    path = write_pack(tmp_path, data)
    with pytest.raises(UserError) as error:
        load_dataset_pack(path)
    assert str(error.value).startswith(f"{path}: ")
    assert words in str(error.value)


def test_a_missing_pack_names_the_command_that_makes_one(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file; `picochat data import"):
        load_dataset_pack(tmp_path / "nowhere" / "dataset_pack.json")


@pytest.mark.parametrize(
    ("content", "words"),
    [(b'{"name": \n oops}', ":2: is not JSON"), (b'{"name": "\xff"}', "is not UTF-8"), (b"[" * 100_000, "deeply")],
)
def test_a_broken_file_is_refused_with_its_place(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "dataset_pack.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match=words):
        load_dataset_pack(path)
