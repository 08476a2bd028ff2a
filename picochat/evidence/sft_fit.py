"""Memorised or transferred? In: a checkpoint, its training rows, held-out rows. Out: the fit report. Next: fit_report.

                          train side                   held-out side
    by generation         exact reproduction, answer correct
    by teacher forcing    token accuracy, nll a token (nats), given the right reply so far

    train 100 %, held-out 98 %    the skill was learnt
    train 100 %, held-out 20 %    the rows were learnt by heart
    train  30 %, held-out 28 %    not learnt yet
    train  52 %, held-out 26 %    undecided where 23 rows a side stand behind it: the gap may be -2 or +49 points

Both sides are sampled alike: as many rows of each category as `max_rows` allows, chosen by the seed.
"""

import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import picochat
from picochat.errors import UserError
from picochat.evidence.evaluation import Answerer, ModelAnswerer, describe_model, load_eval_rows
from picochat.evidence.lanes import SKILL_NAMES, UNTAGGED, percent, skill
from picochat.evidence.scoring import check_row, score
from picochat.evidence.stats import difference, wilson
from picochat.files import sha256_file
from picochat.model.engine import Decoding, load_model
from picochat.packs.dataset_pack import load_dataset_pack
from picochat.packs.rows import (
    LANE_FIELDS,
    TAGS,
    Message,
    Row,
    conversation,
    has_check,
    prompt_text,
    read_rows,
    tag_name,
)

if TYPE_CHECKING:
    from picochat.model.decoder import Decoder
    from picochat.model.tokenizer import ChatTokenizer

SIDES = ("train", "held_out")
FIT_GROUPINGS = {f"by_{tag_name(field)}": field for field in LANE_FIELDS if field != "mixture_profile"}
MARGIN = 0.10  # a lane transfers where the interval rules out a gap of this share
VERDICTS = {  # of a lane → what it means
    "transfers": f"learnt, and any gap to held-out rows is below {100 * MARGIN:g} points",
    "memorised": "memorised beyond what transfers",
    "not learnt": "not learnt yet",
    "undecided": f"undecided, with no gap shown and not enough rows to call it below {100 * MARGIN:g} points",
    "unknown": "no answers to check on both sides",
}


class Forced(NamedTuple):
    """Teacher forcing of one conversation: nll in nats over `tokens` supervised tokens, `right` of them likeliest."""

    nll: float
    tokens: int
    right: int


Forcer = Callable[[Sequence[Sequence[Message]]], Sequence[Forced]]


@dataclass(frozen=True)
class FitRow:
    """One row as it was measured; one line of predictions.jsonl.

    `reference`, `exact` and the three of teacher forcing are None where the row has no reference, `correct` where it
    has no check that a generated reply could fail.
    """

    side: str
    index: int
    id: str | None
    prompt: str
    reference: str | None
    reply: str
    exact: bool | None
    correct: bool | None
    reasons: tuple[str, ...]
    nll: float | None
    tokens: int | None
    tokens_right: int | None
    tags: dict[str, str]


def measure_fit(
    input_path: str | Path,
    checkpoint: str | Path,
    *,
    eval_input: str | Path | None = None,
    max_rows: int = 512,
    tokenizer: str | Path | None = None,
    decoding: Decoding | None = None,
    device: str = "auto",
    precision: str = "auto",
    progress: bool = False,
) -> tuple[dict[str, Any], list[FitRow]]:
    """Measure both sides; returns the report and every measured row.

    Args:
        input_path: the chat rows of the training.
        checkpoint: a model folder.
        eval_input: held-out rows; None looks for the eval file that belongs to the input (`held_out_beside`).
        max_rows: rows measured of each side; fewer than 35 a lane cannot rule a gap of `MARGIN` out.
        tokenizer, decoding, device, precision, progress: as for `evaluation.evaluate_checkpoint`.

    Raises:
        UserError: unreadable input or checkpoint, or `max_rows` below 1.
    """
    if max_rows < 1:
        raise UserError(f"--max-rows must be at least 1, not {max_rows}")
    decoding = decoding or Decoding()
    held_out = Path(eval_input) if eval_input else held_out_beside(input_path)
    rows = {"train": read_rows(input_path, "chat", check_row), "held_out": load_eval_rows(held_out) if held_out else []}
    picked = {side: pick_rows(rows[side], max_rows, decoding.seed) for side in SIDES}
    loaded = load_model(checkpoint, tokenizer=tokenizer, device=device, precision=precision)
    answerer = ModelAnswerer(loaded.decoder, loaded.tokenizer, decoding, progress=progress)

    def forcer(conversations: Sequence[Sequence[Message]]) -> list[Forced]:
        return teacher_forced(loaded.decoder, loaded.tokenizer, conversations, decoding.batch_size)

    measured = [row for side in SIDES for row in measure_rows(side, rows[side], picked[side], answerer, forcer)]
    report = {
        "kind": "eval sft-fit",
        "picochat": picochat.__version__,
        "pack": {**_file(input_path, rows["train"]), "measured": len(picked["train"])},
        "held_out": {**_file(held_out, rows["held_out"]), "measured": len(picked["held_out"])} if held_out else None,
        "model": describe_model(checkpoint, loaded.provenance),
        "settings": {**asdict(decoding), "max_rows": max_rows, "device": device, "precision": precision},
        **summarise_fit(measured),
    }
    return report, measured


