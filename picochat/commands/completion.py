"""`picochat completion`: the shell script that completes commands, flags and their values. In: our parsers. Out: text.

The script is a table, made once: completing starts no Python. Where the table has nothing the shell completes names of
files. zsh runs the same function through its bashcompinit.

    picochat tr⇥                             train
    picochat train sft --pack⇥               --packing
    picochat train sft --packing ⇥           separate  bos_bestfit
    picochat fit --config ⇥                  the shipped configs, and files
"""

import argparse
import shlex
from collections.abc import Iterator
from typing import Any

from picochat.cli import COMMANDS, GROUPS, TRAINER, parser_of
from picochat.commands.configs import shipped_configs

_SCRIPT = """\
# completion of picochat for {shell}; to have it always, put this line into {file}:
#   eval "$(picochat completion {shell})"
{setup}_picochat() {{
    local cur="${{COMP_WORDS[COMP_CWORD]}}" prev="${{COMP_WORDS[COMP_CWORD-1]}}" at="${{COMP_WORDS[1]}}"
    local known="" stem=""
    COMPREPLY=()
    # bash makes = a word of its own, --flag = value; zsh leaves --flag=value whole, and wants it back whole
    if [ "$cur" = "=" ]; then cur=""; elif [ "$prev" = "=" ]; then prev="${{COMP_WORDS[COMP_CWORD-2]}}"; fi
    case "$cur" in --*=*) stem="${{cur%%=*}}=" prev="${{cur%%=*}}" cur="${{cur#*=}}" ;; esac
    if [ "$COMP_CWORD" -eq 1 ]; then
        COMPREPLY=($(compgen -W {commands} -- "$cur"))
        return
    fi
    case "$at" in
        {groups})
            if [ "$COMP_CWORD" -eq 2 ]; then
                case "$at" in
{members}
                esac
                COMPREPLY=($(compgen -W "$known" -- "$cur"))
                return
            fi
            at="$at ${{COMP_WORDS[2]}}" ;;
    esac
    case "$at $prev" in
{values}
    esac
    case "$cur" in
        -*) case "$at" in
{flags}
            esac
            COMPREPLY=($(compgen -W "$known" -- "$cur")) ;;
    esac
}}
complete -o default -F _picochat picochat
"""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add ``completion`` to the commands."""
    parser = subparsers.add_parser(
        "completion",
        help="print the shell script that completes commands and flags",
        description="Print the script that completes picochat's commands, flags and their values in bash or zsh.",
        epilog='example: picochat completion bash\nin use:  eval "$(picochat completion bash)"',
    )
    parser.add_argument("shell", choices=("bash", "zsh"), metavar="SHELL", help="bash or zsh")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Print the script."""
    print(completion_script(args.shell), end="")


def completion_script(shell: str) -> str:
    """The script for "bash" or "zsh"."""
    parsers = dict(command_parsers())
    members = {group: " ".join(path[1] for path in parsers if path[0] == group) for group in GROUPS}
    values = [line for path, parser in parsers.items() for line in _values(path, parser)]
    values.append(_choice([f"{name} --config" for name in TRAINER], list(shipped_configs())))
    flags = {shlex.quote(" ".join(path)): " ".join(dict.fromkeys(parser.flags())) for path, parser in parsers.items()}
    flags["|".join(TRAINER)] = " ".join(["--config", "--ckpt_path", "--print_config", "--help", *_settings()])
    return _SCRIPT.format(
        shell=shell,
        file=f"~/.{shell}rc",
        setup="autoload -Uz compinit bashcompinit && compinit && bashcompinit\n" if shell == "zsh" else "",
        commands=shlex.quote(" ".join([*TRAINER, *GROUPS, *COMMANDS])),
        groups="|".join(GROUPS),
        members=_cases(20, members),
        values="\n".join(values),
        flags=_cases(12, flags),
    )


def command_parsers() -> Iterator[tuple[tuple[str, ...], Any]]:
    """(("data", "import"), parser), …, (("chat",), parser), …: all commands but those of the trainer."""
    for word in (*GROUPS, *COMMANDS):
        _, subparsers = parser_of(word)
        for name, parser in subparsers.choices.items():
            yield ((word, name) if word in GROUPS else (word,)), parser


def _cases(indent: int, known: dict[str, str]) -> str:
    return "\n".join(f"{' ' * indent}{pattern}) known={shlex.quote(words)} ;;" for pattern, words in known.items())


def _values(path: tuple[str, ...], parser: argparse.ArgumentParser) -> Iterator[str]:
    """Lines of the table for flags, and for a command's own word behind it, that take one of a few words."""
    for action in parser._actions:
        if action.choices is not None:
            behind = action.option_strings or [path[-1]]
            yield _choice([" ".join([*path, word]) for word in behind], [str(choice) for choice in action.choices])


def _choice(places: list[str], words: list[str]) -> str:
    pattern = "|".join(shlex.quote(place) for place in places)
    return (
        f'        {pattern}) COMPREPLY=($(compgen -P "$stem" -W {shlex.quote(" ".join(words))} -- "$cur")); return ;;'
    )


def _settings() -> list[str]:
    """Dotted flags of the settings that the shipped configs make: --trainer.max_steps, --data.batch_size, …"""
    import yaml

    found: dict[str, None] = {}
    for path in shipped_configs().values():
        config = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        for place in _places(config):
            found["--" + place.replace(".init_args", "").replace(".class_path", "")] = None
    return sorted(found)


def _places(value: Any, at: str = "") -> Iterator[str]:
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            if not name.endswith("+"):
                yield from _places(inner, f"{at}.{name}" if at else name)
    elif at:
        yield at
