"""How long `make demo` will take on this machine, measured on a few steps; demo.mk prints it at its start.

    python benchmarks/expect.py --steps 2050 --replies 6000 --commands 17

Measured: the imports of a command, a training step of the demo's size with Muon, and a batch of replies. A training
step of Lightning takes about a tenth more than its arithmetic, a reply about 60 tokens; two evaluations side by side
take two thirds of the time of one after the other.
"""

import statistics
import time

START = time.perf_counter()

import lightning.pytorch  # noqa: E402, F401 - its import is part of what is measured
import torch  # noqa: E402
from measure import flags, timed, training_step  # noqa: E402

from picochat.model.config import DecoderConfig  # noqa: E402
from picochat.model.decoder import Decoder  # noqa: E402
from picochat.model.engine import Decoding  # noqa: E402
from picochat.model.generation import generate  # noqa: E402
from picochat.model.hardware import preferred_dtype  # noqa: E402
from picochat.model.vocabulary import train_tokenizer  # noqa: E402

IMPORTS = time.perf_counter() - START
DEMO = DecoderConfig(vocab_size=768, num_hidden_layers=6, intermediate_size=192)  # what base.yaml trains
ROWS, CONTEXT, DOCUMENT, MEASURED = 8, 256, 64, 8
REPLIES, NEW = 192, 32
LIGHTNING, REPLY_TOKENS, PAIRED, BEYOND_IMPORTS = 1.1, 60, 0.65, 1.3


def step_seconds(decoder_config: DecoderConfig) -> float:
    """Median of a few training steps after two that warm up."""
    half = preferred_dtype("cpu") == torch.bfloat16
    step = training_step(decoder_config, ROWS, CONTEXT, DOCUMENT, "muon", half)
    return statistics.median([timed(step)[0] for _ in range(MEASURED + 2)][2:])


def token_seconds(decoder: Decoder) -> float:
    """Seconds a new token, in a batch of replies."""
    tokenizer = train_tokenizer(["words"] * 2, 262)
    prompts = torch.randint(6, 262, (REPLIES, 40)).tolist()
    decoding = Decoding(max_new_tokens=NEW, batch_size=REPLIES)
    seconds, made = timed(lambda: list(generate(decoder, tokenizer, prompts, decoding)))
    return seconds / max(1, sum(len(reply.ids) for reply in made))


def spoken(seconds: float) -> str:
    return f"{round(seconds / 60)} min" if seconds >= 90 else f"{round(seconds)} s"


def main() -> None:
    numbers = {"steps": "training steps of all stages", "replies": "of all evaluations", "commands": "each a process"}
    args = flags(__doc__, **{name: (None, text) for name, text in numbers.items()}).parse_args()
    torch.manual_seed(0)
    step, token = step_seconds(DEMO) * LIGHTNING, token_seconds(Decoder(DEMO))
    train, answer = args.steps * step, args.replies * REPLY_TOKENS * token * PAIRED
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
