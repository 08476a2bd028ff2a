"""examples/many_machines.py: files done one by one, in any order and in several processes, end as one process ends."""

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
from picochat.datamodules import CorpusDataModule
from picochat.datamodules.tokenise import tokens_of_corpus
from picochat.model.tokenizer import ChatTokenizer

EXAMPLES = Path(__file__).parents[2] / "examples"
sys.path.append(str(EXAMPLES))
from many_machines import Step, import_steps, token_steps  # noqa: E402

TEXTS = [f"Document {number} says {number * number} and no more." for number in range(40)]
FILES = {
    "a.jsonl": [*TEXTS[:9], TEXTS[3]],  # one comes twice in its file
    "b.jsonl": [*TEXTS[9:20], *TEXTS[:2]],  # two came in the first file
    "c.jsonl": [TEXTS[1], TEXTS[12]],  # nothing is new
    "d.jsonl": [*TEXTS[20:], "ünïcödé 🙂", TEXTS[30]],
}


def backwards(step: Step) -> None:
    for part in random.Random(0).sample(range(step.parts), step.parts):
        step.work(part)
        if step.parts > 1:
            step.work(part)  # an engine may run a part again


def two_processes(step: Step) -> None:
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        pool.map(step.work, range(step.parts), chunksize=1)


def write(folder: str, files: dict[str, list[str]]) -> None:
    for name, texts in files.items():
        Path(folder).mkdir(exist_ok=True)
        lines = (json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in texts)
        Path(folder, name).write_text("".join(lines), encoding="utf-8")


@pytest.fixture
def shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Four files with texts in common; what one process makes of them lies in `one`."""
    monkeypatch.chdir(tmp_path)
    write("shards", FILES)
    main(["data", "import", "--source", "shards", "--out-dir", "one"])
    main(["tok", "train", "--dataset-pack", "one/dataset_pack.json", "--vocab-size", "280", "--out", "tokenizer.json"])
    return tmp_path


def assert_same_as_one(made: Path) -> None:
    """The same corpus, the same tokens, found by the name that a run looks for."""
    parts = sorted((made / "corpus").glob("*.jsonl"))
    assert b"".join(part.read_bytes() for part in parts) == Path("one/corpus.jsonl").read_bytes()
    tokenizer = ChatTokenizer.load("tokenizer.json")
    one = tokens_of_corpus(Path("one/corpus.jsonl"), tokenizer, Path("one/tokens"), verify=True)
    stores = list((made / "tokens").iterdir())
    found = tokens_of_corpus(made / "corpus", tokenizer, made / "tokens", verify=True)
    assert stores == [found.folder]  # nothing was made again, and no part is left
    assert found.header | {"source": ""} == one.header | {"source": ""}  # with the sha256 of every array


@pytest.mark.parametrize("engine", [backwards, two_processes])
def test_parts_end_as_one_process_does_and_a_run_begins_with_their_tokens(
    shards: Path, engine: Callable[[Step], object]
) -> None:
    for step in import_steps("shards", "many"):
        engine(step)
    for step in token_steps("many/corpus", "tokenizer.json", "many"):
        engine(step)
    assert_same_as_one(shards / "many")
    assert sorted(path.name for path in Path("many").iterdir()) == ["corpus", "dataset_pack.json", "tokens"]
    provenance = json.loads(Path("many/dataset_pack.json").read_text("utf-8"))["provenance"]
    assert (provenance["documents"], provenance["duplicates_dropped"]) == (41, 1 + 2 + 2 + 1)
    assert [Path(one["source"]).name for one in provenance["sources"]] == list(FILES)
    before = {path: path.stat().st_mtime_ns for path in Path("many").rglob("*")}
    data = CorpusDataModule(dataset_pack="many/dataset_pack.json", tokenizer="tokenizer.json", context_length=32)
    data.prepare_data()
    data.setup("fit")
    assert {path: path.stat().st_mtime_ns for path in Path("many").rglob("*")} == before
    assert int(next(iter(data.train_dataloader())).step_tokens) > 100


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("datatrove") is None, reason="needs datatrove: picochat[shards]")
def test_the_example_does_it_with_datatrove(shards: Path) -> None:
    for words in (["--source", "shards"], ["--tokenizer", "tokenizer.json"]):
        command = [sys.executable, str(EXAMPLES / "many_machines.py"), *words, "--out-dir", "many", "--workers", "2"]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    assert_same_as_one(shards / "many")
