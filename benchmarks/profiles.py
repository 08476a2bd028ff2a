"""What optimizations bought, and some that did not stay: python benchmarks/profiles.py [--threads 1]

Each is measured at demo size in one process, the older form and the newer in turn, best of some rounds; the older form
stands here, where it is no longer in picochat. `of a step` is the difference as a share of a training step as it is now
(16 packed rows of 256 tokens, AdamW, bf16). Stayed:

    norm      autograd's own gradient of RMSNorm ─► written out            every norm of a step
    attention a dense mask of T × T             ─► documents by themselves every layer of a step
    products  the fused kernel for documents    ─► plain products           every layer of a step
    head      scores of all positions           ─► of the supervised ones  one step
    muon      torch's Muon, matrix by matrix    ─► matrices of one shape stacked

Did not stay:

    bf16 attention    the CPU kernel in half precision rather than in float32
    joined q, k, v    one product and a split rather than three products
"""

import argparse
import time
from collections.abc import Callable

import torch
from report import record
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the field's name
from torch.optim import Muon

from picochat.model import decoder as room
from picochat.model.attention import Attend, isolate
from picochat.model.decoder import Decoder, DecoderConfig, RMSNorm
from picochat.model.loss import supervised_nll
from picochat.model.optim import OptimizerConfig, StackedMuon, build_optimizer

CONFIG = DecoderConfig(vocab_size=320)
ROWS, CONTEXT, DOCUMENT = 16, 256, 60
TOKENS = ROWS * CONTEXT
Way = Callable[[], object]


def batch() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Ids, positions, documents, labels; four places in ten are learnt."""
    ids = torch.randint(CONFIG.vocab_size, (ROWS, CONTEXT))
    places = torch.arange(CONTEXT)
    labels = ids.roll(-1, 1).masked_fill(torch.rand(ROWS, CONTEXT) > 0.4, -100)
    documents = (places // DOCUMENT + 1).to(torch.int32).repeat(ROWS, 1)
    return ids, (places % DOCUMENT).repeat(ROWS, 1), documents, labels


def step() -> Way:
    """A training step as it is."""
    model = Decoder(CONFIG)
    optimizer = build_optimizer(model, OptimizerConfig("adamw"))
    ids, positions, documents, labels = batch()

    def run() -> None:
        with torch.autocast("cpu", torch.bfloat16):
            loss = supervised_nll(model, model(ids, positions, documents), labels).sum()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return run


def norms() -> tuple[Way, Way]:
    """All norms of a step, forward and backward."""
    width, heads = CONFIG.hidden_size, (CONFIG.num_attention_heads, CONFIG.num_key_value_heads)
    layers = CONFIG.num_hidden_layers
    wide = torch.randn(TOKENS, width, requires_grad=True)
    narrow = [torch.randn(TOKENS, count, CONFIG.head_dim, requires_grad=True) for count in heads]
    over, inside = RMSNorm(width, 1e-6), RMSNorm(CONFIG.head_dim, 1e-6)

    def older(states: Tensor, norm: RMSNorm) -> Tensor:
        return room._normalize(states, norm.weight, norm.eps)[0]

    def run(apply: Callable[[Tensor, RMSNorm], Tensor]) -> None:
        for number in range(2 * layers + 1):
            apply(wide, over).backward(torch.ones_like(wide))
            if number < layers:
                for states in narrow:
                    apply(states, inside).backward(torch.ones_like(states))

    return lambda: run(older), lambda: run(lambda states, norm: norm(states))


def _attention(attends: tuple[Callable[[Tensor], Attend], Callable[[Tensor], Attend]]) -> tuple[Way, Way]:
    """Attention of all layers, forward and backward, by two ways to prepare it."""
    documents = batch()[2]
    heads, keys, size = CONFIG.num_attention_heads, CONFIG.num_key_value_heads, CONFIG.head_dim
    query, key, value = (torch.randn(ROWS, CONTEXT, count, size) for count in (heads, keys, keys))
    states = [query.requires_grad_(), key.requires_grad_(), value.bfloat16().requires_grad_()]  # as under autocast

    def run(prepare: Callable[[Tensor], Attend]) -> None:
        attend = prepare(documents)
        for _ in range(CONFIG.num_hidden_layers):
            attend(*states).sum().backward()

    return lambda: run(attends[0]), lambda: run(attends[1])


def masks() -> tuple[Way, Way]:
    return _attention((lambda documents: isolate(documents, "mask"), lambda documents: isolate(documents, "segments")))


def _by_kernel(dtype: torch.dtype) -> Callable[[Tensor], Attend]:
    """The same segments, each bucket by the fused kernel in this format; how they are moved is left out."""

    def prepare(documents: Tensor) -> Attend:
        buckets = isolate(documents, "segments").buckets  # type: ignore[attr-defined]

        def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
            results = []
            for segments, length in buckets:
                q, k, v = (
                    s.flatten(0, 1)[: segments * length].view(segments, length, *s.shape[2:]).transpose(1, 2)
                    for s in (query.to(dtype), key.to(dtype), value.to(dtype))
                )
                results.append(F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True).flatten())
            return torch.cat(results)

        return attend

    return prepare


def short_documents() -> tuple[Way, Way]:
    return _attention((_by_kernel(torch.float32), lambda documents: isolate(documents, "segments")))


def half_attention() -> tuple[Way, Way]:
    return _attention((_by_kernel(torch.float32), _by_kernel(torch.bfloat16)))


def heads() -> tuple[Way, Way]:
    """Head and loss of a step."""
    model, labels = Decoder(CONFIG), batch()[3]
    hidden = torch.randn(ROWS, CONTEXT, CONFIG.hidden_size, requires_grad=True)

    def older() -> None:
        F.cross_entropy(model.logits(hidden).flatten(0, 1), labels.flatten(), reduction="sum").backward()

    return older, lambda: supervised_nll(model, hidden, labels).sum().backward()


def muons() -> tuple[Way, Way]:
    """The optimizer's step over the matrices of the blocks."""
    made = []
    for rule in (Muon, StackedMuon):
        matrices = [
            weight for name, weight in Decoder(CONFIG).named_parameters() if "layers" in name and weight.ndim == 2
        ]
        for matrix in matrices:
            matrix.grad = torch.randn_like(matrix)
        made.append(rule([{"params": matrices}], lr=0.0).step)
    return made[0], made[1]


