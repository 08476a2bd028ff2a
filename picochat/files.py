"""Writing that is whole or absent, and fingerprints of what was read.

    .name.tmp   written, flushed to the disk  ──rename──►  name       the old content or the new, never a part of it

The temporary name is fixed, so the next write uses up what a crash left. It is locked while it is written, and the lock
ends with its process: a second writer is refused.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import socket
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Literal

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
    """Write several text files: all are complete on the disk before the first is renamed, in the order given.

    UserError where one cannot be written; no final name was touched then.
    """
    with contextlib.ExitStack() as stack:
        for path, text in reversed(list(texts.items())):  # the stack ends the last one first
            temporary = stack.enter_context(_replacing(path, folder=False))
            temporary.write_text(text, encoding="utf-8", newline="\n")
            _sync(temporary)
    for folder in {path.parent for path in texts}:
        _sync(folder)  # not between the renames: the less time they take, the fewer crashes come between them


@contextlib.contextmanager
def atomic_file(path: str | Path, mode: Literal["w", "wb"] = "w") -> Iterator[IO[Any]]:
    """Yield an open file to stream into; it takes the place of ``path``, which is as it was if the block fails."""
    encoding, newline = ("utf-8", "\n") if mode == "w" else (None, None)
    with _replacing(Path(path), folder=False) as temporary:
        with temporary.open(mode, encoding=encoding, newline=newline) as file:
            yield file
        _sync(temporary)
    _sync(Path(path).parent)


@contextlib.contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Yield an empty folder to fill; it takes the place of ``path``, which is as it was if the block fails.

    An older folder of that name is moved aside as ``.name.old`` and deleted last.
    """
    with _replacing(Path(path), folder=True) as temporary:
        yield temporary
        for written in (*temporary.rglob("*"), temporary):
            _sync(written)
    _sync(Path(path).parent)


def settle(folder: Path) -> None:
    """End what a crash left between the two renames of `atomic_folder`: the older folder back in its place."""
    older = folder.with_name(f".{folder.name}.old")
    if older.exists():
        remove(older) if folder.exists() else older.rename(folder)


@contextlib.contextmanager
def locked_folder(folder: str | Path, name: str = ".lock", *, wait: bool = False) -> Iterator[None]:
    """Hold ``folder`` against others that lock the same ``name`` in it: wait for them, or UserError if one holds it.

    The folder is made if need be, and removed again if nothing came to lie in it. The lock ends with its process, and
    holds across machines on NFS.
    """
    path = Path(folder) / name
    with _removing_unused_parents(path):
        with _one_sentence(path):
            handle = _locked(path, Path(folder), fcntl.lockf, wait=wait)
        try:
            with contextlib.suppress(OSError):  # a full disk is reported by whoever has something to write
                os.ftruncate(handle, 0)
                os.write(handle, f"process {os.getpid()} on {socket.gethostname()}".encode())
            yield
        finally:
            with contextlib.suppress(OSError):  # made read-only meanwhile
                path.unlink(missing_ok=True)
            os.close(handle)


def refuse_existing(paths: list[Path], *, force: bool, folders: bool = False) -> None:
    """UserError if a path exists without ``force``, holds the current directory, or is a folder in place of a file."""
    for path in paths:
        if Path.cwd().is_relative_to(os.path.realpath(path)):
            raise UserError(f"{path} is the current folder, or holds it; name a file or folder inside it")
        if path.is_dir() and not folders:
            raise UserError(f"{path} is a folder; name the file")
        if path.exists() and not force:
            raise UserError(f"{path} exists already; add --force to replace it, or choose another place")


@contextlib.contextmanager
def _replacing(final: Path, *, folder: bool) -> Iterator[Path]:
    """Yield the temporary file or folder, locked and empty; rename it when the block ends without an error.

    The caller syncs it before, and its parent afterwards: a rename outlasts a power cut only then.
    """
    temporary = final.with_name(f".{final.name}.tmp")
    with _removing_unused_parents(final), _one_sentence(final):
        if temporary.is_dir() != folder:
            remove(temporary)
        handle = _locked(temporary, final, fcntl.flock, folder=folder)
        try:
            for left in temporary.glob("*"):
                remove(left)
            settle(final)
            yield temporary
            if folder and final.exists():
                final.rename(final.with_name(f".{final.name}.old"))
            temporary.replace(final)
        finally:
            with contextlib.suppress(OSError):  # the error that matters is on its way
                settle(final)
                remove(temporary)
            os.close(handle)


def _locked(
    path: Path, final: Path, lock: Callable[[int, int], None], *, folder: bool = False, wait: bool = False
) -> int:
    """Make and lock a file or folder; the handle that holds it. File systems that know no locks hold nothing."""
    while True:
        (path if folder else path.parent).mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDONLY if folder else os.O_RDWR | os.O_CREAT, 0o666)
        try:
            lock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            if os.path.samestat(os.fstat(handle), path.stat()):
                return handle
        except BlockingIOError:
            holder = os.read(handle, 200).decode() if path.name.endswith(".lock") else ""
            os.close(handle)
            wait_or = "wait until it has ended, or choose another folder"
            raise UserError(f"{final} is being written by {holder or 'another process'}; {wait_or}") from None
        except FileNotFoundError:
            pass
        except OSError:
            return handle
        os.close(handle)  # its holder removed or renamed it between opening and locking


def remove(path: Path) -> None:
    """Delete a file, a link or a folder with all that it holds, if it is there."""
    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    folder = path.is_dir()  # which a network file system may not sync, and a drop box not open
    with contextlib.suppress(OSError) if folder else contextlib.nullcontext():
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextlib.contextmanager
def _one_sentence(final: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        place = str(error.filename or final).replace(f".{final.name}.tmp", final.name)
        raise UserError(f"cannot write {place}: {error.strerror}") from error
    except UnicodeEncodeError as error:
        raise UserError(f"cannot write {final}: it names a file whose name is not UTF-8; rename that file") from error


@contextlib.contextmanager
def _removing_unused_parents(path: Path) -> Iterator[None]:
    """Remove the folders that were made for ``path``, innermost first, if nothing came to lie in them."""
    missing = [parent for parent in path.parents if not parent.exists()]
    try:
        yield
    finally:
        for folder in missing:
            with contextlib.suppress(OSError):  # not empty: it is in use now
                folder.rmdir()
