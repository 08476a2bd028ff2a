"""Run notebooks and keep what they show in the files: `make notebooks`, or `python notebooks/make.py FILE …`.

Cells run in one fresh interpreter, as in Jupyter: one namespace, `__main__`, the value of the last expression shown as
HTML where it can be. No kernel and no Jupyter are needed. The file remembers the sha256 of the cells that its outputs
were made of, and a test compares.
"""

import hashlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
RUN = """
import ast as _ast, contextlib as _contextlib, io as _io, json as _json, sys as _sys

_kept = []
for _cell in _json.load(open(_sys.argv[1], encoding="utf-8"))["cells"]:  # names that no notebook has
    if _cell["cell_type"] == "code":
        _tree = _ast.parse("".join(_cell["source"]))
        _last = _tree.body.pop() if isinstance(_tree.body[-1], _ast.Expr) else None
        _value = _html = None
        with _contextlib.redirect_stdout(_io.StringIO()) as _printed:
            exec(compile(_tree, _cell["id"], "exec"), globals())
            if _last:
                _value = eval(compile(_ast.Expression(_last.value), _cell["id"], "eval"), globals())
        if hasattr(_value, "_repr_html_"):
            _html = _value._repr_html_()
        _kept.append((_printed.getvalue(), None if _value is None else repr(_value), _html))
_json.dump(_kept, open(_sys.argv[2], "w"))
"""


def read(path: Path) -> dict[str, Any]:
    """A notebook."""
    found: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return found


def sources_sha256(book: dict[str, Any]) -> str:
    """Of all cells that run."""
    sources = ["".join(cell["source"]) for cell in book["cells"] if cell["cell_type"] == "code"]
    return hashlib.sha256(json.dumps(sources).encode()).hexdigest()


def execute(path: Path, folder: Path) -> list[tuple[str, str | None, str | None]]:
    """(what it printed, its value as text, its value as HTML) of every cell that runs, in order."""
    with tempfile.TemporaryDirectory() as place:
        kept = Path(place) / "kept.json"
        words = [sys.executable, "-c", RUN, str(path.resolve()), str(kept)]
        done = subprocess.run(words, stderr=subprocess.PIPE, text=True, cwd=folder)
        if done.returncode:
            raise RuntimeError(f"{path.name} fails:\n{done.stderr}")
        home, text = str(Path.home()), kept.read_text()
        found: list[tuple[str, str | None, str | None]] = json.loads(text.replace(home, "~") if len(home) > 1 else text)
        return found


def store(path: Path) -> None:
    """Run a notebook, and write its outputs into it."""
    book = read(path)
    with tempfile.TemporaryDirectory() as place:
        shown = execute(path, Path(place))
    cells = [cell for cell in book["cells"] if cell["cell_type"] == "code"]
    for number, (cell, (printed, text, html)) in enumerate(zip(cells, shown, strict=True), start=1):
        cell["execution_count"] = number
        lines = printed.splitlines(keepends=True)
        cell["outputs"] = [{"output_type": "stream", "name": "stdout", "text": lines}] if lines else []
        if text is not None:
            data = (
                {"text/html": html.splitlines(keepends=True), "text/plain": "picture"} if html else {"text/plain": text}
            )
            result = {"output_type": "execute_result", "execution_count": number, "metadata": {}, "data": data}
            cell["outputs"].append(result)
    book["metadata"]["made_of"] = sources_sha256(book)
    path.write_text(json.dumps(book, indent=1, ensure_ascii=False) + "\n", "utf-8")


if __name__ == "__main__":
    for name in sys.argv[1:] or sorted(map(str, FOLDER.glob("*.ipynb"))):
        store(Path(name))
        print(f"wrote {name}", flush=True)
