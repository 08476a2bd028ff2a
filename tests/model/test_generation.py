"""Replies: the same as one token at a time by the decoder, as transformers, as a stream, and at any batch size."""

import math
import random
from collections import Counter
from collections.abc import Generator
from dataclasses import replace
from typing import Any

import pytest
import torch
from tiny_model import TINY, TOKENIZER

from picochat.errors import UserError
from picochat.model.config import DecoderConfig
from picochat.model.decoder import Decoder
from picochat.model.engine import Decoding
from picochat.model.generation import choose, draw_uniforms, generate, read_window, stream
from picochat.model.inference import Weights
from picochat.model.likelihood import choice_scores
from picochat.packs.rows import Message

CONFIG = replace(  # a tied random model only repeats its last token
    TINY, hidden_size=32, intermediate_size=48, num_hidden_layers=3, tie_word_embeddings=False, initializer_range=1.0
)


@pytest.fixture(scope="module")
def decoder() -> Decoder:
    torch.manual_seed(0)
    made = Decoder(CONFIG)
    with torch.no_grad():
        made.lm_head.weight[:6] *= 1.1  # stop tokens come up now and then
    return made.eval()


def prompts(number: int, longest: int = 40) -> list[list[int]]:
    draw = random.Random(number)
    return [[draw.randrange(6, 264) for _ in range(draw.randint(1, longest))] for _ in range(number)]


@torch.no_grad()
def log_shares(decoder: Decoder, ids: list[int]) -> torch.Tensor:
    """[T, V] by the definition: the whole sequence, nothing cached."""
    return decoder.logits(decoder(torch.tensor([ids])))[0].log_softmax(-1)


def slowly(decoder: Decoder, prompt: list[int], steps: int) -> list[int]:
    """Greedy decoding by the definition: the whole sequence again for every token."""
    ids = list(prompt)
    for _ in range(steps):
        ids.append(int(log_shares(decoder, ids)[-1].argmax()))
        if ids[-1] in TOKENIZER.stop_ids:
            break
    return ids[len(prompt) :]


def test_greedy_replies_are_those_of_the_decoder_token_by_token(decoder: Decoder) -> None:
    asked = prompts(40)
    replies = generate(decoder, TOKENIZER, asked, Decoding(max_new_tokens=24, batch_size=16))
    assert [reply.ids for reply in replies] == [slowly(decoder, prompt, 24) for prompt in asked]
    finished = Counter(reply.finished for reply in replies)
    assert min(finished[True], finished[False]) >= 5  # both occurred, so rows were dropped on the way
    assert len({tuple(reply.ids) for reply in replies}) > 20


@pytest.mark.parametrize("settings", [{}, {"temperature": 1.0}, {"temperature": 0.8, "top_k": 20, "top_p": 0.9}])
def test_text_is_the_same_at_any_batch_size_and_in_a_stream(decoder: Decoder, settings: dict[str, Any]) -> None:
    """A random model says bytes that are no UTF-8, halves of characters and control tokens: all kinds of text."""
    asked, decoding, ends = prompts(40), Decoding(max_new_tokens=20, seed=5, **settings), set()
    whole = generate(decoder, TOKENIZER, asked, decoding)
    for batch_size in (1, 7):
        assert generate(decoder, TOKENIZER, asked, replace(decoding, batch_size=batch_size)) == whole
    weights = Weights(decoder)
    for index, (prompt, reply) in enumerate(zip(asked, whole, strict=True)):
        pieces, finished = drained(stream(weights, TOKENIZER, prompt, decoding, index=index))
        assert ("".join(pieces), finished) == (reply.text, reply.finished)
        assert all(pieces)
        ends.add(finished)
    assert ends == {True, False}


def drained(stream: Generator[str, None, bool]) -> tuple[list[str], bool]:
    pieces = []
    while True:
        try:
            pieces.append(next(stream))
        except StopIteration as end:
            return pieces, end.value


def test_a_character_of_several_tokens_comes_whole(decoder: Decoder, monkeypatch: pytest.MonkeyPatch) -> None:
    said = TOKENIZER.encode("né 🚀!")
    assert len(said) > len("né 🚀!")
    ids = iter([*said, TOKENIZER.end_id])
    monkeypatch.setattr("picochat.model.generation.choose", lambda *_: torch.tensor([next(ids)]))
    assert list(stream(Weights(decoder), TOKENIZER, [0, 3, 4], Decoding())) == ["n", "é", " ", "🚀", "!"]


