"""The corpus datamodule: sides by the hash of the text, long documents in parts, the same stream as for chat."""

import json
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import pytest
from small_rows import write_jsonl

from picochat.datamodules import CorpusDataModule
from picochat.errors import UserError
from picochat.model.batch import IGNORE_INDEX
from picochat.packs.quotas import split_of

TEXTS = [text.strip() for text in list(topics.values())[:40]]  # Python's own help: real prose, some of it long


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A corpus in two shards, and a tokenizer beside it once it has been prepared."""
    folder = tmp_path_factory.mktemp("corpus")
    (folder / "shards").mkdir()
    write_jsonl(folder / "shards" / "0.jsonl", [{"text": text} for text in TEXTS[:25]])
    write_jsonl(folder / "shards" / "1.jsonl", [{"text": text} for text in TEXTS[25:]])
    (folder / "dataset_pack.json").write_text(json.dumps({"name": "topics", "corpus": "shards"}))
    return str(folder / "dataset_pack.json")


def ready(pack: str, **more: Any) -> CorpusDataModule:
    dm = CorpusDataModule(**{"dataset_pack": pack, "batch_size": 4, "context_length": 64, "val_fraction": 0.2, **more})
    dm.prepare_data()
    dm.setup("fit")
    return dm


def test_sides_are_those_of_the_split_hash(pack: str) -> None:
    dm = ready(pack)
    held_out = {index for index, text in enumerate(TEXTS) if split_of(text, 0.2) == "eval"}
    assert 2 <= len(held_out) <= 16
    assert set(dm._evaluations["val"].rows.tolist()) == held_out
    assert set(dm._train.rows.tolist()) == set(range(40)) - held_out


def test_every_token_of_the_training_side_is_learnt_once_in_a_block(pack: str) -> None:
    dm = ready(pack)
    learnt = sum(int((batch.labels != IGNORE_INDEX).sum()) for batch in dm.val_dataloader()[0])
    assert learnt == sum(len(dm.chat_tokenizer.document(text)) - 1 for text in TEXTS if split_of(text, 0.2) == "eval")
    tokens = sum(len(dm.chat_tokenizer.document(text)) - 1 for text in TEXTS if split_of(text, 0.2) == "train")
    assert dm.plan.tokens(0, len(dm.plan.block(0).bins)) == tokens
    assert len(dm._train) > len(set(dm._train.rows.tolist()))  # long documents were split


def test_bytes_per_token_count_the_held_out_text(pack: str) -> None:
    dm = ready(pack)
    held_out = [text for text in TEXTS if split_of(text, 0.2) == "eval"]
    tokens = sum(len(dm.chat_tokenizer.document(text)) - 1 for text in held_out)
    assert dm.bytes_per_token == pytest.approx(sum(len(text.encode()) for text in held_out) / tokens)


def test_parts_begin_with_bos_and_read_the_overlap_again(pack: str) -> None:
    dm = ready(pack, overlap=8, packing="separate")
    for batch in dm.train_dataloader():
        assert (batch.input_ids[:, 0] == dm.chat_tokenizer.bos_id).all()
    assert dm._train.reread.max() == 8
    continued = int(dm._train.reread.argmax())
    ids, learnt = dm._train[continued]
    before, _ = dm._train[continued - 1]
    assert ids[1:9].tolist() == before[-8:].tolist()
    assert learnt.tolist() == [False] * 9 + [True] * (len(ids) - 9)


def test_a_corpus_of_which_nothing_is_held_out_says_so(pack: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        assert ready(pack, val_fraction=1e-9).val_names == []
    assert "no validation: data.val_fraction=1e-09 holds out none of" in caplog.text


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"overlap": 0}, r"overlap must lie in 1…62"),
        ({"overlap": 63}, "overlap"),
        ({"dataset_pack": "nowhere/other.json"}, r"other\.json does not exist"),
    ],
)
def test_bad_settings_are_refused(pack: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        ready(pack, **settings)


def test_a_pack_without_a_corpus_is_refused(tmp_path: Path) -> None:
    (tmp_path / "dataset_pack.json").write_text(json.dumps({"name": "rows only", "chat": "chat.jsonl"}))
    with pytest.raises(UserError, match='names no corpus; add "corpus": "FILE"'):
        ready(str(tmp_path / "dataset_pack.json"))
