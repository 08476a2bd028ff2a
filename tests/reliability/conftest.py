"""One undisturbed run that the disturbed ones are compared with."""

import shutil
from pathlib import Path

import pytest
from killable import fit, kill, world


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A world whose run has ended; its folder `run` is not to be changed."""
    folder = world(tmp_path_factory.mktemp("undisturbed"))
    fit(folder)
    return folder


@pytest.fixture
def folder(undisturbed: Path, tmp_path: Path) -> Path:
    """A copy of the world, its tokens included, without the run."""
    shutil.copytree(undisturbed, tmp_path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("run", ".output-*"))
    return tmp_path


@pytest.fixture(scope="session")
def _killed(undisturbed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("killed")
    shutil.copytree(undisturbed, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("run", ".output-*"))
    return kill(folder, [], step=9)


@pytest.fixture
def killed(_killed: Path, tmp_path: Path) -> Path:
    """A world whose run was killed after its second validation, at step 9; last.ckpt is of step 8."""
    shutil.copytree(_killed, tmp_path, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".output-*"))
    return tmp_path
