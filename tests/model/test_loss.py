"""The loss of supervised positions against the naive loss over all of them."""

import pytest
import torch
from tiny_model import TINY, TOKENIZER
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the field's name

from picochat.model.batch import IGNORE_INDEX, Batch
from picochat.model.config import DecoderConfig
from picochat.model.decoder import Decoder
from picochat.model.likelihood import teacher_forced
from picochat.model.loss import by_example, supervised_nll
from picochat.packs.rows import Message

CONFIG = DecoderConfig(37, 8, 8, 1, 1, 1, 8, initializer_range=1.0)


@pytest.fixture
def decoder() -> Decoder:
    torch.manual_seed(0)
    return Decoder(CONFIG)


def example() -> tuple[Tensor, Tensor]:
    """Hidden states that want a gradient, and labels of which about a third are learnt."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(37, (3, 20), generator=generator)
    labels[torch.rand(3, 20, generator=generator) < 0.65] = -100
    assert 10 < (labels != -100).sum() < 30
    return torch.randn(3, 20, 8, generator=generator).requires_grad_(), labels


@pytest.mark.parametrize("logits_at_once", [2**25, 37 * 4, 1], ids=["at once", "rows of four", "row by row"])
def test_loss_and_gradients_equal_the_naive_ones(decoder: Decoder, logits_at_once: int) -> None:
    hidden, labels = example()
    nll = supervised_nll(decoder, hidden, labels, logits_at_once)
    nll.square().sum().backward()  # squares, so that every position has another weight
    found = nll.detach(), hidden.grad, decoder.lm_head.weight.grad

    decoder.zero_grad()
    hidden, labels = example()
    every = F.cross_entropy(decoder.logits(hidden).flatten(0, 1), labels.flatten(), reduction="none", ignore_index=-100)
    every.square().sum().backward()
    naive = every[labels.flatten() != -100].detach(), hidden.grad, decoder.lm_head.weight.grad

    assert nll.dtype == torch.float32
    for one, other in zip(found, naive, strict=True):
        assert one is not None and other is not None
        assert (one - other).abs().max() <= 1e-5 * other.abs().max()


def test_a_hand_written_case(decoder: Decoder) -> None:
    hidden = torch.zeros(1, 2, 8)  # all scores are 0: every token has the share 1 / 37
    nll = supervised_nll(decoder, hidden, torch.tensor([[-100, 5]]))
    assert nll.tolist() == pytest.approx([3.6109179])  # log 37


def test_a_batch_without_supervised_positions_keeps_the_graph(decoder: Decoder) -> None:
    hidden, labels = example()
    nll = supervised_nll(decoder, hidden, torch.full_like(labels, -100))
    assert nll.shape == (0,)
    nll.sum().backward()
    assert hidden.grad is not None and not hidden.grad.any()
    assert decoder.lm_head.weight.grad is not None


def test_the_loss_is_float32_under_autocast(decoder: Decoder) -> None:
    hidden, labels = example()
    with torch.autocast("cpu", torch.bfloat16):
        whole, chunked = supervised_nll(decoder, hidden, labels), supervised_nll(decoder, hidden, labels, 37 * 4)
    assert whole.dtype == torch.float32
    assert torch.equal(whole, chunked)


def test_logits_never_exist_beyond_one_chunk(decoder: Decoder) -> None:
    made: list[int] = []
    decoder.lm_head.register_forward_hook(lambda module, given, scores: made.append(scores.numel()))
    hidden, labels = example()
    supervised_nll(decoder, hidden, labels, 37 * 4).sum().backward()
    rows = int((labels != -100).sum())
    assert max(made) == 37 * 4
    assert sum(made) == 2 * rows * 37  # each chunk once forward, and again in the backward pass


def test_teacher_forcing_has_no_more_logits_either_and_the_same_losses(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    decoder, made = Decoder(TINY), list[int]()
    decoder.lm_head.register_forward_hook(lambda module, given, scores: made.append(scores.numel()))
    talks: list[list[Message]] = [
        [{"role": "user", "content": "a"}, {"role": "assistant", "content": "cat " * n}] for n in range(1, 5)
    ]
    whole = teacher_forced(decoder, TOKENIZER, talks, 4)
    assert made == [264 * sum(one.tokens for one in whole)]
    monkeypatch.setattr("picochat.model.likelihood.LOGITS_AT_ONCE", 264 * 5)
    for one, other in zip(teacher_forced(decoder, TOKENIZER, talks, 4), whole, strict=True):
        assert one.nll == pytest.approx(other.nll, rel=1e-6)
        assert one[1:] == other[1:]
    assert max(made[1:]) == 264 * 5 and sum(made[1:]) == made[0]


def test_losses_of_examples_are_sums_over_their_supervised_tokens() -> None:
    x = IGNORE_INDEX
    labels = torch.tensor([[x, 5, 6, 7, x], [x, x, 8, 9, x]])
    documents = torch.tensor([[1, 1, 1, 2, 0], [1, 1, 2, 2, 0]], dtype=torch.int32)  # the first of row 2 learns nothing
    lanes = torch.tensor([[4, 4, 4, 0, -1], [1, 1, 2, 2, -1]], dtype=torch.int16)
    batch = Batch(
        labels, labels, labels, documents, lanes, torch.tensor(5), torch.tensor([]), torch.tensor([1, 2, 3, 7, 8])
    )
    found = by_example(torch.tensor([1.0, 2.0, 4.0, 8.0, 16.0]), batch)
    assert {name: values.tolist() for name, values in found.items()} == {
        "nll": [3.0, 4.0, 24.0], "tokens": [2, 1, 2], "lanes": [4, 0, 2],
    }  # fmt: skip
