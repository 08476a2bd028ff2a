"""Attention that never crosses from one packed document into another. In: document_ids of a batch. Next: decoder.

Two documents of three and two tokens and one place of padding, packed into a row of six (document_ids 1 1 1 2 2 0);
a query sees the keys of its own document up to itself:

             key  0 1 2 3 4 5
    query 0  (1)  x
    query 1  (1)  x x
    query 2  (1)  x x x
    query 3  (2)        x
    query 4  (2)        x x
    query 5  (0)            x         padding sees padding only; nobody reads what comes out there

`isolate` turns document_ids into an `Attend` once per batch; every layer calls it with its queries, keys and values.
Which one it is depends on the device and the number format alone, so a run uses one throughout (`backend` names it):

    causal    rows of one document each (no document_ids): the plain causal kernel
    segments  CPU: each document by itself, batched with others of about its length; no T × T mask, no work across
    varlen    CUDA from compute capability 8.0 in half precision: FlashAttention over the documents laid end to end
    mask      a dense mask of [T, T] per row: MPS, older CUDA devices, float32 on CUDA, and the CPU when compiled

On the CPU attention works in float32 under autocast as well: the bfloat16 kernel's backward takes up to three times as
long for short documents (benchmarks/attention.py).
"""

import contextlib
from dataclasses import dataclass
from importlib.util import find_spec
from inspect import signature
from typing import Any, Literal, Protocol, cast

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the field's name

Backend = Literal["causal", "mask", "segments", "varlen"]

_ALIGN = 16  # lengths of segments are rounded up to a multiple of this, so that few kernel calls serve many lengths


