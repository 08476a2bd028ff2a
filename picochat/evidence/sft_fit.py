"""Memorisation or generalisation? In: a checkpoint, its training rows, held-out rows. Out: a `Fit`. Next: report.

                          train side                   held-out side
    by generation         exact reproduction, answer correct
    by teacher forcing    token accuracy, nll a token (nats), given the right reply so far

    train 100 %, held-out 98 %    the skill generalises
    train 100 %, held-out 20 %    the rows were memorised
    train  30 %, held-out 28 %    not learnt yet
    train  52 %, held-out 26 %    undecided where 23 rows a side stand behind it: the gap may be -2 or +49 points

Both sides are sampled alike: as many rows of each category as `max_rows` allows, chosen by the seed.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import chain, zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import picochat
from picochat.errors import UserError
from picochat.evidence.answering import Answerer, ModelAnswerer
from picochat.evidence.clusters import ClusteredRate, Interval, difference_of_sets
from picochat.evidence.evaluation import Model, RowFile, answer_rows
from picochat.evidence.lanes import Prediction, group_by, grouped, lane_of, rate_of
from picochat.evidence.scoring import Policy
from picochat.files import sha256_file
from picochat.model.engine import Decoding, Precision, load_model
from picochat.packs.formats import Tally, read_rows
from picochat.packs.rows import Message, Row, check_row, conversation, has_check, learns

if TYPE_CHECKING:
    from picochat.model.likelihood import Forced

SIDES = ("train", "held_out")
MARGIN = 0.10  # a lane transfers where the interval rules out a gap of this share

Forcer = Callable[[Sequence[Sequence[Message]]], Sequence["Forced"]]


@dataclass(frozen=True, kw_only=True)
class FitRow(Prediction):
    """One row as it was measured; one line of predictions.jsonl."""

    side: str
    reference: str | None
    exact: bool | None  # None without a reference
    correct: bool | None  # None where no check of the row could fail, or the rules do not read the reply
    tokens: int | None
    tokens_right: int | None


@dataclass(frozen=True)
class Side:
    """One side of a lane; None where no row of it has a reference, a check, or tokens."""

    n: int
    exact: ClusteredRate | None
    correct: ClusteredRate | None
    tokens: int
    token_accuracy: float | None
    nll: float | None


@dataclass(frozen=True)
class LaneFit:
    """Both sides of one lane; a side without rows is None."""

    train: Side | None
    held_out: Side | None
    gap: float | None  # train minus held-out in correct answers; None where a side has none to check
    ci95: Interval | None
    verdict: str  # "unknown" where there is no gap; "transfers", "memorised", "not learnt" or "undecided"


@dataclass(frozen=True)
class Fit:
    """How well a model fits its training rows, and how well that carries over to held-out rows."""

    pack: RowFile
    held_out: RowFile | None
    model: Model
    settings: dict[str, Any]
    rows: list[FitRow]
    picochat: str = picochat.__version__

    @property
    def lanes(self) -> dict[str, LaneFit]:
        return {name: compare_sides(rows) for name, rows in grouped(self.rows, "by_category").items()}

    @property
    def overall(self) -> LaneFit:
        return compare_sides(self.rows)


def measure_fit(
    input_path: str | Path,
    checkpoint: str | Path,
    *,
    eval_input: str | Path | None = None,
    max_rows: int = 512,
    tokenizer: str | Path | None = None,
    decoding: Decoding | None = None,
    device: str = "auto",
    precision: Precision = "auto",
    tally: Tally | None = None,
    progress: bool = False,
) -> Fit:
    """Measure both sides.

    Args:
        input_path: the chat rows of the training, read as `tally` says.
        checkpoint: a model folder, loaded with `tokenizer`, `device` and `precision`.
        eval_input: held-out rows; null takes the eval file beside the input: eval_X.jsonl for chat_X.jsonl.
        max_rows: rows measured of each side; fewer than 35 a lane cannot rule a gap of `MARGIN` out.
    """
    from picochat.model.likelihood import teacher_forced

    if max_rows < 1:
        raise UserError(f"--max-rows must be at least 1, not {max_rows}")
    decoding = decoding or Decoding()
    rows = read_rows(input_path, "chat", check_row, tally)
    taught = [row for row in rows if row["messages"][-1]["role"] == "assistant" and learns(row["messages"])]
    sides = [("train", Path(input_path), taught)]
    beside = Path(input_path).with_name("eval_" + Path(input_path).name.removeprefix("chat_"))
    if eval_input or beside.is_file():
        held_out = Path(eval_input or beside)
        sides.append(("held_out", held_out, read_rows(held_out, "eval")))
    loaded = load_model(checkpoint, tokenizer=tokenizer, device=device, precision=precision)
    answerer = ModelAnswerer(loaded.decoder, loaded.tokenizer, decoding, progress=progress)
    forcer = partial(teacher_forced, loaded.decoder, loaded.tokenizer, batch_size=decoding.batch_size)
    measured, files = list[FitRow](), dict[str, RowFile]()
    for side, path, rows in sides:
        picked = pick_rows(rows, max_rows, decoding.seed)
        own = measure_rows(side, [rows[index] for index in picked], answerer, forcer, Policy.of(rows, path))
        measured += [replace(row, index=index) for row, index in zip(own, picked, strict=True)]
        files[side] = RowFile(str(path), sha256_file(path), len(rows))
    settings = {**asdict(decoding), "max_rows": max_rows, "device": device, "precision": precision}
    return Fit(files["train"], files.get("held_out"), Model.of(checkpoint, loaded.provenance), settings, measured)


def pick_rows(rows: Sequence[Row], max_rows: int, seed: int) -> list[int]:
    """Indices of at most `max_rows` rows, in file order: of categories of 2, 50 and 50 rows, 42 are 2, 20 and 20."""
    lanes = group_by(range(len(rows)), lambda index: lane_of(rows[index], "by_category"))
    shuffled = [random.Random(f"{seed}/sft-fit/{name}").sample(own, len(own)) for name, own in lanes.items()]
    dealt = [index for index in chain(*zip_longest(*shuffled)) if index is not None]
    return sorted(dealt[:max_rows])


def measure_rows(side: str, rows: Sequence[Row], answerer: Answerer, forcer: Forcer, policy: Policy) -> list[FitRow]:
    """Answer and teacher-force the rows of one side; replies are judged as `eval chat` judges them."""
    full = list(map(conversation, rows))
    forced = iter(forcer([messages for messages in full if messages]) if rows else ())
    measured = []
    for row, messages, said in zip(rows, full, answer_rows(list(map(_question, rows)), answerer, policy), strict=True):
        reference = messages[-1]["content"] if messages else None
        exact = None if reference is None else said.reply.strip() == reference.strip() and "length" not in said.reasons
        nll, tokens, right = next(forced) if messages else (0.0, None, None)
        own: dict[str, Any] = {**vars(said), "nll": nll / tokens if tokens else None}
        own |= {"correct": said.passed if has_check(row) and said.judged else None}
        own |= {"side": side, "reference": reference, "exact": exact, "tokens": tokens, "tokens_right": right}
        measured.append(FitRow(**own))
    return measured


def _question(row: Row) -> Row:
    """The row as an eval row: without the reply that is to be reproduced; a choice is answered by its label."""
    messages: list[Message] = row["messages"]
    question = dict(row)
    if messages[-1]["role"] == "assistant":
        question |= {"messages": messages[:-1], "reference": messages[-1]["content"]}
    choice = question.pop("correct_choice", None)
    return question | {"answer": question.get("answer") or choice}


def compare_sides(rows: Sequence[FitRow]) -> LaneFit:
    """Both sides of a lane beside each other."""
    sides = {side: _side([row for row in rows if row.side == side]) for side in SIDES}
    train, held_out = (side.correct if side else None for side in sides.values())
    if train is None or held_out is None:
        return LaneFit(**sides, gap=None, ci95=None, verdict="unknown")
    ends = difference_of_sets(train, held_out)
    if ends is None:
        verdict = "undecided"
    elif ends.low > 0 and ends.high >= MARGIN:  # a gap that is surely there and surely small is none to speak of
        verdict = "memorised"
    elif train.rate < 0.5:
        verdict = "not learnt"
    else:
        verdict = "transfers" if ends.high < MARGIN else "undecided"
    return LaneFit(**sides, gap=train.rate - held_out.rate, ci95=ends, verdict=verdict)


def _side(rows: Sequence[FitRow]) -> Side | None:
    if not rows:
        return None
    tokens = sum(row.tokens or 0 for row in rows)
    exact, correct = ([row for row in rows if getattr(row, name) is not None] for name in ("exact", "correct"))
    return Side(
        n=len(rows),
        exact=rate_of(exact, [bool(row.exact) for row in exact]),
        correct=rate_of(correct, [bool(row.correct) for row in correct]),
        tokens=tokens,
        token_accuracy=sum(row.tokens_right or 0 for row in rows) / tokens if tokens else None,
        nll=sum((row.nll or 0.0) * (row.tokens or 0) for row in rows) / tokens if tokens else None,
    )
