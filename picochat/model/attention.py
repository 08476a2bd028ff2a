"""Attention that never crosses from one packed document into another. In: document_ids of a batch. Next: decoder.

Two documents of three and two tokens and one position of padding, packed into a row of six (document_ids 1 1 1 2 2 0);
a query sees the keys of its own document up to itself:

             key  0 1 2 3 4 5
    query 0  (1)  x
    query 1  (1)  x x
    query 2  (1)  x x x
    query 3  (2)        x
    query 4  (2)        x x
    query 5  (0)            x         padding sees padding only; nothing reads the result

`isolate` turns document_ids into an `Attend` once per batch; every layer calls it with its queries, keys and values.
`backend` chooses by device, number format and width of a head, so a run uses one throughout:

    causal    rows of one document each (no document_ids): the plain causal kernel
    segments  CPU: each document by itself, batched with others of about its length; no T × T mask, no work across
    varlen    CUDA from compute capability 8.0 in half precision: FlashAttention over the documents laid end to end
    mask      a dense mask of [T, T] per row: MPS, older CUDA devices, float32 on CUDA, heads of a width that
              FlashAttention refuses, and the CPU when compiled

On the CPU attention computes in float32 under autocast too: the kernel's bfloat16 backward takes up to three times as
long (benchmarks/profiles.py).
"""

import contextlib
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from inspect import signature
from typing import Any, Literal, Protocol, cast

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the field's name

Backend = Literal["causal", "mask", "segments", "varlen"]

_FLASH_WIDTHS = {*range(8, 193, 8), *range(232, 257, 8)}  # from 200 to 224 some devices have no backward
_ALIGN = 16  # lengths of segments are rounded up to a multiple of this, so that few kernel calls serve many lengths


