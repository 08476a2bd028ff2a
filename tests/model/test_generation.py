"""Replies: the same as one token at a time by the decoder, as transformers, and at any batch size."""

import math
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from picochat.errors import UserError
from picochat.model.checkpoint import save_checkpoint
from picochat.model.decoder import Decoder, DecoderConfig
from picochat.model.generation import Sampling, choice_scores, generate
from picochat.model.inference import Session, Weights
from picochat.model.tokenizer import train_tokenizer

TOKENIZER = train_tokenizer(["a cat and a dog and a cat "] * 9, 264)
CONFIG = DecoderConfig(
    vocab_size=264,
    hidden_size=32,
    intermediate_size=48,
    num_hidden_layers=3,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=8,
    max_position_embeddings=128,
    tie_word_embeddings=False,  # a tied random model only repeats its last token
    initializer_range=1.0,
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
def slowly(decoder: Decoder, prompt: list[int], steps: int) -> list[int]:
    """Greedy decoding by the definition: the whole sequence again for every token."""
    ids = list(prompt)
    for _ in range(steps):
        ids.append(int(decoder.logits(decoder(torch.tensor([ids])))[0, -1].argmax()))
        if ids[-1] in TOKENIZER.stop_ids:
            break
    return ids[len(prompt) :]


def test_greedy_replies_are_those_of_the_decoder_token_by_token(decoder: Decoder) -> None:
    asked = prompts(40)
    replies = generate(decoder, TOKENIZER, asked, max_new_tokens=24, batch_size=16)
    assert [reply.ids for reply in replies] == [slowly(decoder, prompt, 24) for prompt in asked]
    finished = Counter(reply.finished for reply in replies)
    assert min(finished[True], finished[False]) >= 5  # both kinds did occur, so rows were dropped on the way
    assert len({tuple(reply.ids) for reply in replies}) > 20


@pytest.mark.parametrize("settings", [{}, {"temperature": 1.0}, {"temperature": 0.8, "top_k": 20, "top_p": 0.9}])
def test_text_is_the_same_at_any_batch_size(decoder: Decoder, settings: dict[str, Any]) -> None:
    asked = prompts(30)
    whole = generate(decoder, TOKENIZER, asked, max_new_tokens=20, batch_size=30, seed=5, **settings)
    for batch_size in (1, 7):
        again = generate(decoder, TOKENIZER, asked, max_new_tokens=20, batch_size=batch_size, seed=5, **settings)
        assert again == whole


def test_sampling_follows_the_seed_and_the_place_of_the_prompt(decoder: Decoder) -> None:
    same = [prompts(1)[0]] * 8
    first = generate(decoder, TOKENIZER, same, max_new_tokens=12, temperature=1.0, seed=1)
    assert generate(decoder, TOKENIZER, same, max_new_tokens=12, temperature=1.0, seed=1) == first
    assert generate(decoder, TOKENIZER, same, max_new_tokens=12, temperature=1.0, seed=2) != first
    assert len({reply.raw_text for reply in first}) > 4
    cold = generate(decoder, TOKENIZER, same, max_new_tokens=12, temperature=1.0, top_k=1, seed=1)
    assert cold == generate(decoder, TOKENIZER, same, max_new_tokens=12)


def test_a_reply_ends_at_the_first_control_token_and_shows_it_in_the_raw_text(decoder: Decoder) -> None:
    replies = generate(decoder, TOKENIZER, prompts(60), max_new_tokens=30)
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
    replies = generate(decoder, TOKENIZER, [long[:126], short], max_new_tokens=20)
    assert len(replies[0].ids) <= 2
    assert replies[1] == generate(decoder, TOKENIZER, [short], max_new_tokens=20)[0]


def test_a_session_gives_the_decoders_scores_for_ragged_rows(decoder: Decoder) -> None:
    asked = [prompts(3)[0], [7], prompts(3)[2]]
    appended = torch.tensor([[9, 10], [11, 12], [13, 14]])
    with torch.inference_mode():
        session = Session(Weights(decoder), asked, room=2)
        scores = [session.read(), session.append(appended[:, 0])]
        session.keep(torch.tensor([2, 1]))
        scores.append(session.append(appended[[2, 1], 1]))
        for row, prompt in enumerate(asked):
            ids = torch.tensor([[*prompt, *appended[row].tolist()]])
            wanted = decoder.logits(decoder(ids))[0, -3:]
            assert (scores[0][row] - wanted[0]).abs().max() < 1e-4
            assert (scores[1][row] - wanted[1]).abs().max() < 1e-4
            if row > 0:
                assert (scores[2][[2, 1].index(row)] - wanted[2]).abs().max() < 1e-4


def test_greedy_replies_are_those_of_transformers(decoder: Decoder, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    save_checkpoint(tmp_path / "model", decoder, TOKENIZER, {})
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "model").eval()
    asked = prompts(64)
    replies = generate(decoder, TOKENIZER, asked, max_new_tokens=16)
    longest = max(map(len, asked))
    padded = torch.tensor([[1] * (longest - len(p)) + p for p in asked])
    seen = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in asked])
    made = theirs.generate(padded, attention_mask=seen, max_new_tokens=16, do_sample=False)[:, longest:].tolist()
    assert [ids[: len(reply.ids)] for ids, reply in zip(made, replies, strict=True)] == [reply.ids for reply in replies]


