"""What a training run needs, on paper: memory of each rank by part, bytes it sends, time. In: a model's shape and the
way it is trained. Out: numbers. Next: `picochat plan` prints them. Needs no torch.

Weights are fp32 masters under autocast, as `ChatModule` keeps them. R ranks, P parameters, of which M in matrices of
the blocks; FSDP2 cuts every tensor along its first dimension, and each rank keeps a slice of ⌈rows / R⌉ rows:

    bytes of a rank     replicated (one device, DDP)            sharded (FSDP2)
    weights             4 P                                     4 P / R
    gradients           4 P                                     4 P / R
    optimizer           8 P adamw; muon 4 M + 8 (P - M)         the same / R
    copies              2 M: half precision, made by autocast   blocks at work, gathered; embedding, head and their
                        4 P: DDP's buckets                      gradients, whole
    activations         what autograd keeps, see `_kept`        the same; with checkpointing only each block's input
    logits              scores of the supervised positions, and their gradient

tests/model/test_sizes.py holds all of it to what torch allocates.
"""

from dataclasses import dataclass
from math import ceil
from typing import Literal, Protocol

LOGITS_AT_ONCE = 2**25  # entries; as picochat.model.loss cuts them
_FULL = 4  # bytes of a float32
_PADDED = 1.1  # on a CPU documents are rounded up to 16 tokens, see attention.py


class Shape(Protocol):
    """The fields of `DecoderConfig` that sizes follow from."""

    @property
    def vocab_size(self) -> int: ...
    @property
    def hidden_size(self) -> int: ...
    @property
    def intermediate_size(self) -> int: ...
    @property
    def num_hidden_layers(self) -> int: ...
    @property
    def num_attention_heads(self) -> int: ...
    @property
    def num_key_value_heads(self) -> int: ...
    @property
    def head_dim(self) -> int: ...
    @property
    def tie_word_embeddings(self) -> bool: ...


@dataclass(frozen=True)
class Way:
    """How a model is trained.

    Args:
        rows: packed rows of a micro-batch, on each rank.
        context: tokens of a row.
        supervised: share of the positions that are learnt.
        optimizer: muon or adamw.
        half: autocast to a 16-bit format.
        ranks: devices, over all machines.
        sharded: FSDP2 (`ShardedStrategy`); else every rank holds everything.
        recompute: activation checkpointing of the blocks.
        micro_batches: of an optimizer step.
        device: attention keeps other things on a CPU than on a GPU.
    """

    rows: int
    context: int
    supervised: float = 1.0
    optimizer: Literal["muon", "adamw"] = "adamw"
    half: bool = True
    ranks: int = 1
    sharded: bool = False
    recompute: bool = False
    micro_batches: int = 1
    device: Literal["cpu", "gpu"] = "gpu"

    @property
    def tokens(self) -> int:
        """Positions of a rank's micro-batch."""
        return self.rows * self.context


@dataclass(frozen=True)
class Weight:
    """Equal tensors of [rows, columns]; a norm has one column."""

    part: Literal["matrices", "embeddings", "norms"]
    rows: int
    columns: int
    count: int

    def entries(self, ranks: int = 1) -> int:
        """Numbers that each rank keeps, padding of the last slices included."""
        return ceil(self.rows / ranks) * self.columns * self.count


def weights(shape: Shape) -> list[Weight]:
    """All tensors of a model; a tied head is the embedding."""
    width, inner, layers = shape.hidden_size, shape.intermediate_size, shape.num_hidden_layers
    queries, keys = shape.num_attention_heads * shape.head_dim, shape.num_key_value_heads * shape.head_dim
    return [
        Weight("embeddings", shape.vocab_size, width, 1 if shape.tie_word_embeddings else 2),
        Weight("matrices", queries, width, layers),
        Weight("matrices", keys, width, 2 * layers),
        Weight("matrices", width, queries, layers),
        Weight("matrices", inner, width, 2 * layers),
        Weight("matrices", width, inner, layers),
        Weight("norms", width, 1, 2 * layers + 1),
        Weight("norms", shape.head_dim, 1, 2 * layers),
    ]


def parameters(shape: Shape, ranks: int = 1) -> dict[str, int]:
    """Numbers in {matrices, embeddings, norms}, of each rank where they are sharded."""
    found = {"matrices": 0, "embeddings": 0, "norms": 0}
    for weight in weights(shape):
        found[weight.part] += weight.entries(ranks)
    return found


