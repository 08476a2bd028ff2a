"""`picochat list`: what there is to name, and where each comes from. In: picochat's own tables and the metadata of the
installed packages. Out: a table. Nothing is imported for it, unless --check asks whether the plug-ins work.
"""

import argparse
import re
import textwrap
from collections.abc import Iterator
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from picochat import __version__
from picochat.blocks import aligned
from picochat.commands.configs import CONFIGS, shipped_configs
from picochat.commands.settings import CALLBACKS
from picochat.commands.signatures import public_classes, read_signature
from picochat.errors import UserError
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


class Entry(NamedTuple):
    """One line: a name, the package it comes from, and what it stands for."""

    name: str
    package: str
    target: str


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command `list`."""
    parser = subparsers.add_parser(
        "list",
        help="show tasks, profiles, checks, datamodules, callbacks and configs, and where each comes from",
        description="Show tasks, profiles, checks, datamodules, callbacks and configs, and where each comes from.",
        epilog="example: picochat list datamodules",
    )
    parser.add_argument("kind", nargs="?", choices=tuple(HOW), metavar="KIND", help=f"only these: {', '.join(HOW)}")
    parser.add_argument("--check", action="store_true", help="import every plug-in, and name those that are broken")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Print the table; with --check, broken plug-ins make the command fail."""
    broken: list[str] = []
    for kind in [args.kind] if args.kind else HOW:
        added = list(plugins(f"picochat.{kind}"))
        own = list(_own(kind))
        entries = [*own, *(Entry(plugin.name, plugin.package, plugin.path) for plugin in added)]
        print(f"{kind}: {HOW[kind]}")
        print(textwrap.indent(aligned(entries, left=3), "  "))
        taken = {entry.name for entry in own}
        for plugin in added:
            others = [other.package for other in added if other.name == plugin.name and other.target != plugin.target]
            if plugin.name in taken or others:
                who = OWN if plugin.name in taken else " and ".join(others)
                print(f"  ! {plugin.name} of {plugin.package} is a name of {who} too: write {plugin.path}")
            broken += _fault(plugin) if args.check else []
        print()
    if broken:
        raise UserError("\n  ".join(["these plug-ins do not work, the others do:", *broken]))


def _own(kind: str) -> Iterator[Entry]:
    """What comes with picochat."""
    if kind == "tasks":
        from picochat.packs.tasks.registry import BUILT_IN

        yield from (Entry(name, OWN, f"{task.__module__}.{task.__name__}") for name, task in BUILT_IN.items())
    elif kind == "profiles":
        from picochat.packs.mixture_file import built_in_profiles

        for name, profile in built_in_profiles().items():
            parts = " + ".join(f"{component.weight:.0%} {component.name}" for component in profile.components)
            yield Entry(name, OWN, parts)
    elif kind == "checks":
        from picochat.packs.rows import CHECKS

        yield from (Entry(name, OWN, "picochat.evidence.checks") for name in CHECKS)
    elif kind == "datamodules":
        from picochat import datamodules

        yield from (Entry(name, OWN, f"picochat.datamodules.{name}") for name in datamodules.__all__)
    elif kind == "callbacks":
        keys = {path: f"  (every run; key {key}:)" for key, path in CALLBACKS.items()}
        for path in (f"picochat.callbacks.{name}" for name in _own_callbacks()):
            yield Entry(path.rpartition(".")[2], OWN, path + keys.get(path, ""))
        (folder,) = find_spec("lightning").submodule_search_locations  # type: ignore[union-attr, misc]
        names = re.findall(
            r'^    "(\w+)",', Path(folder, "pytorch/callbacks/__init__.py").read_text("utf-8"), re.MULTILINE
        )
        yield from (
            Entry(name, f"lightning {version('lightning')}", f"lightning.pytorch.callbacks.{name}") for name in names
        )
    else:
        yield from (Entry(name, OWN, str(path)) for name, path in shipped_configs().items())


def _own_callbacks() -> list[str]:
    """Read from the source: importing picochat.callbacks takes seconds, since torch and Lightning come with it."""
    sources = {name: read_signature(f"picochat.callbacks.{name}") for name in public_classes("picochat.callbacks")}
    return sorted(name for name, source in sources.items() if set(source.bases) & _CALLBACK_BASES)


def _fault(plugin: PlugIn) -> list[str]:
    if plugin.group == CONFIGS:
        return (
            []
            if plugin.file(plugin.name)
            else [f"{plugin.package} names a config {plugin.name}, but there is no such file"]
        )
    try:
        plugin.load()
    except UserError as error:
        return [str(error)]
    return []
