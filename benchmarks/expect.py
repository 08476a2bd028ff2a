"""How long `make demo` will take on this machine, measured on a few steps; demo.mk prints it at its start.

    python benchmarks/expect.py --steps 1950 --replies 6000 --commands 17

Measured: the imports of a command, a training step of the demo's size with Muon, and a batch of replies. A training
step of Lightning takes about a tenth more than its arithmetic, a reply about 60 tokens.
"""

import argparse
import itertools
import statistics
import time

START = time.perf_counter()

import lightning.pytorch  # noqa: E402, F401 - its import is part of what is measured
import torch  # noqa: E402

from picochat.model.config import DecoderConfig  # noqa: E402
from picochat.model.decoder import Decoder  # noqa: E402
from picochat.model.engine import Decoding  # noqa: E402
from picochat.model.generation import generate  # noqa: E402
from picochat.model.hardware import preferred_dtype  # noqa: E402
from picochat.model.loss import supervised_nll  # noqa: E402
from picochat.model.optim import OptimizerConfig, build_optimizer  # noqa: E402
from picochat.model.vocabulary import train_tokenizer  # noqa: E402

IMPORTS = time.perf_counter() - START
DEMO = DecoderConfig(vocab_size=768, num_hidden_layers=6, intermediate_size=192)  # what base.yaml trains
ROWS, CONTEXT, DOCUMENT, MEASURED = 8, 256, 64, 8
REPLIES, NEW = 192, 32
LIGHTNING, REPLY_TOKENS, BEYOND_IMPORTS = 1.1, 60, 1.3


def step_seconds(decoder: Decoder) -> float:
    """Median of a few training steps after two that warm up."""
    optimizer, places = build_optimizer(decoder, OptimizerConfig("muon")), torch.arange(CONTEXT)
    ids = torch.randint(6, DEMO.vocab_size, (ROWS, CONTEXT))
    positions, documents = (part.repeat(ROWS, 1) for part in (places % DOCUMENT, places // DOCUMENT + 1))
    labels = ids.masked_fill(positions < DOCUMENT // 4, -100)
    half = preferred_dtype("cpu") == torch.bfloat16
    ends = []
    for _ in range(MEASURED + 3):
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            loss = supervised_nll(decoder, decoder(ids, positions, documents), labels).mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        ends.append(time.perf_counter())
    return statistics.median(after - before for before, after in itertools.pairwise(ends[2:]))


def token_seconds(decoder: Decoder) -> float:
    """Seconds a new token, in a batch of replies."""
    tokenizer = train_tokenizer(["words"] * 2, 262)
    prompts = torch.randint(6, 262, (REPLIES, 40)).tolist()
    start = time.perf_counter()
    made = list(generate(decoder, tokenizer, prompts, Decoding(max_new_tokens=NEW, batch_size=REPLIES)))
    return (time.perf_counter() - start) / max(1, sum(len(reply.ids) for reply in made))


def spoken(seconds: float) -> str:
    return f"{round(seconds / 60)} min" if seconds >= 90 else f"{round(seconds)} s"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, required=True, help="training steps of all stages")
    parser.add_argument("--replies", type=int, required=True, help="replies of all evaluations")
    parser.add_argument("--commands", type=int, required=True, help="stages, each a process")
    args = parser.parse_args()
    torch.manual_seed(0)
    decoder = Decoder(DEMO)
    step, token = step_seconds(decoder) * LIGHTNING, token_seconds(decoder)
    train, answer = args.steps * step, args.replies * REPLY_TOKENS * token
    start = args.commands * IMPORTS * BEYOND_IMPORTS
    formats = str(preferred_dtype("cpu")).removeprefix("torch.")
    print(
        f"This machine: {torch.backends.cpu.get_cpu_capability()}, {formats}, {torch.get_num_threads()} threads; "
        f"{1 / step:.1f} training steps/s and {1 / token:,.0f} reply tokens/s, measured now.\n"
        f"Expected: about {spoken(train + answer + start)} for {args.commands} stages: {spoken(train)} training "
        f"({args.steps:,} steps), {spoken(answer)} evaluation, {spoken(start)} start-up and data."
    )


if __name__ == "__main__":
    main()
