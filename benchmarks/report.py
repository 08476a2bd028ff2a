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
from typing import Any, NamedTuple

RESULTS = Path(__file__).parent / "results"
PAGE = Path(__file__).parent.parent / "docs" / "benchmarks.md"
FIGURES = PAGE.parent / "static"
PACKAGES = ("torch", "lightning", "tokenizers", "transformers", "datasets", "trl", "litgpt", "datatrove", "ray")


class Section(NamedTuple):
    """A part of the page.

    Attributes:
        title: its heading.
        prefix: of the names of the results that belong to it.
        commands: what measures it: a script of this folder, and words.
        text: what to know before reading.
        figure: a drawing of docs/static that the script makes.
    """

    title: str
    prefix: str
    commands: tuple[str, ...]
    text: str
    figure: str = ""


SECTIONS = (
    Section(
        "Training",
        "train-",
        ("train.py --size demo", "train.py --size 10m"),
        "Supervised tokens a second, end to end: data, forward, backward, optimizer, callbacks. All ways train a model "
        "of the same size on the capability task pack, packed to the same context, in batches of as many rows, with "
        "AdamW; TRL gets the same tokens, already tokenised, packs them with `bfd` and runs without gradient "
        "checkpointing. The plain loop is transformers' Qwen3 in ten lines of torch, with a mask and the "
        "head over every position. `first step` includes compilation.",
    ),
    Section(
        "Optimizers",
        "optimizers-",
        ("optimizers.py",),
        "The base stage at demo size, each optimizer at several rates, two seeds; bits per byte of held-out documents.",
    ),
    Section(
        "Generation",
        "generation-",
        ("generation.py --size demo", "generation.py --size 10m"),
        "Greedy, the same weights and prompts for all; nothing stops early. New tokens a second.",
    ),
    Section(
        "Loss",
        "loss-",
        ("loss.py",),
        "Head and loss over supervised positions beside the head over all; memory is the peak's growth.",
    ),
    Section(
        "Start-up",
        "startup",
        ("startup.py",),
        "Median wall time of fresh processes; `fit` until its first optimizer step is done, the bare imports likewise.",
    ),
    Section(
        "Packing", "packing", ("packing.py",), "Lengths into rows; all packers get the same lengths in the same run."
    ),
    Section(
        "Sampling",
        "sampling-",
        ("sampling.py",),
        "The draws of a block, and a whole block of the plan, against the number of rows.",
    ),
    Section(
        "Task packs",
        "task-packs",
        ("task_packs.py",),
        "`picochat data task-pack` in a process of its own, the fastest of some.",
    ),
    Section(
        "Tokenising",
        "tokenising",
        ("tokenising.py",),
        "Chat rows in a file into tokens with their supervision, the same tokenizer for all.",
    ),
    Section(
        "Loading",
        "loader",
        ("loader.py",),
        "Batches from the loader, beside a real training step at demo size, and beside torch's own DataLoader.",
    ),
    Section(
        "Evaluation",
        "evaluation",
        ("evaluation.py",),
        "Judging, answering, counting and reporting, each by itself.",
    ),
    Section(
        "Growth",
        "growth",
        ("growth.py",),
        "Time and memory of each stage against size, every size in a process of its own.",
        "growth.svg",
    ),
    Section(
        "A data plan of many rows",
        "plan-scale",
        ("plan_scale.py",),
        "Columns of a plan in files, opened by one rank of 1,024.",
    ),
    Section(
        "Shards",
        "shards",
        ("shards.py",),
        "A corpus in several files, imported and tokenised file by file ([how](howto/scale.md)): one process, and as "
        "many as there are cores, started by different engines. All end with the same bytes.",
    ),
    Section(
        "Attention",
        "attention-",
        ("attention.py",),
        "Ways to keep documents apart; `causal` does not, and is the measure of the others.",
    ),
    Section(
        "Plan and measurement",
        "sizes",
        ("sizes.py",),
        "What `picochat plan` says of memory and FLOPs, beside what torch allocates and counts.",
    ),
    Section(
        "Profiles",
        "profiles",
        ("profiles.py",),
        "What each optimization replaced and what it is now, alone, as a share of a training step at demo size. Two "
        "did not stay: the fused kernel in half precision, whose backward pass is slower for short documents (those up "
        "to 256 tokens go by plain products instead); and joining q, k and v, which gains too little for weights that "
        "are no longer Qwen3's, nor the matrices that Muon should see. What was tried for the model's skills: "
        "[experiments](experiments.md).",
    ),
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
    parts = [
        "# Benchmarks",
        "Made by `python benchmarks/report.py` from `benchmarks/results/`; do not edit by hand. `make bench` measures "
        "it anew on two cores at brief settings, `make bench-peers` what has peers, beside them, and `python "
        "benchmarks/run.py --full` all of it at all sizes.",
    ]
    for section in SECTIONS:
        found = [json.loads(path.read_text("utf-8")) for path in sorted(RESULTS.glob(f"{section.prefix}*.json"))]
        parts += [f"## {section.title}", section.text]
        if not found:
            parts.append("Not measured yet: " + ", ".join(f"`python benchmarks/{c}`" for c in section.commands) + ".")
        if section.figure and (FIGURES / section.figure).exists():
            parts.append(f"![{section.title}]({FIGURES.name}/{section.figure})")
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
