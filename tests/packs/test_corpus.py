"""Reading and importing a corpus: formats, counts, what is refused, and that nothing half-written stays."""

import builtins
import hashlib
import json
import os
import pydoc_data.topics
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


def test_a_short_txt_file_is_one_document_paragraphs_and_all(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbf\r\nOne day\r\n\r\nit rained.\r\n")
    assert list(iter_documents(tmp_path / "a.txt")) == [
        Document("One day\n\nit rained.", (tmp_path / "a.txt").as_posix())
    ]


def test_a_long_txt_file_is_cut_at_blank_lines_once_a_document_is_long_enough(tmp_path: Path) -> None:
    paragraphs = [letter * 4_999 for letter in "abcde"]  # 5,001 characters each with its line end and the blank line
    (tmp_path / "a.txt").write_text("\n\n".join(paragraphs))
    assert texts(tmp_path / "a.txt") == ["\n\n".join(paragraphs[:2]), "\n\n".join(paragraphs[2:4]), paragraphs[4]]


def test_a_long_txt_file_without_blank_lines_is_cut_at_line_ends(tmp_path: Path) -> None:
    line = "x" * 999
    (tmp_path / "a.txt").write_text((line + "\n") * 40)
    assert [text.count("\n") + 1 for text in texts(tmp_path / "a.txt")] == [16, 16, 8]


@pytest.mark.parametrize("name", ["a.jsonl", "a.parquet"])
def test_a_document_of_millions_of_characters_goes_on_in_others_at_line_ends(name: str, tmp_path: Path) -> None:
    text = "abcdefgh\n" * 222_222 + "z" * 1_500_000  # a line end after 999,999 characters and after 1,999,998
    if name == "a.jsonl":
        (tmp_path / name).write_text(json.dumps({"text": text}))
    else:
        pyarrow.parquet.write_table(pyarrow.table({"text": [text]}), tmp_path / name)
    lengths = [len(document.text) for document in iter_documents(tmp_path / name)]
    assert lengths == [999_998, 999_998, 1_000_000, 500_000]


def test_jsonl_reads_text_or_the_field_that_is_named_and_skips_empty_documents(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": " one "}\n\n{"text": " "}\n{"text": "two", "body": "zwei"}\n')
    assert texts(path) == ["one", "two"]
    path.write_text('{"text": "one", "body": "eins"}\n')
    assert texts(path, text_field="body") == ["eins"]


@pytest.mark.parametrize(
    ("column", "columns"),
    [
        ("text", {"text": ["one", None, "", "two"], "title": ["a", "b", "c", "d"]}),
        ("content", {"title": ["a", "b"], "content": ["one", "two"]}),
        ("prose", {"prose": ["one", "two"], "stars": [1, 2]}),
    ],
)
def test_parquet_finds_the_column_by_its_name_or_by_being_the_only_one_of_texts(
    tmp_path: Path, column: str, columns: dict[str, Any]
) -> None:
    path = write_parquet(tmp_path / "a.parquet", columns)
    assert texts(path) == texts(path, text_field=column) == ["one", "two"]


def test_parquet_with_two_columns_of_texts_asks_which_one(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", {"left": ["one"], "right": ["eins"]})
    assert texts(path, text_field="right") == ["eins"]
    with pytest.raises(UserError, match=r"which column holds the text\?; .* --text-field NAME` .*\(left, right\)"):
        texts(path)
    with pytest.raises(UserError, match=r"no column of texts is called up; .* reads another \(left, right\)"):
        texts(path, text_field="up")


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
    assert (pack.name, pack.data["corpus"]) == ("tiny", "corpus.jsonl")
    provenance = pack.data["provenance"]
    assert provenance["seed"] == 5
    assert provenance["documents"] == 30
    assert provenance["characters"] == sum(len(row["text"]) for row in rows)
    written = (tmp_path / "out" / "tiny" / "corpus.jsonl").read_bytes()
    assert provenance["corpus_sha256"] == hashlib.sha256(written).hexdigest()
    assert sorted(file.name for file in (tmp_path / "out" / "tiny").iterdir()) == ["corpus.jsonl", "dataset_pack.json"]


def test_the_same_import_gives_the_same_bytes_and_another_seed_other_stories(tmp_path: Path) -> None:
    a, b, c = (
        import_corpus("stories", tmp_path / name, 20, seed).corpus_path for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert a and b and c and a.read_bytes() == b.read_bytes()
    assert not set(a.read_bytes().splitlines()) & set(c.read_bytes().splitlines())


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


def test_an_imported_corpus_reads_back_and_can_be_imported_again(tmp_path: Path) -> None:
    first = import_corpus("stories", tmp_path / "first", 10)
    assert first.corpus_path is not None
    assert texts(first.corpus_path) == [row["text"] for row in imported(first)]
    second = import_corpus(first.corpus_path, tmp_path / "second", documents=4)
    assert imported(second) == [row | {"source": first.corpus_path.as_posix()} for row in imported(first)[:4]]


def test_real_prose_of_the_standard_library_comes_in_whole(tmp_path: Path) -> None:
    topics = pydoc_data.topics.topics
    for name, text in topics.items():
        (tmp_path / f"{name}.txt").write_text(text, encoding="utf-8")
    pack = import_corpus(tmp_path, tmp_path / "out")
    said = {"".join(text.split()) for text in topics.values()}  # a topic that two names share counts once
    assert sum(len("".join(row["text"].split())) for row in imported(pack)) == sum(map(len, said))
    assert pack.data["provenance"]["documents"] > len(said) > 60  # some were long enough to be cut


@pytest.mark.parametrize("layout", ["parquet", "jsonl"])
def test_a_hub_data_set_is_streamed_shard_by_shard_from_a_snapshot_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: str
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    (tmp_path / "snapshot" / "data").mkdir(parents=True)
    for shard in range(3):
        place = tmp_path / "snapshot" / "data" / f"train-0000{shard}-of-00003.{layout}"
        rows = [f"shard {shard} text {row}" for row in range(4)]
        if layout == "parquet":
            write_parquet(place, {"id": ["x"] * 4, "text": rows})
        else:
            place.write_text("".join(json.dumps({"text": row, "n": 1}) + "\n" for row in rows))
    source = f"hub:{tmp_path / 'snapshot'}"
    whole = imported(import_corpus(source, tmp_path / "whole"))
    assert [row["text"] for row in whole] == [f"shard {shard} text {row}" for shard in range(3) for row in range(4)]
    assert {row["source"] for row in whole} == {source}
    two = imported(import_corpus(source, tmp_path / "two", shards=2))
    assert two == whole[:8]
    assert imported(import_corpus(source, tmp_path / "five", documents=5)) == whole[:5]
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


@pytest.mark.parametrize(
    ("source", "settings", "words"),
    [
        ([], {}, "no source given"),
        ("stories", {"documents": 0}, "documents is 0"),
        ("stories", {"shards": 1}, "for hub: sources only"),
        ("hub:x", {"shards": 0}, "from 1 up"),
        (["stories", "a.txt"], {}, "cannot be mixed"),
        ("empty.txt", {}, "holds no text"),
    ],
)
def test_a_wrong_setting_is_refused_and_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: Any, settings: dict[str, int], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty.txt").write_text(" \n")
    with pytest.raises(UserError, match=words):
        import_corpus(source, "out", **settings)
    assert [file.name for file in tmp_path.iterdir()] == ["empty.txt"]
