"""The chat datamodule: sides, lanes, over-long rows, words about the mixture, and files made when they are missing."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning import LightningModule, Trainer
from small_rows import chat_row, eval_row, write_jsonl

from picochat.callbacks import BenchmarkMetrics
from picochat.datamodules import CapabilityDataModule, ChatDataModule, ReleaseDataModule, prepare, tokenise
from picochat.errors import UserError
from picochat.model.batch import IGNORE_INDEX, Batch
from picochat.packs import formats
from picochat.packs.formats import Reading, iter_rows


def ready(settings: dict[str, Any], **more: Any) -> ChatDataModule:
    dm = ChatDataModule(**{"batch_size": 4, "context_length": 128, **settings, **more})
    dm.prepare_data()
    dm.setup("fit")
    return dm


def keys(dm: ChatDataModule, side: str) -> set[str]:
    rows = [json.loads(line) for line in Path(dm.chat_input or "").read_text().splitlines()]
    examples = dm._train if side == "train" else dm._evaluations[side]
    return {rows[index]["key"] for index in examples.rows.tolist()}


def test_every_document_begins_with_bos_and_positions_restart(files: dict[str, str]) -> None:
    dm = ready(files)
    for batch in dm.train_dataloader():
        assert isinstance(batch, Batch)
        assert batch.step_tokens == (batch.labels != IGNORE_INDEX).sum()
        starts = (batch.position_ids == 0) & (batch.document_ids > 0)
        assert (batch.input_ids[starts] == dm.chat_tokenizer.bos_id).all()
        assert starts.sum() == sum(int(row.max()) for row in batch.document_ids)
        assert (starts.sum(dim=1) > 1).any()  # packing did happen


def test_sampling_by_root_gives_lanes_ten_six_and_four_of_twenty(files: dict[str, str]) -> None:
    dm = ready(files, val_fraction=0, block_size=200)
    assert dm.lanes == ["add", "identity", "spell"]
    assert dm.plan.quotas.tolist() == [100, 40, 60]  # 100, 16 and 36 rows: roots 10 : 4 : 6


def test_sampling_goes_by_another_tag_or_alpha(files: dict[str, str]) -> None:
    dm = ready(files, val_fraction=0, block_size=152, sampling_tag="mixture_component", sampling="uniform")
    assert dm.lanes == ["anchor", "skills"]
    assert dm.plan.quotas.tolist() == [16, 136]


def test_the_eval_rows_have_no_say_in_the_training_stream(files: dict[str, str], tmp_path: Path) -> None:
    rows = [eval_row("a lane of its own", n, 3) for n in range(9)]  # by its name it would come before all others
    alone = ready({name: value for name, value in files.items() if name != "eval_input"})
    beside = ready({**files, "eval_input": str(write_jsonl(tmp_path / "eval.jsonl", rows))})
    assert alone.lanes == ["add", "identity", "spell"]
    assert beside.lanes == ["add", "identity", "spell", "a lane of its own"]
    assert alone.plan.block(0).bins.order.tolist() == beside.plan.block(0).bins.order.tolist()
    assert alone.plan.fingerprint == beside.plan.fingerprint


def test_no_problem_is_on_both_sides(files: dict[str, str], tmp_path: Path) -> None:
    rows = [chat_row("add", number % 400, 1 + number // 400) for number in range(4000)]  # ten phrasings a problem
    dm = ready({**files, "chat_input": str(write_jsonl(tmp_path / "chat.jsonl", rows))}, val_fraction=0.25)
    train, val = keys(dm, "train"), keys(dm, "val")
    assert train | val == {f"add:{number}" for number in range(400)}
    assert not train & val
    assert 65 <= len(val) <= 135  # a quarter of 400, four standard deviations either way
    assert len(dm._train) == 10 * len(train)


def test_validation_takes_problems_of_every_lane_of_a_task_pack(files: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "dataset_pack.json").write_text("{}")
    settings = {"dataset_pack": str(tmp_path), "tokenizer": files["tokenizer"], "sft_rows": 2400, "eval_rows": 320}
    dm = CapabilityDataModule(**settings, val_fraction=0.1)  # type: ignore[arg-type]
    dm.prepare_data()
    dm.setup("fit")
    of_lane = np.bincount(dm._evaluations["val"].lanes, minlength=len(dm.lanes))
    assert len(dm.lanes) == 11
    assert (of_lane > 0).all()  # none, had it hashed keys as the pack does: the pack keeps all of those for evaluation


def test_rows_without_a_key_are_split_by_what_they_ask(files: dict[str, str], tmp_path: Path) -> None:
    rows = [chat_row("add", number % 30, 1 + number // 30) for number in range(120)]
    for row in rows:
        del row["key"]
    dm = ready({**files, "chat_input": str(write_jsonl(tmp_path / "chat.jsonl", rows))}, val_fraction=0.25)
    numbers = {name: set((side.rows % 30).tolist()) for name, side in (("train", dm._train), *dm._evaluations.items())}
    assert numbers["val"]
    assert not numbers["train"] & numbers["val"]


def test_validation_covers_both_sides_whole_and_in_the_same_order(files: dict[str, str]) -> None:
    dm = ready(files, val_fraction=0.2)
    assert dm.val_names == ["val", "eval"]
    for name, loader in zip(dm.val_names, dm.val_dataloader(), strict=True):
        first, second = list(loader), list(loader)
        assert len(first) == len(loader)
        assert all(torch.equal(a.input_ids, b.input_ids) for a, b in zip(first, second, strict=True))
        assert sum(int(batch.document_ids.max(dim=1).values.sum()) for batch in first) == len(dm._evaluations[name])
        assert sum(int(batch.step_tokens) for batch in first) == dm._evaluations[name].supervised.sum()
    assert len(dm._evaluations["eval"]) == 20
    assert ready(files, val_fraction=0).val_names == ["eval"]
    assert len(keys(ready(files, val_fraction=1e-9), "val")) == 1  # a tiny set still holds out a problem
    assert ready({**files, "eval_input": None}, val_fraction=0).val_dataloader() == []


def test_test_measures_and_predict_asks_the_eval_rows(files: dict[str, str]) -> None:
    dm = ready(files)
    assert sum(int(batch.document_ids.max(dim=1).values.sum()) for batch in dm.test_dataloader()) == 20
    asked = [row for rows in dm.predict_dataloader() for row in rows]
    assert [row["key"] for row in asked] == [f"add:{number}" for number in range(1000, 1020)]
    with pytest.raises(UserError, match=r"data\.eval_input"):
        ready({**files, "eval_input": None}).test_dataloader()


def test_long_rows_are_refused_with_lane_and_line(files: dict[str, str], tmp_path: Path) -> None:
    rows = [chat_row("add", 1, 3), chat_row("spell", 2, 400), chat_row("add", 3, 3), chat_row("spell", 4, 500)]
    path = write_jsonl(tmp_path / "chat.jsonl", rows)
    settings = {**files, "chat_input": str(path)}
    expected = rf"2 rows do not fit .*\(spell 2; {path}:2, {path}:4\); set it to \d+, or"
    with pytest.raises(UserError, match=expected) as refused:
        ready(settings, val_fraction=0)
    needed = int(str(refused.value).split("set it to ")[1].split(",")[0])
    assert len(ready(settings, val_fraction=0, context_length=needed)._train) == 4
    with pytest.raises(UserError):
        ready(settings, val_fraction=0, context_length=needed - 1)


def test_dropping_long_rows_is_told(files: dict[str, str], tmp_path: Path) -> None:
    rows = [chat_row("add", 1, 3), chat_row("spell", 2, 400), chat_row("add", 3, 3)]
    settings = {**files, "chat_input": str(write_jsonl(tmp_path / "chat.jsonl", rows))}
    dm = ready(settings, val_fraction=0, on_long="drop")
    assert dm.dropped == {"spell": 1}
    assert len(dm._train) == 2
    assert "dropped, longer than 128: spell 1" in dm.describe()


def test_describe_shows_rows_quota_and_realised_shares(files: dict[str, str]) -> None:
    dm = ready(files, val_fraction=0, block_size=200)
    table = dm.describe().splitlines()[-4:]
    assert [line.split()[:4] for line in table] == [
        ["lane", "rows", "drawn", "examples"],
        ["add", "100", "100", "50.0%"],
        ["identity", "16", "40", "20.0%"],
        ["spell", "36", "60", "30.0%"],
    ]
    block = dm.plan.block(0).bins.order
    spelling = block[dm.plan.lanes[block] == 2]
    tokens = dm.plan.supervised[spelling].sum() / dm.plan.supervised[block].sum()
    assert table[3].split()[4] == f"{tokens:.1%}"
    assert tokens > 0.5  # long answers: a share of examples is not a share of tokens


def test_the_mixture_leaves_out_lanes_of_eval_rows_alone(files: dict[str, str], tmp_path: Path) -> None:
    row = {name: value for name, value in eval_row("add", 1, 3).items() if name != "category"}
    dm = ready({**files, "eval_input": str(write_jsonl(tmp_path / "eval.jsonl", [row]))})
    assert dm.lanes == ["add", "identity", "spell", "untagged"]
    assert "untagged" not in dm.describe()


def test_rows_of_one_problem_are_all_trained_on(files: dict[str, str], tmp_path: Path) -> None:
    rows = [{**chat_row("add", 1, words), "key": "add:1"} for words in (2, 3, 4)]
    dm = ready({**files, "chat_input": str(write_jsonl(tmp_path / "chat.jsonl", rows))})
    assert (len(dm._train), dm.val_names) == (3, ["eval"])
    assert "all rows ask the same: none is held out for validation" in dm.describe()


def test_a_lane_without_a_draw_is_warned_about(files: dict[str, str]) -> None:
    with pytest.warns(UserWarning, match=r"no draw for identity \(16 rows\), spell \(36 rows\); raise"):
        ready(files, val_fraction=0, block_size=1, sampling="category_balanced")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"val_fraction": 1.0}, "val_fraction"),
        ({"sampling_tag": "colour"}, "sampling_tag must be one of .*category"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"block_size": 0}, "block_size"),
        ({"sft_rows": 100}, r"data\.sft_rows has no effect here: the rows of data\.chat_input are made"),
        ({"tokenizer": "nowhere"}, "nowhere does not exist"),
        ({"chat_input": "missing.jsonl"}, r"cannot read missing\.jsonl"),
    ],
)
def test_bad_settings_are_refused_in_one_sentence(
    files: dict[str, str], settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        ready(files, **settings)


def test_a_profile_refuses_a_setting_that_it_does_not_use() -> None:
    with pytest.raises(UserError, match=r"skill_answer_style has no effect here: ReleaseDataModule makes no"):
        ReleaseDataModule(skill_answer_style="direct")
    CapabilityDataModule(skill_answer_style="direct")
    with pytest.raises(UserError, match=r"data\.source has no effect"):
        CapabilityDataModule(source="hub")


def test_a_promoted_dataset_pack_names_the_rows(files: dict[str, str], tmp_path: Path) -> None:
    pack = tmp_path / "dataset_pack.json"
    pack.write_text(json.dumps({"name": "empty", "corpus": "corpus.jsonl"}))
    with pytest.raises(UserError, match=r"names no chat rows; give data\.chat_input, promote a task pack"):
        ready({"dataset_pack": str(pack), "tokenizer": files["tokenizer"]})
    pack.write_text(json.dumps({"name": "p", "chat": files["chat_input"], "eval": files["eval_input"]}))
    dm = ready({"dataset_pack": str(pack), "tokenizer": files["tokenizer"]})
    assert np.bincount(dm.plan.lanes).sum() + len(dm._evaluations["val"]) == 152


def test_a_step_is_described_by_its_lanes_and_the_lines_of_its_rows(files: dict[str, str]) -> None:
    dm = ready(files, batch_size=1, val_fraction=0)
    said = dm.describe_step(1)
    members = dm.plan.bins(0, 1)[0]
    lanes = [dm.lanes[lane] for lane in dm.plan.lanes[members]]
    assert said.startswith(", ".join(f"{lanes.count(lane)} of {lane}" for lane in dm.lanes if lane in lanes))
    lines = sorted({int(line) for line in said.partition("; lines ")[2].split(", ")})
    keys_there = [
        json.loads(Path(dm.chat_input or "").read_text().splitlines()[line - 1])["category"] for line in lines
    ]
    assert sorted(keys_there) == sorted(lanes)
    assert dm.describe_step(2) != said


def test_turns_and_rows_of_weight_0_are_not_learnt_and_that_is_said(files: dict[str, str], tmp_path: Path) -> None:
    asked, said = {"role": "user", "content": "2 + 2?"}, {"role": "assistant", "content": "4"}
    rows = [
        {"messages": [asked, {**said, "train": False}, asked, said]},
        {"messages": [asked, said], "weight": 0.0},
        {"messages": [asked, {**said, "content": ""}]},
        {"prompt": "", "completion": "4</s>"},
    ]
    chat = str(write_jsonl(tmp_path / "rows.jsonl", rows))
    with pytest.raises(UserError, match=r"rows.jsonl:3: messages\[1\]: the assistant turn is empty"):
        ready({**files, "chat_input": chat}, val_fraction=0)
    dm = ready({**files, "chat_input": chat}, val_fraction=0, reading=Reading(on_bad="drop", strip_control=True))
    four = len(dm.chat_tokenizer.encode("4")) + 1  # and the end of the turn, or of the document
    assert sorted(dm._train.supervised.tolist()) == [four, four]
    description = dm.describe()
    for line in ("rows dropped, not in order: 1", "no turn is learnt (weight 0): 1", "</s> 1 (taken out)"):
        assert line in description
    dm = ready({**files, "chat_input": chat}, val_fraction=0, reading=Reading(on_bad="drop"))
    assert "</s> 1 (read as text" in dm.describe()  # another reading, another store
    with pytest.raises(UserError, match=r"zero.jsonl: holds no rows \(rows of which no turn is learnt"):
        ready({**files, "chat_input": str(write_jsonl(tmp_path / "zero.jsonl", rows[1:2]))})


def test_eval_rows_are_read_once_for_tokens_metrics_and_predictions(
    files: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []

    def counted(path: Path, kind: str, *rest: Any, **more: Any) -> Any:
        read.append(kind)  # when the first row is asked for, as a generator does
        yield from iter_rows(path, kind, *rest, **more)  # type: ignore[arg-type]

    for module in (prepare, tokenise, formats):  # wherever it is asked for
        monkeypatch.setattr(module, "iter_rows", counted)
    dm = ready(files, work_dir=str(tmp_path))
    trainer = Trainer(accelerator="cpu", logger=False)
    trainer.datamodule = dm  # type: ignore[attr-defined]
    metrics = BenchmarkMetrics()
    metrics.setup(trainer, LightningModule(), "fit")
    assert len(metrics._rows) == len([row for rows in dm.predict_dataloader() for row in rows]) == 20
    assert sorted(read) == ["chat", "eval"]