def held_out_beside(input_path: str | Path) -> Path | None:
    """The eval file of the same pack, or None: the name with eval_ for chat_, else what dataset_pack.json says."""
    path = Path(input_path)
    if path.name.startswith("chat_"):
        twin = path.with_name("eval_" + path.name.removeprefix("chat_"))
        if twin.is_file():
            return twin
    pack_path = path.parent / "dataset_pack.json"
    if pack_path.is_file():
        pack = load_dataset_pack(pack_path)
        if (
            pack.chat_path
            and pack.chat_path.resolve() == path.resolve()
            and pack.eval_path
            and pack.eval_path.is_file()
        ):
            return pack.eval_path
    return None


def pick_rows(rows: Sequence[Row], max_rows: int, seed: int) -> list[int]:
    """Indices of at most `max_rows` rows, in file order: as evenly over categories as their sizes allow.

    Categories of 2, 50 and 50 rows with max_rows 42 give 2, 20 and 20.
    """
    lanes: dict[str, list[int]] = defaultdict(list)
    for index, row in enumerate(rows):
        lanes[row.get("category") or UNTAGGED].append(index)
    shuffled = []
    for name in sorted(lanes):
        indices = lanes[name]
        shuffled.append(random.Random(f"{seed}/sft-fit/{name}").sample(indices, len(indices)))
    picked: list[int] = []
    for place in range(max(map(len, shuffled), default=0)):
        picked += [lane[place] for lane in shuffled if place < len(lane)]
    return sorted(picked[:max_rows])


def measure_rows(
    side: str, rows: Sequence[Row], picked: Sequence[int], answerer: Answerer, forcer: Forcer
) -> list[FitRow]:
    """Answer and teacher-force the picked rows of one side."""
    if not picked:
        return []
    chosen = [rows[index] for index in picked]
    asked = [_question(row) for row in chosen]
    full = [conversation(row) for row in chosen]
    forced = iter(forcer([messages for messages in full if messages]))
    replies = answerer.reply([row["messages"] for row in asked])
    measured = []
    for index, row, messages, reply in zip(picked, asked, full, replies, strict=True):
        reference = messages[-1]["content"] if messages else None
        counts = next(forced) if messages else None
        verdict = score(row, reply.text, raw=reply.raw_text, finished=reply.finished)
        measured.append(
            FitRow(
                side=side,
                index=index,
                id=row.get("id"),
                prompt=prompt_text(row),
                reference=reference,
                reply=reply.text,
                exact=reply.finished and reply.text.strip() == reference.strip() if reference is not None else None,
                correct=verdict.passed if has_check(row) else None,
                reasons=verdict.reasons,
                nll=counts.nll if counts else None,
                tokens=counts.tokens if counts else None,
                tokens_right=counts.right if counts else None,
                tags={field: row[field] for field in TAGS if row.get(field)},
            )
        )
    return measured


def teacher_forced(
    decoder: "Decoder", tokenizer: "ChatTokenizer", conversations: Sequence[Sequence[Message]], batch_size: int
) -> list[Forced]:
    """nll and likeliest-token accuracy of the supervised tokens, each given everything before it.

    Rows of like length go through together, padded on the right, where a causal model cannot see it.
    """
    import torch

    rendered = tokenizer.render_batch([list(messages) for messages in conversations])
    context = decoder.config.max_position_embeddings
    for messages, one in zip(conversations, rendered, strict=True):
        if len(one.ids) > context + 1:  # the last token is a target only
            raise UserError(
                f"the row that ends {messages[-1]['content'][-60:]!r} has {len(one.ids)} tokens and does not fit the "
                f"model's context of {context}; shorten it or take it out"
            )
    order = sorted(range(len(rendered)), key=lambda index: len(rendered[index].ids))
    device = next(decoder.parameters()).device
    found: dict[int, Forced] = {}
    for start in range(0, len(order), batch_size):
        members = order[start : start + batch_size]
        longest = len(rendered[members[-1]].ids)
        ids = torch.full((len(members), longest), tokenizer.pad_id)
        learnt = torch.zeros((len(members), longest), dtype=torch.bool)
        for line, index in enumerate(members):
            length = len(rendered[index].ids)
            ids[line, :length] = torch.tensor(rendered[index].ids)
            learnt[line, :length] = torch.tensor(rendered[index].supervised)
        with torch.inference_mode():
            # Shifted here, once: hidden state t predicts token t + 1. Only learnt places pass through the head.
            hidden = decoder(ids[:, :-1].to(device))
            places = learnt[:, 1:].nonzero(as_tuple=True)
            logits = decoder.logits(hidden[places[0].to(device), places[1].to(device)]).float().cpu()
        targets = ids[:, 1:][places]
        nll = torch.nn.functional.cross_entropy(logits, targets, reduction="none").double()
        right = logits.argmax(-1) == targets
        for line, index in enumerate(members):
            own = places[0] == line
            found[index] = Forced(float(nll[own].sum()), int(own.sum()), int(right[own].sum()))
    return [found[index] for index in range(len(rendered))]


