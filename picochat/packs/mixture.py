"""Task packs. In: a dataset pack, a profile, a seed. Out: chat rows, eval rows, a report. Next: datamodules, evidence.

profile ─► plan: rows per component, category, stage ─► each side's problems ─► pose, check, tag
                                                                                      │
      dataset_pack.json (if promoted) ◄─ all files at once ◄─ report ◄─ contamination ◄┘
"""

import json
import os
import secrets
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Literal

from picochat import __version__
from picochat.errors import UserError, nearest
from picochat.files import refuse_existing, sha256_text, write_files
from picochat.packs.contamination import check
from picochat.packs.content import load_words
from picochat.packs.dataset_pack import DatasetPack, load_dataset_pack, promoted_text, seen_from
from picochat.packs.documents import iter_documents
from picochat.packs.generation import AnswerStyle, RowBuilder
from picochat.packs.hub import SourceReader
from picochat.packs.pack_report import TaskPackReport, closeness, counts
from picochat.packs.pools import read_pools
from picochat.packs.profiles import Profile, load_profile
from picochat.packs.records import refuse_other_kind
from picochat.packs.rows import dump_rows
from picochat.packs.tasks.base import Task
from picochat.packs.tasks.registry import load_task

Source = Literal["offline", "auto", "hub", "hf"]


def build_task_pack(
    dataset_pack: str | Path,
    *,
    profile: str | Profile = "capability",
    out_dir: str | Path | None = None,
    chat_out: str | Path | None = None,
    eval_out: str | Path | None = None,
    sft_rows: int = 1600,
    eval_rows: int = 320,
    source: Source = "offline",
    skill_answer_style: AnswerStyle = "scratchpad",
    seed: int = 42,
    split_salt: str = "",
    sealed: bool = False,
    force: bool = False,
    promote: bool = True,
    word_list: str | Path | None = None,
    hub_dir: str | Path | None = None,
) -> TaskPackReport:
    """Make the training and eval rows of a profile and write them with their report.

    Args:
        dataset_pack: the dataset_pack.json (or its folder) that the rows belong to.
        profile: release, capability, balanced, benchmark, a mixture file (my_mixture.yaml), a registered name, or
            module.name.
        out_dir: where the four files go; null takes the dataset pack's folder.
        chat_out: training rows; null writes OUT_DIR/chat_task_mixture_PROFILE.jsonl.
        eval_out: eval rows; null writes OUT_DIR/eval_task_mixture_PROFILE.jsonl.
        sft_rows: training rows, at least 32; the largest possible number where a file of the mixture is too short.
        eval_rows: eval rows, at least 16; as sft_rows.
        source: offline generates every row; hub (also hf) takes part of the benchmark component's rows from public data
            sets and fails if none loads; auto takes what loads and generates the rest.
        skill_answer_style: whether skills answer with their working (chain-of-thought) or directly.
        seed: decides the content.
        split_salt: another text holds out other problems; rows to train on and rows to evaluate on need the same.
        sealed: draw the salt at random, for an eval side that nobody tuned on; the report holds the salt.
        force: replace existing files.
        promote: point the dataset pack's chat and eval at the new files, unless the pack is contaminated.
        word_list: words for the spelling tasks, one a line; null takes the built-in list.
        hub_dir: snapshots of the data sets, read in place of the hub.

    Raises:
        UserError: bad input, existing outputs without ``force``, or more rows than there are; nothing was written.
    """
    if sft_rows < 32 or eval_rows < 16:
        raise UserError(f"--sft-rows must be at least 32 and --eval-rows at least 16, not {sft_rows} and {eval_rows}")
    if sealed and split_salt:
        raise UserError("--sealed draws a salt of its own; leave --split-salt out")
    source = "hub" if source == "hf" else source
    pack = load_dataset_pack(dataset_pack)
    mixture = profile if isinstance(profile, Profile) else load_profile(str(profile))
    public = source != "offline" and any(component.source == "asked" for component in mixture.components)
    folder = Path(out_dir) if out_dir is not None else pack.path.parent
    chat_path = Path(chat_out) if chat_out is not None else folder / f"chat_task_mixture_{mixture.name}.jsonl"
    eval_path = Path(eval_out) if eval_out is not None else folder / f"eval_task_mixture_{mixture.name}.jsonl"
    md_path, json_path = (folder / f"task_mixture_{mixture.name}.{kind}" for kind in ("md", "json"))
    written = [chat_path, eval_path, md_path, json_path]
    refuse_other_kind(chat_path)
    refuse_other_kind(eval_path)
    read = [pack.path, pack.corpus_path, word_list, mixture.path, *mixture.files.values()]
    _refuse_shared(read, written)
    refuse_existing(written, force=force)
    lanes = mixture.lanes.values()  # no setting is ignored: what has no effect is an error
    if word_list is not None and not any((lane.task or "").startswith("bench_spelling_") for lane in lanes):
        raise UserError(f"--word-list is for profiles that ask for spelling, not {mixture.name}; leave it out")
    if source == "hub" and not public:
        raise UserError(f"--source hub is for profiles that take rows of public data, not {mixture.name}; leave it out")
    if hub_dir is not None and not public and not any(lane.hub for lane in lanes):
        raise UserError("--hub-dir is for --source auto or hub, and profiles that take rows of public data")

    words = load_words(word_list) if word_list is not None else None
    salt = secrets.token_hex(8) if sealed else split_salt
    tasks = {lane.task: load_task(lane.task, words, salt) for lane in lanes if lane.task}
    _refuse_idle_gates(mixture, tasks)
    snapshots = Path(hub_dir) if hub_dir else None
    reader = SourceReader(source, snapshots) if public else None
    pools = read_pools(mixture, snapshots, salt)
    builder = RowBuilder(mixture, tasks, seed, skill_answer_style, reader, pools)
    train, evaluation = builder.build(sft_rows, eval_rows)
    if reader is not None:
        reader.insist()

    train_rows, asked_rows = ([made.row for made in side] for side in (train, evaluation))
    texts = {chat_path: dump_rows(train_rows), eval_path: dump_rows(asked_rows)}
    generated = [[made.row for made in side if not made.boilerplate] for side in (train, evaluation)]
    contamination = check(train, evaluation, *_corpus(pack))
    blocked = contamination["status"] == "blocked"
    data = {
        "profile": mixture.name,
        "dataset_pack": seen_from(pack.path, folder),
        "settings": {
            "sft_rows": sft_rows,
            "eval_rows": eval_rows,
            "source": source,
            "skill_answer_style": skill_answer_style,
            "seed": seed,
            "split_salt": salt,
            "word_list": None if word_list is None else Path(word_list).name,
        },
        "train": counts(train_rows),
        "eval": counts(asked_rows),
        "held_out": closeness(*generated),
        "mixture": mixture.described(),
        "sources": [*builder.outcomes, *(reader.outcomes if reader else [])],
        "contamination": contamination,
        "files": [{"path": seen_from(path, folder), "sha256": sha256_text(text)} for path, text in texts.items()],
        "promotion": "no (the pack is contaminated)" if blocked else "yes" if promote else "no (--no-promote)",
        "picochat_version": __version__,
    }
    report = TaskPackReport(chat_path, eval_path, md_path, json_path, promote and not blocked, data)
    named = {path.resolve() for path in (pack.chat_path, pack.eval_path) if path is not None}
    if promote and blocked and {chat_path.resolve(), eval_path.resolve()} & named:
        raise UserError(
            f"the new rows are contaminated ({(contamination['examples'] or [contamination['corpus']])[0]}), and "
            f"{pack.path} names the files that they would replace; nothing was written: take eval rows out of the "
            "corpus, or write elsewhere with --out-dir"
        )
    files = {**texts, md_path: report.markdown(), json_path: json.dumps(data, indent=2, ensure_ascii=False) + "\n"}
    if report.promoted:  # last, so that the pack never names files that are not there
        files[pack.path] = promoted_text(pack, chat_path, eval_path)
    write_files(files)
    return report


