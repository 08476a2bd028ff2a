"""What is written is whole, and what a killed process left is cleared away."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from picochat.errors import UserError
from picochat.files import _beside, atomic_file, atomic_folder, refuse_existing, write_files

DEAD = 2**22 + 1  # above the largest process id that Linux gives
HERE = socket.gethostname()


def fill(folder: Path, text: str) -> None:
    with atomic_folder(folder) as building:
        (building / "file.txt").write_text(text)


def test_a_folder_appears_whole_and_replaces_the_older_one(tmp_path: Path) -> None:
    fill(tmp_path / "model", "first")
    fill(tmp_path / "model", "second")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert (tmp_path / "model/file.txt").read_text() == "second"


def test_an_error_while_filling_leaves_the_older_folder(tmp_path: Path) -> None:
    fill(tmp_path / "model", "first")
    with pytest.raises(RuntimeError), atomic_folder(tmp_path / "model") as building:
        (building / "file.txt").write_text("half")
        raise RuntimeError
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert (tmp_path / "model/file.txt").read_text() == "first"


def test_leftovers_of_a_killed_process_are_cleared_and_those_of_a_running_one_are_not(tmp_path: Path) -> None:
    running = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        for process in (DEAD, running.pid):
            (tmp_path / f".model.tmp-{HERE}-{process}-0a").mkdir()
        fill(tmp_path / "model", "new")
        assert {path.name for path in tmp_path.iterdir()} == {"model", f".model.tmp-{HERE}-{running.pid}-0a"}
    finally:
        running.communicate()


def test_leftovers_of_other_hosts_are_cleared_after_a_day(tmp_path: Path) -> None:
    new, old = tmp_path / f".model.tmp-far-{DEAD}-0a", tmp_path / f".model.tmp-far-{DEAD}-0b"
    for path in (new, old):
        path.mkdir()
    os.utime(old, (0, time.time() - 25 * 3600))
    fill(tmp_path / "model", "new")
    assert {path.name for path in tmp_path.iterdir()} == {"model", new.name}


def test_two_writers_of_one_process_id_write_beside_each_other(tmp_path: Path) -> None:
    """As in two containers that share a disk, in each of which it is process 1."""
    with atomic_file(tmp_path / "a.txt") as first, atomic_file(tmp_path / "b.txt"):
        first.write("whole")
        assert len({path.name for path in tmp_path.iterdir()}) == 2
        names = {str(_beside(tmp_path / "a.txt", "tmp")) for _ in range(9)}
    assert len(names) == 9
    assert (tmp_path / "a.txt").read_text() == "whole"


def test_a_file_that_a_killed_process_left_half_written_is_cleared_by_the_next_writer(tmp_path: Path) -> None:
    for name in ("a[1].txt", "b.txt"):
        (tmp_path / f".{name}.tmp-{HERE}-{DEAD}-0a").write_text("half")
    write_files({tmp_path / "a[1].txt": "whole"})
    with atomic_file(tmp_path / "b.txt") as file:
        file.write("whole")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a[1].txt": "whole", "b.txt": "whole"}


def test_a_folder_moved_aside_by_a_killed_process_is_put_back_when_the_next_write_fails(tmp_path: Path) -> None:
    aside = tmp_path / f".model.old-{HERE}-{DEAD}-0a"
    aside.mkdir()
    (aside / "file.txt").write_text("first")
    with pytest.raises(RuntimeError), atomic_folder(tmp_path / "model"):
        raise RuntimeError
    assert (tmp_path / "model/file.txt").read_text() == "first"


def test_no_file_appears_when_one_of_several_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "blocked").write_text("a file, where a folder is needed")
    with pytest.raises(UserError, match="cannot write"):
        write_files({tmp_path / "a.txt": "a", tmp_path / "blocked" / "b.txt": "b"})
    assert [path.name for path in tmp_path.iterdir()] == ["blocked"]


def test_existing_files_are_refused_without_force(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    refuse_existing([path], force=False)
    path.write_text("")
    refuse_existing([path], force=True)
    with pytest.raises(UserError, match="add --force"):
        refuse_existing([path], force=False)
    assert list(tmp_path.iterdir()) == [path]
