"""Memory and traffic of a training run, on paper; no torch. In: a config, how it is trained. Out: bytes. Next: plan.

R ranks, P parameters in float32, of which M in matrices of the blocks; FSDP2 keeps ⌈rows / R⌉ rows of each tensor:

    bytes of a rank     replicated (one device, DDP)            sharded (FSDP2)
    weights             4 P                                     4 P / R
    gradients           4 P                                     4 P / R
    optimizer           8 P adamw; muon 4 M + 8 (P - M)         the same / R
    copies              2 M: half precision, made by autocast   blocks at work, gathered; embedding, head and their
                        float32: of q, k and v, joined          gradients, whole
                        4 P: DDP's buckets
    activations         what autograd keeps                     the same; with checkpointing only each block's input
    logits              log-probabilities of the supervised positions, their gradient and that of the scores
    holes               between tensors, on a CPU
    program             Python, torch with a device's context, and the data

tests/model/test_sizes.py compares all of it with what torch allocates, and the sum with a process.
"""

from dataclasses import dataclass
from math import ceil
from typing import Literal

from picochat.model.config import DecoderConfig

LOGITS_AT_ONCE = 2**25  # entries; as picochat.model.loss cuts them
_FULL = 4  # bytes of a float32
_PROGRAM = 600_000_000
_HOLES = 0.2  # of a CPU's activations: freed memory that the C library cannot use again; 0.15 to 0.5 were measured
_PADDED = 1.1  # on a CPU documents are rounded up to 16 tokens, see attention.py
_BATCH = 46  # bytes of a position's ids, and of what attention derives from them


@dataclass(frozen=True)
class Setup:
    """How a model is trained."""

    rows: int  # packed rows of a rank's micro-batch
    context: int  # tokens of a row
    supervised: float = 1.0  # share of the positions
    optimizer: Literal["muon", "adamw"] = "adamw"
    half: bool = True  # autocast to a 16-bit format
    ranks: int = 1  # devices, over all machines
    sharded: bool = False  # FSDP2; else every rank holds everything
    recompute: bool = False  # activation checkpointing of the blocks
    micro_batches: int = 1  # of an optimizer step
    device: Literal["cpu", "gpu"] = "gpu"  # attention keeps other things on a CPU
    lora_rank: int | None = None  # of low-rank matrices, which alone are trained


def memory(config: DecoderConfig, setup: Setup) -> dict[str, int]:
    """Bytes of a rank by part where a backward pass begins; the allocator keeps those of the last step's gradients."""
    kept = config.parameters(setup.ranks if setup.sharded else 1)
    total, narrow = sum(kept.values()), 2 if setup.half else _FULL
    trained, matrices = total, kept["matrices"]
    if setup.lora_rank:  # low-rank matrices beside the projections
        trained = matrices = sum(setup.lora_rank * (r + c) * n for r, c, n in config.tensors["matrices"])
        total += trained
    whole = config.parameters()
    copies = 2 * config.vocab_size * config.hidden_size if setup.half else 0  # of the head
    if not setup.sharded or setup.ranks == 1:
        copies += _FULL * config.num_parameters * (setup.ranks > 1)
        copies += 2 * whole["matrices"] if setup.half else _FULL * _joined(config)
    else:
        block = (whole["matrices"] + whole["norms"]) // config.num_hidden_layers
        # one block at work, the next on its way, their buffer; gradients of one, and what of them is being reduced
        copies += block * (4 * narrow + _FULL) + 2 * _FULL * whole["embeddings"]
    scores = min(setup.supervised * setup.rows * setup.context * config.vocab_size, LOGITS_AT_ONCE)
    return {
        "weights": _FULL * total,
        "gradients": _FULL * trained,
        "optimizer": _FULL * (2 * trained - (matrices if setup.optimizer == "muon" else 0)),
        "copies": copies,
        "activations": activations(config, setup),
        "logits": round(scores * 3 * _FULL),
        "holes": round(_HOLES * activations(config, setup)) if setup.device == "cpu" else 0,
        "program": _PROGRAM,
    }


def _joined(config: DecoderConfig) -> int:
    """Entries of the weights that the blocks join for one product: of queries, keys and values."""
    heads = config.num_attention_heads + 2 * config.num_key_value_heads
    return heads * config.head_dim * config.hidden_size * config.num_hidden_layers


def memory_warning(config: DecoderConfig, setup: Setup, room: int) -> str | None:
    """What to say where a run needs more than ``room`` bytes."""
    needed = sum(memory(config, setup).values())
    if needed <= 0.9 * room:
        return None
    return (
        f"this run needs about {needed / 1e9:.1f} GB of memory and the device has {room / 1e9:.1f} GB: lower "
        f"data.batch_size ({setup.rows}) or data.context_length ({setup.context}), or set model.lora_rank or "
        "model.activation_checkpointing"
    )


def activations(config: DecoderConfig, setup: Setup) -> int:
    """Bytes that autograd keeps for the backward pass of one micro-batch, without the logits."""
    narrow = 2 if setup.half else _FULL
    width, inner, layers = config.hidden_size, config.intermediate_size, config.num_hidden_layers
    heads, shared = config.num_attention_heads, config.num_key_value_heads
    queries, keys = heads * config.head_dim, shared * config.head_dim
    norm = _FULL * (width + 1)  # of a token: normed states and their scale
    norms = 2 * norm + config.qk_norm * _FULL * (queries + keys + heads + shared)
    # Autocast makes a half-precision input anew for each product that reads it: q, k and v joined, gate, up; with
    # LoRA each of them.
    inputs = (5 if setup.lora_rank else 3) if setup.half else 2
    products = narrow * (inputs * width + queries + inner)
    attention = (_PADDED * _FULL if setup.device == "cpu" else narrow) * 2 * (queries + keys) + _FULL * heads
    block = norms + products + narrow * 3 * inner + attention
    # one block is made again at a time
    blocks = layers * _FULL * width + block if setup.recompute else layers * block
    ends = _FULL * config.head_dim + norm + setup.supervised * (narrow * width + 16)
    return round(setup.rows * setup.context * (_BATCH + ends + blocks))


def traffic(config: DecoderConfig, setup: Setup) -> dict[str, int]:
    """Bytes that each rank sends in an optimizer step, by collective; rings, so a share of (R - 1) / R each."""
    away = (setup.ranks - 1) / setup.ranks
    if setup.ranks == 1:
        return {}
    if not setup.sharded:
        return {"all_reduce": round(2 * away * _FULL * config.num_parameters)}
    padded = {part: setup.ranks * count for part, count in config.parameters(setup.ranks).items()}
    rest = padded["embeddings"] + setup.ranks * ceil(config.hidden_size / setup.ranks)  # and the last norm
    blocks = sum(padded.values()) - rest
    # blocks are gathered for the forward and again for the backward pass; embedding, head and last norm once
    gathered = 2 * blocks * (2 if setup.half else _FULL) + rest * _FULL
    return {
        "all_gather": round(away * gathered * setup.micro_batches),
        "reduce_scatter": round(away * (blocks + rest) * _FULL * setup.micro_batches),
    }
