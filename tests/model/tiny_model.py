"""A small tokenizer, size and run for the tests of the model, and a look at what torch does."""

from collections.abc import Callable
from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode

from picochat.model.config import DecoderConfig
from picochat.model.vocabulary import train_tokenizer

TOKENIZER = train_tokenizer(["a cat and a dog and a cat "] * 9, 264)
TINY = DecoderConfig(
    vocab_size=264,
    hidden_size=16,
    intermediate_size=24,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=6,
    max_position_embeddings=128,
    initializer_range=0.5,  # scores that differ
)
FIT = [  # beside the data of exact_run.make_data
    *("fit", "--data=ChatDataModule", "--data.chat_input=chat.jsonl", "--data.tokenizer=tokenizer.json"),
    *("--data.eval_input=eval.jsonl", "--data.context_length=192", "--data.batch_size=2", "--trainer.accelerator=cpu"),
    *("--model.decoder.hidden_size=32", "--model.decoder.num_hidden_layers=1", "--benchmark_metrics.max_new_tokens=4"),
]


class Watch(TorchDispatchMode):
    """Calls ``see`` with the name and the arguments of every operation."""

    def __init__(self, see: Callable[[str, Any], None]) -> None:
        super().__init__()
        self.see = see

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.see(func.name(), args)
        return func(*args, **(kwargs or {}))
