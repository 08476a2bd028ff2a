"""Results of benchmarks, and the pages that show them. In: benchmarks/results/*.json. Out: docs/benchmarks.md and the
tables of docs/evidence.md, each after a line <!-- name of the result -->.

    python benchmarks/report.py        writes both from the results that exist

A benchmark ends with `record`, which prints its table and stores it under the instruction set that it ran on:

    results/train-demo.json    {"AVX2": {command, machine, columns, rows, note}, "AVX512-bf16": {…}}

The page shows results of several instruction sets side by side, one column each.
"""

import ast
import json
import re
import shlex
import sys
from pathlib import Path
from typing import Any

import machine
from run import BENCHMARKS

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
PAGE = HERE.parent / "docs" / "benchmarks.md"
EVIDENCE = PAGE.with_name("evidence.md")
Result = dict[str, Any]

MISSING = """## On a GPU

These figures are missing: no GPU was at hand. What would stand here: MFU, tokens a second and peak memory at 15.5 M,
107 M and 1.1 B parameters (context 512 and 2,048, packed capability rows, bf16, compiled), beside transformers and TRL
on the same card. Tests that need CUDA exist, and are skipped without it.
"""


def record(
    name: str, columns: list[str], rows: list[list[Any]], note: str = "", *, keys: int = 1, device: str = "cpu"
) -> None:
    """Print a table and store it in results/NAME.json, under the machine's label.

    Args:
        name: of the result, such as train-demo.
        columns: headings.
        rows: cells; numbers are shown with three significant digits or thousands separators.
        note: what to say below the table.
        keys: so many columns at the left say what a row is; the others are measured.
        device: what computed.
    """
    print("\n".join(table(columns, rows)) + (f"\n{note}" if note else ""))
    path = RESULTS / f"{name}.json"
    found = json.loads(path.read_text("utf-8")) if path.exists() else {}
    script = Path(sys.argv[0])
    found[machine.label(device)] = {
        "command": shlex.join(["python", f"{script.parent.name}/{script.name}", *sys.argv[1:]]),
        "machine": machine.describe(),
        "keys": keys,
        "columns": columns,
        "rows": rows,
        "note": note,
    }
    RESULTS.mkdir(exist_ok=True)
    path.write_text(json.dumps(dict(sorted(found.items())), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def table(columns: list[str], rows: list[list[Any]], keys: int = 1) -> list[str]:
    """Lines of a Markdown table."""
    lines = ["| " + " | ".join(columns) + " |", "|---" * keys + "|---:" * (len(columns) - keys) + "|"]
    return lines + ["| " + " | ".join(map(_shown, row)) + " |" for row in rows]


def beside(found: dict[str, Result]) -> list[str]:
    """One table of the results of several instruction sets: a column for each figure and set."""
    first, *_ = found.values()
    keys, columns = first["keys"], first["columns"]
    if len(found) == 1:
        return table(columns, first["rows"], keys)
    cells = {  # (instruction set, what the row is, column): value
        (name, tuple(row[:keys]), column): cell
        for name, one in found.items()
        for row in one["rows"]
        for column, cell in zip(one["columns"], row, strict=True)
    }
    wanted = [(figure, name) for figure in columns[keys:] for name in found]
    lines = [
        [*row, *(cells.get((name, row, figure), "–") for figure, name in wanted)]
        for row in dict.fromkeys(row for _, row, _ in cells)
    ]
    return table([*columns[:keys], *(f"{figure}, {name}" for figure, name in wanted)], lines, keys)


def page() -> str:
    """docs/benchmarks.md."""
    parts = [
        "# Benchmarks",
        "Written by `python benchmarks/report.py` from `benchmarks/results/`; do not edit by hand. `make bench` "
        "measures everything on two cores at brief settings, `make bench-peers` what has peers, beside them, and "
        "`python benchmarks/run.py --full` everything at all sizes. Figures belong to an instruction set, named in or "
        "below each table; with `--narrow` a newer CPU computes as an AVX2 one does.",
    ]
    for script, benchmark in BENCHMARKS.items():
        text = ast.get_docstring(ast.parse((HERE / f"{script}.py").read_text("utf-8")))
        parts += [f"## {benchmark.title}", str(text)]
        paths = sorted(RESULTS.glob(f"{script}*.json"))
        if not paths:
            commands = (" ".join(["python", f"benchmarks/{script}.py", *words]) for words in benchmark.full)
            parts.append(f"Not measured yet: {', '.join(f'`{command}`' for command in commands)}.")
        for path in paths:
            found: dict[str, Result] = json.loads(path.read_text("utf-8"))
            parts += [f"`{next(iter(found.values()))['command']}`", "\n".join(beside(found))]
            for name, one in found.items():
                place = ", ".join(f"{key} {value}" for key, value in one["machine"].items())
                parts.append(f"{name}: {one['note']}" if one["note"] else f"{name}.")
                parts.append(f"<sub>{place}</sub>")
    return "\n\n".join([*parts, MISSING])


def with_tables(text: str) -> str:
    """A page whose marked tables are those of the results; what chance decides is the same on any machine."""

    def current(mark: re.Match[str]) -> str:
        found = json.loads((RESULTS / f"{mark[2]}.json").read_text("utf-8"))
        newest = max(found.values(), key=lambda one: one["machine"]["day"])
        return mark[1] + "\n".join(table(newest["columns"], newest["rows"], newest["keys"])) + "\n"

    return re.sub(r"(<!-- ([\w-]+) -->\n\n)(?:\|.*\n)*", current, text)


def _shown(cell: Any) -> str:
    if not isinstance(cell, float):
        return f"{cell:,}" if isinstance(cell, int) else str(cell)
    return f"{cell:,.0f}" if abs(cell) >= 100 else f"{cell:.3g}"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    EVIDENCE.write_text(with_tables(EVIDENCE.read_text("utf-8")), encoding="utf-8")
    print(f"wrote {PAGE} and the tables of {EVIDENCE}")
