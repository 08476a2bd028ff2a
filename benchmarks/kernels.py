"""What is written by hand beside what torch brings: python benchmarks/kernels.py [--threads 1] [--rounds 20]

Each is measured alone, both forms in turn, best of some rounds, in the precision that the machine multiplies in
hardware. `of a step` is the difference as a share of a training step at demo size (16 packed rows of 256, AdamW):

    norms        torch's rms_norm                ─► RMSNorm of the decoder         every norm of a step
    isolation    a dense mask of T × T           ─► documents by themselves        every layer of a step
    LM head      scores of all positions         ─► of the supervised ones         one step
    Muon         torch's, matrix by matrix       ─► matrices of one shape stacked

Then isolated attention against length: 4,096 tokens in rows of 256, 512 and 1,024 with documents of about 60 and 400.

Where a step goes at demo size (8 rows of 256, one core of a Zen 4 narrowed to AVX2, float32, CPU time of one thread):
of 206 ms forward and backward, 115 are matrix products at 90 of the core's 97 GFLOP/s, 33 attention, 58 everything
else, so without everything else it would be 1.4 times as fast. Kept: rotation without intermediate tensors (2 to 5
%), RMSNorm's gradient in place (3 to 4 %), freed memory kept for the next step (3,900 page faults and 8 ms a step
become 60 and 0.5), and Lightning's log of a value, a millisecond each, at log steps only.

Removed or not taken, for it did not win: attention of short documents by separate matrix products (0.75 of the fused
kernel's time on AVX512-bf16, but 1.10 of it on AVX2); blocks compiled by torch.compile around this attention (1.07 to
1.12 times as fast, after 8 s with a filled cache and over a minute without one); SwiGLU as one function (0 to 2 %);
segments aligned to 8 or 32 tokens in place of 16 (-1 %, -3 %).
"""

from collections.abc import Callable
from dataclasses import replace

import machine
import torch
from measure import fastest, flags, training_step
from report import record
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the field's name
from torch.optim import Muon

from picochat.model.attention import Attend, Backend, isolate
from picochat.model.config import DecoderConfig
from picochat.model.decoder import Decoder, RMSNorm
from picochat.model.loss import supervised_nll
from picochat.model.optim import MuonAdamW

CONFIG = DecoderConfig(vocab_size=320)
ROWS, CONTEXT, DOCUMENT, TOKENS = 16, 256, 60, 4096
HALF = machine.precision() == "bf16"
SHAPES = [(4, 2, 32), (8, 2, 48), (16, 4, 64)]  # query heads, key heads, head size: the demo, the recipe, 107 M
Ways = tuple[Callable[[], object], Callable[[], object]]  # torch's, picochat's


def labels() -> Tensor:
    """Four positions in ten are supervised."""
    ids = torch.randint(CONFIG.vocab_size, (ROWS, CONTEXT))
    return ids.masked_fill(torch.rand(ROWS, CONTEXT) > 0.4, -100)


def norms() -> Ways:
    """All norms of a step, forward and backward."""
    width, layers = CONFIG.hidden_size, CONFIG.num_hidden_layers
    wide = torch.randn(TOKENS, width, requires_grad=True)
    heads = (CONFIG.num_attention_heads, CONFIG.num_key_value_heads)
    narrow = [torch.randn(TOKENS, count, CONFIG.head_dim, requires_grad=True) for count in heads]
    over, inside = RMSNorm(width, 1e-6), RMSNorm(CONFIG.head_dim, 1e-6)

    def run(apply: Callable[[Tensor, RMSNorm], Tensor]) -> None:
        for number in range(2 * layers + 1):
            apply(wide, over).backward(torch.ones_like(wide))
            for states in narrow if number < layers else ():
                apply(states, inside).backward(torch.ones_like(states))

    torchs = lambda states, norm: F.rms_norm(states, norm.weight.shape, norm.weight, norm.eps)  # noqa: E731
    return lambda: run(torchs), lambda: run(lambda states, norm: norm(states))


