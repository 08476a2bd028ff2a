"""Replies, and the likelihood of given replies. In: a decoder and prompts as ids. Out: text. Next: evidence.

Prompts are sorted by length, read in batches, and continued one token at a time until every row has come to a stop:
the end of its turn or any other control token. Rows that have stopped leave the batch. A row's reply depends on its
prompt, the settings and, when sampled, on (seed, index of the prompt): never on the rows beside it.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from picochat.errors import UserError
from picochat.model.attention import MaskAttention
from picochat.model.decoder import Decoder
from picochat.model.inference import Session, Weights
from picochat.model.tokenizer import ChatTokenizer

_LOOK_EVERY = 4  # steps between looks at which rows have stopped: each look waits for the device
_KEEP_ABOVE = 0.75  # rows are dropped once fewer than this share of the batch is going on
_NOT_FINITE = (
    "the model's scores are no finite numbers; use --precision float32 (or bf16), and another checkpoint if that does "
    "not help"
)


@dataclass(frozen=True)
class Reply:
    """One continuation.

    Attributes:
        ids: everything generated, the stop token included.
        text: without control tokens.
        raw_text: with control tokens, so that a role token that began another turn can be seen.
        finished: whether it stopped by itself rather than at the limit of tokens.
    """

    ids: list[int]
    text: str
    raw_text: str
    finished: bool


def generate(
    decoder: Decoder,
    tokenizer: ChatTokenizer,
    prompts: list[list[int]],
    *,
    max_new_tokens: int,
    temperature: float = 0.0,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int = 0,
    batch_size: int = 64,
    progress: bool = False,
) -> list[Reply]:
    """Continue every prompt.

    Args:
        decoder: the model; float32 weights make replies independent of ``batch_size`` but for exact ties.
        tokenizer: its tokenizer.
        prompts: ids, as `ChatTokenizer.render(…, add_generation_prompt=True)` gives them.
        max_new_tokens: limit of each reply; also limited by the model's context.
        temperature: 0 takes the most likely token; above, tokens are drawn.
        top_k: draw among the k most likely tokens only.
        top_p: draw among the fewest most likely tokens that hold this share of the probability.
        seed: of the drawing.
        batch_size: rows at a time.
        progress: show a bar.

    Returns:
        Replies in the order of the prompts.

    Raises:
        UserError: a setting out of range, an empty prompt, or one that fills the model's context.
    """
    choose = Sampling(temperature, top_k, top_p, seed)
    _check(decoder, prompts, max_new_tokens, batch_size)
    replies: dict[int, Reply] = {}
    order = sorted(range(len(prompts)), key=lambda index: len(prompts[index]), reverse=True)
    device = decoder.lm_head.weight.device
    with (
        torch.inference_mode(),
        torch.autocast(device.type, enabled=False),
        tqdm(total=len(prompts), desc="answering", unit=" replies", disable=None if progress else True) as bar,
    ):
        weights = Weights(decoder)
        for start in range(0, len(order), batch_size):
            indices = order[start : start + batch_size]
            batch = [prompts[index] for index in indices]
            for row, ids in _continue(weights, tokenizer, batch, indices, max_new_tokens, choose):
                raw, text = tokenizer.decode(ids, skip_special_tokens=False), tokenizer.decode(ids)
                replies[indices[row]] = Reply(ids, text, raw, ids[-1] in tokenizer.stop_ids)
            bar.update(len(indices))
    return [replies[index] for index in range(len(prompts))]


def choice_scores(
    decoder: Decoder, tokenizer: ChatTokenizer, prompts: list[list[int]], choices: list[list[str]], batch_size: int = 32
) -> list[list[float]]:
    """Log-likelihood, in nats, of each choice as the continuation of its prompt.

    All choices of a prompt are read in one row, so the prompt is read once. With a prompt p q and the choices a b and
    c, whose positions both go on behind the prompt, a token sees:

                     p q a b c        position
        p            x                0
        q            x x              1
        a            x x x            2
        b            x x x x          3
        c            x x     x        2

    Where one choice begins as another does ("1" and "12"), each of that prompt's choices is followed by the end of the
    turn: without it the longer one could never be the likelier.

    Args:
        decoder: the model.
        tokenizer: its tokenizer.
        prompts: ids of each prompt.
        choices: texts, at least one for each prompt, none of them empty.
        batch_size: prompts at a time.

    Raises:
        UserError: a setting out of range, an empty prompt or choice, or scores that are no finite numbers.
    """
    _check(decoder, prompts, 1, batch_size)
    branches = [[tokenizer.encode(text) for text in texts] for texts in choices]
    for texts, encoded in zip(choices, branches, strict=True):
        if not encoded or not all(encoded):
            raise UserError(f"choices {texts!r} hold an empty text; each needs at least one character")
    branches = [_ended(encoded, tokenizer.end_id) for encoded in branches]
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]) + sum(map(len, branches[i])))
    scores: dict[int, list[float]] = {}
    with torch.inference_mode(), torch.autocast(decoder.lm_head.weight.device.type, enabled=False):
        for start in range(0, len(order), batch_size):
            indices = order[start : start + batch_size]
            found = _branch_scores(decoder, [prompts[i] for i in indices], [branches[i] for i in indices])
            if not all(math.isfinite(score) for scores_of_one in found for score in scores_of_one):
                raise UserError(_NOT_FINITE)
            scores.update(zip(indices, found, strict=True))
    return [scores[index] for index in range(len(prompts))]


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen from its scores."""

    temperature: float = 0.0
    top_k: int | None = None
    top_p: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < float("inf"):
            raise UserError(f"temperature is {self.temperature}; it must be 0 (greedy) or above")
        if self.top_k is not None and self.top_k < 1:
            raise UserError(f"top_k is {self.top_k}; it must be at least 1")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise UserError(f"top_p is {self.top_p}; it must be above 0 and at most 1")
        if self.seed < 0:
            raise UserError(f"seed is {self.seed}; it must be 0 or above")

    def uniforms(self, indices: list[int], steps: int) -> Tensor:
        """[B, steps] numbers in [0, 1), a function of (seed, index of the prompt, step) alone."""
        if self.temperature == 0:
            return torch.empty(len(indices), 0)
        drawn = [np.random.default_rng((self.seed, index)).random(steps, dtype=np.float32) for index in indices]
        return torch.from_numpy(np.stack(drawn))

    def __call__(self, scores: Tensor, uniforms: Tensor) -> Tensor:
        """Ids [B] from scores [B, V] and one uniform number [B] for each row: the inverse of the cumulated shares.

        With shares .5 .3 .2 in falling order, 0 ≤ u < .5 is the first token, u < .8 the second, u < 1 the third;
        top_p = .6 leaves the first two, and u runs over .8 in place of 1.
        """
        if self.temperature == 0:
            return scores.argmax(-1)
        behind = scores.float() - scores.max(-1, keepdim=True).values  # 0 at most: no temperature makes it overflow
        coldest = torch.finfo(torch.float32).tiny
        shares, ids = torch.sort((behind / max(self.temperature, coldest)).softmax(-1), descending=True, stable=True)
        if self.top_k is not None:
            shares = shares[:, : self.top_k]
        sums = shares.cumsum(-1)
        kept = sums[:, -1:]
        if self.top_p is not None:
            # the first place at which the sum reaches top_p is still in
            last = (sums < self.top_p * kept).sum(-1, keepdim=True).clamp_max(sums.shape[-1] - 1)
            kept = sums.gather(-1, last)
        place = torch.searchsorted(sums, uniforms[:, None] * kept, right=True).clamp_max_(sums.shape[-1] - 1)
        return ids.gather(-1, place).squeeze(-1)


