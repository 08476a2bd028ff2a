"""Rows of public data sets. In: the hub, or a folder of snapshots. Out: problems in our form. Next: generation.

Each source stands in for half of one skill of a component, as far as it has rows; what is missing is generated.

    skill      training                     evaluation
    choice     MMLU auxiliary_train         ARC Easy, ARC Challenge, MMLU test
    math       GSM8K train                  GSM8K test
    spelling   smol-smoltalk (chat)         -

A folder of snapshots holds one folder per data set, by its full name or the last part of it, in the layout in which
the hub stores it: ``cais/mmlu/all/test-00000-of-00001.parquet``, ``gsm8k/main/train-00000-of-00001.parquet``.
"""

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from picochat.errors import UserError
from picochat.packs.hub import reason, snapshot_folder, why_unreachable
from picochat.packs.quotas import Side, largest_remainder
from picochat.packs.shapes import rows_of
from picochat.packs.tasks.base import Draw, Problem

LONGEST = 1000
"""Characters of prompt and reply together; longer rows would not fit a small model's context."""
_POOL = 10_000  # the records that rows are chosen from, at least (a split may have fewer) …
_TRIES = 20  # … and at least so many for each row wanted
Record = dict[str, Any]


@dataclass(frozen=True)
class HubSource:
    """One split of one data set."""

    dataset: str
    config: str | None
    split: str
    side: Side
    skill: str
    category: str

    def __str__(self) -> str:
        return " ".join(part for part in (self.dataset, self.config, self.split) if part)

    def key(self, problem: Problem) -> str:
        """The key of one of its problems."""
        return f"hub:{self.dataset}:{hashlib.sha256(problem.prompt.encode()).hexdigest()[:16]}"


