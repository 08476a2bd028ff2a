"""Rows of public data sets. In: the hub, or a folder of snapshots. Out: problems in our form. Next: generation.

Each source stands in for half of one skill of a component, as far as it has rows; what is missing is generated.

    skill      training                     evaluation
    choice     MMLU auxiliary_train         ARC Easy, ARC Challenge, MMLU test
    math       GSM8K train                  GSM8K test
    spelling   smol-smoltalk (chat)         -
"""

from collections.abc import Callable, Iterator, Mapping
from itertools import chain, islice
from pathlib import Path
from typing import Literal, NamedTuple

from picochat.errors import UserError
from picochat.packs.hub import fetched, split_files, why_unreachable
from picochat.packs.quotas import Side, largest_remainder
from picochat.packs.records import iter_records
from picochat.packs.shapes import rows_of
from picochat.packs.tasks.base import Draw, Problem

_LONGEST = 1000  # characters of prompt and reply together: longer rows would not fit a small model's context
_POOL = 10_000  # the records that rows are chosen from, at least (a split may have fewer) …
_TRIES = 20  # … and at least so many for each row wanted


class HubSource(NamedTuple):
    """One split of one data set."""

    name: str  # OWNER/NAME or OWNER/NAME:CONFIG
    split: str
    side: Side
    skill: str
    category: str

    @property
    def dataset(self) -> str:
        """OWNER/NAME."""
        return self.name.partition(":")[0]


SOURCES = (
    HubSource("HuggingFaceTB/smol-smoltalk", "train", "train", "spelling", "bench_chat_smoltalk"),
    HubSource("cais/mmlu:all", "auxiliary_train", "train", "choice", "bench_choice_mmlu"),
    HubSource("openai/gsm8k:main", "train", "train", "math", "bench_math_gsm8k"),
    HubSource("allenai/ai2_arc:ARC-Easy", "test", "eval", "choice", "bench_choice_arc_easy"),
    HubSource("allenai/ai2_arc:ARC-Challenge", "test", "eval", "choice", "bench_choice_arc_challenge"),
    HubSource("cais/mmlu:all", "test", "eval", "choice", "bench_choice_mmlu"),
    HubSource("openai/gsm8k:main", "test", "eval", "math", "bench_math_gsm8k"),
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
        self.mode, self.folder, self._loaded = mode, folder, 0
        self.outcomes: list[dict[str, str]] = []
        self._unreachable = None if folder is not None else why_unreachable()

    def rows(
        self, side: Side, skills: Mapping[str, int], draw: Draw, accept: Callable[[Problem], bool]
    ) -> Iterator[tuple[HubSource, Problem]]:
        """Up to half of each skill's rows; ``accept`` says whether a problem may be taken."""
        for skill, total in skills.items():
            sources = [source for source in SOURCES if source.side == side and source.skill == skill]
            for source, wanted in largest_remainder(total // 2, dict.fromkeys(sources, 1)).items() if sources else ():
                rows, failure = 0, ""
                try:
                    for problem in islice(filter(accept, self._problems(source, wanted, draw)), wanted):
                        rows += 1
                        yield source, problem
                except UserError as error:
                    failure = f", failed: {error}"
                self._loaded += rows
                said = f"{rows} of {wanted} {'training' if side == 'train' else 'eval'} rows{failure}"
                said += f"; {wanted - rows} generated offline instead" if rows < wanted else ""
                self.outcomes.append({"name": f"{source.name.replace(':', ' ')} {source.split}", "outcome": said})

    def insist(self) -> None:
        """Raise UserError if the mode is "hub" and nothing at all was read."""
        if self.mode == "hub" and self.outcomes and not self._loaded:
            failures = dict.fromkeys(f"{one['name']}: {one['outcome']}" for one in self.outcomes)
            raise UserError(f"--source hub loaded nothing ({'; '.join(failures)}); --source auto goes on without")

    def _problems(self, source: HubSource, wanted: int, draw: Draw) -> Iterator[Problem]:
        """The first question of each record and its reply, where they are short enough."""
        if self._unreachable:
            raise UserError(self._unreachable)
        files = map(fetched, split_files(source.name, source.split, self.folder))
        records = chain.from_iterable(map(iter_records, files))
        for _, record in draw.shuffled(list(islice(records, max(_POOL, _TRIES * wanted)))):
            try:
                (row,) = rows_of(record)
            except ValueError as error:
                raise UserError(f"a record is not in the known form: {error}") from error
            turns = [(turn["role"], turn["content"].strip()) for turn in row["messages"] if turn["role"] != "system"]
            if [role for role, _ in turns[:2]] != ["user", "assistant"]:
                continue
            (_, prompt), (_, reply) = turns[:2]
            label = row.get("correct_choice")
            checks = {name: row[name] for name in ("choice_labels", "correct_choice") if label}
            answer = label or row.get("answer", "")
            problem = Problem(prompt, answer or reply, answer, tuple(row.get("steps", ())), checks)
            if prompt and reply and len(prompt) + len(problem.scratchpad) <= _LONGEST:
                yield problem
