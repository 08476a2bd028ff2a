"""The runs of a study as command lines. In: a design, chat rows by lane. Out: `Run`s. Next: runner.

A lane that is out leaves its share of the draws to a placebo: corpus text, each row of as many tokens as a row of it.

    in           --input=spelling=0.25:spelling.jsonl    --input=placebo-spelling=0:placebo-spelling.jsonl
    out          --input=spelling=0:spelling.jsonl       --input=placebo-spelling=0.25:placebo-spelling.jsonl
    half of it   --input=spelling=0.125:spelling.jsonl   --input=placebo-spelling=0.125:placebo-spelling.jsonl

With the budget `rows` the run has fewer steps instead, with `pro_rata` more of the others. All runs name all files, so
that their tokens are made once; runs of one seed draw the same rows of a lane in the same order.
"""

import re
import shlex
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, cycle
from pathlib import Path
from typing import NamedTuple

from picochat.errors import UserError
from picochat.files import write_files
from picochat.model.tokenizer import ChatTokenizer
from picochat.packs.documents import iter_documents
from picochat.packs.formats import iter_rows
from picochat.packs.quotas import largest_remainder
from picochat.packs.rows import Row, dump_rows
from picochat.study.design import Design
from picochat.study.settings import Settings

REST = "rest"  # rows of no lane of the study: in every run
FLAGS = {  # command → its flags for the run's folder, the starting checkpoint, the one to resume from, and seeds
    "train": ("--out-dir", "--checkpoint", "--resume-from", "--seed"),
    "fit": ("--trainer.default_root_dir", "--model.checkpoint", "--ckpt_path", "--data.seed", "--seed_everything"),
}
_STEPS = ("--steps", "--max-steps", "--trainer.max-steps")
_OF_A_RUN = ("--input", "--steps", "--max-steps", "--epochs", "--sampling", "--shares")  # what lanes in and out decide


@dataclass(frozen=True)
class Run:
    """One training, from a checkpoint to evaluated replies."""

    name: str  # of its arm; runs of one arm differ by their seeds
    seed: int
    start: str  # model folder
    stages: tuple[tuple[str, ...], ...]  # `picochat train` or `fit` lines, without folders and starting checkpoints
    evaluate: tuple[str, ...]  # the `picochat eval chat` line, without checkpoint and folder


class LaneRows(NamedTuple):
    """The rows of a lane, and what a run draws of it: its share of the draws, and of their tokens."""

    rows: int
    share: float
    tokens: float


def lane_of(tags: Mapping[str, str], lanes: Sequence[str]) -> str | None:
    """The lane of a row: its category, or its component where the study has that as one lane; None outside of both."""
    named = (tags.get("category"), tags.get("mixture_component"))
    return next((name for name in named if name in lanes), None)


def all_lanes(chat: Path) -> list[str]:
    """The categories of chat rows, in their order."""
    found = dict.fromkeys(row.get("category") for _, row in iter_rows(chat, "chat"))
    if None in found or "" in found:
        raise UserError(f"{chat} has rows without a category; name the study's lanes, or tag the rows")
    return list(map(str, found))


def lane_files(chat: Path, corpus: Path, tokenizer: Path, lanes: Sequence[str], folder: Path) -> dict[str, LaneRows]:
    """Write the rows of each lane, and of `REST`, into LANE.jsonl of a folder, and placebos into placebo-LANE.jsonl."""
    names = [REST, *(_plain(name) for lane in lanes for name in (lane, f"placebo-{lane}"))]
    if twice := [name for name, times in Counter(names).items() if times > 1]:
        raise UserError(
            f"two of the lanes would have the file {twice[0]}.jsonl; name one of these categories otherwise"
        )
    if next(iter_documents(corpus), None) is None:
        raise UserError(f"{corpus} holds no text, and the placebo is corpus text")
    reader, by_lane = ChatTokenizer.load(tokenizer), defaultdict[str, list[Row]](list)
    for _, row in iter_rows(chat, "chat"):
        by_lane[lane_of(row, lanes) or REST].append(row)
    if missing := [lane for lane in lanes if lane not in by_lane]:
        raise UserError(f"{chat} has no rows of {missing[0]}; the study's lanes are categories or components of it")
    text = chain.from_iterable(reader.encode(document.text) for document in cycle(iter_documents(corpus)))
    tokens = {}
    for lane, rows in by_lane.items():
        tokens[lane] = sum(len(one.ids) for one in reader.render_batch(row["messages"] for row in rows))
        write_files({folder / f"{_plain(lane)}.jsonl": dump_rows(rows)})
        if lane != REST:
            placebo = dump_rows(_placebo(row, text, reader) for row in rows)
            write_files({folder / f"placebo-{_plain(lane)}.jsonl": placebo})
    drawn, all_tokens = sum(map(len, by_lane.values())), sum(tokens.values())
    return {lane: LaneRows(len(own), len(own) / drawn, tokens[lane] / all_tokens) for lane, own in by_lane.items()}


