"""`picochat plan`: what fit would do with the same configs, in figures; nothing is trained."""

import json
from pathlib import Path
from typing import Any

import pytest
from refusing import Refused
from small_rows import chat_row, eval_row, write_jsonl

from picochat.cli import main
from picochat.evidence.runs import visible_difference
from picochat.model.checkpoint import save_checkpoint
from picochat.model.config import DecoderConfig
from picochat.model.decoder import Decoder
from picochat.model.tokenizer import ChatTokenizer
from picochat.model.vocabulary import train_tokenizer

ROWS = 120
CONFIG = """
trainer: {max_steps: 50, accelerator: cpu, devices: 1, accumulate_grad_batches: 2}
model: {optimizer: {name: adamw}}
data:
  class_path: picochat.datamodules.ChatDataModule
  init_args: {chat_input: chat.jsonl, tokenizer: tokenizer.json, work_dir: ., batch_size: 4, context_length: 192,
              val_fraction: 0}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Rows, a tokenizer and a config of 50 steps."""
    monkeypatch.chdir(tmp_path)
    rows = [chat_row("add" if n % 3 else "spell", n, 1 + n % 9) for n in range(ROWS)]
    write_jsonl(tmp_path / "chat.jsonl", rows)
    train_tokenizer([message["content"] for row in rows for message in row["messages"]], 300).write(
        tmp_path / "tokenizer.json"
    )
    (tmp_path / "run.yaml").write_text(CONFIG)
    return tmp_path


