"""What installed packages add. In: a group of entry points and a name. Out: the object behind it.

    [project.entry-points."picochat.datamodules"]         in the pyproject.toml of a package
    Roman = "picochat_roman.data:RomanDataModule"         --data Roman

Reading the metadata imports nothing, so a broken plug-in harms only those who ask for it. Wherever a name does, a
dotted path to anything importable does too: `my_tasks.Roman`, of a module in the current folder.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, NamedTuple

from picochat.errors import UserError


class PlugIn(NamedTuple):
    """One entry point."""

    group: str  # picochat.tasks, .profiles, .checks, .datamodules, .callbacks, .configs or .executors
    name: str  # what users write
    target: str  # "module:attribute"
    package: str  # the distribution that brings it, with its version: "picochat-roman 0.1.0"

    @property
    def path(self) -> str:
        """The target as a class path: "module.attribute"."""
        return self.target.replace(":", ".")

    def file(self, name: str) -> Path:
        """A file in the folder of the module that the target names; UserError where it is not there."""
        with self._importing():
            spec = find_spec(self.target)
        for folder in (spec.submodule_search_locations if spec else None) or []:
            if (path := Path(folder) / name).is_file():
                return path
        raise UserError(f"{self.package} names {name} in {self.target}, but there is no such file")

    def load(self) -> Any:
        """Import it; UserError names it and its package where it is broken, in whatever way."""
        with self._importing():
            return resolve_name(self.target)

    @contextmanager
    def _importing(self) -> Iterator[None]:
        try:
            yield
        except (Exception, SystemExit) as error:  # somebody else's code: anything may happen when it is imported
            raise UserError(
                f"the plug-in {self.name} ({self.group}, from {self.package}) cannot be loaded: "
                f"{type(error).__name__}: {error}; repair or uninstall {self.package.partition(' ')[0]}"
            ) from error


def plugins(group: str) -> Iterator[PlugIn]:
    """All entry points of a group, by name."""
    from importlib.metadata import entry_points  # 25 ms that a built-in name need not wait for

    for point in sorted(entry_points(group=group), key=lambda point: point.name):
        package = f"{point.dist.name} {point.dist.version}" if point.dist else "an unknown package"
        yield PlugIn(group, point.name, point.value.replace(" ", ""), package)


def find_plugin(group: str, name: str) -> PlugIn | None:
    """The plug-in of that name, or None; UserError where two packages use the name."""
    found = [plugin for plugin in plugins(group) if plugin.name == name]
    if len({plugin.target for plugin in found}) > 1:
        both = " and ".join(f"{plugin.package} ({plugin.path})" for plugin in found)
        raise UserError(f"{name} is a name in {group} of both {both}; write the class path of the one that you mean")
    return found[0] if found else None


def load_named(name: str, group: str, what: str) -> Any:
    """The object behind a name of `group`, or a dotted path; UserError, which calls it `what`, if there is none."""
    if plugin := find_plugin(group, name):
        return plugin.load()
    if "." not in name:
        registered = [plugin.name for plugin in plugins(group)]
        others = f"; installed packages add {', '.join(registered)}" if registered else ""
        raise UserError(f"there is no {what} named '{name}'{others}; a path like my_module.name works as well")
    try:
        return resolve_name(name)
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(f"cannot load {name}: {error}") from error
