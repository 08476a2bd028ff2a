"""Rows of public data sets. In: the hub, or a folder of snapshots. Out: problems in our form. Next: generation.

Each source stands in for half of one skill of a component, as far as it has rows; what is missing is generated.

    skill      training                     evaluation
    choice     MMLU auxiliary_train         ARC Easy, ARC Challenge, MMLU test
    math       GSM8K train                  GSM8K test
    spelling   smol-smoltalk (chat)         -
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, Literal, NamedTuple

from picochat.errors import UserError
from picochat.packs.hub import read_records, why_unreachable
from picochat.packs.quotas import Side, largest_remainder
from picochat.packs.shapes import rows_of
from picochat.packs.tasks.base import Draw, Problem

LONGEST = 1000  # characters of prompt and reply together: longer rows would not fit a small model's context
_POOL = 10_000  # the records that rows are chosen from, at least (a split may have fewer) …
_TRIES = 20  # … and at least so many for each row wanted


class HubSource(NamedTuple):
    """One split of one data set."""

    dataset: str
    config: str | None
    split: str
    side: Side
    skill: str
    category: str


SOURCES = (
    HubSource("HuggingFaceTB/smol-smoltalk", None, "train", "train", "spelling", "bench_chat_smoltalk"),
    HubSource("cais/mmlu", "all", "auxiliary_train", "train", "choice", "bench_choice_mmlu"),
    HubSource("openai/gsm8k", "main", "train", "train", "math", "bench_math_gsm8k"),
    HubSource("allenai/ai2_arc", "ARC-Easy", "test", "eval", "choice", "bench_choice_arc_easy"),
    HubSource("allenai/ai2_arc", "ARC-Challenge", "test", "eval", "choice", "bench_choice_arc_challenge"),
    HubSource("cais/mmlu", "all", "test", "eval", "choice", "bench_choice_mmlu"),
    HubSource("openai/gsm8k", "main", "test", "eval", "math", "bench_math_gsm8k"),
)


class SourceReader:
    """Reads the sources of one pack; `outcomes` says what became of each, for the report.

    Args:
        mode: "auto" goes on without a source that fails; "hub" wants at least one to load.
        folder: snapshots to read in place of the hub.
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
                    if self._unreachable:
                        raise UserError(self._unreachable)
                    found = read_records(self.folder, *source[:3], max(_POOL, _TRIES * wanted))
                    for problem in islice(filter(accept, _problems(draw.shuffled(found))), wanted):
                        rows += 1
                        yield source, problem
                except UserError as error:
                    failure = str(error)
                said = f"{rows} of {wanted} {'training' if side == 'train' else 'eval'} rows"
                said += f", failed: {failure}" if failure else ""
                said += f"; {wanted - rows} generated offline instead" if rows < wanted else ""
                known = {"side": side, "wanted": wanted, "rows": rows, "failure": failure, "outcome": said}
                self.outcomes.append({"name": " ".join(filter(None, source[:3])), **known})

    def insist(self) -> None:
        """Raise UserError if the mode is "hub" and nothing at all was read."""
        if self.mode == "hub" and self.outcomes and not any(one["rows"] for one in self.outcomes):
            failures = dict.fromkeys(f"{one['name']}: {one['failure'] or 'no usable row'}" for one in self.outcomes)
            raise UserError(f"--source hub loaded nothing ({'; '.join(failures)}); --source auto goes on without")


def _problems(records: Iterable[dict[str, Any]]) -> Iterator[Problem]:
    """The first question of each record and its reply, where they are short enough."""
    for record in records:
        try:
            (row,) = rows_of(record)
        except ValueError as error:
            raise UserError(f"a record is not in the known form: {error}") from error
        turns = [(turn["role"], turn["content"].strip()) for turn in row["messages"] if turn["role"] != "system"][:2]
        if [role for role, _ in turns] != ["user", "assistant"]:
            continue
        (_, prompt), (_, reply) = turns
        label = row.get("correct_choice")
        checks = {name: row[name] for name in ("choice_labels", "correct_choice") if label}
        answer = label or row.get("answer", "")
        problem = Problem(prompt, answer or reply, answer, tuple(row.get("steps", ())), checks)
        if prompt and reply and len(prompt) + len(problem.scratchpad) <= LONGEST:
            yield problem
