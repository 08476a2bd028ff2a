"""The likelihood of given text. In: a decoder, conversations or choices. Out: nll, log-likelihoods. Next: evidence.

All choices of a prompt are read in one row, so the prompt is read once. With a prompt p q and the choices a b and c,
whose positions both continue the prompt's, a token sees:

                 p q a b c        position
    p            x                0
    q            x x              1
    a            x x x            2
    b            x x x x          3
    c            x x     x        2
"""

import math
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the field's name
from torch.nn.utils.rnn import pad_sequence

from picochat.errors import UserError
from picochat.model.attention import attend
from picochat.model.decoder import Decoder
from picochat.model.generation import NON_FINITE, check_prompts
from picochat.model.sizes import LOGITS_AT_ONCE
from picochat.model.tokenizer import ChatTokenizer
from picochat.packs.rows import Message


class Forced(NamedTuple):
    """One conversation: nll in nats over `tokens` supervised tokens, of which `right` were the likeliest."""

    nll: float
    tokens: int
    right: int


@torch.inference_mode()
def teacher_forced(
    decoder: Decoder, tokenizer: ChatTokenizer, conversations: Sequence[Sequence[Message]], batch_size: int
) -> list[Forced]:
    """Score the supervised tokens, each given everything before it; UserError where a conversation exceeds the context.

    Rows of like length go through together, padded on the right, where a causal model cannot see it.
    """
    rendered = tokenizer.render_batch(conversations)
    context, device = decoder.config.max_position_embeddings, next(decoder.parameters()).device
    for messages, row in zip(conversations, rendered, strict=True):
        if len(row.ids) > context + 1:  # the last token is a target only
            raise UserError(
                f"the row that ends {messages[-1]['content'][-60:]!r} has {len(row.ids)} tokens and does not fit the "
                f"model's context of {context}; shorten it or take it out"
            )
    order = sorted(range(len(rendered)), key=lambda index: len(rendered[index].ids))
    scored: dict[int, Forced] = {}
    for start in range(0, len(order), batch_size):
        members = order[start : start + batch_size]
        ids = pad_sequence([torch.tensor(rendered[i].ids) for i in members], True, tokenizer.pad_id).to(device)
        supervised = pad_sequence([torch.tensor(rendered[i].supervised) for i in members], True)[:, 1:].to(device)
        # Shifted here, once: hidden state t predicts token t + 1. Only supervised positions pass through the head.
        targets, hidden = ids[:, 1:][supervised], decoder(ids[:, :-1])[supervised]
        chunk = max(1, LOGITS_AT_ONCE // decoder.config.vocab_size)
        starts = range(0, max(1, len(targets)), chunk)
        parts = [_forced(decoder, hidden[at : at + chunk], targets[at : at + chunk]) for at in starts]
        nll, right = map(torch.cat, zip(*parts, strict=True))
        lengths = supervised.sum(1).tolist()
        for index, own, hits in zip(members, torch.split(nll, lengths), torch.split(right, lengths), strict=True):
            scored[index] = Forced(float(own.sum()), len(own), int(hits.sum()))
    return [scored[index] for index in range(len(rendered))]


def _forced(decoder: Decoder, hidden: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    logits = decoder.logits(hidden).float()
    return F.cross_entropy(logits, targets, reduction="none").double(), logits.argmax(-1) == targets


def reference_nll(
    decoder: Decoder, tokenizer: ChatTokenizer, conversations: Sequence[Sequence[Message] | None], batch_size: int
) -> list[float | None]:
    """Nats a supervised token of each conversation; None where there is none, or it does not fit the context."""
    known = [messages for messages in conversations if messages]
    context = decoder.config.max_position_embeddings
    fits = iter([len(row.ids) <= context + 1 for row in tokenizer.render_batch(known)])
    fitting = [messages if messages and next(fits) else None for messages in conversations]
    scored = iter(teacher_forced(decoder, tokenizer, [messages for messages in fitting if messages], batch_size))
    found = [next(scored) if messages else None for messages in fitting]
    return [one.nll / one.tokens if one and one.tokens else None for one in found]


@torch.inference_mode()
def choice_scores(
    decoder: Decoder, tokenizer: ChatTokenizer, prompts: list[list[int]], choices: list[list[str]], batch_size: int = 32
) -> list[list[float]]:
    """Log-likelihood, in nats, of each choice (a text) as the continuation of its prompt (ids).

    Where one choice begins as another does ("1" and "12"), each of that prompt's choices is followed by the end of the
    turn: without it the longer one could never be the likelier. UserError: an empty prompt or choice, a prompt that
    fills the context, or non-finite scores.
    """
    check_prompts(decoder.config, prompts)
    branches = []
    for texts in choices:
        encoded = [tokenizer.encode_reply(text) for text in texts]
        if not texts or not all(texts):
            raise UserError(f"choices {texts!r} hold an empty text; each needs at least one character")
        begins = any(one != other and other[: len(one)] == one for one in encoded for other in encoded)
        branches.append([[*ids, *[tokenizer.end_id] * begins] for ids in encoded])
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]) + sum(map(len, branches[i])))
    scores: dict[int, list[float]] = {}
    for start in range(0, len(order), batch_size):
        indices = order[start : start + batch_size]
        with torch.autocast(decoder.lm_head.weight.device.type, enabled=False):
            batch = _branch_scores(decoder, [prompts[i] for i in indices], [branches[i] for i in indices])
        if not all(math.isfinite(score) for row in batch for score in row):
            raise UserError(NON_FINITE)
        scores.update(zip(indices, batch, strict=True))
    return [scores[index] for index in range(len(prompts))]


def _branch_scores(decoder: Decoder, prompts: list[list[int]], branches: list[list[list[int]]]) -> list[list[float]]:
    ids, positions, parts = [], [], []  # parts: 0 for the prompt, 1, 2, … for its choices, -1 for padding
    for prompt, choices in zip(prompts, branches, strict=True):
        pieces = [range(len(prompt)), *(range(len(prompt), len(prompt) + len(choice)) for choice in choices)]
        ids.append(torch.tensor(sum(choices, prompt)))
        positions.append(torch.tensor([place for piece in pieces for place in piece]))
        parts.append(torch.tensor([number for number, piece in enumerate(pieces) for _ in piece]))
    device = decoder.lm_head.weight.device
    part = pad_sequence(parts, True, -1).to(device)
    earlier = torch.ones(part.shape[1], part.shape[1], dtype=torch.bool, device=device).tril()
    seen = ((part[:, :, None] == part[:, None, :]) | (part == 0)[:, None, :]) & earlier
    read, places = (pad_sequence(rows, True).to(device) for rows in (ids, positions))
    hidden = decoder.model.forward(read, places, partial(attend, mask=seen[:, None]))  # not compiled: lengths differ
    scores = []
    for row, (prompt, choices) in enumerate(zip(prompts, branches, strict=True)):
        begin, own = len(prompt), []
        for choice in choices:
            # a choice's first token follows the prompt's last, each other the one before it
            sources = [len(prompt) - 1, *range(begin, begin + len(choice) - 1)]
            log_shares = decoder.logits(hidden[row, sources]).double().log_softmax(-1)
            own.append(float(log_shares[range(len(choice)), choice].sum()))
            begin += len(choice)
        scores.append(own)
    return scores
