"""What the command line says before any work begins: help, version, unknown words, spellings."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from picochat import __version__
from picochat.cli import GROUPS, SUBCOMMANDS, main
from picochat.commands.configs import resolve_names, shipped_configs
from picochat.commands.parser import respell


def picochat(*words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "picochat", *words], capture_output=True, text=True, cwd=cwd)


def refusal(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The one line on stderr with which a command line is refused."""
    with pytest.raises(SystemExit) as stop:
        main(list(words))
    captured = capsys.readouterr()
    assert stop.value.code == 2
    assert captured.out == ""
    assert captured.err.startswith("picochat: error: ")
    assert captured.err.count("\n") == 1
    return captured.err


def test_version_and_overview_need_no_torch_and_name_every_command() -> None:
    code = "import sys; from picochat.cli import main; main(['-h']); main(['-V']); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert lines[-2:] == [f"picochat {__version__}", "False"]
    for name in (*SUBCOMMANDS, *GROUPS):
        assert any(line.startswith(f"  {name} ") for line in lines)


def test_unknown_command_names_the_nearest_one() -> None:
    done = picochat("tran", "sft")
    assert done.returncode == 2
    assert "unknown command 'tran' (did you mean train?)" in done.stderr
    assert "Traceback" not in done.stderr


def test_unknown_flag_names_the_nearest_one(capsys: pytest.CaptureFixture[str]) -> None:
    message = refusal(capsys, "data", "task-pack", "--dataset-pack", "p.json", "--sft-row", "5")
    assert "unknown argument '--sft-row' (did you mean --sft-rows?)" in message


def test_unknown_choice_names_the_nearest_one(capsys: pytest.CaptureFixture[str]) -> None:
    message = refusal(
        capsys,
        "train",
        "sft",
        "--input",
        "a",
        "--checkpoint",
        "b",
        "--out-dir",
        "c",
        "--steps",
        "1",
        "--lr-decay",
        "cosin",
    )
    assert "--lr-decay: unknown value 'cosin' (did you mean cosine?)" in message


def test_missing_required_flag_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert "--checkpoint" in refusal(capsys, "train", "sft", "--input", "a", "--out-dir", "c", "--steps", "1")


def test_unknown_config_lists_the_shipped_ones(capsys: pytest.CaptureFixture[str]) -> None:
    message = refusal(capsys, "fit", "--config", "capabilty.yaml")
    assert "unknown config capabilty.yaml (did you mean capability.yaml?)" in message
    assert "scale/h100-pilot.yaml" in message


def test_underscores_and_key_value_are_spellings_of_a_flag() -> None:
    words = ["--sft_rows", "5", "eval_rows=6", "--out-dir=a_b", "note=1", "x=y"]
    known = {"--sft-rows", "--eval-rows", "--out-dir"}
    assert respell(words, lambda name: _known(name, known), known.__contains__) == [
        "--sft-rows", "5", "--eval-rows=6", "--out-dir=a_b", "note=1", "x=y",
    ]  # fmt: skip


def test_the_word_after_a_flag_is_its_value_whatever_it_looks_like() -> None:
    words = ["--prompt", "seed=7 is what?", "--force", "seed=8", "--out_dir", "seed=9", "seed=10"]
    known = {"--prompt", "--seed", "--force", "--out-dir"}
    assert respell(words, lambda name: _known(name, known), (known - {"--force"}).__contains__) == [
        "--prompt", "seed=7 is what?", "--force", "--seed=8", "--out-dir", "seed=9", "--seed=10",
    ]  # fmt: skip


def _known(name: str, flags: set[str]) -> str | None:
    flag = f"--{name.replace('_', '-')}"
    return flag if flag in flags else None


def test_fit_has_the_same_spellings_with_underscores_as_canonical_form() -> None:
    words = ["fit", "config=base.yaml", "--ckpt_path", "lr=0.1/last.ckpt", "--print_config", "trainer.max-steps=7"]
    assert resolve_names(words) == [
        "fit", f"--config={shipped_configs()['base.yaml']}", "--ckpt_path", "lr=0.1/last.ckpt", "--print_config",
        "--trainer.max_steps=7",
    ]  # fmt: skip


def test_a_prompt_that_looks_like_a_setting_is_a_prompt(capsys: pytest.CaptureFixture[str]) -> None:
    message = refusal(capsys, "generate", "--checkpoint", "nowhere", "--prompt", "seed=7 is what?")
    assert "nowhere" in message


def test_a_file_that_the_system_refuses_is_named_in_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    name = "a" * 300  # longer than any file system takes
    message = refusal(capsys, *f"train sft --input {name} --checkpoint b --out-dir c --steps 1".split())
    assert message == f"picochat: error: cannot read or write {name}: File name too long\n"


def test_a_fault_that_names_no_file_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def fault(words: list[str]) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("picochat.cli._dispatch", fault)
    with pytest.raises(OSError, match="Input/output error"):
        main(["list"])


def test_a_mistyped_required_flag_is_named_with_the_one_that_was_meant(capsys: pytest.CaptureFixture[str]) -> None:
    message = refusal(capsys, "data", "task-pack", "--dataset-pak", "p.json")
    assert "unknown argument '--dataset-pak' (did you mean --dataset-pack?)" in message


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("words", [("list",), ("--help",)])
def test_a_reader_that_leaves_ends_the_command_without_a_word(words: tuple[str, ...], unbuffered: str) -> None:
    """As `picochat list | head -1` does: status 141, as of a program that SIGPIPE ends."""
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "picochat", *words]
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, env=environment)
    os.close(write)
    assert (done.returncode, done.stderr) == (141, "")
