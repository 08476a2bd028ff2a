"""One undisturbed run that the disturbed ones are compared with."""

import shutil
from pathlib import Path

import pytest
from runs import fit, world


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A world whose run has ended; its folder `run` is not to be changed."""
    folder = world(tmp_path_factory.mktemp("undisturbed"))
    fit(folder)
    return folder


@pytest.fixture
def folder(undisturbed: Path, tmp_path: Path) -> Path:
    """A copy of the world, its tokens included, without the run."""
    shutil.copytree(undisturbed, tmp_path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("run"))
    return tmp_path
