"""`picochat generate` and `picochat export`, with a small model that has learnt eight rows by heart."""

import io
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from refusing import Refused
from safetensors.torch import load_file

from picochat.cli import main
from picochat.files import sha256_file
from picochat.model.checkpoint import load_checkpoint, save_checkpoint
from picochat.model.config import DecoderConfig
from picochat.model.decoder import Decoder


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def model(run_folder: Path) -> list[str]:
    return ["--checkpoint", str(run_folder / "best_checkpoint"), "--device", "cpu", "--max-new-tokens", "40"]


def test_one_prompt_is_answered_on_stdout(model: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    main(["generate", *model, "--prompt", "4 + 2?"])
    assert capsys.readouterr().out == "4 + 2 = 6\nFinal answer: 6\n"
    main(["generate", *model, "--prompt", "4 + 2?", "--prompt", "Who are you?"])
    assert capsys.readouterr().out == "4 + 2 = 6\nFinal answer: 6\n\nI am Picochat.\n"


def test_rows_come_back_in_order_with_reply_and_what_they_held(
    model: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = [
        {"id": 7, "prompt": "Who are you?", "mark": 1},
        {"messages": [{"role": "user", "content": "4 + 2?"}], "mark": "zwei"},
    ]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in asked))
    main(["generate", *model, "--input", str(tmp_path / "in.jsonl"), "--out", str(tmp_path / "out.jsonl")])
    assert capsys.readouterr().out == f"wrote {tmp_path / 'out.jsonl'}: 2 replies, 0 of them cut off\n"
    rows = rows_of(tmp_path / "out.jsonl")
    assert [(row["mark"], row["reply"], row["finished"]) for row in rows] == [
        (1, "I am Picochat.", True),
        ("zwei", "4 + 2 = 6\nFinal answer: 6", True),
    ]
    assert rows[0]["messages"] == [{"role": "user", "content": "Who are you?"}]
    assert rows[0]["id"] == "7"  # rows that others numbered keep their numbers
    main(["generate", *model, "--input", str(tmp_path / "in.jsonl"), "--batch-size", "1"])  # no --out: JSONL on stdout
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == rows


def test_plain_goes_on_with_the_text_and_opens_no_turn(
    run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    loaded = load_checkpoint(run_folder / "base")
    with torch.no_grad():  # a model that says after each token the same one again
        loaded.decoder.model.embed_tokens.weight.normal_()
        for name, weight in loaded.decoder.named_parameters():
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                weight.zero_()
    save_checkpoint(tmp_path / "echo", loaded.decoder, loaded.tokenizer, {})
    words = ["generate", "--checkpoint", str(tmp_path / "echo"), "--max-new-tokens", "3", "--prompt", "abz"]
    main([*words, "--plain"])
    captured = capsys.readouterr()
    assert captured.out == "zzz\n"
    assert "(1 of 1 replies cut off; see --max-new-tokens)\n" in captured.err
    main(words)  # as a turn the last token is <|assistant|>, which ends a reply
    assert capsys.readouterr().out == "\n"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--prompt", " "], "--prompt is empty"),
        (["--prompt", "caf\udce9"], "--prompt holds half of a surrogate pair (character 4)"),  # é in Latin-1
        (["--prompt", "x", "--system", ""], "--system is empty"),
        (["--prompt", "x", "--device", "cpu:foo"], "--device cpu:foo is not available on this machine"),
        (["--input", "bad.jsonl"], "bad.jsonl:2: a row to answer must end with the user"),
        (["--prompt", "x", "--plain", "--system", "y"], "leave --system out"),
        (["--prompt", "x " * 400], "fills the model's context of 128"),
        (["--prompt", "x", "--out", "bad.jsonl"], "bad.jsonl exists already; add --force"),
    ],
)
def test_what_cannot_be_answered_is_one_sentence_and_writes_nothing(
    model: list[str], refused: Refused, words: list[str], expected: str
) -> None:
    turns = [{"role": "system", "content": "a"}]
    Path("bad.jsonl").write_text('{"prompt": "x"}\n' + json.dumps({"messages": turns}) + "\n")
    assert expected in refused("generate", *model, *words)


def test_a_prompt_from_stdin_that_is_not_utf8_is_refused(
    model: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], refused: Refused
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"4 + 2?")))
    main(["generate", *model, "--prompt", "-"])
    assert capsys.readouterr().out == "4 + 2 = 6\nFinal answer: 6\n"
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"caf\xe9"), encoding="utf-8"))
    assert "--prompt holds half of a surrogate pair" in refused("generate", *model, "--prompt", "-")


def test_export_casts_unties_and_says_where_it_comes_from(
    run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "run" / "best_checkpoint"
    shutil.copytree(run_folder / "best_checkpoint", source)
    out = tmp_path / "out"
    main(["export", "--checkpoint", str(source), "--out-dir", str(out), "--dtype", "bfloat16", "--untie"])
    before, after = load_file(source / "model.safetensors"), load_file(out / "model.safetensors")
    assert after.keys() - before.keys() == {"lm_head.weight"}
    assert all(torch.equal(after[name], tensor.bfloat16()) for name, tensor in before.items())
    assert torch.equal(after["lm_head.weight"], after["model.embed_tokens.weight"])
    config = json.loads((out / "config.json").read_text())
    assert (config["tie_word_embeddings"], config["dtype"]) == (False, "bfloat16")
    provenance = json.loads((out / "picochat.json").read_text())
    assert provenance["stage"] == "sft"
    assert provenance["exported_from"] == {
        "folder": str(source),
        "dtype": "float32",
        "sha256": {"model.safetensors": sha256_file(source / "model.safetensors")},
    }
    size = (out / "model.safetensors").stat().st_size
    assert capsys.readouterr().out == f"wrote {out}: {size / 1e6:.1f} MB of weights\n"
    main(["generate", "--checkpoint", str(out), "--prompt", "4 + 2?"])
    assert capsys.readouterr().out == "4 + 2 = 6\nFinal answer: 6\n"


def test_export_refuses_what_would_lose_something(
    run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], refused: Refused
) -> None:
    source, out = run_folder / "best_checkpoint", tmp_path / "out"
    words = ["export", "--checkpoint", str(source), "--out-dir"]
    for folder in (source, run_folder):  # the run that holds it would be replaced, and with it the checkpoint
        assert "is the checkpoint itself, or holds it" in refused(*words, str(folder), "--force")
        assert (source / "model.safetensors").is_file()
    out.mkdir()
    assert "exists already; add --force" in refused(*words, str(out))
    main([*words, str(out), "--force"])
    assert load_file(out / "model.safetensors").keys() == load_file(source / "model.safetensors").keys()

    loaded = load_checkpoint(source)
    capsys.readouterr()
    large = Decoder(DecoderConfig(vocab_size=loaded.tokenizer.vocab_size, num_hidden_layers=1))
    with torch.no_grad():
        large.model.norm.weight[0] = 70_000.0  # float16 ends at 65,504
    save_checkpoint(tmp_path / "large", large, loaded.tokenizer, {})
    words = ["export", "--checkpoint", str(tmp_path / "large"), "--out-dir", str(tmp_path / "half")]
    message = refused(*words, "--dtype", "float16")
    assert "model.norm.weight holds numbers that float16 cannot; use --dtype bfloat16" in message
    assert not (tmp_path / "half").exists()
    main([*words, "--dtype", "bfloat16"])
