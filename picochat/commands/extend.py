"""`picochat list` and `picochat new plugin NAME`: what there is to name, where each comes from, and how to add to it.

`list` reads picochat's own tables and the metadata of installed packages, and imports no plug-in. `new` copies the
example that picochat ships (examples/picochat-roman) under another name.
"""

import re
import textwrap
from argparse import Namespace
from collections.abc import Iterator
from importlib.metadata import version
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

from picochat import __version__
from picochat.blocks import aligned
from picochat.commands.configs import shipped_configs
from picochat.commands.parser import Parser, public_classes
from picochat.commands.settings import CALLBACKS
from picochat.errors import UserError
from picochat.files import atomic_folder
from picochat.plugins import plugins

HOW = {  # kind → where its names go
    "tasks": "the lanes of a mixture file",
    "profiles": "picochat data task-pack --profile NAME",
    "checks": "check: of a lane of a mixture file, or of an eval row",
    "datamodules": "picochat fit --data NAME (--data.help NAME documents it)",
    "callbacks": "trainer.callbacks of a config: class_path: NAME; those of every run have keys (picochat fit --help)",
    "configs": "picochat fit --config NAME",
}
_TAKEN = ("draw", "problem", "task", "none", "true", "false")  # as classes: of the example, or of Python
_NO_CALLBACKS = ("AtomicCheckpointIO", "RunLogger")  # of picochat.callbacks: a plugin and a logger of the Trainer


def add_list(commands: Parser) -> None:
    parser = commands.add_command("list", show)
    parser.add_argument("kind", nargs="?", choices=tuple(HOW), metavar="KIND", help=f"only these: {', '.join(HOW)}")


def add_new(group: Parser) -> None:
    parser = group.add_command("plugin", new_plugin)
    parser.add_argument("name", metavar="NAME", help="of the skill: lower-case letters, digits and _")
    parser.add_argument("--out-dir", metavar="DIR", help="the folder to write (default: picochat-NAME)")


def show(args: Namespace) -> None:
    """Show tasks, profiles, checks, datamodules, callbacks and configs, and where each comes from.

    example: picochat list datamodules
    """
    for kind in [args.kind] if args.kind else HOW:
        entries = [(name, f"picochat {__version__}", target) for name, target in _own(kind)]
        if kind == "callbacks":
            (folder,) = find_spec("lightning").submodule_search_locations  # type: ignore[union-attr, misc]
            source = Path(folder, "pytorch/callbacks/__init__.py").read_text("utf-8")
            names = re.findall(r'^    "(\w+)",', source, re.MULTILINE)
            entries += [(n, f"lightning {version('lightning')}", f"lightning.pytorch.callbacks.{n}") for n in names]
        entries += [(plugin.name, plugin.package, plugin.path) for plugin in plugins(f"picochat.{kind}")]
        print(f"{kind}: {HOW[kind]}")
        print(textwrap.indent(aligned(entries, left=3), "  "), end="\n\n")


def _own(kind: str) -> Iterator[tuple[str, str]]:
    """What comes with picochat: name, and what it stands for."""
    if kind == "tasks":
        from picochat.packs.tasks.registry import BUILT_IN

        yield from ((name, f"{task.__module__}.{task.__name__}") for name, task in BUILT_IN.items())
    elif kind == "profiles":
        from picochat.packs.profiles import built_in_profiles

        for name, profile in built_in_profiles().items():
            yield name, " + ".join(f"{part.weight:.0%} {part.name}" for part in profile.components)
    elif kind == "checks":
        from picochat.packs.rows import CHECKS

        yield from ((name, "picochat.evidence.checks") for name in CHECKS)
    elif kind == "configs":
        yield from ((name, str(path)) for name, path in shipped_configs().items())
    else:  # from the source: importing the callbacks takes seconds, since torch and Lightning come with them
        keys = {path: f"  (every run; key {key}:)" for key, path in CALLBACKS.items()}
        for name in sorted({*public_classes(f"picochat.{kind}")} - {*_NO_CALLBACKS}):
            path = f"picochat.{kind}.{name}"
            yield name, path + keys.get(path, "")


def new_plugin(args: Namespace) -> None:
    """Copy the example plug-in: a task, a profile, a datamodule and a config in a package.

    example: picochat new plugin chess
    """
    name = args.name
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise UserError(f"NAME is {name!r}; use lower-case letters, digits and _, such as chess")
    from picochat.packs.tasks.registry import BUILT_IN

    folder = Path(args.out_dir or f"picochat-{name.replace('_', '-')}")
    if name in (*BUILT_IN, *(Path(config).stem for config in shipped_configs()), *_TAKEN):
        raise UserError(f"{name} is a name of picochat's or Python's own, which would come first; choose another")
    if folder.exists():
        raise UserError(f"{folder} exists already; choose another name, or --out-dir")
    source = Path(str(files("picochat"))) / "example_plugin"
    with atomic_folder(folder) as building:
        for path in sorted(path for path in source.rglob("*") if path.suffix in (".py", ".md", ".toml", ".yaml")):
            target = building / _renamed(path.relative_to(source).as_posix(), name)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(_renamed(path.read_text("utf-8"), name), "utf-8")
    print(f"wrote {folder}: put your skill in place of Roman numerals in picochat_{name}/tasks.py\nnext:")
    print(f"  pip install --editable {folder}\n  picochat list tasks\n  picochat fit --config {name}.yaml")


def _renamed(text: str, name: str) -> str:
    """The example's names with another skill's in them; what is said about Roman numerals stays.

    "picochat-roman, picochat_roman.data:RomanData" → "picochat-my-skill, picochat_my_skill.data:MySkillData"
    """
    text = text.replace("picochat-roman", f"picochat-{name.replace('_', '-')}")
    text = re.sub(r"(?<![A-Za-z])romans\b", f"{name}_mixture" if name.endswith("s") else f"{name}s", text)
    text = re.sub(r"(?<![A-Za-z])roman", name, text)
    return re.sub(r"Roman(?! numeral|s write)", name.title().replace("_", ""), text)