def make_runs(study: Settings, design: Design, files: Mapping[str, LaneRows], folder: Path, rows: Path) -> list[Run]:
    """A run for each row of the design; `lane_files` wrote the files into the folder, `rows` are the eval rows."""
    asked = _words(study.evaluate, "evaluate", "--input", "--checkpoint", "--out-dir")
    evaluate, runs = ("eval", "chat", "--input", str(rows), *asked), []
    for number, (signs, own_seed) in enumerate(zip(design.signs, design.seeds, strict=True)):
        seed = study.seed + own_seed
        if isinstance(study.arms, dict):
            name = list(study.arms)[number // study.seeds]
            stages = tuple(_stage(name, line, seed, not before) for before, line in enumerate(study.arms[name]))
        else:
            name = design.arms[number]
            line = training(study, dict(zip(design.lanes, signs, strict=True)), files, folder)
            stages = ((*line, f"--seed={seed}"),) if line else ()
        runs.append(Run(name, seed, study.checkpoint, stages, evaluate))
    return runs


def training(
    study: Settings, signs: Mapping[str, float], files: Mapping[str, LaneRows], folder: Path
) -> tuple[str, ...]:
    """The `train sft` line of a run that has these lanes; none where it has no rows, and the start is evaluated."""
    own = _words(study.train, "train", *FLAGS["train"], *_OF_A_RUN)
    parts = {lane: (1 + sign) / 2 for lane, sign in signs.items()} | ({REST: 1.0} if REST in files else {})
    drawn, steps = {lane: part * files[lane].share for lane, part in parts.items()}, study.steps
    if study.budget == "placebo":
        drawn |= {f"placebo-{lane}": (1 - parts[lane]) * files[lane].share for lane in signs}
    elif study.budget == "rows":
        unit = "share" if flags_of(own).get("--packing") == "separate" else "tokens"  # what a step has so many of
        steps = round(steps * sum(part * getattr(files[lane], unit) for lane, part in parts.items()))
    if not any(drawn.values()) or not steps:
        return ()
    shares = largest_remainder(10**6, drawn)
    plain = {_plain(name): f"{share / 10**6:.6f}" for name, share in shares.items()}
    inputs = [f"--input={name}={share}:{folder / name}.jsonl" for name, share in plain.items()]
    return ("train", "sft", "--val-fraction=0", *own, *inputs, f"--steps={steps}")


def flags_of(words: Sequence[str]) -> dict[str, str]:
    """The flags of a command line with their values, however they are spelt: `max_steps=5` → {"--max-steps": "5"}."""
    found, open_flag = dict[str, str](), ""
    for word in words:
        name, equals, value = word.partition("=")
        if word.startswith("--") or (equals and not open_flag):
            flag = "--" + name.removeprefix("--").replace("_", "-")
            found[flag], open_flag = value, "" if equals else flag
        elif open_flag:
            found[open_flag], open_flag = word, ""
    return found


def steps_said(stages: Iterable[Sequence[str]]) -> str:
    """The optimizer steps of these command lines together, as far as they say them."""
    own = [flags_of(stage) for stage in stages]
    steps = [next((flags[name] for name in _STEPS if name in flags), "") for flags in own]
    known = all(map(str.isdecimal, steps))
    return f"{sum(map(int, steps)):,} optimizer steps" if known else "optimizer steps as their configs say"


def _words(text: str, place: str, *filled: str) -> list[str]:
    """The words of a command line, which may have none of the flags that the study fills in."""
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise UserError(f"{place}: {text!r} is no command line: {error}") from None
    if held := [flag for flag in filled if flag.replace("_", "-") in flags_of(words)]:
        raise UserError(f"{place}: the study fills in {held[0]}; leave it out")
    return words


def _stage(arm: str, line: str, seed: int, first: bool) -> tuple[str, ...]:
    text = line.removeprefix("picochat ")
    if (command := text.partition(" ")[0]) not in FLAGS:
        raise UserError(f"arms: the stage {line!r} of {arm} begins with neither `train` nor `fit`")
    out, start, resume, *seeds = FLAGS[command]
    words = _words(text, f"arms.{arm}", out, resume, *seeds, *([] if first else [start]))
    return (*words, *(f"{flag}={seed}" for flag in seeds))


def _plain(lane: str) -> str:
    """A lane's name as that of a file, and as the name of an `--input`: only letters, digits, `_`, `.` and `-`."""
    return re.sub(r"[^\w.-]", "-", lane)


def _placebo(row: Row, text: Iterator[int], tokenizer: ChatTokenizer) -> Row:
    """The row with text of as many tokens in place of each message, to within a letter that is cut in two."""
    ids = [[next(text) for _ in tokenizer.encode(turn["content"])] for turn in row["messages"]]
    said = [tokenizer.decode(piece).replace("\ufffd", "") for piece in ids]
    turns = [{**turn, "content": one if one.strip() else "."} for turn, one in zip(row["messages"], said, strict=True)]
    return {"messages": turns}
