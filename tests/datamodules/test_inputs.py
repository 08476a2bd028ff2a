"""Several files with shares, epochs as steps, and eval rows that training asks."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_rows import chat_row, eval_row, small_model, write_jsonl

from picochat.cli import main
from picochat.commands.plan import prepared
from picochat.datamodules import ChatDataModule
from picochat.datamodules.plan import Split
from picochat.datamodules.tokenise import Input, parse_inputs
from picochat.errors import UserError
from picochat.packs.formats import Reading


@pytest.fixture
def three(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with three files of rows, of 40, 30 and 10, without lanes of their own."""
    for name, rows in (("a", 40), ("b", 30), ("c", 10)):
        own = [{"messages": chat_row(name, n, 4)["messages"]} for n in range(rows)]
        write_jsonl(tmp_path / f"{name}.jsonl", own)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def ready(files: dict[str, str], **more: Any) -> ChatDataModule:
    settings = {"tokenizer": files["tokenizer"], "work_dir": "work", "val_fraction": 0.0, "batch_size": 4, **more}
    return prepared(ChatDataModule(context_length=128, **settings))


def test_inputs_are_parsed_and_a_file_is_what_it_is_called(three: Path) -> None:
    assert parse_inputs("a.jsonl") == [Input(Path("a.jsonl"))]
    assert parse_inputs(["a.jsonl"]) == [Input(Path("a.jsonl"))]
    assert parse_inputs(["A=0.5:a.jsonl", "b.jsonl"]) == [Input(Path("a.jsonl"), "A", 0.5), Input(Path("b.jsonl"), "b")]
    assert parse_inputs(["x/a.jsonl.gz", ".25:b.jsonl", "C=c.jsonl"]) == [
        Input(Path("x/a.jsonl.gz"), "a"),
        Input(Path("b.jsonl"), "b", 0.25),
        Input(Path("c.jsonl"), "C"),
    ]
    Path("A=0.5:a.jsonl").touch()
    assert parse_inputs("A=0.5:a.jsonl") == [Input(Path("A=0.5:a.jsonl"))]
    with pytest.raises(UserError, match=r"names two files a; call one of them NAME=SHARE:FILE"):
        parse_inputs(["a.jsonl", "x/a.jsonl"])


def test_files_get_exactly_their_shares_of_every_block(files: dict[str, str], three: Path) -> None:
    dm = ready(files, chat_input=["A=0.5:a.jsonl", "b.jsonl", "c.jsonl"], block_size=80, sampling="uniform")
    assert dm.lanes == ["A", "b", "c"]
    assert dm.plan.quotas.tolist() == [40, 30, 10]  # b and c share the other half by their rows, 30 : 10
    assert [dm._train.store.place(row) for row in (0, 39, 40, 79)] == [
        "a.jsonl:1", "a.jsonl:40", "b.jsonl:1", "c.jsonl:10"
    ]  # fmt: skip
    assert "sampling by mixture_component, shares" in dm.describe()
    places = dm.describe_step(1).split("; lines ")[1].split(", ")
    assert {place.partition(":")[0] for place in places[:5]} <= {"a.jsonl", "b.jsonl", "c.jsonl"}
    root, all_named, one, without = (
        ready(files, chat_input=["a.jsonl", "b.jsonl", "c.jsonl"], block_size=20, shares=shares)
        for shares in (None, {"a": 0.2, "b": 0.7, "c": 0.1}, {"a": 0.2}, {"b": 0})
    )
    assert root.plan.quotas.tolist() == [9, 7, 4]  # roots 6.32 : 5.48 : 3.16, of twenty 8.45, 7.32 and 4.23
    assert all_named.plan.quotas.tolist() == [4, 14, 2]
    assert one.plan.quotas.tolist() == [4, 10, 6]  # roots 5.48 : 3.16, of sixteen 10.14 and 5.86
    assert without.plan.quotas.tolist() == [13, 0, 7]  # roots 6.32 : 3.16, of twenty 13.33 and 6.67
    assert root.plan.fingerprint != all_named.plan.fingerprint
    assert without.steps_of(1, Split(1)) < root.steps_of(1, Split(1))  # an epoch of a and c alone


def test_documents_are_learnt_whole(files: dict[str, str], three: Path) -> None:
    Path("notes.jsonl").write_text('{"text": "Rain fell on the mill."}\n{"text": "It ran."}', encoding="utf-8")
    dm = ready(files, chat_input="notes.jsonl", reading=Reading(format="text"))
    store = dm._train.store
    assert store.supervised.tolist() == (np.diff(store.offsets) - 1).tolist() != []  # all but the first token


def test_a_file_of_which_no_row_is_left_is_named(files: dict[str, str], three: Path) -> None:
    write_jsonl(three / "c.jsonl", [chat_row("c", n, 400) for n in range(3)])
    with pytest.raises(UserError, match="the lane c has a share and no row left to train on"):
        ready(files, chat_input=["a.jsonl", "0.5:c.jsonl"], on_long="drop")


