"""Rows of lanes that are read. In: lanes of files and data sets. Out: a `Pool` for each. Next: generation.

    rows ─► held out by the hash of their question, by split, or in a second file ─► train │ eval, with a check each
                                                                                       └─ what eval asks leaves train

A row keeps its own fields; its own category becomes its stage, the level below the lane, and its id its ``source_id``.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from picochat.errors import UserError
from picochat.files import sha256_text
from picochat.packs.profiles import CHECKS, Lane, Profile
from picochat.packs.quotas import EVAL_SHARE, Side, split_of
from picochat.packs.rows import (
    Row,
    cluster_of,
    conversation,
    has_check,
    no_rows,
    normalised,
    parse_lines,
    parse_row,
    questions,
    validate_row,
)
from picochat.packs.sources import read_records
from picochat.packs.tasks.base import Draw

_LEFT_OUT = {"unchecked": "held out without a check", "met": "left out of training, since eval rows ask them"}


@dataclass
class Pool:
    """The rows of one lane.

    Attributes:
        name: of the file or data set.
        repeat: how often a training row may come.
        train, evaluation: the rows of each side.
        left_out: reason → rows.
    """

    name: str
    repeat: int
    train: list[Row]
    evaluation: list[Row]
    left_out: Counter[str] = field(default_factory=Counter)

    def deal(self, side: Side, count: int, draw: Draw) -> list[Row]:
        """So many rows in a random order; a row comes again only after all the others came."""
        rows = self.train if side == "train" else self.evaluation
        dealt: list[Row] = []
        while len(dealt) < count:
            dealt += draw.shuffled(rows)
        return dealt[:count]

    def leave_out(self, asked: Callable[[Row], bool]) -> None:
        """Keep what eval rows ask out of training."""
        train = [row for row in self.train if not asked(row)]
        self.left_out["met"] += len(self.train) - len(train)
        self.train = train

    def outcome(self) -> str:
        """What became of the rows, for the report."""
        sides = f"{self.name}: {len(self.train):,} rows for training, {len(self.evaluation):,} held out"
        repeated = [f"each up to {self.repeat} times in training"] if self.repeat > 1 else []
        return "; ".join(
            [sides, *repeated, *(f"{rows:,} {_LEFT_OUT[why]}" for why, rows in self.left_out.items() if rows)]
        )


def read_pools(profile: Profile, hub_dir: Path | None, salt: str) -> dict[tuple[str, str], Pool]:
    """The pools of a profile by (component, lane); another salt holds out other questions.

    Raises:
        UserError: a file or data set cannot be read, or a lane's held-out rows have no check.
    """
    pools = {
        name: _read(profile, "components.{}.lanes.{}".format(*name), lane, hub_dir, salt)
        for name, lane in profile.lanes.items()
        if not lane.task
    }
    held_out = {asked for pool in pools.values() for row in pool.evaluation for asked in _asked(row)}
    for pool in pools.values():
        pool.leave_out(lambda row: not held_out.isdisjoint(_asked(row)))
    return pools


def _asked(row: Row) -> Iterable[str]:
    """The names under which what a row asks may stand on the other side."""
    return [cluster_of(row), *map(normalised, questions(row))]


def _read(profile: Profile, key: str, lane: Lane, hub_dir: Path | None, salt: str) -> Pool:
    train, held_out, share = _sides(profile, lane, hub_dir)
    if share is None:
        share = 0.0 if lane.hold_out is None and not (lane.check or any(map(has_check, train))) else EVAL_SHARE
    pool = Pool(lane.file or f"hub:{lane.hub}", lane.repeat, [], [])
    for row in train:
        asked = _as_eval(row, lane) if split_of(cluster_of(row), share, salt) == "eval" else None
        if asked:
            pool.evaluation.append(asked)
        elif messages := conversation(row):
            pool.train.append({**row, "messages": messages})
    pool.evaluation += [asked for row in held_out if (asked := _as_eval(row, lane))]
    pool.left_out["unchecked"] = len(held_out) - len(pool.evaluation) if held_out else 0
    if (held_out or lane.hold_out) and not pool.evaluation:
        remedy = "give it `check:`, or hold out more"
        raise UserError(f"{profile.label}: {key}: none of the rows that it holds out has a check; {remedy}")
    return pool


def _sides(profile: Profile, lane: Lane, hub_dir: Path | None) -> tuple[list[Row], list[Row], float | None]:
    """The rows, those that are held out whatever they ask, and the share of the rows to hold out by hash."""
    splits = dict(lane.split) if isinstance(lane.split, Mapping) else {}
    if lane.hub and splits:
        return _hub_rows(lane, splits["train"], hub_dir), _hub_rows(lane, splits["eval"], hub_dir), 0.0
    if lane.hub:
        rows = _hub_rows(lane, str(lane.split or "train"), hub_dir)
    else:
        rows = _file_rows(profile.file(lane.file or ""), lane.rows)
    if lane.eval_file:
        return rows, _file_rows(profile.file(lane.eval_file), None), 0.0
    if splits:
        train, held_out = ([row for row in rows if row.get("split") == splits[side]] for side in ("train", "eval"))
        return train, held_out, 0.0
    return rows, [], lane.hold_out


def _file_rows(file: Path, most: int | None) -> list[Row]:
    rows = [_own_fields(row) for _, row in islice(parse_lines(file, _chat_or_prompt), most)]
    if not rows:
        raise no_rows(file)
    return rows


def _chat_or_prompt(line: bytes) -> Row:
    try:
        return parse_row(line, "chat")
    except ValueError as error:
        try:
            return parse_row(line, "prompt")
        except ValueError:
            raise error from None


def _hub_rows(lane: Lane, split: str, hub_dir: Path | None) -> list[Row]:
    dataset, _, config = (lane.hub or "").partition(":")
    rows = []
    for number, record in enumerate(read_records(hub_dir, dataset, config or None, split, lane.rows), start=1):
        try:
            rows.append(_own_fields(validate_row(record, "chat")))
        except ValueError as error:
            raise UserError(f"hub:{lane.hub}, split {split}, row {number}: {error}") from error
    return rows


def _own_fields(row: Row) -> Row:
    """A row with a key, and without the names that its lane gives it."""
    key = row.get("key") or f"asked:{sha256_text(cluster_of(row))[:16]}"
    moved = {"source_id": row.get("id"), "stage": row.get("stage") or row.get("category")}
    return {**row, "key": key, **{name: value for name, value in moved.items() if value}}


def _as_eval(row: Row, lane: Lane) -> Row | None:
    """A row to be answered; None where it has no check and its lane has none for it."""
    messages = row["messages"]
    if messages[-1]["role"] == "assistant":
        row = {**row, "messages": messages[:-1], "reference": messages[-1]["content"]}
    if not has_check(row):
        checks = {CHECKS[name][0]: value for name, value in (lane.check or {}).items()}
        if checks.pop("answer", False) and row.get("reference"):
            checks["answer"] = row["reference"]
        row = {**row, **checks}
    return row if has_check(row) else None
