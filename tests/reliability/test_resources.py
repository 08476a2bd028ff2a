"""What a run opens it closes, and what it holds does not grow with its length."""

import gc
import os
import threading
import warnings
from pathlib import Path

import pytest
from killable import fit

from picochat.cli import main


def open_files() -> set[str]:
    """What the handles of this process lead to; pipes and sockets by their number."""
    found = set()
    for handle in Path("/proc/self/fd").iterdir():
        try:
            found.add(f"{handle.name} {handle.readlink()}")
        except OSError:
            continue  # the one that lists the folder
    return found


def held() -> dict[str, set[str]]:
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    threads = {thread.name for thread in threading.enumerate()}
    return {"files": open_files(), "processes": set(children), "threads": threads}


def test_main_leaves_no_file_no_process_and_no_thread_behind(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    words = ["fit", "--config", "run.yaml", "--data.num_workers=1"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        main([*words, "--trainer.default_root_dir=first"])  # what is imported and cached once is there afterwards
        before = held()
        main([*words, "--trainer.default_root_dir=second"])
    assert (folder / "second" / "last_checkpoint").is_dir()
    gc.collect()  # a trainer and its modules refer to each other; their mapped files close when the circle is found
    assert {name: later - before[name] for name, later in held().items()} == {name: set() for name in before}


GROWTH = """
import resource
from lightning import Callback

class Memory(Callback):
    def on_train_batch_end(self, trainer, *args):
        if trainer.global_step in (100, 300):
            pages = int(open("/proc/self/statm").read().split()[1])
            print("resident", pages * resource.getpagesize(), flush=True)
"""


@pytest.mark.slow
def test_two_hundred_more_steps_and_validations_hold_no_more_memory(folder: Path) -> None:
    (folder / "memory.py").write_text(GROWTH)
    more = ["--trainer.max_steps=300", '--trainer.callbacks+={"class_path": "memory.Memory"}']
    printed = fit(folder, ["--trainer.val_check_interval=10", *more])
    early, late = (int(line.split()[1]) for line in printed.splitlines() if line.startswith("resident"))
    assert late - early < 8 * 2**20