class Attend(Protocol):
    """Causal attention within documents.

    Queries and keys may come in a wider number format than values (rotation is done in float32); the result has the
    format of the values.

    Args:
        query: [B, T, H, D].
        key: [B, T, K, D], K dividing H.
        value: [B, T, K, D].

    Returns:
        [B, T, H, D].
    """

    def __call__(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class CausalAttention:
    """Every row is one document."""

    def __call__(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        return _sdpa(query, key, value, None)


@dataclass(frozen=True)
class MaskAttention:
    """mask: [B, 1, T, T], True where a query sees a key."""

    mask: Tensor

    def __call__(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        return _sdpa(query, key, value, self.mask)


@dataclass(frozen=True)
class SegmentAttention:
    """Documents cut out of their rows, padded to the length of their bucket, and put back.

    With the picture above and lengths rounded up to even ones, the two documents fall into buckets of four and two:

        out    [3 4 | 0 1 2 6]      for each place of the padded segments the flat place of the batch, 6 = none
        back   [2 3 4 0 1 6]        for each flat place of the batch the place in the segments, 6 = none (padding)

    Padding stands behind a segment, where causal attention does not look.

    Attributes:
        out: [S] with S = Σ segments × length over the buckets.
        back: [B · T]; each of the two maps undoes the other, so each is the other's gradient.
        buckets: (segments, length) in the order of `out`.
    """

    out: Tensor
    back: Tensor
    buckets: tuple[tuple[int, int], ...]

    def __call__(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        sizes = [segments * length for segments, length in self.buckets]
        cut = [
            _move(states.flatten(0, 1), self.out, self.back).split_with_sizes(sizes) for states in (query, key, value)
        ]
        results = [
            _sdpa(q.unflatten(0, bucket), k.unflatten(0, bucket), v.unflatten(0, bucket), None).flatten(0, 1)
            for bucket, q, k, v in zip(self.buckets, *cut, strict=True)
        ]
        return _move(torch.cat(results), self.back, self.out).view_as(query)


def _move(states: Tensor, places: Tensor, inverse: Tensor) -> Tensor:
    moved: Tensor = _Move.apply(states, places, inverse)  # type: ignore[no-untyped-call]
    return moved


class _Move(torch.autograd.Function):
    """Rows of ``states`` in the order of ``places``; a place behind the last row gives zeros.

    The gradient moves back along ``inverse``: no scatter-add, which is slow on the CPU in bfloat16.
    """

    @staticmethod
    def forward(ctx: Any, states: Tensor, places: Tensor, inverse: Tensor) -> Tensor:
        ctx.save_for_backward(places, inverse)
        return F.pad(states, (0, 0) * (states.dim() - 1) + (0, 1)).index_select(0, places)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        places, inverse = ctx.saved_tensors
        return _move(gradients[0], inverse, places), None, None


@dataclass(frozen=True)
class VarlenAttention:
    """Documents of the whole batch laid end to end: cu_seqlens [documents + 1] int32 from 0 to B · T."""

    cu_seqlens: Tensor

    def __call__(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        from torch.nn.attention.varlen import varlen_attn

        groups = query.shape[2] // key.shape[2]
        if groups > 1:  # torch 2.11 has no grouped queries here
            key, value = key.repeat_interleave(groups, 2), value.repeat_interleave(groups, 2)
        q, k, v = (states.to(value.dtype).flatten(0, 1).contiguous() for states in (query, key, value))
        longest = query.shape[1]  # an upper bound is enough, and needs no look at the device
        result = varlen_attn(q, k, v, self.cu_seqlens, self.cu_seqlens, longest, longest, window_size=(-1, 0))
        return cast(Tensor, result).view_as(query)


def backend(device: torch.device, dtype: torch.dtype, *, compiled: bool = False) -> Backend:
    """The way to isolate documents on this device, with values in this number format."""
    if device.type == "cpu" and not compiled:
        return "segments"  # compiled, every new set of segments would be a new program
    if device.type == "cuda" and dtype in (torch.float16, torch.bfloat16) and _has_varlen(device):
        return "varlen"
    return "mask"


def isolate(document_ids: Tensor | None, choice: Backend) -> Attend:
    """Prepare attention for one batch; all layers share it.

    Args:
        document_ids: [B, T], equal within a document, 0 on padding; None: each row is one document.
        choice: what `backend` says.
    """
    if document_ids is None or choice == "causal":
        return CausalAttention()
    if choice == "varlen":
        return VarlenAttention(_cu_seqlens(document_ids))
    return _segments(document_ids) if choice == "segments" else MaskAttention(_mask(document_ids))


def _mask(document_ids: Tensor) -> Tensor:
    tokens = document_ids.shape[1]
    causal = torch.ones(tokens, tokens, dtype=torch.bool, device=document_ids.device).tril()
    return ((document_ids[:, :, None] == document_ids[:, None, :]) & causal).unsqueeze(1)


def _cu_seqlens(document_ids: Tensor) -> Tensor:
    starts = _starts(document_ids).nonzero().flatten()
    return F.pad(starts, (0, 1), value=document_ids.numel()).to(torch.int32)


def _segments(document_ids: Tensor) -> Attend:
    flat = document_ids.flatten()
    starts = _starts(document_ids).nonzero().flatten()
    lengths = torch.diff(starts, append=starts.new_tensor([flat.numel()]))
    real = flat[starts] != 0  # a run of padding is no document
    starts, lengths = starts[real], lengths[real]
    if not len(starts):
        return CausalAttention()  # all is padding: nobody reads it, but every weight keeps its place in the graph
    padded = (lengths + _ALIGN - 1) // _ALIGN * _ALIGN
    back = torch.empty_like(flat, dtype=torch.long)
    out, buckets, done = [], [], 0
    for length in sorted(set(padded.tolist())):
        first, count = starts[padded == length, None], lengths[padded == length, None]
        offsets = torch.arange(length, device=flat.device)
        inside = offsets < count
        places = first + offsets
        back[places[inside]] = done + inside.flatten().nonzero().flatten()
        out.append(places.masked_fill(~inside, flat.numel()).flatten())
        buckets.append((len(first), length))
        done += places.numel()
    back[flat == 0] = done
    return SegmentAttention(torch.cat(out), back, tuple(buckets))


def _starts(document_ids: Tensor) -> Tensor:
    """[B · T] True where a document (or a run of padding) begins; every row begins one."""
    new = torch.ones_like(document_ids, dtype=torch.bool)
    new[:, 1:] = document_ids[:, 1:] != document_ids[:, :-1]
    return new.flatten()


def _has_varlen(device: torch.device) -> bool:
    if torch.cuda.get_device_capability(device) < (8, 0) or find_spec("torch.nn.attention.varlen") is None:
        return False
    from torch.nn.attention.varlen import varlen_attn

    return "window_size" in signature(varlen_attn).parameters  # older releases spell causality otherwise


def _sdpa(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
    wanted = value.dtype
    cpu = value.device.type == "cpu"
    working = torch.promote_types(wanted, torch.float32) if cpu else wanted
    query, key, value = (states.to(working).transpose(1, 2) for states in (query, key, value))
    grouped = query.shape[1] != key.shape[1]
    with torch.autocast(value.device.type, enabled=False) if cpu else contextlib.nullcontext():
        result = F.scaled_dot_product_attention(query, key, value, mask, is_causal=mask is None, enable_gqa=grouped)
    return result.transpose(1, 2).to(wanted)
