"""Teacher forcing. In: a decoder, conversations. Out: nll and token accuracy of each row's replies. Next: evidence."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch.nn import functional as F  # noqa: N812 - the field's name
from torch.nn.utils.rnn import pad_sequence

from picochat.errors import UserError
from picochat.model.decoder import Decoder
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
    """Score the supervised tokens, each given everything before it.

    Rows of like length go through together, padded on the right, where a causal model cannot see it.

    Raises:
        UserError: a conversation that does not fit the context.
    """
    rendered = tokenizer.render_batch([list(messages) for messages in conversations])
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
        targets = ids[:, 1:][supervised]
        logits = decoder.logits(decoder(ids[:, :-1])[supervised]).float()
        nll, right = F.cross_entropy(logits, targets, reduction="none").double(), logits.argmax(-1) == targets
        lengths = supervised.sum(1).tolist()
        for index, own, hits in zip(members, torch.split(nll, lengths), torch.split(right, lengths), strict=True):
            scored[index] = Forced(float(own.sum()), len(own), int(hits.sum()))
    return [scored[index] for index in range(len(rendered))]
