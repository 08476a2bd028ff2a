"""Rows of lanes that are read. In: lanes of files and data sets. Out: a `Pool` for each. Next: generation.

    rows ─► held out by the hash of their question, by split, or in a second file ─► train │ eval, with a check each
                                                                                       └─ what eval asks leaves train

A row keeps its own fields; its own category becomes its stage, the level below the lane, and its id its ``source_id``.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path

from picochat.errors import UserError
from picochat.files import sha256_text
from picochat.packs.formats import Reading, Tally, iter_rows, no_rows
from picochat.packs.hub import fetched, split_files
from picochat.packs.profiles import Lane, Profile
from picochat.packs.quotas import EVAL_SHARE, Side, split_of
from picochat.packs.rows import ASKED, Row, cluster_of, conversation, has_check, learns, normalised, questions
from picochat.packs.tasks.base import Draw


@dataclass
class Pool:
    """The rows of one lane; a training row may come `repeat` times."""

    name: str  # of the file or data set
    repeat: int
    train: list[Row] = field(default_factory=list)
    evaluation: list[Row] = field(default_factory=list)
    met: int = 0  # rows that were left out of training because eval rows ask them
    said: list[str] = field(default_factory=list)

    def capacity(self, side: Side) -> int:
        """How many rows it can give."""
        return len(self.train) * self.repeat if side == "train" else len(self.evaluation)

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
        self.met += len(self.train) - len(train)
        self.train = train

    def outcome(self) -> str:
        """What became of the rows, for the report."""
        met = [f"{self.met:,} left out of training, since eval rows ask them"] if self.met else []
        repeated = [f"each up to {self.repeat} times in training"] if self.repeat > 1 else []
        sides = f"{self.name}: {len(self.train):,} rows for training, {len(self.evaluation):,} held out"
        return "; ".join([sides, *met, *repeated, *self.said])


def read_pools(profile: Profile, hub_dir: Path | None, salt: str) -> dict[tuple[str, str], Pool]:
    """The pools of a profile by (component, lane); another salt holds out other questions."""

    def asked(row: Row) -> list[str]:  # the names under which what a row asks may stand on the other side
        return [cluster_of(row), *map(normalised, questions(row))]

    pools = {name: _read(profile, name, lane, hub_dir, salt) for name, lane in profile.lanes.items() if not lane.task}
    held_out = {name for pool in pools.values() for row in pool.evaluation for name in asked(row)}
    for pool in pools.values():
        pool.leave_out(lambda row: not held_out.isdisjoint(asked(row)))
    return pools


def _read(profile: Profile, name: tuple[str, str], lane: Lane, hub_dir: Path | None, salt: str) -> Pool:
    pool = Pool(lane.file or f"hub:{lane.hub}", lane.repeat)

    def read(file: str | None, split: str = "train", most: int | None = lane.rows) -> list[Row]:
        tally = Tally(Reading(**lane.reading or {}))
        try:
            files = [profile.file(file)] if file else map(fetched, split_files(lane.hub or "", split, hub_dir))
            found = chain.from_iterable(iter_rows(one, None, tally) for one in files)
            rows = [row for _, row in islice(found, most)]
        except UserError as error:
            raise error if file else UserError(f"hub:{lane.hub}, split {split}: {error}") from error
        for row in rows:  # a key, and other names where the lane gives its own
            row["key"] = row.get("key") or f"{ASKED}{sha256_text(cluster_of(row))[:16]}"
            moved = {"source_id": row.get("id"), "stage": row.get("stage") or row.get("category")}
            row |= {name: value for name, value in moved.items() if value}
        if not rows:
            raise no_rows(profile.file(file) if file else pool.name, tally.said())
        pool.said += tally.said()
        return rows

    splits = lane.split if isinstance(lane.split, Mapping) else {"train": lane.split or "train"}
    rows, held_out = read(lane.file, splits["train"]), list[Row]()
    if "eval" in splits and lane.hub:
        held_out = read(None, splits["eval"])
    elif lane.eval_file:
        held_out = read(lane.eval_file, most=None)
    total = len(rows) + len(held_out)
    if "eval" in splits and lane.file:
        rows, held_out = ([row for row in rows if row.get("split") == splits[side]] for side in ("train", "eval"))
    fixed = "eval" in splits or lane.eval_file is not None
    share = 0.0 if fixed else lane.hold_out
    if share is None:
        share = EVAL_SHARE if lane.check or any(map(has_check, rows)) else 0.0
    for row in rows:
        if split_of(cluster_of(row), share, salt) == "eval" and (asked := _as_eval(row, lane)):
            pool.evaluation.append(asked)
        elif (messages := conversation(row)) and learns(messages):
            pool.train.append({**row, "messages": messages})
    pool.evaluation += [asked for row in held_out if (asked := _as_eval(row, lane))]
    if (fixed or lane.hold_out) and not pool.evaluation:
        place = f"{profile.label}: components.{name[0]}.lanes.{name[1]}"
        raise UserError(f"{place}: none of the rows that it holds out has a check; give it `check:`, or hold more out")
    if unused := total - len(pool.train) - len(pool.evaluation):
        why = "without a reply to learn, held out without a check, or of another split"
        pool.said.append(f"{unused:,} on neither side ({why})")
    return pool


def _as_eval(row: Row, lane: Lane) -> Row | None:
    """A row to be answered; None where it asks nothing, or has no check and its lane has none for it."""
    messages = row["messages"]
    if messages[-1]["role"] == "assistant":
        row = {**row, "messages": messages[:-1], "reference": messages[-1]["content"]}
    elif messages[-1]["role"] != "user":
        return None
    if not has_check(row):
        checks, reply = dict(lane.check or {}), row.get("reference")
        exact = checks.get("exact")
        if reply and (exact is True or isinstance(exact, Mapping)):
            row = {**row, "answer": reply}
        if isinstance(exact, bool):
            del checks["exact"]
        row = {**row, "check": checks} if checks else row
    return row if has_check(row) else None
