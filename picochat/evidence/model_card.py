"""The model card. In: a checkpoint folder and the report of its evaluation. Out: README.md in that folder.

The card claims what the report claims and nothing else: a lane that the pack did not test is "not tested".
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from picochat.errors import UserError
from picochat.evidence.evaluation import describe_model
from picochat.evidence.lanes import percent
from picochat.evidence.report import (
    COLUMNS,
    cells,
    choice_sentence,
    claim_lines,
    clip,
    interval,
    md,
    md_table,
    run_name,
)
from picochat.files import write_files

_HEADER = """---
library_name: transformers
pipeline_tag: text-generation
tags:
- picochat
---"""


def check_card_place(checkpoint: str | Path) -> None:
    """Make sure that a card would replace none but an earlier card of ours.

    Raises:
        UserError: README.md in the folder was written by somebody else.
    """
    path = Path(checkpoint) / "README.md"
    if path.is_file() and not path.read_text(encoding="utf-8", errors="replace").startswith(_HEADER):
        raise UserError(f"{path} is no card of ours; move it away, leave --model-card out, or replace it with --force")


def write_model_card(checkpoint: str | Path, report: Mapping[str, Any]) -> Path:
    """Write README.md into the model folder and return its path.

    Raises:
        UserError: the report is about other weights than the folder's.
    """
    folder = Path(checkpoint)
    found, measured = describe_model(folder, {})["sha256"], report["model"]["sha256"]
    if found != measured:
        raise UserError(
            f"the report is about other weights (sha256 {measured[:12]}) than those in {folder} ({found[:12]}); "
            "run `eval chat` on this checkpoint"
        )
    path = folder / "README.md"
    write_files({path: model_card(folder.resolve(), report)})
    return path


def model_card(folder: Path, report: Mapping[str, Any]) -> str:
    """The card's text.

    Args:
        folder: gives the card its title: RUN/best_checkpoint is called RUN.
        report: content of eval_report.json.
    """
    overall, settings = report["overall"], report["settings"]
    decoding = ", ".join(
        f"{key} {settings[key]}" for key in ("max_new_tokens", "temperature", "top_k", "top_p", "seed")
    )
    parts = [
        _HEADER,
        f"# {md(run_name(folder))}",
        "A small chat model trained with picochat. It knows what its training rows taught and nothing more; "
        "this card claims what was measured on the eval rows named below.",
        "## Claims",
        "\n".join(f"- {md(line)}" for line in claim_lines(report["claims"])),
        "## Evaluation",
        f"{report['pack']['rows']} eval rows, {percent(overall['rate'])} passed "
        f"(95 % interval {interval(overall['ci95'])}); decoding: {md(decoding)}.",
        md_table(
            ["lane", *COLUMNS],
            [
                [md(f"{row['path'][0]} / {row['path'][-1]}"), *cells(row)]
                for row in report["table"]
                if len(row["path"]) == 3
            ],
        ),
    ]
    if overall["choice"]:
        parts.append(choice_sentence(overall["choice"]))
    parts += [
        "## Use",
        "```python\nfrom transformers import AutoModelForCausalLM, AutoTokenizer\n\n"
        'folder = "."  # this folder\n'
        "model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)\n```",
        "## Where it comes from",
        md_table(["what", "value"], _origin(report)),
    ]
    return "\n\n".join(parts) + "\n"


def _origin(report: Mapping[str, Any]) -> list[list[str]]:
    facts = {
        "model.safetensors": f"sha256 {report['model']['sha256']}",
        "eval rows": f"sha256 {report['pack']['sha256']}",
        "picochat": report["picochat"],
        **report["model"]["provenance"],
    }
    return [
        [md(key), md(clip(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False), 600))]
        for key, value in facts.items()
    ]
