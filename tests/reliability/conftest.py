"""One undisturbed run that the disturbed ones are compared with."""

import shutil
from pathlib import Path

import pytest
from killable import fit, kill, world


def copied(source: Path, target: Path, *leaving: str) -> Path:
    return shutil.copytree(source, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns(*leaving, ".output-*"))


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A world whose run has ended; its folder `run` is not to be changed."""
    folder = world(tmp_path_factory.mktemp("undisturbed"))
    fit(folder)
    return folder


@pytest.fixture
def folder(undisturbed: Path, tmp_path: Path) -> Path:
    """A copy of the world, its tokens included, without the run."""
    return copied(undisturbed, tmp_path, "run")


@pytest.fixture(scope="session")
def _killed(undisturbed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return kill(copied(undisturbed, tmp_path_factory.mktemp("killed"), "run"), [], step=9)


@pytest.fixture
def killed(_killed: Path, tmp_path: Path) -> Path:
    """A world whose run was killed after its second validation, at step 9; last.ckpt is of step 8."""
    return copied(_killed, tmp_path)
