"""The decoder's arithmetic for one token at a time, with what it has read kept. In: a decoder. Next: generation.

For a token alone the calls cost more than the numbers, so this is the same network in fewer calls: queries, keys and
values from one product, gate and up from one product, queries and keys normed and turned together. Keys and values of
all layers lie in one block of memory that is made once for the whole reply.

Prompts are padded on the left, so that all rows write the same place of the block at the same time; here two prompts of
three and one tokens, and two tokens of their replies:

    places     0    1    2  |  3    4            positions   0 1 2 | 3 4
    row 0      a    b    c  |  d    e                        0 1 2 | 3 4
    row 1      -    -    x  |  y    z            padding     0 0 0 | 1 2      places marked - are hidden from row 1
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the field's name

from picochat.model.decoder import Decoder, DecoderConfig, rotary_table


class _Layer(NamedTuple):
    norm: Tensor  # [W]
    qkv: Tensor  # [(H + 2K) · D, W]
    head_norm: Tensor  # [H + K, D]
    out: Tensor  # [W, H · D]
    mlp_norm: Tensor  # [W]
    gate_up: Tensor  # [2 · inner, W]
    down: Tensor  # [W, inner]


class Weights:
    """A copy of a decoder's weights, laid out for `Session`.

    Args:
        decoder: where they come from; its device and number format are kept.
    """

    @torch.no_grad()
    def __init__(self, decoder: Decoder) -> None:
        self.config = config = decoder.config
        self.embedding = decoder.model.embed_tokens.weight
        self.norm = decoder.model.norm.weight
        self.head = decoder.lm_head.weight
        named: dict[str, Tensor] = dict(decoder.named_parameters())
        self.layers = [_layer(named, f"model.layers.{i}.", config) for i in range(config.num_hidden_layers)]


def _layer(named: dict[str, Tensor], at: str, config: DecoderConfig) -> _Layer:
    attention = [named[f"{at}self_attn.{name}_proj.weight"] for name in "qkv"]
    query_norm = named[f"{at}self_attn.q_norm.weight"].expand(config.num_attention_heads, -1)
    key_norm = named[f"{at}self_attn.k_norm.weight"].expand(config.num_key_value_heads, -1)
    return _Layer(
        norm=named[f"{at}input_layernorm.weight"],
        qkv=torch.cat(attention),
        head_norm=torch.cat((query_norm, key_norm)),
        out=named[f"{at}self_attn.o_proj.weight"],
        mlp_norm=named[f"{at}post_attention_layernorm.weight"],
        gate_up=torch.cat([named[f"{at}mlp.gate_proj.weight"], named[f"{at}mlp.up_proj.weight"]]),
        down=named[f"{at}mlp.down_proj.weight"],
    )


class Session:
    """Rows that are being continued together.

    Args:
        weights: of the model.
        prompts: one list of ids for each of the B rows, none of them empty.
        room: tokens that may be appended to each row.
    """

    def __init__(self, weights: Weights, prompts: list[list[int]], room: int) -> None:
        self.weights = weights
        config, like = weights.config, weights.embedding
        self._length = longest = max(map(len, prompts))
        places = longest + room
        lengths = torch.tensor([len(prompt) for prompt in prompts], device=like.device)
        self._padding = longest - lengths
        shape = (config.num_hidden_layers, 2, len(prompts), config.num_key_value_heads, places, config.head_dim)
        self._cache = like.new_zeros(shape)
        hidden_places = torch.arange(places, device=like.device) < self._padding[:, None]
        self._ragged = bool((lengths < longest).any())
        # [B, 1, 1, places], added to the scores of a single query
        self._mask = like.new_zeros(len(prompts), 1, 1, places).masked_fill_(hidden_places[:, None, None], -torch.inf)
        cos, sin = rotary_table(torch.arange(places, device=like.device)[None], config)
        # For x·cos + roll(x)·sin: the two halves of a head change places in one call.
        self._cos = torch.cat((cos, cos), -1)[0].to(like.dtype)
        self._sin = torch.cat((-sin, sin), -1)[0].to(like.dtype)
        padded = [[0] * (longest - len(prompt)) + prompt for prompt in prompts]
        self._prompts = torch.tensor(padded, device=like.device)

    def read(self) -> Tensor:
        """Read the prompts: scores [B, vocab_size] of the token after each."""
        tokens = self._prompts.shape[1]
        steps = torch.arange(tokens, device=self._prompts.device)
        mask = None
        if self._ragged:
            seen = (steps[:, None] >= steps) & (steps >= self._padding[:, None, None])
            seen |= steps[:, None] == steps  # padding sees itself: a row of nothing would be NaN, and NaN spreads
            mask = seen[:, None]
        positions = (steps - self._padding[:, None]).clamp_min_(0)
        return self._run(self._prompts, positions, 0, mask)

    def append(self, ids: Tensor) -> Tensor:
        """Append one id [B] to each row: scores [B, vocab_size] of the token after it."""
        place = self._length
        self._length += 1
        mask = self._mask[..., : self._length] if self._ragged else None
        return self._run(ids[:, None], (place - self._padding)[:, None], place, mask)

    def keep(self, rows: Tensor) -> None:
        """Go on with these rows only: indices [b] into the present ones."""
        self._cache = self._cache.index_select(2, rows)
        self._mask = self._mask.index_select(0, rows)
        self._padding = self._padding.index_select(0, rows)

    def _run(self, ids: Tensor, positions: Tensor, place: int, mask: Tensor | None) -> Tensor:
        weights, config = self.weights, self.weights.config
        queries, keys, size = config.num_attention_heads, config.num_key_value_heads, config.head_dim
        width, eps, half = (config.hidden_size,), config.rms_norm_eps, size // 2
        rows, tokens = ids.shape
        end = place + tokens
        turned = (queries + keys) * size
        cos, sin = self._cos[positions], self._sin[positions]
        hidden = F.embedding(ids, weights.embedding)
        for layer, (key_cache, value_cache) in zip(weights.layers, self._cache, strict=True):
            qkv = F.linear(torch.rms_norm(hidden, width, layer.norm, eps), layer.qkv)
            heads = qkv[..., :turned].view(rows, tokens, queries + keys, size)
            heads = torch.rms_norm(heads, (size,), None, eps) * layer.head_norm
            heads = torch.addcmul(heads * cos, heads.roll(half, -1), sin)
            key_cache[:, :, place:end] = heads[:, :, queries:].transpose(1, 2)
            value_cache[:, :, place:end] = qkv[..., turned:].view(rows, tokens, keys, size).transpose(1, 2)
            known, told = key_cache[:, :, :end], value_cache[:, :, :end]
            query = heads[:, :, :queries]
            if tokens == 1:  # queries that share a key head stand as its queries: no copies of keys
                query = query.reshape(rows, keys, queries // keys, size)
                mixed = F.scaled_dot_product_attention(query, known, told, mask)
            else:
                mixed = F.scaled_dot_product_attention(
                    query.transpose(1, 2), known, told, mask, is_causal=mask is None, enable_gqa=queries != keys
                ).transpose(1, 2)
            hidden = hidden + F.linear(mixed.reshape(rows, tokens, queries * size), layer.out)
            gate, up = F.linear(torch.rms_norm(hidden, width, layer.mlp_norm, eps), layer.gate_up).chunk(2, -1)
            hidden = hidden + F.linear(F.silu(gate).mul_(up), layer.down)
        return F.linear(torch.rms_norm(hidden[:, -1], width, weights.norm, eps), weights.head)
