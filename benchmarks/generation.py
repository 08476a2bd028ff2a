"""Generation beside transformers' own: the same weights, the same prompts, greedy, one run.

    python benchmarks/generation.py --size demo|10m [--device cpu] [--threads 2]

64 prompts of 16 to 128 tokens are each continued by 48 tokens; nothing stops early (stop tokens are switched off for
both). Best of four rounds, taken in turn; new tokens a second of wall time, in float32.
"""

import random
import tempfile
from pathlib import Path

import torch
from measure import fastest, flags
from report import record

from picochat.model.checkpoint import load_checkpoint, save_checkpoint
from picochat.model.config import DecoderConfig
from picochat.model.decoder import Decoder
from picochat.model.engine import Decoding
from picochat.model.generation import generate
from picochat.model.tokenizer import ChatTokenizer
from picochat.model.vocabulary import train_tokenizer

SIZES = {
    "demo": DecoderConfig(max_position_embeddings=512),
    "10m": DecoderConfig(4096, 320, 864, 7, 10, 2, max_position_embeddings=512),
}
PROMPTS, NEW = 64, 48


class Endless(ChatTokenizer):
    """No token stops a reply, so that all ways make the same number of tokens."""

    def __init__(self, content: str) -> None:
        super().__init__(content)
        self.stop_ids = ()


def endless() -> Endless:
    return Endless(train_tokenizer(["words of the benchmark "] * 2, 262).content)


def main() -> None:
    from transformers import AutoModelForCausalLM

    parser = flags(__doc__, threads=(torch.get_num_threads(), "of torch"))
    parser.add_argument("--size", choices=SIZES, default="demo")
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    config, tokenizer = SIZES[args.size], endless()
    with tempfile.TemporaryDirectory() as folder:
        save_checkpoint(Path(folder) / "model", Decoder(config), tokenizer, {})
        decoder = load_checkpoint(Path(folder) / "model", args.device).decoder
        theirs = AutoModelForCausalLM.from_pretrained(Path(folder) / "model").to(args.device).eval()
    theirs.generation_config.eos_token_id = None
    draw = random.Random(0)
    prompts = [[draw.randrange(6, config.vocab_size) for _ in range(draw.randint(16, 128))] for _ in range(PROMPTS)]

    def ours(batch_size: int) -> list[list[int]]:
        decoding = Decoding(max_new_tokens=NEW, batch_size=batch_size)
        return [reply.ids for reply in generate(decoder, tokenizer, prompts, decoding)]

    def hugging_face(some: list[list[int]]) -> list[list[int]]:
        longest = max(map(len, some))
        ids = torch.tensor([[1] * (longest - len(prompt)) + prompt for prompt in some], device=args.device)
        mask = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in some], device=args.device)
        made = theirs.generate(ids, attention_mask=mask, max_new_tokens=NEW, do_sample=False, pad_token_id=1)
        return [row[longest:].tolist() for row in made]

    same = sum(a == b for a, b in zip(ours(PROMPTS), hugging_face(prompts), strict=True))
    ways = {
        "picochat, batch 64": lambda: ours(PROMPTS),
        "picochat, one by one": lambda: ours(1),
        "transformers generate, batch 64": lambda: hugging_face(prompts),
        "transformers generate, one by one": lambda: [hugging_face([prompt]) for prompt in prompts],
    }
    seconds = fastest(ways, rounds=4)
    best = seconds["picochat, batch 64"]
    rows = [[name, PROMPTS * NEW / taken, taken / best] for name, taken in seconds.items()]
    note = f"{args.size}: {config.num_parameters / 1e6:.2f} M parameters, {args.threads} threads; "
    note += f"{same} of {PROMPTS} continuations are the same."
    columns = ["way", "tokens/s", "picochat in batches is … × as fast"]
    record(f"generation-{args.size}", columns, rows, note, device=args.device)


if __name__ == "__main__":
    main()