def test_sampling_follows_the_seed_and_the_index_of_the_prompt(decoder: Decoder) -> None:
    same, decoding = [prompts(1)[0]] * 8, Decoding(max_new_tokens=12, temperature=1.0, seed=1)
    first = generate(decoder, TOKENIZER, same, decoding)
    assert generate(decoder, TOKENIZER, same, decoding) == first
    assert generate(decoder, TOKENIZER, same, replace(decoding, seed=2)) != first
    assert len({reply.raw_text for reply in first}) > 4
    cold = generate(decoder, TOKENIZER, same, replace(decoding, top_k=1))
    assert cold == generate(decoder, TOKENIZER, same, Decoding(max_new_tokens=12))


def test_a_reply_ends_at_the_first_control_token_and_shows_it_in_the_raw_text(decoder: Decoder) -> None:
    replies = generate(decoder, TOKENIZER, prompts(60), Decoding(max_new_tokens=30))
    ended = [reply for reply in replies if reply.finished]
    assert len({reply.ids[-1] for reply in ended}) > 1  # not <|end|> alone
    for reply in ended:
        control = TOKENIZER.decode(reply.ids[-1:], skip_special_tokens=False)
        assert reply.raw_text == reply.text + control
        assert not set(reply.ids[:-1]) & set(TOKENIZER.stop_ids)
    cut = next(reply for reply in replies if not reply.finished)
    assert len(cut.ids) == 30 and cut.raw_text == cut.text


def test_replies_stop_where_the_context_is_full(decoder: Decoder) -> None:
    long, short = prompts(2)[0] * 100, prompts(2)[1]
    replies = generate(decoder, TOKENIZER, [long[:126], short], Decoding(max_new_tokens=20))
    assert len(replies[0].ids) <= 2
    assert replies[1] == generate(decoder, TOKENIZER, [short], Decoding(max_new_tokens=20))[0]


def test_generating_leaves_the_model_and_the_callers_modes_as_they_were(decoder: Decoder) -> None:
    decoder.train()
    before = {name: value.clone() for name, value in decoder.state_dict().items()}
    with torch.autocast("cpu", torch.bfloat16):
        inside = generate(decoder, TOKENIZER, prompts(5), Decoding(max_new_tokens=8))
    assert inside == generate(decoder, TOKENIZER, prompts(5), Decoding(max_new_tokens=8))  # autocast does not reach in
    for _ in stream(Weights(decoder), TOKENIZER, [7, 8], Decoding(max_new_tokens=3)):
        assert torch.is_grad_enabled() and not torch.is_inference_mode_enabled()
    assert decoder.training and all(parameter.requires_grad for parameter in decoder.parameters())
    assert all(torch.equal(before[name], value) for name, value in decoder.state_dict().items())
    decoder.eval()


def test_inverse_cumulative_shares_choose_as_documented() -> None:
    scores = torch.tensor([0.2, 0.5, 0.3]).log().expand(5, 3)

    def chosen(uniforms: list[float], temperature: float = 1.0, **settings: Any) -> list[int]:
        return choose(Decoding(temperature=temperature, **settings), scores, torch.tensor(uniforms)).tolist()

    uniforms = [0.0, 0.49, 0.51, 0.79, 0.81]
    assert chosen(uniforms) == [1, 1, 2, 2, 0]
    assert chosen(uniforms, top_k=2) == [1, 1, 1, 2, 2]  # .5 and .3 of .8: 1 below .625
    assert chosen(uniforms, top_p=0.6) == [1, 1, 1, 2, 2]
    assert chosen(uniforms, top_p=0.5) == [1] * 5
    assert chosen(uniforms, temperature=0.0) == [1] * 5
    # temperature ½ squares the shares: .04 .25 .09 of .38
    assert chosen([0.65, 0.66, 0.89, 0.90, 0.99], temperature=0.5) == [1, 2, 2, 0, 0]


