"""Rotary positions, and attention that stays inside of packed documents. In: position_ids, document_ids. Next: decoder.

Two documents of three and two tokens and one position of padding, packed into a row of six (document_ids 1 1 1 2 2 0);
a query sees the keys of its own document up to itself:

             key  0 1 2 3 4 5
    query 0  (1)  x
    query 1  (1)  x x
    query 2  (1)  x x x
    query 3  (2)        x
    query 4  (2)        x x
    query 5  (0)            x         padding sees padding only; nothing reads the result

`isolate` turns document_ids into an `Attend` once per batch. `backend` chooses how, by device, number format and width
of a head, so a run uses one throughout; rows without document_ids are plainly causal:

    segments  CPU: each document by itself, batched with others of about its length; no T × T mask, no work across
    varlen    CUDA from compute capability 8.0 in half precision: FlashAttention over the documents laid end to end
    mask      a dense mask of [T, T] per row: MPS, older CUDA devices, float32 on CUDA, heads of a width that
              FlashAttention refuses, and the CPU when compiled

On the CPU attention computes in float32 under autocast too: the kernel's bfloat16 backward takes up to three times as
long.
"""

import contextlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from inspect import signature
from typing import Any, Literal, cast

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the field's name

from picochat.model.config import DecoderConfig

# Queries [B, T, H, D], keys and values [B, T, K, D] to [B, T, H, D] in the format of the values; queries and keys may
# come in a wider one, since they are rotated in float32.
Attend = Callable[[Tensor, Tensor, Tensor], Tensor]
Backend = Literal["mask", "segments", "varlen"]
Rotation = tuple[Tensor, Tensor]  # (cos, sin), see `rotary_table`

_FLASH_WIDTHS = {*range(8, 193, 8), *range(232, 257, 8)}  # from 200 to 224 some devices have no backward
_ALIGN = 16  # lengths of segments are rounded up to a multiple of this, so that few kernel calls serve many lengths


def rotary_table(position_ids: Tensor, config: DecoderConfig) -> Rotation:
    """(cos, sin) of position × frequency: [B, T, 1, head_dim / 2], float32 whatever the weights are (Su et al. 2021).

    Scaling divides slow frequencies by ``factor`` and leaves fast ones: those of many turns within the trained context
    (Llama 3), or of low number (YaRN, Peng et al. 2023).
    """
    pairs = torch.arange(0, config.head_dim, 2, dtype=torch.float32, device=position_ids.device)
    frequencies = 1.0 / (config.rope_theta ** (pairs / config.head_dim))
    scale = 1.0
    if rope := config.rope_scaling:
        factor, trained = rope["factor"], rope["original_max_position_embeddings"]
        if rope["rope_type"] == "llama3":
            low, high = rope["low_freq_factor"], rope["high_freq_factor"]
            fast = ((trained * frequencies / (2 * math.pi) - low) / (high - low)).clamp(0, 1)
        else:

            def pair(turns: float) -> float:  # whose frequency makes so many turns within the trained context
                return config.head_dim * math.log(trained / (turns * 2 * math.pi)) / (2 * math.log(config.rope_theta))

            first = max(math.floor(pair(rope.get("beta_fast", 32))), 0)
            last = min(math.ceil(pair(rope.get("beta_slow", 1))), config.head_dim - 1)
            fast = 1 - ((pairs / 2 - first) / max(last - first, 0.001)).clamp(0, 1)
            scale = float(rope.get("attention_factor", 0.1 * math.log(max(factor, 1.0)) + 1.0))
        frequencies = frequencies * (fast + (1 - fast) / factor)
    angles = (position_ids[..., None].float() * frequencies).unsqueeze(-2)
    return angles.cos() * scale, angles.sin() * scale