def memory(shape: Shape, way: Way) -> dict[str, int]:
    """Bytes of a rank by part, at the end of the forward pass, where the most is alive."""
    mine = parameters(shape, way.ranks if way.sharded else 1)
    total = sum(mine.values())
    state = 2 * total - (mine["matrices"] if way.optimizer == "muon" else 0)
    return {
        "weights": _FULL * total,
        "gradients": _FULL * total,
        "optimizer": _FULL * state,
        "copies": _copies(shape, way),
        "activations": activations(shape, way),
        "logits": _logits(shape, way),
    }


def activations(shape: Shape, way: Way) -> int:
    """Bytes that autograd keeps for the backward pass of one micro-batch, without the logits."""
    narrow = 2 if way.half else _FULL
    ids = 3 * 8 + 4 + 2 + 2 * 8  # the batch, and where attention finds the documents
    ends = _FULL * shape.head_dim + _norm(shape.hidden_size) + way.supervised * (narrow * shape.hidden_size + 16)
    block = _kept(shape, way)
    if way.recompute:
        blocks = shape.num_hidden_layers * _FULL * shape.hidden_size + block  # one is made again at a time
    else:
        blocks = shape.num_hidden_layers * block
    return round(way.tokens * (ids + ends + blocks))


def traffic(shape: Shape, way: Way) -> dict[str, int]:
    """Bytes that each rank sends in an optimizer step, by collective; rings, so a share of (R - 1) / R each."""
    if way.ranks == 1:
        return {}
    away = (way.ranks - 1) / way.ranks
    if not way.sharded:
        return {"all_reduce": round(2 * away * _FULL * sum(parameters(shape).values()))}
    rest = _padded_total(shape, way.ranks, blocks=False)
    blocks = _padded_total(shape, way.ranks, blocks=True)
    # blocks are gathered for the forward and again for the backward pass; embedding, head and last norm once
    gathered = 2 * blocks * (2 if way.half else _FULL) + rest * _FULL
    return {
        "all_gather": round(away * gathered * way.micro_batches),
        "reduce_scatter": round(away * (blocks + rest) * _FULL * way.micro_batches),
    }


def step_seconds(flops: float, ranks: int, peak: float, mfu: float) -> float:
    """Time of `flops` on `ranks` devices of `peak` FLOPs a second that reach the share `mfu` of it."""
    return flops / (ranks * peak * mfu)


def _kept(shape: Shape, way: Way) -> float:
    """Bytes that a block keeps of each token: normed states, inputs of products, what attention and SwiGLU need.

    Autocast makes a half-precision input anew for each product that reads it: three for q, k, v, two for gate, up.
    """
    width, inner = shape.hidden_size, shape.intermediate_size
    heads, shared = shape.num_attention_heads, shape.num_key_value_heads
    queries, keys = heads * shape.head_dim, shared * shape.head_dim
    narrow, read = (2, 5) if way.half else (_FULL, 2)
    norms = 2 * _norm(width) + _FULL * (queries + keys + heads + shared)
    products = narrow * (read * width + queries + inner)
    gated = 3 * narrow * inner
    if way.device == "cpu":  # float32 whatever the format; query, result, key, value
        attention = _PADDED * _FULL * (2 * queries + 2 * keys + heads)
    else:  # FlashAttention: keys and values are repeated for the heads that share them
        attention = narrow * 4 * queries + _FULL * heads
    return norms + products + gated + attention


def _norm(width: int) -> int:
    return _FULL * (width + 1)


def _logits(shape: Shape, way: Way) -> int:
    entries = min(way.supervised * way.tokens * shape.vocab_size, LOGITS_AT_ONCE)
    return round(entries * (2 * _FULL + (2 if way.half else 0)))


def _copies(shape: Shape, way: Way) -> int:
    narrow = 2 if way.half else _FULL
    found = parameters(shape)
    head = shape.vocab_size * shape.hidden_size
    if not way.sharded:
        buckets = _FULL * sum(found.values()) if way.ranks > 1 else 0
        return buckets + (narrow * (found["matrices"] + head) if way.half else 0)
    if way.ranks == 1:
        return narrow * (found["matrices"] + head) if way.half else 0
    block = (found["matrices"] + found["norms"]) // shape.num_hidden_layers
    # one block at work, the next on its way, their buffer; gradients of one, and what of them is being reduced
    blocks = block * (3 * narrow + narrow + _FULL)
    return blocks + 2 * _FULL * found["embeddings"] + (narrow * head if way.half else 0)


def _padded_total(shape: Shape, ranks: int, *, blocks: bool) -> int:
    """Entries of all ranks' slices, of the blocks or of what lies outside of them."""
    outside = [Weight("norms", shape.hidden_size, 1, 1), *(w for w in weights(shape) if w.part == "embeddings")]
    rest = ranks * sum(weight.entries(ranks) for weight in outside)
    return ranks * sum(parameters(shape, ranks).values()) - rest if blocks else rest