def test_tied_and_ungrouped_models_generate_as_well() -> None:
    for config in (replace(CONFIG, tie_word_embeddings=True), replace(CONFIG, num_key_value_heads=4)):
        torch.manual_seed(1)
        model = Decoder(config).eval()
        reply = generate(model, TOKENIZER, [[7, 8, 9], [10]], max_new_tokens=6)
        assert [one.ids for one in reply] == [slowly(model, prompt, 6) for prompt in ([7, 8, 9], [10])]


def test_generating_leaves_the_model_as_it_was(decoder: Decoder) -> None:
    decoder.train()
    before = {name: value.clone() for name, value in decoder.state_dict().items()}
    with torch.autocast("cpu", torch.bfloat16):
        inside = generate(decoder, TOKENIZER, prompts(5), max_new_tokens=8)
    assert inside == generate(decoder, TOKENIZER, prompts(5), max_new_tokens=8)  # autocast does not reach in
    assert decoder.training and all(parameter.requires_grad for parameter in decoder.parameters())
    assert all(torch.equal(before[name], value) for name, value in decoder.state_dict().items())
    decoder.eval()


def test_inverse_cumulated_shares_choose_as_documented() -> None:
    scores = torch.tensor([0.2, 0.5, 0.3]).log().expand(5, 3)
    uniforms = torch.tensor([0.0, 0.49, 0.51, 0.79, 0.81])
    assert Sampling(1.0)(scores, uniforms).tolist() == [1, 1, 2, 2, 0]
    assert Sampling(1.0, top_k=2)(scores, uniforms).tolist() == [1, 1, 1, 2, 2]  # .5 and .3 of .8: 1 below .625
    assert Sampling(1.0, top_p=0.6)(scores, uniforms).tolist() == [1, 1, 1, 2, 2]
    assert Sampling(1.0, top_p=0.5)(scores, uniforms).tolist() == [1] * 5
    assert Sampling(0.0)(scores, uniforms).tolist() == [1] * 5
    # temperature ½ squares the shares: .04 .25 .09 of .38
    assert Sampling(0.5)(scores, torch.tensor([0.65, 0.66, 0.89, 0.90, 0.99])).tolist() == [1, 2, 2, 0, 0]


@pytest.mark.parametrize("temperature", [1e-300, 1e-40, 1e-4])
def test_a_temperature_close_to_nought_is_greedy(temperature: float) -> None:
    scores = torch.tensor([[3.0, 90.0, 89.0], [-5.0, -6.0, -5.5]])
    drawn = Sampling(temperature, seed=1)
    assert drawn(scores, drawn.uniforms([0, 1], 1)[:, 0]).tolist() == [1, 0]


