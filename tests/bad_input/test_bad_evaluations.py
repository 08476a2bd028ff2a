"""Damaged reports and predictions of `eval chat`: each kind through `read_eval`, one through each command."""

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from refusing import Refused
from small_rows import small_model

from picochat.cli import main
from picochat.errors import UserError
from picochat.evidence.eval_report import eval_json, eval_report
from picochat.evidence.evaluation import read_eval
from picochat.evidence.report import write_report

EVAL = "eval chat --input rows.jsonl --checkpoint model --device cpu --max-new-tokens 4"
COMPARE = ["eval", "compare", "one", "two", "--out-dir", "out"]
BEFORE = [*EVAL.split(), "--before", "two", "--out-dir", "out"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows, a model, and what `eval chat` wrote about it."""
    folder = tmp_path_factory.mktemp("whole")
    small_model(folder / "model")
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
    assert re.search(says, str(found.value)), found.value


def test_a_reply_that_holds_nul_is_compared(two: Path, capsys: pytest.CaptureFixture[str]) -> None:
    evaluation = read_eval("two")
    first, second = evaluation.predictions
    spoilt = replace(evaluation, predictions=[replace(first, reply="a\x00b", passed=True, reasons=()), second])
    write_report("two", "eval_report", eval_report(spoilt), eval_json(spoilt), spoilt.predictions)
    main(COMPARE)
    assert "overall" in capsys.readouterr().out
    assert json.loads(Path("out/comparison.json").read_text())["flips"][0]["b"]["reply"] == "a\x00b"
    assert "\x00" not in Path("out/comparison.html").read_text()


@pytest.mark.parametrize("words", [COMPARE, BEFORE], ids=["compare", "before"])
def test_each_command_refuses_a_damaged_evaluation_before_it_does_anything(
    words: list[str], two: Path, refused: Refused
) -> None:
    (two / "eval_report.json").write_bytes(b'{"kind":\n')
    refused(*words, says="eval_report.json:2: is not JSON")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "eval_report.json:1: is not JSON"),
        (b"[]", "eval_report.json: holds a list; an object is expected"),
        (b'{"kind": "\xe9"}', "eval_report.json:1: is not UTF-8"),
        (b"{}", "is not a complete report of `eval chat`"),
        (b'{"kind": "eval sft-fit"}', "is not a complete report .* it is one of `eval sft-fit`"),
    ],
)
def test_a_report_that_is_none_is_refused(content: bytes, says: str, two: Path) -> None:
    (two / "eval_report.json").write_bytes(content)
    is_refused(says)


@pytest.mark.parametrize("place", ["kind", "pack", "pack.sha256", "model", "predictions_sha256", "settings"])
def test_a_report_with_a_field_gone_is_refused(place: str, two: Path) -> None:
    report = json.loads((two / "eval_report.json").read_text())
    *path, name = place.split(".")
    del (report[path[0]] if path else report)[name]
    (two / "eval_report.json").write_text(json.dumps(report))
    is_refused(f"is not a complete report of `eval chat` .*{name}")


@pytest.mark.parametrize(
    "damage",
    [
        lambda first, second: first,
        lambda first, second: second + first,
        lambda first, second: first + second[:-9],
        lambda first, second: first + second.replace(b'"passed": false', b'"passed": true'),
        lambda first, second: b"\xe9\x00",
    ],
)
def test_replies_that_are_not_those_of_the_report_are_refused(
    damage: Callable[[bytes, bytes], bytes], two: Path
) -> None:
    path = two / "predictions.jsonl"
    path.write_bytes(damage(*path.read_bytes().splitlines(keepends=True)))
    is_refused("predictions.jsonl does not hold the replies that it was made of")


def test_a_missing_file_or_a_folder_in_its_place_is_refused(two: Path) -> None:
    for name in ("predictions.jsonl", "eval_report.json"):
        (two / name).unlink()
        is_refused("No such file or directory")
        (two / name).mkdir()
        is_refused("Is a directory")


def test_rows_that_are_gone_are_refused_before_anything_is_compared_with_them(two: Path, refused: Refused) -> None:
    Path("rows.jsonl").unlink()
    refused(*BEFORE, says=r"cannot read rows.jsonl: No such file or directory")
