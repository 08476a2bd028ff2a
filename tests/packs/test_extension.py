"""A user's own skill, as docs/howto/tasks.md prints it: one small file, by class path from the current folder."""

import json
import re
import sys
from pathlib import Path

import pytest

from picochat.cli import main
from picochat.packs.formats import read_rows

PAGE = (Path(__file__).parents[2] / "docs/howto/tasks.md").read_text("utf-8")


def test_a_class_path_in_the_current_folder_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (block,) = re.findall(r"^```python\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)
    assert len(block.splitlines()) < 60
    (tmp_path / "my_tasks.py").write_text(block)
    (tmp_path / "dataset_pack.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    command = "data task-pack --dataset-pack . --profile my_tasks.mixture --sft-rows 200 --eval-rows 40"
    main(command.split())
    train = read_rows("chat_task_mixture_romans.jsonl", "chat")
    stages = [row["stage"] for row in train if row["category"] == "bench_math_roman"]
    assert (len(stages), stages.count("small")) == (160, 64)
    evaluation = read_rows("eval_task_mixture_romans.jsonl", "eval")
    assert {row["answer"] for row in (*train, *evaluation) if row["key"] == "roman:14"} == {"XIV"}
    report = json.loads(Path("task_mixture_romans.json").read_text())
    assert report["contamination"]["status"] == "ready"
    assert report["eval"]["by_category"]["bench_math_roman"]["rows"] == 32
