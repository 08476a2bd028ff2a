"""Files imported and tokenised one by one, in any order and in several processes, end as one process would have it."""

import importlib.util
import json
import multiprocessing
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from picochat.cli import main
from picochat.datamodules.shards import Step, import_steps, token_steps
from picochat.datamodules.store import TokenStore
from picochat.datamodules.tokenise import tokens_of_corpus
from picochat.errors import UserError
from picochat.model.tokenizer import ChatTokenizer
from picochat.packs.documents import iter_documents

TEXTS = [f"Document {number} says {number * number} and no more." for number in range(40)]
FILES = {
    "a.jsonl": [*TEXTS[:9], TEXTS[3]],  # one comes twice in its file
    "b.jsonl": [*TEXTS[9:20], *TEXTS[:2]],  # two came in the first file
    "c.jsonl": [TEXTS[1], TEXTS[12]],  # nothing is new
    "d.jsonl": [*TEXTS[20:], "ünïcödé 🙂", TEXTS[30]],
}
Engine = Callable[[Step], object]


def backwards(step: Step) -> None:
    for part in random.Random(0).sample(range(step.parts), step.parts):
        step.work(part)
        if step.parts > 1:
            step.work(part)  # an engine may run a part again


def two_processes(step: Step) -> None:
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        pool.map(step.work, range(step.parts), chunksize=1)


@pytest.fixture
def shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Four files with texts in common; what one process makes of them lies in `one`."""
    monkeypatch.chdir(tmp_path)
    for name, texts in FILES.items():
        Path("shards").mkdir(exist_ok=True)
        lines = (json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in texts)
        Path("shards", name).write_text("".join(lines), encoding="utf-8")
    main(["data", "import", "--source", "shards", "--out-dir", "one"])
    main(["tok", "train", "--dataset-pack", "one/dataset_pack.json", "--vocab-size", "280", "--out", "tokenizer.json"])
    return tmp_path


def arrays(store: TokenStore) -> dict[str, bytes]:
    return {name: (store.folder / f"{name}.bin").read_bytes() for name in store.header["arrays"]}


def assert_same_as_one(made: Path) -> None:
    """The same corpus, the same tokens, found by the name that a run looks for."""
    parts = sorted((made / "corpus").glob("*.jsonl"))
    assert b"".join(part.read_bytes() for part in parts) == Path("one/corpus.jsonl").read_bytes()
    tokenizer = ChatTokenizer.load("tokenizer.json")
    one = tokens_of_corpus(Path("one/corpus.jsonl"), tokenizer, Path("one/tokens"), verify=True)
    stores = list((made / "tokens").iterdir())
    found = tokens_of_corpus(made / "corpus", tokenizer, made / "tokens", verify=True)
    assert stores == [found.folder]  # nothing was made again, and no part is left
    assert found.fingerprint == one.fingerprint
    assert found.header | {"source": ""} == one.header | {"source": ""}
    assert arrays(found) == arrays(one)


@pytest.mark.parametrize("engine", [backwards, two_processes])
def test_parts_end_as_one_process_would_have_it(shards: Path, engine: Engine) -> None:
    for step in import_steps("shards", "many"):
        engine(step)
    for step in token_steps("many/corpus", "tokenizer.json", "many"):
        engine(step)
    assert len(list(iter_documents("many/corpus"))) == len(TEXTS) + 1
    assert_same_as_one(shards / "many")
    assert sorted(path.name for path in Path("many").iterdir()) == ["corpus", "dataset_pack.json", "tokens"]
    provenance = json.loads(Path("many/dataset_pack.json").read_text("utf-8"))["provenance"]
    assert (provenance["documents"], provenance["duplicates_dropped"]) == (41, 1 + 2 + 2 + 1)
    assert [Path(one["source"]).name for one in provenance["sources"]] == list(FILES)


def test_a_run_begins_with_the_tokens_of_the_parts(shards: Path) -> None:
    from picochat.datamodules import CorpusDataModule

    for step in import_steps("shards", "many"):
        backwards(step)
    for step in token_steps("many/corpus", "tokenizer.json", "many"):
        backwards(step)
    before = {path: path.stat().st_mtime_ns for path in Path("many").rglob("*")}
    data = CorpusDataModule(dataset_pack="many/dataset_pack.json", tokenizer="tokenizer.json", context_length=32)
    data.prepare_data()
    data.setup("fit")
    assert {path: path.stat().st_mtime_ns for path in Path("many").rglob("*")} == before
    assert int(next(iter(data.train_dataloader())).step_tokens) > 100


def test_an_import_by_force_leaves_nothing_of_an_earlier_corpus_or_of_one_that_never_ended(shards: Path) -> None:
    for step in import_steps("shards", "many"):
        backwards(step)
    hashes, repeats, *_ = import_steps("shards", "many", force=True)
    for step in (hashes, repeats):
        backwards(step)
    Path("few").mkdir()
    Path("few/a.jsonl").write_text("".join(json.dumps({"text": f"new {n}"}) + "\n" for n in range(20)))
    for step in import_steps("few", "many", force=True):
        backwards(step)
    assert [document.text for document in iter_documents("many/corpus")] == [f"new {n}" for n in range(20)]
    assert json.loads(Path("many/dataset_pack.json").read_text("utf-8"))["provenance"]["duplicates_dropped"] == 0
    assert sorted(path.name for path in Path("many").iterdir()) == ["corpus", "dataset_pack.json"]


def test_an_earlier_corpus_stays_whole_until_the_new_one_is(shards: Path) -> None:
    for step in import_steps("shards", "many"):
        backwards(step)
    before = {path: path.read_bytes() for path in Path("many").rglob("*.json*")}
    Path("few").mkdir()
    Path("few/a.jsonl").write_text('{"text": "new"}\n')
    *steps, _ = import_steps("few", "many", force=True)
    for step in steps:
        backwards(step)
    assert {path: path.read_bytes() for path in before} == before


def test_what_is_there_is_not_replaced_and_missing_parts_are_told(shards: Path) -> None:
    with pytest.raises(UserError, match=r"one/dataset_pack\.json"):
        import_steps("shards", "one")
    Path("empty").mkdir()
    Path("empty/a.jsonl").write_text("\n")
    *steps, last = import_steps("empty", "none")
    for step in steps:
        backwards(step)
    with pytest.raises(UserError, match="holds no text"):
        last.work(0)
    assert not Path("none/dataset_pack.json").exists()
    for step in import_steps("shards", "many"):
        backwards(step)
    tokens, join = token_steps("many/corpus", "tokenizer.json", "many")
    tokens.work(0)
    with pytest.raises(UserError, match=r"tokens of .*00001\.jsonl are missing or damaged"):
        join.work(0)
    assert not list(Path("many/tokens").glob("corpus-*"))


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("datatrove") is None, reason="needs datatrove: picochat[shards]")
def test_the_example_does_it_with_datatrove(shards: Path) -> None:
    script = Path(__file__).parents[2] / "examples" / "many_machines.py"
    for words in (["--source", "shards"], ["--tokenizer", "tokenizer.json"]):
        command = [sys.executable, str(script), *words, "--out-dir", "many", "--workers", "2"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stderr
    assert_same_as_one(shards / "many")
