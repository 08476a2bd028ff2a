"""`picochat eval …` as a user types it, with a small model that has learnt eight rows by heart."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from refusing import Refused
from torch.nn.utils.rnn import pad_sequence

from picochat.cli import main
from picochat.model.checkpoint import save_checkpoint
from picochat.model.config import DecoderConfig
from picochat.model.decoder import Decoder
from picochat.model.loss import supervised_nll
from picochat.model.tokenizer import ChatTokenizer
from picochat.model.vocabulary import train_tokenizer
from picochat.packs.formats import read_rows
from picochat.packs.rows import Row, conversation, write_rows

ROWS = read_rows(Path(__file__).parent / "eight_rows.jsonl", "eval")
CHECKS = ("steps", "must_include", "choice_labels", "correct_choice", "answerable", "reference")


def chat_row(row: Row) -> Row:
    """The row as it was trained on."""
    return {"messages": conversation(row), **{field: row[field] for field in row.keys() - {*CHECKS, "messages"}}}


def learn(tokenizer: ChatTokenizer) -> Decoder:
    torch.manual_seed(1)
    size = {"hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": 2, "head_dim": 12}
    decoder = Decoder(DecoderConfig(vocab_size=tokenizer.vocab_size, max_position_embeddings=128, **size))
    rendered = tokenizer.render_batch([chat_row(row)["messages"] for row in ROWS])
    ids = pad_sequence([torch.tensor(one.ids) for one in rendered], batch_first=True)
    learnt = pad_sequence([torch.tensor(one.supervised) for one in rendered], batch_first=True)
    labels = torch.where(learnt, ids, -100)[:, 1:]
    optimizer = torch.optim.AdamW(decoder.parameters(), lr=5e-3)
    for _ in range(200):
        loss = supervised_nll(decoder, decoder(ids[:, :-1]), labels).mean()
        if loss.item() < 0.005:
            break
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.01
    return decoder.eval()


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with best_checkpoint, an untrained twin, metrics.csv, chat rows and eval rows."""
    folder = tmp_path_factory.mktemp("run")
    tokenizer = train_tokenizer([turn["content"] for row in ROWS for turn in chat_row(row)["messages"]] * 3, 270)
    decoder = learn(tokenizer)
    save_checkpoint(folder / "best_checkpoint", decoder, tokenizer, {"stage": "sft", "seed": 1})
    save_checkpoint(folder / "base", Decoder(decoder.config), tokenizer, {"stage": "base", "seed": 1})
    (folder / "metrics.csv").write_text("step,train/loss,lr\n1,3.0,0.001\n2,1.0,0.002\n")
    write_rows(folder / "chat_rows.jsonl", map(chat_row, ROWS))
    write_rows(folder / "eval_rows.jsonl", ROWS)
    return folder


@pytest.fixture(scope="session")
def evaluated(run_folder: Path) -> Path:
    """The output folders of `eval chat` of both checkpoints: out/best_checkpoint and out/base."""
    for name in ("base", "best_checkpoint"):
        main(["eval", "chat", *inputs(run_folder, name), "--out-dir", str(run_folder / "out" / name)])
    return run_folder / "out"


def inputs(folder: Path, checkpoint: str = "best_checkpoint", rows: str = "eval_rows.jsonl") -> list[str]:
    words = ["--input", str(folder / rows), "--checkpoint", str(folder / checkpoint)]
    return [*words, "--max-new-tokens", "40", "--device", "cpu"]


def report_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "eval_report.json").read_text())
    return found


def test_eval_chat_tells_a_model_that_learnt_from_one_that_did_not(evaluated: Path) -> None:
    learnt, base = report_of(evaluated / "best_checkpoint"), report_of(evaluated / "base")
    assert learnt["overall"]["passed"] == learnt["overall"]["n"] == 8
    assert base["by_category"]["bench_math_addition"]["passed"] == 0
    assert learnt["by_category"]["bench_math_addition"]["steps_correct"] == 1.0
    assert learnt["by_category"]["bench_choice_language"]["choice"]["chance"] == 0.5
    statuses = ["point estimate only", "partly tested", "not tested"]  # of the skills no row asks for a spelling
    assert [claim["status"] for claim in learnt["claims"]] == statuses
    assert learnt["model"]["provenance"]["stage"] == "sft"
    written = ["eval_report.html", "eval_report.json", "eval_report.md", "predictions.jsonl"]
    assert sorted(path.name for path in (evaluated / "base").iterdir()) == written


def test_predictions_and_page_hold_what_was_said_and_the_runs_curves(evaluated: Path) -> None:
    lines = (evaluated / "best_checkpoint" / "predictions.jsonl").read_text().splitlines()
    first, choice = json.loads(lines[0]), json.loads(lines[-1])
    assert (first["prompt"], first["reply"]) == ("1 + 2?", "1 + 2 = 3\nFinal answer: 3")
    assert (first["passed"], first["reasons"], first["candidate"]) == (True, [], "3")
    assert first["tags"]["mixture_benchmark_profile"] == "weak_skills"
    assert set(choice["choice_scores"]) == {"A", "B"}
    page = (evaluated / "best_checkpoint" / "eval_report.html").read_text()
    assert "train/loss" in page
    assert "<h3>Learning rate</h3>" in page