def attention(prepare: Callable[[Tensor], Attend], other: Callable[[Tensor], Attend]) -> Ways:
    """Attention of all layers, forward and backward, prepared in two ways."""
    documents = (torch.arange(CONTEXT) // DOCUMENT + 1).to(torch.int32).repeat(ROWS, 1)
    heads, keys, size = CONFIG.num_attention_heads, CONFIG.num_key_value_heads, CONFIG.head_dim
    query, key, value = (torch.randn(ROWS, CONTEXT, count, size) for count in (heads, keys, keys))
    states = [query.requires_grad_(), key.requires_grad_()]
    states.append((value.bfloat16() if HALF else value).requires_grad_())  # as under autocast

    def run(prepare: Callable[[Tensor], Attend]) -> None:
        attend = prepare(documents)
        for _ in range(CONFIG.num_hidden_layers):
            attend(*states).sum().backward()

    return lambda: run(prepare), lambda: run(other)


def head(vocabulary: int) -> Ways:
    """LM head and loss of a step."""
    model, targets = Decoder(replace(CONFIG, vocab_size=vocabulary)), labels()
    hidden = torch.randn(ROWS, CONTEXT, CONFIG.hidden_size, requires_grad=True)

    def all_positions() -> None:
        F.cross_entropy(model.logits(hidden).flatten(0, 1), targets.flatten(), reduction="sum").backward()

    return all_positions, lambda: supervised_nll(model, hidden, targets).sum().backward()


def muons() -> Ways:
    """The optimizer's step over the matrices of the blocks."""
    made = []
    for rule, own in ((Muon, {}), (MuonAdamW, {"momentum": 0.95})):
        blocks = [
            weight for name, weight in Decoder(CONFIG).named_parameters() if "layers" in name and weight.ndim == 2
        ]
        for matrix in blocks:
            matrix.grad = torch.randn_like(matrix)
        made.append(rule([{"params": blocks, **own}], lr=0.0).step)
    return made[0], made[1]


def by(choice: Backend) -> Callable[[Tensor], Attend]:
    return lambda documents: isolate(documents, choice)


CHANGES: dict[str, Callable[[], Ways]] = {
    "norms": norms,
    "isolation": lambda: attention(by("mask"), by("segments")),
    "LM head": lambda: head(CONFIG.vocab_size),
    "LM head, vocabulary 4,096": lambda: head(4096),  # of no step here
    "Muon": muons,
}


def lengths(heads: int, keys: int, size: int, context: int, mean: int, rounds: int) -> dict[str, float]:
    """Seconds of a layer's forward and backward with documents of mean / 2 to 3 · mean / 2 tokens, by the way."""
    rows = []
    for _ in range(TOKENS // context):
        row: list[int] = []
        while len(row) + (length := int(torch.randint(mean // 2, mean * 3 // 2, ()))) <= context:
            row += [row[-1] + 1 if row else 1] * length
        rows.append(row + [0] * (context - len(row)))
    documents = torch.tensor(rows, dtype=torch.int32)
    states = [torch.randn(*documents.shape, count, size, requires_grad=True) for count in (heads, keys, keys)]
    choices: tuple[Backend, ...] = ("causal", "mask", "segments")
    attends = {name: isolate(documents, name) for name in choices}
    return fastest({name: lambda name=name: attends[name](*states).sum().backward() for name in choices}, rounds)


def main() -> None:
    args = flags(__doc__, threads=(1, "of torch"), rounds=(20, "of each way; the best counts")).parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    step = training_step(CONFIG, ROWS, CONTEXT, DOCUMENT, "adamw", HALF)
    whole = fastest({"step": step}, args.rounds)["step"]
    rows: list[list[object]] = []
    for name, make in CHANGES.items():
        before, after = fastest(dict(zip(("torch", "picochat"), make(), strict=True)), args.rounds).values()
        share = "–" if "vocabulary" in name else f"{(before - after) / whole:+.1%}"
        rows.append([name, before * 1e3, after * 1e3, f"{before / after:.2f} ×", share])
        print(f"{name}: {before * 1e3:.2f} → {after * 1e3:.2f} ms", flush=True)
    note = f"A step takes {whole * 1e3:.0f} ms on {args.threads} thread; ± is what a step gains."
    record("kernels", ["what", "torch's, ms", "picochat's, ms", "faster by", "of a step"], rows, note)
    rows = []
    for shape in SHAPES:
        for context, mean in ((256, 60), (512, 60), (512, 400), (1024, 60), (1024, 400)):
            best = lengths(*shape, context, mean, args.rounds // 2)
            cells = [f"{taken * 1e3:.1f} ({taken / best['causal']:.2f} ×)" for taken in best.values()]
            rows.append(["{}/{} × {}".format(*shape), context, mean, *cells])
    columns = ["heads", "row", "document", *(f"{choice}, ms" for choice in best)]
    record("kernels-attention", columns, rows, f"{args.threads} thread, float32.", keys=3)


if __name__ == "__main__":
    main()
