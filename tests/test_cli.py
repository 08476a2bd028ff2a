"""What the command line says before any work begins: help, version, unknown words, spellings."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from small_rows import chat_row

from picochat import __version__
from picochat.cli import main
from picochat.commands.configs import resolve_names, shipped_configs
from picochat.commands.parser import respell

REFUSED = {
    "data task-pack --dataset-pack p.json --sft-row 5": "unknown argument '--sft-row' (did you mean --sft-rows?)",
    "data task-pack --dataset-pak p.json": "unknown argument '--dataset-pak' (did you mean --dataset-pack?)",
    "train sft --input a --checkpoint b --out-dir c --steps 1 --lr-decay cosin": (
        "argument --lr-decay: invalid choice: 'cosin' (choose from "
    ),
    "train sft --input a --out-dir c --steps 1": "required: --checkpoint",
    "fit --config capabilty.yaml": "unknown config capabilty.yaml (did you mean capability.yaml?); the installed ones",
    "generate --checkpoint nowhere --prompt seed=7": "nowhere is not a model folder",  # a prompt like a setting
    f"train sft --input {'a' * 300} --checkpoint b --out-dir c --steps 1": (  # longer than any file system takes
        f"cannot read or write {'a' * 300}: File name too long"
    ),
}


@pytest.mark.parametrize("line", REFUSED)
def test_a_wrong_line_is_refused_in_one_sentence(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(line.split())
    captured = capsys.readouterr()
    assert (stop.value.code, captured.out, captured.err.count("\n")) == (2, "", 1)
    assert captured.err.startswith("picochat: error: ")
    assert REFUSED[line] in captured.err


def test_a_process_ends_with_status_2_one_sentence_and_nothing_written(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text(json.dumps(chat_row("add", 1, 3)) + '\n{"messages": [}\n')
    for words, said in (
        ("trian sft", "unknown command 'trian' (did you mean train?)"),
        ("data inspect --format messages rows.json", "cannot read rows.json: No such file"),
        ("tok train --input rows.jsonl --out tokenizer.json", "rows.jsonl:2: is not JSON"),
    ):
        command = [sys.executable, "-m", "picochat", *words.split()]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
        assert done.returncode == 2
        assert done.stderr.splitlines()[-1].startswith(f"picochat: error: {said}")
        assert "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["rows.jsonl"]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("--sft_rows 5 eval_rows=6 --out-dir=a_b x=y", "--sft-rows 5 --eval-rows=6 --out-dir=a_b x=y"),
        ("--prompt seed=7 --force seed=8 --out_dir seed=9", "--prompt seed=7 --force --seed=8 --out-dir seed=9"),
        (
            "--seed -1 --prompt -5+3 --prompt - --prompt -h --force -1",
            "--seed=-1 --prompt=-5+3 --prompt - --prompt -h --force -1",
        ),
        (
            "--prompt '--lr=1 --force' --prompt '-x + 3' '--prompt=a b'",
            "'--prompt=--lr=1 --force' '--prompt=-x + 3' '--prompt=a b'",
        ),
    ],
)
def test_a_flag_has_several_spellings_and_the_word_after_it_is_its_value(line: str, expected: str) -> None:
    valued = {"--sft-rows", "--eval-rows", "--out-dir", "--prompt", "--seed"}

    def known(name: str) -> str | None:
        flag = f"--{name.replace('_', '-')}"
        return flag if flag in valued | {"--force"} else None

    assert respell(shlex.split(line), known, valued.__contains__) == shlex.split(expected)


def test_fit_has_the_same_spellings_with_underscores_as_canonical_form_and_configs_first() -> None:
    """jsonargparse lets the last word win: a config behind a flag would replace what the flag says."""
    words = "fit trainer.max-steps=7 config=base.yaml --ckpt_path lr=0.1/last.ckpt --print_config --config sft.yaml"
    base, sft = (shipped_configs()[name] for name in ("base.yaml", "sft.yaml"))
    expected = f"fit --config={base} --config {sft} --trainer.max_steps=7 --ckpt_path lr=0.1/last.ckpt --print_config"
    assert resolve_names(words.split()) == expected.split()


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    main(["-V"])
    assert capsys.readouterr().out == f"picochat {__version__}\n"


@pytest.mark.parametrize("flags", [[], ["-u"]])
def test_a_reader_that_leaves_ends_the_command_without_a_word(flags: list[str]) -> None:
    """As `picochat list | head -1` does: status 141, as of a program that SIGPIPE ends."""
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, *flags, "-m", "picochat", "list"]
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert (done.returncode, done.stderr) == (141, "")


CANNOT = "picochat: error: cannot read or write"
SHELL = {
    "list > /dev/full": (2, f"{CANNOT} the output: No space left on device\n"),
    "list >&- <&-": (0, ""),
    "data import --source stories --out-dir data": (2, f"{CANNOT} the current directory: No such file or directory\n"),
}


@pytest.mark.parametrize("line", SHELL)
def test_what_a_shell_can_do_to_a_command_is_no_traceback(line: str, tmp_path: Path) -> None:
    """A full disk behind stdout, closed streams, a current directory that was deleted."""
    script = f"rmdir $PWD; exec {sys.executable} -m picochat {line}"
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stderr) == SHELL[line]


def test_output_for_a_file_is_utf8_whatever_the_locale() -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run([sys.executable, "-m", "picochat"], capture_output=True, env=environment)
    assert "usage: picochat COMMAND …" in done.stdout.decode("utf-8")
