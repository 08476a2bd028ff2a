"""Answering eval rows. In: eval rows and something that answers. Out: predictions and report. Next: evidence.report.

    rows ─► Answerer.reply / .choice_scores ─► scoring ─► [Prediction, …] ─► lanes.summarise ─► report dict

`evaluate` takes anything that answers, so a callback passes the module that is being trained and a test passes a
dictionary. `evaluate_checkpoint` is the whole of `picochat eval chat` up to the writing of files.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import picochat
from picochat.errors import UserError
from picochat.evidence.lanes import GATES, Prediction, summarise
from picochat.evidence.scoring import Verdict, check_row, is_choice, score, score_choice
from picochat.files import sha256_file, sha256_text
from picochat.model.engine import Decoding, load_model
from picochat.packs.rows import TAGS, Message, Row, prompt_text, read_rows

if TYPE_CHECKING:
    from picochat.model.decoder import Decoder
    from picochat.model.tokenizer import ChatTokenizer


class Reply(Protocol):
    """What an answerer gives back for one conversation; `picochat.model.generation.Reply` is one."""

    @property
    def text(self) -> str:
        """The visible reply."""

    @property
    def raw_text(self) -> str:
        """The continuation with its special tokens."""

    @property
    def finished(self) -> bool:
        """Whether the turn was ended rather than cut off."""


class Answerer(Protocol):
    """Anything that answers conversations ending with the user."""

    def reply(self, conversations: Sequence[Sequence[Message]]) -> Sequence[Reply]:
        """One reply for each conversation, in order."""

    def choice_scores(
        self, conversations: Sequence[Sequence[Message]], labels: Sequence[Sequence[str]]
    ) -> Sequence[Sequence[float]]:
        """The log-likelihood of each label as the reply, for each conversation, in order."""


class ModelAnswerer:
    """Answers with a decoder in memory."""

    def __init__(self, decoder: "Decoder", tokenizer: "ChatTokenizer", decoding: Decoding, *, progress: bool = False):
        self.decoder = decoder
        self.tokenizer = tokenizer
        self.decoding = decoding
        self.progress = progress

    def reply(self, conversations: Sequence[Sequence[Message]]) -> Sequence[Reply]:
        """Generate one reply for each conversation."""
        from picochat.model.generation import generate

        prompts = self._prompts(conversations)
        return generate(self.decoder, self.tokenizer, prompts, self.decoding, progress=self.progress)

    def choice_scores(
        self, conversations: Sequence[Sequence[Message]], labels: Sequence[Sequence[str]]
    ) -> Sequence[Sequence[float]]:
        """Score each label as the reply to its conversation."""
        from picochat.model.choices import choice_scores

        prompts = self._prompts(conversations)
        choices = [list(names) for names in labels]
        return choice_scores(self.decoder, self.tokenizer, prompts, choices, batch_size=self.decoding.batch_size)

    def _prompts(self, conversations: Sequence[Sequence[Message]]) -> list[list[int]]:
        lists = [list(messages) for messages in conversations]
        rendered = self.tokenizer.render_batch(lists, add_generation_prompt=True)
        context = self.decoder.config.max_position_embeddings
        for messages, one in zip(lists, rendered, strict=True):
            if len(one.ids) >= context:
                raise UserError(
                    f"the row that asks {messages[-1]['content'][:60]!r} has {len(one.ids)} tokens and leaves no room "
                    f"for a reply in the model's context of {context}; shorten it or take it out"
                )
        return [one.ids for one in rendered]


def load_eval_rows(path: str | Path) -> list[Row]:
    """Read an eval file and make sure that every check in it can be applied.

    Raises:
        UserError: no such file, no rows, or a bad row, named by file and line.
    """
    return read_rows(path, "eval", check_row)


def answer_rows(rows: Sequence[Row], answerer: Answerer) -> list[Prediction]:
    """Let the answerer answer every row and judge the replies; predictions come in the order of the rows."""
    written = [index for index, row in enumerate(rows) if not is_choice(row)]
    chosen = [index for index, row in enumerate(rows) if is_choice(row)]
    predictions: dict[int, Prediction] = {}
    if written:
        replies = answerer.reply([rows[index]["messages"] for index in written])
        for index, reply in zip(written, replies, strict=True):
            row = rows[index]
            verdict = score(row, reply.text, raw=reply.raw_text, finished=reply.finished)
            predictions[index] = _prediction(index, row, verdict, reply.text, reply.raw_text, None)
    if chosen:
        labels = [rows[index]["choice_labels"] for index in chosen]
        scores = answerer.choice_scores([rows[index]["messages"] for index in chosen], labels)
        for index, names, values in zip(chosen, labels, scores, strict=True):
            verdict = score_choice(rows[index], values)
            by_label = dict(zip(names, values, strict=True))
            predictions[index] = _prediction(index, rows[index], verdict, verdict.candidate or "", None, by_label)
    return [predictions[index] for index in range(len(rows))]


def evaluate(
    rows: Sequence[Row], answerer: Answerer, gates: Mapping[str, float] = GATES
) -> tuple[list[Prediction], dict[str, Any]]:
    """Answer and judge rows; returns the predictions and the lanes, gates and claims (`lanes.summarise`)."""
    predictions = answer_rows(rows, answerer)
    return predictions, summarise(predictions, gates)


def evaluate_checkpoint(
    input_path: str | Path,
    checkpoint: str | Path,
    *,
    tokenizer: str | Path | None = None,
    decoding: Decoding | None = None,
    device: str = "auto",
    precision: str = "auto",
    gates: Mapping[str, float] = GATES,
    progress: bool = False,
) -> tuple[list[Prediction], dict[str, Any]]:
    """Evaluate a model folder on an eval file; returns predictions and the whole content of `eval_report.json`.

    Raises:
        UserError: an unreadable input or checkpoint, or a tokenizer that is not the checkpoint's.
    """
    rows = load_eval_rows(input_path)
    decoding = decoding or Decoding()
    loaded = load_model(checkpoint, tokenizer=tokenizer, device=device, precision=precision)
    answerer = ModelAnswerer(loaded.decoder, loaded.tokenizer, decoding, progress=progress)
    predictions, body = evaluate(rows, answerer, gates)
    head = {
        "kind": "eval chat",
        "picochat": picochat.__version__,
        "pack": {"path": str(input_path), "sha256": sha256_file(input_path), "rows": len(rows)},
        "model": describe_model(checkpoint, loaded.provenance),
        "settings": {**asdict(decoding), "device": device, "precision": precision},
    }
    return predictions, {**head, **body}


def describe_model(checkpoint: str | Path, provenance: Mapping[str, Any]) -> dict[str, Any]:
    """The `model` entry of a report: folder, fingerprint of the weights, and where they came from.

    The fingerprint is the sha256 of model.safetensors, or of the shards' names and sha256 where there are several.
    """
    folder = Path(checkpoint)
    single = folder / "model.safetensors"
    shards = "".join(f"{path.name} {sha256_file(path)}\n" for path in sorted(folder.glob("*.safetensors")))
    sha256 = sha256_file(single) if single.is_file() else sha256_text(shards)
    return {"folder": str(folder), "sha256": sha256, "provenance": dict(provenance)}


def _prediction(
    index: int, row: Row, verdict: Verdict, reply: str, raw: str | None, scores: dict[str, float] | None
) -> Prediction:
    return Prediction(
        index=index,
        id=row.get("id"),
        prompt=prompt_text(row),
        reply=reply,
        raw_reply=raw,
        expected=row.get("answer") or row.get("correct_choice") or row.get("reference"),
        passed=verdict.passed,
        reasons=verdict.reasons,
        candidate=verdict.candidate,
        steps_correct=verdict.steps_correct,
        answerable=row.get("answerable"),
        choice_scores=scores,
        tags={field: row[field] for field in TAGS if row.get(field)},
    )
