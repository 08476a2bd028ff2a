"""`picochat new plugin NAME`: a plug-in package to start from. In: the example that picochat ships (Roman numerals, in
examples/picochat-roman). Out: a copy of it under another name, which installs and trains as it is. Next: an editor.
"""

import argparse
import re
from importlib.resources import files
from pathlib import Path

from picochat.errors import UserError
from picochat.files import atomic_folder

_SUFFIXES = (".py", ".md", ".toml", ".yaml")


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command `plugin` to the group `new`."""
    parser = subparsers.add_parser(
        "plugin",
        help="copy the example plug-in: a task, a profile, a datamodule and a config in a package",
        description="Copy the example plug-in: a task, a profile, a datamodule and a config in a package.",
        epilog="example: picochat new plugin chess",
    )
    parser.add_argument("name", metavar="NAME", help="of the skill: lower-case letters, digits and _")
    parser.add_argument("--out-dir", metavar="DIR", help="the folder to write (default: picochat-NAME)")
    parser.set_defaults(run=lambda args: print(new_plugin(args.name, args.out_dir)))


def new_plugin(name: str, out_dir: str | Path | None = None) -> str:
    """Write the package; what to do with it comes back.

    Raises:
        UserError: the name cannot name a Python package, or the folder exists.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise UserError(f"NAME is {name!r}; use lower-case letters, digits and _, such as chess")
    folder = Path(out_dir or f"picochat-{name.replace('_', '-')}")
    if folder.exists():
        raise UserError(f"{folder} exists already; choose another name, or --out-dir")
    source = Path(str(files("picochat"))) / "example_plugin"
    with atomic_folder(folder) as building:
        for path in sorted(path for path in source.rglob("*") if path.suffix in _SUFFIXES):
            target = building / renamed(path.relative_to(source).as_posix(), name)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(renamed(path.read_text("utf-8"), name), "utf-8")
    package = f"picochat_{name}"
    return (
        f"wrote {folder}: put your skill in place of Roman numerals in {package}/tasks.py\n"
        f"next:\n  pip install --editable {folder}\n  picochat list tasks\n  picochat fit --config {name}.yaml"
    )


def renamed(text: str, name: str) -> str:
    """The example's names with another skill's in them; what is said about Roman numerals stays.

    "picochat-roman, picochat_roman.data:RomanData" → "picochat-my-skill, picochat_my_skill.data:MySkillData"
    """
    text = text.replace("picochat-roman", f"picochat-{name.replace('_', '-')}")
    text = re.sub(r"(?<![A-Za-z])romans\b", f"{name}_mixture" if name.endswith("s") else f"{name}s", text)
    text = re.sub(r"(?<![A-Za-z])roman", name, text)
    return re.sub(r"Roman(?! numeral|s write)", name.title().replace("_", ""), text)
