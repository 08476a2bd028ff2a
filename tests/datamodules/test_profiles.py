"""The profiles' datamodules with nothing prepared: they make corpus, tokenizer and task pack, once."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from forked import Forked
from small_rows import chat_row, write_jsonl

from picochat.commands.plan import prepared
from picochat.datamodules import BenchmarkDataModule, CapabilityDataModule, ChatDataModule, ReleaseDataModule
from picochat.datamodules.prepare import ensure_dataset_pack
from picochat.errors import UserError
from picochat.packs.corpus import import_corpus


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two thousand stories; the tokenizer is learnt by the first test that needs it."""
    return import_corpus("stories", tmp_path_factory.mktemp("pack"), documents=2000).path


def ready(datamodule: type[ChatDataModule], pack: Path, folder: Path, **more: Any) -> ChatDataModule:
    settings = {"sft_rows": 64, "eval_rows": 32, **more}
    return prepared(datamodule(dataset_pack=str(pack), work_dir=str(folder), batch_size=2, **settings))


def test_nothing_prepared_is_enough(cache_folder: Path) -> None:
    dm = prepared(CapabilityDataModule())
    batch = next(iter(dm.train_dataloader()))
    assert tuple(batch.input_ids.shape) == (16, 256)
    assert {"corpus.jsonl", "dataset_pack.json", "tokenizer.json"} <= {file.name for file in cache_folder.iterdir()}
    assert len(dm._train) + len(dm._evaluations["val"]) == 1600
    assert len(dm._evaluations["eval"]) == 320


@pytest.mark.parametrize(
    ("profile", "lanes"),
    [
        (ReleaseDataModule, ["identity", "refusal"]),
        (BenchmarkDataModule, ["bench_choice_science", "bench_spelling_spaced", "identity", "refusal"]),
    ],
)
def test_a_profile_makes_its_lanes_in_the_work_dir(
    profile: type[ChatDataModule], lanes: list[str], pack: Path, tmp_path: Path
) -> None:
    dm = ready(profile, pack, tmp_path)
    assert set(lanes) <= set(dm.lanes)
    assert dm.val_names == ["val", "eval"]
    names = ("chat_{}.jsonl", "eval_{}.jsonl", "{}.json", "{}.md", "tokens")
    assert {path.name for path in tmp_path.iterdir()} == {
        name.format(f"task_mixture_{profile.profile}") for name in names
    }
    assert "chat" not in json.loads(pack.read_text())  # the user's dataset pack is not promoted behind their back


def test_a_pack_that_is_there_is_taken_as_it_is_and_refused_if_it_is_not_what_is_meant(
    pack: Path, tmp_path: Path
) -> None:
    ready(CapabilityDataModule, pack, tmp_path)
    chat, rows, report = (
        tmp_path / f"{name}task_mixture_capability.json{end}"
        for name, end in (("chat_", "l"), ("eval_", "l"), ("", ""))
    )
    before = chat.stat().st_mtime_ns
    ready(CapabilityDataModule, pack, tmp_path)
    ready(CapabilityDataModule, pack, tmp_path, sft_rows=None, eval_rows=None)
    assert chat.stat().st_mtime_ns == before
    with pytest.raises(UserError, match=r"made with other settings or files \(sft_rows\); delete it, choose another"):
        ready(CapabilityDataModule, pack, tmp_path, sft_rows=80)
    # as after a kill between two renames: new rows beside an older report, or beside none
    rows.write_text("".join(rows.read_text().splitlines(keepends=True)[:-1]))
    for remove in (None, report, rows):
        if remove:
            remove.unlink()
        with pytest.raises(UserError, match=r"holds rows that no report names; delete it"):
            ready(CapabilityDataModule, pack, tmp_path)


