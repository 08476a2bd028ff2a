"""The files of a run's rows. In: inputs, a file of eval rows. Out: their tokens, and what they share. Next: base.

chat rows ──► tokens ─────────────────────────┐
    └─ does training ask what eval rows ask? ─┤ overlap-<sha256 of the files>.json: one line, "" where it does not
eval rows ──► tokens ─────────────────────────┘
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from picochat.datamodules.inputs import Input
from picochat.datamodules.store import TokenStore
from picochat.datamodules.tokenise import tokens_of_rows
from picochat.errors import UserError
from picochat.files import sha256_file, sha256_text, write_json
from picochat.model.tokenizer import ChatTokenizer
from picochat.packs.contamination import Overlap
from picochat.packs.formats import Reading, Tally, iter_rows
from picochat.packs.pack_report import in_one_pack
from picochat.packs.rows import Kind, Row
from picochat.strict_json import parse_json


@dataclass(frozen=True)
class RowFiles:
    """Files of chat rows, and one of eval rows.

    Args:
        chat: the files that are trained on.
        evaluation: the file of eval rows, if there is one.
        reading: how the chat rows are read.
        cache: folder for what is made of them.
    """

    chat: list[Input]
    evaluation: Path | None
    reading: Reading
    cache: Path

    @property
    def paths(self) -> list[Path]:
        """All files."""
        return [*(one.path for one in self.chat), *([self.evaluation] if self.evaluation else [])]

    @property
    def names(self) -> str:
        """The chat files, for messages."""
        return ", ".join(str(one.path) for one in self.chat)

    @cached_property
    def eval_rows(self) -> list[tuple[int, Row]]:
        """The eval rows with their lines, read once for all who ask."""
        if self.evaluation is None:
            raise UserError("there are no eval rows; give data.eval_input")
        return list(iter_rows(self.evaluation, "eval"))

    def stores(
        self, tokenizer: ChatTokenizer, *, verify: bool, overlap: Overlap | None = None
    ) -> dict[Kind, TokenStore]:
        """The tokens, made where they are missing; the rows that are read for that meet `overlap`."""
        cache, reading, meet = self.cache, self.reading, overlap.meet if overlap else None
        chat = tokens_of_rows(self.chat, "chat", tokenizer, cache, verify=verify, reading=reading, meet=meet)
        if self.evaluation is None:
            return {"chat": chat}
        rows = self._iter_eval_rows()
        return {
            "chat": chat,
            "eval": tokens_of_rows([Input(self.evaluation)], "eval", tokenizer, cache, verify=verify, rows=rows),
        }

    def prepare(self, tokenizer: ChatTokenizer, *, compare: bool) -> None:
        """Make the tokens, and compare the files where that was not done yet."""
        overlap = None
        if compare and self.evaluation and not (self._result.exists() or in_one_pack(self.evaluation, self.hashes)):
            overlap = Overlap(self.evaluation, self.eval_rows)
        self.stores(tokenizer, verify=True, overlap=overlap)
        if overlap:
            for one in () if overlap.compared else self.chat:  # the tokens were there
                for line, row in iter_rows(one.path, "chat", Tally(self.reading)):
                    overlap.meet(f"{one.path}:{line}", row)
            write_json(self._result, overlap.said())

    def overlap(self) -> str:
        """What `Overlap.said` says, "" where the files were not compared."""
        found = self.evaluation and self._result.exists()
        return str(parse_json(self._result.read_bytes())) if found else ""

    @cached_property
    def hashes(self) -> list[str]:
        """The sha256 of each chat file, and of the file of eval rows."""
        try:
            return list(map(sha256_file, self.paths))
        except OSError as error:
            raise UserError(f"cannot read {error.filename}: {error.strerror}") from error

    @property
    def trained_on(self) -> list[dict[str, Any]]:
        """The chat files, for the provenance of a model."""
        reading = asdict(self.reading)
        found = zip(self.chat, self.hashes, strict=False)
        return [{"path": str(one.path), "sha256": sha256, "reading": reading} for one, sha256 in found]

    @property
    def _result(self) -> Path:
        key = sha256_text(" ".join([str(self.reading), *self.hashes]))
        return self.cache / f"overlap-{key[:20]}.json"

    def _iter_eval_rows(self) -> Iterator[tuple[int, Row]]:
        yield from self.eval_rows  # read when the first is asked for, if ever
