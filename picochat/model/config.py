"""Size and shape of a decoder, and the config.json of a model folder; no torch. Next: decoder, checkpoint, sizes."""

import json
from dataclasses import asdict, dataclass, fields
from math import ceil
from pathlib import Path
from typing import Any

from picochat.errors import UserError
from picochat.strict_json import json_kind, read_json_object

# What Qwen3's own config means where it is silent.
_DEFAULTS = {
    "head_dim": 128,
    "max_position_embeddings": 32_768,
    "rms_norm_eps": 1e-6,
    "initializer_range": 0.02,
    "tie_word_embeddings": False,
}
# What the decoder computes: a folder that says otherwise would be read wrongly.
_FIXED = {"hidden_act": "silu", "attention_bias": False, "use_sliding_window": False, "quantization_config": None}


@dataclass(frozen=True)
class DecoderConfig:
    """Size and shape; the names are those of a Qwen3 ``config.json``.

    Args:
        vocab_size: tokens of the tokenizer. A fresh model in training takes it from the data.
        hidden_size: width of the residual stream.
        intermediate_size: inner width of the SwiGLU.
        num_hidden_layers: blocks.
        num_attention_heads: query heads.
        num_key_value_heads: key and value heads; divides num_attention_heads.
        head_dim: width of one head; even.
        max_position_embeddings: longest context, in tokens; training raises it to the data's context length.
        rope_theta: base of the rotary frequencies.
        rms_norm_eps: added to the mean square in RMSNorm.
        tie_word_embeddings: the head shares the embedding's weights.
        initializer_range: standard deviation of fresh embeddings.

    Raises:
        UserError: sizes that do not fit together.
    """

    vocab_size: int = 512
    hidden_size: int = 128
    intermediate_size: int = 384
    num_hidden_layers: int = 4
    num_attention_heads: int = 4
    num_key_value_heads: int = 2
    head_dim: int = 32
    max_position_embeddings: int = 256
    rope_theta: float = 10_000.0
    rms_norm_eps: float = 1e-6
    tie_word_embeddings: bool = True
    initializer_range: float = 0.02

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name != "tie_word_embeddings" and not value > 0:
                raise UserError(f"{field.name} is {value}; it must be above 0")
        heads, shared = self.num_attention_heads, self.num_key_value_heads
        if heads % shared:
            fitting = ", ".join(str(n) for n in range(1, heads + 1) if heads % n == 0)
            raise UserError(
                f"num_key_value_heads {shared} does not divide num_attention_heads {heads}; use one of {fitting}"
            )
        if self.head_dim % 2:
            raise UserError(f"head_dim is {self.head_dim}; rotary positions turn pairs, so it must be even")

    def parameters(self, ranks: int = 1) -> dict[str, int]:
        """Numbers in matrices, embeddings and norms that a rank keeps, ⌈rows / ranks⌉ rows of each tensor; a tied head
        is the embedding."""
        width, inner, layers = self.hidden_size, self.intermediate_size, self.num_hidden_layers
        queries, keys = self.num_attention_heads * self.head_dim, self.num_key_value_heads * self.head_dim
        tensors = {  # part → (rows, columns, how many), of a block but for the embeddings
            "matrices": [
                (queries, width, 1),
                (keys, width, 2),
                (width, queries, 1),
                (inner, width, 2),
                (width, inner, 1),
            ],
            "embeddings": [(self.vocab_size, width, 1 if self.tie_word_embeddings else 2)],
            "norms": [(width, 1, 2), (self.head_dim, 1, 2)],
        }
        kept = {part: sum(ceil(r / ranks) * c * n for r, c, n in those) for part, those in tensors.items()}
        last_norm = ceil(width / ranks)
        return {**kept, "matrices": layers * kept["matrices"], "norms": layers * kept["norms"] + last_norm}

    @property
    def num_parameters(self) -> int:
        """Parameters, a tied head counted once."""
        return sum(self.parameters().values())

    def flops_per_token(self, tokens: float, *, supervised: float = 1.0) -> float:
        """Floating-point operations of training one token: 6 per matrix weight, and attention over the document.

        Kaplan et al. 2020, appendix B, forward and backward; causal attention sees half of ``tokens`` on average.

        Args:
            tokens: length of a document (of the row, where documents are as long).
            supervised: share of positions that pass through the head.
        """
        head = self.vocab_size * self.hidden_size * supervised
        attention = self.num_hidden_layers * self.num_attention_heads * self.head_dim * tokens
        return 6.0 * (self.parameters()["matrices"] + head + attention)


