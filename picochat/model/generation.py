"""Replies from a decoder. In: prompts as ids. Out: text. Next: evidence, commands.

`decode` continues a batch of prompts one token at a time; `generate` collects what it yields, `stream` shows it.

A row's reply depends on its prompt, the settings and, when sampled, on (seed, index of the prompt): never on the rows
beside it. It ends with the end of its turn or any other control token.
"""

from collections.abc import Collection, Generator, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from picochat.errors import UserError
from picochat.model.config import DecoderConfig
from picochat.model.decoder import Decoder
from picochat.model.engine import Decoding, Reply
from picochat.model.inference import Session, Weights
from picochat.model.tokenizer import ChatTokenizer
from picochat.packs.rows import Message

NON_FINITE = (
    "the model's scores are non-finite; use --precision float32 (or bf16), and another checkpoint if that does not help"
)
_LOOK_EVERY = 4  # steps between looks at scores and ended rows: each look waits for the device
_KEEP_ABOVE = 0.75  # rows that have ended leave the batch once fewer than this share of it goes on
_INCOMPLETE = "\ufffd"  # what a character whose last bytes are still to come decodes to


def generate(
    decoder: Decoder,
    tokenizer: ChatTokenizer,
    prompts: list[list[int]],
    decoding: Decoding | None = None,
    *,
    progress: bool = False,
) -> list[Reply]:
    """Continue every prompt (ids of `ChatTokenizer.render(…, add_generation_prompt=True)`), in their order.

    Float32 weights make replies independent of the batch size but for exact ties. UserError: an empty prompt, one that
    fills the model's context, or non-finite scores.
    """
    decoding = decoding or Decoding()
    check_prompts(decoder.config, prompts)
    context = decoder.config.max_position_embeddings
    replies: dict[int, Reply] = {}
    order = sorted(range(len(prompts)), key=lambda index: len(prompts[index]), reverse=True)
    weights = Weights(decoder)
    with tqdm(total=len(prompts), desc="answering", unit=" replies", disable=None if progress else True) as bar:
        for start in range(0, len(order), decoding.batch_size):
            indices = order[start : start + decoding.batch_size]
            batch = [prompts[index] for index in indices]
            limits = [min(decoding.max_new_tokens, context - len(prompt)) for prompt in batch]
            made = torch.zeros(len(batch), max(limits), dtype=torch.long, device=weights.head.device)
            for step, (rows, ids) in enumerate(decode(weights, batch, indices, decoding, tokenizer.stop_ids)):
                made[rows, step] = ids
            for index, limit, row in zip(indices, limits, made.tolist(), strict=True):
                # rows that went on for a few steps after their stop token are cut here
                ends = (at + 1 for at, token in enumerate(row[:limit]) if token in tokenizer.stop_ids)
                ids = row[: next(ends, limit)]
                raw, text = tokenizer.decode(ids, skip_special_tokens=False), tokenizer.decode(ids)
                replies[index] = Reply(ids, text, raw, ids[-1] in tokenizer.stop_ids)
            bar.update(len(indices))
    return [replies[index] for index in range(len(prompts))]


def stream(
    weights: Weights, tokenizer: ChatTokenizer, prompt: list[int], decoding: Decoding, *, index: int = 0
) -> Generator[str, None, bool]:
    """Yield one reply piece by piece, and return whether it ended by itself; joined it is the text of `generate`.

    ``index`` tells its random numbers from those of other replies: its number in the conversation.
    """
    check_prompts(weights.config, [prompt])
    ids: list[int] = []
    begin = read = 0  # ids[begin:read] was handed out last; decoded again it gives what follows its place in the text
    for _, token in decode(weights, [prompt], [index], decoding, tokenizer.stop_ids):
        ids.append(int(token))
        known, text = tokenizer.decode(ids[begin:read]), tokenizer.decode(ids[begin:])
        if len(text) > len(known) and not text.endswith(_INCOMPLETE):
            begin, read = read, len(ids)
            yield text[len(known) :]
        if ids[-1] in tokenizer.stop_ids:
            break
    if rest := tokenizer.decode(ids[begin:])[len(tokenizer.decode(ids[begin:read])) :]:
        yield rest
    return ids[-1] in tokenizer.stop_ids


