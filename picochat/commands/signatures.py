"""What a class or function of picochat takes, read from its source without importing it: torch and Lightning take
seconds, a help page may not. In: a path. Out: purpose and parameters with defaults and help. Next: parser, settings.
"""

import ast
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_ROOT = Path(__file__).parents[1]  # of the package; picochat.callbacks and others are found through their links


@dataclass(frozen=True)
class Parameter:
    """A parameter of a constructor or function, as its source has it."""

    name: str
    annotation: str  # aliases such as `PackingName` resolved: "Literal['separate', 'bos_bestfit']"
    default: str | None  # None where it is required
    help: str  # its line of the docstring's `Args:`

    @property
    def choices(self) -> list[str]:
        """The words of a Literal, else nothing."""
        for node in ast.walk(ast.parse(self.annotation, mode="eval")):
            if isinstance(node, ast.Subscript) and ast.unparse(node.value) == "Literal":
                return [ast.literal_eval(item) for item in getattr(node.slice, "elts", [node.slice])]
        return []


@dataclass(frozen=True)
class Signature:
    """The first paragraph of a docstring, the bases of a class, and the parameters by name."""

    purpose: str
    bases: tuple[str, ...]
    parameters: dict[str, Parameter]


@cache
def read_signature(path: str) -> Signature:
    """A class or function by its public or its own path, such as "picochat.callbacks.LRSchedule"; or LookupError."""
    module, _, name = path.rpartition(".")
    tree = _parse(module)
    node = next((one for one in tree.body if getattr(one, "name", "") == name), None)
    if not isinstance(node, ast.ClassDef | ast.FunctionDef):
        return read_signature(f"{_home(tree, name)}.{name}")
    text = ast.get_docstring(node) or ""
    bases = [ast.unparse(base) for base in getattr(node, "bases", [])]
    return Signature(" ".join(text.split("\n\n")[0].split()), tuple(bases), _parameters(node, text, tree))


def public_classes(package: str) -> list[str]:
    """The names that a package imports from its modules and that are classes there."""
    return [alias.name for node in _imports(_parse(package)) for alias in node.names if alias.name[0].isupper()]


def _parameters(node: ast.ClassDef | ast.FunctionDef, text: str, tree: ast.Module) -> dict[str, Parameter]:
    """Those of a function, of a class' constructor, of a dataclass' fields, or of its base class."""
    function: ast.stmt | None = node
    if isinstance(node, ast.ClassDef):
        function = next((item for item in node.body if getattr(item, "name", "") == "__init__"), None)
    pairs: Sequence[tuple[ast.arg | ast.AnnAssign, ast.expr | None]]
    if isinstance(function, ast.FunctionDef):
        given = function.args
        missing = len(given.args) - len(given.defaults)
        defaults = [*[None] * missing, *given.defaults, *given.kw_defaults]
        pairs = [*zip([*given.args, *given.kwonlyargs], defaults, strict=True)][function is not node :]  # without self
    elif any("dataclass" in ast.unparse(decorator) for decorator in node.decorator_list):
        pairs = [(item, item.value) for item in node.body if isinstance(item, ast.AnnAssign)]
    else:
        for base in map(ast.unparse, getattr(node, "bases", [])):
            try:
                return read_signature(f"{_home(tree, base)}.{base}").parameters
            except LookupError:
                continue  # a class of another package
        return {}
    docs, found = _argument_docs(text), {}
    for item, default in pairs:
        name = item.arg if isinstance(item, ast.arg) else ast.unparse(item.target)
        annotation = "" if item.annotation is None else _resolve_alias(item.annotation, tree)
        source = None if default is None else ast.unparse(default)
        found[name] = Parameter(name, annotation, source, docs.get(name, ""))
    return found


def _argument_docs(text: str) -> dict[str, str]:
    """{"warmup_steps": "optimizer steps …"} of a docstring's `Args:`."""
    docs: dict[str, str] = {}
    name = ""
    for line in text.partition("Args:\n")[2].splitlines():
        if not line.startswith("    "):
            break
        head, colon, rest = line.strip().partition(": ")
        if colon and line[4] != " " and head.isidentifier():
            name = head
            docs[name] = rest
        else:
            docs[name] += f" {line.strip()}"
    return docs


def _resolve_alias(annotation: ast.expr, tree: ast.Module) -> str:
    """`PackingName` → "Literal['separate', 'bos_bestfit']" where the alias is one of this module or one it imports."""
    if not isinstance(annotation, ast.Name):
        return ast.unparse(annotation)
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == annotation.id:
            return ast.unparse(node.value)
    try:
        return _resolve_alias(annotation, _parse(_home(tree, annotation.id)))
    except LookupError:
        return annotation.id


def _home(tree: ast.Module, name: str) -> str:
    """The module of picochat that `name` is imported from."""
    for node in _imports(tree):
        if any(alias.name == name for alias in node.names):
            return node.module or ""
    raise LookupError(name)


def _imports(tree: ast.Module) -> list[ast.ImportFrom]:
    """The imports of a module, those under `if TYPE_CHECKING:` included."""
    nodes = [inner for node in tree.body for inner in (node.body if isinstance(node, ast.If) else [node])]
    return [node for node in nodes if isinstance(node, ast.ImportFrom)]


@cache
def _parse(module: str) -> ast.Module:
    package, *parts = module.split(".")
    place = _ROOT.joinpath(*parts)
    file = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
    if package != "picochat" or not file.is_file():
        raise LookupError(module)
    return ast.parse(file.read_text("utf-8"))
