"""The network: the dense Llama form and its relatives. In: packed ids. Out: hidden states, logits. Next: loss.

Parameter names, shapes and arithmetic are those of the family's class in transformers (config.py). Pre-norm residual
blocks: RMSNorm, grouped-query attention with rotary positions, SwiGLU; the head may share the embedding.

Initialisation, with s = ``initializer_range`` (0.02) and L layers:

    parameter                          distribution            why
    embed_tokens, lm_head              normal(0, s)            logits start near zero: the first loss is log(vocabulary)
    q, k, v, gate, up projections      normal(0, 1/√fan_in)    keeps the scale of its input, at every width
    o, down projections                normal(0, 1/√(2L·fan_in))  2L of them add up in the residual stream
    norms, biases                      1, 0

LoRA (Hu et al. 2021) puts two low-rank matrices beside each frozen projection of a block, and nowhere else:

    y = x Wᵀ + s · (x Aᵀ) Bᵀ      A [rank, in] random, B [out, rank] zero: the first step starts from the base exactly
    merged: W + s · B A           s = alpha / rank
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the field's name
from torch.utils.checkpoint import checkpoint

from picochat.errors import UserError
from picochat.model.attention import Attend, Backend, Rotation, backend, isolate, rotary_table, rotate
from picochat.model.config import DecoderConfig

LORA_TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


class Decoder(nn.Module):
    """The language model."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.config = config
        self.model = _Stack(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self._compiled = False
        self.initialize()
        self.tie()

    @classmethod
    def from_state(cls, config: DecoderConfig, state: dict[str, Tensor]) -> "Decoder":
        """A decoder that holds these tensors; a tied head may be missing from them."""
        with torch.device("meta"):
            decoder = cls(config)
        decoder.load_state_dict({"lm_head.weight": state.get("model.embed_tokens.weight"), **state}, assign=True)
        decoder.tie()
        return decoder

    def tie(self) -> None:
        """Let the head share the embedding's weights, where the config says so."""
        if self.config.tie_word_embeddings:
            self.lm_head.weight = self.model.embed_tokens.weight

    @torch.no_grad()
    def initialize(self) -> None:
        """Draw all weights afresh from torch's generator, by the table above."""
        config = self.config
        residual = 1 / math.sqrt(2 * config.num_hidden_layers)
        for name, parameter in self.named_parameters():
            if name.endswith("norm.weight"):
                parameter.fill_(1.0)
            elif name.endswith(".bias"):
                parameter.zero_()
            elif parameter is self.lm_head.weight or parameter is self.model.embed_tokens.weight:
                parameter.normal_(0.0, config.initializer_range)
            else:
                scale = residual if name.endswith(("o_proj.weight", "down_proj.weight")) else 1.0
                parameter.normal_(0.0, scale / math.sqrt(parameter.shape[1]))

    def forward(
        self,
        input_ids: Tensor,
        position_ids: Tensor | None = None,
        document_ids: Tensor | None = None,
        cu_seqlens: Tensor | None = None,
    ) -> Tensor:
        """Hidden states [B, T, hidden_size] after the last norm; `logits` turns them into scores.

        For the arguments see `Batch`. Without position_ids they are 0, 1, 2, …, and without document_ids every row is
        one document; cu_seqlens are found in document_ids where they are not given.
        """
        if position_ids is None:
            position_ids = torch.arange(input_ids.shape[1], device=input_ids.device).expand_as(input_ids)
        # Outside of the compiled part: how many documents a batch holds is data, not shape.
        attend = isolate(document_ids, self.attention_backend(), cu_seqlens)
        return cast(Tensor, self.model(input_ids, position_ids, attend))

    def logits(self, hidden: Tensor) -> Tensor:
        """Scores [..., vocab_size] of hidden states [..., hidden_size]."""
        return cast(Tensor, self.lm_head(hidden))

    def recompute(self) -> None:
        """Keep only each block's input for the backward pass, and compute the block again there (Chen et al. 2016)."""
        for block in self.model.layers:
            cast(_Block, block).recompute = True

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Compile the blocks with torch.compile; attention is prepared outside."""
        self._compiled = True
        self.model.compile(*args, **kwargs)

    def attention_backend(self) -> Backend:
        """How documents are isolated, for the present device, number format and autocast."""
        weight = self.lm_head.weight
        autocast = torch.is_autocast_enabled(weight.device.type)
        dtype = torch.get_autocast_dtype(weight.device.type) if autocast else weight.dtype
        return backend(weight.device, dtype, self.config.head_dim, compiled=self._compiled)


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
        for layer, turned in zip(self.layers, self.config.rotary_layers, strict=True):
            hidden = layer(hidden, rotation if turned else None, attend)
        return cast(Tensor, self.norm(hidden))


class _Block(nn.Module):
    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.self_attn = _Attention(config)
        self.mlp = _SwiGLU(config)
        self.input_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.recompute = False

    def forward(self, hidden: Tensor, rotation: Rotation | None, attend: Attend) -> Tensor:
        if self.recompute and torch.is_grad_enabled():
            # Inside of the block: where FSDP2 shards it, its hooks stand outside and gather the weights once.
            # Nothing here is random, so no generator's state is kept.
            settings: dict[str, Any] = {"use_reentrant": False, "preserve_rng_state": False}
            return cast(Tensor, checkpoint(self._compute, hidden, rotation, attend, **settings))
        return self._compute(hidden, rotation, attend)

    def _compute(self, hidden: Tensor, rotation: Rotation | None, attend: Attend) -> Tensor:
        hidden = hidden + self.self_attn(self.input_layernorm(hidden), rotation, attend)
        return hidden + cast(Tensor, self.mlp(self.post_attention_layernorm(hidden)))


class _Attention(nn.Module):
    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.head_dim = config.head_dim
        width, bias = config.hidden_size, config.qkv_bias
        queries, keys = config.num_attention_heads * self.head_dim, config.num_key_value_heads * self.head_dim
        self.q_proj = nn.Linear(width, queries, bias=bias)
        self.k_proj = nn.Linear(width, keys, bias=bias)
        self.v_proj = nn.Linear(width, keys, bias=bias)
        self.o_proj = nn.Linear(queries, width, bias=False)
        self.q_norm = RMSNorm(self.head_dim, config.rms_norm_eps) if config.qk_norm else nn.Identity()
        self.k_norm = RMSNorm(self.head_dim, config.rms_norm_eps) if config.qk_norm else nn.Identity()

    def forward(self, hidden: Tensor, rotation: Rotation | None, attend: Attend) -> Tensor:
        projected = _joined(hidden, self.q_proj, self.k_proj, self.v_proj)
        query, key, value = (states.view(*hidden.shape[:-1], -1, self.head_dim) for states in projected)
        query, key = self.q_norm(query), self.k_norm(key)
        if rotation is not None:
            query, key = rotate(query, *rotation), rotate(key, *rotation)
        return cast(Tensor, self.o_proj(attend(query, key, value).flatten(-2)))


def _joined(states: Tensor, *layers: nn.Linear) -> Sequence[Tensor]:
    """Each layer's product with the same states; while training one product of all, whose gradient is one as well.

    At demo size forward and backward take 7 % less on AVX512-bf16, where narrow products fill the units badly, and as
    long on AVX2. For one token at a time, joining the weights would cost more than it saves.
    """
    if not torch.is_grad_enabled() or any(type(layer) is not nn.Linear for layer in layers):
        return [layer(states) for layer in layers]
    weight = torch.cat([layer.weight for layer in layers])
    biases: list[Tensor] = [layer.bias for layer in layers if layer.bias is not None]
    made = F.linear(states, weight, torch.cat(biases) if biases else None)
    return made.split_with_sizes([layer.out_features for layer in layers], -1)


class _SwiGLU(nn.Module):
    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, hidden: Tensor) -> Tensor:
        return cast(Tensor, self.down_proj(F.silu(self.gate_proj(hidden)) * self.up_proj(hidden)))


class RMSNorm(nn.Module):
    """weight · x / √(mean(x²) + eps) over the last dimension; the statistics in float32."""

    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, states: Tensor) -> Tensor:
        if states.device.type == "cpu" and not torch.compiler.is_compiling():
            return cast(Tensor, _Normalize.apply(states, self.weight, self.eps))  # type: ignore[no-untyped-call]
        return torch.rms_norm(states.to(self.weight.dtype), states.shape[-1:], self.weight, self.eps)


class _Normalize(torch.autograd.Function):
    """RMSNorm for the CPU, where torch has no kernel for it: autograd takes twice the passes over the states.

    With r = 1 / √(mean(x²) + eps), n = x · r and y = w · n:

        dw = Σ dy · n        dx = r · (w · dy - n · mean(w · dy · n))
    """

    @staticmethod
    def forward(ctx: Any, states: Tensor, weight: Tensor, eps: float) -> Tensor:
        wide = states.to(torch.promote_types(states.dtype, torch.float32))
        squares = torch.linalg.vector_norm(wide, dim=-1, keepdim=True).square()
        scale = torch.rsqrt(squares / states.shape[-1] + eps)
        normed = wide * scale
        ctx.save_for_backward(normed, weight, scale)
        ctx.dtype = states.dtype
        return weight * normed.to(states.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        normed, weight, scale = ctx.saved_tensors
        gradient, wide_weight = gradients[0].to(normed.dtype), weight.to(normed.dtype)
        shares = gradient * normed
        mean = (shares @ wide_weight).unsqueeze(-1) / normed.shape[-1]
        summed = shares.flatten(0, -2).sum(0).to(weight.dtype)
        inner = torch.mul(gradient, wide_weight, out=shares).addcmul_(normed, mean, value=-1).mul_(scale)
        return inner.to(ctx.dtype), summed, None


class LoraLinear(nn.Linear):
    """The frozen product of ``base`` with a low-rank one beside it."""

    def __init__(self, base: nn.Linear, rank: int, alpha: float) -> None:
        super().__init__(base.in_features, base.out_features, bias=base.bias is not None, device="meta")
        self.weight, self.bias, self.scale = base.weight, base.bias, alpha / rank
        self.lora_A = nn.Parameter(torch.empty(rank, base.in_features))
        self.lora_B = nn.Parameter(torch.zeros(base.out_features, rank))
        nn.init.kaiming_uniform_(self.lora_A, a=math.sqrt(5))  # as peft draws it

    def forward(self, states: Tensor) -> Tensor:
        return super().forward(states) + F.linear(F.linear(states, self.lora_A), self.lora_B) * self.scale


def add_lora(decoder: nn.Module, rank: int, alpha: float) -> None:
    """Freeze a decoder and put low-rank matrices beside the projections of its blocks, in place."""
    decoder.requires_grad_(False)
    for name, module in [*decoder.named_modules()]:
        parent, _, last = name.rpartition(".")
        if last in LORA_TARGETS and isinstance(module, nn.Linear):
            setattr(decoder.get_submodule(parent), last, LoraLinear(module, rank, alpha))


def lora_scale(decoder: nn.Module) -> float:
    """The scale of the low-rank matrices; 0 where there are none."""
    return next((module.scale for module in decoder.modules() if isinstance(module, LoraLinear)), 0.0)


def merge_lora(state: Mapping[str, Tensor], scale: float) -> dict[str, Tensor]:
    """Weights by name with the low-rank matrices merged into those beside them."""
    result = {name: tensor for name, tensor in state.items() if ".lora_" not in name}
    for name, thin in state.items():
        if name.endswith(".lora_A"):
            base, other = name.replace(".lora_A", ".weight"), state[name.replace(".lora_A", ".lora_B")]
            if base not in result or result[base].shape != (other.shape[0], thin.shape[1]):
                raise UserError(f"the adapter's {name} does not fit {base}: it belongs to another base model")
            whole = result[base].float() + scale * (other.float() @ thin.float())
            result[base] = whole.to(result[base].dtype)
    return result
