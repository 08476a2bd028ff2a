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
from refusing import Refused
from small_rows import chat_row, eval_row, small_model, write_jsonl

from picochat.cli import main
from picochat.datamodules import ChatDataModule

SFT = "train sft --input chat.jsonl --checkpoint model --out-dir run --steps 1 --batch-size 2 --device cpu"
EVAL = "eval chat --input eval.jsonl --checkpoint model --out-dir out --device cpu --max-new-tokens 2"
RUN = """
trainer: {max_steps: 1, accelerator: cpu, default_root_dir: run, enable_model_summary: false}
model: {checkpoint: model}
weights_only: false  # asked for, and still refused
data: {class_path: picochat.datamodules.ChatDataModule,
       init_args: {chat_input: chat.jsonl, tokenizer: model, batch_size: 2, work_dir: .}}
"""


class Marker:
    """Unpickling it writes a file `owned`."""

    def __reduce__(self) -> Any:
        return Path.write_text, (Path("owned"), "owned")


HOSTILE = {"state_dict": {}, "x": Marker()}


def as_zip(path: Path) -> None:
    torch.save(HOSTILE, path)


def as_pickle(path: Path) -> None:
    path.write_bytes(pickle.dumps(HOSTILE))


def as_legacy(path: Path) -> None:
    torch.save(HOSTILE, path, _use_new_zipfile_serialization=False)


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A folder with rows and a model, to stand in; no test leaves the mark there."""
    monkeypatch.chdir(tmp_path)
    write_jsonl(tmp_path / "chat.jsonl", [chat_row("add", n, 3) for n in range(40)])
    write_jsonl(tmp_path / "eval.jsonl", [eval_row("add", n, 3) for n in range(4)])
    small_model(tmp_path / "model")
    yield
    assert not Path("owned").exists()


def test_the_mark_is_left_where_the_pickle_is_loaded() -> None:
    pickle.loads(pickle.dumps(HOSTILE))  # noqa: S301 - so that the tests below cannot pass in vain
    Path("owned").unlink()


@pytest.mark.parametrize("write", [as_zip, as_pickle, as_legacy])
@pytest.mark.parametrize("command", [f"{SFT} --resume-from bad.ckpt", "fit --config run.yaml --ckpt_path bad.ckpt"])
def test_a_resume_checkpoint_runs_nothing(write: Callable[[Path], None], command: str, refused: Refused) -> None:
    write(Path("bad.ckpt"))
    Path("run.yaml").write_text(RUN)
    refused(*command.split(), says="bad.ckpt cannot be resumed")


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.safetensors", "model.bin", "adapter_model.bin"])
@pytest.mark.parametrize("alone", [True, False])
def test_a_model_folder_runs_nothing(name: str, alone: bool, refused: Refused) -> None:
    if alone:
        Path("model/model.safetensors").unlink()
    as_zip(Path("model", name))
    if alone or name == "model.safetensors":
        refused(*EVAL.split(), says="safetensors")
    else:
        main(EVAL.split())  # the foreign file is not even looked at


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "picochat.json", "model.safetensors.index.json"])
def test_the_texts_of_a_model_folder_run_nothing(name: str, refused: Refused) -> None:
    as_pickle(Path("model", name))
    if name.endswith("index.json"):
        Path("model/model.safetensors").unlink()
    refused(*EVAL.split())


def test_a_model_that_brings_its_own_code_runs_none_of_it() -> None:
    Path("model/modeling_evil.py").write_text("from pathlib import Path\nPath('owned').write_text('owned')\n")
    config = json.loads(Path("model/config.json").read_text())
    config["auto_map"] = {"AutoModelForCausalLM": "modeling_evil.Evil"}
    Path("model/config.json").write_text(json.dumps(config))
    main(EVAL.split())


def planned() -> tuple[str, Path]:
    """The fingerprint of what a datamodule makes of the rows and the token cache in `work`, and that cache."""
    made = ChatDataModule(chat_input="chat.jsonl", tokenizer="model", work_dir="work", val_fraction=0.0)
    made.prepare_data()
    made.setup("fit")
    (cache,) = Path("work/tokens").iterdir()
    return made.plan.fingerprint, cache


@pytest.mark.parametrize("array", ["header.json", "tokens.bin", "offsets.bin", "tags.bin", "learnt.bin"])
def test_the_token_cache_runs_nothing_and_is_made_again(array: str) -> None:
    before, cache = planned()
    good = (cache / array).read_bytes()
    np.save("evil.npy", np.array([Marker()], dtype=object), allow_pickle=True)
    for evil in (pickle.dumps(HOSTILE), Path("evil.npy").read_bytes()):
        (cache / array).write_bytes(evil)
        assert planned() == (before, cache)
        assert (cache / array).read_bytes() == good


@pytest.mark.parametrize("kind", ["O", {"names": ["a"], "formats": ["O"]}, "<f4", None])
def test_a_token_cache_whose_header_asks_for_python_objects_is_made_again(kind: Any) -> None:
    """numpy would take the file's bytes for the addresses of objects, whatever its sha256."""
    before, cache = planned()
    header = json.loads((cache / "header.json").read_text())
    assert header["arrays"]["offsets"]["dtype"] == "<i8"
    header["arrays"]["offsets"]["dtype"] = kind
    (cache / "header.json").write_text(json.dumps(header))
    assert planned() == (before, cache)
    assert json.loads((cache / "header.json").read_text())["arrays"]["offsets"]["dtype"] == "<i8"


@pytest.mark.parametrize("suffix", [".jsonl", ".txt", ".parquet"])
def test_rows_corpora_and_packs_run_nothing(suffix: str, refused: Refused) -> None:
    as_pickle(Path(f"bad{suffix}"))
    shutil.copy(f"bad{suffix}", "dataset_pack.json")
    for command in (
        f"data import --source bad{suffix} --out-dir out",
        f"tok train --input bad{suffix} --vocab-size 262 --out t.json",
        f"data inspect bad{suffix}",
        f"eval chat --input bad{suffix} --checkpoint model --out-dir out",
        "data task-pack --dataset-pack dataset_pack.json --sft-rows 32 --eval-rows 16",
    ):
        refused(*command.split())
