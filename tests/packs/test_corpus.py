"""Reading and importing a corpus: formats, counts, what is refused, and that nothing half-written stays."""

import builtins
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from making import write

from picochat.errors import UserError
from picochat.packs.corpus import import_corpus
from picochat.packs.dataset_pack import DatasetPack, load_dataset_pack
from picochat.packs.documents import Document, iter_documents


def texts(path: Path, **settings: Any) -> list[str]:
    return [document.text for document in iter_documents(path, **settings)]


def imported(pack: DatasetPack) -> list[dict[str, str]]:
    assert pack.corpus_path is not None
    return [json.loads(line) for line in pack.corpus_path.read_text(encoding="utf-8").splitlines()]


LONG = [letter * 4_999 for letter in "abcde"]  # 5,001 characters each with its line end and the blank line


@pytest.mark.parametrize(("name", "content", "expected"), [
    ("a.txt", "\ufeff\r\nOne day\r\n\r\nit rained.\r\n", ["One day\n\nit rained."]),
    ("a.txt", "\n\n".join(LONG), ["\n\n".join(LONG[:2]), "\n\n".join(LONG[2:4]), LONG[4]]),  # cut at blank lines
    ("a.txt", "x\n" * 10_000, ["x\n" * 7_999 + "x", "x\n" * 1_999 + "x"]),  # without any, at line ends of twice that
    ("a.md", "One.<|endoftext|>Two.\n<|end_of_text|>\nThree.", ["One.", "Two.", "Three."]),
    ("a.jsonl", '{"text": " one "}\n\n{"text": " "}\n"two"\n{"body": "3", "text": "III"}\n', ["one", "two", "III"]),
    ("a.json", '[{"content": "one"}, {"story": "two"}]', ["one", "two"]),
    ("a.jsonl", '{"text": null, "content": "one"}\n{"text": "two", "content": null}\n{"body": null}', ["one", "two"]),
    ("a.tsv", "text\none, two; three\n", ["one, two; three"]),
])  # fmt: skip
def test_each_kind_of_file_gives_its_documents(name: str, content: str, expected: list[str], tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content.encode())
    assert list(iter_documents(tmp_path / name)) == [Document(text, (tmp_path / name).as_posix()) for text in expected]


def test_parquet_finds_its_column_or_asks(tmp_path: Path) -> None:
    rows = [{"title": title, "content": text} for title, text in (("a", "one"), ("b", None), ("c", "two"))]
    usual = write(tmp_path / "a.parquet", *rows)
    assert texts(usual) == ["one", "two"]
    other = write(tmp_path / "b.parquet", {"left": "one", "right": "eins"})
    assert texts(other, text_field="right") == ["eins"]
    with pytest.raises(UserError, match=r"b.parquet:1: has no text in 'text'; .*-field NAME` reads .* \(left, right\)"):
        texts(other)


@pytest.mark.parametrize("name", ["a.jsonl", "a.parquet"])
def test_a_document_of_millions_of_characters_goes_on_in_others_at_line_ends(name: str, tmp_path: Path) -> None:
    text = "abcdefgh\n" * 222_222 + "z" * 1_500_000  # a line end after 999,999 characters and after 1,999,998
    assert list(map(len, texts(write(tmp_path / name, {"text": text})))) == [999_998, 999_998, 1_000_000, 500_000]


def test_a_folder_is_read_in_order_of_names_hidden_and_other_files_left_out(tmp_path: Path) -> None:
    for name, text in (("b.txt", "second"), ("e.md", "fourth"), ("sub/.git/d.txt", "hidden"), ("settings.json", "{}")):
        write(tmp_path / name, text)
    write(tmp_path / "a.jsonl", {"text": "first"})
    write(tmp_path / "sub/c.parquet", {"text": "third"})
    assert texts(tmp_path) == ["first", "second", "fourth", "third"]


