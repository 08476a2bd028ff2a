"""Imports run one way, and what needs no torch loads none.

commands ─► datamodules ─► model ─► packs.rows        everybody: picochat.blocks, .errors, .files,
         └► callbacks ─► evidence ─┘                  .plugins, .strict_json;
         └► study ─► evidence, model.tokenizer        datamodules also: all of packs
"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
NO_TORCH_FOUNDATION = {
    f"picochat.{name}" for name in ("blocks", "errors", "files", "plugins", "strict_json", "strict_yaml")
}
FOUNDATION = {"picochat", "picochat.signals"} | NO_TORCH_FOUNDATION
ALLOWED = {  # room → what its files may import from picochat, at any depth of the code
    "packs": ("packs",),
    "model": ("model", "packs"),
    "evidence": ("evidence", "model", "packs"),
    "study": ("study", "evidence", "model", "packs"),
    "datamodules": ("datamodules", "model", "packs"),
    "callbacks": ("callbacks", "evidence", "model", "packs"),
    "board": ("board", "evidence", "model", "packs"),
    "commands": ("commands", "board", "study", "datamodules", "callbacks", "evidence", "model", "packs", "configs"),
    "configs": (),
}
TORCH = {"torch", "lightning", "torchmetrics"}
HEAVY = TORCH | {"lightning_utilities", "transformers", "datasets", "pandas", "matplotlib"}
NO_TORCH_AT_ALL = {  # not even inside a function
    "picochat.packs",
    "picochat.model.config",
    "picochat.model.sizes",
    "picochat.model.tokenizer",
    "picochat.model.turns",
    "picochat.model.vocabulary",
    "picochat.evidence",
    "picochat.study.design",
    "picochat.study.effects",
    "picochat.datamodules.packing",
    "picochat.datamodules.sampling",
    "picochat.datamodules.plan",
} | NO_TORCH_FOUNDATION
NO_TORCH_ON_IMPORT = {  # heavy imports wait inside functions
    "picochat.cli",
    "picochat.model",
    "picochat.model.engine",
    "picochat.datamodules",
    "picochat.configs",
}
LIGHTNING_CLI = "picochat.commands.fit"  # imported only once the first word is fit, validate, test or predict


class Import(NamedTuple):
    """`target` is imported by `line` of a file."""

    target: str
    line: int


def imports(source: str) -> Iterator[Import]:
    """The imports of a file that run; those under `if TYPE_CHECKING:` do not."""
    waiting: list[ast.AST] = [ast.parse(source)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            waiting += node.orelse
            continue
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: a relative import"
            # `from picochat.packs import rows` may import a module: both readings count.
            yield Import(node.module or "", node.lineno)
            yield from (Import(f"{node.module}.{alias.name}", node.lineno) for alias in node.names)
        waiting += ast.iter_child_nodes(node)


def modules() -> dict[str, Path]:
    """{dotted name: file} of the whole package, found through the links."""
    found = {}
    links = [path for path in (ROOT / "picochat").iterdir() if path.is_symlink() and path.name != "example_plugin"]
    for folder in [ROOT / "picochat", *links]:
        for path in folder.rglob("*.py"):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


@cache
def imports_of(module: str) -> tuple[Import, ...]:
    """Those of a module of the package."""
    return tuple(imports(MODULES[module].read_text(encoding="utf-8")))


def under(name: str, prefixes: tuple[str, ...] | set[str]) -> bool:
    return any(name == prefix or name.startswith(f"{prefix}.") for prefix in prefixes)


def forbidden(module: str, found: tuple[Import, ...]) -> list[str]:
    """The imports that `module` may not have, as "module:line imports target"."""
    allowed = tuple(f"picochat.{name}" for name in ALLOWED[module.split(".")[1]])
    return [
        f"{module}:{one.line} imports {one.target}"
        for one in found
        if one.target in MODULES
        and one.target not in FOUNDATION
        and not under(one.target, allowed)
        # `from picochat.packs.rows import Row` names the package on the way; so does `from picochat.packs import rows`.
        and not any(name.startswith(f"{one.target}.") for name in allowed)
    ]


def test_the_checker_sees_what_it_should() -> None:
    source = "import os\nfrom picochat.packs.rows import Row\ndef f():\n    from picochat.callbacks import LRSchedule\n"
    source += "import picochat.evidence.lanes\nif TYPE_CHECKING:\n    import picochat.callbacks\n"
    assert sorted(forbidden("picochat.model.x", tuple(imports(source)))) == [
        "picochat.model.x:4 imports picochat.callbacks",
        "picochat.model.x:5 imports picochat.evidence.lanes",
    ]
    assert {"picochat.callbacks.lr_schedule", "picochat.packs.rows", "picochat.datamodules.packing"} <= MODULES.keys()


@pytest.mark.parametrize("room", ALLOWED)
def test_imports_run_one_way(room: str) -> None:
    mine = [name for name in MODULES if under(name, {f"picochat.{room}"})]
    assert mine
    assert [line for name in mine for line in forbidden(name, imports_of(name))] == []


def test_no_two_files_import_each_other_not_even_by_name() -> None:
    """A string that names a module, by which importlib would find it, counts as an import."""
    graph: dict[str, set[str]] = {}
    files = {name: path for name, path in MODULES.items() if path.name != "__init__.py"}  # packages name their contents
    for name, path in files.items():
        nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        texts = [node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)]
        named = {*texts, *(text.rpartition(".")[0] for text in texts)}
        graph[name] = ({one.target for one in imports_of(name)} | named) & files.keys() - {name}
    assert "picochat.commands.data" in graph["picochat.cli"]  # by name
    while ends := {name for name, targets in graph.items() if not targets & graph.keys()}:  # they are in no circle
        graph = {name: targets for name, targets in graph.items() if name not in ends}
    assert sorted(graph) == []


def test_torch_free_modules_do_not_even_import_torch_late() -> None:
    light = [name for name in MODULES if under(name, NO_TORCH_AT_ALL)]
    assert len(light) > 15
    assert [
        f"{name}:{one.line} imports {one.target}"
        for name in light
        for one in imports_of(name)
        if one.target.split(".")[0] in TORCH
    ] == []


def loaded(names: list[str]) -> dict[str, set[str]]:
    """What of the heavy packages is in `sys.modules` of a fresh interpreter after each of these imports."""
    code = f"import sys\nfor name in {names}:\n    __import__(name)\n    print(name, *{HEAVY} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return {line.split()[0]: set(line.split()[1:]) for line in done.stdout.splitlines()}


def test_all_torch_free_modules_together_load_nothing_heavy() -> None:
    light = NO_TORCH_AT_ALL | {"picochat.commands"}
    names = [name for name in MODULES if under(name, light) or name in NO_TORCH_ON_IMPORT]
    names.remove(LIGHTNING_CLI)
    first = next((name, heavy) for name, heavy in loaded([*names, "picochat.callbacks"]).items() if heavy)
    assert first[0] == "picochat.callbacks"  # which may
    assert {"torch", "lightning"} <= first[1]
