"""Writing that is all or nothing, and fingerprints of what was read.

A file or folder under its final name is always whole: it is written beside its place under a temporary name
(``.name.tmp-<host>-<pid>-<random>``), flushed to disk, and renamed. What a killed process left is cleared away by the
next that writes the same name: at once on its own host, after a day on others, whose processes cannot be asked.
"""

import contextlib
import errno
import glob
import hashlib
import json
import os
import secrets
import shutil
import socket
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, NoReturn

from picochat.errors import UserError

_A_DAY = 24 * 60 * 60  # seconds


def sha256_file(path: str | Path) -> str:
    """Hex sha256 of a file's bytes."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_text(text: str) -> str:
    """Hex sha256 of a text's UTF-8 bytes."""
    return hashlib.sha256(text.encode()).hexdigest()


def write_json(path: str | Path, value: Any) -> None:
    """Write ``value`` as indented JSON, atomically."""
    write_files({Path(path): json.dumps(value, indent=2, ensure_ascii=False) + "\n"})


def write_files(texts: Mapping[Path, str]) -> None:
    """Write several text files so that they appear together: all are complete on disk before the first is renamed.

    Raises:
        UserError: a folder cannot be created or written, or the disk is full; no final name was touched.
    """
    temporary = {path: _beside(path, "tmp") for path in texts}
    made = _missing_folders(texts)
    try:
        for path, text in texts.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            _clear_leftovers(path)
            with temporary[path].open("w", encoding="utf-8", newline="\n") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
        for path in texts:
            temporary[path].replace(path)
    except OSError as error:
        raise UserError(f"cannot write {error.filename or next(iter(texts))}: {error.strerror}") from error
    finally:
        for leftover in temporary.values():
            with contextlib.suppress(OSError):  # the error that matters is on its way
                leftover.unlink(missing_ok=True)
        _remove_unused(made)


@contextlib.contextmanager
def atomic_file(path: str | Path) -> Iterator[IO[str]]:
    """Yield an open text file to stream into; when the block ends without an error it takes the place of ``path``.

    Where the block fails, nothing stands at ``path`` that was not there before, nor a folder made for it.
    """
    final = Path(path)
    temporary = _beside(final, "tmp")
    made = _missing_folders([final])
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        _clear_leftovers(final)
        with temporary.open("w", encoding="utf-8", newline="\n") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(final)
    except OSError as error:
        raise UserError(f"cannot write {error.filename or final}: {error.strerror}") from error
    finally:
        with contextlib.suppress(OSError):  # the error that matters is on its way
            temporary.unlink(missing_ok=True)
        _remove_unused(made)


@contextlib.contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Yield a fresh folder to fill; when the block ends without an error it takes the place of ``path``.

    An older folder of that name is moved aside first and deleted last. What a killed process left behind (a half-filled
    folder, or the older one moved aside) is cleared away or put back by the next one that writes here.
    """
    final = Path(path)
    building, old = _beside(final, "tmp"), _beside(final, "old")
    made = _missing_folders([final])
    try:
        _clear_leftovers(final)
        building.mkdir(parents=True)
        yield building
        for file in building.rglob("*"):
            if file.is_file():
                with file.open("rb") as written:
                    os.fsync(written.fileno())
        if final.exists():
            final.rename(old)
        try:
            building.rename(final)
        except OSError:
            if old.exists():
                old.rename(final)
            raise
    except OSError as error:
        raise UserError(f"cannot write {error.filename or final}: {error.strerror}") from error
    finally:
        shutil.rmtree(building, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
        _remove_unused(made)


def _missing_folders(paths: Iterable[Path]) -> list[Path]:
    """The folders that will have to be made for ``paths``, innermost first."""
    parents = {parent for path in paths for parent in path.parents if not parent.exists()}
    return sorted(parents, key=lambda parent: len(parent.parts), reverse=True)


def _remove_unused(folders: Iterable[Path]) -> None:
    for folder in folders:
        with contextlib.suppress(OSError):  # not empty: it is in use now
            folder.rmdir()


def _beside(final: Path, kind: str) -> Path:
    """A name of this process's own; ids of processes repeat, on other hosts and in containers."""
    return final.with_name(f".{final.name}.{kind}-{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}")


def _clear_leftovers(final: Path) -> None:
    """Undo what processes that no longer run left beside ``final``."""
    for kind in ("old", "tmp"):
        for leftover in final.parent.glob(f".{glob.escape(final.name)}.{kind}-*"):
            if _in_use(leftover):
                continue
            if kind == "old" and not final.exists():
                leftover.rename(final)
            elif leftover.is_file():
                leftover.unlink(missing_ok=True)
            else:
                shutil.rmtree(leftover, ignore_errors=True)


def _in_use(leftover: Path) -> bool:
    """Whether the process that `_beside` named it for may still be writing."""
    rest, _, process = leftover.name.rpartition("-")[0].rpartition("-")
    if rest.endswith(f"-{socket.gethostname()}") and process.isdecimal():
        return int(process) != os.getpid() and is_running(int(process))
    try:
        return time.time() - leftover.stat().st_mtime < _A_DAY
    except FileNotFoundError:  # it has just been renamed
        return True


def is_running(process: int) -> bool:
    """Whether a process of this machine is alive."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # another user's
    return True


@contextlib.contextmanager
def locked_folder(folder: str | Path) -> Iterator[None]:
    """Hold ``folder`` against other runs; made if need be, and removed again if nothing came to lie in it.

    The operating system holds the lock, so that it ends with the process, however that ends. It is a POSIX lock, which
    forked workers do not inherit and which holds across machines on NFS. Where a file system knows no locks, nothing is
    held.

    Raises:
        UserError: another process holds it.
    """
    import fcntl  # not on Windows, where the rest of this module works

    path = Path(folder) / ".lock"
    made = _missing_folders([path])
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)  # unbuffered: a full disk must not spoil closing it
    except OSError as error:
        _remove_unused(made)
        raise UserError(f"cannot write {error.filename or path}: {error.strerror}") from error
    try:
        try:
            fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EAGAIN):
                _refuse_held(folder, os.read(handle, 200).decode(errors="replace"))
        if not os.fstat(handle).st_nlink:  # its holder ended, and removed it, between the two lines above
            _refuse_held(folder, "")
        with contextlib.suppress(OSError):  # a full disk is said by whoever has something to write
            os.ftruncate(handle, 0)
            os.write(handle, f"process {os.getpid()} on {socket.gethostname()}".encode())
        try:
            yield
        finally:
            with contextlib.suppress(OSError):  # made read-only meanwhile
                path.unlink(missing_ok=True)
            _remove_unused(made)
    finally:
        os.close(handle)


def _refuse_held(folder: str | Path, holder: str) -> NoReturn:
    raise UserError(
        f"{folder} is being written by {holder or 'another process'}; wait until it has ended, or choose another folder"
    )


def refuse_existing(paths: list[Path], *, force: bool, folders: bool = False) -> None:
    """Raise UserError if one of ``paths`` cannot be written: it exists and ``force`` was not given, it is the folder
    that one stands in, or a folder where a file is to be."""
    for path in paths:
        if Path.cwd().is_relative_to(os.path.realpath(path)):
            raise UserError(f"{path} is the current folder, or holds it; name a file or folder inside it")
        if path.is_dir() and not folders:
            raise UserError(f"{path} is a folder; name the file")
        if path.exists() and not force:
            raise UserError(f"{path} exists already; add --force to replace it, or choose another place")
