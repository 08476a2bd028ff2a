"""The token store: made once, found again, made anew when anything it depends on changed or broke."""

import json
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from small_rows import chat_row, eval_row, write_jsonl

from picochat.datamodules import tokenise
from picochat.datamodules.store import TokenStore, store_key
from picochat.datamodules.tokenise import Input
from picochat.errors import UserError
from picochat.model.tokenizer import ChatTokenizer
from picochat.model.vocabulary import train_tokenizer

ROWS = [chat_row("add", 1, 2), chat_row("spell", 2, 9), chat_row("add", 3, 1)]


@pytest.fixture
def tokenizer(files: dict[str, str]) -> ChatTokenizer:
    return ChatTokenizer.load(files["tokenizer"])


def open_rows(path: Path, tokenizer: ChatTokenizer, verify: bool = True) -> TokenStore:
    return tokenise.tokens_of_rows([Input(path)], "chat", tokenizer, path.parent / "cache", verify=verify)


def test_a_store_holds_tokens_supervision_lines_and_tags(tmp_path: Path, tokenizer: ChatTokenizer) -> None:
    path = write_jsonl(tmp_path / "chat.jsonl", ROWS)
    path.write_text("\n" + path.read_text())  # a blank line: lines are the file's own
    store = open_rows(path, tokenizer)
    rendered = [tokenizer.render(row["messages"]) for row in ROWS]
    assert store.learnt is not None
    for index, one in enumerate(rendered):
        span = slice(store.offsets[index], store.offsets[index + 1])
        assert store.tokens[span].tolist() == one.ids
        assert store.learnt[span].tolist() == one.supervised
    assert store.tokens.dtype == np.uint16
    assert store.supervised.tolist() == [sum(one.supervised) for one in rendered]
    assert store.lines.tolist() == [2, 3, 4]
    values, column = store.tag("category")
    assert [values[index] for index in column] == ["add", "spell", "add"]
    assert store.tag("stage")[0] == ["untagged"]


def test_a_row_that_the_template_does_not_write_as_it_is_has_its_line_named(
    tmp_path: Path, tokenizer: ChatTokenizer
) -> None:
    template = (
        "{% for turn in messages %}{{ '<|' + turn.role + '|>' + turn.content.split('</think>')[-1] + '<|end|>' }}"
        "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
    )
    thinking = ChatTokenizer(tokenizer.content, "theirs", {"chat_template.jinja": template})
    rows = [
        *ROWS[:2],
        {**ROWS[2], "messages": [ROWS[2]["messages"][0], {"role": "assistant", "content": "a</think>b"}]},
    ]
    path = write_jsonl(tmp_path / "chat.jsonl", [*rows, *ROWS[:2]])
    with pytest.raises(UserError, match=r"chat\.jsonl:3: message 2 holds </think>, and the chat template of theirs"):
        open_rows(path, thinking)


