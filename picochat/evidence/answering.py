"""What answers conversations. In: a model in memory, a file of replies. Out: an `Answerer`. Next: evidence.evaluation.

    replies.jsonl   {"reply": "Final answer: 42"}                      a line a row, in the order of the eval file
                    {"id": "row-7", "reply": "…", "finished": false}   in any order; cut off at a limit
                    {"reply": "B"}, {"choice_scores": {"A": -0.1, "B": -3.2}}   for a row with choices

What `picochat generate --out` writes is such a file, and so is predictions.jsonl of an evaluation. A server answers in
evidence.server, a model of transformers in model.any_lm, the module that is being trained in callbacks.
"""

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from picochat.errors import UserError
from picochat.packs.records import iter_records
from picochat.packs.rows import Message, Row

if TYPE_CHECKING:
    from picochat.model.decoder import Decoder
    from picochat.model.engine import Decoding
    from picochat.model.tokenizer import ChatTokenizer

Conversations = Sequence[Sequence[Message]]


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

    def reply(self, conversations: Conversations) -> Sequence[Reply]:
        """One reply for each conversation."""

    def choice_scores(
        self, conversations: Conversations, labels: Sequence[Sequence[str]]
    ) -> Sequence[Sequence[float] | None]:
        """The log-likelihood of each label as the reply; None where it is not known."""


class ModelAnswerer:
    """Answers with a decoder in memory."""

    def __init__(self, decoder: "Decoder", tokenizer: "ChatTokenizer", decoding: "Decoding", *, progress: bool = False):
        self.decoder = decoder
        self.tokenizer = tokenizer
        self.decoding = decoding
        self.progress = progress

    def reply(self, conversations: Conversations) -> Sequence[Reply]:
        """Generate one reply for each conversation."""
        from picochat.model.generation import generate

        prompts = self._prompts(conversations)
        return generate(self.decoder, self.tokenizer, prompts, self.decoding, progress=self.progress)

    def choice_scores(self, conversations: Conversations, labels: Sequence[Sequence[str]]) -> Sequence[Sequence[float]]:
        """Score each label as the reply to its conversation."""
        from picochat.model.likelihood import choice_scores

        choices = [list(names) for names in labels]
        prompts = self._prompts(conversations)
        return choice_scores(self.decoder, self.tokenizer, prompts, choices, batch_size=self.decoding.batch_size)

    def nll(self, conversations: Sequence[Sequence[Message] | None]) -> list[float | None]:
        """Nats a token of the replies in conversations; None where there is none, or it does not fit the context."""
        from picochat.model.likelihood import reference_nll

        return reference_nll(self.decoder, self.tokenizer, conversations, self.decoding.batch_size)

    def _prompts(self, conversations: Conversations) -> list[list[int]]:
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
class Said:
    """A reply whose special tokens are not known; a `Reply`."""

    text: str
    finished: bool = True

    @property
    def raw_text(self) -> str:
        """The text."""
        return self.text


class FileAnswerer:
    """Hands out the replies of a JSONL file, as above, to the rows that were answered.

    Raises:
        UserError: a line that is no reply to its row, or too few or too many of them.
    """

    def __init__(self, path: str | Path, rows: Sequence[Row]) -> None:
        lines = list(iter_records(path))
        names = [str(line["id"]) for _, line in lines if isinstance(line, dict) and line.get("id") is not None]
        if lines and len(names) == len(lines):
            by_id = dict(zip(names, lines, strict=True))
            missing = [str(row.get("id")) for row in rows if str(row.get("id")) not in by_id]
            if missing:
                raise UserError(f"{path} has no reply to {len(missing)} of {len(rows)} rows, such as id {missing[0]!r}")
            lines = [by_id[str(row.get("id"))] for row in rows]
        if len(lines) != len(rows):
            raise UserError(f"{path} holds {len(lines)} replies to {len(rows)} rows; give one a row, or give them ids")
        self._lines: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for row, (number, line) in zip(rows, lines, strict=True):
            scores = line.get("choice_scores") if isinstance(line, dict) else None
            scored = isinstance(scores, dict) and all(
                isinstance(scores.get(label), int | float) for label in row.get("choice_labels") or [None]
            )
            if not scored and not (isinstance(line, dict) and isinstance(line.get("reply"), str)):
                said = line if isinstance(line, ValueError) else "holds no reply"
                raise UserError(
                    f'{path}:{number}: {said}; {{"reply": …}}, or {{"choice_scores": {{LABEL: …}}}}, is expected'
                )
            self._lines[key_of(row["messages"])].append({**line, "choice_scores": scores if scored else None})

    def reply(self, conversations: Conversations) -> list[Said]:
        """The reply to each conversation."""
        lines = [self._lines[key_of(messages)].pop(0) for messages in conversations]
        return [Said(line["reply"], line.get("finished", True)) for line in lines]

    def choice_scores(self, conversations: Conversations, labels: Sequence[Sequence[str]]) -> list[list[float] | None]:
        """The scores of the file, None where it has a reply in their place."""
        waiting = [self._lines[key_of(messages)] for messages in conversations]
        lines = [own.pop(0) if own[0]["choice_scores"] else None for own in waiting]
        pairs = zip(lines, labels, strict=True)
        return [[float(line["choice_scores"][name]) for name in names] if line else None for line, names in pairs]


def key_of(messages: Sequence[Message]) -> str:
    """A conversation as a key."""
    return json.dumps(list(messages), sort_keys=True)
