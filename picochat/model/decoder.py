"""The network: Qwen3's dense architecture. In: packed ids. Out: hidden states, and logits for those asked. Next: loss.

Parameter names, shapes and arithmetic are those of Qwen3ForCausalLM, so a state dict of one is one of the other.
Pre-norm residual blocks: RMSNorm, grouped-query attention with per-head RMSNorm on queries and keys and rotary
positions, SwiGLU; no biases; the head may share the embedding.

Initialisation, with s = ``initializer_range`` (0.02) and L layers:

    parameter                          distribution            why
    embed_tokens, lm_head              normal(0, s)            logits start near zero: the first loss is log(vocabulary)
    q, k, v, gate, up projections      normal(0, 1/√fan_in)    keeps the scale of its input, at every width
    o, down projections                normal(0, 1/√(2L·fan_in))  2L of them add up in the residual stream
    norms                              1
"""

import math
from dataclasses import dataclass, fields
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the field's name
from torch.utils.checkpoint import checkpoint

from picochat.errors import UserError
from picochat.model.attention import Attend, Backend, backend, isolate


@dataclass(frozen=True)
class DecoderConfig:
    """Size and shape; the names are those of a Qwen3 ``config.json``.

    Args:
        vocab_size: tokens of the tokenizer. A fresh model in training takes it from the data.
        hidden_size: width of the residual stream.
        intermediate_size: inner width of the SwiGLU.
        num_hidden_layers: blocks.
        num_attention_heads: query heads.
        num_key_value_heads: key and value heads; divides num_attention_heads.
        head_dim: width of one head; even.
        max_position_embeddings: longest context, in tokens; training raises it to the data's context length.
        rope_theta: base of the rotary frequencies.
        rms_norm_eps: added to the mean square in RMSNorm.
        tie_word_embeddings: the head shares the embedding's weights.
        initializer_range: standard deviation of fresh embeddings.

    Raises:
        UserError: sizes that do not fit together.
    """

    vocab_size: int = 512
    hidden_size: int = 128
    intermediate_size: int = 384
    num_hidden_layers: int = 4
    num_attention_heads: int = 4
    num_key_value_heads: int = 2
    head_dim: int = 32
    max_position_embeddings: int = 256
    rope_theta: float = 10_000.0
    rms_norm_eps: float = 1e-6
    tie_word_embeddings: bool = True
    initializer_range: float = 0.02

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name != "tie_word_embeddings" and not value > 0:
                raise UserError(f"{field.name} is {value}; it must be above 0")
        heads, shared = self.num_attention_heads, self.num_key_value_heads
        if heads % shared:
            fitting = ", ".join(str(n) for n in range(1, heads + 1) if heads % n == 0)
            raise UserError(
                f"num_key_value_heads {shared} does not divide num_attention_heads {heads}; use one of {fitting}"
            )
        if self.head_dim % 2:
            raise UserError(f"head_dim is {self.head_dim}; rotary positions turn pairs, so it must be even")

    @property
    def num_parameters(self) -> int:
        """Parameters, a tied head counted once."""
        embeddings = self.vocab_size * self.hidden_size * (1 if self.tie_word_embeddings else 2)
        norms = self.num_hidden_layers * 2 * (self.hidden_size + self.head_dim) + self.hidden_size
        return embeddings + norms + self._matrix_parameters

    def flops_per_token(self, tokens: float, *, supervised: float = 1.0) -> float:
        """Floating-point operations of training one token: 6 per matrix weight, and attention over the document.

        Kaplan et al. 2020, appendix B, forward and backward; causal attention sees half of ``tokens`` on average.

        Args:
            tokens: length of a document (of the row, where documents are as long).
            supervised: share of positions that pass through the head.
        """
        head = self.vocab_size * self.hidden_size * supervised
        attention = self.num_hidden_layers * self.num_attention_heads * self.head_dim * tokens
        return 6.0 * (self._matrix_parameters + head + attention)

    @property
    def _matrix_parameters(self) -> int:
        queries = self.num_attention_heads * self.head_dim
        keys = self.num_key_value_heads * self.head_dim
        attention = self.hidden_size * (2 * queries + 2 * keys)
        return self.num_hidden_layers * (attention + 3 * self.hidden_size * self.intermediate_size)


