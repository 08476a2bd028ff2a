"""Damaged reports and predictions of `eval chat`: each kind through `read_eval`, one through each command."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from refusing import Refused

from picochat.cli import main
from picochat.errors import UserError
from picochat.evidence.read_back import read_eval
from picochat.model.checkpoint import save_checkpoint
from picochat.model.decoder import Decoder, DecoderConfig
from picochat.model.tokenizer import train_tokenizer

SIZE = DecoderConfig(hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=1,
                     num_key_value_heads=1, head_dim=16, vocab_size=270)  # fmt: skip
EVAL = "eval chat --input rows.jsonl --checkpoint model --device cpu --max-new-tokens 4"
COMPARE = ["eval", "compare", "one", "two", "--out-dir", "out"]
BEFORE = [*EVAL.split(), "--before", "two", "--out-dir", "out"]
DEEP = b'{"x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
AGAIN = "; two must be a folder that `eval chat` wrote: run it again"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows, a model, and what `eval chat` wrote about it."""
    folder = tmp_path_factory.mktemp("whole")
    tokenizer = train_tokenizer(["the cat sat on the mat and the dog sat on the log " * 20], 270)
    torch.manual_seed(0)
    save_checkpoint(folder / "model", Decoder(SIZE), tokenizer, {})
    rows: list[dict[str, Any]] = [
        {"answer": "4", "category": "add", "messages": [{"role": "user", "content": "2 + 2?"}]},
        {"answer": "6", "category": "add", "messages": [{"role": "user", "content": "3 + 3?"}]},
    ]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        main([*EVAL.split(), "--out-dir", "one"])
    shutil.copytree(folder / "one", folder / "two")
    return folder


@pytest.fixture
def two(whole: Path, tmp_path: Path, refused: Refused) -> Path:
    """A copy of a good evaluation, `two`, in the current directory, beside another, `one`."""
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    return tmp_path / "two"


def is_refused(says: str) -> None:
    with pytest.raises(UserError) as found:
        read_eval("two")
    assert re.search(f"{says}.*{AGAIN}", str(found.value)), found.value


def lines(two: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (two / "predictions.jsonl").read_text().splitlines()]


def write_lines(two: Path, rows: list[dict[str, Any]]) -> None:
    (two / "predictions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_what_is_not_damaged_is_compared_though_a_reply_holds_nul(
    two: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = lines(two)
    write_lines(two, [{**first, "reply": "a\x00b", "passed": True, "reasons": []}, second])
    main(COMPARE)
    assert "overall" in capsys.readouterr().out
    assert json.loads(Path("out/comparison.json").read_text())["flips"][0]["reply_b"] == "a\x00b"
    assert "\x00" not in Path("out/comparison.html").read_text()


@pytest.mark.parametrize("words", [COMPARE, BEFORE], ids=["compare", "before"])
def test_each_command_refuses_a_damaged_evaluation_before_it_does_anything(
    words: list[str], two: Path, refused: Refused
) -> None:
    (two / "eval_report.json").write_bytes(b'{"kind":\n')
    refused(*words, says=f"eval_report.json:2: is not JSON.*{AGAIN}")


REPORTS: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "eval_report.json:1: is not JSON"),
    "a list": (b"[]", "eval_report.json: holds a list; an object is expected"),
    "Latin-1": (b'{"kind": "\xe9"}', "eval_report.json:1: is not UTF-8"),
    "deep": (DEEP, "eval_report.json:1: is nested too deeply"),
    "5,000 digits": (b'{"x": ' + b"9" * 5000 + b"}", "eval_report.json:1: holds a number of 5,000 digits"),
    "a key twice": (b'{"kind": "eval chat", "kind": "x"}', "has the key 'kind' twice"),
    "NaN": (b'{"overall": NaN}', "holds NaN"),
    "nothing": (b"{}", "eval_report.json: kind is missing"),
}


@pytest.mark.parametrize("case", REPORTS)
def test_a_report_that_is_none_is_refused(case: str, two: Path) -> None:
    content, says = REPORTS[case]
    (two / "eval_report.json").write_bytes(content)
    is_refused(says)


PLACES = ["kind", "pack", "pack.path", "pack.sha256", "pack.rows", "model", "model.folder", "model.sha256",
          "model.provenance", "settings", "settings.temperature", "settings.seed"]  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
