"""Help of every command: a purpose, and an example that parses; and the completion script, asked by a real bash."""

import contextlib
import io
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from picochat.cli import COMMANDS, SUBCOMMANDS, build_parser, main, parse_command
from picochat.commands.configs import shipped_configs
from picochat.commands.parser import Parser


def walk(parser: Parser, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Parser]]:
    for name, command in parser.commands().items():
        yield (*path, name), command
        yield from walk(command, (*path, name))


OWN = COMMANDS.keys() - SUBCOMMANDS.keys()
ALL = dict(walk(build_parser(sorted(OWN))))
assert {path[0] for path in ALL} == OWN and len(ALL) >= 18


def test_the_overview_shows_every_command_once_under_what_a_person_wants(capsys: pytest.CaptureFixture[str]) -> None:
    main([])
    overview = capsys.readouterr().out.splitlines()
    shown = [line.split()[0] for line in overview if line.startswith("  ")]
    assert sorted(shown) == sorted(COMMANDS)
    assert [line.rstrip(":") for line in overview if line.endswith(":")] == list(
        dict.fromkeys(title for title, _, _ in COMMANDS.values())
    )


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_help_begins_with_the_purpose_and_ends_with_an_example_that_parses(path: tuple[str, ...]) -> None:
    parser = ALL[path]
    purpose = parser.purpose
    assert purpose[:1].isupper()
    assert purpose.endswith((".", ":"))
    text, _, example = parser.format_help().rpartition("\nexample")
    assert text.startswith(f"{purpose}\n\nusage: picochat {' '.join(path)} ")
    lines = [line.strip() for line in example.partition(":")[2].replace("\\\n", " ").splitlines()]
    examples = [shlex.split(line)[1:] for line in lines if line.startswith("picochat ")]
    assert examples
    for words in examples:
        assert tuple(words[: len(path)]) == path
        if words[-1] == "--help":
            assert tuple(words[:-1]) in ALL
        else:
            assert callable(parse_command(words).run)


@pytest.mark.parametrize("command", SUBCOMMANDS)
def test_help_of_lightnings_commands_does_too(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from picochat.commands.configs import resolve_names
    from picochat.commands.fit import parsed_config

    main([command, "--help"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].casefold() == f"{SUBCOMMANDS[command]}.".casefold()
    assert lines[2].startswith(f"usage: picochat {command} --config YAML ")
    words = lines[-1].removeprefix("example: picochat ").split()
    assert words[0] == command
    run = tmp_path / "runs/capability"
    run.mkdir(parents=True)
    shutil.copy(shipped_configs()["capability.yaml"], run / "config.yaml")
    monkeypatch.chdir(tmp_path)
    assert parsed_config(resolve_names(words)).data.class_path.endswith("CapabilityDataModule")


def test_help_of_a_flag_of_train_is_that_of_its_setting_with_the_default_of_the_shipped_config(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit):
        main(["train", "sft", "--help"])
    text = capsys.readouterr().out
    assert "--packing {bos_bestfit,separate}" in text
    assert "--learning-rate X base rate of AdamW (default: 1e-05)" in " ".join(text.split())
    main(["fit", "--data.help", "CapabilityDataModule"])
    text = capsys.readouterr().out
    assert "packing: Literal['bos_bestfit', 'separate'] (default: 'bos_bestfit')" in text


@pytest.fixture(scope="module")
def script() -> str:
    """What completes in bash."""
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        main(["completion", "bash"])
    return printed.getvalue()


def offered(script: str, line: str, cwd: Path) -> list[str]:
    """What bash offers at the end of a line."""
    words = [*line.split(), *([""] if line.endswith(" ") else [])]
    code = f"{script}\nCOMP_WORDS=({shlex.join(words)}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))\n"
    code += 'COMP_LINE="${COMP_WORDS[*]}"; _shtab_picochat; printf "%s\\n" "${COMPREPLY[@]}"'
    done = subprocess.run(["bash", "--norc", "-c", code], capture_output=True, text=True, cwd=cwd)
    return done.stdout.split()


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("picochat tr", ["train"]),
        ("picochat train s", ["sft"]),
        ("picochat train sft --pack", ["--packing"]),
        ("picochat train sft --input rows.jsonl --packing ", ["bos_bestfit", "separate"]),
        ("picochat eval chat --preci", ["--precision"]),
        ("picochat completion z", ["zsh"]),
        ("picochat fit --config sc", [name for name in shipped_configs() if name.startswith("sc")]),
        ("picochat fit --config base.yaml --trainer.max_s", ["--trainer.max_steps"]),
        ("picochat fit --model.optimizer.n", ["--model.optimizer.name"]),
    ],
)
def test_bash_offers_commands_flags_choices_and_configs(
    script: str, tmp_path: Path, line: str, expected: list[str]
) -> None:
    assert sorted(offered(script, line, tmp_path)) == sorted(expected)