class Decoder(nn.Module):
    """The language model.

    Args:
        config: its size.
    """

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.config = config
        self.model = _Stack(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self._compiled = False
        self.initialize()
        if config.tie_word_embeddings:
            self.lm_head.weight = self.model.embed_tokens.weight

    @torch.no_grad()
    def initialize(self) -> None:
        """Draw all weights afresh from torch's generator, by the table above."""
        config = self.config
        residual = 1 / math.sqrt(2 * config.num_hidden_layers)
        for name, parameter in self.named_parameters():
            if name.endswith("norm.weight"):
                parameter.fill_(1.0)
            elif parameter is self.lm_head.weight or parameter is self.model.embed_tokens.weight:
                parameter.normal_(0.0, config.initializer_range)
            else:
                scale = residual if name.endswith(("o_proj.weight", "down_proj.weight")) else 1.0
                parameter.normal_(0.0, scale / math.sqrt(parameter.shape[1]))

    def forward(
        self, input_ids: Tensor, position_ids: Tensor | None = None, document_ids: Tensor | None = None
    ) -> Tensor:
        """Hidden states [B, T, hidden_size] behind the last norm; `logits` turns them into scores.

        Args:
            input_ids: [B, T].
            position_ids: [B, T], restarting with every document; None: 0, 1, 2, …
            document_ids: [B, T], which attention does not leave; None: every row is one document.
        """
        if position_ids is None:
            position_ids = torch.arange(input_ids.shape[1], device=input_ids.device).expand_as(input_ids)
        # Outside of the compiled part: how many documents a batch holds is data, not shape.
        attend = isolate(document_ids, self.attention_backend())
        hidden: Tensor = self.model(input_ids, position_ids, attend)
        return hidden

    def logits(self, hidden: Tensor) -> Tensor:
        """Scores [..., vocab_size] of hidden states [..., hidden_size]."""
        scores: Tensor = self.lm_head(hidden)
        return scores

    def recompute(self) -> None:
        """Keep only each block's input for the backward pass, and compute the block again there (Chen et al. 2016)."""
        for block in self.model.layers:
            cast(_Block, block).recompute = True

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Compile the blocks with torch.compile; attention is prepared outside."""
        self._compiled = True
        self.model.compile(*args, **kwargs)

    def attention_backend(self) -> Backend:
        """The name of the way documents are isolated, for the run's log."""
        weight = self.lm_head.weight
        autocast = torch.is_autocast_enabled(weight.device.type)
        dtype = torch.get_autocast_dtype(weight.device.type) if autocast else weight.dtype
        return backend(weight.device, dtype, compiled=self._compiled)


class _Stack(nn.Module):
    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.config = config
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(_Block(config) for _ in range(config.num_hidden_layers))
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)

    def forward(self, input_ids: Tensor, position_ids: Tensor, attend: Attend) -> Tensor:
        rotation = rotary_table(position_ids, self.config)
        hidden: Tensor = self.embed_tokens(input_ids)
        for layer in self.layers:
            hidden = layer(hidden, rotation, attend)
        result: Tensor = self.norm(hidden)
        return result


class _Block(nn.Module):
    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.self_attn = _Attention(config)
        self.mlp = _SwiGLU(config)
        self.input_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.recompute = False

    def forward(self, hidden: Tensor, rotation: tuple[Tensor, Tensor], attend: Attend) -> Tensor:
        if self.recompute and torch.is_grad_enabled():
            # Inside of the block: where FSDP2 shards it, its hooks stand outside and gather the weights once.
            # Nothing here is random, so no generator's state is kept.
            states: Tensor = checkpoint(
                self._compute, hidden, rotation, attend, use_reentrant=False, preserve_rng_state=False
            )
            return states
        return self._compute(hidden, rotation, attend)

    def _compute(self, hidden: Tensor, rotation: tuple[Tensor, Tensor], attend: Attend) -> Tensor:
        hidden = hidden + self.self_attn(self.input_layernorm(hidden), rotation, attend)
        result: Tensor = hidden + self.mlp(self.post_attention_layernorm(hidden))
        return result


