"""What a class of picochat takes, read from its source without importing it: torch and Lightning take seconds, a help
page may not. In: a class path. Out: purpose and parameters with their defaults and help. Next: commands.settings.
"""

import ast
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_ROOT = Path(__file__).parents[1]  # of the package; picochat.callbacks and others are found through their links


@dataclass(frozen=True)
class Parameter:
    """A parameter of a constructor, as its source has it.

    Args:
        name: of the parameter.
        annotation: source of its type, aliases such as `PackingName` resolved: "Literal['separate', 'bos_bestfit']".
        default: source of its default; None where it is required.
        help: its line of the docstring's `Args:`.
    """

    name: str
    annotation: str
    default: str | None
    help: str

    @property
    def choices(self) -> list[str]:
        """The words of a Literal, else nothing."""
        for node in ast.walk(ast.parse(self.annotation, mode="eval")):
            if isinstance(node, ast.Subscript) and ast.unparse(node.value) == "Literal":
                return [ast.literal_eval(item) for item in getattr(node.slice, "elts", [node.slice])]
        return []


@dataclass(frozen=True)
class ClassSource:
    """A class: the first paragraph of its docstring, its bases and its constructor's parameters by name."""

    purpose: str
    bases: tuple[str, ...]
    parameters: dict[str, Parameter]


@cache
def read_class(path: str) -> ClassSource:
    """Read a class of picochat by its public or its own path, such as "picochat.callbacks.LRSchedule".

    Raises:
        LookupError: picochat has no such class.
    """
    module, _, name = path.rpartition(".")
    tree = _parse(module)
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            return _describe(node, tree)
    return read_class(f"{_home(tree, name)}.{name}")


def public_classes(package: str) -> list[str]:
    """The names that a package imports from its modules and that are classes there."""
    tree = _parse(package)
    imported = [alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names]
    return [name for name in imported if name[0].isupper()]


def _describe(node: ast.ClassDef, tree: ast.Module) -> ClassSource:
    text = ast.get_docstring(node) or ""
    purpose = " ".join(text.split("\n\n")[0].split())
    bases = tuple(ast.unparse(base) for base in node.bases)
    docs = _argument_docs(text)
    constructor = next((item for item in node.body if getattr(item, "name", "") == "__init__"), None)
    signature: list[tuple[ast.arg | ast.AnnAssign, ast.expr | None]] = []
    if isinstance(constructor, ast.FunctionDef):
        arguments = constructor.args
        positional = arguments.args[1:]
        missing: list[ast.expr | None] = [None] * (len(positional) - len(arguments.defaults))
        signature = [*zip(positional, missing + list(arguments.defaults), strict=True)]
        signature += zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    elif any("dataclass" in ast.unparse(decorator) for decorator in node.decorator_list):
        signature = [(item, item.value) for item in node.body if isinstance(item, ast.AnnAssign)]
    else:
        for base in bases:
            try:
                return ClassSource(purpose, bases, read_class(f"{_home(tree, base)}.{base}").parameters)
            except LookupError:
                continue  # a class of another package
    parameters = {}
    for item, default in signature:
        name = item.arg if isinstance(item, ast.arg) else ast.unparse(item.target)
        annotation = "" if item.annotation is None else _resolve_alias(item.annotation, tree)
        source = None if default is None else ast.unparse(default)
        parameters[name] = Parameter(name, annotation, source, docs.get(name, ""))
    return ClassSource(purpose, bases, parameters)


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
            docs[name] = f"{docs[name]} {line.strip()}"
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
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and any(alias.name == name for alias in node.names):
            return node.module or ""
    raise LookupError(name)


@cache
def _parse(module: str) -> ast.Module:
    package, *parts = module.split(".")
    place = _ROOT.joinpath(*parts)
    file = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
    if package != "picochat" or not file.is_file():
        raise LookupError(module)
    return ast.parse(file.read_text("utf-8"))
