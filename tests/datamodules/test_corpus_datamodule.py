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


def test_sides_are_those_of_the_split_hash_and_every_token_is_learnt_once_in_a_block(pack: str) -> None:
    dm = ready(pack, overlap=8)
    train, held_out = ({n for n, text in enumerate(TEXTS) if split_of(text, 0.2) == side} for side in ("train", "eval"))
    assert 2 <= len(held_out) <= 16
    assert set(dm._evaluations["val"].rows.tolist()) == held_out
    assert set(dm._train.rows.tolist()) == train
    lengths = [len(dm.chat_tokenizer.document(text)) - 1 for text in TEXTS]
    assert dm.plan.tokens(0, len(dm.plan.block(0).bins)) == sum(lengths[n] for n in train)
    learnt = sum(int((batch.labels != IGNORE_INDEX).sum()) for batch in dm.val_dataloader()[0])
    assert learnt == sum(lengths[n] for n in held_out)
    assert dm.bytes_per_token == pytest.approx(sum(len(TEXTS[n].encode()) for n in held_out) / learnt)
    assert dm._train.reread.max() == 8  # long documents were split, each part with the overlap


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"overlap": 0}, r"overlap must lie in 1…62"),
        ({"overlap": 63}, "overlap"),
        ({"dataset_pack": "nowhere/other.json"}, r"other\.json does not exist"),
        ({"dataset_pack": "dataset_pack.json"}, 'names no corpus; add "corpus": "FILE"'),
    ],
)
def test_bad_settings_are_refused(
    pack: str, settings: dict[str, Any], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("dataset_pack.json").write_text('{"name": "rows only", "chat": "chat.jsonl"}')
    with pytest.raises(UserError, match=message):
        ready(pack, **settings)
