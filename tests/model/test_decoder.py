"""The network: its sizes by hand, its isolation, and its agreement with Qwen3 of transformers."""

import math
from dataclasses import replace

import pytest
import torch
from tiny_model import TINY
from torch import Tensor

from picochat.errors import UserError
from picochat.model.attention import rotary_table, rotate
from picochat.model.decoder import Decoder, RMSNorm


@pytest.fixture(scope="module")
def decoder() -> Decoder:
    torch.manual_seed(0)
    return Decoder(TINY)


def ids(*shape: int) -> Tensor:
    return torch.randint(TINY.vocab_size, shape, generator=torch.Generator().manual_seed(1))


def packed(documents: list[list[int]], tokens: int) -> tuple[Tensor, Tensor, Tensor]:
    """One row: input_ids, position_ids, document_ids."""
    rest = tokens - sum(map(len, documents))
    row = [token for document in documents for token in document] + [0] * rest
    positions = [place for document in documents for place in range(len(document))] + [*range(rest)]
    numbers = [number for number, document in enumerate(documents, 1) for _ in document] + [0] * rest
    return torch.tensor([row]), torch.tensor([positions]), torch.tensor([numbers], dtype=torch.int32)


DOCUMENTS = [ids(1, 7)[0].tolist(), ids(2, 12)[1].tolist(), [3]]


def test_parameters_and_flops_by_hand(decoder: Decoder) -> None:
    # a block: q and o 16 × 24, k and v 16 × 12, three 16 × 24; norms 2 × 16 + 2 × 6
    block, norms = 2 * 384 + 2 * 192 + 3 * 384, 2 * 16 + 2 * 6
    assert TINY.num_parameters == 264 * 16 + 2 * (block + norms) + 16 == 8936
    assert sum(p.numel() for p in decoder.parameters()) == 8936
    untied = replace(TINY, tie_word_embeddings=False)
    assert untied.num_parameters == sum(p.numel() for p in Decoder(untied).parameters()) == 8936 + 4224
    # 2 × 2304 block weights, a head of 4224 at half of the positions, attention over 10 tokens: 2 × 24 × 10
    assert TINY.flops_per_token(10, supervised=0.5) == 6 * (4608 + 2112 + 480)


def test_fresh_weights_have_the_scales_of_the_table() -> None:
    torch.manual_seed(0)
    config = replace(TINY, hidden_size=256, intermediate_size=512, vocab_size=1000, initializer_range=0.02)
    weights = Decoder(config).state_dict()
    scales = {
        "model.embed_tokens.weight": 0.02,
        "model.layers.1.mlp.up_proj.weight": 1 / 16,
        "model.layers.1.mlp.down_proj.weight": 1 / math.sqrt(4 * 512),
    }
    assert {name: weights[name].std().item() for name in scales} == pytest.approx(scales, rel=0.05)
    assert weights["model.layers.0.self_attn.q_norm.weight"].tolist() == [1.0] * 6
    biased = Decoder(replace(TINY, model_type="qwen2")).state_dict()
    assert not biased["model.layers.1.self_attn.q_proj.bias"].any()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_the_norms_written_out_gradient_is_that_of_its_formula(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    norm = RMSNorm(8, 0.1).to(dtype)
    with torch.no_grad():
        norm.weight.copy_(torch.linspace(-1, 2, 8))
    states = torch.randn(3, 5, 8, generator=generator).to(dtype).requires_grad_()
    weights = torch.randn(3, 5, 8, generator=generator).to(dtype)
    wide = states.detach().double().requires_grad_()
    weight = norm.weight.detach().double().requires_grad_()
    expected = weight * wide / (wide.square().mean(-1, keepdim=True) + 0.1).sqrt()
    found = norm(states)
    (found * weights).sum().backward()
    (expected * weights.double()).sum().backward()
    close = {"rtol": 3e-2, "atol": 3e-2} if dtype == torch.bfloat16 else {"rtol": 1e-5, "atol": 1e-5}
    assert found.dtype == norm.weight.grad.dtype == states.grad.dtype == dtype  # type: ignore[union-attr]
    for one, other in ((found, expected), (states.grad, wide.grad), (norm.weight.grad, weight.grad)):
        torch.testing.assert_close(one.double(), other, **close)  # type: ignore[union-attr]


def test_rotation_turns_pairs_by_position_times_frequency() -> None:
    config = replace(TINY, head_dim=4, rope_theta=100.0)  # frequencies 1 and 100 ** -0.5 = 0.1
    cos, sin = rotary_table(torch.tensor([[0, 2]]), config)
    turned = rotate(torch.tensor([1.0, 0.0, 0.0, 1.0]).expand(1, 2, 1, 4), cos, sin)
    assert turned[0, 0, 0].tolist() == [1.0, 0.0, 0.0, 1.0]
    # pairs are (x0, x2) and (x1, x3): (1, 0) by 2 rad, (0, 1) by 0.2 rad
    expected = [math.cos(2), -math.sin(0.2), math.sin(2), math.cos(0.2)]
    assert turned[0, 1, 0].tolist() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (
            {"num_key_value_heads": 3},
            r"num_key_value_heads 3 does not divide num_attention_heads 4; use 1, 2, 4",
        ),
        ({"head_dim": 5}, r"head_dim is 5; .* must be even"),
        ({"hidden_size": 0}, r"hidden_size is 0; it must be above 0"),
        ({"rms_norm_eps": -1.0}, r"rms_norm_eps is -1.0"),
    ],
)
def test_sizes_that_do_not_fit_are_refused_in_a_sentence(changed: dict[str, float], said: str) -> None:
    with pytest.raises(UserError, match=said):
        replace(TINY, **changed)  # type: ignore[arg-type]


@pytest.mark.slow
def test_the_compiled_decoder_is_not_compiled_again_for_other_packs() -> None:
    from torch._dynamo.testing import CompileCounter

    torch.manual_seed(0)
    decoder, counter = Decoder(TINY), CompileCounter()
    packs = [DOCUMENTS, DOCUMENTS[:1], [[1]] * 9]
    eager = [decoder(*packed(documents, 32)) for documents in packs]
    decoder.compile(backend=counter)
    for documents, expected in zip(packs, eager, strict=True):
        places = sum(map(len, documents))
        found = decoder(*packed(documents, 32))
        assert (found - expected)[0, :places].abs().max() <= 1e-5
    assert counter.frame_count == 1
