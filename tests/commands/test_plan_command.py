"""`picochat plan`: what fit would do with the same configs, in figures; nothing is trained."""

import re
from collections.abc import Callable
from pathlib import Path

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
Plan = Callable[..., str]


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


@pytest.fixture
def plan(capsys: pytest.CaptureFixture[str]) -> Plan:
    """What `picochat plan` prints."""

    def printed(*words: str) -> str:
        main(["plan", *words])
        return capsys.readouterr().out

    return printed


def number(page: str, pattern: str) -> float:
    """The first group of the only place that a pattern fits, thousands with commas."""
    (found,) = re.findall(pattern, page)
    return float(found.replace(",", ""))


def test_a_plan_counts_what_the_run_would_take(folder: Path, plan: Plan) -> None:
    page = plan("--config", "run.yaml", "--gpus", "3", "--device", "h100", "--mfu", "0.5")
    parameters = DecoderConfig(vocab_size=300).num_parameters
    assert number(page, r"parameters +([\d,]+), ") == parameters
    assert f"50 of {4 * 2 * 3} packed rows" in page
    tokens, padding = number(page, r"tokens +([\d,]+), sup"), number(page, r"padding ([\d.]+)%") / 100
    assert tokens / (1 - padding) == pytest.approx(50 * 24 * 192, rel=1e-3)
    assert number(page, r"supervised ([\d,]+)") < tokens
    assert number(page, r"per parameter +([\d.]+) ") == pytest.approx(tokens / parameters, rel=1e-2)
    seconds = number(page, r"compute +(\S+) FLOPs") / (3 * 989e12 * 0.5)
    assert f"{seconds:.0f} s on 3 × h100 at 50% MFU" in page
    for part, size in (("weights", 4), ("gradients", 4), ("optimizer", 8)):
        assert number(page, rf"  {part} +([\d.]+) GB") == pytest.approx(size * parameters / 1e9, abs=0.005)
    assert "replicated over 3" in page
    assert [int(rows) for rows in re.findall(r"^(?:add|spell) +(\d+) ", page, re.MULTILINE)] == [80, 40]
    assert "estimated" not in page
    assert not (folder / "runs").exists()


def test_a_plan_says_what_a_comparison_on_the_eval_rows_would_show(folder: Path, plan: Plan) -> None:
    rows = [eval_row("add", n // 2, 3) for n in range(40)] + [eval_row("spell", n, 3) for n in range(9)]
    write_jsonl(folder / "eval.jsonl", rows)
    page = plan("--config", "run.yaml", "--set", "data.eval_input=eval.jsonl")
    alone, thrice = (f"{100 * visible_difference(40, 20, runs, tests=2):.1f}" for runs in (1, 3))
    assert re.search(rf"\nadd +40 +20 +{alone} +{thrice}\n", page)
    assert re.search(r"\nspell +9 +9 +– +–\n", page)  # nine problems


def test_rows_that_are_drawn_too_often_and_packs_too_small_for_a_step_are_warned_of(folder: Path, plan: Plan) -> None:
    page = plan("--config", "run.yaml", "--gpus", "64")
    for warning in ("rows of add is drawn", "it draws the same examples again", "tokens per parameter; a model"):
        assert warning in page
    calm = plan("--config", "run.yaml", "--set", "trainer.max_steps=1", "--set", "model.checkpoint=base")
    assert "warning" not in calm


def test_a_model_that_does_not_fit_is_warned_of_and_fits_sharded_and_recomputed(folder: Path, plan: Plan) -> None:
    words = ["--config", "run.yaml", "--config", "scale/h200-1b.yaml", "--gpus", "8", "--device", "a100"]
    words += ["--set", "data.init_args.batch_size=16"]
    whole = plan(*words, "--set", "trainer.strategy=ddp", "--set", "model.activation_checkpointing=false")
    sharded = plan(*words)
    assert "GB of the 80 GB of a a100" in whole
    assert "GB of the" not in sharded
    assert "sharded (FSDP2) over 8" in sharded
    weights = [number(page, r"  weights +([\d.]+) GB") for page in (whole, sharded)]
    assert weights[1] == pytest.approx(weights[0] / 8, abs=0.01)
    activations = [number(page, r"  activations +([\d.]+) GB") for page in (whole, sharded)]
    assert activations[1] < activations[0] / 5
    hours = [number(page, r"time +(\d+) h") + number(page, r"time .* (\d+) min on") / 60 for page in (whole, sharded)]
    assert hours[1] == pytest.approx(hours[0] * 4 / 3, rel=0.01)  # the forward pass is done twice
    assert re.findall(r"sent a step, (\w+)", whole) == ["all_reduce"]
    assert re.findall(r"sent a step, (\w+)", sharded) == ["all_gather", "reduce_scatter"]


def test_rows_that_do_not_exist_are_estimated_and_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plan: Plan
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["--config", "capability.yaml", "--config", "scale/h200-1b.yaml", "--gpus", "8"]
    page = plan(*words, "--set", "trainer.max_steps=10", "--set", "data.init_args.sft_rows=60000")
    assert "rows that do not exist yet are estimated" in page
    assert number(page, r"parameters +([\d,]+), ") == pytest.approx(1.12e9, rel=0.01)
    assert "of the 32,768 embeddings" in page
    lanes = re.findall(r"^\w+ +([\d,]+) +[\d.]+% ", page, re.MULTILINE)
    assert sum(int(rows.replace(",", "")) for rows in lanes) == pytest.approx(60_000, rel=0.05)
    assert list(tmp_path.iterdir()) == []


def test_what_fit_would_refuse_is_not_planned(folder: Path, refused: Refused, plan: Plan) -> None:
    shape = DecoderConfig(vocab_size=300, hidden_size=16, num_hidden_layers=1)
    save_checkpoint(folder / "model", Decoder(shape), ChatTokenizer.load(folder / "tokenizer.json"), {})
    words = ["--config", "run.yaml", "--set", "model.checkpoint=model"]
    assert f"{shape.num_parameters:,}, " in plan(*words)
    wider = "model.decoder.hidden_size=32"
    refused("plan", *words, "--set", wider, says="model.decoder.hidden_size is 32, but model has 16")


def test_context_and_tokenizer_are_the_checkpoint_s_as_in_fit(folder: Path, plan: Plan) -> None:
    shape = DecoderConfig(vocab_size=300, hidden_size=16, num_hidden_layers=1, max_position_embeddings=512)
    save_checkpoint(folder / "model", Decoder(shape), ChatTokenizer.load(folder / "tokenizer.json"), {})
    settings = ("data.context_length=null", "data.tokenizer=null", "model.checkpoint=model")
    page = plan("--config", "run.yaml", *(word for one in settings for word in ("--set", one)))
    tokens, padding = number(page, r"tokens +([\d,]+), sup"), number(page, r"padding ([\d.]+)%") / 100
    assert tokens / (1 - padding) == pytest.approx(50 * 8 * 512, rel=1e-3)
    assert f"{shape.num_parameters:,}, " in page


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--gpus", "0"], "--gpus is 0"),
        (["--mfu", "1.5"], "--mfu is 1.5"),
        (["--set", "trainer.max_steps=-1"], "--set trainer.max_steps=6000"),
        (["--set", "data.init_args.chat_input=none.jsonl"], "none.jsonl does not exist"),
        (["--set", "trainer.devices=auto"], r"name a number \(plan: --gpus N\)"),
        (["--set", "help"], "--set help gives no value; write KEY=VALUE"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_one_sentence(words: list[str], sentence: str, folder: Path, refused: Refused) -> None:
    refused("plan", "--config", "run.yaml", *words, says=sentence)
