"""What is written is whole or absent, what a crash left is used up by the next write, and two writers never mix."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from picochat.errors import UserError
from picochat.files import atomic_file, atomic_folder, locked_folder, settle, write_files


def fill(folder: Path, text: str) -> None:
    with atomic_folder(folder) as building:
        (building / "file.txt").write_text(text)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_folder_appears_whole_and_replaces_the_older_one(tmp_path: Path) -> None:
    fill(tmp_path / "model", "first")
    fill(tmp_path / "model", "second")
    assert names(tmp_path) == {"model"}
    assert (tmp_path / "model/file.txt").read_text() == "second"


def test_an_error_while_filling_leaves_the_older_content(tmp_path: Path) -> None:
    fill(tmp_path / "model", "first")
    write_files({tmp_path / "a.txt": "first"})
    with pytest.raises(RuntimeError), atomic_folder(tmp_path / "model") as building:
        (building / "file.txt").write_text("half")
        raise RuntimeError
    with pytest.raises(RuntimeError), atomic_file(tmp_path / "a.txt") as file:
        file.write("half")
        raise RuntimeError
    assert names(tmp_path) == {"model", "a.txt"}
    assert (tmp_path / "model/file.txt").read_text() == (tmp_path / "a.txt").read_text() == "first"


KILLED = """
import os, signal, sys
from pathlib import Path
from picochat.files import atomic_file, atomic_folder
with atomic_folder("model") as building, atomic_file("a.txt") as file:
    (building / "half.txt").write_text("half")
    file.write("half" * 100_000)
    print("written", flush=True)
    sys.stdin.read()
"""


def test_leftovers_of_a_killed_writer_are_used_up_by_the_next_and_a_second_writer_is_refused(tmp_path: Path) -> None:
    first = subprocess.Popen(
        [sys.executable, "-c", KILLED], cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert first.stdout is not None
    first.stdout.readline()
    for write in (lambda: fill(tmp_path / "model", "mine"), lambda: write_files({tmp_path / "a.txt": "mine"})):
        with pytest.raises(UserError, match=r"(model|a\.txt) is being written by another process; wait until"):
            write()
    assert names(tmp_path) == {".model.tmp", ".a.txt.tmp"}
    first.kill()
    assert first.wait() == -signal.SIGKILL
    first.communicate()
    assert names(tmp_path) == {".model.tmp", ".a.txt.tmp"}
    fill(tmp_path / "model", "mine")
    write_files({tmp_path / "a.txt": "mine"})
    assert names(tmp_path) == {"model", "a.txt"}
    assert names(tmp_path / "model") == {"file.txt"}
    assert (tmp_path / "a.txt").read_text() == "mine"


@pytest.mark.parametrize("written_anew", [False, True])
def test_a_crash_between_the_two_renames_loses_neither_folder(tmp_path: Path, written_anew: bool) -> None:
    fill(tmp_path / "model", "first")
    (tmp_path / "model").rename(tmp_path / ".model.old")
    with pytest.raises(RuntimeError), atomic_folder(tmp_path / "model"):
        raise RuntimeError
    assert (tmp_path / "model/file.txt").read_text() == "first"
    (tmp_path / "model").rename(tmp_path / ".model.old")
    if written_anew:  # the crash came after the second rename
        fill(tmp_path / "other", "second")
        (tmp_path / "other").rename(tmp_path / "model")
    settle(tmp_path / "model")
    assert names(tmp_path) == {"model"}
    assert (tmp_path / "model/file.txt").read_text() == ("second" if written_anew else "first")


def test_no_file_appears_when_one_of_several_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "blocked").write_text("a file, where a folder is needed")
    with pytest.raises(UserError, match=r"cannot write .*blocked"):
        write_files({tmp_path / "new" / "a.txt": "a", tmp_path / "blocked" / "b.txt": "b"})
    assert names(tmp_path) == {"blocked"}


def test_all_is_synced_before_it_is_renamed_and_a_file_system_that_syncs_no_folders_is_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []

    def fsync(handle: int) -> None:
        synced.append(Path(f"/proc/self/fd/{handle}").readlink().name)
        if Path(f"/proc/self/fd/{handle}").is_dir():
            raise OSError(errno.EINVAL, "Invalid argument")  # as many network file systems say

    monkeypatch.setattr(os, "fsync", fsync)
    fill(tmp_path / "model", "first")
    with atomic_file(tmp_path / "b.txt") as file:
        file.write("first")
    write_files({tmp_path / "a.txt": "first"})
    here = tmp_path.name
    assert synced == ["file.txt", ".model.tmp", here, ".b.txt.tmp", here, ".a.txt.tmp", here]
    assert names(tmp_path) == {"model", "a.txt", "b.txt"}


def test_a_text_with_a_name_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"a.txt: it names a file whose name is not UTF-8; rename that file"):
        write_files({tmp_path / "a.txt": "caf\udce9"})  # é in Latin-1, as Python reads the name
    assert names(tmp_path) == set()


def test_a_locked_folder_is_waited_for_and_left_as_it_was(tmp_path: Path) -> None:
    code = (
        "import sys; from picochat.files import locked_folder\n"
        "with locked_folder('run', wait=True): print('held', flush=True); sys.stdin.read()"
    )
    with locked_folder(tmp_path / "run"):
        second = subprocess.Popen(
            [sys.executable, "-c", code], cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert (tmp_path / "run/.lock").read_text() == f"process {os.getpid()} on {os.uname().nodename}"
    assert second.stdout is not None
    assert second.stdout.readline() == b"held\n"
    with (
        pytest.raises(UserError, match=rf"run is being written by process {second.pid} on "),
        locked_folder(tmp_path / "run"),
    ):
        raise AssertionError("two hold it")
    second.communicate()
    assert names(tmp_path) == set()
