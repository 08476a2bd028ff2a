"""One reply as it comes, and the part of a conversation that fits the context. In: messages. Out: text. Next: commands.

`stream_reply` chooses its tokens as `generation.generate` does for a single prompt, from the same cache of keys and
values, and hands out text as soon as it is whole: a character of several bytes may take several tokens.
"""

import contextlib
from collections.abc import Generator, Iterator, Sequence
from typing import NamedTuple

import torch

from picochat.errors import UserError
from picochat.model.generation import Sampling
from picochat.model.inference import Session, Weights
from picochat.model.tokenizer import ChatTokenizer
from picochat.packs.rows import Message

_HALF = "\ufffd"  # what a character whose last bytes are still to come decodes to


class Window(NamedTuple):
    """What of a conversation the model reads: a prompt, and how many of the oldest messages it leaves out."""

    ids: list[int]
    dropped: int


def read_window(messages: Sequence[Message], tokenizer: ChatTokenizer, limit: int) -> Window:
    """Leave out the oldest turns of a conversation until its prompt has at most ``limit`` tokens.

    A turn is a question with its reply. The system message and the last question stay. Where the limit holds four of

        system  user 1  assistant 1  user 2  assistant 2  user 3
        x                            x       x            x          one turn, two messages, is left out

    Args:
        messages: the conversation, ending with the user.
        tokenizer: renders them.
        limit: tokens of the prompt, the opening of the reply included.

    Raises:
        UserError: the last question alone (with the system message) is too long.
    """
    system = [message for message in messages[:1] if message["role"] == "system"]
    turns = messages[len(system) :]
    for dropped in range(0, len(turns), 2):
        ids = tokenizer.render([*system, *turns[dropped:]], add_generation_prompt=True).ids
        if len(ids) <= limit:
            return Window(ids, dropped)
    raise UserError(f"this message has {len(ids)} tokens, and the model can read {limit}; shorten it")


def stream_reply(
    weights: Weights,
    tokenizer: ChatTokenizer,
    prompt: list[int],
    *,
    max_new_tokens: int,
    temperature: float = 0.0,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int = 0,
    index: int = 0,
) -> Generator[str, None, bool]:
    """Yield a reply piece by piece; the pieces joined are the text that `generation.generate` gives.

    Args:
        weights: of the model.
        tokenizer: its tokenizer.
        prompt: ids, at least one, fewer than the model's context.
        max_new_tokens: limit of the reply; also limited by the model's context.
        temperature: 0 takes the most likely token; above, tokens are drawn.
        top_k: draw among the k most likely tokens only.
        top_p: draw among the fewest most likely tokens that hold this share of the probability.
        seed: of the drawing.
        index: what tells this reply's drawing from that of others: its number in the conversation.

    Returns:
        Whether the reply came to an end by itself (the generator's return value).

    Raises:
        UserError: a setting out of range.
    """
    choose = Sampling(temperature, top_k, top_p, seed)
    steps = min(max_new_tokens, weights.config.max_position_embeddings - len(prompt))
    if not prompt or steps < 1:
        raise UserError(
            f"a prompt of {len(prompt)} tokens and a limit of {max_new_tokens} new ones leave nothing to say in a "
            f"context of {weights.config.max_position_embeddings}"
        )
    device = weights.embedding.device
    ids: list[int] = []
    begin = read = 0  # ids[begin:read] was handed out last; decoded again it gives what follows its place in the text
    finished = False
    with _inference(device):
        uniforms = choose.uniforms([index], steps).to(device)
        session = Session(weights, [prompt], steps)
        scores = session.read()
    for step in range(steps):
        with _inference(device):  # for each step anew: between them the caller's code runs
            token = choose(scores, uniforms[:, step] if uniforms.numel() else uniforms)
            ids.append(int(token))
            finished = ids[-1] in tokenizer.stop_ids
            if not finished and step + 1 < steps:
                scores = session.append(token)
        known, text = tokenizer.decode(ids[begin:read]), tokenizer.decode(ids[begin:])
        if len(text) > len(known) and not text.endswith(_HALF):
            begin, read = read, len(ids)
            yield text[len(known) :]
        if finished:
            break
    if rest := tokenizer.decode(ids[begin:])[len(tokenizer.decode(ids[begin:read])) :]:
        yield rest
    return finished


@contextlib.contextmanager
def _inference(device: torch.device) -> Iterator[None]:
    with torch.inference_mode(), torch.autocast(device.type, enabled=False):
        yield