def read_config(folder: str | Path) -> DecoderConfig:
    """The size and shape that a folder's config.json names.

    Raises:
        UserError: no config.json, another architecture, or a variant of Qwen3 that the decoder does not compute.
    """
    file = Path(folder) / "config.json"
    if not file.is_file():
        raise UserError(f"{folder} is not a model folder: it has no config.json; name one such as RUN/best_checkpoint")
    content = read_json_object(file)
    if content.get("model_type") != "qwen3":
        names = content.get("architectures")
        named = ", ".join(map(str, names)) if names and isinstance(names, list) else "no architecture named"
        model_type = content.get("model_type") or "unknown"
        raise UserError(
            f"{folder} holds a model of type {model_type} ({named}); picochat reads dense Qwen3 models only"
        )
    for name, supported in _FIXED.items():
        if content.get(name, supported) != supported:
            raise UserError(
                f"{file}: {name} is {json.dumps(content[name])}; picochat computes {json.dumps(supported)} only"
            )
    layers = content.get("layer_types") or []
    if not isinstance(layers, list) or any(layer != "full_attention" for layer in layers):
        raise UserError(f"{file}: layer_types names other layers than full_attention, which picochat does not compute")
    values = {**_DEFAULTS, **{name: content[name] for name in DecoderConfig.__dataclass_fields__ if name in content}}
    values["rope_theta"] = _rope_theta(file, content)
    if values.get("num_key_value_heads") is None:
        values["num_key_value_heads"] = values.get("num_attention_heads")
    if missing := DecoderConfig.__dataclass_fields__.keys() - values.keys():
        raise UserError(f"{file} does not say {', '.join(sorted(missing))}")
    for name, wanted in DecoderConfig.__annotations__.items():
        value = values[name]
        if isinstance(value, bool) != (wanted is bool) or not isinstance(value, int | wanted):
            needed = {bool: "true or false", int: "a whole number", float: "a number"}[wanted]
            raise UserError(f"{file}: {name} must be {needed}, not {json.dumps(value)[:60]}")
    try:
        return DecoderConfig(**values)
    except UserError as error:
        raise UserError(f"{file}: {error}") from None


def config_json(config: DecoderConfig, dtype: str, ids: dict[str, int]) -> dict[str, Any]:
    """What ``config.json`` holds, as Qwen3ForCausalLM writes it.

    Args:
        dtype: number format of the weights, such as "float32".
        ids: the tokenizer's bos_token_id, eos_token_id and pad_token_id.
    """
    return {
        "architectures": ["Qwen3ForCausalLM"],
        "model_type": "qwen3",
        **asdict(config),
        "rope_parameters": {"rope_type": "default", "rope_theta": config.rope_theta},
        "hidden_act": "silu",
        "attention_bias": False,
        "attention_dropout": 0.0,
        "use_sliding_window": False,
        "sliding_window": None,
        "max_window_layers": config.num_hidden_layers,
        "use_cache": True,
        "dtype": dtype,
        **ids,
    }


def refuse_other_size(wanted: DecoderConfig | None, own: DecoderConfig, checkpoint: str | None) -> None:
    """Raise UserError where a wanted size is not the checkpoint's."""
    sizes = ("hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "head_dim")
    shapes = ("intermediate_size", "rope_theta", "tie_word_embeddings")  # a default here is not a wish
    for field in (*sizes, *shapes):
        value = getattr(wanted or own, field)
        if value != getattr(own, field) and (field in sizes or value != getattr(DecoderConfig, field)):
            raise UserError(
                f"model.decoder.{field} is {value}, but {checkpoint} has {getattr(own, field)}; leave model.decoder "
                "out to take the checkpoint's"
            )


def _rope_theta(file: Path, content: dict[str, Any]) -> Any:
    """transformers 5 moved rope_theta into rope_parameters; 4 had rope_theta beside rope_scaling."""
    for name in ("rope_scaling", "rope_parameters"):
        if not isinstance(content.get(name), dict | None):
            raise UserError(f"{file}: {name} must be an object, not {json_kind(content[name])}")
    rope = {**(content.get("rope_scaling") or {}), **(content.get("rope_parameters") or {})}
    rope_type = rope.get("rope_type", rope.get("type", "default"))
    if rope_type != "default":
        raise UserError(f"{file}: rope_type is '{rope_type}'; picochat computes plain rotary positions only")
    return rope.get("rope_theta", content.get("rope_theta", 10_000.0))
