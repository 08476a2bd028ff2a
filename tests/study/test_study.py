"""Studies through the command line: planned, run, interrupted, reported; a tiny model stands in for a real one."""

import csv
import json
import re
import shutil
import tarfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from small_rows import write_jsonl
from world import world

from picochat.cli import main
from picochat.errors import UserError
from picochat.files import locked_folder
from picochat.packs.formats import read_rows
from picochat.study import Study, runner
from picochat.study.arms import Run

COMMON = {
    "eval_input": "eval.jsonl",
    "checkpoint": "base",
    "dataset_pack": "dataset_pack.json",
    "evaluate": "--max-new-tokens 6 --device cpu",
}
FLAGS = "--batch-size 4 --context-length 64 --device cpu --learning-rate 0.01 --optimizer muon"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forked: None) -> Path:
    """A world in the current folder, with a study of lanes and one of arms."""
    world(tmp_path, rows=80, asked=40)
    lanes = {**COMMON, "chat_input": "chat.jsonl", "lanes": ["first", "noise"], "steps": 4, "train": FLAGS}
    (tmp_path / "lanes.yaml").write_text(yaml.safe_dump({**lanes, "centre": 0, "full": 1}))
    lines = [f"train sft --input chat.jsonl --val-fraction 0 --steps {steps} {FLAGS}" for steps in (2, 6)]
    arms = {"short": lines[:1], "long": lines[1:], "both": lines}
    (tmp_path / "arms.yaml").write_text(yaml.safe_dump({**COMMON, "arms": arms, "seeds": 2}, sort_keys=False))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refusal(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    with pytest.raises(SystemExit) as stop:
        main(["study", *words])
    assert stop.value.code == 2
    return capsys.readouterr().err


def written(study: Path) -> dict[str, bytes]:
    return {name: (study / name).read_bytes() for name in ("study.html", "study.md", "study.json", "effects.csv")}


def test_a_study_of_lanes_is_planned_run_and_reported(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["study", "plan", "lanes.yaml", "--measure"])
    said = capsys.readouterr().out
    assert re.search(r"about \d\.\d hours here", said)
    assert "9 runs of 4 arms, 36 optimizer steps in runs/study/lanes" in said
    # ten problems: √(2² + 50² / 10) · √((1/3 + 3 · 1/2) / 4), of three arms with two runs and one with three
    assert re.search(r"^first +10 +10\.8 ", said, re.MULTILINE)
    assert not Path("runs/study/lanes/runs").exists()
    assert "not finished" in refusal(capsys, "report", "lanes.yaml")
    main(["study", "run", "lanes.yaml"])
    said = capsys.readouterr().out
    assert "9 of 9: " in said
    assert "is older than the first checkpoint: every run names it" in said
    found = json.loads(Path("runs/study/lanes/study.json").read_text())
    assert {(cell["lane"], cell["on"]) for cell in found["effects"]["points"]} == {
        (lane, on) for lane in ("first", "noise") for on in ("first", "twin", "last", "noise")
    }
    declared = [(cell["lane"], cell["on"]) for cell in found["effects"]["points"] if cell["declared"]]
    assert declared == [("first", "first"), ("noise", "noise")]
    with Path("runs/study/lanes/effects.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 2 * 8  # in points and in nats
    main(["study", "check", "lanes.yaml"])
    assert "9 finished of 9 runs" in capsys.readouterr().out
    # Another effect is declared after the fact: nothing is trained again, and the report says so.
    settings = yaml.safe_load(Path("lanes.yaml").read_text())
    Path("lanes.yaml").write_text(yaml.safe_dump({**settings, "declared": [["first", "twin"]]}))
    main(["study", "run", "lanes.yaml"])
    assert "9 of 9 runs are finished" in (said := capsys.readouterr().out)
    assert "9 of 9 runs began under another plan" in said
    # Rows that changed make other runs; what there is is not passed over in silence.
    rows = Path("eval.jsonl")
    rows.write_text(rows.read_text() + "\n")
    said = refusal(capsys, "report", "lanes.yaml")
    assert "9 of 9 runs are not finished (9 finished ones are of other settings" in said


@pytest.mark.parametrize(("steps", "seconds"), [(700, 2 + 350 + 7), (4, 2 + 2 + 7)])
def test_the_time_of_a_run_follows_from_its_steps_and_not_from_the_tokens_that_are_made_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: int, seconds: float
) -> None:
    """Two seconds to start, half a second a step, seven to answer, a minute for the tokens of the first training."""
    clock, calls = SimpleNamespace(now=0.0), []

    def call(words: list[str], *_: object) -> None:
        done = next((int(word.removeprefix("--steps=")) for word in words if word.startswith("--steps=")), None)
        clock.now += 7 if done is None else 2 + done / 2 + 60 * (not calls)
        calls.append(words)

    monkeypatch.setattr(runner, "_call", call)
    monkeypatch.setattr(runner, "time", SimpleNamespace(monotonic=lambda: clock.now))
    run = Run("+", 42, "base", (("train", "sft", f"--steps={steps}", "--seed=42"),), ("eval", "chat"))
    assert runner.expected_seconds(run, tmp_path / "measured", 1) == pytest.approx(seconds)
    assert not (tmp_path / "measured").exists()


def test_arms_of_command_lines_are_compared_with_the_first_and_interruptions_change_no_byte(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["study", "run", "arms.yaml"])
    assert "minus short; * found" in capsys.readouterr().out
    study, before = Path("runs/study/arms"), written(Path("runs/study/arms"))
    runs = {json.loads((run / "run.json").read_text())["name"]: run for run in sorted((study / "runs").iterdir())}
    assert len(list((study / "runs").iterdir())) == 6
    assert (runs["both"] / "1/last_checkpoint").is_dir()
    # As kills leave them: before the evaluation, in the second stage, before anything.
    (runs["both"] / "done.json").unlink()
    (runs["both"] / "1.ended").unlink()
    shutil.rmtree(runs["both"] / "1")
    (runs["long"] / "done.json").unlink()
    shutil.rmtree(runs["long"] / "eval")
    shutil.rmtree(runs["long"] / "0/last_checkpoint")  # somebody needed the disk
    shutil.rmtree(runs["short"])
    shutil.rmtree(study / "lanes", ignore_errors=True)
    main(["study", "run", "arms.yaml"])
    assert "3 of 6 runs are finished" in capsys.readouterr().out
    assert written(study) == before
    # A reply that somebody changed is noticed, and made again.
    replies = runs["long"] / "eval/predictions.jsonl"
    replies.write_text(replies.read_text().replace("false", "true"))
    assert "1 of 6 runs are not finished" in refusal(capsys, "report", "arms.yaml")
    main(["study", "run", "arms.yaml"])
    assert written(study) == before
    main(["study", "bundle", "arms.yaml"])
    with tarfile.open("runs/study/arms.tar.gz") as packed:
        names = {Path(name).name for name in packed.getnames()}
    assert {"plan.json", "study.html", "effects.csv", "run.json", "predictions.jsonl"} <= names
    assert not [name for name in names if name.endswith((".safetensors", ".ckpt"))]
    # A run that goes on under another plan began under its own all the same.
    (runs["long"] / "done.json").unlink()
    with Path("arms.yaml").open("a") as file:
        file.write("sigma: 3\n")
    capsys.readouterr()
    main(["study", "run", "arms.yaml"])
    assert "6 of 6 runs began under another plan" in capsys.readouterr().out


def test_a_run_is_named_after_its_flags_files_weights_and_code(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("sub").mkdir()
    Path("rows.jsonl").write_text("1")
    Path("sub/mixture.yaml").write_text("file: beside.jsonl\n")
    Path("sub/beside.jsonl").write_text("1")
    Path("my.yaml").write_text("# picochat fit --config my.yaml\ndata: {a: rows.jsonl, b: sub/mixture.yaml, c: made}\n")
    arms = {"short": ["train sft --input chat.jsonl --max-steps 2"], "own": ["fit --config my.yaml"]}
    Path("arms.yaml").write_text(yaml.safe_dump({**COMMON, "arms": arms, "seeds": 2}, sort_keys=False))

    def folders() -> list[str]:
        runner._hash.cache_clear()
        return [path.name for path in Study.read("arms.yaml").runs]

    before = folders()
    Path("made").mkdir()
    Path("made/pack.json").write_text("{}")  # by a run
    assert folders() == before
    for file, moved in (
        ("chat.jsonl", 2), ("rows.jsonl", 2), ("sub/beside.jsonl", 2), ("base/config.json", 4), ("eval.jsonl", 4),
    ):  # fmt: skip
        Path(file).write_text(Path(file).read_text() + " ")
        assert len({*folders()} - {*before}) == moved, file
        before = folders()
    monkeypatch.setattr(runner, "_code", lambda: "of another version")
    assert not {*folders()} & {*before}
    assert Study.read("arms.yaml").optimizer_steps == "optimizer steps as their configs say"


def test_a_plan_with_other_settings_leaves_the_rows_of_a_study_that_is_running(folder: Path) -> None:
    running, other = Study.read("lanes.yaml"), Study.read("lanes.yaml", lanes=["last"])
    words = [word for run in running.runs.values() for word in run.stages[0] if word.startswith("--input=")]
    files = {Path(word.rpartition(":")[2]) for word in words}
    before = {file: file.read_bytes() for file in files}
    assert len(before) == 5
    assert {*other.runs} & {*running.runs} == set()
    assert {file: file.read_bytes() for file in files} == before


def test_a_run_that_fails_is_named_with_its_reason_and_the_others_are_finished(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arms = yaml.safe_load(Path("arms.yaml").read_text())
    arms["arms"] = {"good": arms["arms"]["short"], "bad": ["train sft --input gone.jsonl --steps 1"]}
    Path("bad.yaml").write_text(yaml.safe_dump(arms, sort_keys=False))
    with pytest.raises(SystemExit):
        main(["study", "run", "bad.yaml"])
    printed = capsys.readouterr()
    assert re.findall(r"of 4: (\w+) \w+( failed)?", printed.out) == [*[("good", "")] * 2, *[("bad", " failed")] * 2]
    assert "2 of 4 runs failed" in printed.err
    assert "gone.jsonl does not exist" in printed.err
    main(["study", "status", "bad.yaml"])
    assert "2 finished, 2 waiting of 4 runs" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"lane": ["a"]}, r"study.yaml.lane: unknown key \(did you mean lanes\?\)"),
        ({"steps": "many"}, "study.yaml.steps: is 'many'; use a whole number"),
        ({"budget": "free"}, "study.yaml.budget: is 'free'; use placebo"),
        ({"declared": [["a", 1]]}, r"study.yaml.declared\[0\]\[1\]: is 1; use text"),
        ({"slots": 0}, "study: slots is 0; use a number from 1"),
        ({"arms": {8: ["fit"], 16: ["fit"]}}, "study.yaml.arms: is 8; use text"),
        (
            {"arms": {"a": ["fit"], "b": ["fit"]}, "interactions": True},
            "interactions: has no effect on arms of command",
        ),
        ({"lanes": ["a"], "seeds": 5}, "study.yaml.seeds: has no effect on lanes that are in and out"),
        ({"profile": "release", "chat_input": "c.jsonl"}, "chat_input: has no effect on the rows of a profile"),
        ({}, "a study needs `profile`, or eval_input and chat_input"),
    ],
)
def test_a_faulty_study_file_is_refused_in_one_sentence(
    settings: dict[str, object], expected: str, tmp_path: Path
) -> None:
    file = tmp_path / "study.yaml"
    file.write_text(yaml.safe_dump(settings))
    with pytest.raises(UserError, match=expected):
        _ = Study.read(file).files


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"declared": [["first", "lost"]]}, "declared: .'first', 'lost'. is not a pair of lane and eval lane"),
        ({"arms": {"a": ["train sft"], "b": ["fit"]}, "seeds": 1}, "nothing would tell effects from noise"),
        ({"arms": {"a": ["fit"], "b": ["picochat fit"]}}, "arms: a and b are the same lines of the same files"),
        ({"arms": {"a": ["fit"]}}, "arms: name two or more"),
        ({"arms": 4}, "no design has 4 arms for 2 lanes; use `arms: 8`"),
        ({"lanes": ["first", "odd"]}, "chat.jsonl has no rows of odd"),
        ({"lanes": ["first", "first"]}, "two lanes are named first"),
        (
            {"checkpoint": "gone/base/best_checkpoint"},
            "gone/base/best_checkpoint is not a model folder .* train the base first",
        ),
        ({"eval_input": "empty.jsonl"}, "empty.jsonl: holds no rows"),
        ({"eval_input": "met.jsonl"}, "40 of 40 eval rows ask what training asks"),
        (
            {"executor": "concurrent.futures.ThreadPoolExecutor", "executor_args": {"slots": 2}},
            "executor_args do not fit",
        ),
    ],
)
def test_what_would_fail_after_an_hour_is_refused_before(
    settings: dict[str, Any], expected: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = [{**row, "answer": "1"} for _, row in zip(range(40), read_rows("chat.jsonl", "chat"), strict=False)]
    write_jsonl(Path("met.jsonl"), asked)
    Path("empty.jsonl").touch()
    common = COMMON if isinstance(settings.get("arms"), dict) else yaml.safe_load(Path("lanes.yaml").read_text())
    Path("bad.yaml").write_text(yaml.safe_dump({**common, **settings}))
    assert re.search(expected, refusal(capsys, "run", "bad.yaml"))
    assert not Path("runs/study/bad/runs").exists()


def test_flags_replace_settings_of_the_file_and_none_is_passed_over(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["study", "plan", "lanes.yaml", "--lanes", "all"])
    assert "9 runs of 8 arms" in capsys.readouterr().out  # of four lanes
    halves = [(0, 0) in Study.read("lanes.yaml", budget=one, centre=1).design.signs for one in ("rows", "pro_rata")]
    assert halves == [True, False]  # half of everything is everything
    for words in (["--evals", "."], ["--table", "t.csv", "--evals", ".", "--out-dir", "o", "lanes.yaml"]):
        assert "--table, --evals and --out-dir go together" in refusal(capsys, "report", *words)


def test_what_somebody_else_runs_is_left_to_them(tmp_path: Path) -> None:
    assert not runner.is_running(tmp_path / "run")
    with locked_folder(tmp_path / "run", ".claim"):
        assert (tmp_path / "run/.claim").exists()
    assert not (tmp_path / "run").exists()