@torch.inference_mode()  # of a generator: entered anew at each step, so the caller's code runs outside of it
def decode(
    weights: Weights, prompts: list[list[int]], indices: list[int], decoding: Decoding, stop_ids: Collection[int]
) -> Iterator[tuple[Tensor, Tensor]]:
    """Continue a batch of prompts until every row has ended, by one of ``stop_ids``, or reached its limit.

    Yields (rows, ids), [b] each: the id that continues each of these prompts. Rows that have ended may come for a few
    steps more. A row's random numbers are derived from the seed and its number in ``indices``.
    """
    context, device = weights.config.max_position_embeddings, weights.embedding.device
    steps = min(decoding.max_new_tokens, context - min(map(len, prompts)))
    uniforms = draw_uniforms(decoding, indices, steps).to(device)
    stops = torch.zeros(len(weights.head), dtype=torch.bool, device=device)
    stops[list(stop_ids)] = True
    rows = torch.arange(len(prompts), device=device)
    going = torch.ones(len(prompts), dtype=torch.bool, device=device)
    session = Session(weights, prompts, steps)
    with torch.autocast(device.type, enabled=False):
        scores = session.read()
    for step in range(steps):
        if step % _LOOK_EVERY == 0 and not bool(scores.isfinite().all()):
            raise UserError(NON_FINITE)
        ids = choose(decoding, scores, uniforms[:, step] if uniforms.numel() else uniforms)
        yield rows, ids
        if step + 1 == steps:
            break
        going &= ~stops[ids]
        if step % _LOOK_EVERY == 0:
            left = int(going.sum())
            if left == 0:
                break
            if left < _KEEP_ABOVE * len(going):
                kept = going.nonzero().flatten()
                session.keep(kept)
                rows, ids, going = rows[kept], ids[kept], going[kept]
                uniforms = uniforms.index_select(0, kept)
        with torch.autocast(device.type, enabled=False):
            scores = session.append(ids)


def draw_uniforms(decoding: Decoding, indices: list[int], steps: int) -> Tensor:
    """[B, steps] numbers in [0, 1), a function of (seed, index of the prompt, step) alone; [B, 0] where greedy."""
    if decoding.temperature == 0:
        return torch.empty(len(indices), 0)
    drawn = [np.random.default_rng((decoding.seed, index)).random(steps, dtype=np.float32) for index in indices]
    return torch.from_numpy(np.stack(drawn))


def choose(decoding: Decoding, scores: Tensor, uniforms: Tensor) -> Tensor:
    """Next ids [B] from scores [B, V] and one uniform number [B] for each row: the inverse of the cumulative shares.

    With shares .5 .3 .2 in falling order, 0 ≤ u < .5 is the first token, u < .8 the second, u < 1 the third;
    top_p = .6 leaves the first two, and u runs over .8 in place of 1.
    """
    if decoding.temperature == 0:
        return scores.argmax(-1)
    below = scores.float() - scores.max(-1, keepdim=True).values  # 0 at most: no temperature makes it overflow
    coldest = torch.finfo(torch.float32).tiny
    shares, ids = torch.sort((below / max(decoding.temperature, coldest)).softmax(-1), descending=True, stable=True)
    if decoding.top_k is not None:
        shares = shares[:, : decoding.top_k]
    sums = shares.cumsum(-1)
    total = sums[:, -1:]
    if decoding.top_p is not None:
        # the first token at which the sum reaches top_p is still in
        last = (sums < decoding.top_p * total).sum(-1, keepdim=True).clamp_max(sums.shape[-1] - 1)
        total = sums.gather(-1, last)
    rank = torch.searchsorted(sums, uniforms[:, None] * total, right=True).clamp_max_(sums.shape[-1] - 1)
    return ids.gather(-1, rank).squeeze(-1)


def read_window(messages: Sequence[Message], tokenizer: ChatTokenizer, limit: int) -> tuple[list[int], int]:
    """The prompt of a conversation, and how many of its oldest messages are left out so that it has ``limit`` tokens.

    The system message and the last question stay; UserError where they alone are too long. Where the limit holds four:

        system  user 1  assistant 1  user 2  assistant 2  user 3
        x                            x       x            x          one turn, two messages, is left out
    """
    system = [message for message in messages[:1] if message["role"] == "system"]
    turns = messages[len(system) :]
    for dropped in range(0, len(turns), 2):
        ids = tokenizer.render([*system, *turns[dropped:]], add_generation_prompt=True).ids
        if len(ids) <= limit:
            return ids, dropped
    raise UserError(f"this message has {len(ids)} tokens, and the model can read {limit}; shorten it")


def check_prompts(config: DecoderConfig, prompts: list[list[int]]) -> None:
    """Raise UserError where a prompt is empty or leaves no room for a reply."""
    context = config.max_position_embeddings
    for number, prompt in enumerate(prompts, start=1):
        if not prompt:
            raise UserError(f"prompt {number} is empty; it needs at least one token")
        if len(prompt) >= context:
            raise UserError(f"prompt {number} has {len(prompt)} tokens and fills the model's context of {context}")