def _continue(
    weights: Weights,
    tokenizer: ChatTokenizer,
    prompts: list[list[int]],
    indices: list[int],
    max_new_tokens: int,
    choose: Sampling,
) -> Iterator[tuple[int, list[int]]]:
    """Yield (row, generated ids) for each row of a batch."""
    context, device = weights.config.max_position_embeddings, weights.embedding.device
    limits = [min(max_new_tokens, context - len(prompt)) for prompt in prompts]
    steps = max(limits)
    uniforms = choose.uniforms(indices, steps).to(device)
    stops = torch.zeros(len(weights.head), dtype=torch.bool, device=device)
    stops[list(tokenizer.stop_ids)] = True
    rows = torch.arange(len(prompts), device=device)  # which prompt each row of the session continues
    going = torch.ones(len(prompts), dtype=torch.bool, device=device)
    made = torch.zeros(len(prompts), steps, dtype=torch.long, device=device)
    session = Session(weights, prompts, steps)
    scores = session.read()
    if not bool(scores.isfinite().all()):
        raise UserError(_NOT_FINITE)
    for step in range(steps):
        ids = choose(scores, uniforms[:, step] if uniforms.numel() else uniforms)
        made[rows, step] = ids
        going &= ~stops[ids]
        if step + 1 == steps:
            break
        if step % _LOOK_EVERY == 0:
            left = int(going.sum())
            if left == 0:
                break
            if left < _KEEP_ABOVE * len(going):
                kept = going.nonzero().flatten()
                session.keep(kept)
                rows, ids, going = rows[kept], ids[kept], going[kept]
                uniforms = uniforms.index_select(0, kept)
        scores = session.append(ids)
    # rows that went on for a while behind their stop are cut here
    for row, (ids, limit) in enumerate(zip(made.tolist(), limits, strict=True)):
        ends = (at + 1 for at, token in enumerate(ids[:limit]) if token in tokenizer.stop_ids)
        yield row, ids[: next(ends, limit)]


