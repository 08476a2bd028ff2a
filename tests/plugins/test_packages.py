"""Packages of other people: examples/picochat-roman is installed, beside one that is broken."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from refusing import Refused

from picochat.cli import main
from picochat.packs.formats import read_rows

EXAMPLE = Path(__file__).parents[2] / "examples" / "picochat-roman"
BROKEN = """
[picochat.datamodules]
Broken = broken_package.nowhere:Data

[picochat.callbacks]
Loud = broken_package:Loud

[picochat.configs]
broken.yaml = broken_package.configs
"""


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of installed packages that holds picochat-roman and a broken one."""
    folder = tmp_path_factory.mktemp("plugins")
    packages = folder / "packages"
    source = folder / "picochat-roman"
    main(["new", "plugin", "roman", "--out-dir", str(source)])
    assert (source / "picochat_roman/tasks.py").read_bytes() == (EXAMPLE / "picochat_roman/tasks.py").read_bytes()
    flags = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check"]
    done = subprocess.run(
        [sys.executable, "-m", "pip", "install", *flags, "--target", packages, source], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (packages / "broken_package.py").write_text("class Loud: boom = 1 / 0\n")
    metadata = packages / "broken_package-2.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: broken-package\nVersion: 2.0\n")
    (metadata / "entry_points.txt").write_text(BROKEN)
    return packages


@pytest.fixture(autouse=True)
def installed(packages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(packages))
    monkeypatch.chdir(tmp_path)


def test_a_new_plugin_is_the_example_under_another_name(
    tmp_path: Path, refused: Refused, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["new", "plugin", "two_words"])
    assert "pip install --editable picochat-two-words" in capsys.readouterr().out
    made = tmp_path / "picochat-two-words"
    texts = {path.relative_to(made).as_posix(): path.read_text() for path in made.rglob("*.*") if path.is_file()}
    assert "picochat_two_words/two_words.yaml" in texts
    assert not [name for name, text in texts.items() if re.search(r"roman|Roman(?! numeral|s write)", name + text)]
    assert 'two_words = "picochat_two_words.tasks:TwoWords"' in texts["pyproject.toml"]
    space: dict[str, Any] = {}
    exec(texts["picochat_two_words/tasks.py"], space)
    assert space["TwoWords"].category == "two_words"
    assert space["to_two_words"](14)[0] == "XIV"
    refused("new", "plugin", "two_words", says="exists already")
    refused("new", "plugin", "../x", says="use lower-case letters")
    for taken in ("capability", "identity", "task"):  # a config, a lane, and a class that the new one builds on
        refused("new", "plugin", taken, says=f"{taken} is a name of picochat's or Python's own")
    for name in ("class", "number"):  # of Python, and of a variable in the example
        main(["new", "plugin", name])
        exec((tmp_path / f"picochat-{name}/picochat_{name}/tasks.py").read_text(), space)
        assert space[name.title()]().pose("small", 14, "{n}", None).answer == "XIV"


def test_list_shows_what_is_installed_and_from_where(capsys: pytest.CaptureFixture[str]) -> None:
    main(["list"])
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    for line in (
        "roman picochat-roman 0.1.0 picochat_roman.tasks.Roman",
        "romans picochat-roman 0.1.0 picochat_roman",
        "Roman picochat-roman 0.1.0 picochat_roman.data.RomanDataModule",
        "roman.yaml picochat-roman 0.1.0 picochat_roman",
        "Loud broken-package 2.0 broken_package.Loud",
    ):
        assert line.split() in lines, line
    assert any(line[:2] == ["GradientClip", "picochat"] for line in lines)


def test_what_is_broken_is_named_when_it_is_asked_for(refused: Refused) -> None:
    broken = r"the plug-in Broken \(picochat.datamodules, from broken-package 2.0\) cannot be loaded: ZeroDivision"
    refused("fit", "--config", "base.yaml", "--data", "Broken", says=broken)
    broken = r"broken.yaml \(picochat.configs, from broken-package 2.0\) cannot be loaded: ZeroDivisionError"
    refused("fit", "--config", "broken.yaml", says=broken)


def test_its_profile_makes_a_pack_and_its_config_trains_by_short_names_while_another_plug_in_is_broken() -> None:
    main(["data", "import", "--source", "stories", "--documents", "300", "--out-dir", "runs/data"])  # not 20,000
    pack = "data task-pack --dataset-pack runs/data/dataset_pack.json --profile romans --sft-rows 200 --eval-rows 40"
    main([*pack.split(), "--out-dir", "pack", "--no-promote"])
    rows = read_rows("pack/chat_task_mixture_romans.jsonl", "chat")
    assert sum(row["category"] == "roman" for row in rows) == 160
    size = "--model.decoder.hidden_size=16 --model.decoder.num_hidden_layers=1 --benchmark_metrics.rows_per_lane=2"
    steps = "--trainer.max_steps=3 --trainer.val_check_interval=3 --data.sft_rows=200 --data.eval_rows=40"
    main(f"fit --config roman.yaml --model.checkpoint=null {steps} {size}".split())
    config = Path("runs/roman/config.yaml").read_text()
    assert "class_path: picochat_roman.data.RomanDataModule" in config  # what the run repeats needs no short names
    assert "lr_schedule:\n  warmup_steps: 20\n  decay: cosine\n  min_lr_ratio: 0.02\n" in config
    assert Path("runs/roman/best_checkpoint/model.safetensors").is_file()
    assert Path("runs/roman-pack/chat_task_mixture_romans.jsonl").read_text().count("\n") == 200


def test_help_of_a_short_name_documents_its_settings(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["fit", "--data.help", "Roman"])
    printed = capsys.readouterr().out
    assert 'Rows of the profile "romans", made when they are missing' in printed
    assert "--data.sft_rows" in printed
