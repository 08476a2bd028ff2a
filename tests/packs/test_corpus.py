"""Reading and importing a corpus: formats, counts, what is refused, and that nothing half-written stays."""

import builtins
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from picochat.errors import UserError
from picochat.packs.corpus import import_corpus
from picochat.packs.dataset_pack import DatasetPack, load_dataset_pack
from picochat.packs.documents import Document, iter_documents


def texts(path: Path, **settings: Any) -> list[str]:
    return [document.text for document in iter_documents(path, **settings)]


def write_parquet(path: Path, columns: Mapping[str, Sequence[str | None]]) -> Path:
    pyarrow.parquet.write_table(pyarrow.table(dict(columns)), path)
    return path


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
])  # fmt: skip
def test_each_kind_of_file_gives_its_documents(name: str, content: str, expected: list[str], tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content.encode())
    assert list(iter_documents(tmp_path / name)) == [Document(text, (tmp_path / name).as_posix()) for text in expected]


@pytest.mark.parametrize(("columns", "settings", "expected"), [
    ({"text": ["one", None, "", "two"], "title": ["a", "b", "c", "d"]}, {}, ["one", "two"]),
    ({"title": ["a", "b"], "content": ["one", "two"]}, {}, ["one", "two"]),
    ({"prose": ["one", "two"], "stars": [1, 2]}, {}, ["one", "two"]),  # the only column of texts
    ({"left": ["one"], "right": ["eins"]}, {"text_field": "right"}, ["eins"]),
    ({"left": ["one"], "right": ["eins"]}, {}, r"which column holds the text\?; .*-field NAME` .*\(left, right\)"),
    ({"left": ["one"]}, {"text_field": "up"}, r"no column of texts is called up; .* reads another \(left\)"),
])  # fmt: skip
def test_parquet_finds_its_column_or_asks(columns: Any, settings: Any, expected: Any, tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", columns)
    if isinstance(expected, list):
        assert texts(path, **settings) == expected
    else:
        with pytest.raises(UserError, match=expected):
            texts(path, **settings)


@pytest.mark.parametrize("name", ["a.jsonl", "a.parquet"])
def test_a_document_of_millions_of_characters_goes_on_in_others_at_line_ends(name: str, tmp_path: Path) -> None:
    text = "abcdefgh\n" * 222_222 + "z" * 1_500_000  # a line end after 999,999 characters and after 1,999,998
    if name == "a.jsonl":
        (tmp_path / name).write_text(json.dumps({"text": text}))
    else:
        write_parquet(tmp_path / name, {"text": [text]})
    lengths = [len(document.text) for document in iter_documents(tmp_path / name)]
    assert lengths == [999_998, 999_998, 1_000_000, 500_000]


def test_a_folder_is_read_in_order_of_names_hidden_and_other_files_left_out(tmp_path: Path) -> None:
    (tmp_path / "sub" / ".git").mkdir(parents=True)
    (tmp_path / "b.txt").write_text("second")
    (tmp_path / "a.jsonl").write_text('{"text": "first"}\n')
    write_parquet(tmp_path / "sub" / "c.parquet", {"text": ["third"]})
    (tmp_path / "sub" / ".git" / "d.txt").write_text("hidden")
    (tmp_path / "e.md").write_text("fourth")
    (tmp_path / "settings.json").write_text("{}")
    assert texts(tmp_path) == ["first", "second", "fourth", "third"]


@pytest.mark.parametrize(("module", "suffix"), [("pyarrow", "parquet"), ("datasets", "hub")])
def test_a_missing_extra_is_named_with_the_command_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, suffix: str
) -> None:
    path = write_parquet(tmp_path / "a.parquet", {"text": ["x"]})
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.split(".")[0] == module:
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    source = str(path) if suffix == "parquet" else f"hub:{tmp_path}"
    with pytest.raises(UserError, match=rf"pip install 'picochat\[{suffix}\]'"):
        import_corpus(source, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_importing_stories_writes_corpus_and_pack_with_provenance(tmp_path: Path) -> None:
    pack = import_corpus("stories", tmp_path / "out" / "tiny", 30, seed=5)
    rows = imported(pack)
    assert len({row["text"] for row in rows}) == len(rows) == 30
    assert {row["source"] for row in rows} == {"stories"}
    assert load_dataset_pack(tmp_path / "out" / "tiny").data == pack.data
    assert texts(tmp_path / "out" / "tiny" / "corpus.jsonl") == [row["text"] for row in rows]
    assert (pack.name, pack.data["corpus"]) == ("tiny", "corpus.jsonl")
    provenance = pack.data["provenance"]
    assert provenance["seed"] == 5
    assert provenance["documents"] == 30
    assert provenance["characters"] == sum(len(row["text"]) for row in rows)
    written = (tmp_path / "out" / "tiny" / "corpus.jsonl").read_bytes()
    assert provenance["corpus_sha256"] == hashlib.sha256(written).hexdigest()
    assert sorted(file.name for file in (tmp_path / "out" / "tiny").iterdir()) == ["corpus.jsonl", "dataset_pack.json"]


def test_importing_files_drops_and_counts_duplicates_and_keeps_sources(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "ünique"}\n{"text": "twice"}\n{"text": " twice\\n"}\n')
    (tmp_path / "b.txt").write_text("twice\n")
    (tmp_path / "c.txt").write_text("last\n")
    pack = import_corpus([tmp_path / "a.jsonl", tmp_path / "b.txt", str(tmp_path / "c.txt")], tmp_path / "out")
    assert [row["text"] for row in imported(pack)] == ["ünique", "twice", "last"]
    assert imported(pack)[2]["source"] == (tmp_path / "c.txt").as_posix()
    assert pack.data["provenance"]["duplicates_dropped"] == 2
    sources = pack.data["provenance"]["sources"]
    assert [Path(source["source"]).name for source in sources] == ["a.jsonl", "b.txt", "c.txt"]
    assert sources[1]["sha256"] == hashlib.sha256(b"twice\n").hexdigest()


def test_a_hub_data_set_is_streamed_shard_by_shard_from_a_snapshot_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    (tmp_path / "snapshot" / "data").mkdir(parents=True)
    for shard in range(3):
        place = tmp_path / "snapshot" / "data" / f"train-0000{shard}-of-00003.parquet"
        write_parquet(place, {"id": ["x"] * 4, "text": [f"shard {shard} text {row}" for row in range(4)]})
    source = f"hub:{tmp_path / 'snapshot'}"
    whole = imported(import_corpus(source, tmp_path / "whole"))
    assert [row["text"] for row in whole] == [f"shard {shard} text {row}" for shard in range(3) for row in range(4)]
    assert {row["source"] for row in whole} == {source}
    two = imported(import_corpus(source, tmp_path / "two", shards=2))
    assert two == whole[:8]
    with pytest.raises(UserError, match="has 3 shards, 4 were asked for"):
        import_corpus(source, tmp_path / "four", shards=4)


def test_an_import_that_failed_in_a_late_shard_goes_on_from_there_and_reads_again_what_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    hub, out, kept = tmp_path / "hub", tmp_path / "out", tmp_path / "out" / ".corpus.jsonl.shards-0"
    (hub / "OWNER" / "NAME").mkdir(parents=True)
    files = [hub / "OWNER" / "NAME" / f"train-0000{shard}-of-00003.jsonl" for shard in range(3)]
    for number, file in enumerate(files):
        file.write_text(f'{{"text": "old {number}"}}\n{{"text": "twice"}}\n')
    whole = imported(import_corpus("hub:OWNER/NAME", tmp_path / "whole", hub_dir=hub))
    assert [row["text"] for row in whole] == ["old 0", "twice", "old 1", "old 2"]
    files[2].write_text('{"text": ')
    with pytest.raises(UserError, match=r"shard 2 cannot be read: .*; the 2 shards before are kept, the same command"):
        import_corpus("hub:OWNER/NAME", out, hub_dir=hub)
    assert [file.name for file in out.iterdir()] == [kept.name]
    assert sorted(file.name[:5] for file in kept.iterdir()) == ["00000", "00001", "setti"]
    with pytest.raises(UserError, match="shard 2"):  # with another setting, what was kept is of no use
        import_corpus("hub:OWNER/NAME", out, hub_dir=hub, text_field="text")
    assert sorted(file.name[:5] for file in kept.iterdir()) == ["00000", "00000", "00001", "00001", "setti"]
    times = files[0].stat()
    files[0].write_text('{"text": "new 0"}\n{"text": "TWICE"}\n')  # as large and as old: taken for the same
    os.utime(files[0], ns=(times.st_atime_ns, times.st_mtime_ns))
    files[1].write_text('{"text": "another 1"}\n')
    files[2].write_text('{"text": "another 2"}\n')
    rows = imported(import_corpus("hub:OWNER/NAME", out, hub_dir=hub))
    assert [row["text"] for row in rows] == ["old 0", "twice", "another 1", "another 2"]
    assert sorted(file.name for file in out.iterdir()) == ["corpus.jsonl", "dataset_pack.json"]


def test_a_hub_data_set_that_cannot_be_had_is_one_sentence_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    for source, settings, words in (
        ("hub:O/N", {"hub_dir": tmp_path}, r"holds no folder O/N; a snapshot of hub:O/N is expected there"),
        ("hub:O/N", {"hub_dir": tmp_path / "nowhere"}, "nowhere is not a folder"),
        ("hub:O/N", {}, r"the hub cannot be reached .*--hub-dir reads a snapshot in its place"),
        (f"hub:{tmp_path / 'nowhere'}", {}, "nowhere: cannot be loaded: "),
    ):
        with pytest.raises(UserError, match=words):
            import_corpus(source, tmp_path / "out" / "deep", **settings)
        assert list(tmp_path.iterdir()) == []


def test_a_corpus_is_replaced_with_force_alone_and_not_by_an_import_that_fails_late(tmp_path: Path) -> None:
    import_corpus("stories", tmp_path / "out", 3)
    before = {file.name: file.read_bytes() for file in (tmp_path / "out").iterdir()}
    (tmp_path / "bad.jsonl").write_text('{"text": "good"}\n{"oops"\n')
    with pytest.raises(UserError, match=r"bad\.jsonl:2"):
        import_corpus(tmp_path / "bad.jsonl", tmp_path / "out", force=True)
    with pytest.raises(UserError, match=r"corpus\.jsonl exists already; add --force"):
        import_corpus("stories", tmp_path / "out", 4)
    assert {file.name: file.read_bytes() for file in (tmp_path / "out").iterdir()} == before
    assert len(imported(import_corpus("stories", tmp_path / "out", 4, force=True))) == 4


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
