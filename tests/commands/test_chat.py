"""`picochat chat` in a pipe and in a terminal, with a small model that has learnt eight rows by heart."""

import contextlib
import io
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from picochat.cli import main
from picochat.model.checkpoint import load_checkpoint, save_checkpoint
from picochat.model.decoder import Decoder
from picochat.packs.formats import read_rows

Talk = Callable[..., tuple[str, str]]


@pytest.fixture
def talk(run_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Talk:
    """Run `picochat chat` on lines of stdin; gives (stdout, stderr)."""

    def run(lines: list[str], *words: str, checkpoint: Path = run_folder / "best_checkpoint") -> tuple[str, str]:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO("".join(f"{line}\n" for line in lines).encode())))
        main(["chat", "--checkpoint", str(checkpoint), "--device", "cpu", "--max-new-tokens", "40", *words])
        out, err = capsys.readouterr()
        return out, err

    return run


def test_a_pipe_gets_replies_and_nothing_else(talk: Talk) -> None:
    out, err = talk(["Who are you?", "", "/reset", "4 + 2?"])
    assert out == "I am Picochat.\n4 + 2 = 6\nFinal answer: 6\n"
    assert err == "(forgotten)\n"


def test_what_was_said_before_is_read_again_until_it_is_reset(talk: Talk) -> None:
    alone, _ = talk(["1 + 2?", "/reset", "What is your name?"])
    together, _ = talk(["1 + 2?", "What is your name?"])
    first = "1 + 2 = 3\nFinal answer: 3\n"
    assert alone == first + "My name is Picochat.\n"
    assert together.startswith(first)
    assert together != alone  # the model never saw two turns, and does not answer the second as if it were alone


def test_the_conversation_is_saved_as_a_chat_row_that_training_reads(talk: Talk, tmp_path: Path) -> None:
    file = tmp_path / "talk.jsonl"
    lines = ["Who are you?", f"/save {file}", "/reset", f"/save {file}", "2 + 2?", f"/save {file}", "/save"]
    _, err = talk(lines, "--system", "Be brief.")
    first, second = read_rows(file, "chat")
    said = [(message["role"], message["content"]) for message in first["messages"]]
    assert said[:2] == [("system", "Be brief."), ("user", "Who are you?")]
    assert [message["role"] for message in second["messages"]] == ["system", "user", "assistant"]
    assert err == (
        f"(saved as row 1 of {file})\n(forgotten)\n(nothing was said yet)\n(saved as row 2 of {file})\n"
        "(/save needs a file name, such as /save talk.jsonl)\n"
    )


def test_mistakes_are_said_and_the_conversation_goes_on(talk: Talk, tmp_path: Path) -> None:
    (tmp_path / "bad.jsonl").write_text("no JSON\n")
    lines = ["/rest", "/temperature hot", "/temperature -1", "x" * 400, "Who are you?", f"/save {tmp_path}/bad.jsonl"]
    (tmp_path / "table.csv").write_text("prompt,completion\nHi,Hello\n")
    lines.append(f"/save {tmp_path}/table.csv")
    out, err = talk([*lines, "/quit", "2 + 2?"])
    assert out == "I am Picochat.\n"
    expected = (
        "unknown command /rest; /help lists them",
        "/temperature needs a number, such as /temperature 0.7",
        "must be 0 (greedy) or above",
        "tokens, and the model can read 88; shorten it",
        "bad.jsonl:1: is not JSON",
        "table.csv would become JSONL; name a file such as talk.jsonl",
    )
    assert all(part in note for part, note in zip(expected, err.splitlines(), strict=True))
    assert (tmp_path / "bad.jsonl").read_text() == "no JSON\n"


@pytest.mark.parametrize("name", ["~nosuchuser/x.jsonl", "n" * 300 + ".jsonl", "a\0b.jsonl"])
def test_a_place_that_nothing_can_be_saved_to_is_said_and_the_conversation_goes_on(talk: Talk, name: str) -> None:
    out, err = talk(["Who are you?", f"/save {name}", "/reset", "4 + 2?"])
    assert out == "I am Picochat.\n4 + 2 = 6\nFinal answer: 6\n"
    assert err.startswith(("(cannot save to ", "(cannot write "))
    assert err.endswith(")\n(forgotten)\n")


def test_the_oldest_turns_give_way_when_the_context_is_full(talk: Talk) -> None:
    out, err = talk(["Who are you?"] * 12)
    assert out.count("\n") >= 12
    notes = err.splitlines()
    assert notes[0] == "(turns no longer read, since the context of 128 tokens is full: 1)"
    assert len(notes) > 1