def _ended(choices: list[list[int]], end_id: int) -> list[list[int]]:
    begins = any(one != other and other[: len(one)] == one for one in choices for other in choices)
    return [[*choice, end_id] for choice in choices] if begins else choices


def _branch_scores(decoder: Decoder, prompts: list[list[int]], branches: list[list[list[int]]]) -> list[list[float]]:
    ids, positions, parts = [], [], []  # parts: 0 for the prompt, 1, 2, … for its choices, -1 for padding
    for prompt, choices in zip(prompts, branches, strict=True):
        ids.append([*prompt, *(token for choice in choices for token in choice)])
        behind = [len(prompt) + at for choice in choices for at in range(len(choice))]
        positions.append([*range(len(prompt)), *behind])
        parts.append([0] * len(prompt) + [number for number, choice in enumerate(choices, 1) for _ in choice])
    device = decoder.lm_head.weight.device
    part = _pad(parts, -1, device)
    earlier = torch.ones(part.shape[1], part.shape[1], dtype=torch.bool, device=device).tril()
    seen = ((part[:, :, None] == part[:, None, :]) | (part == 0)[:, None, :]) & earlier
    # forward: not the compiled form, which every new length would compile again
    hidden = decoder.model.forward(_pad(ids, 0, device), _pad(positions, 0, device), MaskAttention(seen[:, None]))
    scores = []
    for row, (prompt, choices) in enumerate(zip(prompts, branches, strict=True)):
        begin, found = len(prompt), []
        for choice in choices:
            # a choice's first token follows the prompt's last, each other the one before it
            sources = [len(prompt) - 1, *range(begin, begin + len(choice) - 1)]
            likely = decoder.logits(hidden[row, sources]).double().log_softmax(-1)
            found.append(float(likely[range(len(choice)), choice].sum()))
            begin += len(choice)
        scores.append(found)
    return scores


def _pad(rows: list[list[int]], filling: int, device: torch.device) -> Tensor:
    longest = max(map(len, rows))
    return torch.tensor([row + [filling] * (longest - len(row)) for row in rows], device=device)


def _check(decoder: Decoder, prompts: list[list[int]], max_new_tokens: int, batch_size: int) -> None:
    context = decoder.config.max_position_embeddings
    for name, value in (("max_new_tokens", max_new_tokens), ("batch_size", batch_size)):
        if value < 1:
            raise UserError(f"{name} is {value}; it must be at least 1")
    for number, prompt in enumerate(prompts, start=1):
        if not prompt:
            raise UserError(f"prompt {number} is empty; it needs at least one token")
        if len(prompt) >= context:
            raise UserError(f"prompt {number} has {len(prompt)} tokens and fills the model's context of {context}")