class Attend(Protocol):
    """Causal attention within documents: [B, T, H, D] of queries [B, T, H, D], keys and values [B, T, K, D].

    Queries and keys may come in a wider number format than values (rotation is done in float32); the result has the
    format of the values.
    """

    def __call__(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class MaskAttention:
    """mask: [B, 1, T, T], True where a query sees a key; None: every row is one document."""

    mask: Tensor | None

    def __call__(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        return _attend(query, key, value, self.mask)


class SegmentAttention:
    """Documents cut out of their rows, padded to the length of their bucket, attended to, and put back.

    With the picture above and lengths rounded up to even ones, the segments lie in order of length:

        out      3 4 | 5 . | 0 1 2 .      for each place of the segments the position of the batch; . is unused
        back     4 5 6 0 1 2              for each position of the batch the place in the segments

    Unused places stand at the end of a segment, where causal attention does not look. Padding is cut into segments too,
    short ones, so that every position of the batch has a place, and each of the two moves is the other's gradient.

    Args:
        document_ids: [B, T].
    """

    def __init__(self, document_ids: Tensor) -> None:
        flat = document_ids.flatten()
        positions = torch.arange(flat.numel(), device=flat.device)
        cuts = (flat == 0) & (positions % _ALIGN == 0)  # long padding in short segments, which cost little
        starts = (_begins(document_ids) | cuts).nonzero().flatten()
        lengths = torch.diff(starts, append=starts.new_tensor([flat.numel()]))
        padded, order = ((lengths + _ALIGN - 1) // _ALIGN * _ALIGN).sort(stable=True)
        starts, lengths = starts[order], lengths[order]
        lengths_padded, counts = torch.unique_consecutive(padded, return_counts=True)
        self.buckets: list[tuple[int, int]] = list(zip(counts.tolist(), lengths_padded.tolist(), strict=True))
        segment = torch.arange(len(padded), device=flat.device).repeat_interleave(padded)
        token = torch.arange(len(segment), device=flat.device) - (padded.cumsum(0) - padded)[segment]
        filled = token < lengths[segment]
        self.out = (starts[segment] + token).masked_fill_(~filled, 0)
        self.unused = (~filled).nonzero().flatten()
        self.back = torch.empty_like(positions)
        self.back[self.out[filled]] = filled.nonzero().flatten()

    def __call__(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        buckets = zip(*(self._cut(states) for states in (query, key, value)), strict=True)
        mixed = torch.cat([_attend(*bucket).flatten(0, 1) for bucket in buckets])
        joined = _Move.apply(mixed, self.back, self.out, self.unused)  # type: ignore[no-untyped-call]
        return cast(Tensor, joined).view_as(query)

    def _cut(self, states: Tensor) -> list[Tensor]:
        """[B, T, H, D] as [segments, L, H, D] of each bucket."""
        moved = _Move.apply(states.flatten(0, 1), self.out, self.back, None)  # type: ignore[no-untyped-call]
        parts = moved.split_with_sizes([number * length for number, length in self.buckets])
        return [part.view(*bucket, *states.shape[2:]) for part, bucket in zip(parts, self.buckets, strict=True)]


class _Move(torch.autograd.Function):
    """Rows of ``states`` in the order of ``places``.

    The gradient moves back along ``inverse``, and is zero at ``unused``: no scatter-add, which is slow on the CPU.
    """

    @staticmethod
    def forward(ctx: Any, states: Tensor, places: Tensor, inverse: Tensor, unused: Tensor | None) -> Tensor:
        ctx.inverse, ctx.unused = inverse, unused
        return states.index_select(0, places)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        moved = gradients[0].index_select(0, ctx.inverse)
        return moved if ctx.unused is None else moved.index_fill_(0, ctx.unused, 0), None, None, None


@dataclass(frozen=True)
class VarlenAttention:
    """Documents of the whole batch laid end to end: cu_seqlens [documents + 1] int32 from 0 to B · T."""

    cu_seqlens: Tensor

    def __call__(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        from torch.nn.attention.varlen import varlen_attn

        q, k, v = (states.to(value.dtype).flatten(0, 1).contiguous() for states in (query, key, value))
        longest = query.shape[1]  # an upper bound is enough, and needs no look at the device
        mixed = varlen_attn(
            q, k, v, self.cu_seqlens, self.cu_seqlens, longest, longest, window_size=(-1, 0), enable_gqa=True
        )
        return cast(Tensor, mixed).view_as(query)


def backend(device: torch.device, dtype: torch.dtype, head_dim: int, *, compiled: bool = False) -> Backend:
    """How to isolate documents on this device, with values in this number format and heads of this width."""
    if device.type == "cpu" and not compiled:
        return "segments"  # compiled, every new set of segments would be a new program
    half = dtype in (torch.float16, torch.bfloat16)
    if device.type == "cuda" and half and head_dim in _FLASH_WIDTHS and _has_varlen(device):
        return "varlen"
    return "mask"


def isolate(document_ids: Tensor | None, choice: Backend, cu_seqlens: Tensor | None = None) -> Attend:
    """Attention for one batch, shared by all layers; document_ids [B, T] are equal within a document, 0 on padding.

    ``cu_seqlens`` (see `Batch`) spares a device that counts documents a wait for their number.
    """
    if document_ids is None or choice == "causal":
        return MaskAttention(None)
    if choice == "segments":
        return SegmentAttention(document_ids)
    if choice == "varlen":
        if cu_seqlens is None:
            starts = _begins(document_ids).nonzero().flatten()
            cu_seqlens = F.pad(starts, (0, 1), value=document_ids.numel()).to(torch.int32)
        return VarlenAttention(cu_seqlens)
    tokens = document_ids.shape[1]
    causal = torch.ones(tokens, tokens, dtype=torch.bool, device=document_ids.device).tril()
    return MaskAttention(((document_ids[:, :, None] == document_ids[:, None, :]) & causal).unsqueeze(1))


def _begins(document_ids: Tensor) -> Tensor:
    """[B · T] True where a document (or a run of padding) begins; every row begins one."""
    new = torch.ones_like(document_ids, dtype=torch.bool)
    new[:, 1:] = document_ids[:, 1:] != document_ids[:, :-1]
    return new.flatten()


@cache
def _has_varlen(device: torch.device) -> bool:
    if torch.cuda.get_device_capability(device) < (8, 0) or find_spec("torch.nn.attention.varlen") is None:
        return False
    from torch.nn.attention.varlen import varlen_attn

    return "enable_gqa" in signature(varlen_attn).parameters  # older releases take no grouped queries


def _attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
    """[B, T, H, D] by torch's kernel, causal where there is no mask; in float32 at least on the CPU."""
    cpu = value.device.type == "cpu"
    working = torch.promote_types(value.dtype, torch.float32) if cpu else value.dtype
    q, k, v = (states.to(working).transpose(1, 2) for states in (query, key, value))
    grouped = q.shape[1] != k.shape[1]
    with torch.autocast(value.device.type, enabled=False) if cpu else contextlib.nullcontext():
        mixed = F.scaled_dot_product_attention(q, k, v, mask, is_causal=mask is None, enable_gqa=grouped)
    return mixed.transpose(1, 2).to(value.dtype)
