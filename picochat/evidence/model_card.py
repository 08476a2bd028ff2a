"""The model card. In: a checkpoint folder and its evaluation. Out: README.md in that folder.

The card claims what the report claims and nothing else: a lane that the pack did not test is "not tested".
"""

from pathlib import Path

from picochat.blocks import Report, Table, Text, markdown_page, percent
from picochat.errors import UserError
from picochat.evidence.eval_report import lane_table
from picochat.evidence.evaluation import Evaluation
from picochat.evidence.report import facts, run_name
from picochat.evidence.words import between, choice_sentence, claim_line, of_problems
from picochat.files import write_files

_HEADER = """---
library_name: transformers
pipeline_tag: text-generation
tags:
- picochat
---"""
_USE = """from transformers import AutoModelForCausalLM, AutoTokenizer

folder = "."  # this folder
model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)"""
_DECODING = ("max_new_tokens", "temperature", "top_k", "top_p", "seed")


def check_card_place(checkpoint: str | Path) -> None:
    """Make sure that a card would replace none but an earlier card of ours.

    Raises:
        UserError: README.md in the folder was written by somebody else.
    """
    path = Path(checkpoint) / "README.md"
    if path.is_file() and not path.read_text(encoding="utf-8", errors="replace").startswith(_HEADER):
        raise UserError(
            f"{path} is not a card of ours; move it away, leave --model-card out, or replace it with --force"
        )


def write_model_card(checkpoint: str | Path, evaluation: Evaluation) -> Path:
    """Write README.md into the model folder that was evaluated, and return its path."""
    path = Path(checkpoint) / "README.md"
    write_files({path: model_card(Path(checkpoint).resolve(), evaluation)})
    return path


def model_card(folder: Path, evaluation: Evaluation) -> str:
    """The card's text; RUN/best_checkpoint is called RUN."""
    overall, settings, model = evaluation.overall, evaluation.settings, evaluation.model
    decoding = ", ".join(f"{name} {settings[name]}" for name in _DECODING)
    measured = (
        f"{percent(overall.rate)} of {of_problems(overall.n, overall.problems)} passed "
        f"({between(overall.ci95)}); decoding: {decoding}."
    )
    origin = {
        "model.safetensors": f"sha256 {model.sha256}",
        "eval rows": f"sha256 {evaluation.pack.sha256}",
        "picochat": evaluation.picochat,
        **model.provenance,
    }
    lanes = lane_table(evaluation)
    report = Report(
        run_name(folder),
        "A small chat model trained with picochat. It knows what its training rows taught and nothing more; this card "
        "claims what was measured on the eval rows named below.",
        [
            Text(list(map(claim_line, evaluation.claims)), "list", title="Claims"),
            Text([measured], title="Evaluation"),
            Table(lanes.head, lanes.rows, depths=lanes.depths),
            Text([choice_sentence(overall.choice)] if overall.choice else []),
            Text([_USE], "code", title="Use"),
            facts(origin),
        ],
    )
    return f"{_HEADER}\n\n{markdown_page(report)}"