def test_every_turn_alone_is_answered_as_a_first_one(talk: Talk, tmp_path: Path) -> None:
    out, _ = talk(["1 + 2?", "What is your name?", f"/save {tmp_path}/last.jsonl"], "--forget")
    assert out == "1 + 2 = 3\nFinal answer: 3\nMy name is Picochat.\n"
    (row,) = read_rows(tmp_path / "last.jsonl", "chat")
    assert [message["content"] for message in row["messages"]] == ["What is your name?", "My name is Picochat."]


def test_a_reply_that_is_cut_off_is_said_to_be(talk: Talk) -> None:
    out, err = talk(["4 + 2?"], "--max-new-tokens", "3")
    assert "4 + 2 = 6\nFinal answer: 6".startswith(out.removesuffix("\n"))
    assert out.endswith("\n")
    assert err == "(cut off: --max-new-tokens allows no more)\n"


def test_temperature_draws_and_the_seed_decides(talk: Talk, run_folder: Path, tmp_path: Path) -> None:
    loaded = load_checkpoint(run_folder / "base")
    torch.manual_seed(3)
    save_checkpoint(tmp_path / "random", Decoder(loaded.decoder.config), loaded.tokenizer, {})
    words = ["--temperature", "1.5", "--max-new-tokens", "12"]
    drawn = [talk(["Hello"], *words, "--seed", seed, checkpoint=tmp_path / "random")[0] for seed in "112"]
    assert drawn[0] == drawn[1] != drawn[2]
    twice = talk(["Hello", "Hello"], *words, "--seed", "1", "--forget", checkpoint=tmp_path / "random")[0]
    assert twice.startswith(drawn[0])
    assert twice != 2 * drawn[0]  # each turn has random numbers of its own
    cold = talk(["/temperature 0", "Hello"], *words, checkpoint=tmp_path / "random")
    assert cold[0] == talk(["Hello"], "--max-new-tokens", "12", checkpoint=tmp_path / "random")[0]


@contextlib.contextmanager
def terminal(*words: str) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """`picochat …` with a terminal of its own; gives the end that a person sits at."""
    person, program = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "picochat", *words],
        stdin=program,
        stdout=program,
        stderr=program,
        start_new_session=True,
    )
    os.close(program)
    try:
        yield person, process
    finally:
        process.kill()
        process.wait()
        os.close(person)


def read_until(person: int, wanted: str, seconds: float = 600) -> str:
    seen = b""
    deadline = time.monotonic() + seconds
    while wanted.encode() not in seen:
        ready, _, _ = select.select([person], [], [], max(0, deadline - time.monotonic()))
        assert ready, f"{wanted!r} did not come; what came: {seen.decode(errors='replace')!r}"
        seen += os.read(person, 4096)
    return seen.decode(errors="replace")


def press_ctrl_c_at_the_prompt(person: int, process: subprocess.Popen[bytes]) -> None:
    """Again until something comes back: a signal between the echo and readline's wait waits for the next key."""
    for _ in range(20):
        process.send_signal(signal.SIGINT)
        if select.select([person], [], [], 2)[0]:
            return


def test_in_a_terminal_ctrl_c_stops_the_reply_and_ctrl_d_ends(run_folder: Path, tmp_path: Path) -> None:
    loaded = load_checkpoint(run_folder / "base")
    torch.manual_seed(3)
    endless = Decoder(replace(loaded.decoder.config, max_position_embeddings=200_000))
    with torch.no_grad():
        endless.lm_head.weight[:6] = 0  # control tokens are never the most likely
    save_checkpoint(tmp_path / "endless", endless, loaded.tokenizer, {})
    words = ["chat", "--checkpoint", str(tmp_path / "endless"), "--max-new-tokens", "100000", "--device", "cpu"]
    with terminal(*words) as (person, process):
        assert "/help lists the commands, Ctrl-D ends" in read_until(person, "> ")
        os.write(person, b"/help\n")
        assert "/save FILE" in read_until(person, "> ")
        os.write(person, b"Hello\n")
        read_until(person, "Hello\r\n")
        reply = b""
        while len(reply) < 40:  # it has begun: of its own, readline prints less
            reply += os.read(person, 40)
        process.send_signal(signal.SIGINT)
        assert "(stopped)" in read_until(person, "> ")
        os.write(person, b"half a line")
        read_until(person, "half a line")
        press_ctrl_c_at_the_prompt(person, process)  # the line is thrown away
        read_until(person, "> ")
        os.write(person, b"\x04")
        assert process.wait(600) == 0
