"""A streamed reply is the reply that `generate` gives, in whole characters; a window leaves out the oldest turns."""

from typing import Any

import pytest
import torch

from picochat.errors import UserError
from picochat.model.decoder import Decoder, DecoderConfig
from picochat.model.generation import generate
from picochat.model.inference import Weights
from picochat.model.streaming import read_window, stream_reply
from picochat.model.tokenizer import train_tokenizer
from picochat.packs.rows import Message

TOKENIZER = train_tokenizer(["a cat and a dog and a cat "] * 9, 264)
CONFIG = DecoderConfig(
    vocab_size=264,
    hidden_size=32,
    intermediate_size=48,
    num_hidden_layers=2,
    head_dim=8,
    max_position_embeddings=64,
    tie_word_embeddings=False,
    initializer_range=1.0,
)


@pytest.fixture(scope="module")
def decoder() -> Decoder:
    torch.manual_seed(0)
    return Decoder(CONFIG).eval()


@pytest.mark.parametrize("settings", [{}, {"temperature": 1.0, "seed": 3}, {"temperature": 0.8, "top_k": 9}])
def test_the_pieces_are_the_text_that_generate_gives(decoder: Decoder, settings: dict[str, Any]) -> None:
    """A random model says bytes that are no UTF-8, halves of characters and control tokens: all kinds of text."""
    weights, ends = Weights(decoder), set()
    for start in range(6, 40):
        prompt = [0, 3, start, 5, 4]
        (whole,) = generate(decoder, TOKENIZER, [prompt], max_new_tokens=30, **settings)
        stream = stream_reply(weights, TOKENIZER, prompt, max_new_tokens=30, **settings)
        pieces = []
        while True:
            try:
                pieces.append(next(stream))
            except StopIteration as end:
                finished = end.value
                break
        assert "".join(pieces) == whole.text
        assert finished == whole.finished
        assert all(pieces)
        ends.add(finished)
    assert ends == {True, False}


def test_a_character_of_several_tokens_comes_whole(decoder: Decoder, monkeypatch: pytest.MonkeyPatch) -> None:
    said = TOKENIZER.encode("né 🚀!")
    assert len(said) > len("né 🚀!")
    ids = iter([*said, TOKENIZER.end_id])
    monkeypatch.setattr(
        "picochat.model.generation.Sampling.__call__", lambda *_: torch.tensor([next(ids)], dtype=torch.long)
    )
    pieces = list(stream_reply(Weights(decoder), TOKENIZER, [0, 3, 4], max_new_tokens=30))
    assert pieces == ["n", "é", " ", "🚀", "!"]


def test_nothing_to_say_and_wrong_settings_are_refused(decoder: Decoder) -> None:
    weights = Weights(decoder)
    for prompt, settings, words in (
        ([], {"max_new_tokens": 3}, "a prompt of 0 tokens"),
        ([6] * 64, {"max_new_tokens": 3}, "a context of 64"),
        ([6], {"max_new_tokens": 0}, "a limit of 0"),
        ([6], {"max_new_tokens": 1, "top_p": 2.0}, "top_p is 2.0"),
    ):
        with pytest.raises(UserError, match=words):
            next(stream_reply(weights, TOKENIZER, prompt, **settings))


def test_a_window_drops_whole_turns_and_keeps_the_system_message() -> None:
    talk: list[Message] = [{"role": "system", "content": "s"}]
    for number in range(3):
        talk += [{"role": "user", "content": f"q{number}"}, {"role": "assistant", "content": f"r{number}"}]
    talk.append({"role": "user", "content": "last"})

    def rendered(*kept: Message) -> list[int]:
        return TOKENIZER.render(list(kept), add_generation_prompt=True).ids

    assert read_window(talk, TOKENIZER, 1000) == (rendered(*talk), 0)
    assert read_window(talk, TOKENIZER, len(rendered(*talk))).dropped == 0
    assert read_window(talk, TOKENIZER, len(rendered(*talk)) - 1) == (rendered(talk[0], *talk[3:]), 2)
    alone = rendered(talk[0], talk[-1])
    assert read_window(talk, TOKENIZER, len(alone)) == (alone, 6)
    with pytest.raises(
        UserError, match=f"this message has {len(alone)} tokens, and the model can read {len(alone) - 1}"
    ):
        read_window(talk, TOKENIZER, len(alone) - 1)
