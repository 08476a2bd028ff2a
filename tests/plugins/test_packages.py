"""Packages of other people: examples/picochat-roman is installed into a fresh venv, beside one that is broken."""

import shutil
import site
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from picochat.packs.rows import read_rows

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "picochat-roman"
BROKEN = """
[picochat.datamodules]
Broken = broken_package.nowhere:Data

[picochat.callbacks]
Loud = broken_package:Loud
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a venv that holds picochat-roman and a broken package, and sees what is installed here."""
    folder = tmp_path_factory.mktemp("plugins")
    venv.create(folder / "venv", with_pip=False)
    python = folder / "venv" / "bin" / "python"
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(folder / "venv")}))
    outer = [str(ROOT), *site.getsitepackages()]
    (packages / "outer.pth").write_text("".join(f"import site; site.addsitedir({path!r})\n" for path in outer))
    source = shutil.copytree(EXAMPLE, folder / "picochat-roman", ignore=shutil.ignore_patterns("__pycache__"))
    flags = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check"]
    done = subprocess.run(
        [sys.executable, "-m", "pip", "--python", python, "install", *flags, source], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (packages / "broken_package.py").write_text("class Loud: boom = 1 / 0\n")
    metadata = packages / "broken_package-2.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: broken-package\nVersion: 2.0\n")
    (metadata / "entry_points.txt").write_text(BROKEN)
    return python


def picochat(python: Path, line: str, cwd: Path) -> tuple[int, str, str]:
    done = subprocess.run(
        [python, "-m", "picochat", *line.split()], capture_output=True, text=True, cwd=cwd, timeout=300
    )
    return done.returncode, done.stdout, done.stderr


def test_the_example_is_a_whole_package_in_few_lines() -> None:
    sources = list(EXAMPLE.rglob("*.py"))
    assert {path.name for path in sources} == {"__init__.py", "tasks.py", "data.py"}
    assert sum(len(path.read_text().splitlines()) for path in sources) < 120


def test_list_says_what_is_installed_and_from_where(python: Path, tmp_path: Path) -> None:
    status, printed, _ = picochat(python, "list", tmp_path)
    assert status == 0
    lines = [line.split() for line in printed.splitlines()]
    for line in (
        "roman picochat-roman 0.1.0 picochat_roman.tasks.Roman",
        "romans picochat-roman 0.1.0 picochat_roman.tasks.romans",
        "Roman picochat-roman 0.1.0 picochat_roman.data.RomanDataModule",
        "roman.yaml picochat-roman 0.1.0 picochat_roman",
        "Loud broken-package 2.0 broken_package.Loud",
    ):
        assert line.split() in lines, line
    assert any(line[:2] == ["GradientClip", "picochat"] for line in lines)


def test_list_check_names_what_is_broken(python: Path, tmp_path: Path) -> None:
    status, printed, error = picochat(python, "list --check", tmp_path)
    assert status == 2
    assert "Roman " in printed
    assert "the plug-in Broken (picochat.datamodules, from broken-package 2.0) cannot be loaded" in error
    assert "the plug-in Loud (picochat.callbacks, from broken-package 2.0) cannot be loaded: ZeroDivisionError" in error
    assert "roman" not in error


def test_a_profile_of_the_package_makes_a_pack(python: Path, tmp_path: Path) -> None:
    (tmp_path / "dataset_pack.json").write_text("{}")
    line = "data task-pack --dataset-pack dataset_pack.json --profile romans --sft-rows 200 --eval-rows 40"
    assert picochat(python, line, tmp_path)[0] == 0
    rows = read_rows(tmp_path / "chat_task_mixture_romans.jsonl", "chat")
    assert sum(row["category"] == "roman" for row in rows) == 160


def test_its_config_trains_by_short_names_while_another_plug_in_is_broken(python: Path, tmp_path: Path) -> None:
    line = (
        "fit --config roman.yaml --model.checkpoint=null --trainer.max_steps=3 --trainer.val_check_interval=3 "
        "--data.sft_rows=200 --data.eval_rows=40 --trainer.log_every_n_steps=1"
    )
    few = "data import --source stories --documents 300 --out-dir runs/data"  # fit would make 20,000
    assert picochat(python, few, tmp_path)[0] == 0
    status, _, error = picochat(python, line, tmp_path)
    assert status == 0, error
    config = (tmp_path / "runs/roman/config.yaml").read_text()
    assert "class_path: picochat_roman.data.RomanDataModule" in config  # what the run repeats needs no short names
    assert "lr_schedule:\n  warmup_steps: 20\n  decay: cosine\n  min_lr_ratio: 0.02\n" in config
    assert (tmp_path / "runs/roman/best_checkpoint/model.safetensors").is_file()
    assert (tmp_path / "runs/roman-pack/chat_task_mixture_romans.jsonl").read_text().count("\n") == 200


def test_help_of_a_short_name_documents_its_settings(python: Path, tmp_path: Path) -> None:
    status, printed, _ = picochat(python, "fit --data.help Roman", tmp_path)
    assert status == 0
    assert 'Rows of the profile "romans", made when they are missing' in printed
    assert "--data.sft_rows" in printed


def test_a_broken_plug_in_is_named_when_it_is_asked_for(python: Path, tmp_path: Path) -> None:
    status, _, error = picochat(python, "fit --config base.yaml --data Broken", tmp_path)
    assert status == 2
    assert "the plug-in Broken (picochat.datamodules, from broken-package 2.0) cannot be loaded: ZeroDivision" in error
    assert "Traceback" not in error
    assert not list(tmp_path.iterdir())
