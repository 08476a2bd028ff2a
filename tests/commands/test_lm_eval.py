"""Eval rows as lm-eval tasks: what the folder holds, and that lm-eval counts what `eval chat` counts."""

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from refusing import Refused

from picochat.cli import main
from picochat.evidence.lm_eval_export import export_lm_eval
from picochat.evidence.texts import final_answer, normalise
from picochat.packs.rows import Row, write_rows


def ask(prompt: str, **fields: Any) -> Row:
    return {"messages": [{"role": "user", "content": prompt}], "mixture_profile": "capability", **fields}


def sums(*prompts: str) -> list[Row]:
    """Scratchpad rows of "a + 2?"."""
    rows = []
    for prompt in prompts:
        answer = str(int(prompt[0]) + 2)
        reference = f"{prompt[:-1]} = {answer}\nFinal answer: {answer}"
        row = {"category": "bench_math_addition", "answer_style": "scratchpad", "reference": reference}
        rows.append(ask(prompt, answer=answer, **row))
    return rows


ROWS = [  # what the small model has learnt, and what it has not
    *sums("1 + 2?", "2 + 2?", "3 + 2?", "4 + 2?", "5 + 2?", "9 + 2?"),
    ask("Who are you?", category="names", answer="i am picochat", answer_style="direct"),
    ask("What is your name?", category="names", answer="Picochat", answer_style="direct"),  # right, but not exact
    ask("What time is it?", category="clock", answer="“I have  no clock”"),
    ask("4 + 2?", category="clock", answer="6"),
    ask("Which is a dog? A cat B hound", category="choice", choice_labels=["A", "B"], correct_choice="B"),
    ask("Which is a dog? A cat B hound", category="choice", choice_labels=["A", "B"], correct_choice="A"),
    ask("How many days has a year?", category="choice", choice_labels=["3", "365"], correct_choice="365"),
    ask("Who are you?", category="identity", must_include=["Picochat"]),
    ask("What time is it?", category="refusal", answerable=False),
    ask("What time is it?", category="clock", answer="noon", max_words=3),
    {**sums("1 + 2?")[0], "messages": [{"role": "system", "content": "x"}, {"role": "user", "content": "1 + 2?"}]},
]


def test_the_folder_holds_a_task_for_each_category_and_says_what_it_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_rows(tmp_path / "eval.jsonl", ROWS)
    out = tmp_path / "tasks"
    main(["data", "export-lm-eval", "--input", str(tmp_path / "eval.jsonl"), "--out-dir", str(out)])
    said = capsys.readouterr().out
    assert f"wrote {out}: 12 rows in 4 tasks" in said
    assert "left out: 3 rows checked by phrases, boundaries or length" in said
    assert "left out: 1 rows with choices of which one begins another" in said
    assert "left out: 1 rows with a system message or several turns" in said
    assert f"--include_path {out} --tasks picochat_capability " in said
    names = ["bench_math_addition_scratchpad", "choice_choice", "clock_either", "names_direct"]
    assert sorted(path.name for path in out.iterdir()) == sorted(
        ["picochat_capability.yaml"]
        + [f"picochat_capability_{name}.{kind}" for name in names for kind in ("yaml", "jsonl")]
    )
    group = yaml.safe_load((out / "picochat_capability.yaml").read_text())
    assert group["task"] == [f"picochat_capability_{name}" for name in names]
    made = {name: yaml.safe_load((out / f"picochat_capability_{name}.yaml").read_text()) for name in names}
    limits = {name: task["generation_kwargs"]["max_gen_toks"] for name, task in made.items() if name != "choice_choice"}
    worked, direct = len("9 + 2 = 11\nFinal answer: 11") + 1, len("i am picochat") + 1
    assert limits == {"bench_math_addition_scratchpad": worked, "clock_either": 256, "names_direct": direct}
    task = made["bench_math_addition_scratchpad"]
    assert task["dataset_kwargs"] == {
        "data_files": {"test": str(out / "picochat_capability_bench_math_addition_scratchpad.jsonl")}
    }
    lines = (out / "picochat_capability_choice_choice.jsonl").read_text().splitlines()
    assert [json.loads(line)["target"] for line in lines] == [1, 0]


