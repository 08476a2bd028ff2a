"""Results of benchmarks, and the page that shows them. In: benchmarks/results/*.json. Out: docs/benchmarks.md.

    python benchmarks/report.py        writes docs/benchmarks.md anew from the results that are there

A benchmark ends with `record`, which prints its table and keeps it, with the command, the machine and the versions.
"""

import json
import os
import platform
import shlex
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
PAGE = Path(__file__).parent.parent / "docs" / "benchmarks.md"
COMMANDS = {
    "train-": ("python benchmarks/train.py --size demo", "python benchmarks/train.py --size 10m"),
    "optimizers-": ("python benchmarks/optimizers.py",),
    "generation-": ("python benchmarks/generation.py --size demo", "python benchmarks/generation.py --size 10m"),
    "loss-": ("python benchmarks/loss.py",),
    "attention-": ("python benchmarks/attention.py",),
}
PACKAGES = ("torch", "lightning", "transformers", "trl", "litgpt")

# Section of the page: title, the results that belong to it (names begin so), what to know before reading.
SECTIONS = (
    (
        "Training",
        "train-",
        "Supervised tokens a second, end to end: data, forward, backward, optimizer, callbacks. All ways train a model "
        "of the same size on the capability task pack, packed to the same context, in batches of as many rows, with "
        "AdamW; TRL gets the same tokens, already tokenised, packs them with `bfd` and runs without gradient "
        "checkpointing. The plain loop is transformers' Qwen3 in ten lines of torch, with a mask and the "
        "head over every position. `first step` includes compilation.",
    ),
    (
        "Optimizers",
        "optimizers-",
        "The base stage at demo size with each optimizer at its better rate; bits per byte of held-out documents.",
    ),
    (
        "Generation",
        "generation-",
        "Greedy, the same weights and prompts for all; nothing stops early. New tokens a second.",
    ),
    ("Loss", "loss-", "Head and loss over supervised positions beside the head over all; memory is the peak's growth."),
    (
        "Start-up",
        "startup",
        "Median wall time of fresh processes; `fit` to the end of its first optimizer step, the bare imports to theirs.",
    ),
    (
        "Growth",
        "growth",
        "Time and memory of each stage against size, every size in a process of its own "
        "([drawn](../benchmarks/results/growth.svg)).",
    ),
    ("A data plan of many rows", "plan-scale", "Columns of a plan in files, opened by one rank of 1,024."),
    ("Attention", "attention-", "Ways to keep documents apart; `causal` does not, and is the measure of the others."),
)
MISSING = """## On a GPU

These figures are missing: no GPU was at hand. What would stand here: MFU, tokens a second and peak memory at 15.5 M,
107 M and 1.1 B parameters (context 512 and 2,048, packed capability rows, bf16, compiled), beside transformers and TRL
on the same card. Tests that need CUDA are there, and are skipped without it.
"""


def record(name: str, columns: list[str], rows: list[list[Any]], note: str = "", **details: Any) -> None:
    """Print a table and keep it as results/NAME.json.

    Args:
        name: of the result, such as train-demo.
        columns: headings.
        rows: cells; numbers are shown with three significant digits or thousands separators.
        note: what to say beneath the table.
        details: further figures, JSON values.
    """
    print("\n".join(table(columns, rows)) + (f"\n{note}" if note else ""))
    found = {"command": _command(), "machine": machine(), "columns": columns, "rows": rows, "note": note, **details}
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def machine() -> dict[str, Any]:
    """Where and with what a figure was taken."""
    import torch

    return {
        "day": datetime.now(UTC).date().isoformat(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load_before": round(os.getloadavg()[1], 1),
        "python": platform.python_version(),
        **{package: found for package in PACKAGES if (found := _version(package))},
    }


def table(columns: list[str], rows: list[list[Any]]) -> list[str]:
    """Lines of a Markdown table."""
    lines = ["| " + " | ".join(columns) + " |", "|---" + "|---:" * (len(columns) - 1) + "|"]
    return lines + ["| " + " | ".join(_shown(cell) for cell in row) + " |" for row in rows]


def page() -> str:
    """docs/benchmarks.md."""
    parts = ["# Benchmarks", "Made by `python benchmarks/report.py` from `benchmarks/results/`; do not edit by hand."]
    for title, prefix, text in SECTIONS:
        found = [json.loads(path.read_text("utf-8")) for path in sorted(RESULTS.glob(f"{prefix}*.json"))]
        parts += [f"## {title}", text]
        if not found:
            parts.append("Not measured yet: " + ", ".join(f"`{command}`" for command in COMMANDS[prefix]) + ".")
        for one in found:
            place = ", ".join(f"{key} {value}" for key, value in one["machine"].items())
            parts += [f"`{one['command']}`", "\n".join(table(one["columns"], one["rows"]))]
            parts += [part for part in (one["note"], f"<sub>{place}</sub>") if part]
    return "\n\n".join([*parts, MISSING])


def _command() -> str:
    script = Path(sys.argv[0])
    return shlex.join(["python", f"{script.parent.name}/{script.name}", *sys.argv[1:]])


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _shown(cell: Any) -> str:
    if not isinstance(cell, float):
        return f"{cell:,}" if isinstance(cell, int) else str(cell)
    return f"{cell:,.0f}" if abs(cell) >= 100 else f"{cell:.3g}"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"wrote {PAGE}")