@pytest.mark.parametrize(
    ("shares", "message"),
    [
        ({"a": 0.5, "d": 0.5}, r"data\.shares names d.*; the lanes are a, b, c"),
        ({"a": 0.5, "b": 0.5}, r"sum to 1 with a rest for the lanes c, not to 1"),
        ({"a": 0.5, "b": 0.4, "c": 0.2}, r"sum to 1, not to 1\.1"),
        ({"a": 0.9, "b": -0.1}, r"must not be negative"),
    ],
)
def test_shares_that_cannot_be_meant_are_refused(
    files: dict[str, str], three: Path, shares: dict[str, float], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        ready(files, chat_input=["a.jsonl", "b.jsonl", "c.jsonl"], shares=shares)
    with pytest.raises(UserError, match=r"names shares of files; leave data\.shares and data\.sampling_tag out"):
        ready(files, chat_input=["0.5:a.jsonl", "b.jsonl"], shares=shares)


def test_epochs_are_the_steps_that_draw_as_many_examples(files: dict[str, str], three: Path) -> None:
    dm = ready(files, chat_input="a.jsonl", packing="separate", block_size=16)  # one example a row
    assert dm.steps_of(1, Split(4)) == 10
    assert dm.steps_of(2.5, Split(4, accumulate=2, world_size=2)) == 7  # 100 examples, 16 a step
    packed = ready(files, chat_input="a.jsonl")
    assert packed.steps_of(3, Split(1)) == sum(len(packed.plan.block(number).bins) for number in range(3))


def met(files: dict[str, str], folder: Path, **more: Any) -> ChatDataModule:
    """Forty eval rows, of which training asks 37 and nearly asks two."""
    rows = [chat_row("own", n, 3) for n in range(40)]
    for number, row in enumerate(rows):
        row["messages"][0]["content"] = f"Please tell me now, how do I get to house number {number} from the old mill?"
        del row["key"]
    asked = [{"messages": row["messages"][:1], "answer": "one"} for row in rows]
    for row in rows[37:39]:
        row["messages"] = [{"role": "user", "content": row["messages"][0]["content"][7:]}, row["messages"][1]]
    paths = [write_jsonl(folder / "train.jsonl", rows[:39]), write_jsonl(folder / "eval.jsonl", asked)]
    return ready(files, chat_input=str(paths[0]), eval_input=str(paths[1]), **more)


def test_eval_rows_that_training_asks_are_one_line_and_a_refusal(files: dict[str, str], three: Path) -> None:
    write_jsonl(three / "train.jsonl", [chat_row("own", n, 3) for n in range(9)])  # before they were edited
    write_jsonl(three / "eval.jsonl", [eval_row("own", 1, 3)])
    ready(files, chat_input=f"{three}/train.jsonl", eval_input=f"{three}/eval.jsonl")
    line = r"39 of 40 eval rows ask what training asks \(37 the same, 2 nearly; line 1 as .*train\.jsonl:1\)"
    for _ in range(2):  # compared, and found compared
        with pytest.raises(UserError, match=line + "; take them out .* or set data.allow_overlap"):
            met(files, three)
    assert f"       {three}/eval.jsonl: 39 of 40" in "\n".join(met(files, three, allow_overlap=True).summary())


def test_the_short_form_trains_epochs_and_refuses_overlap(
    files: dict[str, str], three: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    small_model(Path("base"))
    line = "train sft --input A=0.5:a.jsonl --input b.jsonl --checkpoint base --out-dir run --device cpu --batch-size 4"
    main([*line.split(), "--epochs", "2", "--context-length", "128"])
    steps = int(capsys.readouterr().out.split("2 epochs of 68 examples are ")[1].split()[0])
    assert f"max_steps: {steps}\n" in Path("run/config.yaml").read_text()
    assert "A=0.5:a.jsonl" in Path("run/config.yaml").read_text()
    assert "\nA       38     34     50.0%" in caplog.text
    asked_row = {**eval_row("a", 0, 3), "key": None, "messages": chat_row("a", 7, 3)["messages"][:1]}
    write_jsonl(three / "eval.jsonl", [asked_row])
    with pytest.raises(SystemExit) as stop:
        main([*line.replace("run", "other").split(), "--steps", "1", "--eval-input", "eval.jsonl"])
    assert stop.value.code == 2
    assert "1 of 1 eval rows ask what training asks" in (error := capsys.readouterr().err)
    assert "set --allow-overlap to train all the same" in error
    asked = "eval chat --input eval.jsonl --checkpoint run/best_checkpoint --device cpu --max-new-tokens 4"
    with pytest.raises(SystemExit):
        main([*asked.split(), "--out-dir", "out"])
    assert "eval.jsonl: 1 of 1 eval rows ask what training asks" in (error := capsys.readouterr().err)
    assert "line 1 as a.jsonl:8); take them out, or add --allow-overlap" in error
    main([*asked.split(), "--out-dir", "out", "--allow-overlap"])
    assert "eval.jsonl: 1 of 1 eval rows ask what training asks" in capsys.readouterr().out
