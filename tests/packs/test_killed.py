"""A task pack whose process dies while it writes: none of its files is there, and the next run is not confused."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

DIES = """
import os, sys, picochat.files
from picochat.packs import build_task_pack
written, sync = [], picochat.files._sync
def dies(path):
    written.append(path)
    if len(written) == int(sys.argv[1]):
        os._exit(9)  # nothing is cleaned up, as after kill -9
    sync(path)
picochat.files._sync = dies
build_task_pack("dataset_pack.json", out_dir="pack", sft_rows=32, eval_rows=16)
"""


@pytest.mark.parametrize("at", [1, 3, 5, 0])  # of chat and eval rows, two reports and the dataset pack; 0: it lives
def test_files_appear_together_or_not_at_all(tmp_path: Path, at: int) -> None:
    (tmp_path / "dataset_pack.json").write_text('{"kept": 1}')
    done = subprocess.run([sys.executable, "-c", DIES, str(at)], cwd=tmp_path)
    assert done.returncode == (9 if at else 0)
    assert len(list(tmp_path.glob("pack/[!.]*"))) == (0 if at else 4)
    assert ("chat" in json.loads((tmp_path / "dataset_pack.json").read_text())) == (at == 0)
    if at:
        subprocess.run([sys.executable, "-c", DIES, "0"], cwd=tmp_path, check=True)
        assert len(list(tmp_path.glob("pack/*"))) == 4