def test_a_second_start_tokenises_nothing(
    tmp_path: Path, tokenizer: ChatTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_jsonl(tmp_path / "chat.jsonl", ROWS)
    first = open_rows(path, tokenizer)
    monkeypatch.setattr(ChatTokenizer, "render_batch", None)
    assert open_rows(path, tokenizer).folder == first.folder


def test_changed_rows_tokenizer_or_suffix_make_another_store(tmp_path: Path, tokenizer: ChatTokenizer) -> None:
    path = write_jsonl(tmp_path / "chat.jsonl", ROWS)
    first = open_rows(path, tokenizer)
    third = open_rows(path, train_tokenizer(["another text, other merges"] * 9, 270))
    write_jsonl(path, ROWS[:2])
    second = open_rows(path, tokenizer)
    assert len({first.folder, second.folder, third.folder}) == 3
    assert len(second) == 2
    for kind in ("corpus", "chat"):
        copy = shutil.copy(path, path.with_suffix(".txt"))  # the same bytes, read in another way
        assert store_key([path], tokenizer, kind) != store_key([copy], tokenizer, kind)


TEMPLATE = "{{ bos_token }}{% for m in messages %}{{ '<|' + m.role + '|>' + m.content + '<|end|>' }}{% endfor %}"
TEMPLATE += "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"


def test_what_the_template_reads_of_the_tokenizer_s_settings_makes_another_store(tokenizer: ChatTokenizer) -> None:
    def key(**settings: str) -> str:
        files = {"tokenizer_config.json": json.dumps({"chat_template": TEMPLATE, **settings})}
        return store_key([], ChatTokenizer(tokenizer.content, files=files), "chat")

    assert key(bos_token="<|bos|>") == key(bos_token="<|bos|>", unk_token="<|pad|>")
    assert key(bos_token="<|bos|>") != key(bos_token="<|pad|>")
    assert key(bos_token="<|bos|>") != key(bos_token="<|bos|>", chat_template=TEMPLATE + "{{ '' }}")


def test_a_row_is_named_by_where_its_file_lies_now(tmp_path: Path, tokenizer: ChatTokenizer) -> None:
    path, moved = write_jsonl(tmp_path / "chat.jsonl", ROWS), tmp_path / "new" / "chat.jsonl"
    first = open_rows(path, tokenizer)
    moved.parent.mkdir()
    path.rename(moved)
    store = tokenise.tokens_of_rows([Input(moved)], "chat", tokenizer, tmp_path / "cache", verify=True)
    assert (store.folder, store.place(2)) == (first.folder, f"{moved}:3")


def edit(path: Path, change: Callable[[bytes], bytes]) -> None:
    path.write_bytes(change(path.read_bytes()))


DAMAGES: dict[str, Callable[[Path], None]] = {
    "cut short": lambda folder: edit(folder / "tokens.bin", lambda data: data[:-2]),
    "a bit flipped": lambda folder: edit(
        folder / "tokens.bin", lambda data: data[:5] + bytes([data[5] ^ 1]) + data[6:]
    ),
    "a file missing": lambda folder: (folder / "lines.bin").unlink(),
    "older format": lambda folder: edit(
        folder / "header.json", lambda data: data.replace(b'"format": ', b'"format": 9')
    ),
    "half a header": lambda folder: edit(folder / "header.json", lambda data: data[:50]),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_or_outdated_store_is_made_again(tmp_path: Path, tokenizer: ChatTokenizer, damage: str) -> None:
    path = write_jsonl(tmp_path / "chat.jsonl", ROWS)
    store = open_rows(path, tokenizer)
    expected, folder = store.tokens.tolist(), store.folder
    del store
    DAMAGES[damage](folder)
    again = open_rows(path, tokenizer)
    assert again.tokens.tolist() == expected
    assert again.folder == folder
    assert [left.name for left in folder.parent.iterdir()] == [folder.name]


def test_a_store_travels_to_workers_as_its_path(tmp_path: Path, tokenizer: ChatTokenizer) -> None:
    store = open_rows(write_jsonl(tmp_path / "chat.jsonl", ROWS * 500), tokenizer)
    sent = pickle.dumps(store)
    assert len(sent) < 500
    assert pickle.loads(sent).tokens.tolist() == store.tokens.tolist()  # noqa: S301 - our own


BUILD = """
import sys
from pathlib import Path
from picochat.datamodules.tokenise import Input, tokens_of_rows
from picochat.model.tokenizer import ChatTokenizer
rows = [Input(Path("chat.jsonl"))]
print(len(tokens_of_rows(rows, "chat", ChatTokenizer.load(sys.argv[1]), Path("cache"), verify=True)))
"""


def test_two_processes_that_want_the_same_store_make_it_once(tmp_path: Path, files: dict[str, str]) -> None:
    path = write_jsonl(tmp_path / "chat.jsonl", ROWS)
    folder = open_rows(path, ChatTokenizer.load(files["tokenizer"])).folder
    shutil.rmtree(folder)
    (folder.parent / f".{folder.name}.tmp").mkdir()
    (folder.parent / f".{folder.name}.tmp" / "tokens.bin").write_text("half, of a process that was killed")
    command = [sys.executable, "-c", BUILD, files["tokenizer"]]
    both = [subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE) for _ in range(2)]
    assert [process.communicate()[0] for process in both] == [b"3\n", b"3\n"]
    assert [left.name for left in folder.parent.iterdir()] == [folder.name]


def test_eval_rows_are_completed_by_their_reference_and_counted_without(
    tmp_path: Path, tokenizer: ChatTokenizer
) -> None:
    silent = {key: value for key, value in eval_row("add", 2, 3).items() if key not in ("reference", "answer")}
    rows = [{**eval_row("add", 1, 3), "reference": "Ten."}, {**silent, "must_include": ["x"]}]
    path = write_jsonl(tmp_path / "eval.jsonl", rows)
    store = tokenise.tokens_of_rows([Input(path)], "eval", tokenizer, tmp_path / "cache", verify=True)
    assert len(store) == 1
    assert store.header["without_reference"] == 1
    assert tokenizer.decode(store.tokens.tolist()).endswith("Ten.")


def test_a_corpus_of_shards_is_one_store_in_which_everything_is_learnt(
    tmp_path: Path, tokenizer: ChatTokenizer
) -> None:
    shards = tmp_path / "corpus"
    shards.mkdir()
    write_jsonl(shards / "a.jsonl", [{"text": "The dog went home."}, {"text": "Apples."}])
    (shards / "b.txt").write_text("A fine morning.")
    store = tokenise.tokens_of_corpus(shards, tokenizer, tmp_path / "cache", verify=True)
    documents = [tokenizer.document(text) for text in ("The dog went home.", "Apples.", "A fine morning.")]
    assert store.learnt is None
    assert store.tokens.tolist() == [token for ids in documents for token in ids]
    assert store.supervised.tolist() == [len(ids) - 1 for ids in documents]
    assert store.sizes.tolist() == [18, 7, 15]