def rotate(states: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn the pair (x[i], x[i + head_dim / 2]) of each head by its angle: states [B, T, H, head_dim]."""
    if states.device.type == "cpu" and not torch.compiler.is_compiling():
        return cast(Tensor, _Rotate.apply(states, cos, sin))  # type: ignore[no-untyped-call]
    first, second = states.chunk(2, -1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), -1)


class _Rotate(torch.autograd.Function):
    """`rotate` for the CPU, without intermediate tensors; the gradient turns back by the same angle."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        ctx.save_for_backward(cos, sin)
        ctx.dtype = states.dtype
        first, second = states.chunk(2, -1)
        turned = torch.empty_like(states, dtype=torch.promote_types(states.dtype, cos.dtype))
        left, right = turned.chunk(2, -1)
        torch.mul(first, cos, out=left).addcmul_(second, sin, value=-1)
        torch.mul(second, cos, out=right).addcmul_(first, sin)
        return turned

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        cos, sin = ctx.saved_tensors
        return rotate(gradients[0], cos, -sin).to(ctx.dtype), None, None


class SegmentAttention:
    """Documents [B, T] cut out of their rows, padded to the length of their bucket, attended to, and put back.

    With the picture above and lengths rounded up to even ones, the segments lie in order of length:

        out      3 4 | 5 . | 0 1 2 .      for each place of the segments the position of the batch; . is unused
        back     4 5 6 0 1 2              for each position of the batch the place in the segments

    Unused places end a segment, where causal attention does not look. Padding is cut into short segments, so that every
    position has a place, and each of the two moves is the other's gradient.
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
        buckets = zip(*map(self._cut, (query, key, value)), strict=True)
        mixed = torch.cat([attend(*bucket).flatten(0, 1) for bucket in buckets])
        joined = _Move.apply(mixed, self.back, self.out, self.unused)  # type: ignore[no-untyped-call]
        return cast(Tensor, joined).view_as(query)

    def _cut(self, states: Tensor) -> list[Tensor]:
        """[B, T, H, D] as [segments, L, H, D] of each bucket."""
        moved = _Move.apply(states.flatten(0, 1), self.out, self.back, None)  # type: ignore[no-untyped-call]
        parts = moved.split_with_sizes([number * length for number, length in self.buckets])
        return [part.view(*bucket, *states.shape[2:]) for part, bucket in zip(parts, self.buckets, strict=True)]


class _Move(torch.autograd.Function):
    """Rows of ``states`` in the order of ``places``; the gradient moves back along ``inverse``, and is 0 at ``unused``:
    no scatter-add, which is slow on the CPU."""

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
    """Attention for one batch, shared by all layers; for document_ids and cu_seqlens see `Batch`."""
    if document_ids is None:
        return attend
    if choice == "segments":
        return SegmentAttention(document_ids)
    if choice == "varlen":
        if cu_seqlens is None:
            starts = _begins(document_ids).nonzero().flatten()
            cu_seqlens = F.pad(starts, (0, 1), value=document_ids.numel()).to(torch.int32)
        return VarlenAttention(cu_seqlens)
    tokens = document_ids.shape[1]
    causal = torch.ones(tokens, tokens, dtype=torch.bool, device=document_ids.device).tril()
    same = document_ids[:, :, None] == document_ids[:, None, :]
    return partial(attend, mask=(same & causal).unsqueeze(1))


def _begins(document_ids: Tensor) -> Tensor:
    """[B · T] True where a document (or a run of padding) begins; every row begins one."""
    new = torch.ones_like(document_ids, dtype=torch.bool)
    new[:, 1:] = document_ids[:, 1:] != document_ids[:, :-1]
    return new.flatten()


@cache
def _has_varlen(device: torch.device) -> bool:
    if torch.cuda.get_device_capability(device) < (8, 0):
        return False
    from torch.nn.attention.varlen import varlen_attn

    return "enable_gqa" in signature(varlen_attn).parameters  # older releases take no grouped queries


def attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
    """[B, T, H, D] by torch's kernel, where ``mask`` [B, 1, T, T] is True or causal; in float32 at least on the CPU."""
    cpu = value.device.type == "cpu"
    working = torch.promote_types(value.dtype, torch.float32) if cpu else value.dtype
    q, k, v = (states.to(working).transpose(1, 2) for states in (query, key, value))
    grouped = q.shape[1] != k.shape[1]
    with torch.autocast(value.device.type, enabled=False) if cpu else contextlib.nullcontext():
        mixed = F.scaled_dot_product_attention(q, k, v, mask, is_causal=mask is None, enable_gqa=grouped)
    return mixed.transpose(1, 2).to(value.dtype)
