"""The decoder's arithmetic for one token at a time, with what it has read kept. In: a decoder. Next: generation.

For a token alone the calls cost more than the arithmetic, so this is the same network in fewer calls: queries, keys
and values from one product, gate and up from one product, queries and keys normed and rotated together. Keys and values
of all layers lie in one block of memory that is allocated once for the whole reply.

Prompts lie in that block against its right, so that all rows write the same slot at the same time; here two prompts of
three and one tokens, and two tokens of their replies:

    slots      0    1    2  |  3    4            positions   0 1 2 | 3 4
    row 0      a    b    c  |  d    e                        0 1 2 | 3 4
    row 1      -    -    x  |  y    z            padding     0 0 0 | 1 2      slots marked - are hidden from row 1

While they are read, prompts have no padding: a b c x are four tokens laid end to end, which attend within their prompt.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the field's name

from picochat.model.attention import isolate, rotary_table
from picochat.model.decoder import Decoder, lora_scale, merge_lora


class _Layer(NamedTuple):
    norm: Tensor  # [W]
    qkv: Tensor  # [(H + 2K) · D, W]
    bias: Tensor | None  # [(H + 2K) · D]
    head_norm: Tensor | None  # [H + K, D]
    rotary: bool
    out: Tensor  # [W, H · D]
    mlp_norm: Tensor  # [W]
    gate_up: Tensor  # [2 · inner, W]
    down: Tensor  # [W, inner]


class Weights:
    """A copy of a decoder's weights, laid out for `Session`; on its device, in its number format."""

    @torch.no_grad()
    def __init__(self, decoder: Decoder) -> None:
        self.config = config = decoder.config
        self.embedding = decoder.model.embed_tokens.weight
        self.norm = decoder.model.norm.weight
        self.head = decoder.lm_head.weight
        heads = {"q": config.num_attention_heads, "k": config.num_key_value_heads}
        state = merge_lora(dict(decoder.named_parameters()), lora_scale(decoder))
        self.layers = []
        for number, rotary in enumerate(config.rotary_layers):
            at = f"model.layers.{number}."
            own = {name.removeprefix(at): weight for name, weight in state.items() if name.startswith(at)}
            norms = [own[f"self_attn.{q}_norm.weight"].expand(n, -1) for q, n in heads.items() if config.qk_norm]
            layer = _Layer(
                norm=own["input_layernorm.weight"],
                qkv=torch.cat([own[f"self_attn.{q}_proj.weight"] for q in "qkv"]),
                bias=torch.cat([own[f"self_attn.{q}_proj.bias"] for q in "qkv"]) if config.qkv_bias else None,
                head_norm=torch.cat(norms) if norms else None,
                rotary=rotary,
                out=own["self_attn.o_proj.weight"],
                mlp_norm=own["post_attention_layernorm.weight"],
                gate_up=torch.cat([own["mlp.gate_proj.weight"], own["mlp.up_proj.weight"]]),
                down=own["mlp.down_proj.weight"],
            )
            self.layers.append(layer)


