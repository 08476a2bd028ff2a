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
from picochat.commands.plan import prepared
from picochat.datamodules import CapabilityDataModule, ChatDataModule, tokenise
from picochat.errors import UserError
from picochat.packs import formats
from picochat.packs.formats import Reading, iter_rows
from picochat.packs.quotas import split_hash


def ready(settings: dict[str, Any], **more: Any) -> ChatDataModule:
    return prepared(ChatDataModule(**{"batch_size": 4, "context_length": 128, **settings, **more}))


@pytest.mark.parametrize(
    ("settings", "lanes", "quotas"),
    [
        ({"block_size": 200}, ["add", "identity", "spell"], [100, 40, 60]),  # 100, 16 and 36 rows: roots 10 : 4 : 6
        (
            {"block_size": 152, "sampling_tag": "mixture_component", "sampling": "uniform"},
            ["anchor", "skills"],
            [16, 136],
        ),
    ],
)
def test_lanes_get_the_quotas_of_their_tag_and_sampling(
    files: dict[str, str], settings: dict[str, Any], lanes: list[str], quotas: list[int]
) -> None:
    dm = ready(files, val_fraction=0, **settings)
    assert (dm.lanes, dm.plan.quotas.tolist()) == (lanes, quotas)


def test_the_eval_rows_have_no_say_in_the_training_stream(files: dict[str, str], tmp_path: Path) -> None:
    rows = [eval_row("a lane of its own", n, 3) for n in range(9)]  # by its name it would come before all others
    alone = ready({name: value for name, value in files.items() if name != "eval_input"})
    beside = ready({**files, "eval_input": str(write_jsonl(tmp_path / "eval.jsonl", rows))})
    assert alone.lanes == ["add", "identity", "spell"]
    assert beside.lanes == ["add", "identity", "spell", "a lane of its own"]
    assert "a lane of its own" not in beside.describe()
    assert alone.plan.block(0).bins.order.tolist() == beside.plan.block(0).bins.order.tolist()
    assert alone.plan.fingerprint == beside.plan.fingerprint


