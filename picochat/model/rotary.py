"""Rotary positions (Su et al. 2021), with the frequency scalings of Llama 3 and YaRN. Next: decoder."""

import math
from typing import Any, cast

import torch
from torch import Tensor

from picochat.model.config import DecoderConfig

Rotation = tuple[Tensor, Tensor]  # (cos, sin), see `rotary_table`


def rotary_table(position_ids: Tensor, config: DecoderConfig) -> Rotation:
    """(cos, sin) of position × frequency: [B, T, 1, head_dim / 2], in float32 whatever the weights are.

    Made for every batch from the positions: there is no table that a conversion to half precision could spoil.
    """
    frequencies, scale = _frequencies(config, position_ids.device)
    angles = (position_ids[..., None].float() * frequencies).unsqueeze(-2)
    return angles.cos() * scale, angles.sin() * scale


def _frequencies(config: DecoderConfig, device: torch.device) -> tuple[Tensor, float]:
    """[head_dim / 2] radians a position, and a factor on cos and sin.

    Scaling divides slow frequencies by ``factor`` and leaves fast ones; ``fast`` runs from 0 to 1 between. Llama 3
    tells them apart by turns within the trained context, YaRN (Peng et al. 2023) by the number of the pair.
    """
    pairs = torch.arange(0, config.head_dim, 2, dtype=torch.float32, device=device)
    frequencies = 1.0 / (config.rope_theta ** (pairs / config.head_dim))
    rope = config.rope_scaling
    if rope is None:
        return frequencies, 1.0
    factor, trained, scale = rope["factor"], rope.get("original_max_position_embeddings", 0), 1.0
    fast: Tensor | float = 0.0
    if rope["rope_type"] == "llama3":
        low, high = rope["low_freq_factor"], rope["high_freq_factor"]
        fast = ((trained * frequencies / (2 * math.pi) - low) / (high - low)).clamp(0, 1)
    elif rope["rope_type"] == "yarn":

        def pair(turns: float) -> float:  # whose frequency makes so many turns within the trained context
            return config.head_dim * math.log(trained / (turns * 2 * math.pi)) / (2 * math.log(config.rope_theta))

        first, last = pair(rope.get("beta_fast") or 32), pair(rope.get("beta_slow") or 1)
        if rope.get("truncate", True):
            first, last = math.floor(first), math.ceil(last)
        first, last = max(first, 0), min(last, config.head_dim - 1)
        fast = 1 - ((pairs / 2 - first) / max(last - first, 0.001)).clamp(0, 1)

        def growth(weight: float) -> float:
            return 0.1 * weight * math.log(factor) + 1.0 if factor > 1 else 1.0

        over, under = rope.get("mscale"), rope.get("mscale_all_dim")
        scale = rope.get("attention_factor") or (growth(over) / growth(under) if over and under else growth(1))
    return frequencies * (fast + (1 - fast) / factor), float(scale)


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