@pytest.mark.parametrize(("module", "extra"), [("pyarrow", "parquet"), ("datasets", "hub")])
def test_a_missing_extra_is_named_with_the_command_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, extra: str
) -> None:
    path = write(tmp_path / "a.parquet", {"text": "x"})
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.split(".")[0] == module:
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UserError, match=rf"pip install 'picochat\[{extra}\]'"):
        import_corpus(str(path) if extra == "parquet" else "hub:owner/name", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_importing_stories_writes_corpus_and_pack_with_provenance(tmp_path: Path) -> None:
    out = tmp_path / "out" / "tiny"
    pack = import_corpus("stories", out, 30, seed=5)
    rows = imported(pack)
    assert len({row["text"] for row in rows}) == len(rows) == 30
    assert {row["source"] for row in rows} == {"stories"}
    assert load_dataset_pack(out).data == pack.data
    assert texts(out / "corpus.jsonl") == [row["text"] for row in rows]
    provenance = pack.data["provenance"]
    assert (pack.data["name"], provenance["seed"], provenance["documents"]) == ("tiny", 5, 30)
    assert provenance["characters"] == sum(len(row["text"]) for row in rows)
    assert provenance["corpus_sha256"] == hashlib.sha256((out / "corpus.jsonl").read_bytes()).hexdigest()
    assert sorted(file.name for file in out.iterdir()) == ["corpus.jsonl", "dataset_pack.json"]


def test_importing_files_drops_and_counts_duplicates_and_keeps_sources(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", {"text": "ünique"}, {"text": "twice"}, {"text": " twice\n"}, {"text": None})
    write(tmp_path / "b.txt", "twice")
    write(tmp_path / "c.txt", "last")
    pack = import_corpus([tmp_path / "a.jsonl", tmp_path / "b.txt", str(tmp_path / "c.txt")], tmp_path / "out")
    assert [row["text"] for row in imported(pack)] == ["ünique", "twice", "last"]
    assert imported(pack)[2]["source"] == (tmp_path / "c.txt").as_posix()
    provenance = pack.data["provenance"]
    assert (provenance["duplicates_dropped"], provenance["empty_skipped"]) == (2, 1)
    assert [Path(source["source"]).name for source in provenance["sources"]] == ["a.jsonl", "b.txt", "c.txt"]
    assert provenance["sources"][1]["sha256"] == hashlib.sha256(b"twice\n").hexdigest()


def test_a_hub_data_set_is_read_from_a_snapshot_folder_file_by_file(tmp_path: Path) -> None:
    for shard in range(3):
        name = f"data/shard_{shard}.parquet" if shard else "data/shard_0.jsonl"
        write(tmp_path / "hub/NAME" / name, *({"text": f"shard {shard} text {row}"} for row in range(2)))
    write(tmp_path / "hub/NAME/dataset_infos.json", {"text": "settings"})
    whole = imported(import_corpus("hub:OWNER/NAME", tmp_path / "whole", hub_dir=tmp_path / "hub"))
    assert [row["text"] for row in whole] == [f"shard {shard} text {row}" for shard in range(3) for row in range(2)]
    assert {row["source"] for row in whole} == {"hub:OWNER/NAME"}
    assert imported(import_corpus("hub:OWNER/NAME", tmp_path / "two", hub_dir=tmp_path / "hub", shards=2)) == whole[:4]
    with pytest.raises(UserError, match="has 3 shards, 4 were asked for"):
        import_corpus("hub:OWNER/NAME", tmp_path / "four", hub_dir=tmp_path / "hub", shards=4)


def test_a_hub_data_set_that_cannot_be_had_is_one_sentence_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "*")
    for offline in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE"):
        monkeypatch.delenv(offline, raising=False)
    for hub_dir, words in (
        (tmp_path, "hub:O/N: .* holds no folder O/N or N"),
        (tmp_path / "nowhere", "nowhere is not a folder"),
        (None, r"the hub cannot be reached .*--hub-dir reads a snapshot in its place"),
    ):
        with pytest.raises(UserError, match=words):
            import_corpus("hub:O/N", tmp_path / "out" / "deep", hub_dir=hub_dir)
        assert list(tmp_path.iterdir()) == []


def test_a_corpus_is_replaced_with_force_alone_and_not_by_an_import_that_fails_late(tmp_path: Path) -> None:
    import_corpus("stories", tmp_path / "out", 3)
    before = {file.name: file.read_bytes() for file in (tmp_path / "out").iterdir()}
    write(tmp_path / "bad.jsonl", {"text": "good"}, '{"oops"')
    with pytest.raises(UserError, match=r"bad\.jsonl:2"):
        import_corpus(tmp_path / "bad.jsonl", tmp_path / "out", force=True)
    with pytest.raises(UserError, match=r"corpus\.jsonl exists already; add --force"):
        import_corpus("stories", tmp_path / "out", 4)
    assert {file.name: file.read_bytes() for file in (tmp_path / "out").iterdir()} == before
    assert len(imported(import_corpus("stories", tmp_path / "out", 4, force=True))) == 4
    for text in ("one", "two"):  # into the folder of the texts: the corpus of the first is none of them
        write(tmp_path / "out/z.txt", text)
        assert [row["text"] for row in imported(import_corpus(tmp_path / "out", tmp_path / "out", force=True))] == [
            text
        ]


@pytest.mark.parametrize(("source", "settings", "words"), [
    ([], {}, "no source given"),
    ("stories", {"documents": 0}, "documents is 0"),
    ("stories", {"shards": 1}, "for hub: sources only"),
    ("hub:x", {"shards": 0}, "from 1 up"),
    (["stories", "a.txt"], {}, "cannot be mixed"),
    ("empty.txt", {}, "holds no text"),
])  # fmt: skip
def test_a_wrong_setting_is_refused_and_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: Any, settings: dict[str, int], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty.txt").write_text(" \n")
    with pytest.raises(UserError, match=words):
        import_corpus(source, "out", **settings)
    assert [file.name for file in tmp_path.iterdir()] == ["empty.txt"]
