"""How every command line is read: one spelling of flags, one layout of help, errors in one sentence. Next: commands.

A flag is declared once: in the library function or class that takes it. `add_parameters` reads it from the source and
imports nothing: torch and Lightning take seconds, a help page may not. What else a help page says is the docstring of
the function that runs the command.
"""

import argparse
import ast
import inspect
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

from picochat.errors import UserError, nearest

# whose parameters are flags of several commands
LOADING, DECODING = "picochat.model.engine.load_model", "picochat.model.engine.Decoding"
READING = "picochat.packs.formats.Reading"
_ROOT = Path(__file__).parents[1]  # of the package; picochat.callbacks and others are found through their links


@dataclass(frozen=True)
class Parameter:
    """A parameter of a constructor or function, as its source has it."""

    name: str
    annotation: str  # aliases such as `PackingName` resolved: "Literal['separate', 'bos_bestfit']"
    default: str | None  # None where it is required
    help: str  # its line of the docstring's `Args:`

    @property
    def value(self) -> Any:
        """The default; None where it is required."""
        return None if self.default is None else ast.literal_eval(self.default)

    @property
    def choices(self) -> list[str]:
        """The words of a Literal, else nothing."""
        for node in ast.walk(ast.parse(self.annotation, mode="eval")):
            if isinstance(node, ast.Subscript) and ast.unparse(node.value) == "Literal":
                return [ast.literal_eval(item) for item in getattr(node.slice, "elts", [node.slice])]
        return []


@dataclass(frozen=True)
class Signature:
    """The first paragraph of a docstring, and the parameters by name."""

    purpose: str
    parameters: dict[str, Parameter]


class Parser(argparse.ArgumentParser):
    """argparse with hyphenated flags, one-sentence errors and the nearest name."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.members: Any = None
        self.purpose = self.example = ""
        options = {"formatter_class": argparse.RawDescriptionHelpFormatter, "allow_abbrev": False, **kwargs}
        super().__init__(*args, **options)

    def format_help(self) -> str:
        """Purpose, usage, flags, example; argparse begins with the usage, which is long."""
        return "\n\n".join(filter(None, [self.purpose, super().format_help().rstrip(), self.example])) + "\n"

    def commands(self) -> "dict[str, Parser]":
        """The parsers of its commands by name; none if it is a command itself."""
        return dict(self.members.choices) if self.members else {}

    def add_command(self, name: str, run: Callable[[argparse.Namespace], None] | None, page: str = "") -> "Parser":
        """Add a command. Its page (by default the docstring of `run`) is a sentence, details, and an example."""
        if not self.members:
            self.members = self.add_subparsers(dest="command", metavar="COMMAND", required=True)
            self.example = f"example: {self.prog} {name} --help"
        text, _, example = inspect.cleandoc(page or run.__doc__ or "").partition("\n\nexample")
        purpose, _, details = text.partition("\n")
        short = purpose.rstrip(".").replace("%", "%%")
        parser: Parser = self.members.add_parser(name, help=short[:1].lower() + short[1:], description=details.strip())
        parser.purpose, parser.example = purpose, f"example{example}"
        parser.set_defaults(run=run)
        return parser

    def parse(self, words: Sequence[str]) -> argparse.Namespace:
        """Parse the words after the command's name; UserError where they are no command line of this command."""
        actions = {flag: action for flag, action in self._option_string_actions.items() if flag.startswith("--")}
        valued = {flag for flag, action in actions.items() if action.nargs != 0}
        flags = {flag[2:].replace("-", "_"): flag for flag in actions}
        words = respell(words, lambda name: flags.get(name.replace("-", "_")), valued.__contains__)
        for word in words:  # before argparse, which would name a missing flag and not the mistyped one
            flag = word.partition("=")[0]
            if flag.startswith("--") and flag != "--" and flag not in actions:
                self.error(f"unknown argument '{flag}'{nearest(flag, actions)}")
        args = self.parse_args(words)
        for action in self._actions:
            if action.metavar in ("DIR", "FILE") and vars(args).get(action.dest) == "":  # as of "$OUT", never set
                self.error(f"argument {'/'.join(action.option_strings)} is empty; name a file or folder")
        return args

    def add_parameters(self, path: str, *names: str, **flags: str) -> None:
        """Add a flag for each of these parameters (all, if none is named) of the library function or class at `path`.

        `flags` has those that are not --PARAMETER: dataset_pack="--dataset-pack --pack".
        """
        parameters = read_signature(path).parameters
        for name in names or parameters:
            flag = flags.get(name, f"--{name.replace('_', '-')}")
            self.add_declared(flag, parameters[name], dest=name, default=parameters[name].value)

    def add_declared(
        self,
        flags: str,
        declared: Parameter,
        *,
        dest: str | None = None,
        default: Any = None,
        shown: Any = None,
        required: bool = False,
    ) -> None:
        """Add a flag for a parameter. `shown` is what something else sets where the flag has no `default`."""
        shown = shown if default is None else default
        # "…; null takes the checkpoint's. …": a flag that is left out stands for null
        null = re.search(
            r"[;.] [Nn]ull(?: takes| writes| reads| is)?:? ((?:[^.]|\.\S)+)", text := declared.help.rstrip(".")
        )
        if null:
            text = text.replace(null[0], "")
            shown = null[1] if shown is None and not required else shown
        kind = declared.annotation.removesuffix(" | None")
        options: dict[str, Any] = {"dest": dest, "default": default, "help": text.replace("%", "%%")}
        options["help"] += "" if str(shown) in ("None", "False", "") else f" (default: {shown})"
        if kind == "bool":
            options["action"] = "store_true" if default is False else argparse.BooleanOptionalAction
        else:
            options |= {"type": {"int": int, "float": float}.get(kind, str)}
            options |= {"required": required or declared.default is None}
            options |= {"nargs": "+"} if "Sequence" in kind else {"action": "append"} if "list[" in kind else {}
            place = "DIR" if declared.name.endswith(("_dir", "checkpoint")) else "FILE"
            metavar = place if "Path" in kind else {"int": "N", "float": "X"}.get(kind, "TEXT")
            options |= {"choices": declared.choices} if declared.choices else {"metavar": metavar}
        self.add_argument(*flags.split(), **options)

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; see `{self.prog} --help`")


