"""`picochat list` and `picochat new plugin NAME`: what there is to name, where each comes from, and how to add to it.

`list` reads picochat's own tables and the metadata of installed packages; it imports nothing, unless --check asks
whether the plug-ins work. `new` copies the example that picochat ships (examples/picochat-roman) under another name.
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
from picochat.commands.configs import CONFIGS, shipped_configs
from picochat.commands.parser import Parser
from picochat.commands.settings import CALLBACKS
from picochat.commands.signatures import public_classes, read_signature
from picochat.errors import UserError
from picochat.files import atomic_folder
from picochat.plugins import PlugIn, plugins

OWN = f"picochat {__version__}"
HOW = {  # kind → where its names go
    "tasks": "the lanes of a mixture file",
    "profiles": "picochat data task-pack --profile NAME",
    "checks": "check: of a lane of a mixture file, or of an eval row",
    "datamodules": "picochat fit --data NAME (--data.help NAME documents it)",
    "callbacks": "trainer.callbacks of a config: class_path: NAME; those of every run have keys (picochat fit --help)",
    "configs": "picochat fit --config NAME",
}
_CALLBACK_BASES = {"Callback", "Checkpoint", "EarlyStopping"}


def add_list(commands: Parser) -> None:
    parser = commands.add_command("list", show)
    parser.add_argument("kind", nargs="?", choices=tuple(HOW), metavar="KIND", help=f"only these: {', '.join(HOW)}")
    parser.add_argument("--check", action="store_true", help="import every plug-in, and name those that are broken")


def add_new(group: Parser) -> None:
    parser = group.add_command("plugin", new_plugin)
    parser.add_argument("name", metavar="NAME", help="of the skill: lower-case letters, digits and _")
    parser.add_argument("--out-dir", metavar="DIR", help="the folder to write (default: picochat-NAME)")


def show(args: Namespace) -> None:
    """Show tasks, profiles, checks, datamodules, callbacks and configs, and where each comes from.

    example: picochat list datamodules
    """
    broken: list[str] = []
    for kind in [args.kind] if args.kind else HOW:
        added = list(plugins(f"picochat.{kind}"))
        own = list(_own(kind))
        entries = [*own, *((plugin.name, plugin.package, plugin.path) for plugin in added)]
        print(f"{kind}: {HOW[kind]}")
        print(textwrap.indent(aligned(entries, left=3), "  "))
        taken = {name for name, _, _ in own}
        for plugin in added:
            others = [other.package for other in added if other.name == plugin.name and other.target != plugin.target]
            if plugin.name in taken or others:
                who = OWN if plugin.name in taken else " and ".join(others)
                print(f"  ! {plugin.name} of {plugin.package} is a name of {who} too: write {plugin.path}")
            broken += _fault(plugin) if args.check else []
        print()
    if broken:
        raise UserError("\n  ".join(["these plug-ins do not work, the others do:", *broken]))


def _own(kind: str) -> Iterator[tuple[str, str, str]]:
    """What comes with picochat: name, package, and what it stands for."""
    found: dict[str, str] = {}
    if kind == "tasks":
        from picochat.packs.tasks.registry import BUILT_IN

        found = {name: f"{task.__module__}.{task.__name__}" for name, task in BUILT_IN.items()}
    elif kind == "profiles":
        from picochat.packs.profiles import built_in_profiles

        for name, profile in built_in_profiles().items():
            found[name] = " + ".join(f"{component.weight:.0%} {component.name}" for component in profile.components)
    elif kind == "checks":
        from picochat.packs.rows import CHECKS

        found = dict.fromkeys(CHECKS, "picochat.evidence.checks")
    elif kind == "datamodules":
        from picochat import datamodules

        found = {name: f"picochat.datamodules.{name}" for name in datamodules.__all__}
    elif kind == "callbacks":  # from the source: importing it takes seconds, since torch and Lightning come with it
        paths = {name: f"picochat.callbacks.{name}" for name in sorted(public_classes("picochat.callbacks"))}
        paths = {name: path for name, path in paths.items() if _CALLBACK_BASES & {*read_signature(path).bases}}
        keys = {path: f"  (every run; key {key}:)" for key, path in CALLBACKS.items()}
        found = {name: path + keys.get(path, "") for name, path in paths.items()}
    else:
        found = {name: str(path) for name, path in shipped_configs().items()}
    yield from ((name, OWN, target) for name, target in found.items())
    if kind == "callbacks":
        (folder,) = find_spec("lightning").submodule_search_locations  # type: ignore[union-attr, misc]
        source = Path(folder, "pytorch/callbacks/__init__.py").read_text("utf-8")
        for name in re.findall(r'^    "(\w+)",', source, re.MULTILINE):
            yield name, f"lightning {version('lightning')}", f"lightning.pytorch.callbacks.{name}"


def _fault(plugin: PlugIn) -> list[str]:
    if plugin.group == CONFIGS:
        missing = f"{plugin.package} names a config {plugin.name}, but there is no such file"
        return [] if plugin.file(plugin.name) else [missing]
    try:
        plugin.load()
    except UserError as error:
        return [str(error)]
    return []


def new_plugin(args: Namespace) -> None:
    """Copy the example plug-in: a task, a profile, a datamodule and a config in a package.

    example: picochat new plugin chess
    """
    name = args.name
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise UserError(f"NAME is {name!r}; use lower-case letters, digits and _, such as chess")
    folder = Path(args.out_dir or f"picochat-{name.replace('_', '-')}")
    if folder.exists():
        raise UserError(f"{folder} exists already; choose another name, or --out-dir")
    source = Path(str(files("picochat"))) / "example_plugin"
    with atomic_folder(folder) as building:
        for path in sorted(path for path in source.rglob("*") if path.suffix in (".py", ".md", ".toml", ".yaml")):
            target = building / renamed(path.relative_to(source).as_posix(), name)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(renamed(path.read_text("utf-8"), name), "utf-8")
    print(f"wrote {folder}: put your skill in place of Roman numerals in picochat_{name}/tasks.py\nnext:")
    print(f"  pip install --editable {folder}\n  picochat list tasks\n  picochat fit --config {name}.yaml")


def renamed(text: str, name: str) -> str:
    """The example's names with another skill's in them; what is said about Roman numerals stays.

    "picochat-roman, picochat_roman.data:RomanData" → "picochat-my-skill, picochat_my_skill.data:MySkillData"
    """
    text = text.replace("picochat-roman", f"picochat-{name.replace('_', '-')}")
    text = re.sub(r"(?<![A-Za-z])romans\b", f"{name}_mixture" if name.endswith("s") else f"{name}s", text)
    text = re.sub(r"(?<![A-Za-z])roman", name, text)
    return re.sub(r"Roman(?! numeral|s write)", name.title().replace("_", ""), text)