@pytest.mark.parametrize("temperature", [1e-300, 1e-40, 1e-4])
def test_a_temperature_close_to_zero_is_greedy(temperature: float) -> None:
    scores = torch.tensor([[3.0, 90.0, 89.0], [-5.0, -6.0, -5.5]])
    decoding = Decoding(temperature=temperature, seed=1)
    assert choose(decoding, scores, draw_uniforms(decoding, [0, 1], 1)[:, 0]).tolist() == [1, 0]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_new_tokens": 0}, r"max_new_tokens \(--max-new-tokens\) is 0; it must be at least 1"),
        ({"temperature": -1.0}, r"temperature \(--temperature\) is -1.0; it must be 0 \(greedy\) or above"),
        ({"temperature": math.nan}, r"temperature \(--temperature\) is nan"),
        ({"temperature": 1.0, "top_p": 0.0}, r"top_p \(--top-p\) is 0.0; it must be above 0 and at most 1"),
        ({"temperature": 1.0, "top_k": 0}, r"top_k \(--top-k\) is 0; it must be at least 1"),
        ({"top_k": 5}, r"top_k \(--top-k\) is 5; it must be left out at temperature 0"),
        ({"top_p": 0.5}, r"top_p \(--top-p\) is 0.5; it must be left out at temperature 0"),
        ({"seed": -1}, r"seed \(--seed\) is -1; it must be 0 or above"),
    ],
)
def test_a_decoding_setting_out_of_range_is_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Decoding(**settings)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ([[7], []], "prompt 2 is empty"),
        ([[7] * 128], "prompt 1 has 128 tokens and fills the model's context of 128"),
    ],
)
def test_prompts_that_leave_no_room_are_refused(decoder: Decoder, asked: list[list[int]], message: str) -> None:
    with pytest.raises(UserError, match=message):
        generate(decoder, TOKENIZER, asked)
    with pytest.raises(UserError, match=message):
        choice_scores(decoder, TOKENIZER, asked, [["A"]] * len(asked))
    with pytest.raises(UserError, match=message.replace("prompt 2", "prompt 1")):
        next(stream(Weights(decoder), TOKENIZER, asked[-1], Decoding()))


def test_choice_scores_are_those_of_each_choice_alone(decoder: Decoder) -> None:
    asked, choices = prompts(9), [["a cat", "dog", "B"], ["A", "B"], ["1", "12"]] * 3
    scores = choice_scores(decoder, TOKENIZER, asked, choices, batch_size=4)
    for prompt, texts, row in zip(asked, choices, scores, strict=True):
        for text, score in zip(texts, row, strict=True):
            # a choice that begins as another is scored with its end
            ids = [*TOKENIZER.encode(text), *([TOKENIZER.end_id] if texts == ["1", "12"] else [])]
            table = log_shares(decoder, prompt + ids)
            alone = sum(float(table[len(prompt) - 1 + at, token]) for at, token in enumerate(ids))
            assert score == pytest.approx(alone, abs=1e-3)


def test_non_finite_scores_are_refused(decoder: Decoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("picochat.model.inference.Session.append", lambda self, ids: torch.full((1, 264), math.nan))
    with pytest.raises(UserError, match="scores are non-finite"):  # later than at the first token
        generate(decoder, TOKENIZER, prompts(1), Decoding(max_new_tokens=9))
    monkeypatch.undo()
    broken = Decoder(DecoderConfig(vocab_size=TOKENIZER.vocab_size, num_hidden_layers=1, max_position_embeddings=128))
    with torch.no_grad():
        broken.model.norm.weight.fill_(math.inf)
    with pytest.raises(UserError, match="scores are non-finite; use --precision float32"):
        generate(broken, TOKENIZER, [[7, 8]])
    with pytest.raises(UserError, match="scores are non-finite"):
        choice_scores(broken, TOKENIZER, [[7, 8]], [["A", "B"]])


def test_an_empty_choice_is_refused_and_no_prompts_give_no_replies(decoder: Decoder) -> None:
    with pytest.raises(UserError, match="hold an empty text"):
        choice_scores(decoder, TOKENIZER, [[7]], [["A", ""]])
    assert generate(decoder, TOKENIZER, []) == []
    assert choice_scores(decoder, TOKENIZER, [], []) == []


def test_a_window_drops_whole_turns_and_keeps_the_system_message() -> None:
    talk: list[Message] = [{"role": "system", "content": "s"}]
    for number in range(3):
        talk += [{"role": "user", "content": f"q{number}"}, {"role": "assistant", "content": f"r{number}"}]
    talk.append({"role": "user", "content": "last"})

    def rendered(*kept: Message) -> list[int]:
        return TOKENIZER.render(list(kept), add_generation_prompt=True).ids

    assert read_window(talk, TOKENIZER, 1000) == (rendered(*talk), 0)
    assert read_window(talk, TOKENIZER, len(rendered(*talk)))[1] == 0
    assert read_window(talk, TOKENIZER, len(rendered(*talk)) - 1) == (rendered(talk[0], *talk[3:]), 2)
    alone = rendered(talk[0], talk[-1])
    assert read_window(talk, TOKENIZER, len(alone)) == (alone, 6)
    with pytest.raises(
        UserError, match=f"this message has {len(alone)} tokens, and the model can read {len(alone) - 1}"
    ):
        read_window(talk, TOKENIZER, len(alone) - 1)
