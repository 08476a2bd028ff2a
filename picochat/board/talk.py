"""Checkpoints that reply. In: a model folder, a prompt. Out: the reply, then the verdict of an eval row. Next: app."""

import threading
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from picochat.board.folder import Found
from picochat.errors import UserError
from picochat.evidence.scoring import SIGNALS_ONLY, Policy, score
from picochat.files import sha256_file
from picochat.model.engine import Decoding, load_model
from picochat.packs.formats import read_rows
from picochat.packs.rows import Row, prompt_text

_LOADING = threading.Lock()  # two replies begin at once


def reply(checkpoint: Path, prompt: str, temperature: float, reports: Sequence[Found]) -> Iterator[dict[str, Any]]:
    """Stream {"text": piece} …, then {"finished": …} with the verdict of the prompt's lane, or {"error": sentence}."""
    from picochat.model.generation import read_window, stream

    try:
        decoding = Decoding(temperature=temperature)
        with _LOADING:
            weights, tokenizer = _load(checkpoint, (checkpoint / "config.json").stat().st_mtime_ns)
        context = weights.config.max_position_embeddings
        room = min(decoding.max_new_tokens, context // 2)
        ids, _ = read_window([{"role": "user", "content": prompt}], tokenizer, context - room)
        pieces, text = stream(weights, tokenizer, ids, decoding), ""
        while True:
            try:
                piece = next(pieces)
            except StopIteration as end:
                yield {"finished": bool(end.value), **verdict(prompt, text, bool(end.value), reports)}
                return
            text += piece
            yield {"text": piece}
    except (UserError, OSError) as error:
        yield {"error": str(error)}


def verdict(prompt: str, text: str, finished: bool, reports: Sequence[Found]) -> dict[str, str]:
    """{"lane": …, "verdict": "passed" or the reasons} where an evaluation in the folder asks this prompt."""
    for path, sha256 in dict.fromkeys(report.rows for report in reports if report.rows[0]):
        file = Path(path)
        if file.is_file() and (row := _questions(file, sha256).get(prompt.strip())):
            rules = Policy.of([row], file).rules_of(row) or SIGNALS_ONLY
            judged = score(row, text, finished=finished, rules=rules)
            lane = str(row.get("category") or "untagged")
            return {"lane": lane, "verdict": "passed" if judged.passed else ", ".join(judged.reasons)}
    return {}


@lru_cache(2)
def _load(checkpoint: Path, _stamp: int) -> tuple[Any, Any]:
    from picochat.model.inference import Weights

    model = load_model(checkpoint)
    return Weights(model.decoder), model.tokenizer


@lru_cache(8)
def _questions(file: Path, sha256: str) -> dict[str, Row]:
    """The rows of one question, by it; none where the file is no longer the one that was evaluated."""
    if sha256_file(file) != sha256:
        return {}
    rows = [row for row in read_rows(file, "eval") if len(row["messages"]) == 1]
    return {prompt_text(row).strip(): row for row in rows}