@pytest.mark.parametrize("keyed", [True, False])
def test_no_problem_is_on_both_sides(files: dict[str, str], tmp_path: Path, keyed: bool) -> None:
    rows = [chat_row("add", number % 400, 1 + number // 400) for number in range(4000)]  # ten phrasings a problem
    for row in rows:
        row["key"] = row["key"] if keyed else None  # then what a row asks is its problem
    dm = ready({**files, "chat_input": str(write_jsonl(tmp_path / "chat.jsonl", rows))}, val_fraction=0.25)
    train, val = ({index % 400 for index in side.rows.tolist()} for side in (dm._train, dm._evaluations["val"]))
    assert train | val == set(range(400))
    assert not train & val
    assert 65 <= len(val) <= 135  # a quarter of 400, four standard deviations either way
    assert len(dm._train) == 10 * len(train)


def test_validation_takes_problems_of_every_lane_of_a_task_pack(files: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "dataset_pack.json").write_text("{}")
    settings = {"dataset_pack": str(tmp_path), "tokenizer": files["tokenizer"], "sft_rows": 2400, "eval_rows": 320}
    dm = prepared(CapabilityDataModule(**settings, val_fraction=0.1))  # type: ignore[arg-type]
    of_lane = np.bincount(dm._evaluations["val"].lanes, minlength=len(dm.lanes))
    assert len(dm.lanes) == 11
    assert (of_lane > 0).all()  # none, had it hashed keys as the pack does: the pack keeps all of those for evaluation


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
    assert len(ready(files, val_fraction=1e-9)._evaluations["val"]) == 1  # a tiny set still holds out a problem
    assert ready({**files, "eval_input": None}, val_fraction=0).val_dataloader() == []


def test_a_problem_that_fits_is_held_out_where_the_one_that_would_be_does_not(
    files: dict[str, str], tmp_path: Path
) -> None:
    first = min(range(6), key=lambda n: split_hash(f"add:{n}", "validation"))
    rows = [chat_row("add", n, 400 if n == first else 3) for n in range(6)]
    chat = str(write_jsonl(tmp_path / "chat.jsonl", rows))
    dm = ready({**files, "chat_input": chat}, val_fraction=1e-9, on_long="drop")
    assert (len(dm._train), len(dm._evaluations["val"])) == (4, 1)


def test_eval_rows_that_are_edited_between_two_fits_are_read_again(files: dict[str, str], tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "eval.jsonl", [eval_row("add", n, 3) for n in range(9)])
    settings = {**files, "eval_input": str(path), "work_dir": str(tmp_path)}
    dm = ready(settings)
    write_jsonl(path, [eval_row("add", n, 3) for n in range(5)])
    dm.prepare_data()
    dm.setup("fit")
    assert len(dm.eval_rows) == len(dm._evaluations["eval"]) == len(ready(settings)._evaluations["eval"]) == 5


def test_test_measures_and_predict_asks_the_eval_rows(files: dict[str, str]) -> None:
    dm = ready(files)
    assert sum(int(batch.document_ids.max(dim=1).values.sum()) for batch in dm.test_dataloader()) == 20
    asked = [row for rows in dm.predict_dataloader() for row in rows]
    assert [row["key"] for row in asked] == [f"add:{number}" for number in range(1000, 1020)]
    with pytest.raises(UserError, match=r"data\.eval_input"):
        ready({**files, "eval_input": None}).test_dataloader()


def test_long_rows_are_refused_with_lane_and_line_or_dropped_and_counted(files: dict[str, str], tmp_path: Path) -> None:
    rows = [chat_row("add", 1, 3), chat_row("spell", 2, 400), chat_row("add", 3, 3), chat_row("spell", 4, 500)]
    path = write_jsonl(tmp_path / "chat.jsonl", rows)
    settings = {**files, "chat_input": str(path), "val_fraction": 0}
    expected = rf"2 rows do not fit .*\(spell 2; {path}:2, {path}:4\); set it to \d+, or"
    with pytest.raises(UserError, match=expected) as refused:
        ready(settings)
    needed = int(str(refused.value).split("set it to ")[1].split(",")[0])
    assert len(ready(settings, context_length=needed)._train) == 4
    with pytest.raises(UserError):
        ready(settings, context_length=needed - 1)
    dm = ready(settings, on_long="drop")
    assert (dm.dropped, len(dm._train)) == ({"spell": 2}, 2)
    assert "dropped, longer than 128: spell 2" in dm.describe()


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


def test_rows_of_one_problem_are_all_trained_on(files: dict[str, str], tmp_path: Path) -> None:
    rows = [{**chat_row("add", 1, words), "key": "add:1"} for words in (2, 3, 4)]
    dm = ready({**files, "chat_input": str(write_jsonl(tmp_path / "chat.jsonl", rows))})
    assert (len(dm._train), dm.val_names) == (3, ["eval"])


def test_a_lane_without_a_draw_is_warned_about(files: dict[str, str]) -> None:
    with pytest.warns(UserWarning, match=r"no draw for identity, spell; raise"):
        ready(files, val_fraction=0, block_size=1, sampling="category_balanced")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"val_fraction": 1.0}, "val_fraction"),
        ({"sampling_tag": "colour"}, r"data\.sampling_tag is colour; use .*category"),
        ({"sampling": "category_sqr"}, "data.sampling is category_sqr; use uniform or category_sqrt or"),
        ({"packing": "bfd"}, "data.packing is bfd; use bos_bestfit or separate"),
        ({"on_long": "cut"}, "data.on_long is cut; use error or drop"),
        ({"skill_answer_style": "brief"}, "data.skill_answer_style is brief; use direct or scratchpad"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"block_size": 0}, "block_size"),
        ({"sft_rows": 100}, r"data\.sft_rows has no effect here"),
        (
            {"chat_input": None, "profile": "release", "skill_answer_style": "direct"},
            "skill_answer_style has no effect",
        ),
        ({"profile": "release"}, r"data\.profile makes rows and data\.chat_input names some"),
        ({"tokenizer": "nowhere"}, "nowhere does not exist"),
    ],
)
def test_bad_settings_are_refused_in_one_sentence(
    files: dict[str, str], settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        ready(files, **settings)


def test_a_promoted_dataset_pack_names_the_rows(files: dict[str, str], tmp_path: Path) -> None:
    pack = tmp_path / "dataset_pack.json"
    pack.write_text(json.dumps({"name": "empty", "corpus": "corpus.jsonl"}))
    with pytest.raises(UserError, match=r"names no chat rows; give data\.chat_input, promote a task pack"):
        ready({"dataset_pack": str(pack), "tokenizer": files["tokenizer"], "chat_input": []})
    pack.write_text(json.dumps({"name": "p", "chat": files["chat_input"], "eval": files["eval_input"]}))
    dm = ready({"dataset_pack": str(pack), "tokenizer": files["tokenizer"]})
    assert np.bincount(dm.plan.lanes).sum() + len(dm._evaluations["val"]) == 152


def test_a_step_is_described_by_its_lanes_and_the_lines_of_its_rows(files: dict[str, str]) -> None:
    dm = ready(files, batch_size=1, val_fraction=0)
    said, lines = dm.describe_step(1).split("; lines ")
    lanes = [dm.lanes[lane] for lane in dm.plan.lanes[dm.plan.bins(0, 1)[0]]]
    assert said == ", ".join(f"{lanes.count(lane)} of {lane}" for lane in dm.lanes if lane in lanes)
    rows = Path(files["chat_input"]).read_text().splitlines()
    there = [json.loads(rows[int(line) - 1])["category"] for line in lines.split(", ")]
    assert sorted(there) == sorted(lanes)
    assert dm.describe_step(2) != dm.describe_step(1)


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

    for module in (tokenise, formats):  # wherever it is asked for
        monkeypatch.setattr(module, "iter_rows", counted)
    dm = ready(files, work_dir=str(tmp_path))
    trainer = Trainer(accelerator="cpu", logger=False)
    trainer.datamodule = dm  # type: ignore[attr-defined]
    metrics = BenchmarkMetrics()
    metrics.setup(trainer, LightningModule(), "fit")
    assert len(metrics._rows) == len([row for rows in dm.predict_dataloader() for row in rows]) == 20
    assert sorted(read) == ["chat", "eval"]