class Session:
    """B rows that are continued together: their ``prompts``, to each of which ``room`` tokens may be appended."""

    def __init__(self, weights: Weights, prompts: list[list[int]], room: int) -> None:
        self._weights = weights
        config, like = weights.config, weights.embedding
        lengths = torch.tensor([len(prompt) for prompt in prompts], device=like.device)
        self._length = max(map(len, prompts))
        slots = self._length + room
        shape = (config.num_hidden_layers, 2, len(prompts), config.num_key_value_heads, slots, config.head_dim)
        self._cache = like.new_zeros(shape)  # zeros: a hidden value is multiplied by 0, which NaN would survive
        self._padding = self._length - lengths
        self._ragged = min(map(len, prompts)) < self._length
        hidden = torch.arange(slots, device=like.device) < self._padding[:, None]
        # [B, 1, 1, slots], added to the scores of a row's next token
        self._mask = like.new_zeros(len(prompts), 1, 1, slots).masked_fill_(hidden[:, None, None], -torch.inf)
        cos, sin = rotary_table(torch.arange(slots, device=like.device)[None], config)
        # For x·cos + roll(x)·sin: the two halves of a head change places in one call.
        self._cos = torch.cat((cos, cos), -1)[0].to(like.dtype)
        self._sin = torch.cat((-sin, sin), -1)[0].to(like.dtype)
        self._prompts = prompts

    def read(self) -> Tensor:
        """Read the prompts: scores [B, vocab_size] of the token after each."""
        weights, device = self._weights, self._padding.device
        ids = torch.tensor([token for prompt in self._prompts for token in prompt], device=device)
        rows = torch.arange(len(self._prompts), device=device)
        lengths = self._length - self._padding
        ends = lengths.cumsum(0)
        row = rows.repeat_interleave(lengths)
        positions = torch.arange(len(ids), device=device) - (ends - lengths)[row]
        slots = positions + self._padding[row]
        attend = isolate(row[None] + 1, "segments")
        cos, sin = self._cos[positions], self._sin[positions]
        hidden = F.embedding(ids, weights.embedding)
        last = len(weights.layers) - 1
        for number, (layer, (keys, values)) in enumerate(zip(weights.layers, self._cache, strict=True)):
            query, key, value = self._heads(layer, hidden, cos, sin)
            keys[row, :, slots] = key
            values[row, :, slots] = value
            if number < last:
                hidden = self._finish(layer, hidden, attend(query[None], key[None], value[None])[0])
        # Of the last layer only what follows each prompt's last token is wanted.
        mixed = self._mix(query[ends - 1], keys, values, self._length)
        return self._scores(self._finish(layer, hidden[ends - 1], mixed))

    def append(self, ids: Tensor) -> Tensor:
        """Append one id [B] to each row: scores [B, vocab_size] of the token after it."""
        weights, slot = self._weights, self._length
        self._length += 1
        positions = slot - self._padding
        cos, sin = self._cos[positions], self._sin[positions]
        hidden = F.embedding(ids, weights.embedding)
        for layer, (keys, values) in zip(weights.layers, self._cache, strict=True):
            query, key, value = self._heads(layer, hidden, cos, sin)
            keys[:, :, slot] = key
            values[:, :, slot] = value
            hidden = self._finish(layer, hidden, self._mix(query, keys, values, self._length))
        return self._scores(hidden)

    def keep(self, rows: Tensor) -> None:
        """Go on with these rows only: indices [b] into the present ones."""
        self._cache = self._cache.index_select(2, rows)
        self._mask = self._mask.index_select(0, rows)
        self._padding = self._padding.index_select(0, rows)

    def _heads(self, layer: _Layer, hidden: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Turned queries [N, H, D] and keys [N, K, D], and values [N, K, D], of hidden states [N, W]."""
        config = self._weights.config
        queries, keys, size = config.num_attention_heads, config.num_key_value_heads, config.head_dim
        eps, turned = config.rms_norm_eps, (queries + keys) * size
        qkv = F.linear(torch.rms_norm(hidden, (config.hidden_size,), layer.norm, eps), layer.qkv, layer.bias)
        heads = qkv[:, :turned].view(len(hidden), -1, size)
        if layer.head_norm is not None:
            heads = torch.rms_norm(heads, (size,), None, eps) * layer.head_norm
        if layer.rotary:
            heads = torch.addcmul(heads * cos, heads.roll(size // 2, -1), sin)
        return heads[:, :queries], heads[:, queries:], qkv[:, turned:].view(len(hidden), -1, size)

    def _mix(self, query: Tensor, keys: Tensor, values: Tensor, length: int) -> Tensor:
        """Attention [B, H, D] of one query a row over the first ``length`` slots of a layer's keys and values."""
        # Heads that share a key stand as its queries, which spares copies of the keys. Two products in place of
        # scaled_dot_product_attention: for so few queries it uses one core only, and takes twice the time on two.
        grouped = query.reshape(len(query), self._weights.config.num_key_value_heads, -1, query.shape[-1])
        scores = grouped * query.shape[-1] ** -0.5 @ keys[:, :, :length].mT
        if self._ragged:
            scores += self._mask[..., :length]
        mixed: Tensor = scores.softmax(-1) @ values[:, :, :length]
        return mixed

    def _finish(self, layer: _Layer, hidden: Tensor, mixed: Tensor) -> Tensor:
        config = self._weights.config
        hidden = hidden + F.linear(mixed.reshape(len(hidden), -1), layer.out)
        normed = torch.rms_norm(hidden, (config.hidden_size,), layer.mlp_norm, config.rms_norm_eps)
        gate, up = F.linear(normed, layer.gate_up).chunk(2, -1)
        return hidden + F.linear(F.silu(gate).mul_(up), layer.down)

    def _scores(self, hidden: Tensor) -> Tensor:
        config = self._weights.config
        normed = torch.rms_norm(hidden, (config.hidden_size,), self._weights.norm, config.rms_norm_eps)
        return F.linear(normed, self._weights.head)