class SourceReader:
    """Reads the sources of one pack and keeps a record of what happened.

    Args:
        mode: "auto" goes on without a source that fails; "hub" wants at least one to load.
        folder: snapshots to read in place of the hub.

    Attributes:
        outcomes: what became of each source, for the report; what is missing was generated.
    """

    def __init__(self, mode: Literal["offline", "auto", "hub"], folder: Path | None) -> None:
        if folder is not None and not folder.is_dir():
            raise UserError(f"--hub-dir {folder} is not a folder")
        self.mode, self.folder = mode, folder
        self.outcomes: list[dict[str, Any]] = []
        self._unreachable = None if folder is not None else why_unreachable()

    def rows(
        self, side: Side, skills: Mapping[str, int], draw: Draw, accept: Callable[[Problem], bool]
    ) -> Iterator[tuple[HubSource, Problem]]:
        """Up to half of each skill's rows; ``accept`` says whether a problem may be taken."""
        for skill, total in skills.items():
            sources = [source for source in SOURCES if source.side == side and source.skill == skill]
            for source, wanted in largest_remainder(total // 2, dict.fromkeys(sources, 1)).items() if sources else ():
                rows, failure = 0, None
                try:
                    problems = _problems(self._records(source, wanted, draw))
                    for problem in islice(filter(accept, problems), wanted):
                        rows += 1
                        yield source, problem
                except _UnavailableError as error:
                    failure = str(error)
                said = f"{rows} of {wanted} {'training' if side == 'train' else 'eval'} rows"
                said += f", failed: {failure}" if failure else ""
                said += f"; {wanted - rows} generated offline instead" if rows < wanted else ""
                known = {"name": str(source), "side": side, "wanted": wanted, "rows": rows, "failure": failure}
                self.outcomes.append({**known, "outcome": said})

    def insist(self) -> None:
        """Raise UserError if the mode is "hub" and nothing at all was read."""
        if self.mode == "hub" and self.outcomes and not any(one["rows"] for one in self.outcomes):
            failures = dict.fromkeys(f"{one['name']}: {one['failure'] or 'no usable row'}" for one in self.outcomes)
            raise UserError(f"--source hub loaded nothing ({'; '.join(failures)}); --source auto goes on without")

    def _records(self, source: HubSource, wanted: int, draw: Draw) -> list[Record]:
        """Enough records to choose from, in a random order."""
        if self._unreachable:
            raise _UnavailableError(self._unreachable)
        most = max(_POOL, _TRIES * wanted)
        return draw.shuffled(_load(self.folder, source.dataset, source.config, source.split, most))


class _UnavailableError(Exception):
    """A source cannot be read; the message says why, in one line."""


def read_records(folder: Path | None, dataset: str, config: str | None, split: str, most: int | None) -> list[Record]:
    """The first records of a split; a UserError where they cannot be read."""
    try:
        if folder is None and (why := why_unreachable()):
            raise _UnavailableError(f"{why}; --hub-dir reads a snapshot in its place")
        return _load(folder, dataset, config, split, most)
    except _UnavailableError as error:
        raise UserError(f"hub:{dataset}, split {split}: {error}") from error


def _load(folder: Path | None, dataset: str, config: str | None, split: str, most: int | None) -> list[Record]:
    files = _files(folder, dataset, config, split) if folder else []
    try:
        import datasets  # 2 s: only who asks for public data waits

        if files:
            kind = "parquet" if files[0].endswith(".parquet") else "json"
            stream = datasets.load_dataset(kind, data_files=files, split="train", streaming=True)
        else:
            stream = datasets.load_dataset(dataset, config, split=split, streaming=True)
        return list(islice(stream, most))
    except ImportError:
        raise _UnavailableError("the package datasets is not installed (pip install 'picochat[hub]')") from None
    except Exception as error:  # whatever the client's many back ends raise
        raise _UnavailableError(f"{type(error).__name__}: {reason(error)}") from error


def _problems(records: Iterable[Record]) -> Iterator[Problem]:
    """The first question of each record and its reply, where they are short enough."""
    for record in records:
        try:
            (row,) = rows_of(record)
        except ValueError as error:
            raise _UnavailableError(f"a record is not in the known form: {error}") from error
        turns = [(turn["role"], turn["content"].strip()) for turn in row["messages"] if turn["role"] != "system"][:2]
        roles, (prompt, reply) = [role for role, _ in turns], [text for _, text in (*turns, ("", ""), ("", ""))][:2]
        if roles != ["user", "assistant"] or not prompt or not reply:
            continue
        label = row.get("correct_choice")
        checks = {name: row[name] for name in ("choice_labels", "correct_choice") if label}
        answer = label or row.get("answer", "")
        problem = Problem(prompt, answer or reply, answer, tuple(row.get("steps", ())), checks)
        if len(problem.prompt) + len(problem.scratchpad) <= LONGEST:
            yield problem


def _files(folder: Path, dataset: str, config: str | None, split: str) -> list[str]:
    """A snapshot's files of one split: their path names the configuration, their name begins with the split's."""
    root = snapshot_folder(folder, dataset)
    if root is None:
        raise _UnavailableError(f"{folder} holds no folder {dataset} or {dataset.rpartition('/')[2]}")
    files = [
        str(file)
        for file in sorted(root.rglob("*"))
        if file.suffix in (".parquet", ".jsonl", ".json") and file.is_file()
        if re.match(rf"{split}\b", file.name) and (config is None or config in file.relative_to(root).parts[:-1])
    ]
    if not files:
        wanted = f"{config}/{split}" if config else split
        raise _UnavailableError(f"{root} holds no file {wanted}*.parquet, .jsonl or .json")
    return files


SOURCES = (
    HubSource("HuggingFaceTB/smol-smoltalk", None, "train", "train", "spelling", "bench_chat_smoltalk"),
    HubSource("cais/mmlu", "all", "auxiliary_train", "train", "choice", "bench_choice_mmlu"),
    HubSource("openai/gsm8k", "main", "train", "train", "math", "bench_math_gsm8k"),
    HubSource("allenai/ai2_arc", "ARC-Easy", "test", "eval", "choice", "bench_choice_arc_easy"),
    HubSource("allenai/ai2_arc", "ARC-Challenge", "test", "eval", "choice", "bench_choice_arc_challenge"),
    HubSource("cais/mmlu", "all", "test", "eval", "choice", "bench_choice_mmlu"),
    HubSource("openai/gsm8k", "main", "test", "eval", "math", "bench_math_gsm8k"),
)
