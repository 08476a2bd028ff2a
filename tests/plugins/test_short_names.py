"""What a short name on a command line or in a config is replaced by, and what is refused."""

from pathlib import Path

import pytest
import yaml

from picochat.commands.configs import resolve_config_names, resolve_names, shipped_configs
from picochat.errors import UserError

ENTRY_POINTS = """
[picochat.datamodules]
Odd = odd_package:Data
CapabilityDataModule = odd_package:Data

[picochat.callbacks]
Odd = odd_package:Odd

[picochat.configs]
odd.yaml = odd_package
missing.yaml = odd_package
"""


def install(folder: Path, name: str, entry_points: str, patch: pytest.MonkeyPatch) -> None:
    """A package of one module with entry points, on the path."""
    module = folder / name.replace("-", "_")
    module.mkdir(parents=True)
    (module / "__init__.py").write_text("class Data: pass\nclass Odd: pass\n")
    (module / "odd.yaml").write_text("trainer: {max_steps: 7}\n")
    metadata = folder / f"{module.name}-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(entry_points)
    patch.syspath_prepend(str(folder))


@pytest.fixture
def odd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    install(tmp_path / "site", "odd-package", ENTRY_POINTS, monkeypatch)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("words", "resolved"),
    [
        ("--data Odd", "--data odd_package.Data"),
        ("--data=Odd", "--data=odd_package.Data"),
        ("data=Odd", "--data=odd_package.Data"),
        ("--data.help Odd", "--data.help odd_package.Data"),
        ("--data.class_path=Odd", "--data.class_path=odd_package.Data"),
        ("--trainer.callbacks+=Odd", "--trainer.callbacks+=odd_package.Odd"),  # the same name, another group
        ("--data ChatDataModule", "--data picochat.datamodules.ChatDataModule"),
        ("--data CapabilityDataModule", "--data picochat.datamodules.CapabilityDataModule"),  # ours comes first
        ("--data my_module.Mine", "--data my_module.Mine"),
        ("--data.seed 7 --data", "--data.seed 7 --data"),
        ("--model.checkpoint Odd", "--model.checkpoint Odd"),
    ],
)
def test_short_names_of_a_command_line_are_resolved(odd: Path, words: str, resolved: str) -> None:
    assert resolve_names(words.split()) == resolved.split()


def test_short_names_of_a_config_are_resolved_where_classes_are_named(odd: Path) -> None:
    config = """
trainer: {logger: {class_path: CSVLogger}, callbacks: [Odd, {class_path: Odd, init_args: {class_path: Odd}},
  {class_path: EarlyStopping}]}
data: {class_path: Odd, init_args: {sampling: uniform}}
model: {checkpoint: Odd}
"""
    resolved = """
trainer: {logger: {class_path: CSVLogger}, callbacks: [odd_package.Odd,
  {class_path: odd_package.Odd, init_args: {class_path: Odd}}, {class_path: EarlyStopping}]}
data: {class_path: odd_package.Data, init_args: {sampling: uniform}}
model: {checkpoint: Odd}
"""
    assert resolve_config_names(yaml.safe_load(config)) == yaml.safe_load(resolved)


def test_configs_of_packages_are_found_behind_those_of_the_folder_and_ours(odd: Path) -> None:
    (found,) = resolve_names(["--config=odd.yaml"])
    assert Path(found.removeprefix("--config=")).read_text() == "trainer: {max_steps: 7}\n"
    assert resolve_names(["--config", "capability.yaml"]) == ["--config", str(shipped_configs()["capability.yaml"])]
    Path("odd.yaml").write_text("mine: 1\n")
    assert resolve_names(["--config", "odd.yaml"]) == ["--config", "odd.yaml"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--data", "Od"], r"unknown datamodule Od \(did you mean Odd\?\)"),
        (["--config", "oddd.yaml"], r"unknown config oddd.yaml \(did you mean odd.yaml\?\)"),
        (["--config", "missing.yaml"], r"odd-package 1.0 names missing.yaml in odd_package, but there is no"),
    ],
)
def test_what_is_not_there_is_said(odd: Path, words: list[str], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        resolve_names(words)


def test_one_name_of_two_packages_is_refused(odd: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(odd / "other", "other-package", "[picochat.datamodules]\nOdd = other_package:Data\n", monkeypatch)
    both = r"both o\S+-package 1.0 \(o\S+_package.Data\) and o\S+-package 1.0"
    with pytest.raises(UserError, match=both):
        resolve_names(["--data", "Odd"])
