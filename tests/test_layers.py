"""Imports run one way, and what needs no torch loads none.

commands ─► datamodules ─► model ─► packs.rows        everybody: picochat.blocks, .errors, .files,
         └► callbacks ─► evidence ─┘                  .plugins, .strict_json;
         └► study ─► evidence, model.tokenizer        datamodules also: all of packs
"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOUNDATION = {
    f"picochat{name}"
    for name in ("", ".blocks", ".errors", ".files", ".plugins", ".signals", ".strict_json", ".strict_yaml")
}
ALLOWED = {  # room → what its files may import from picochat, at any depth of the code
    "packs": ("packs",),
    "model": ("model", "packs"),
    "evidence": ("evidence", "model", "packs"),
    "study": ("study", "evidence", "model", "packs"),
    "datamodules": ("datamodules", "model", "packs"),
    "callbacks": ("callbacks", "evidence", "model", "packs"),
    "commands": (
        "commands",
        "cli",
        "board",
        "study",
        "datamodules",
        "callbacks",
        "evidence",
        "model",
        "packs",
        "configs",
    ),
    "configs": (),
}
HEAVY = {
    "torch",
    "lightning",
    "torchmetrics",
    "lightning_utilities",
    "transformers",
    "datasets",
    "pandas",
    "matplotlib",
}
NO_TORCH_AT_ALL = (  # not even inside a function
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
    "picochat.blocks",
    "picochat.errors",
    "picochat.files",
    "picochat.plugins",
    "picochat.strict_json",
    "picochat.strict_yaml",
)
NO_TORCH_ON_IMPORT = (  # heavy imports wait inside functions
    "picochat.cli",
    "picochat.commands",
    "picochat.model",
    "picochat.model.engine",
    "picochat.datamodules",
    "picochat.configs",
)
LIGHTNING_CLI = "picochat.commands.fit"  # imported only once the first word is fit, validate, test or predict


@dataclass(frozen=True)
class Import:
    """`target` is imported by `line` of a file; `late` means inside a function."""

    target: str
    line: int
    late: bool


def imports(source: str) -> Iterator[Import]:
    """The imports of a file that run; those under `if TYPE_CHECKING:` do not."""
    waiting: list[tuple[ast.AST, bool]] = [(ast.parse(source), False)]
    while waiting:
        node, late = waiting.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            waiting += [(child, late) for child in node.orelse]
            continue
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, node.lineno, late) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: a relative import"
            # `from picochat.packs import rows` may import a module: both readings count.
            yield Import(node.module or "", node.lineno, late)
            yield from (Import(f"{node.module}.{alias.name}", node.lineno, late) for alias in node.names)
        late = late or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        waiting += [(child, late) for child in ast.iter_child_nodes(node)]


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


def forbidden(module: str, source: str) -> list[str]:
    """The imports that `module` may not have, as "module:line imports target"."""
    room = module.split(".")[1]
    allowed = tuple(f"picochat.{name}" for name in ALLOWED[room])
    return [
        f"{module}:{one.line} imports {one.target}"
        for one in imports(source)
        if one.target in MODULES
        and one.target not in FOUNDATION
        and not under(one.target, allowed)
        # `from picochat.packs.rows import Row` names the package on the way; so does `from picochat.packs import rows`.
        and not any(name.startswith(f"{one.target}.") for name in allowed)
    ]


def test_the_checker_sees_what_it_should() -> None:
    source = "import os\nfrom picochat.packs.rows import Row\ndef f():\n    from picochat.callbacks import LRSchedule\n"
    assert forbidden("picochat.model.x", source) == ["picochat.model.x:4 imports picochat.callbacks"]
    assert forbidden("picochat.model.x", "import picochat.evidence.lanes") == [
        "picochat.model.x:1 imports picochat.evidence.lanes"
    ]
    found = {
        (one.target, one.late)
        for one in imports("if TYPE_CHECKING:\n    import torch\nimport numpy\ndef f():\n    import scipy\n")
    }
    assert found == {("numpy", False), ("scipy", True)}
    assert {"picochat.callbacks.lr_schedule", "picochat.packs.rows", "picochat.datamodules.packing"} <= MODULES.keys()


@pytest.mark.parametrize("room", ALLOWED)
def test_imports_run_one_way(room: str) -> None:
    mine = {name: path for name, path in MODULES.items() if under(name, {f"picochat.{room}"})}
    assert mine
    assert [line for name, path in mine.items() for line in forbidden(name, path.read_text(encoding="utf-8"))] == []


def edges() -> dict[str, set[str]]:
    """Module → the modules that it imports, or names in a string by which importlib would find them."""
    graph: dict[str, set[str]] = {}
    files = {name: path for name, path in MODULES.items() if path.name != "__init__.py"}  # packages name their contents
    for name, path in files.items():
        source = path.read_text(encoding="utf-8")
        texts = {node.value for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant)}
        named = {str(text).rpartition(".")[0] for text in texts} | {str(text) for text in texts}
        graph[name] = ({one.target for one in imports_of(name)} | named) & files.keys() - {name}
    return graph


def test_no_two_files_import_each_other_not_even_by_name() -> None:
    graph = edges()
    assert "picochat.commands.data" in graph["picochat.cli"]  # by name
    while ends := {name for name, targets in graph.items() if not targets & graph.keys()}:  # they are in no circle
        graph = {name: targets for name, targets in graph.items() if name not in ends}
    assert sorted(graph) == []


def test_nothing_below_the_command_line_imports_it() -> None:
    below = [name for name in MODULES if not under(name, {"picochat.cli", "picochat.commands", "picochat.__main__"})]
    found = {f"{name} → {one.target}" for name in below for one in imports_of(name)}
    assert not {line for line in found if under(line.split(" → ")[1], {"picochat.cli", "picochat.commands"})}


def test_torch_free_modules_do_not_even_import_torch_late() -> None:
    light = [name for name in MODULES if under(name, NO_TORCH_AT_ALL)]
    assert len(light) > 15
    heavy = {"torch", "lightning", "torchmetrics"}
    assert [
        f"{name}:{one.line} imports {one.target}"
        for name in light
        for one in imports_of(name)
        if one.target.split(".")[0] in heavy
    ] == []


def loaded(code: str, cwd: Path | None = None) -> set[str]:
    """The heavy packages in `sys.modules` of a fresh interpreter after `code`."""
    ending = f"\nimport sys; print('LOADED', *(set(sys.modules) & {HEAVY!r}))"
    done = subprocess.run([sys.executable, "-c", code + ending], capture_output=True, text=True, timeout=600, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split()[1:])


@pytest.mark.parametrize(
    "name",
    sorted(
        name
        for name in MODULES
        if (under(name, NO_TORCH_AT_ALL) or name in NO_TORCH_ON_IMPORT or under(name, {"picochat.commands"}))
        and name != LIGHTNING_CLI
    ),
)
def test_it_is_not_imported_with_torch_by_the_source(name: str) -> None:
    """Follows the imports at module level through the package, without running anything."""
    waiting, seen = [name], set()
    while waiting:
        current = waiting.pop()
        parents = [current.rsplit(".", depth)[0] for depth in range(1, current.count(".") + 1)]
        for module in {current, *parents} & MODULES.keys() - seen:
            seen.add(module)
            for one in imports_of(module):
                if not one.late:
                    assert one.target.split(".")[0] not in HEAVY, f"{name} → {module}:{one.line} imports {one.target}"
                    waiting += [one.target] if one.target in MODULES else []


def test_all_torch_free_modules_together_load_nothing_heavy() -> None:
    names = [name for name in MODULES if under(name, NO_TORCH_AT_ALL) or name in NO_TORCH_ON_IMPORT]
    names += [name for name in MODULES if under(name, {"picochat.commands"}) and name != LIGHTNING_CLI]
    assert loaded("\n".join(f"import {name}" for name in names)) == set()


def test_the_heavy_packages_are_seen_when_they_are_there() -> None:
    assert {"torch", "lightning"} <= loaded("import picochat.callbacks")
