"""Every way to isolate documents against one reference, forward and backward, in float64."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from picochat.model.attention import Attend, Backend, SegmentAttention, backend, isolate

ROW = [1, 1, 1, 2, 2, 0]  # the module's drawing
documents = st.lists(st.integers(1, 40), min_size=0, max_size=6)


def rows_of(lengths: list[list[int]], tokens: int) -> Tensor:
    """document_ids of rows with documents of these lengths, padded to ``tokens``."""
    rows = [[number for number, length in enumerate(row, 1) for _ in range(length)] for row in lengths]
    return torch.tensor([(row + [0] * tokens)[:tokens] for row in rows], dtype=torch.int32)


def states(rows: int, tokens: int, heads: int, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(heads)
    drawn = torch.randn(rows, tokens, heads, 8, generator=generator, dtype=torch.float64)
    return drawn.to(dtype).requires_grad_()


def reference(query: Tensor, key: Tensor, value: Tensor, document_ids: Tensor) -> Tensor:
    """One query at a time, by the definition."""
    result = torch.zeros_like(query)
    rows, tokens, heads, size = query.shape
    for row in range(rows):
        for t in range(tokens):
            seen = [s for s in range(t + 1) if document_ids[row, s] == document_ids[row, t]]
            for head in range(heads):
                shared = head * key.shape[2] // heads
                scores = (key[row, seen, shared] @ query[row, t, head]) / size**0.5
                result[row, t, head] = scores.softmax(0) @ value[row, seen, shared]
    return result


def outcome(attend: Attend, document_ids: Tensor, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    """Result and gradients for places that are not padding: [result, d query, d key, d value]."""
    rows, tokens = document_ids.shape
    inputs = states(rows, tokens, 4, dtype), states(rows, tokens, 2, dtype), states(rows, tokens, 2, dtype)
    result = attend(*inputs) * (document_ids != 0)[..., None, None]
    weights = torch.linspace(-1, 1, result.numel(), dtype=dtype).view_as(result)
    (result * weights).sum().backward()
    return [result.detach(), *(x.grad for x in inputs if x.grad is not None)]


def naive(document_ids: Tensor) -> Attend:
    return lambda query, key, value: reference(query, key, value, document_ids)


LAYOUTS = {
    "the drawing": torch.tensor([ROW]),
    "several rows": rows_of([[3, 17, 20], [40], [1, 1, 1], [16, 16, 8]], 40),
    "a row of padding": rows_of([[5, 4], []], 12),
    "one token": torch.tensor([[1]]),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("choice", ["mask", "segments"])
def test_backends_equal_the_reference_forward_and_backward(choice: Backend, layout: str) -> None:
    document_ids = LAYOUTS[layout]
    wanted, found = outcome(naive(document_ids), document_ids), outcome(isolate(document_ids, choice), document_ids)
    assert len(found) == 4
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-11)


def test_causal_attention_over_packed_rows_would_be_noticed() -> None:
    document_ids = torch.tensor([ROW])
    leaking = outcome(isolate(None, "mask"), document_ids)[0]
    right = outcome(naive(document_ids), document_ids)[0]
    assert torch.allclose(leaking[:, :3], right[:, :3])  # the first document has nothing before it
    assert (leaking[:, 3:5] - right[:, 3:5]).abs().max() > 0.05
    one = torch.ones(2, 9, dtype=torch.int32)
    torch.testing.assert_close(outcome(isolate(None, "mask"), one), outcome(naive(one), one), rtol=1e-9, atol=1e-11)


@settings(max_examples=30)
@given(st.lists(documents, min_size=1, max_size=4))
def test_segments_equal_the_mask_for_any_packs(lengths: list[list[int]]) -> None:
    document_ids = rows_of(lengths, max(1, *(sum(row) for row in lengths)) + 2)
    masked, cut = (outcome(isolate(document_ids, choice), document_ids) for choice in ("mask", "segments"))
    torch.testing.assert_close(cut, masked, rtol=1e-8, atol=1e-10)


def test_segments_lie_as_drawn() -> None:
    attend = isolate(torch.tensor([ROW]), "segments")
    assert isinstance(attend, SegmentAttention)
    # two documents and one place of padding, each rounded up to 16: one bucket of three segments
    assert attend.buckets == [(3, 16)]
    assert attend.out.tolist() == [0, 1, 2, *[0] * 13, 3, 4, *[0] * 14, 5, *[0] * 15]
    assert attend.back.tolist() == [0, 1, 2, 16, 17, 32]
    assert attend.unused.tolist() == [*range(3, 16), *range(18, 32), *range(33, 48)]


def test_long_padding_is_cut_into_short_segments() -> None:
    attend = isolate(rows_of([[5]], 100), "segments")
    assert isinstance(attend, SegmentAttention)
    assert attend.buckets == [(8, 16)]  # 5 tokens, then padding up to 16, 32, …, 100


def test_the_mask_is_the_one_drawn() -> None:
    attend: Any = isolate(torch.tensor([ROW]), "mask")
    drawn = ["x.....", "xx....", "xxx...", "...x..", "...xx.", ".....x"]
    assert attend.keywords["mask"][0, 0].tolist() == [[sign == "x" for sign in line] for line in drawn]


@pytest.mark.parametrize("choice", ["mask", "segments"])
@pytest.mark.parametrize("lengths", [[3, 17, 20], [270]])
def test_half_precision_keeps_the_format_of_the_values(choice: Backend, lengths: list[int]) -> None:
    document_ids = rows_of([lengths, []], sum(lengths) + 1)
    inputs = [states(2, sum(lengths) + 1, heads, torch.bfloat16).detach() for heads in (4, 2, 2)]
    query, key, value = (x.requires_grad_() for x in (inputs[0].float(), inputs[1].float(), inputs[2]))
    exact = [x.detach().double().requires_grad_() for x in inputs]
    with torch.autocast("cpu", torch.bfloat16):
        result = isolate(document_ids, choice)(query, key, value)
    assert result.dtype == torch.bfloat16
    learnt = (document_ids != 0)[..., None, None]
    wanted = isolate(document_ids, "mask")(*exact)
    assert ((result - wanted) * learnt).abs().max() < 0.02
    (result * learnt).float().square().sum().backward()
    (wanted * learnt).square().sum().backward()
    for found, true in zip((query, key, value), exact, strict=True):
        assert found.grad is not None and true.grad is not None
        assert found.grad.dtype == found.dtype
        assert (found.grad - true.grad).norm() < 0.02 * true.grad.norm()


def test_the_backend_follows_from_device_format_and_compilation() -> None:
    cpu = torch.device("cpu")
    assert backend(cpu, torch.bfloat16, 12) == backend(cpu, torch.float32, 64) == "segments"
    assert backend(cpu, torch.float32, 64, compiled=True) == "mask"
    assert backend(torch.device("mps"), torch.float32, 64) == "mask"
    assert backend(torch.device("cuda"), torch.float32, 64) == "mask"


def test_heads_that_flash_attention_refuses_fall_back_to_the_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("picochat.model.attention._has_varlen", lambda device: True)
    widths = {8: "varlen", 12: "mask", 192: "varlen", 224: "mask", 256: "varlen", 264: "mask"}
    assert {width: backend(torch.device("cuda"), torch.bfloat16, width) for width in widths} == widths


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("layout", LAYOUTS)
def test_cuda_backends_equal_the_reference(layout: str) -> None:
    document_ids = LAYOUTS[layout]
    device, dtype = torch.device("cuda"), torch.bfloat16
    for choice in {"mask", "segments", backend(device, dtype, 8)}:
        attend = isolate(document_ids.to(device), choice)  # type: ignore[arg-type]

        def there(query: Tensor, key: Tensor, value: Tensor, attend: Attend = attend) -> Tensor:
            return attend(*(states.to(device, dtype) for states in (query, key, value))).to("cpu", query.dtype)

        wanted = outcome(naive(document_ids), document_ids)
        torch.testing.assert_close(outcome(there, document_ids), wanted, rtol=0.05, atol=0.05)