@pytest.mark.parametrize(
    ("style", "reply", "expected"),
    [
        ("scratchpad", "2 + 2 = 4\nFinal answer: 4", "4"),
        ("scratchpad", "Final answer: 5\nno, FINAL ANSWER :\n 1,234.", "1234"),
        ("scratchpad", "It is 4.", None),
        ("direct", ' **"C A T"**. ', "c a t"),
        ("either", "It is  4!", "it is 4"),
        ("either", "so\nFinal answer: 4", "4"),
    ],
)
def test_the_yaml_takes_the_candidate_that_scoring_takes(
    tmp_path: Path, style: str, reply: str, expected: str | None
) -> None:
    """lm-eval's `regex` filter and `exact_match`, as its documentation describes them, done by hand."""
    row = ask("?", answer="4", **({} if style == "either" else {"answer_style": style}))
    write_rows(tmp_path / "eval.jsonl", [row])
    export_lm_eval(tmp_path / "eval.jsonl", tmp_path / "out")
    task = yaml.safe_load((tmp_path / "out" / f"picochat_capability_rows_{style}.yaml").read_text())
    candidate: str | None = reply
    for step in task["filter_list"][0]["filter"]:
        if step["function"] == "regex":
            found = re.findall(step["regex_pattern"], reply)
            candidate = found[0].strip() if found else None
    if candidate is not None:
        for pattern in task["metric_list"][0]["regexes_to_ignore"]:
            candidate = re.sub(pattern, "", candidate)
        candidate = candidate.lower()
    assert candidate == expected
    ours = reply if style == "direct" else final_answer(reply)
    if ours is None and style == "either":
        ours = reply
    assert candidate == (None if ours is None else normalise(ours))


def test_rows_that_lm_eval_cannot_check_and_existing_folders_are_refused(tmp_path: Path, refused: Refused) -> None:
    write_rows(tmp_path / "eval.jsonl", ROWS[-4:-2])
    words = ["data", "export-lm-eval", "--input", "eval.jsonl", "--out-dir", "out"]
    refused(*words, says=r"no row that lm-eval can check \(2 checked by phrases, boundaries or length\)")
    write_rows(tmp_path / "eval.jsonl", ROWS)
    (tmp_path / "out").mkdir()
    refused(*words, says="exists already; add --force")
    main([*words, "--force"])
    assert (tmp_path / "out" / "picochat_capability.yaml").exists()


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("lm_eval") is None, reason="needs lm-eval: pip install 'picochat[interop]'"
)
def test_lm_eval_counts_on_a_checkpoint_what_eval_chat_counts(run_folder: Path, tmp_path: Path) -> None:
    rows = [row for row in ROWS[:-2] if row.get("correct_choice") != "365"]  # without those that lm-eval cannot ask
    write_rows(tmp_path / "eval.jsonl", rows)
    checkpoint = run_folder / "best_checkpoint"
    words = ["--input", str(tmp_path / "eval.jsonl"), "--checkpoint", str(checkpoint), "--device", "cpu"]
    main(["eval", "chat", *words, "--max-new-tokens", "40", "--out-dir", str(tmp_path / "ours")])
    main(["data", "export-lm-eval", "--input", str(tmp_path / "eval.jsonl"), "--out-dir", str(tmp_path / "tasks")])
    command = [
        *[sys.executable, "-m", "lm_eval", "run", "--model", "hf", "--apply_chat_template", "--device", "cpu"],
        *["--model_args", f"pretrained={checkpoint},dtype=float32", "--batch_size", "4"],
        *["--include_path", str(tmp_path / "tasks"), "--tasks", "picochat_capability"],
        *["--gen_kwargs", "max_gen_toks=40"],  # the model's context is shorter than the 256 of clock_either
        *["--output_path", str(tmp_path / "theirs"), "--log_samples"],
    ]
    offline = {"HF_HOME": str(tmp_path / "cache"), "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **offline})
    assert done.returncode == 0, done.stderr[-3000:]
    (file,) = (tmp_path / "theirs").rglob("results_*.json")
    theirs = json.loads(file.read_text())["results"]
    ours = json.loads((tmp_path / "ours" / "eval_report.json").read_text())["by_category"]
    rates = {"bench_math_addition_scratchpad": 4 / 6, "names_direct": 1 / 2, "clock_either": 1, "choice_choice": 1 / 2}
    for task, rate in rates.items():
        found, category = theirs[f"picochat_capability_{task}"], task.rpartition("_")[0]
        counted = found["acc,none" if category == "choice" else "exact_match,answer"]
        assert counted == pytest.approx(rate), category
        assert ours[category]["rate"] == pytest.approx(rate), category