def test_a_report_with_a_field_gone_or_of_another_kind_is_refused(place: str, two: Path) -> None:
    good = (two / "eval_report.json").read_text()
    *path, name = place.split(".")
    for other in (None, [], [True, True], {"x": 1}, True):
        if place == "model.provenance" and other == {"x": 1}:
            continue
        report = json.loads(good)
        (report[path[0]] if path else report)[name] = other
        (two / "eval_report.json").write_text(json.dumps(report))
        is_refused(rf"two/eval_report.json: {path[0] if path else name}")


@pytest.mark.parametrize(
    ("place", "value", "says"),
    [
        ("kind", "eval sft-fit", "is a report of another kind, 'eval sft-fit'"),
        ("pack.rows", 3, "two/predictions.jsonl holds 2 replies, and the report is of 3"),
        ("pack.rows", -2, "two/predictions.jsonl holds 2 replies, and the report is of -2"),
    ],
)
def test_a_report_of_something_else_is_refused(place: str, value: object, says: str, two: Path) -> None:
    report = json.loads((two / "eval_report.json").read_text())
    *path, name = place.split(".")
    (report[path[0]] if path else report)[name] = value
    (two / "eval_report.json").write_text(json.dumps(report))
    is_refused(says)


LINES: dict[str, tuple[bytes, str]] = {  # in place of the second of two predictions
    "cut short": (b'{"index": 1, "id"', "is not JSON"),
    "a list": (b"[]", "is not a prediction of this version"),
    "null": (b"null", "is not a prediction of this version"),
    "Latin-1": (b'{"reply": "\xe9"}', "is not UTF-8"),
    "deep": (DEEP, "is nested too deeply"),
    "infinity": (b'{"steps_correct": Infinity}', "holds Infinity"),
    "half of a pair": (b'{"reply": "\\ud800"}', "holds half of a surrogate pair"),
    "other fields": (b'{"index": 1}', "is not a prediction of this version"),
}


@pytest.mark.parametrize("case", LINES)
def test_a_prediction_that_is_none_is_refused_by_its_line(case: str, two: Path) -> None:
    content, says = LINES[case]
    first = (two / "predictions.jsonl").read_bytes().split(b"\n")[0]
    (two / "predictions.jsonl").write_bytes(first + b"\n" + content + b"\n")
    is_refused(f"two/predictions.jsonl:2: {says}")


WRONG: dict[str, list[object]] = {
    "index": ["1", True, 1.0, None],
    "id": [1, [], True],
    "prompt": [None, 1, ["x"]],
    "reply": [None, 1, {}],
    "raw_reply": [1, []],
    "expected": [1, []],
    "passed": ["yes", 1, None],
    "reasons": ["empty", None, [1], {}],
    "candidate": [4, []],
    "steps_correct": ["1", True, []],
    "answerable": ["yes", 1],
    "choice_scores": [[], {"A": "likely"}, 1],
    "tags": [[], {"category": 1}, {"category": ["add"]}, None],
}


@pytest.mark.parametrize("field", WRONG)
def test_a_prediction_whose_field_is_of_another_kind_is_refused(field: str, two: Path) -> None:
    first, second = lines(two)
    assert first.keys() == WRONG.keys()
    for other in WRONG[field]:
        write_lines(two, [first, {**second, field: other}])
        is_refused(f"two/predictions.jsonl:2: '{field}' is of another kind")


def test_predictions_out_of_order_twice_or_lost_are_refused(two: Path) -> None:
    first, second = lines(two)
    for rows, says in (
        ([second, first], "predictions.jsonl:1: 'index' is 1, not 0"),
        ([first, first], "predictions.jsonl:2: 'index' is 0, not 1"),
        ([first], "predictions.jsonl holds 1 replies, and the report is of 2"),
        ([], "predictions.jsonl holds 0 replies"),
    ):
        write_lines(two, rows)
        is_refused(says)


@pytest.mark.parametrize("name", ["eval_report.json", "predictions.jsonl"])
def test_a_missing_file_or_a_folder_in_its_place_is_refused(name: str, two: Path) -> None:
    (two / name).unlink()
    is_refused(f"cannot read two/{name}: No such file or directory")
    (two / name).mkdir()
    is_refused(f"cannot read two/{name}: Is a directory")
    shutil.rmtree(two)
    is_refused("cannot read two/eval_report.json: ")


def test_rows_that_are_gone_are_refused_before_anything_is_compared_with_them(two: Path, refused: Refused) -> None:
    Path("rows.jsonl").unlink()
    refused(*BEFORE, says=r"cannot read rows.jsonl: No such file or directory")