def _refuse_shared(read: Iterable[str | Path | None], written: Iterable[Path]) -> None:
    """Raise UserError if a file would be written that is read, or written as something else."""
    taken = {os.path.realpath(path) for path in read if path is not None}
    for path in written:
        place = os.path.realpath(path)
        if place in taken:
            raise UserError(f"{path} is named for two files; name another with --chat-out, --eval-out or --out-dir")
        taken.add(place)


def _refuse_idle_gates(mixture: Profile, tasks: Mapping[str, Task]) -> None:
    """Raise UserError if a gate is of nothing that rows are tagged with: a claim would be made without it."""
    known: dict[str, set[str]] = defaultdict(lambda: {"echo"})
    for part in mixture.components:
        for name, lane in part.lanes.items():
            category = tasks[name].category if lane.task == name else name
            skill = category.split("_")[1] if category.startswith("bench_") else category
            known[part.benchmark_profile] |= {category, skill}
    for part in mixture.components:
        names = sorted(known[part.benchmark_profile])
        if idle := [gate for gate in part.gate or {} if gate not in names]:
            place, close = f"{mixture.label}: components.{part.name}.gate.{idle[0]}", nearest(idle[0], names)
            raise UserError(f"{place}: is no lane or skill{close}; known are {', '.join(names)}")


def _corpus(pack: DatasetPack) -> tuple[Iterator[str] | None, str]:
    """The documents of the base corpus, or None and the reason in words."""
    path = pack.corpus_path
    if path is None:
        return None, "not checked: the dataset pack names no corpus file"
    if not path.exists():
        return None, f"not checked: {path.name} does not exist"
    from tqdm import tqdm  # 20 ms, only where there is something to wait for

    documents = tqdm(iter_documents(path), desc="comparing with the corpus", unit=" documents", disable=None)
    return (document.text for document in documents), f"checked: {path.name}"
