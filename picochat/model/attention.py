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

On the CPU scores and softmax are float32 under autocast as well. Documents of up to some two hundred tokens go by plain
matrix products, which take half the time of the fused kernel there; longer ones by that kernel in float32, as its
bfloat16 backward takes up to three times as long (benchmarks/profiles.py).
"""

import contextlib
from dataclasses import dataclass
from importlib.util import find_spec
from inspect import signature
from typing import Any, Literal, NamedTuple, Protocol, cast

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the field's name

Backend = Literal["causal", "mask", "segments", "varlen"]

_ALIGN = 16  # lengths of segments are rounded up to a multiple of this, so that few kernel calls serve many lengths
_LONGEST_PRODUCT = {True: 256, False: 128}  # with values in half precision or not: where the fused kernel gets faster


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


class _Layout(NamedTuple):
    """Where every head of every token lies; rows are heads of places."""

    out: Tensor  # [S · heads] for each row of the segments the row of the batch; a hollow one reads row 0
    back: Tensor  # [B · T · heads] for each row of the batch the row of the segments
    hollow: Tensor  # rows of the segments that hold no token


class SegmentAttention:
    """Documents cut out of their rows, padded to the length of their bucket, attended to, and put back.

    With the picture above, one head and lengths rounded up to even ones, the segments lie by length:

        out      3 4 | 5 . | 0 1 2 .      for each place of the segments the place of the batch; . is hollow
        back     4 5 6 0 1 2              for each place of the batch the place in the segments

    Hollow places stand behind a segment, where causal attention does not look. Padding is cut into segments too, short
    ones, so that every place of the batch has one in the segments, and each of the two moves is the other's gradient.

    Args:
        starts: [n] flat place of each segment's first token, in the order of `padded`.
        lengths: [n] tokens of each segment.
        padded: [n] places of each, ascending; those of one length are a bucket.
        tokens: B · T.
    """

    def __init__(self, starts: Tensor, lengths: Tensor, padded: Tensor, tokens: int) -> None:
        self._starts, self._lengths, self._padded, self._tokens = starts, lengths, padded, tokens
        found, counts = torch.unique_consecutive(padded, return_counts=True)
        self.buckets: list[tuple[int, int]] = list(zip(counts.tolist(), found.tolist(), strict=True))
        self._layouts: dict[int, _Layout] = {}  # by heads; all layers share them
        self._causal: dict[tuple[int, int], Tensor] = {}

    def __call__(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        heads, shared, size = query.shape[2], key.shape[2], query.shape[3]
        own, common = self.layout(heads), self.layout(shared)
        working = torch.promote_types(value.dtype, torch.float32)
        moved = [
            _Move.apply(states.to(kind).reshape(-1, size), layout.out, layout.back, None)  # type: ignore[no-untyped-call]
            for states, kind, layout in ((query, working, own), (key, working, common), (value, value.dtype, common))
        ]
        cut = [
            states.split_with_sizes([n * length * each for n, length in self.buckets])
            for states, each in zip(moved, (heads, shared, shared), strict=True)
        ]
        with torch.autocast(value.device.type, enabled=False):
            results = [
                self._attend(*(states.view(n, -1, length, size) for states in (q, k, v))).reshape(-1, size)
                for (n, length), q, k, v in zip(self.buckets, *cut, strict=True)
            ]
        joined = _Move.apply(torch.cat(results), own.back, own.out, own.hollow)  # type: ignore[no-untyped-call]
        return cast(Tensor, joined).view_as(query)

    def _attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """One bucket: [n, H, L, D] of [n, H, L, D] and twice [n, K, L, D]."""
        n, shared, length, size = key.shape
        if length > _LONGEST_PRODUCT[value.dtype != query.dtype]:
            wide = value.to(query.dtype)
            grouped = query.shape[1] != shared
            result = F.scaled_dot_product_attention(query, key, wide, is_causal=True, enable_gqa=grouped)
            return result.to(value.dtype)
        # Heads that share a key stand below each other as its queries, which spares copies of the keys.
        queries = query.view(n * shared, -1, size)
        causal = self.causal(queries.shape[1], length, query)
        mixed = _Products.apply(queries, key.flatten(0, 1), value.flatten(0, 1), causal)  # type: ignore[no-untyped-call]
        return cast(Tensor, mixed)

    def causal(self, queries: int, length: int, like: Tensor) -> Tensor:
        """[queries, length] to add to scores: -inf where a key comes after the query; heads stand below each other."""
        if (queries, length) not in self._causal:
            ahead = torch.ones(length, length, dtype=torch.bool, device=like.device).triu(1)
            bias = like.new_zeros(length, length).masked_fill_(ahead, -torch.inf)
            self._causal[queries, length] = bias.repeat(queries // length, 1)
        return self._causal[queries, length]

    def layout(self, heads: int) -> _Layout:
        """The moves of states with so many heads."""
        if heads not in self._layouts:
            sizes = self._padded * heads
            segment = torch.arange(len(sizes), device=sizes.device).repeat_interleave(sizes)
            offset = torch.arange(len(segment), device=sizes.device) - (sizes.cumsum(0) - sizes)[segment]
            head, token = offset // self._padded[segment], offset % self._padded[segment]
            filled = token < self._lengths[segment]
            rows = (self._starts[segment] + token) * heads + head
            back = torch.empty(self._tokens * heads, dtype=torch.long, device=sizes.device)
            back[rows[filled]] = filled.nonzero().flatten()
            hollow = (~filled).nonzero().flatten()
            self._layouts[heads] = _Layout(rows.masked_fill_(~filled, 0), back, hollow)
        return self._layouts[heads]


class _Move(torch.autograd.Function):
    """Rows of ``states`` in the order of ``places``.

    The gradient moves back along ``inverse``, and is zero at ``hollow``: no scatter-add, which is slow on the CPU.
    """

    @staticmethod
    def forward(ctx: Any, states: Tensor, places: Tensor, inverse: Tensor, hollow: Tensor | None) -> Tensor:
        ctx.inverse, ctx.hollow = inverse, hollow
        return states.index_select(0, places)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        moved = gradients[0].index_select(0, ctx.inverse)
        return moved if ctx.hollow is None else moved.index_fill_(0, ctx.hollow, 0), None, None, None


class _Products(torch.autograd.Function):
    """Causal attention of short segments by matrix products: the fused kernel takes twice as long for them.

    Scores and softmax in the format of queries and keys (float32), the other products in that of the values. With
    S = q kᵀ / √D, P = softmax(S) and o = P v:

        dv = Pᵀ do        dS = P · (do vᵀ - Σ do · o) / √D        dq = dS k        dk = dSᵀ q
    """

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, causal: Tensor) -> Tensor:
        ctx.scale = query.shape[-1] ** -0.5
        ctx.wide = query.dtype
        shares = torch.baddbmm(causal, query, key.mT, alpha=ctx.scale).softmax(-1).to(value.dtype)
        mixed = torch.bmm(shares, value)
        ctx.save_for_backward(query.to(value.dtype), key.to(value.dtype), value, shares, mixed)
        return mixed

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        query, key, value, shares, mixed = ctx.saved_tensors
        (gradient,) = gradients
        mean = (gradient * mixed).sum(-1, keepdim=True)
        scores = torch.bmm(gradient, value.mT).sub_(mean).mul_(shares)
        d_query = torch.bmm(scores, key).to(ctx.wide).mul_(ctx.scale)
        d_key = torch.bmm(scores.mT, query).to(ctx.wide).mul_(ctx.scale)
        return d_query, d_key, torch.bmm(shares.mT, gradient), None


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


def _segments(document_ids: Tensor) -> SegmentAttention:
    flat = document_ids.flatten()
    places = torch.arange(flat.numel(), device=flat.device)
    cuts = (flat == 0) & (places % _ALIGN == 0)  # long padding in short segments, which cost little
    starts = (_starts(document_ids) | cuts).nonzero().flatten()
    lengths = torch.diff(starts, append=starts.new_tensor([flat.numel()]))
    padded, order = ((lengths + _ALIGN - 1) // _ALIGN * _ALIGN).sort(stable=True)
    return SegmentAttention(starts[order], lengths[order], padded, flat.numel())


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
