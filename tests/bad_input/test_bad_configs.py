"""Configs that `fit` cannot read: the sentence names the setting (or the file and line) and what there is instead."""

from pathlib import Path

import pytest
from refusing import Refused

CAPABILITY = "{class_path: picochat.datamodules.CapabilityDataModule, init_args: {%s}}"
CLASS = "; a class is named by its path, as my_module.MyClass"
LEVELS = list(zip("abcdefgh", "bcdefghi", strict=True))
BOMB = "a: &a [x]\n" + "".join(f"{name}: &{name} [{','.join([f'*{part}'] * 9)}]\n" for part, name in LEVELS)
MERGED = BOMB.replace("&a [x]", "&a {x: 1}").replace(" [", " {<<: [").replace("]", "]}")
CONFIGS: dict[str, tuple[str, str]] = {
    "an alias bomb": (BOMB, r"run.yaml: holds more than 100,000 values, each alias \(\*name\) counted in full"),
    "an alias bomb of mappings": (MERGED, "run.yaml: holds more than"),
    "what holds itself": ("a: &a [*a]", "run.yaml: holds more than"),
    "a megabyte": ("# no end\n" * 120_000, "run.yaml: has 1,080,001 bytes; a config holds settings and nothing else"),
    "a date that never was": ("a: 2001-02-30", "run.yaml: holds a value that cannot be read: day is out of range"),
    "a tag of another type": ("a: !!bool maybe", "run.yaml: holds a value that cannot be read: 'maybe'"),
    "an unknown group": ("trainr: {max_steps: 3}", r"unknown setting trainr.max_steps \(did you mean trainer\?\)"),
    "an unknown setting of data": (
        f"data: {CAPABILITY % 'batchsize: 4'}",
        r"data: picochat.datamodules.CapabilityDataModule has no setting 'batchsize' \(did you mean batch_size\?\)",
    ),
    "an unknown setting far from all": (
        "model: {optimizer: {lr: 3}}",
        "model.optimizer: .*OptimizerConfig has no setting 'lr'; it has name, learning_rate, matrix_learning_rate, .*",
    ),
    "an unknown setting of a callback": (
        "trainer: {callbacks: [{class_path: picochat.callbacks.GradientClip, init_args: {maxnorm: 1}}]}",
        r"trainer.callbacks: picochat.callbacks.GradientClip has no setting 'maxnorm' \(did you mean max_norm\?\)",
    ),
    "an unknown class": (
        "data: {class_path: picochat.datamodules.CapabilityDataModul}",
        f"data: picochat.datamodules.CapabilityDataModul: module .* has no attribute 'CapabilityDataModul'{CLASS}",
    ),
    "an unknown module": (
        "data: {class_path: my_mod.X}",
        "data: my_mod.X: No module named 'my_mod'",
    ),
    "a class of another kind": (
        "data: {class_path: picochat.callbacks.GradientClip}",
        "data: Import path picochat.callbacks.GradientClip does not correspond to a subclass of LightningDataModule",
    ),
    "settings of no class": (
        "data: {init_args: {batch_size: 4}}",
        "data.class_path is missing before this; name first the class that has the setting 'batch_size'",
    ),
    "a class for plain settings": (
        "model: {optimizer: {class_path: torch.optim.Adam}}",
        "model.optimizer: takes the settings of OptimizerConfig and no class_path; write them under model.optimizer",
    ),
    "a number for a callback": ("trainer: {callbacks: [3]}", f"trainer.callbacks: Not a valid subclass.*{CLASS}"),
    "a word for a number of data": (
        f"data: {CAPABILITY % 'batch_size: x'}",
        "data.batch_size is x; use a whole number",
    ),
    "a fraction for a size": (
        "model: {decoder: {hidden_size: 1.5}}",
        "model.decoder.hidden_size is 1.5; use a whole number",
    ),
    "none of many words": (
        "trainer: {precision: 17}",
        "trainer.precision is 17; use 64 or 32 or 16 or transformer-engine or .* or 64-true or bf16",
    ),
    "no datamodule": ("trainer: {max_steps: 3}", "fit: data is missing; name one in a config, or with --data"),
    "no YAML": ("trainer:\n  max_steps: 3\n   devices: 4", "run.yaml:3: is not YAML: mapping values are not allowed"),
    "nothing under a group": ("trainer:\nlr_schedule:\n", "run.yaml: trainer is None; write its settings under it, or"),
    "a number for a group": ("model: 5", "run.yaml: model is 5; write its settings under it"),
    "a class that needs more": (
        "trainer: {logger: CSVLogger}",
        "trainer.logger: lightning.pytorch.loggers.CSVLogger needs save_dir; write it under init_args, or give",
    ),
    "a list": ("[1, 2]", "run.yaml: is not a config; write settings into it, such as `trainer: {max_steps: 9}`"),
}
FLAGS: dict[str, tuple[str, str]] = {
    "an unknown flag": (
        "--trainer.max_stpes 3",
        r"unknown setting trainer.max_stpes \(did you mean trainer.max_steps\?\)",
    ),
    "an unknown flag of the size": (
        "--model.decoder.hidden_siz 3",
        r"model.decoder: .*DecoderConfig has no setting 'hidden_siz' \(did you mean hidden_size\?\)",
    ),
    "none of the words behind a flag": ("--model.optimizer.name sgd", "model.optimizer.name is sgd; use muon or adamw"),
    "no callback": ("--trainer.callbacks+=Foo", f"trainer.callbacks: .*Foo{CLASS}"),
    "a stray word": ("stray", "unknown setting stray"),
    "a config without its flag": ("sft.yaml", "sft.yaml is not a setting; a config is named as --config sft.yaml"),
    "a flag without its value": ("--trainer.max_steps", r"argument --trainer.max_steps: expected one argument; see `"),
    "a number for a group": ("--lr_schedule 5", "lr_schedule is 5; give its settings, such as lr_schedule.NAME=VALUE"),
    "no folder": ("--trainer.default_root_dir null", "trainer.default_root_dir is None; use the name of the run's"),
}


@pytest.mark.parametrize("case", CONFIGS)
def test_a_config_that_cannot_be_read_is_refused_in_words_of_its_settings(case: str, refused: Refused) -> None:
    text, says = CONFIGS[case]
    Path("run.yaml").write_text(text + "\n", encoding="utf-8")

    refused("fit", "--config", "run.yaml", says=says)


@pytest.mark.parametrize("case", FLAGS)
def test_a_flag_that_cannot_be_read_is_refused_in_words_of_its_settings(case: str, refused: Refused) -> None:
    words, says = FLAGS[case]

    refused("fit", "--config", "capability.yaml", *words.split(" "), says=says)
