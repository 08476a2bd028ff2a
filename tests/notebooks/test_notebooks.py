"""The notebooks run from top to bottom in a fresh interpreter, and hold the outputs of the cells as they are.

No notebook needs a particular kernel, so none is needed here. All but the study take seconds with few steps, so they
are part of `make test`.
"""

import json
import re
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "notebooks"
sys.path.append(str(FOLDER))
from make import execute, read, sources_sha256, store  # noqa: E402 - a script beside the notebooks, no package

NAMES = sorted(path.name for path in FOLDER.glob("*.ipynb"))


@pytest.fixture(autouse=True)
def few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEPS", "20")


def executed(name: str, cwd: Path) -> str:
    shown = execute(FOLDER / name, cwd)
    assert not list(cwd.iterdir()), "a notebook left files in the current folder"
    return "\n".join(printed + (f"SHOWN {html or text}\n" if text else "") for printed, text, html in shown)


def pages(printed: str) -> list[str]:
    """The pages that were shown in frames."""
    return re.findall(r"SHOWN <iframe.*?</iframe>", printed, flags=re.DOTALL)


@pytest.mark.parametrize("name", NAMES)
def test_outputs_are_those_of_the_cells_as_they_are(name: str) -> None:
    """`make notebooks` makes them again."""
    book = read(FOLDER / name)
    assert book["metadata"].get("made_of") == sources_sha256(book), f"{name} has changed: run `make notebooks`"
    cells = book["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert len(code) >= 4
    assert sum(bool(cell["outputs"]) for cell in code) >= len(code) / 2
    outputs = [output for cell in code for output in cell["outputs"]]
    assert {output["output_type"] for output in outputs} <= {"stream", "execute_result"}
    assert {output.get("name", "stdout") for output in outputs} == {"stdout"}  # no pink boxes
    assert len({cell["id"] for cell in cells}) == len(cells)  # nbformat 4.5 asks for it
    assert cells[0]["cell_type"] == "markdown" and cells[0]["source"][0].startswith("# ")


def test_a_changed_cell_is_noticed_and_its_outputs_are_made_again(tmp_path: Path) -> None:
    path = tmp_path / "a.ipynb"
    cell = {"cell_type": "code", "id": "a", "metadata": {}, "source": ["print(1)\n", "2"], "outputs": []}
    path.write_text(json.dumps({"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
    store(path)
    book = read(path)
    stream, result = book["cells"][0]["outputs"]
    assert (stream["text"], result["data"]) == (["1\n"], {"text/plain": "2"})
    assert book["metadata"]["made_of"] == sources_sha256(book)
    book["cells"][0]["source"] = ["3"]
    assert book["metadata"]["made_of"] != sources_sha256(book)


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
    comparison, curves = pages(printed)
    assert "spelling" in comparison
    assert curves.count("&lt;polyline") >= 6
    assert "Optimizer steps: 20 of 20" in printed


@pytest.mark.slow
def test_three_files_become_a_matrix_of_effects(tmp_path: Path) -> None:
    printed = executed(NAMES[4], tmp_path)
    (matrix,) = pages(printed)
    assert "parcels" in matrix
    assert "12 runs of 9 arms" in printed


def test_two_runs_are_compared(tmp_path: Path) -> None:
    printed = executed(NAMES[3], tmp_path)
    assert "direct against scratchpad: " in printed
    comparison, curves = pages(printed)
    assert "By skill" in comparison
    assert curves.count("&lt;polyline") == 2
