"""`picochat data inspect`: other people's rows counted, bad lines named, never a traceback."""

import re
from pathlib import Path

import pytest
from making import write

from picochat.cli import main


def test_rows_of_three_forms_are_counted_and_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(
        tmp_path / "rows.jsonl",
        {"user": "Say hi.", "assistant": "hi", "category": "greeting"},
        {"prompt": "Say two words", "completion": "two words"},
        "",
        {"messages": [{"role": "system", "content": ""}, {"role": "user", "content": "And?"}], "answer": "x"},
        {"user": "Say hi.", "assistant": "hi"},
    )
    main(["data", "inspect", str(path)])
    said = capsys.readouterr().out
    assert f"{path}: 4 rows in 5 lines, 0 bad" in said
    for line in ("chat 3", "eval 1", "assistant 3", "system 1", "greeting 1"):
        assert re.search(rf"^{line.replace(' ', ' +')}$", said, re.MULTILINE), line
    assert re.search(r"^user characters +4 +7 +13 +13 +31$", said, re.MULTILINE)


def test_a_tree_is_counted_in_lines_and_a_turn_that_is_not_learnt_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = {"message_id": "q", "parent_id": None, "role": "user", "text": "2 + 2?"}
    reply = {"message_id": "a", "parent_id": "q", "role": "bot", "text": "5", "train": False}
    main(["data", "inspect", str(write(tmp_path / "tree.jsonl", asked, reply))])
    said = capsys.readouterr().out
    assert "tree.jsonl: 1 rows in 2 lines, 0 bad" in said
    assert "rows of which no turn is learnt (weight 0): 1" in said
    assert re.search(r"^assistant \(not learnt\) +1$", said, re.MULTILINE)


def test_bad_lines_are_named_with_their_numbers_and_fail_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = {"prompt": "x", "must_include": "y"}  # a check that `eval chat` cannot apply
    path = write(
        tmp_path / "rows.jsonl",
        {"user": "x", "assistant": "y", "must_include": "y"},
        "{not json",
        [1],
        {"user": "?"},
        asked,
    )
    with pytest.raises(SystemExit) as stopped:
        main(["data", "inspect", str(path)])
    assert stopped.value.code == 2
    said, error = capsys.readouterr()
    assert f"{path}: 1 rows in 5 lines, 4 bad" in said
    faults = ("is not JSON", "holds a list", "an eval row needs at least one check", "'must_include' must be a list")
    for number, fault in enumerate(faults, start=2):
        assert f"{path}:{number}: {fault}" in said
    assert f"{path}: 4 of 5 lines are bad, the first is line 2" in error