def summarise_fit(rows: Sequence[FitRow]) -> dict[str, Any]:
    """Both sides beside each other: overall and by tag, with a reading of each category in words."""
    report: dict[str, Any] = {"overall": _sides(rows)}
    for grouping, field in FIT_GROUPINGS.items():
        lanes: dict[str, list[FitRow]] = defaultdict(list)
        for row in rows:
            lanes[row.tags.get(field) or UNTAGGED].append(row)
        report[grouping] = {name: _sides(lanes[name]) for name in sorted(lanes)}
    report["readings"] = [_reading(name, sides) for name, sides in report["by_category"].items()]
    return report


def _sides(rows: Sequence[FitRow]) -> dict[str, Any]:
    sides = {side: _bucket([row for row in rows if row.side == side]) for side in SIDES}
    return {**sides, "gap": _gap(sides)}


def _gap(sides: dict[str, Any]) -> dict[str, Any]:
    """Train minus held-out in answers that are correct, with its 95 % interval, and one of `VERDICTS`."""
    train, held_out = (sides[side]["correct"] if sides[side] else None for side in SIDES)
    if train is None or held_out is None:
        return {"difference": None, "ci95": None, "verdict": "unknown"}
    low, high = difference(train["passed"], train["n"], held_out["passed"], held_out["n"])
    if low > 0 and high >= MARGIN:  # a sure gap that is surely small is none to speak of
        verdict = "memorised"
    elif train["rate"] < 0.5:
        verdict = "not learnt"
    else:
        verdict = "transfers" if high < MARGIN else "undecided"
    return {"difference": train["rate"] - held_out["rate"], "ci95": [low, high], "verdict": verdict}


def _bucket(rows: Sequence[FitRow]) -> dict[str, Any] | None:
    if not rows:
        return None
    tokens = sum(row.tokens or 0 for row in rows)
    return {
        "n": len(rows),
        "exact": _rate([row.exact for row in rows if row.exact is not None]),
        "correct": _rate([row.correct for row in rows if row.correct is not None]),
        "tokens": tokens,
        "token_accuracy": sum(row.tokens_right or 0 for row in rows) / tokens if tokens else None,
        "nll": sum(row.nll or 0.0 for row in rows) / tokens if tokens else None,
    }


def _rate(values: Sequence[bool]) -> dict[str, Any] | None:
    n, passed = len(values), sum(values)
    return {"n": n, "passed": passed, "rate": passed / n, "ci95": list(wilson(passed, n))} if n else None


def _reading(name: str, sides: dict[str, Any]) -> str:
    """One category in words; an answer that can be checked on both sides is needed to tell heart from head."""
    gap = sides["gap"]
    title = name if skill(name) in SKILL_NAMES else f"category {name}"
    if gap["verdict"] == "unknown":
        lacking = next(side for side in SIDES if not (sides[side] and sides[side]["correct"]))
        told = [
            f"{side.replace('_', '-')} {percent(sides[side]['token_accuracy'])}"
            for side in SIDES
            if sides[side] and sides[side]["token_accuracy"] is not None
        ]
        forced = f"; likeliest token right by teacher forcing: {', '.join(told)}" if told else ""
        return f"{title}: no answers to check on the {lacking.replace('_', '-')} side{forced}"
    train, held_out = sides["train"]["correct"], sides["held_out"]["correct"]
    low, high = gap["ci95"]
    return (
        f"{title}: {VERDICTS[gap['verdict']]} (train {percent(train['rate'])} of {train['n']}, held-out "
        f"{percent(held_out['rate'])} of {held_out['n']}, gap {100 * gap['difference']:+.1f} points, 95 % interval "
        f"{100 * low:+.1f} to {100 * high:+.1f})"
    )


def _question(row: Row) -> Row:
    """The row as an eval row: without the reply that is to be reproduced; a choice is answered by its label."""
    messages: list[Message] = row["messages"]
    asked = dict(row)
    if messages[-1]["role"] == "assistant":
        asked |= {"messages": messages[:-1], "reference": messages[-1]["content"]}
    if "correct_choice" in row and row.get("answer") is None:
        asked["answer"] = row["correct_choice"]
    return asked


def _file(path: str | Path, rows: Sequence[Row]) -> dict[str, Any]:
    return {"path": str(path), "sha256": sha256_file(path), "rows": len(rows)}