def planned(words: list[str], capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """The figures of `picochat plan WORDS --json`."""
    main(["plan", *words, "--json"])
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_a_plan_counts_what_the_run_would_take(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = planned(["--config", "run.yaml", "--gpus", "3", "--device", "h100", "--mfu", "0.5"], capsys)
    shape = DecoderConfig(vocab_size=300)
    assert found["parameters"] == shape.num_parameters
    assert (found["steps"], found["ranks"], found["rows_per_step"]) == (50, 3, 4 * 2 * 3)
    assert sum(lane["rows"] for lane in found["categories"]) == ROWS
    assert [lane["name"] for lane in found["categories"]] == ["add", "spell"]
    places = found["tokens"] / (1 - found["padding"])
    assert places == pytest.approx(50 * 24 * 192, rel=1e-6)
    assert found["supervised_tokens"] < found["tokens"]
    assert found["tokens_per_parameter"] == pytest.approx(found["tokens"] / found["parameters"])
    assert found["seconds"] == pytest.approx(found["flops"] / (3 * 989e12 * 0.5))
    weights = {part: found["memory_per_rank"][part] for part in ("weights", "gradients", "optimizer")}
    assert weights == {"weights": 4 * found["parameters"], "gradients": 4 * found["parameters"],
                       "optimizer": 8 * found["parameters"]}  # fmt: skip
    assert found["memory_per_rank_total"] == sum(found["memory_per_rank"].values())
    assert not found["estimated_from_a_sample"]
    assert not (folder / "runs").exists()


def test_a_plan_says_what_a_comparison_on_the_eval_rows_would_show(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [eval_row("add", n // 2, 3) for n in range(40)] + [eval_row("spell", n, 3) for n in range(9)]
    write_jsonl(folder / "eval.jsonl", rows)
    words = ["--config", "run.yaml", "--set", "data.eval_input=eval.jsonl"]
    add, spell = planned(words, capsys)["visible_differences"]
    assert (add["skill"], add["rows"], add["problems"]) == ("add", 40, 20)
    assert add["visible"] == [visible_difference(40, 20, runs, tests=2) for runs in (1, 3)]
    assert spell["visible"] == [None, None]  # nine problems
    main(["plan", *words])
    assert f"add           40        20          {100 * add['visible'][0]:.1f}" in capsys.readouterr().out


def test_rows_that_are_drawn_too_often_and_packs_too_small_for_a_step_are_warned_of(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["plan", "--config", "run.yaml", "--gpus", "64"])
    page = capsys.readouterr().out
    assert "rows of add is drawn" in page
    assert "one step draws the same examples again" in page
    assert "tokens per parameter" in page
    assert f"parameters     {DecoderConfig(vocab_size=300).num_parameters:,}" in page
    assert "64 × h200 at 40% MFU" in page
    assert "replicated over 64" in page
    calm = planned(["--config", "run.yaml", "--set", "trainer.max_steps=1", "--set", "model.checkpoint=base"], capsys)
    assert calm["warnings"] == []


def test_a_model_that_does_not_fit_is_warned_of_and_fits_sharded_and_recomputed(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--config", "run.yaml", "--config", "scale/h200-1b.yaml", "--gpus", "8", "--device", "a100"]
    words += ["--set", "data.init_args.batch_size=16"]
    whole = planned([*words, "--set", "trainer.strategy=ddp", "--set", "model.activation_checkpointing=false"], capsys)
    sharded = planned(words, capsys)
    assert any("GB of the 80 GB of a a100" in line for line in whole["warnings"])
    assert not any("GB of the" in line for line in sharded["warnings"])
    assert sharded["sharded"]
    slices = 8 * sharded["memory_per_rank"]["weights"]  # 300 rows of the embedding are eight slices of 38
    assert slices == whole["memory_per_rank"]["weights"] + 4 * 4 * 2048
    assert sharded["memory_per_rank"]["activations"] < whole["memory_per_rank"]["activations"] / 5
    assert set(sharded["bytes_sent_per_step"]) == {"all_gather", "reduce_scatter"}
    assert set(whole["bytes_sent_per_step"]) == {"all_reduce"}
    # checkpointing computes the forward pass twice; the model's FLOPs are the same
    assert sharded["flops"] == pytest.approx(whole["flops"])
    assert sharded["seconds"] == pytest.approx(whole["seconds"] * 8 / 6)


def test_rows_that_do_not_exist_are_estimated_and_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["--config", "capability.yaml", "--config", "scale/h200-1b.yaml", "--gpus", "8"]
    given = [*words, "--set", "trainer.max_steps=10", "--set", "data.init_args.sft_rows"]
    found = planned([*given[:-1], f"{given[-1]}=60000"], capsys)
    assert found["estimated_from_a_sample"]
    assert found["vocabulary"] == 32_768
    assert found["parameters"] == pytest.approx(1.12e9, rel=0.01)
    assert sum(lane["rows"] for lane in found["categories"]) == pytest.approx(60_000, rel=0.05)
    assert list(tmp_path.iterdir()) == []
    found = planned([*given[:-1], f"{given[-1]}=null", "--set", "data.init_args.val_fraction=0"], capsys)
    assert sum(lane["rows"] for lane in found["categories"]) == 1_600  # as many as fit would make


def test_what_fit_would_refuse_is_not_planned(
    folder: Path, refused: Refused, capsys: pytest.CaptureFixture[str]
) -> None:
    shape = DecoderConfig(vocab_size=300, hidden_size=16, num_hidden_layers=1)
    save_checkpoint(folder / "model", Decoder(shape), ChatTokenizer.load(folder / "tokenizer.json"), {})
    words = ["--config", "run.yaml", "--set", "model.checkpoint=model"]
    assert planned(words, capsys)["parameters"] == shape.num_parameters
    wider = "model.decoder.hidden_size=32"
    refused("plan", *words, "--set", wider, says="model.decoder.hidden_size is 32, but model has 16")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--gpus", "0"], "--gpus is 0"),
        (["--mfu", "1.5"], "--mfu is 1.5"),
        (["--set", "trainer.max_steps=-1"], "--set trainer.max_steps=6000"),
        (["--set", "data.init_args.chat_input=none.jsonl"], "none.jsonl does not exist"),
        (["--set", "trainer.devices=auto"], "say --gpus N"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_one_sentence(words: list[str], sentence: str, folder: Path, refused: Refused) -> None:
    refused("plan", "--config", "run.yaml", *words, says=sentence)
