"""A study whose launcher is killed or interrupted in the middle of a training, in real processes."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from world import world

FILES = ("study.html", "study.md", "study.json", "effects.csv")
LINE = "train sft --input chat.jsonl --val-fraction 0 --steps {} --save-every 20 --batch-size 4 --context-length 64 " \
    "--device cpu --precision float32"  # fmt: skip


def start(folder: Path) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "picochat", "study", "run", "study.yaml"]
    with (folder / "said.txt").open("ab") as said:
        return subprocess.Popen(command, cwd=folder, stdout=said, stderr=said, start_new_session=True)


def prepare(folder: Path) -> Path:
    world(folder, rows=80, asked=24)
    arms = {"short": [LINE.format(20)], "long": [LINE.format(200)]}
    study = {"eval_input": "eval.jsonl", "checkpoint": "base", "evaluate": "--max-new-tokens 4 --device cpu"}
    (folder / "study.yaml").write_text(yaml.safe_dump({**study, "arms": arms, "seeds": 2, "slots": 2}, sort_keys=False))
    return folder


@pytest.mark.slow
def test_a_study_that_is_killed_or_interrupted_ends_with_the_same_report(tmp_path: Path) -> None:
    calm = prepare(tmp_path / "calm")
    assert start(calm).wait() == 0
    for number, status in ((signal.SIGKILL, -9), (signal.SIGTERM, 143)):
        folder = prepare(tmp_path / number.name)
        launcher = start(folder)
        while not list(folder.glob("runs/study/study/runs/*/0/last.ckpt")):
            assert launcher.poll() is None, (folder / "said.txt").read_text()
            time.sleep(0.05)
        os.kill(launcher.pid, number)
        assert launcher.wait() == status
        assert start(folder).wait() == 0, (folder / "said.txt").read_text()
        assert "4 of 4 runs are finished" not in (folder / "said.txt").read_text()
        for name in FILES:
            assert (folder / "runs/study/study" / name).read_bytes() == (calm / "runs/study/study" / name).read_bytes()