def arguments_of(args: argparse.Namespace, path: str) -> dict[str, Any]:
    """The arguments of a call of the function at `path`, from flags that `Parser.add_parameters` added."""
    return {name: getattr(args, name) for name in read_signature(path).parameters if hasattr(args, name)}


def respell(
    words: Sequence[str], canonical: Callable[[str], str | None], takes_value: Callable[[str], bool]
) -> list[str]:
    """Rewrite each flag to its canonical spelling: `--sft_rows 5` and `sft_rows=5` → `--sft-rows 5`, `--sft-rows=5`.

    `canonical` gives the flag of a name such as "sft_rows", or None; `takes_value` says whether a word is a flag whose
    value is the next word, whatever that looks like. argparse takes -5+3 and "--steps 9 --seed 1" for flags, too:
    `--prompt -5+3` → `--prompt=-5+3`.
    """
    result: list[str] = []
    for word in words:
        name, equals, value = word.partition("=")
        flag = canonical(name.removeprefix("--")) if word.startswith("--") or equals else None
        is_text = not word.startswith("--") or (not flag and " " in word)
        if not (result and takes_value(result[-1]) and is_text):
            result.append(f"{flag}{equals}{value}" if flag else word)
        elif re.match("-[^a-zA-Z]|-.* ", word):
            result[-1] += f"={word}"
        else:
            result.append(word)
    return result


@cache
def read_signature(path: str) -> Signature:
    """A class or function by its public or its own path, such as "picochat.callbacks.LRSchedule"; or LookupError."""
    node, module = _find(*path.rpartition(".")[::2])
    if not isinstance(node, ast.ClassDef | ast.FunctionDef):
        raise LookupError(path)
    text = ast.get_docstring(node) or ""
    return Signature(" ".join(text.split("\n\n")[0].split()), _parameters(node, text, module))


def public_classes(package: str) -> list[str]:
    """The names that a package imports from its modules and that are classes there."""
    own = [node for node in _nodes(package) if isinstance(node, ast.ImportFrom) and package in (node.module or "")]
    return [alias.name for node in own for alias in node.names if alias.name[0].isupper()]


def _parameters(node: ast.ClassDef | ast.FunctionDef, text: str, module: str) -> dict[str, Parameter]:
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
            with suppress(LookupError):  # a class of another package
                return read_signature(f"{module}.{base}").parameters
        return {}
    docs, found = _argument_docs(text), {}
    for item, default in pairs:
        name = item.arg if isinstance(item, ast.arg) else ast.unparse(item.target)
        annotation = "" if item.annotation is None else ast.unparse(item.annotation)
        with suppress(LookupError):  # an alias such as `PackingName` stands for what it names
            alias, _ = _find(module, annotation)
            annotation = ast.unparse(alias.value) if isinstance(alias, ast.Assign) else annotation
        source = None if default is None else ast.unparse(default)
        found[name] = Parameter(name, annotation, source, docs.get(name, ""))
    return found


def _argument_docs(text: str) -> dict[str, str]:
    """{"warmup_steps": "optimizer steps …"} of a docstring's `Args:`."""
    section = re.match(r"(?:    .*\n?)*", text.partition("Args:\n")[2])
    items = re.findall(r"^ {4}(\w+): (.*(?:\n {5,}.*)*)", section[0] if section else "", re.MULTILINE)
    return {name: " ".join(said.split()) for name, said in items}


def _find(module: str, name: str) -> tuple[ast.stmt, str]:
    """The definition of a name, and the module of picochat that has it, through imports; LookupError: there is none."""
    for node in _nodes(module):
        if getattr(node, "name", "") == name or (isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name):
            return node, module
        if isinstance(node, ast.ImportFrom) and any(alias.name == name for alias in node.names):
            return _find(node.module or "", name)
    raise LookupError(name)


@cache
def _nodes(module: str) -> list[ast.stmt]:
    """The statements of a module of picochat, those under `if TYPE_CHECKING:` included."""
    package, *parts = module.split(".")
    place = _ROOT.joinpath(*parts)
    file = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
    if package != "picochat" or not file.is_file():
        raise LookupError(module)
    body = ast.parse(file.read_text("utf-8")).body
    return [inner for node in body for inner in (node.body if isinstance(node, ast.If) else [node])]
