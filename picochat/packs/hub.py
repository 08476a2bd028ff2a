"""Data sets of the Hugging Face hub. In: OWNER/NAME and a split. Out: its files, or problems. Next: pools, generation.

Files are fetched one by one, when they are read, into the hub's own cache, from which an interrupted import goes on.
In place of the hub a folder of snapshots may hold one folder per data set, by its full name or the last part of it, in
the hub's layout: ``cais/mmlu/all/test-00000-of-00001.parquet``, ``gsm8k/main/train-00000-of-00001.parquet``.

Each of `SOURCES` stands in for half of one skill of a component, as far as it has rows; what is missing is generated.
"""

import os
import re
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from itertools import chain, islice
from pathlib import Path
from typing import Literal, NamedTuple

from picochat.errors import UserError
from picochat.packs.quotas import Side, largest_remainder
from picochat.packs.records import file_kind, iter_records
from picochat.packs.shapes import rows_of
from picochat.packs.tasks.base import Draw, Problem

_NAMED = re.compile(r"\w*?(train|test|valid|dev)")  # a file that is named after a split
_PLACE = re.compile(r"hf://datasets/([^@]+)@([^/]+)/(.+)")  # data set, commit, path
_LONGEST = 1000  # characters of prompt and reply together: longer rows would not fit a small model's context
_POOL = 10_000  # the records that rows are chosen from, at least (a split may have fewer) …
_TRIES = 20  # … and at least so many for each row wanted


def split_files(name: str, split: str, folder: Path | None) -> list[str]:
    """The files of a split of OWNER/NAME or OWNER/NAME:CONFIG, in order, for `fetched`; UserError: why there are none.

    `folder` holds snapshots that are read in place of the hub.
    """
    dataset, _, config = name.partition(":")
    if folder is not None:
        return _snapshot_files(folder, dataset, config, split)
    if why := why_unreachable():
        raise UserError(f"{why}; --hub-dir reads a snapshot in its place")
    try:
        import datasets  # 2 s: only who asks for public data waits

        return list(map(str, datasets.load_dataset_builder(dataset, config or None).config.data_files[split]))
    except ImportError:
        raise UserError("the package datasets is not installed (pip install 'picochat[hub]')") from None
    except Exception as error:  # anything: of the network, or of data sets in other forms
        raise UserError(f"cannot be loaded: {_reason(error)}") from error


def revision_of(place: str) -> str | None:
    """The commit that a file of the hub is of; None for one of a snapshot."""
    found = _PLACE.fullmatch(place)
    return found[2] if found else None


def fetched(place: str) -> Path:
    """The file on this machine, which may have to be fetched."""
    if not (found := _PLACE.fullmatch(place)):
        return Path(place)
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(found[1], found[3], revision=found[2], repo_type="dataset"))
    except Exception as error:  # whatever the client's many layers raise
        raise UserError(f"{place} cannot be fetched: {_reason(error)}; the files before it are kept") from error


def why_unreachable() -> str | None:
    """Why no data set can come from the hub, or None: the client's own retries would take half a minute for each."""
    if os.environ.get("HF_HUB_OFFLINE") or os.environ.get("HF_DATASETS_OFFLINE"):
        return None  # only what the client has in its cache; it says so itself, and at once
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    try:
        urllib.request.urlopen(urllib.request.Request(endpoint, method="HEAD"), timeout=5).close()
    except urllib.error.HTTPError:
        return None  # it answered
    except (OSError, ValueError) as error:
        return f"the hub cannot be reached ({getattr(error, 'reason', error)})"
    return None


def _snapshot_files(folder: Path, dataset: str, config: str, split: str) -> list[str]:
    """Those whose path names the configuration and whose name begins with the split's; where none is named after any
    split, all are for training."""
    if not folder.is_dir():
        raise UserError(f"--hub-dir {folder} is not a folder")
    last = dataset.rpartition("/")[2]
    cached = sorted(folder.glob(f"datasets--{dataset.replace('/', '--')}/snapshots/*"))
    places = (folder / dataset, folder / dataset.replace("/", "--"), folder / last, *cached)
    root = next((place for place in places if place.is_dir()), None)
    if root is None:
        raise UserError(f"{folder} holds no folder {dataset} or {last}")
    kinds = (".parquet", ".jsonl", ".json", ".csv")
    files = [file for file in sorted(root.rglob("*")) if file_kind(file) in kinds and file.is_file()]
    files = [file for file in files if not config or config in file.relative_to(root).parts[:-1]]
    found = [file for file in files if re.match(rf"{re.escape(split)}\b", file.name)]
    if split == "train" and not any(_NAMED.match(file.name) for file in files):
        found = [file for file in files if file_kind(file) != ".json"]  # which may be settings
    if not found:
        wanted = f"{config}/{split}" if config else split
        raise UserError(f"{root} holds no file {wanted}*.parquet, .jsonl, .json or .csv")
    return list(map(str, found))


def _reason(error: Exception) -> str:
    """The first line of what a client of the hub says."""
    return next((line for line in str(error).strip().splitlines() if line), type(error).__name__)


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
