"""Wheel and sdist hold picochat and nothing else, with all that it needs, and the wheel works where it is installed."""

import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def run(*command: str, cwd: Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=cwd)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


FOLDERS = ("picochat", "datamodules", "callbacks", "configs", "examples/picochat-roman")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with sdist and wheel: the wheel is built from the sdist, as pip does where it finds no wheel.

    Built from a copy, because setuptools leaves build/ and *.egg-info beside what it builds.
    """
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    for name in FOLDERS:
        shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), cwd=source)
    return out


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    (found,) = built.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


def test_only_picochat_lies_at_the_top(names: set[str]) -> None:
    assert {name.split("/")[0] for name in names} == {"picochat"}


def test_every_file_of_the_package_is_in_it(names: set[str]) -> None:
    files = [path.relative_to(ROOT) for name in FOLDERS for path in (ROOT / name).rglob("*") if path.is_file()]
    own = [path for path in files if "__pycache__" not in path.parts]
    places = [path.as_posix().replace("examples/picochat-roman", "example_plugin") for path in own]
    expected = {place if place.startswith("picochat/") else f"picochat/{place}" for place in places}
    assert names == expected
    assert {
        "picochat/py.typed",
        "picochat/packs/words.txt",
        "picochat/packs/content/en/spelling.toml",
        "picochat/configs/capability.yaml",
    } <= names


def test_it_works_where_it_is_installed(wheel: Path, tmp_path: Path) -> None:
    target = tmp_path / "site"
    run(
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--target",
        str(target),
        str(wheel),
        cwd=tmp_path,
    )
    assert {path.name for path in target.iterdir() if "dist-info" not in path.name} == {"picochat", "bin"}
    code = """
import sys
sys.path.insert(0, "site")
import picochat, picochat.callbacks, picochat.datamodules, picochat.configs
assert all(path.startswith(sys.argv[1]) for module in (picochat, picochat.callbacks) for path in module.__path__)
from picochat.datamodules import CapabilityDataModule
from picochat.cli import main
main(["--version"])
"""
    version = run(sys.executable, "-P", "-c", code, str(target), cwd=tmp_path)
    assert version.startswith("picochat ")


def test_the_sdist_holds_the_sources_once(built: Path) -> None:
    (found,) = built.glob("*.tar.gz")
    with tarfile.open(found) as archive:
        files = {member.name.partition("/")[2] for member in archive if member.isfile()}
        links = [member.name for member in archive if member.issym() or member.islnk()]
    assert {"pyproject.toml", "README.md", "LICENSE", "callbacks/lr_schedule.py", "configs/base.yaml"} <= files
    assert links == []
    assert not {name for name in files if name.startswith(("picochat/callbacks/", "picochat/configs/"))}


def test_twine_finds_nothing_to_say(built: Path) -> None:
    said = run(sys.executable, "-m", "twine", "--no-color", "check", "--strict", *map(str, built.iterdir()), cwd=built)
    assert said.count("PASSED") == 2
