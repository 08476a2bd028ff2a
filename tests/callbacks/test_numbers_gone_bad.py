"""A run whose gradients become non-finite, from the command line: skipped and counted, then one sentence."""

import re
from pathlib import Path

import pytest
from small_rows import chat_row, small_model, write_jsonl

from picochat.cli import main


def test_a_rate_that_blows_the_weights_up_ends_the_run_with_step_rows_and_lanes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_jsonl(tmp_path / "chat.jsonl", [chat_row(lane, n, 3) for lane in ("add", "spell") for n in range(40)])
    small_model(tmp_path / "model")
    words = "train sft --input chat.jsonl --checkpoint model --out-dir run --steps 60 --eval-every 60 --batch-size 2"
    more = "--device cpu --precision float32 --optimizer adamw --learning-rate 1e30 --lr-warmup-steps 0"
    with pytest.raises(SystemExit) as stop:
        main([*words.split(), *more.split()])
    assert stop.value.code == 2
    said = capsys.readouterr().err.splitlines()[-1]
    # step 1 is good and ruins the weights; steps 2 … 22 are skipped, one more than the 20 allowed in a row
    found = re.fullmatch(
        r"picochat: error: the gradients were not finite at optimizer step 22 "
        r"\((\d+) of add, (\d+) of spell; lines ([\d, ]+)\), 21 times in a row; "
        "lower --learning-rate, leave --precision out.*",
        said,
    )
    assert found, said
    assert int(found[1]) + int(found[2]) == len(found[3].split(", "))
    assert not (tmp_path / "run" / "best_checkpoint").exists()
