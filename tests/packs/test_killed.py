"""`kill -9` in the middle: what stands under a final name is whole, and all of it is there or none."""

import json
import subprocess
import sys
import time
from pathlib import Path

from picochat.packs.rows import read_rows

FILES = {
    "chat_task_mixture_capability.jsonl",
    "eval_task_mixture_capability.jsonl",
    "task_mixture_capability.md",
    "task_mixture_capability.json",
}
COMMAND = [sys.executable, "-m", "picochat", "data", "task-pack", "--dataset-pack", "dataset_pack.json", "--force",
           "--out-dir", "pack", "--sft-rows", "1000", "--eval-rows", "200"]  # fmt: skip


def test_a_killed_task_pack_leaves_all_its_files_or_none_and_the_next_run_is_not_confused(tmp_path: Path) -> None:
    (tmp_path / "dataset_pack.json").write_text('{"kept": 1}')
    started = time.perf_counter()
    subprocess.run(COMMAND, cwd=tmp_path, check=True, capture_output=True)
    whole = time.perf_counter() - started
    expected = {name: (tmp_path / "pack" / name).read_bytes() for name in FILES}
    for name in FILES:
        (tmp_path / "pack" / name).unlink()
    outcomes = set()
    for trial in range(12):
        process = subprocess.Popen(COMMAND, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(whole * (0.3 + 0.06 * trial))  # from the first imports to the end
        process.kill()
        process.wait()
        found = {path.name for path in (tmp_path / "pack").iterdir() if not path.name.startswith(".")}
        assert found in (set(), FILES)
        for name in found:
            assert (tmp_path / "pack" / name).read_bytes() == expected[name]
            (tmp_path / "pack" / name).unlink()
        assert json.loads((tmp_path / "dataset_pack.json").read_text())["kept"] == 1
        outcomes.add(bool(found))
    assert False in outcomes  # some were killed before they had finished
    subprocess.run(COMMAND, cwd=tmp_path, check=True, capture_output=True)
    assert len(read_rows(tmp_path / "pack/chat_task_mixture_capability.jsonl", "chat")) == 1000
