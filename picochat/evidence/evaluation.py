"""Answering eval rows. In: eval rows and something that answers. Out: an `Evaluation`. Next: evidence.eval_report.

    rows ─► Answerer.reply / .choice_scores ─► scoring ─► [Prediction, …] ─► Evaluation ─► lanes, gates, claims

Anything may answer: a checkpoint, the module that is being trained, a dictionary in a test.
"""

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import picochat
from picochat.errors import UserError
from picochat.evidence.gates import LIMITS, Claim, Gate, check_gates, claims
from picochat.evidence.lanes import Lane, Prediction, count, grouped, tags_of
from picochat.evidence.scoring import Verdict, check_row, is_choice, score, score_choice
from picochat.evidence.trained_on import met_in_training
from picochat.files import sha256_file, sha256_text
from picochat.packs.formats import Tally, read_rows
from picochat.packs.rows import Message, Row, cluster_of, prompt_text

if TYPE_CHECKING:
    from picochat.model.decoder import Decoder
    from picochat.model.engine import Decoding, Precision
    from picochat.model.tokenizer import ChatTokenizer


class Reply(Protocol):
    """One reply: its visible text, the continuation with special tokens, whether the turn was ended, not cut off."""

    @property
    def text(self) -> str: ...
    @property
    def raw_text(self) -> str: ...
    @property
    def finished(self) -> bool: ...


class Answerer(Protocol):
    """Anything that answers conversations ending with the user, in order."""

    def reply(self, conversations: Sequence[Sequence[Message]]) -> Sequence[Reply]:
        """One reply for each conversation."""

    def choice_scores(
        self, conversations: Sequence[Sequence[Message]], labels: Sequence[Sequence[str]]
    ) -> Sequence[Sequence[float]]:
        """The log-likelihood of each label as the reply."""


class ModelAnswerer:
    """Answers with a decoder in memory."""

    def __init__(self, decoder: "Decoder", tokenizer: "ChatTokenizer", decoding: "Decoding", *, progress: bool = False):
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
        from picochat.model.likelihood import choice_scores

        choices = [list(names) for names in labels]
        prompts = self._prompts(conversations)
        return choice_scores(self.decoder, self.tokenizer, prompts, choices, batch_size=self.decoding.batch_size)

    def _prompts(self, conversations: Sequence[Sequence[Message]]) -> list[list[int]]:
        lists = [list(messages) for messages in conversations]
        rendered = self.tokenizer.render_batch(lists, add_generation_prompt=True)
        context = self.decoder.config.max_position_embeddings
        for messages, prompt in zip(lists, rendered, strict=True):
            if len(prompt.ids) >= context:
                raise UserError(
                    f"the row that asks {messages[-1]['content'][:60]!r} has {len(prompt.ids)} tokens and leaves no "
                    f"room for a reply in the model's context of {context}; shorten it or take it out"
                )
        return [prompt.ids for prompt in rendered]


@dataclass(frozen=True)
class RowFile:
    """A file of rows, as reports name it."""

    path: str
    sha256: str
    rows: int

    @staticmethod
    def of(path: str | Path, rows: int) -> "RowFile":
        """The file as it is now."""
        return RowFile(str(path), sha256_file(path), rows)


@dataclass(frozen=True)
class Model:
    """A model folder, as reports name it: fingerprint of the weights, and where they came from.

    The fingerprint is the sha256 of model.safetensors, or of the shards' names and sha256 where there are several.
    """

    folder: str
    sha256: str
    provenance: dict[str, Any]

    @staticmethod
    def of(checkpoint: str | Path, provenance: Mapping[str, Any]) -> "Model":
        """The folder as it is now."""
        folder = Path(checkpoint)
        single = folder / "model.safetensors"
        shards = "".join(f"{path.name} {sha256_file(path)}\n" for path in sorted(folder.glob("*.safetensors")))
        return Model(str(folder), sha256_file(single) if single.is_file() else sha256_text(shards), dict(provenance))


@dataclass(frozen=True)
class Evaluation:
    """The replies of one model to the rows of a pack, in their order; lanes, gates and claims follow from them."""

    pack: RowFile
    model: Model
    settings: Mapping[str, Any]
    predictions: Sequence[Prediction]
    limits: Mapping[str, float] = field(default_factory=lambda: LIMITS)
    overlap: str = ""  # with the training rows of the model
    picochat: str = picochat.__version__

    @cached_property
    def overall(self) -> Lane:
        """All rows."""
        return count(self.predictions)

    def lanes(self, grouping: str) -> dict[str, Lane]:
        """The lanes of one of `lanes.GROUPINGS`."""
        return {name: count(rows) for name, rows in grouped(self.predictions, grouping).items()}

    @cached_property
    def gates(self) -> list[Gate]:
        """Every gate that the rows can decide."""
        return check_gates(self.predictions, self.limits)

    @cached_property
    def claims(self) -> list[Claim]:
        """What may be said of each benchmark profile."""
        return claims(self.predictions, self.gates)


