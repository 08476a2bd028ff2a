"""Configs that `fit` cannot read: the sentence names the setting (or the file and line) and what there is instead."""

from pathlib import Path

import pytest
from refusing import Refused

CAPABILITY = "{class_path: picochat.datamodules.CapabilityDataModule, init_args: {%s}}"
NO_CLASS = "there is no %s; name a class by its path, such as my_module.MyClass"
LEVELS = list(zip("abcdefgh", "bcdefghi", strict=True))
BOMB = "a: &a [x]\n" + "".join(f"{name}: &{name} [{','.join([f'*{part}'] * 9)}]\n" for part, name in LEVELS)
MERGED = BOMB.replace("&a [x]", "&a {x: 1}").replace(" [", " {<<: [").replace("]", "]}")
CONFIGS: dict[str, tuple[str, str]] = {
    "an alias bomb": (BOMB, r"run.yaml: its aliases \(\*name\) expand to more than 100,000 values; write them out"),
    "an alias bomb of mappings": (MERGED, "run.yaml: its aliases"),
    "what holds itself": ("a: &a [*a]", "run.yaml: its aliases"),
    "a megabyte": ("# no end\n" * 120_000, "run.yaml: has 1,080,001 bytes; a config holds settings and nothing else"),
    "a date that never was": ("a: 2001-02-30", "run.yaml: holds a value that cannot be read: day is out of range"),
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
        r"data: picochat.datamodules has no CapabilityDataModul \(did you mean CapabilityDataModule\?\)",
    ),
    "an unknown module": (
        "data: {class_path: my_mod.X}",
        "data: my_mod.X: No module named 'my_mod'; correct the path, or install what holds it",
    ),
    "a class of another kind": (
        "data: {class_path: picochat.callbacks.GradientClip}",
        "data: picochat.callbacks.GradientClip is not a LightningDataModule; name one that is",
    ),
    "settings of no class": (
        "data: {init_args: {batch_size: 4}}",
        "data.class_path is missing; name the class that has the setting 'batch_size'",
    ),
    "a number for a callback": (
        "trainer: {callbacks: [3]}",
        "trainer.callbacks: 3 is not a Callback; name a class by its path, such as my_module.MyClass",
    ),
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
        "trainer.precision is 17; use 64, 32, 16, transformer-engine, .*, 64-true or bf16",
    ),
    "no datamodule": ("trainer: {max_steps: 3}", "fit: data is missing; name one in a config, or with --data"),
    "no YAML": ("trainer:\n  max_steps: 3\n   devices: 4", "run.yaml:3: is not YAML: mapping values are not allowed"),
    "a list": ("[1, 2]", "run.yaml: is not a config; write settings into it, such as `trainer: {max_steps: 100}`"),
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
    "no callback": ("--trainer.callbacks+=Foo", f"trainer.callbacks: {NO_CLASS % 'Foo'}"),
    "a stray word": ("stray", "unknown setting stray"),
    "deep brackets behind a flag": (f"--model={'[' * 60_000}{']' * 60_000}", "is nested too deeply; a config holds"),
    "an alias bomb behind a flag": (f"--model={BOMB}".replace(" ", "\t"), r"a:.*: its aliases \(\*name\) expand to"),
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
