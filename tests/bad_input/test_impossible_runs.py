"""Settings that no run can have, through `train sft` and `fit`: what is wrong with which of them, in one sentence."""

import json
import re
import shlex
from dataclasses import asdict
from pathlib import Path

import lightning  # noqa: F401 - before capsys: its log keeps to the stderr of this moment
import pytest
import torch
from refusing import Refused
from small_rows import SIZE, chat_row, eval_row, small_model, write_jsonl

from picochat.cli import main
from picochat.files import sha256_file
from picochat.model.checkpoint import export_checkpoint
from picochat.model.decoder import Decoder

SFT = "train sft --input chat.jsonl --checkpoint model --device cpu --out-dir new --steps 2"


@pytest.fixture
def place(tmp_path: Path, refused: Refused) -> Path:
    """The folder that the test stands in, with rows, eval rows and a model."""
    write_jsonl(tmp_path / "chat.jsonl", [chat_row("add", n, 3) for n in range(40)])
    write_jsonl(tmp_path / "eval.jsonl", [eval_row("add", n, 3) for n in range(4)])
    small_model(tmp_path / "model")
    return tmp_path


FLAGS = {
    "--learning-rate 0": "error: --learning-rate is 0.0; use a number above 0",
    "--batch-size 0": "--batch-size must be at least 1, not 0",
    "--grad-clip 0": "--grad-clip is 0.0",
    "--save-every 0": "--save-every is 0",
    "--min-lr-ratio nan": "--min-lr-ratio is nan",
    "--lr-warmup-steps -1": "--lr-warmup-steps is -1",
    "--val-fraction 1.5": "--val-fraction must be at least 0 and below 1, not 1.5",
    "--sampling-tag nonsense": "--sampling-tag is nonsense; use .* or category or",
    "--early-stop-patience 0": "--early-stop-patience is 0; use a number of validations",
    "--early-stop-patience 2 --val-fraction 0": "--early-stop-patience waits .* and --val-fraction 0 holds nothing out",
    "--seed -1": "--seed is -1; use a number from 0 to 4294967295",
    "--grad-accum-steps 0": "--grad-accum-steps is 0; use a number from 1",
    "--devices -2": "--devices is -2; use a number from 1, or -1 for all",
    "--shares add=0.5": "error: --shares is add=0.5; use a mapping such as .*; see `picochat train sft --help`",
    "--input other=chat.jsonl --input other=chat.jsonl": "--input names two files other; call one of them",
    "--device mps": "MPSAccelerator.* not available.*; change --device$",
    "--context-length 8 --on-long drop": "chat.jsonl: no row that fits --context-length=8 is left to train on",
}
LINES = {
    "fit --config base.yaml --trainer.val_check_interval=0": "trainer.val_check_interval is 0; use a number above 0",
    "fit --config base.yaml --trainer.devices=1.5": "trainer.devices is 1.5; use a number from 1, or -1 for all",
    "fit --config base.yaml --trainer.max_time=1": "not a valid duration. .*; change trainer.max_time",
    "fit --config base.yaml --trainer.strategy ddp_spawn": "trainer.strategy: spawned processes .*; use ddp",
    "fit --config base.yaml --trainer.strategy fsdp": "trainer.strategy: .* no other sharding than fsdp2",
    "fit --config base.yaml --trainer.accelerator foo": "You selected an invalid accelerator name: .*; change",
    "fit --config base.yaml --trainer.num_nodes 0": "must be a positive integer, but got 0; change trainer.num_nodes",
    "fit --config base.yaml --trainer.val_check_interval 0.5": "; change trainer.val_check_interval, trainer.check_val",
    "fit --config base.yaml --trainer.callbacks BatchSizeFinder": "BatchSizeFinder does not work with .* set data.bat",
    "fit --config base.yaml --ckpt_path model": "ckpt_path: model is a folder, not a checkpoint",
    "plan --config base.yaml --set trainer.accumulate_grad_batches=0": "trainer.accumulate_grad_batches is 0",
}


@pytest.mark.parametrize("flags", FLAGS)
@pytest.mark.filterwarnings("ignore")  # Lightning advises before it is stopped
def test_a_flag_of_train_that_no_run_can_have_is_refused(flags: str, place: Path, refused: Refused) -> None:
    refused(*SFT.split(), *shlex.split(flags), says=FLAGS[flags])


@pytest.mark.parametrize("line", LINES)
@pytest.mark.filterwarnings("ignore")
def test_a_setting_that_no_run_can_have_is_refused(line: str, place: Path, refused: Refused) -> None:
    refused(*line.split(), says=LINES[line])


TOLD: dict[str, tuple[str, object]] = {  # what the entry `picochat` of a last.ckpt says instead
    "an unknown size": ("decoder", {**asdict(SIZE), "depth": 3}),
    "a size in words": ("decoder", {**asdict(SIZE), "hidden_size": "sixteen"}),
    "a size that no tensor has": ("decoder", {**asdict(SIZE), "hidden_size": 10**18}),
    "another size than the weights": ("decoder", {**asdict(SIZE), "hidden_size": 32}),
    "no decoder": ("decoder", None),
    "no provenance": ("provenance", None),
}


@pytest.mark.parametrize("case", TOLD)
def test_a_last_ckpt_that_speaks_wrongly_of_its_model_is_not_exported(case: str, place: Path, refused: Refused) -> None:
    tokenizer = (place / "model" / "tokenizer.json").read_text()
    state = {f"decoder.{name}": tensor for name, tensor in Decoder(SIZE).state_dict().items()}
    told: dict[str, object] = {"decoder": asdict(SIZE), "tokenizer": tokenizer, "tokenizer_files": {}}
    told |= {"dtype": "float32", "lora_scale": 0.0, "provenance": {}}
    torch.save({"state_dict": state, "picochat": told}, place / "last.ckpt")
    assert export_checkpoint(place / "last.ckpt", place / "whole") > 0
    made = json.loads((place / "whole" / "picochat.json").read_text())["exported_from"]
    assert made["sha256"] == {"last.ckpt": sha256_file(place / "last.ckpt")}
    name, wrong = TOLD[case]
    torch.save({"state_dict": state, "picochat": {**told, name: wrong}}, place / "last.ckpt")
    refused(
        "export", "--checkpoint", "last.ckpt", "--out-dir", "new", says="last.ckpt is damaged or not a last.ckpt of"
    )


FULL = {  # what a library says, and what a user is told
    "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has": "out of memory: 2.00 GiB could not be allocated",
    "DefaultCPUAllocator: can't allocate memory: you tried to allocate 64 bytes.": "memory: 64 bytes could not be",
}


@pytest.mark.parametrize("said", FULL)
@pytest.mark.filterwarnings("ignore")
def test_no_memory_is_one_sentence_with_the_settings_to_change(
    said: str, place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise RuntimeError(said)

    monkeypatch.setattr(Decoder, "forward", full)
    evaluate = "eval chat --input eval.jsonl --checkpoint model --device cpu --out-dir evaluated"
    for command, remedy in (
        (SFT, "lower --batch-size and raise --grad-accum-steps, .*"),
        (evaluate, "--batch-size, .*"),
    ):
        with pytest.raises(SystemExit, match="2"):
            main(command.split())
        assert re.search(f"error: .*{FULL[said]}.*{remedy}", capsys.readouterr().err.splitlines()[-1])