class _Attention(nn.Module):
    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.head_dim = config.head_dim
        width = config.hidden_size
        queries, keys = config.num_attention_heads * self.head_dim, config.num_key_value_heads * self.head_dim
        self.q_proj = nn.Linear(width, queries, bias=False)
        self.k_proj = nn.Linear(width, keys, bias=False)
        self.v_proj = nn.Linear(width, keys, bias=False)
        self.o_proj = nn.Linear(queries, width, bias=False)
        self.q_norm = RMSNorm(self.head_dim, config.rms_norm_eps)
        self.k_norm = RMSNorm(self.head_dim, config.rms_norm_eps)

    def forward(self, hidden: Tensor, rotation: tuple[Tensor, Tensor], attend: Attend) -> Tensor:
        heads = (-1, self.head_dim)
        query = rotate(self.q_norm(self.q_proj(hidden).unflatten(-1, heads)), *rotation)
        key = rotate(self.k_norm(self.k_proj(hidden).unflatten(-1, heads)), *rotation)
        value = self.v_proj(hidden).unflatten(-1, heads)
        result: Tensor = self.o_proj(attend(query, key, value).flatten(-2))
        return result


class _SwiGLU(nn.Module):
    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, hidden: Tensor) -> Tensor:
        result: Tensor = self.down_proj(F.silu(self.gate_proj(hidden)) * self.up_proj(hidden))
        return result


class RMSNorm(nn.Module):
    """weight · x / √(mean(x²) + eps) over the last dimension; the statistics in float32."""

    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, states: Tensor) -> Tensor:
        if torch.compiler.is_compiling():  # which joins the passes by itself
            return _normalize(states, self.weight, self.eps)[0]
        result: Tensor = _Normalize.apply(states, self.weight, self.eps)  # type: ignore[no-untyped-call]
        return result


def _normalize(states: Tensor, weight: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """(weight · n in the format of the states, n = states · scale, scale); the last two in float32 at least."""
    wide = states.to(torch.promote_types(states.dtype, torch.float32))
    squares = torch.linalg.vector_norm(wide, dim=-1, keepdim=True).square()
    scale = torch.rsqrt(squares / states.shape[-1] + eps)
    normed = wide * scale
    return weight * normed.to(states.dtype), normed, scale


class _Normalize(torch.autograd.Function):
    """RMSNorm whose gradient is written out: autograd's own takes twice the passes over the states.

    With r = 1 / √(mean(x²) + eps), n = x · r and y = w · n:

        dw = Σ dy · n        dx = r · (w · dy - n · mean(w · dy · n))
    """

    @staticmethod
    def forward(ctx: Any, states: Tensor, weight: Tensor, eps: float) -> Tensor:
        result, normed, scale = _normalize(states, weight, eps)
        ctx.save_for_backward(normed, weight, scale)
        ctx.dtype = states.dtype
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        normed, weight, scale = ctx.saved_tensors
        gradient, wide_weight = gradients[0].to(normed.dtype), weight.to(normed.dtype)
        shares = gradient * normed
        mean = (shares @ wide_weight).unsqueeze(-1) / normed.shape[-1]
        inner = torch.addcmul(gradient * wide_weight, normed, mean, value=-1) * scale
        return inner.to(ctx.dtype), shares.flatten(0, -2).sum(0).to(weight.dtype), None


def rotary_table(position_ids: Tensor, config: DecoderConfig) -> tuple[Tensor, Tensor]:
    """(cos, sin) of position × frequency: [B, T, 1, head_dim / 2], in float32 whatever the weights are.

    Made for every batch from the positions: there is no table that a conversion to half precision could spoil.
    """
    pairs = torch.arange(0, config.head_dim, 2, dtype=torch.float32, device=position_ids.device)
    frequencies = 1.0 / (config.rope_theta ** (pairs / config.head_dim))
    angles = (position_ids[..., None].float() * frequencies).unsqueeze(-2)
    return angles.cos(), angles.sin()


def rotate(states: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn the pair (x[i], x[i + head_dim / 2]) of each head by its angle: states [B, T, H, head_dim]."""
    first, second = states.chunk(2, -1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), -1)
