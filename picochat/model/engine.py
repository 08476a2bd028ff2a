"""How a checkpoint is loaded and how it decodes; imports no torch. In: a model folder. Out: the model in memory."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from picochat.errors import UserError
from picochat.model.config import config_of, find_model

if TYPE_CHECKING:
    from picochat.model.checkpoint import Checkpoint


@dataclass(frozen=True)
class Decoding:
    """How replies are made; at temperature 0 decoding is greedy and needs no seed.

    Args:
        max_new_tokens: tokens after which a reply is cut off; the model's context limits it too.
        temperature: 0 takes the most likely token; above 0, tokens are sampled.
        top_k: sample among the k most likely tokens only.
        top_p: nucleus sampling: sample among the fewest most likely tokens that hold this share of the probability.
        seed: of the sampling.
        batch_size: prompts answered together; changes the speed, never a reply.
    """

    max_new_tokens: int = 256
    temperature: float = 0.0
    top_k: int | None = None
    top_p: float | None = None
    seed: int = 42
    batch_size: int = 64

    def __post_init__(self) -> None:
        k, p, sampled = self.top_k, self.top_p, self.temperature > 0
        ranges = (
            ("max_new_tokens", self.max_new_tokens >= 1, "at least 1"),
            ("batch_size", self.batch_size >= 1, "at least 1"),
            ("temperature", 0 <= self.temperature < float("inf"), "0 (greedy) or above"),
            ("top_k", k is None or k >= 1, "at least 1"),
            ("top_p", p is None or 0 < p <= 1, "above 0 and at most 1"),
            ("seed", self.seed >= 0, "0 or above"),
            ("top_k", k is None or sampled, "left out at temperature 0 (--temperature), which samples nothing"),
            ("top_p", p is None or sampled, "left out at temperature 0 (--temperature), which samples nothing"),
        )
        for name, fits, wanted in ranges:
            if not fits:
                flag = name.replace("_", "-")
                raise UserError(f"{name} (--{flag}) is {getattr(self, name)}; it must be {wanted}")


@dataclass(frozen=True)
class Reply:
    """One continuation."""

    ids: list[int]  # everything generated, the stop token included; of replies made elsewhere unknown, and empty
    text: str  # without control tokens
    raw_text: str  # with them, so that a role token that began another turn can be seen
    finished: bool  # by itself rather than at the limit of tokens


Precision = Literal["auto", "float32", "bf16", "fp16"]
DTYPES = {"auto": "float32", "float32": "float32", "bf16": "bfloat16", "fp16": "float16"}  # names in torch


def load_model(
    checkpoint: str | Path,
    *,
    tokenizer: str | Path | None = None,
    device: str = "auto",
    precision: Precision = "auto",
) -> "Checkpoint":
    """Load a model folder onto a device for inference.

    Args:
        checkpoint: model folder, such as RUN/best_checkpoint, or a model of the hub, such as Qwen/Qwen3-0.6B-Base.
        tokenizer: a tokenizer.json or model folder, checked to be the checkpoint's own; null takes the checkpoint's.
        device: cpu, cuda, mps, or auto for the best there is.
        precision: auto is float32. Only float32 makes replies independent of the batch size: in half precision two
            tokens that are nearly as likely may change places with the rows beside them.
    """
    folder = find_model(checkpoint)
    config_of(folder)  # refused before torch is imported
    import torch

    from picochat.model.checkpoint import load_checkpoint

    loaded = load_checkpoint(folder, pick_device(device), getattr(torch, DTYPES[precision]), tokenizer)
    _ = loaded.tokenizer  # a wrong one is refused now
    return loaded


def pick_device(device: str) -> str:
    """Resolve "auto", and refuse a device that this machine does not have."""
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    with suppress(RuntimeError, AssertionError):  # cuda:7 of two, cpu:x, a build without CUDA: refused below
        if device.partition(":")[0] in ("cpu", "cuda", "mps"):
            torch.empty(0, device=device)
            return device
    raise UserError(f"--device {device} is not available on this machine; use --device auto")
