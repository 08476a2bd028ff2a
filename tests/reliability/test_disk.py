"""A full or read-only disk is one sentence; what was there before is whole, and the run goes on when there is room."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from killable import fit, refused, results

from picochat.callbacks import AtomicCheckpointIO

RESUME = ["--ckpt_path", "disk/run/last.ckpt"]
ON_DISK = ["--trainer.default_root_dir=disk/run"]


@pytest.fixture
def disk(folder: Path) -> Iterator[Path]:
    """`folder/disk`, a file system of 16 MiB."""
    place = folder / "disk"
    place.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", place], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"a small tmpfs cannot be mounted here: {done.stderr.strip()}")
    yield place
    subprocess.run(["umount", place], check=True)


def leave(disk: Path, kilobytes: int) -> None:
    """Fill the disk until only so much is free."""
    (disk / "filler").write_bytes(bytes(max(0, shutil.disk_usage(disk).free - kilobytes * 1024)))


FIT = ["fit", "--config", "run.yaml", *ON_DISK]


@pytest.mark.parametrize(
    ("free", "save_every", "expected"),
    [
        (300, 2, "cannot write disk/run/last.ckpt"),
        (60, 100, "cannot write disk/run/best_checkpoint"),
        (0, 100, "cannot write disk/run/"),
    ],
)
def test_a_run_on_a_full_disk_keeps_its_checkpoint_and_goes_on_from_it(
    killed: Path, disk: Path, undisturbed: Path, free: int, save_every: int, expected: str
) -> None:
    shutil.move(killed / "run", disk / "run")
    before = (disk / "run" / "last.ckpt").read_bytes()
    leave(disk, free)
    assert expected in refused(killed, [*FIT, *RESUME, f"--last_checkpoint.every_n_steps={save_every}"])
    assert (disk / "run" / "last.ckpt").read_bytes() == before
    assert AtomicCheckpointIO().load_checkpoint(disk / "run" / "last.ckpt")["global_step"] == 8
    (disk / "filler").unlink()
    fit(killed, [*ON_DISK, *RESUME])
    assert results(disk / "run") == results(undisturbed / "run")
    assert not list((disk / "run").glob(".*"))


def test_a_token_cache_that_finds_no_room_leaves_nothing(folder: Path, disk: Path) -> None:
    leave(disk, 8)
    said = refused(folder, ["fit", "--config", "run.yaml", "--data.work_dir=disk"])
    assert "cannot write disk/tokens/" in said
    assert [path.name for path in disk.iterdir()] == ["filler"]


COMMANDS = {
    "import": ["data", "import", "--source", "stories", "--documents", "500", "--out-dir", "disk/data"],
    "tokenizer": ["tok", "train", "--input", "corpus.txt", "--vocab-size", "264", "--out", "disk/tokenizer.json"],
    "task pack": ["data", "task-pack", "--dataset-pack", "dataset_pack.json", "--out-dir", "disk/pack",
                  "--sft-rows", "200", "--eval-rows", "40"],
    "evaluation": ["eval", "chat", "--input", "eval.jsonl", "--checkpoint", "model", "--out-dir", "disk/eval",
                   "--max-new-tokens", "8", "--device", "cpu"],
    "run": FIT,
}  # fmt: skip


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("fault", ["full", "read-only", "a file is in the way"])
def test_a_command_that_cannot_write_says_so_and_leaves_nothing(
    folder: Path, disk: Path, undisturbed: Path, name: str, fault: str
) -> None:
    shutil.copytree(undisturbed / "run" / "best_checkpoint", folder / "model")
    (folder / "dataset_pack.json").write_text("{}")
    (folder / "corpus.txt").write_text(" ".join(f"word{n * n}" for n in range(400)))
    words = COMMANDS[name]
    if fault == "full":
        leave(disk, 4)
    elif fault == "read-only":
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    else:
        words = [word.replace("disk/", "chat.jsonl/") for word in words]
    before = sorted(disk.rglob("*"))
    assert "cannot write" in refused(folder, words)
    assert sorted(disk.rglob("*")) == before
    assert (folder / "dataset_pack.json").read_text() == "{}"
