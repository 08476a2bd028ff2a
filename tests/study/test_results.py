"""Studies of runs that other trainers made: a table of lanes, and what other tools wrote."""

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from picochat.cli import main
from picochat.errors import UserError
from picochat.files import sha256_text
from picochat.study.effects import NATS, POINTS, Result, by_lane
from picochat.study.results import read_design, read_results

LM = "samples_x_2026-01-02T0.jsonl"
LOG = {"eval": {"task": "t"}, "samples": [{"id": 1, "scores": {"grade": {"value": 7}}}]}
TABLE = "run,add,spell\nr0,1,1\nr1,1,0\nr2,0,1\nr3,0,0\n\nr4,1,1\n"


def lm_eval(folder: Path, passes: list[int], task: str = "gsm8k", **more: Any) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    lines = [
        {"doc_id": n, "doc_hash": f"h{n}", "filter": name, "metrics": ["exact_match"], "exact_match": value, **more}
        for n, own in enumerate(passes)
        for name, value in (("strict", own), ("flexible", 1))
    ]
    file = folder / f"samples_{task}_2026-01-02T03-04-05.678.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))


def inspect_log(grades: list[tuple[Any, int, Any]]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    samples = [{"id": name, "epoch": epoch, "scores": {"match": {"value": value}}} for name, epoch, value in grades]
    return {"eval": {"task": "spell"}}, samples


def test_samples_of_lm_eval_count_by_their_first_filter(tmp_path: Path) -> None:
    lm_eval(tmp_path / "model__name", [1, 0])
    assert list(read_results(tmp_path)) == [Result("gsm8k", "h0", "0", 1.0), Result("gsm8k", "h1", "1", 0.0)]


def test_a_row_that_the_rules_could_not_judge_in_some_run_has_no_points_but_its_nll(tmp_path: Path) -> None:
    plain = {"settings": {}, "limits": {}, "says": {}, "overlap": "", "pack": {"path": "e", "sha256": "a", "rows": 3}}
    model = {"folder": "m", "sha256": "b", "provenance": {}}
    lines = dict.fromkeys(
        ("id", "key", "raw_reply", "expected", "candidate", "steps_correct", "answerable", "choice_scores")
    )
    lines |= {"prompt": "?", "reply": "!", "reasons": [], "strict": True, "tags": {"category": "who"}, "nll": 2.0}
    for run, unjudged in (("a", -1), ("b", 1)):
        rows = [
            {**lines, "index": n, "cluster": f"k{n}", "passed": n < 2, "signals": ["not_judged"] * (n == unjudged)}
            for n in range(3)
        ]
        text = "".join(json.dumps(row) + "\n" for row in rows)
        report = {"kind": "eval chat", **plain, "model": model, "predictions_sha256": sha256_text(text)}
        (tmp_path / run).mkdir()
        (tmp_path / run / "eval_report.json").write_text(json.dumps(report))
        (tmp_path / run / "predictions.jsonl").write_text(text)
    found = by_lane([read_results(tmp_path / run) for run in "ab"])
    points, nats = found[POINTS]["who"][0], found[NATS]["who"][0]
    assert points.tolist() == [[100, 0], [100, 0]]
    assert nats.tolist() == [[2, 2, 2], [2, 2, 2]]
    with pytest.raises(UserError, match="no row that the rules could judge"):
        by_lane([[Result("who", "k", "0", None)]])


@pytest.mark.parametrize("suffix", [".json", ".eval"])
def test_epochs_of_inspect_are_rows_of_one_problem(suffix: str, tmp_path: Path) -> None:
    head, samples = inspect_log([("a", 1, "C"), ("a", 2, "I"), (7, 1, 0.25)])
    file = tmp_path / f"log{suffix}"
    if suffix == ".json":
        file.write_text(json.dumps({**head, "samples": samples}))
    else:
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("header.json", json.dumps(head))
            for number, sample in enumerate(samples):
                archive.writestr(f"samples/{number}.json", json.dumps(sample))
    assert list(read_results(tmp_path)) == [
        Result("spell", "a", "a/1", 1.0), Result("spell", "a", "a/2", 0.0), Result("spell", "7", "7/1", 0.25),
    ]  # fmt: skip


def test_a_table_of_runs_and_their_samples_give_the_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "design.csv").write_text(TABLE)
    for run, passes in enumerate([[1, 1, 1, 0], [1, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0], [1, 1, 1, 1]]):
        lm_eval(tmp_path / f"evals/r{run}", passes)
    words = ["--table", str(tmp_path / "design.csv"), "--evals", str(tmp_path / "evals")]
    main(["study", "report", *words, "--out-dir", str(tmp_path / "out")])
    assert "whether anything was declared before them is not known here" in capsys.readouterr().out
    cells = json.loads((tmp_path / "out/study.json").read_text())["effects"]["points"]
    # Full runs are one arm of 87.5: (87.5 + 50) / 2 - (25 + 0) / 2, and (87.5 + 25) / 2 - (50 + 0) / 2
    assert {cell["lane"]: cell["value"] for cell in cells} == pytest.approx({"add": 56.25, "spell": 31.25})
    assert "| r1 +- | 1 |" in (tmp_path / "out/study.md").read_text().replace("\\", "")


@pytest.mark.parametrize(
    ("table", "files", "said"),
    [
        ("run,a\nr0,2\n", {}, r"design.csv:2: each lane of r0 is 1 \(in\)"),
        ("run,a\nr0,1,1\n", {}, "design.csv:2"),
        ("run,a\n\nr0, 1.0\nr1,\n", {}, "design.csv:4: each lane of r1"),
        ("run,a\nr0,1\nr0,0\n", {}, "design.csv:3: each run needs a name of its own"),
        ("run,a,a\nr0,1,1\n", {}, "two lanes are named a"),
        ("run,curvature\nr0,1\n", {}, "two lanes are named curvature"),
        ("run\nr0\n", {}, "it names no lane"),
        ("run,a\n", {}, "or no run"),
        (f"run,a\nr0,{'1' * 2_000_000}\n", {}, "design.csv: is not a table of runs"),
        ("", {}, "design.csv: is not a table of runs"),
        ("run,a\nr0,1\n", {}, "r0 holds no predictions.jsonl, no samples"),
        ("run,a\nr0,1\n", {LM: '{"doc_id": 1, "acc": "high"}'}, ":1: is not a sample of lm-"),
        ("run,a\nr0,1\n", {LM: '{"doc_id": 1, "metrics": ["ppl"], "ppl": 12.5}'}, ":1: is not a sample of lm-eval"),
        ("run,a\nr0,1\n", {"log.json": '{"eval": {}}'}, "log.json: is not a log of inspect"),
        ("run,a\nr0,1\n", {"log.json": json.dumps(LOG)}, "log.json: is not a log of inspect with scores from 0 to 1"),
        ("run,a\nr0,1\n", {"log.eval": "no zip"}, "log.eval: is not a log of inspect"),
    ],
)
def test_what_is_no_table_and_no_result_is_refused_by_name(
    table: str, files: dict[str, str], said: str, tmp_path: Path
) -> None:
    (tmp_path / "design.csv").write_text(table)
    (tmp_path / "r0").mkdir()
    for name, text in files.items():
        (tmp_path / "r0" / name).write_text(text)
    with pytest.raises(UserError, match=said):
        for name in read_design(tmp_path / "design.csv")[0]:
            list(read_results(tmp_path / name))
