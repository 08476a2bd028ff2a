"""The completion script, asked by a real bash; and every command's help: a purpose, and an example that parses."""

import os
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from picochat.cli import COMMANDS, GROUPS, TRAINER, Parser, main, normalise, parser_of
from picochat.commands.completion import command_parsers, completion_script
from picochat.commands.configs import shipped_configs

PARSERS = dict(command_parsers())


def complete(line: str, cwd: Path) -> list[str]:
    """What bash offers behind `line`, split into words as bash does."""
    return offered(line.replace("=", " = ").split() + ([""] if line.endswith((" ", "=")) else []), cwd)


def offered(words: list[str], cwd: Path) -> list[str]:
    code = f"{completion_script('bash')}\nCOMP_WORDS=({shlex.join(words)}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))\n"
    code += '_picochat; printf "%s\\n" "${COMPREPLY[@]}"'
    command = ["bash", "--norc", "-u", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=cwd, check=True)
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("picochat tr", ["train"]),
        ("picochat ", [*TRAINER, *GROUPS, *COMMANDS]),
        ("picochat train ", ["base", "sft"]),
        ("picochat train sft --pack", ["--packing"]),
        ("picochat train sft --input rows.jsonl --packing ", ["separate", "bos_bestfit"]),
        ("picochat train sft --packing=s", ["separate"]),
        ("picochat eval chat --preci", ["--precision"]),
        ("picochat export --dtype=b", ["bfloat16"]),
        ("picochat completion z", ["zsh"]),
        ("picochat fit --config=sc", [name for name in shipped_configs() if name.startswith("sc")]),
        ("picochat fit --config=base.yaml --trainer.max_s", ["--trainer.max_steps"]),
        ("picochat fit --model.optimizer.n", ["--model.optimizer.name"]),
        ("picochat train sft --input r", []),  # files: bash's own default goes on
        ("picochat nonsense ", []),
    ],
)
def test_bash_offers_what_fits(tmp_path: Path, line: str, expected: list[str]) -> None:
    (tmp_path / "rows.jsonl").touch()
    assert sorted(complete(line, tmp_path)) == sorted(expected)


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
def test_a_shell_that_leaves_flag_and_value_one_word_gets_both_back(tmp_path: Path) -> None:
    """zsh does."""
    assert offered(["picochat", "train", "sft", "--packing=bos"], tmp_path) == ["--packing=bos_bestfit"]
    assert offered(["picochat", "fit", "--config=cap"], tmp_path) == ["--config=capability.yaml"]


@pytest.mark.skipif(shutil.which("zsh") is None, reason="no zsh")
def test_zsh_takes_the_script(tmp_path: Path) -> None:
    command = ["zsh", "-f", "-c", f"{completion_script('zsh')}\nprint -r -- $_comps[picochat]"]
    home = {**os.environ, "HOME": str(tmp_path), "ZDOTDIR": str(tmp_path)}  # compinit writes a file there
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, env=home)
    assert done.stderr == ""
    assert done.stdout.split() == ["_bash_complete", "-o", "default", "-F", "_picochat"]


def test_both_shells_get_a_script_of_their_own(capsys: pytest.CaptureFixture[str]) -> None:
    main(["completion", "zsh"])
    zsh = capsys.readouterr().out
    main(["completion", "bash"])
    bash = capsys.readouterr().out
    assert "bashcompinit" in zsh
    assert "bashcompinit" not in bash
    assert zsh.count("\n") == bash.count("\n") + 1


def test_every_command_is_walked() -> None:
    assert {path[0] for path in PARSERS} == {*GROUPS, *COMMANDS}
    assert len(PARSERS) >= 14


@pytest.mark.parametrize("path", PARSERS, ids=" ".join)
def test_help_begins_with_the_purpose_and_ends_with_an_example_that_parses(path: tuple[str, ...]) -> None:
    """Parsed as the command line parses it: unknown flags, wrong choices and missing required flags are errors."""
    parser: Parser = PARSERS[path]
    purpose = (parser.description or "").splitlines()[0]
    assert purpose[:1].isupper()
    assert purpose.endswith((".", ":"))
    said, _, example = parser.format_help().rpartition("\nexample")
    assert said.startswith(f"{purpose}\n\nusage: picochat {' '.join(path)} ")
    lines = [line.strip() for line in example.partition(":")[2].replace("\\\n", " ").splitlines()]
    found = [shlex.split(line) for line in lines if line.startswith("picochat ")]
    assert found
    for words in found:
        assert tuple(words[1 : 1 + len(path)]) == path
        arguments = normalise(words[1 + len(path) :], parser.flags())
        assert {word.partition("=")[0] for word in arguments if word.startswith("--")} <= set(parser.flags())
        parser.parse_args(arguments)


@pytest.mark.parametrize("group", GROUPS)
def test_help_of_a_group_does_too(group: str) -> None:
    said = parser_of(group)[0].format_help().splitlines()
    assert said[0].casefold() == f"{GROUPS[group][1]}.".casefold()
    example = said[-1].removeprefix(f"example: picochat {group} ").split()
    assert (group, example[0]) in PARSERS
    assert example[1:] == ["--help"]


@pytest.mark.parametrize("command", TRAINER)
def test_help_of_lightnings_commands_does_too(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from picochat.commands.configs import spell_out
    from picochat.commands.fit import parsed_config

    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    assert stop.value.code == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0].casefold() == f"{TRAINER[command]}.".casefold()
    assert said[2].startswith(f"usage: picochat {command} --config YAML ")
    words = said[-1].removeprefix("example: picochat ").split()
    assert words[0] == command
    run = tmp_path / "runs/capability"
    run.mkdir(parents=True)
    shutil.copy(shipped_configs()["capability.yaml"], run / "config.yaml")
    monkeypatch.chdir(tmp_path)
    assert parsed_config(spell_out(words)).data.class_path.endswith("CapabilityDataModule")
