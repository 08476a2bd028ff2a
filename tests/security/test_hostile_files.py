"""No file that picochat loads can run code: a pickle that would leave a mark stands in each place, and leaves none."""

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hostile import Marker, hostile_bytes
from small_rows import chat_row, eval_row, small_model, write_jsonl

from picochat.cli import main
from picochat.datamodules import ChatDataModule


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with rows and a model, to stand in."""
    monkeypatch.chdir(tmp_path)
    write_jsonl(tmp_path / "chat.jsonl", [chat_row("add", n, 3) for n in range(40)])
    write_jsonl(tmp_path / "eval.jsonl", [eval_row("add", n, 3) for n in range(4)])
    small_model(tmp_path / "model")
    return tmp_path


SFT = "train sft --input chat.jsonl --checkpoint model --out-dir run --steps 1 --batch-size 2 --device cpu"
EVAL = "eval chat --input eval.jsonl --checkpoint model --out-dir out --device cpu --max-new-tokens 2"


def test_the_mark_is_left_where_the_pickle_is_loaded(tmp_path: Path) -> None:
    pickle.loads(hostile_bytes(tmp_path / "owned"))  # noqa: S301 - so that the tests below cannot pass in vain
    assert (tmp_path / "owned").exists()


def as_zip(path: Path, target: Path) -> None:
    torch.save({"state_dict": {}, "x": Marker(target)}, path)


def as_pickle(path: Path, target: Path) -> None:
    path.write_bytes(hostile_bytes(target))


def as_legacy(path: Path, target: Path) -> None:
    torch.save({"state_dict": {}, "x": Marker(target)}, path, _use_new_zipfile_serialization=False)


@pytest.mark.parametrize("write", [as_zip, as_pickle, as_legacy])
@pytest.mark.parametrize("command", [f"{SFT} --resume-from bad.ckpt", "fit --config run.yaml --ckpt_path bad.ckpt"])
def test_a_resume_checkpoint_runs_nothing(
    write: Callable[[Path, Path], None], command: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(place / "bad.ckpt", place / "owned")
    (place / "run.yaml").write_text(
        "trainer: {max_steps: 1, accelerator: cpu, default_root_dir: run, enable_model_summary: false}\n"
        "model: {checkpoint: model}\n"
        "weights_only: false\n"  # asked for, and still refused
        "data: {class_path: picochat.datamodules.ChatDataModule,\n"
        "       init_args: {chat_input: chat.jsonl, tokenizer: model, batch_size: 2, work_dir: work}}\n"
    )
    with pytest.raises(SystemExit) as stop:
        main(command.split())
    assert stop.value.code == 2
    assert "bad.ckpt cannot be resumed" in capsys.readouterr().err
    assert not (place / "owned").exists()


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.safetensors", "model.bin", "adapter_model.bin"])
@pytest.mark.parametrize("alone", [True, False])
def test_a_model_folder_runs_nothing(name: str, alone: bool, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if alone:
        (place / "model" / "model.safetensors").unlink()
    as_zip(place / "model" / name, place / "owned")
    if alone or name == "model.safetensors":
        with pytest.raises(SystemExit) as stop:
            main(EVAL.split())
        assert stop.value.code == 2
        assert "safetensors" in capsys.readouterr().err
    else:
        main(EVAL.split())  # the foreign file is not even looked at
    assert not (place / "owned").exists()


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "picochat.json", "model.safetensors.index.json"])
def test_the_texts_of_a_model_folder_run_nothing(name: str, place: Path) -> None:
    as_pickle(place / "model" / name, place / "owned")
    with pytest.raises(SystemExit) as stop:
        main(EVAL.split())
    assert stop.value.code == 2
    assert not (place / "owned").exists()


def test_a_model_that_brings_its_own_code_runs_none_of_it(place: Path) -> None:
    code = f"from pathlib import Path\nPath({str(place / 'owned')!r}).write_text('owned')\n"
    (place / "model" / "modeling_evil.py").write_text(code)
    config = json.loads((place / "model" / "config.json").read_text())
    config["auto_map"] = {"AutoModelForCausalLM": "modeling_evil.Evil"}
    (place / "model" / "config.json").write_text(json.dumps(config))
    main(EVAL.split())
    assert not (place / "owned").exists()


def planned() -> str:
    """The fingerprint of what a datamodule makes of the rows and the token cache in `work`."""
    made = ChatDataModule(chat_input="chat.jsonl", tokenizer="model", work_dir="work", val_fraction=0.0)
    made.prepare_data()
    made.setup("fit")
    return made.plan.fingerprint


@pytest.mark.parametrize("array", ["header.json", "tokens.bin", "offsets.bin", "tags.bin", "learnt.bin"])
def test_the_token_cache_runs_nothing_and_is_made_again(array: str, place: Path) -> None:
    before = planned()
    (cache,) = (place / "work" / "tokens").iterdir()
    good = (cache / array).read_bytes()
    np.save(place / "evil.npy", np.array([Marker(place / "owned")], dtype=object), allow_pickle=True)
    for evil in (hostile_bytes(place / "owned"), (place / "evil.npy").read_bytes()):
        (cache / array).write_bytes(evil)
        assert planned() == before
        assert (cache / array).read_bytes() == good
    assert not (place / "owned").exists()


@pytest.mark.parametrize("suffix", [".jsonl", ".txt", ".parquet"])
def test_rows_corpora_and_packs_run_nothing(suffix: str, place: Path) -> None:
    as_pickle(place / f"bad{suffix}", place / "owned")
    shutil.copy(place / f"bad{suffix}", place / "dataset_pack.json")
    for command in (
        f"data import --source bad{suffix} --out-dir out",
        f"tok train --input bad{suffix} --vocab-size 262 --out t.json",
        f"data inspect bad{suffix}",
        f"eval chat --input bad{suffix} --checkpoint model --out-dir out",
        "data task-pack --dataset-pack dataset_pack.json --sft-rows 32 --eval-rows 16",
    ):
        with pytest.raises(SystemExit) as stop:
            main(command.split())
        assert stop.value.code == 2
    assert not (place / "owned").exists()


@pytest.mark.parametrize("kind", ["O", {"names": ["a"], "formats": ["O"]}, "<f4", None])
def test_a_token_cache_whose_header_asks_for_python_objects_is_made_again(kind: Any, place: Path) -> None:
    """numpy would take the file's bytes for the addresses of objects, whatever its sha256."""
    before = planned()
    (cache,) = (place / "work" / "tokens").iterdir()
    header = json.loads((cache / "header.json").read_text())
    assert header["arrays"]["offsets"]["dtype"] == "<i8"
    header["arrays"]["offsets"]["dtype"] = kind
    (cache / "header.json").write_text(json.dumps(header))
    assert planned() == before
    assert json.loads((cache / "header.json").read_text())["arrays"]["offsets"]["dtype"] == "<i8"