def test_sampled_shares_approach_the_models(decoder: Decoder) -> None:
    scores = torch.tensor([0.6, 0.3, 0.1]).log().expand(4000, 3)
    drawn = Sampling(1.0, seed=3)(scores, Sampling(1.0, seed=3).uniforms(list(range(4000)), 1)[:, 0])
    shares = [float((drawn == token).float().mean()) for token in range(3)]
    assert shares == pytest.approx([0.6, 0.3, 0.1], abs=0.03)


def test_choice_scores_are_those_of_each_choice_alone(decoder: Decoder) -> None:
    asked, choices = prompts(9), [["a cat", "dog", "B"], ["A", "B"], ["and a"]] * 3
    scores = choice_scores(decoder, TOKENIZER, asked, choices, batch_size=4)
    assert [len(row) for row in scores] == [3, 2, 1] * 3
    for prompt, texts, row in zip(asked, choices, scores, strict=True):
        for text, score in zip(texts, row, strict=True):
            ids = TOKENIZER.encode(text)
            with torch.no_grad():
                likely = decoder.logits(decoder(torch.tensor([prompt + ids])))[0].log_softmax(-1)
            alone = sum(float(likely[len(prompt) - 1 + at, token]) for at, token in enumerate(ids))
            assert score == pytest.approx(alone, abs=1e-3)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"max_new_tokens": 0}, "max_new_tokens is 0"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"temperature": -1.0}, "temperature is -1.0"),
        ({"top_p": 0.0}, "top_p is 0.0"),
        ({"top_k": 0}, "top_k is 0"),
        ({"seed": -1}, "seed is -1"),
        ({"prompts": [[7], []]}, "prompt 2 is empty"),
        ({"prompts": [[7] * 128]}, "prompt 1 has 128 tokens and fills the model's context of 128"),
    ],
)
def test_settings_out_of_range_are_refused(decoder: Decoder, settings: dict[str, Any], said: str) -> None:
    given = {"prompts": [[7]], "max_new_tokens": 4, **settings}
    with pytest.raises(UserError, match=said):
        generate(decoder, TOKENIZER, given.pop("prompts"), **given)


def test_a_choice_that_begins_as_another_is_scored_with_its_end(decoder: Decoder) -> None:
    asked = prompts(1)[0]
    (scores,) = choice_scores(decoder, TOKENIZER, [asked], [["1", "12"]])
    for text, score in zip(["1", "12"], scores, strict=True):
        ids = [*TOKENIZER.encode(text), TOKENIZER.end_id]
        with torch.no_grad():
            likely = decoder.logits(decoder(torch.tensor([asked + ids])))[0].log_softmax(-1)
        alone = sum(float(likely[len(asked) - 1 + at, token]) for at, token in enumerate(ids))
        assert score == pytest.approx(alone, abs=1e-3)


def test_scores_that_are_no_numbers_are_refused() -> None:
    broken = Decoder(DecoderConfig(vocab_size=TOKENIZER.vocab_size, num_hidden_layers=1, max_position_embeddings=128))
    with torch.no_grad():
        broken.model.norm.weight.fill_(math.inf)
    with pytest.raises(UserError, match="scores are no finite numbers; use --precision float32"):
        generate(broken, TOKENIZER, [[7, 8]], max_new_tokens=4)
    with pytest.raises(UserError, match="scores are no finite numbers"):
        choice_scores(broken, TOKENIZER, [[7, 8]], [["A", "B"]])


def test_an_empty_choice_is_refused_and_no_prompts_give_no_replies(decoder: Decoder) -> None:
    with pytest.raises(UserError, match="hold an empty text"):
        choice_scores(decoder, TOKENIZER, [[7]], [["A", ""]])
    assert generate(decoder, TOKENIZER, [], max_new_tokens=4) == []
    assert choice_scores(decoder, TOKENIZER, [], []) == []