def products() -> tuple[Way, Way]:
    """q, k and v of all layers, forward and backward under autocast."""
    queries, keys = (count * CONFIG.head_dim for count in (CONFIG.num_attention_heads, CONFIG.num_key_value_heads))
    states = torch.randn(TOKENS, CONFIG.hidden_size, requires_grad=True)
    single = [nn.Linear(CONFIG.hidden_size, width, bias=False) for width in (queries, keys, keys)]
    joined = nn.Linear(CONFIG.hidden_size, queries + 2 * keys, bias=False)

    def run(apply: Callable[[], tuple[Tensor, ...] | list[Tensor]]) -> None:
        for _ in range(CONFIG.num_hidden_layers):
            with torch.autocast("cpu", torch.bfloat16):
                parts = apply()
            torch.autograd.backward(list(parts), [torch.ones_like(part) for part in parts])

    return (
        lambda: run(lambda: [layer(states) for layer in single]),
        lambda: run(lambda: joined(states).split([queries, keys, keys], dim=-1)),
    )


KEPT = {
    "gradient of the norms written out": norms,
    "documents attended to by themselves": masks,
    "short documents by plain products": short_documents,
    "scores of supervised positions alone": heads,
    "Muon's matrices of one shape stacked": muons,
}
NOT_KEPT = {"attention's kernel in bfloat16": half_attention, "q, k, v in one product": products}


def best(ways: list[Way], rounds: int) -> list[float]:
    """Seconds of each, the best of so many rounds in turn."""
    found = [float("inf")] * len(ways)
    for _ in range(rounds):
        for place, way in enumerate(ways):
            start = time.perf_counter()
            way()
            found[place] = min(found[place], time.perf_counter() - start)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=20)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    (whole,) = best([step()], args.rounds)
    rows = []
    for stayed, changes in (("stayed", KEPT), ("did not stay", NOT_KEPT)):
        for name, make in changes.items():
            before, after = best(list(make()), args.rounds)
            share = f"{(before - after) / whole:+.1%}"
            rows.append([name, stayed, before * 1e3, after * 1e3, f"{before / after:.2f} ×", share])
            print(f"{name}: {before * 1e3:.2f} → {after * 1e3:.2f} ms", flush=True)
    note = f"A step takes {whole * 1e3:.0f} ms on {args.threads} thread; ± is what a step gains by the change."
    columns = ["change", "", "before, ms", "after, ms", "faster by", "of a step"]
    record("profiles", columns, rows, note)


if __name__ == "__main__":
    main()
