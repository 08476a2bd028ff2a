"""The notebooks run from top to bottom in a fresh interpreter, and are stored without outputs.

A cell runs as in Jupyter: in one namespace, `__main__`, the value of its last expression shown as HTML where possible.
No notebook needs a particular kernel, so none is needed here. Each takes seconds, so they are part of `make test`.
"""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parents[2] / "notebooks"
NAMES = sorted(path.name for path in FOLDER.glob("*.ipynb"))
RUN = """
import ast, json, sys

for cell in json.load(open(sys.argv[1], encoding="utf-8"))["cells"]:
    if cell["cell_type"] == "code":
        tree = ast.parse("".join(cell["source"]))
        last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, cell["id"], "exec"), globals())
        value = eval(compile(ast.Expression(last.value), cell["id"], "eval"), globals()) if last else None
        if value is not None:
            print("SHOWN", value._repr_html_() if hasattr(value, "_repr_html_") else repr(value))
"""


def book(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FOLDER / name).read_text(encoding="utf-8"))
    return found


def executed(name: str, cwd: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(FOLDER / name)], capture_output=True, text=True, timeout=600, cwd=cwd
    )
    assert done.returncode == 0, done.stderr
    assert not list(cwd.iterdir()), "a notebook left files in the current folder"
    return done.stdout


def pages(printed: str) -> list[str]:
    """The pages that were shown in frames."""
    return re.findall(r"SHOWN <iframe.*?</iframe>", printed, flags=re.DOTALL)


def test_there_are_four() -> None:
    assert [name[0] for name in NAMES] == ["1", "2", "3", "4"]


@pytest.mark.parametrize("name", NAMES)
def test_outputs_are_stripped(name: str) -> None:
    cells = book(name)["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert len(code) >= 4
    assert [(cell["outputs"], cell["execution_count"], cell["metadata"]) for cell in code] == [([], None, {})] * len(
        code
    )
    assert len({cell["id"] for cell in cells}) == len(cells)  # nbformat 4.5 asks for it
    assert cells[0]["cell_type"] == "markdown"
    assert cells[0]["source"][0].startswith("# ")


def test_a_data_module_is_inspected(tmp_path: Path) -> None:
    printed = executed(NAMES[0], tmp_path)
    for piece in ("category_balanced", "bench_math_addition", "input_ids    (8, 256)", "<|bos|><|user|>", "■ ■ ·"):
        assert piece in printed
    drawing = next(line for line in printed.splitlines() if line.startswith("SHOWN <svg"))
    assert drawing.count("<rect") > 3 * 8  # several examples in a row, each drawn in two strengths, with a border


def test_a_callback_and_a_task_of_the_notebook_train(tmp_path: Path) -> None:
    printed = executed(NAMES[1], tmp_path)
    assert "[doubling] <|bos|><|user|>" in printed
    (losses,) = (line.split()[1:] for line in printed.splitlines() if re.match(r"doubling +\d+\.\d{3} ", line))
    assert len(losses) == 4
    assert float(losses[-1]) < float(losses[0])
    assert re.search(r"train/supervised_tokens_per_s +[1-9]", printed)


def test_the_recipe_runs_from_base_to_capability(tmp_path: Path) -> None:
    printed = executed(NAMES[2], tmp_path)
    (shown,) = pages(printed)
    assert shown.count("&lt;polyline") >= 6
    assert "Optimizer steps: 20 of 20" in printed


def test_two_runs_are_compared(tmp_path: Path) -> None:
    printed = executed(NAMES[3], tmp_path)
    assert "direct against scratchpad: " in printed
    comparison, curves = pages(printed)
    assert "By skill" in comparison
    assert curves.count("&lt;polyline") == 2
