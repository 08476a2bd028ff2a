"""Writing that is all or nothing, and fingerprints of what was read.

A file or folder under its final name is always whole: it is written beside its place under a temporary name
(``.name.tmp-<pid>``), flushed to disk, and renamed.
"""

import contextlib
import errno
import hashlib
import json
import os
import shutil
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, NoReturn

from picochat.errors import UserError


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
    temporary = {path: path.with_name(f".{path.name}.tmp-{os.getpid()}") for path in texts}
    try:
        for path, text in texts.items():
            path.parent.mkdir(parents=True, exist_ok=True)
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


@contextlib.contextmanager
def atomic_file(path: str | Path) -> Iterator[IO[str]]:
    """Yield an open text file to stream into; when the block ends without an error it takes the place of ``path``.

    Where the block fails, nothing stands at ``path`` that was not there before, nor a folder made for it.
    """
    final = Path(path)
    temporary = final.with_name(f".{final.name}.tmp-{os.getpid()}")
    made = [folder for folder in final.parents if not folder.exists()]  # innermost first
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("w", encoding="utf-8", newline="\n") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(final)
    except OSError as error:
        raise UserError(f"cannot write {error.filename or final}: {error.strerror}") from error
    finally:
        temporary.unlink(missing_ok=True)
        for folder in made:
            with contextlib.suppress(OSError):  # not empty: it is in use now
                folder.rmdir()


@contextlib.contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Yield a fresh folder to fill; when the block ends without an error it takes the place of ``path``.

    An older folder of that name is moved aside first and deleted last. What a killed process left behind (a half-filled
    folder, or the older one moved aside) is cleared away or put back by the next one that writes here.
    """
    final = Path(path)
    building = final.with_name(f".{final.name}.tmp-{os.getpid()}")
    old = final.with_name(f".{final.name}.old-{os.getpid()}")
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


def _clear_leftovers(final: Path) -> None:
    """Undo what processes that no longer run left beside ``final``."""
    for kind in ("old", "tmp"):
        for leftover in final.parent.glob(f".{final.name}.{kind}-*"):
            process = leftover.name.rpartition("-")[2]
            if process.isdecimal() and int(process) != os.getpid() and _is_running(int(process)):
                continue
            if kind == "old" and not final.exists():
                leftover.rename(final)
            else:
                shutil.rmtree(leftover, ignore_errors=True)


def _is_running(process: int) -> bool:
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
    made = [parent for parent in path.parents if not parent.exists()]  # innermost first
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a+", encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot write {error.filename or path}: {error.strerror}") from error
    with file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EAGAIN):
                file.seek(0)
                _refuse_held(folder, file.read().strip())
        if not os.fstat(file.fileno()).st_nlink:  # its holder ended, and removed it, between the two lines above
            _refuse_held(folder, "")
        file.truncate(0)
        with contextlib.suppress(OSError):  # a full disk is said by whoever has something to write
            file.write(f"process {os.getpid()} on {socket.gethostname()}")
            file.flush()
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
            for parent in made:
                with contextlib.suppress(OSError):  # not empty: it is in use now
                    parent.rmdir()


def _refuse_held(folder: str | Path, holder: str) -> NoReturn:
    raise UserError(
        f"{folder} is being written by {holder or 'another process'}; wait until it has ended, or choose another folder"
    )


def refuse_existing(paths: list[Path], *, force: bool) -> None:
    """Raise UserError if one of ``paths`` exists and ``force`` was not given."""
    for path in paths:
        if path.exists() and not force:
            raise UserError(f"{path} exists already; add --force to replace it, or choose another place")