def test_runs_that_share_the_cache_train_on_their_own_packs(
    pack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(pack.parent, tmp_path, dirs_exist_ok=True)
    monkeypatch.setenv("PICOCHAT_CACHE", str(tmp_path))
    runs = [ReleaseDataModule(sft_rows=rows, eval_rows=16) for rows in (40, 41, 40)]
    for dm in runs:
        dm.prepare_data()
    for dm in runs:
        dm.setup("fit")
    first, second, again = (dm._train.store.fingerprint for dm in runs)
    assert first == again != second
    assert len(runs[0]._train) + len(runs[0]._evaluations["val"]) == 40


def test_two_processes_that_find_nothing_make_it_once(tmp_path: Path) -> None:
    pack = tmp_path / "data" / "dataset_pack.json"
    both = [Forked(ensure_dataset_pack, pack, output=tmp_path / f"output {n}") for n in range(2)]
    assert [one.end() for one in both] == [0, 0], [one.printed() for one in both]
    assert {path.name for path in pack.parent.iterdir()} == {"corpus.jsonl", "dataset_pack.json"}


def test_a_contaminated_pack_is_not_trained_on(pack: Path, tmp_path: Path) -> None:
    ready(CapabilityDataModule, pack, tmp_path / "clean")
    rows = (tmp_path / "clean/eval_task_mixture_capability.jsonl").read_text().splitlines()
    prompts = [json.loads(row)["messages"][0]["content"] for row in rows]
    (tmp_path / "corpus.txt").write_text(max(prompts, key=lambda prompt: len(prompt.split())))
    (tmp_path / "dataset_pack.json").write_text('{"corpus": "corpus.txt"}')
    tokenizer = str(pack.parent / "tokenizer.json")
    for _ in range(2):  # when it is made, and when it is found
        with pytest.raises(UserError, match=r"holds a task pack whose eval rows occur in .* the corpus; see .*\.md"):
            ready(CapabilityDataModule, tmp_path / "dataset_pack.json", tmp_path / "met", tokenizer=tokenizer)


def test_a_dataset_pack_that_is_named_by_its_folder_keeps_its_files_there(
    pack: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PICOCHAT_CACHE")
    monkeypatch.setattr(Path, "home", None)  # as for a container's user, who has none
    by_folder, by_file = ReleaseDataModule(dataset_pack=str(pack.parent)), ReleaseDataModule(dataset_pack=str(pack))
    assert by_folder.pack_path == by_file.pack_path == pack
    assert by_folder.tokenizer_path == by_file.tokenizer_path == pack.parent / "tokenizer.json"
    assert by_folder.work_dir == by_file.work_dir == pack.parent


def test_a_profile_takes_rows_from_a_file_instead(pack: Path, tmp_path: Path) -> None:
    rows = write_jsonl(tmp_path / "rows.jsonl", [chat_row("add", number, 3) for number in range(20)])
    dm = ready(CapabilityDataModule, pack, tmp_path / "work", chat_input=str(rows), sft_rows=None, eval_rows=None)
    assert (dm.lanes, dm.val_names) == (["add"], ["val"])


def test_a_mixture_file_is_a_profile_and_its_files_are_watched(pack: Path, tmp_path: Path) -> None:
    rows = write_jsonl(tmp_path / "rows.jsonl", [chat_row("own", number, 3) for number in range(100)])
    lanes = "{own: {share: 0.5, file: rows.jsonl, check: {max_words: 9}}, identity: 0.5}"
    (tmp_path / "mine.yaml").write_text(
        f"components:\n  - {{name: a, weight: 1, benchmark_profile: b, answer_style: direct, lanes: {lanes}}}\n"
    )
    mixture = str(tmp_path / "mine.yaml")
    dm = ready(ChatDataModule, pack, tmp_path / "work", profile=mixture, val_fraction=0.0)
    counts = dict(zip(dm.lanes, dm.plan.counts.tolist(), strict=True))
    assert counts == {"own": 32, "identity": 32}
    with pytest.raises(UserError, match=r"data\.skill_answer_style has no effect here"):
        ChatDataModule(profile=mixture, skill_answer_style="direct")
    write_jsonl(rows, [chat_row("own", number, 3) for number in range(101)])
    with pytest.raises(UserError, match=r"a task pack made with other settings or files \(mixture\); delete it"):
        ready(ChatDataModule, pack, tmp_path / "work", profile=mixture)