def evaluate_checkpoint(
    input_path: str | Path,
    checkpoint: str | Path,
    *,
    tokenizer: str | Path | None = None,
    decoding: "Decoding | None" = None,
    device: str = "auto",
    precision: "Precision" = "auto",
    tally: Tally | None = None,
    limits: Mapping[str, float] = LIMITS,
    allow_overlap: bool = False,
    progress: bool = False,
) -> Evaluation:
    """Evaluate a model folder on an eval file; `tally` says how it is read, and gets what is to be said of it.

    Args:
        allow_overlap: evaluate although the model was trained on what eval rows ask; else that is refused.

    Raises:
        UserError: an unreadable input or checkpoint, or a tokenizer that is not the checkpoint's.
    """
    from picochat.model.engine import Decoding, load_model

    rows = load_eval_rows(input_path, tally)
    decoding = decoding or Decoding()
    loaded = load_model(checkpoint, tokenizer=tokenizer, device=device, precision=precision)
    overlap, gone = met_in_training(input_path, rows, loaded.provenance)
    if overlap and not allow_overlap:
        raise UserError(f"{overlap}; take them out, or add --allow-overlap to evaluate all the same")
    if gone:
        print(
            f"(not compared with what the model was trained on: {', '.join(gone)} changed, or is gone)", file=sys.stderr
        )
    answerer = ModelAnswerer(loaded.decoder, loaded.tokenizer, decoding, progress=progress)
    return Evaluation(
        pack=RowFile.of(input_path, len(rows)),
        model=Model.of(checkpoint, loaded.provenance),
        settings={**asdict(decoding), "device": device, "precision": precision},
        predictions=answer_rows(rows, answerer),
        limits=limits,
        overlap=overlap,
    )


def load_eval_rows(
    path: str | Path, tally: Tally | None = None, read: Iterable[tuple[int, Row]] | None = None
) -> list[Row]:
    """Read an eval file whose every check can be applied; `read` are its rows with their lines, where they are at hand.

    Raises:
        UserError: no such file, no rows, or a bad row, named by file and line.
    """
    if read is None:
        return read_rows(path, "eval", check_row, tally)
    for line, row in read:
        try:
            check_row(row)
        except ValueError as error:
            raise UserError(f"{path}:{line}: {error}") from error
    return [row for _, row in read]


def answer_rows(rows: Sequence[Row], answerer: Answerer) -> list[Prediction]:
    """Let the answerer answer every row and judge the replies; predictions come in the order of the rows."""
    written = [index for index, row in enumerate(rows) if not is_choice(row)]
    chosen = [index for index, row in enumerate(rows) if is_choice(row)]
    predictions: dict[int, Prediction] = {}
    if written:
        replies = answerer.reply([rows[index]["messages"] for index in written])
        for index, reply in zip(written, replies, strict=True):
            verdict = score(rows[index], reply.text, raw=reply.raw_text, finished=reply.finished)
            predictions[index] = _prediction(index, rows[index], verdict, reply.text, reply.raw_text, None)
    if chosen:
        labels = [rows[index]["choice_labels"] for index in chosen]
        scores = answerer.choice_scores([rows[index]["messages"] for index in chosen], labels)
        for index, names, values in zip(chosen, labels, scores, strict=True):
            verdict, by_label = score_choice(rows[index], values), dict(zip(names, values, strict=True))
            predictions[index] = _prediction(index, rows[index], verdict, verdict.candidate or "", None, by_label)
    return [predictions[index] for index in range(len(rows))]


def _prediction(
    index: int, row: Row, verdict: Verdict, reply: str, raw: str | None, scores: dict[str, float] | None
) -> Prediction:
    expected = row.get("answer") or row.get("correct_choice") or row.get("reference")
    more: dict[str, Any] = {"answerable": row.get("answerable"), "choice_scores": scores, "tags": tags_of(row)}
    more |= {"id": row.get("id"), "key": row.get("key"), "cluster": cluster_of(row), "prompt": prompt_text(row)}
    return Prediction(index, reply=reply, raw_reply=raw, expected=expected, **vars(verdict), **more)