def test_before_and_model_card(
    run_folder: Path, evaluated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], refused: Refused
) -> None:
    checkpoint = tmp_path / "run" / "best_checkpoint"
    shutil.copytree(run_folder / "best_checkpoint", checkpoint)
    words = ["eval", "chat", *inputs(run_folder)[:2], "--checkpoint", str(checkpoint), "--model-card"]
    words += ["--before", str(evaluated / "base"), "--out-dir", str(tmp_path / "out")]
    (checkpoint / "README.md").write_text("# Mine\n")
    refused(*words, says="README.md exists already; add --force")
    main([*words, "--force"])
    shown = capsys.readouterr().out
    assert re.search(r"bench_math_addition +4 +4 +100.0 %", shown)
    assert re.search(r"weak_skills: math +≥ 30.0 % +100.0 % .* met", shown)
    assert f"before: {run_folder / 'base'}" in (tmp_path / "out" / "eval_report.html").read_text()
    card = (checkpoint / "README.md").read_text()
    assert "# run\n" in card
    assert "- weak_skills: partly tested in this pack, no claim; math: 100.0 % of 4 rows" in card


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--device", "abacus"], "--device abacus is not available"),
        (["--before", "nowhere"], "cannot read nowhere/eval_report.json: No such file or directory"),
        (["--judge", "http://localhost:1"], "--judge and --judge-model, what the server calls the model, need"),
        (["--model", "small"], "--server and --model, what the server calls the model, need each other"),
        (["--replies", "x.jsonl"], "argument --replies: not allowed with argument --checkpoint"),
    ],
)
def test_bad_settings_are_one_sentence_and_nothing_is_written(
    run_folder: Path, tmp_path: Path, refused: Refused, words: list[str], expected: str
) -> None:
    assert expected in refused("eval", "chat", *inputs(run_folder), "--out-dir", "out", *words)
    (tmp_path / "out").mkdir()
    (tmp_path / "out/eval_report.md").write_text("mine")
    refused("eval", "chat", *inputs(run_folder), "--out-dir", "out", says="eval_report.md exists already; add --force")


def test_a_row_that_fills_the_context_is_named(run_folder: Path, tmp_path: Path, refused: Refused) -> None:
    long = {"messages": [{"role": "user", "content": "Once upon a time " * 40}], "answer": "1"}
    write_rows(tmp_path / "long.jsonl", [ROWS[0], long])
    words = [*inputs(run_folder), "--input", "long.jsonl", "--out-dir", "out"]
    refused("eval", "chat", *words, says="prompt 2 has .* fills the model's context of 128")


def test_sft_fit_shows_what_was_learnt_by_heart(
    run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["eval", "sft-fit", *inputs(run_folder, rows="chat_rows.jsonl"), "--out-dir", str(tmp_path / "learnt")])
    assert "identity: not both sides have answers to check" in capsys.readouterr().out
    few = ["--eval-input", str(run_folder / "eval_rows.jsonl"), "--max-rows", "3"]
    main(["eval", "sft-fit", *inputs(run_folder, "base", "chat_rows.jsonl"), *few, "--out-dir", str(tmp_path / "base")])
    learnt, base = report_of(tmp_path / "learnt"), report_of(tmp_path / "base")
    assert learnt["overall"]["train"]["exact"]["rate"] == learnt["overall"]["train"]["token_accuracy"] == 1.0
    assert learnt["overall"]["train"]["nll"] < 0.02
    assert base["overall"]["train"]["exact"]["rate"] == 0.0
    assert base["overall"]["train"]["nll"] > 3
    assert learnt["held_out"]["path"] == base["held_out"]["path"] == str(run_folder / "eval_rows.jsonl")
    assert learnt["by_category"]["bench_math_addition"]["held_out"]["correct"]["passed"] == 4
    assert base["overall"]["train"]["n"] == 3


def test_compare_reads_the_outputs_of_eval_chat(
    evaluated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = str(evaluated / "base"), str(evaluated / "best_checkpoint")
    capsys.readouterr()
    main(["eval", "compare", a, b, "--name-a", "base", "--name-b", "sft", "--out-dir", str(tmp_path / "out")])
    shown = capsys.readouterr().out
    assert re.search(r"bench_math_addition +4 +4 +0.0 % +100.0 % +\+100.0", shown)
    assert "run-to-run variation unknown: not a claim about recipes" in shown
    assert shown.rstrip().splitlines()[-3].startswith("sft against base: ")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {f"comparison.{k}" for k in ("html", "json", "md")}
    main(["eval", "compare", "--a", a, "--b", b, "--before", a, "--peak", b])
    shown = capsys.readouterr().out
    assert "best_checkpoint against base: " in shown  # called after their folders
    assert "of its gain kept" not in shown  # four sums are too few to speak of a gain
    main(["eval", "power", "--rows", "246", "--problems", "95", "--runs", "3"])
    assert re.fullmatch(r"a difference of \d\.\d points or more is found .*\n", capsys.readouterr().out)


@pytest.mark.parametrize("words", [["one"], ["one", "two", "three"], [], ["--a", "one"], ["one", "two", "--a", "x"]])
def test_compare_says_how_it_is_called(refused: Refused, words: list[str]) -> None:
    refused("eval", "compare", *words, says="eval compare takes two folders A B, or --a A1 A2 … --b B1 B2 …")
