"""A user's own skill: one small file, by class path from the current folder or through entry points."""

import json
import sys
from pathlib import Path

import pytest

from picochat.cli import main
from picochat.packs.formats import read_rows

MY_TASKS = """
from picochat.packs import Component, Draw, Problem, Profile, Task

SIGNS = ((100, "C"), (90, "XC"), (50, "L"), (40, "XL"), (10, "X"), (9, "IX"), (5, "V"), (4, "IV"), (1, "I"))


class Roman(Task):
    category = "bench_math_roman"
    stages = {"small": 0.4, "large": 0.6}
    known = ("Write {n} in Roman numerals.", "How do the Romans write {n}?", "What is {n} as a Roman numeral?")
    new = ("Give the Roman numeral of {n}.",)

    def values(self, stage: str) -> range:
        return range(1, 40) if stage == "small" else range(40, 400)

    def key(self, stage: str, value: int) -> str:
        return f"roman:{value}"

    def pose(self, stage: str, value: int, template: str, draw: Draw) -> Problem:
        written, steps, rest = "", [], value
        for sign_value, sign in SIGNS:
            while rest >= sign_value:
                steps.append(f"{rest} - {sign_value} = {rest - sign_value}, write {sign}")
                rest, written = rest - sign_value, written + sign
        return Problem(template.format(n=value), written, written, tuple(steps), content=(str(value),))

    def fault(self, stage: str, value: int, problem: Problem) -> str | None:
        read = sum(int(step.split()[2]) for step in problem.steps)
        return None if read == value else f"the steps of {value} make {read}"


skill = Component("roman_skill", 0.8, "weak_skills", {"TASK": 1.0})
anchor = Component("anchor", 0.2, "release_behavior", {"identity": 0.8, "refusal": 0.2}, answer_style="direct")
mixture = Profile("romans", (skill, anchor))
"""


def make_and_check(folder: Path, profile: str) -> None:
    (folder / "dataset_pack.json").write_text("{}")
    command = ["data", "task-pack", "--dataset-pack", str(folder), "--profile", profile]
    main([*command, "--sft-rows", "200", "--eval-rows", "40"])
    train = read_rows(folder / "chat_task_mixture_romans.jsonl", "chat")
    stages = [row["stage"] for row in train if row["category"] == "bench_math_roman"]
    assert (len(stages), stages.count("small")) == (160, 64)
    evaluation = read_rows(folder / "eval_task_mixture_romans.jsonl", "eval")
    assert {row["answer"] for row in (*train, *evaluation) if row["key"] == "roman:14"} == {"XIV"}
    report = json.loads((folder / "task_mixture_romans.json").read_text())
    assert report["contamination"]["status"] == "ready"
    assert report["eval"]["by_category"]["bench_math_roman"]["rows"] == 32
    assert json.loads((folder / "dataset_pack.json").read_text())["chat"] == "chat_task_mixture_romans.jsonl"


def test_a_class_path_in_the_current_folder_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(MY_TASKS.splitlines()) < 60
    (tmp_path / "my_romans.py").write_text(MY_TASKS.replace("TASK", "my_romans.Roman"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    make_and_check(tmp_path, "my_romans.mixture")


def test_an_installed_package_registers_tasks_and_profiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "roman_package.py").write_text(MY_TASKS.replace("TASK", "roman"))
    metadata = tmp_path / "roman_package-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: roman-package\nVersion: 1.0\n")
    points = "[picochat.tasks]\nroman = roman_package:Roman\n[picochat.profiles]\nromans = roman_package:mixture\n"
    (metadata / "entry_points.txt").write_text(points)
    monkeypatch.syspath_prepend(str(tmp_path))
    make_and_check(tmp_path, "romans")
