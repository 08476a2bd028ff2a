"""Every shipped config runs as it is, from an empty folder, and finds what it needs."""

from pathlib import Path

import pytest
import yaml
from refusing import Refused

from picochat import datamodules
from picochat.cli import main
from picochat.commands.configs import shipped_configs

STAGES = ["capability", "release", "balanced", "benchmark"]
SHORT = ["--trainer.max_steps=2", "--trainer.val_check_interval=2", "--trainer.precision=32-true",
         "--trainer.log_every_n_steps=1"]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty folder in which `picochat fit --config base.yaml` has run for two steps."""
    root = tmp_path_factory.mktemp("empty")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        main(["fit", "--config", "base.yaml", *SHORT, "--trainer.limit_val_batches=2"])
    return root


def test_base_makes_corpus_and_tokenizer_and_trains(folder: Path) -> None:
    for name in ("data/dataset_pack.json", "data/corpus.jsonl", "tokenizer.json", "base/best_checkpoint/config.json"):
        assert (folder / "runs" / name).is_file(), name


def test_the_config_of_a_run_repeats_it_nulls_and_all(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its validation never comes: without the null of check_val_every_n_epoch Lightning refuses the interval."""
    monkeypatch.chdir(folder)
    repeat = ["fit", "--config", "runs/base/config.yaml", "--trainer.default_root_dir=runs/again"]
    main(["fit", "--config", "base.yaml", *SHORT, "--trainer.val_check_interval=1000", "--force"])
    main(repeat)
    first, second = (yaml.safe_load(Path(f"runs/{name}/config.yaml").read_text()) for name in ("base", "again"))
    assert second.pop("trainer") == {**first.pop("trainer"), "default_root_dir": "runs/again"}
    assert second == first
    weights = [Path(f"runs/{name}/last_checkpoint/model.safetensors").read_bytes() for name in ("base", "again")]
    assert weights[0] == weights[1]


@pytest.mark.parametrize("stage", STAGES)
def test_each_stage_makes_its_pack_and_starts_from_the_base(
    stage: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    fewer = ["--data.init_args.sft_rows=400", "--data.init_args.eval_rows=80"]
    main(["fit", "--config", f"{stage}.yaml", *SHORT, *fewer])
    assert (folder / f"runs/{stage}/best_checkpoint/model.safetensors").is_file()
    assert (folder / f"runs/{stage}-pack/chat_task_mixture_{stage}.jsonl").read_text().count("\n") == 400
    assert yaml.safe_load((folder / f"runs/{stage}/config.yaml").read_text())["data"]["init_args"]["sft_rows"] == 400


@pytest.mark.parametrize("stage", STAGES)
def test_every_row_of_the_shipped_number_of_rows_fits_the_shipped_context(
    stage: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    shipped = yaml.safe_load(shipped_configs()[f"{stage}.yaml"].read_text())["data"]
    data = getattr(datamodules, shipped["class_path"].rpartition(".")[2])(
        **{**shipped["init_args"], "work_dir": f"runs/{stage}-whole"}
    )
    data.prepare_data()
    data.setup("fit")  # raises where a row is longer than the context
    assert data.dropped == {}


def test_overlays_and_flags_change_what_they_name_and_the_pilot_has_the_recipes_hyper_parameters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from picochat.commands.configs import resolve_names
    from picochat.commands.fit import parsed_config

    monkeypatch.chdir(tmp_path)
    Path("over.yaml").write_text("lr_schedule: {min_lr_ratio: 0.5}\n")
    pilot = ["fit", "--config", "capability.yaml", "--config", "scale/h100-pilot.yaml"]
    schedule = {"warmup_steps": 20, "decay": "cosine", "min_lr_ratio": 0.1}
    config = parsed_config(resolve_names(pilot))
    assert vars(config.lr_schedule) == schedule
    assert (config.trainer.accumulate_grad_batches, config.data.init_args.context_length) == (4, 512)
    optimizer = config.model.optimizer
    assert (optimizer.name, optimizer.learning_rate, optimizer.matrix_learning_rate) == ("adamw", 1e-5, None)
    flags = ["--lr_schedule.warmup_steps", "7", "--data.batch_size=3"]  # which change what any config says
    config = parsed_config(resolve_names(["fit", *flags, *pilot[1:], "--config", "over.yaml"]))
    assert vars(config.lr_schedule) == {**schedule, "warmup_steps": 7, "min_lr_ratio": 0.5}
    assert config.data.init_args.batch_size == 3


def test_base_has_the_same_defaults_through_both_doors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from picochat.cli import parse_command
    from picochat.commands.configs import resolve_names
    from picochat.commands.fit import parsed_config
    from picochat.commands.train import fit_words

    monkeypatch.chdir(tmp_path)
    words = "train base --dataset-pack runs/data/dataset_pack.json --tokenizer runs/tokenizer.json --out-dir runs/base"
    short = parsed_config(fit_words(parse_command([*words.split(), "--steps", "150", "--eval-every", "50"])))
    long = parsed_config(resolve_names(["fit", "--config", "base.yaml"]))
    assert (short.trainer.pop("accelerator"), long.trainer.pop("accelerator")) == ("auto", "auto")
    assert short.model.optimizer.name == "muon"
    for config in (short, long):
        config.pop("config")
    assert short == long


def test_the_tokenizer_of_a_base_is_made_in_its_own_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    before = (folder / "runs/tokenizer.json").stat().st_mtime_ns
    size = "--hidden-size 16 --intermediate-size 16 --num-layers 1 --batch-size 2 --context-length 64 --device cpu"
    main(f"train base --dataset-pack runs/data/dataset_pack.json --out-dir runs/small --steps 1 {size}".split())
    assert (folder / "runs/small/tokenizer.json").is_file()
    assert (folder / "runs/tokenizer.json").stat().st_mtime_ns == before


def test_a_missing_base_is_one_sentence_with_the_command_that_makes_it(refused: Refused) -> None:
    refused("fit", "--config", "capability.yaml", says="runs/base/best_checkpoint.*`picochat fit --config base.yaml`")
