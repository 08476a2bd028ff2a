"""Generation beside transformers' own: the same weights, the same prompts, greedy, one run.

    python benchmarks/generation.py --size demo|10m [--device cpu] [--threads 2]

64 prompts of 16 to 128 tokens are each continued by 48 tokens; nothing stops early (stop tokens are switched off for
both). Best of four rounds, taken in turn; new tokens per second of wall time.
"""

import argparse
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from report import record
from transformers import AutoModelForCausalLM

from picochat.model.checkpoint import load_checkpoint, save_checkpoint
from picochat.model.decoder import Decoder, DecoderConfig
from picochat.model.engine import Decoding
from picochat.model.generation import generate
from picochat.model.tokenizer import ChatTokenizer, train_tokenizer

SIZES = {
    "demo": DecoderConfig(max_position_embeddings=512),
    "10m": DecoderConfig(
        vocab_size=4096,
        hidden_size=320,
        intermediate_size=864,
        num_hidden_layers=7,
        num_attention_heads=10,
        num_key_value_heads=2,
        max_position_embeddings=512,
    ),
}
PROMPTS, NEW = 64, 48


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--size", choices=SIZES, default="demo")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    config = SIZES[args.size]
    tokenizer = _Endless(train_tokenizer(["words of the benchmark "] * 2, 262)._content)
    with tempfile.TemporaryDirectory() as folder:
        save_checkpoint(Path(folder) / "model", Decoder(config), tokenizer, {})
        decoder = load_checkpoint(Path(folder) / "model", args.device).decoder
        theirs = AutoModelForCausalLM.from_pretrained(Path(folder) / "model").to(args.device).eval()
    theirs.generation_config.eos_token_id = None
    draw = random.Random(0)
    prompts = [[draw.randrange(6, config.vocab_size) for _ in range(draw.randint(16, 128))] for _ in range(PROMPTS)]
    longest = max(map(len, prompts))
    padded = torch.tensor([[1] * (longest - len(p)) + p for p in prompts], device=args.device)
    seen = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in prompts], device=args.device)

    def ours(batch_size: int) -> list[list[int]]:
        decoding = Decoding(max_new_tokens=NEW, batch_size=batch_size)
        return [reply.ids for reply in generate(decoder, tokenizer, prompts, decoding)]

    def hugging_face() -> list[list[int]]:
        made = theirs.generate(padded, attention_mask=seen, max_new_tokens=NEW, do_sample=False, pad_token_id=1)
        return [row[longest:].tolist() for row in made]

    same = sum(a == b for a, b in zip(ours(PROMPTS), hugging_face(), strict=True))

    def one_by_one() -> None:
        for prompt in prompts:
            seen_all = torch.ones(1, len(prompt), dtype=torch.long, device=args.device)
            settings = {"max_new_tokens": NEW, "do_sample": False, "pad_token_id": 1}
            theirs.generate(torch.tensor([prompt], device=args.device), attention_mask=seen_all, **settings)

    routes: dict[str, Callable[[], object]] = {
        "picochat, batch 64": lambda: ours(PROMPTS),
        "picochat, one by one": lambda: ours(1),
        "transformers generate, batch 64": hugging_face,
        "transformers generate, one by one": one_by_one,
    }
    seconds = {name: float("inf") for name in routes}
    for _ in range(4):
        for name, route in routes.items():
            begun = time.perf_counter()
            route()
            seconds[name] = min(seconds[name], time.perf_counter() - begun)
    ours_best = seconds["picochat, batch 64"]
    rows = [[name, PROMPTS * NEW / best, best / ours_best] for name, best in seconds.items()]
    note = f"{args.size}: {config.num_parameters / 1e6:.2f} M parameters, {args.threads} threads; "
    note += f"{same} of {PROMPTS} continuations are the same."
    record(f"generation-{args.size}", ["way", "tokens/s", "picochat in batches is … × as fast"], rows, note)


class _Endless(ChatTokenizer):
    """No token stops a reply, so that both sides make the same number of tokens."""

    def __init__(self, content: str) -> None:
        super().__init__(content)
        self.stop_ids = ()


if __name__ == "__main__":
    main()
