"""What a training says while it runs and at its end: a bar in a terminal, lines elsewhere."""

import io
import re
from pathlib import Path
from typing import Any

import pytest
from tiny import Line, loader, trainer

from picochat.callbacks import BestCheckpoint, LastCheckpoint, Progress, RunReport, progress
from picochat.callbacks.progress import amount, duration, summary


class Clock:
    """Stands for the module `time`: each look at it takes four seconds."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        self.now += 4
        return self.now


def test_amounts_and_durations_have_the_unit_that_people_would_use() -> None:
    amounts = {7.2: "7", 812: "812", 9_140: "9.1k", 120_400: "120k", 1_234_567: "1.2M"}
    durations = {0.4: "0 s", 99: "99 s", 130: "2 min", 5_940: "99 min", 11_100: "3 h 05 min"}
    assert {value: amount(value) for value in amounts} == amounts
    assert {seconds: duration(seconds) for seconds in durations} == durations


def test_a_line_says_what_was_logged_and_after_a_validation_its_losses_and_pass_rates() -> None:
    metrics = {"eval/weak_skills/pass_rate": 0.42, "val/loss": 0.38814, "train/loss": 0.41, "train/lr": 0.004}
    assert summary(metrics) == "loss 0.4100  lr 4.0e-03"
    assert summary(metrics, validated=True) == "loss 0.4100  lr 4.0e-03  val 0.3881  weak_skills 42%"
    assert summary({**metrics, "train/tokens_per_s": 9140.0}, short=True) == "loss 0.410  9.1k tokens/s"
    assert summary({}) == ""


def run(root: Path, bar: bool | None, ckpt_path: Path | None = None, **settings: Any) -> None:
    callbacks = [Progress(every=10, bar=bar), BestCheckpoint(), LastCheckpoint(), RunReport()]
    given = {"max_steps": 8, "val_check_interval": 4, "enable_checkpointing": True, **settings}
    trainer(root, callbacks, **given).fit(Line(), loader(), loader(8), ckpt_path=ckpt_path, weights_only=True)


def test_without_a_terminal_lines_come_at_intervals_and_after_validations(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "time", Clock())
    run(tmp_path, bar=None)
    said = capsys.readouterr()
    lines = [line for line in said.out.splitlines() if line.startswith("step")]
    steps = [line.split()[1] for line in lines]
    assert steps[0] == "1/8"
    assert steps[-1] == "8/8"
    assert len(steps) < 8
    assert [line.split()[1] for line in lines if " val " in line] == ["4/8", "8/8"]
    assert re.fullmatch(r"step +1/8  loss \d\.\d{4}  \d+ (s|min) left", lines[0])
    assert "left" not in lines[-1]
    assert said.err == ""  # a pink box in a notebook


def test_a_step_of_many_micro_batches_has_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trainer(tmp_path, [Progress(every=0)], max_steps=3, accumulate_grad_batches=4).fit(Line(), loader())
    assert [line.split()[1] for line in capsys.readouterr().out.splitlines() if line.startswith("step")] == [
        "1/3",
        "2/3",
        "3/3",
    ]


def test_in_a_terminal_one_bar_fits_72_columns_and_validations_stay_above_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(progress.sys, "stdout", screen)
    monkeypatch.setenv("COLUMNS", "200")
    run(tmp_path, bar=True)
    parts = re.split(r"[\r\n]", screen.getvalue())
    bars = [part for part in parts if "|" in part]
    assert bars
    assert {len(bar) for bar in bars} == {72}
    assert [part.split()[1] for part in parts if part.startswith("step")] == ["4/8", "8/8"]


def test_a_bar_of_lightnings_takes_its_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(tmp_path, bar=None, enable_progress_bar=True)
    assert "step" not in [line.split(" ")[0] for line in capsys.readouterr().out.splitlines()]


def test_the_end_says_where_things_lie_and_the_best_validation(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(tmp_path, bar=False)
    end = capsys.readouterr().out.partition("\ndone in ")[2]
    assert re.match(r"\d+ (s|min); best val/loss \d\.\d{4} at step 8\n", end)
    assert f"{tmp_path}/report.md " in end
    assert f"{tmp_path}/best_checkpoint  model folder of the step with the best validation loss" in end
    assert "next:" not in end  # no command of picochat's runs a model of somebody else's


def validations(root: Path) -> list[str]:
    return re.findall(r"^\| *(\d+) *\| \d\.\d{4}", (root / "report.md").read_text(), flags=re.MULTILINE)


def test_the_report_of_a_resumed_run_has_the_validations_from_before(tmp_path: Path) -> None:
    run(tmp_path, bar=False, max_steps=4)
    run(tmp_path, bar=False, ckpt_path=tmp_path / "last.ckpt")
    assert validations(tmp_path) == ["4", "8"]


def test_the_next_command_can_be_typed_as_it_stands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    class Picochats(BestCheckpoint):
        def export(self, trainer: Any, pl_module: Any, folder: Path) -> None:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "config.json").touch()

    root = tmp_path / "my run"
    trainer(root, [Picochats(), RunReport()], max_steps=2).fit(Line(), loader())  # without a validation
    end = capsys.readouterr().out
    assert f"picochat generate --checkpoint '{root}/best_checkpoint' --plain" in end
    assert f"{root}/best_checkpoint  model folder of the last step" in end
