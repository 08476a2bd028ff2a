"""Wheel and sdist hold picochat and nothing else, with all that it needs, and the wheel works where it is installed."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("picochat", "datamodules", "callbacks", "configs", "examples/picochat-roman")


def python(*words: str | Path, cwd: Path) -> str:
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, cwd=cwd)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


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
    python("-m", "build", "--no-isolation", "--outdir", out, cwd=source)
    return out


def test_the_wheel_holds_every_file_of_the_package_and_nothing_else(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    files = [path.relative_to(ROOT) for name in FOLDERS for path in (ROOT / name).rglob("*") if path.is_file()]
    own = [path for path in files if "__pycache__" not in path.parts]
    places = [path.as_posix().replace("examples/picochat-roman", "example_plugin") for path in own]
    assert names == {place if place.startswith("picochat/") else f"picochat/{place}" for place in places}
    assert {"picochat/py.typed", "picochat/packs/words.txt", "picochat/configs/capability.yaml"} <= names


def test_the_wheel_works_where_it_is_installed(built: Path, tmp_path: Path) -> None:
    (wheel,) = built.glob("*.whl")
    target = tmp_path / "site"
    python("-m", "pip", "install", "--quiet", "--no-deps", "--target", target, wheel, cwd=tmp_path)
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
    assert python("-P", "-c", code, target, cwd=tmp_path).startswith("picochat ")


def test_twine_finds_nothing_to_say(built: Path) -> None:
    said = python("-m", "twine", "--no-color", "check", "--strict", *built.iterdir(), cwd=built)
    assert said.count("PASSED") == 2
