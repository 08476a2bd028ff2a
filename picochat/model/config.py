"""Size and shape of a decoder, and the folder that a model's name means; no torch. Next: decoder, checkpoint, sizes."""

import json
import re
from dataclasses import asdict, dataclass
from math import ceil
from pathlib import Path
from typing import Any, Literal

from picochat.errors import UserError
from picochat.strict_json import read_json_object
from picochat.strict_yaml import check_value

Family = Literal["qwen3", "qwen2", "llama", "mistral", "smollm3"]

_DEFAULTS = {  # what a config.json means where it is silent
    "max_position_embeddings": 32_768,
    "rope_theta": 10_000.0,
    "rms_norm_eps": 1e-6,
    "initializer_range": 0.02,
    "tie_word_embeddings": False,
}
# model_type → architecture, and the defaults of its own; with what differs in the one decoder
_FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "qwen3": ("Qwen3ForCausalLM", {"head_dim": 128}),  # RMSNorm on the queries and keys of each head
    "qwen2": ("Qwen2ForCausalLM", {}),  # biases of the query, key and value projections; Qwen2.5 too
    "llama": ("LlamaForCausalLM", {"max_position_embeddings": 2048}),  # neither; SmolLM2 and TinyLlama too
    "mistral": ("MistralForCausalLM", {"max_position_embeddings": 131_072, "sliding_window": 4096}),  # as llama
    # as llama, some layers without rotary positions
    "smollm3": ("SmolLM3ForCausalLM", {"rope_theta": 2_000_000.0, "tie_word_embeddings": True}),
}
# What the decoder computes: a folder that says otherwise would be read wrongly.
_FIXED = {
    "hidden_act": "silu",
    "attention_bias": False,
    "mlp_bias": False,
    "use_sliding_window": False,
    "partial_rotary_factor": 1.0,
    "quantization_config": None,
}
_TRAINED = "original_max_position_embeddings"
_ROPES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {  # rope_type → numbers that it needs, and may have
    "llama3": (("factor", "low_freq_factor", "high_freq_factor", _TRAINED), ()),
    "yarn": (("factor", _TRAINED), ("attention_factor", "beta_fast", "beta_slow")),
}
_DEEPEST = 10_000  # layers of a list that a config.json leaves to its reader
ADAPTER_CONFIG = "adapter_config.json"
_HUB = re.compile(r"[\w.-]+/[\w.-]+")
_FILES = ["*.json", "*.jinja", "*.safetensors"]  # what picochat reads; nothing that holds code or pickles
_NOT = ["*/*", "consolidated*"]  # copies of the weights in other forms


@dataclass(frozen=True)
class DecoderConfig:
    """Size and shape; the names are those of a ``config.json``.

    Args:
        vocab_size: tokens of the tokenizer. A fresh model in training takes it from the data.
        hidden_size: width of the residual stream.
        intermediate_size: inner width of the SwiGLU.
        num_hidden_layers: blocks.
        num_attention_heads: query heads.
        num_key_value_heads: key and value heads; divides num_attention_heads.
        head_dim: width of one head; even.
        max_position_embeddings: longest context, in tokens. A fresh model in training takes it from the data.
        rope_theta: base of the rotary frequencies.
        rms_norm_eps: added to the mean square in RMSNorm.
        tie_word_embeddings: the head shares the embedding's weights.
        initializer_range: standard deviation of fresh embeddings.
        model_type: family of models that the decoder computes as.
        rope_scaling: stretched rotary positions of rope_type llama3 or yarn, as a config.json has them.
        no_rope_layers: of smollm3, for each layer 1 where it has rotary positions and 0 where not; null is 1 for all.
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
    model_type: Family = "qwen3"
    rope_scaling: dict[str, Any] | None = None
    no_rope_layers: list[int] | None = None

    def __post_init__(self) -> None:
        for name in _NUMBERS:
            if not getattr(self, name) > 0:
                raise UserError(f"{name} is {getattr(self, name)}; it must be above 0")
        heads, shared = self.num_attention_heads, self.num_key_value_heads
        if heads % shared:
            fitting = ", ".join(str(n) for n in range(1, heads + 1) if heads % n == 0)
            raise UserError(f"num_key_value_heads {shared} does not divide num_attention_heads {heads}; use {fitting}")
        if self.head_dim % 2:
            raise UserError(f"head_dim is {self.head_dim}; rotary positions turn pairs, so it must be even")
        if self.rope_scaling is not None:
            _check_rope(self.rope_scaling)
        turned = self.no_rope_layers
        if turned is not None and (self.model_type != "smollm3" or len(turned) != self.num_hidden_layers):
            raise UserError("no_rope_layers needs model_type smollm3 and a 1 or 0 for each of the num_hidden_layers")

    @property
    def qk_norm(self) -> bool:  # of each head's queries and keys
        return self.model_type == "qwen3"

    @property
    def qkv_bias(self) -> bool:
        return self.model_type == "qwen2"

    @property
    def rotary_layers(self) -> list[bool]:  # for each layer, whether it has rotary positions
        return [bool(turned) for turned in self.no_rope_layers or [1] * self.num_hidden_layers]

    @property
    def tensors(self) -> dict[str, list[tuple[int, int, int]]]:
        """Part → (rows, columns, how many) of its tensors; a tied head is the embedding, vectors have one column."""
        width, inner, layers = self.hidden_size, self.intermediate_size, self.num_hidden_layers
        queries, keys = self.num_attention_heads * self.head_dim, self.num_key_value_heads * self.head_dim
        matrices = [(queries, width, 1), (keys, width, 2), (width, queries, 1), (inner, width, 2), (width, inner, 1)]
        norms = [(width, 2), (self.head_dim, 2 * self.qk_norm), (queries, self.qkv_bias), (keys, 2 * self.qkv_bias)]
        return {
            "matrices": [(rows, columns, number * layers) for rows, columns, number in matrices],
            "embeddings": [(self.vocab_size, width, 1 if self.tie_word_embeddings else 2)],
            "norms": [*((size, 1, number * layers) for size, number in norms), (width, 1, 1)],  # with biases
        }

    def parameters(self, ranks: int = 1) -> dict[str, int]:
        """Numbers of each part that a rank keeps: ⌈rows / ranks⌉ rows of each tensor."""
        return {part: sum(ceil(r / ranks) * c * n for r, c, n in those) for part, those in self.tensors.items()}

    @property
    def num_parameters(self) -> int:  # a tied head counted once
        return sum(self.parameters().values())

    def flops_per_token(self, tokens: float, *, supervised: float = 1.0) -> float:
        """Floating-point operations of training one token in a document of ``tokens``, forward and backward.

        Kaplan et al. 2020, appendix B: 6 per matrix weight (of the head for the ``supervised`` share of positions), and
        attention, which sees half of the document on average.
        """
        head = self.vocab_size * self.hidden_size * supervised
        attention = self.num_hidden_layers * self.num_attention_heads * self.head_dim * tokens
        return 6.0 * (self.parameters()["matrices"] + head + attention)


_NUMBERS = tuple(name for name, kind in DecoderConfig.__annotations__.items() if kind in (int, float))


def read_config(folder: str | Path) -> DecoderConfig:
    """What a folder's config.json says; UserError where the decoder does not compute it."""
    file = Path(folder) / "config.json"
    if not file.is_file():
        raise UserError(f"{folder} is not a model folder: it has no config.json; name one such as RUN/best_checkpoint")
    content = read_json_object(file)
    family = str(content.get("model_type", "unknown"))
    if family not in _FAMILIES:
        raise UserError(f"{folder} holds a model of type {family}; picochat reads {', '.join(_FAMILIES)}")
    try:
        return _computed({**_FAMILIES[family][1], **content})
    except (UserError, ValueError) as error:
        raise UserError(f"{file}: {error}") from None


def _computed(content: dict[str, Any]) -> DecoderConfig:
    own = {name: content[name] for name in DecoderConfig.__dataclass_fields__ if content.get(name) is not None}
    values = {**_DEFAULTS, **own, **_rope(content)}
    heads, width, depth = (values.get(f) for f in ("num_attention_heads", "hidden_size", "num_hidden_layers"))
    values.setdefault("num_key_value_heads", heads)
    if isinstance(heads, int) and isinstance(width, int) and heads > 0:
        values.setdefault("head_dim", width // heads)
    every = content.get("no_rope_layer_interval", 4)
    if content["model_type"] != "smollm3":
        values.pop("no_rope_layers", None)
    elif isinstance(depth, int) and isinstance(every, int) and every > 0:
        listed = min(depth, _DEEPEST)  # a depth that nobody has would fill the memory
        values.setdefault("no_rope_layers", [int(n % every != 0) for n in range(1, listed + 1)])
    if missing := {*_NUMBERS} - values.keys():
        raise UserError(f"does not say {', '.join(sorted(missing))}")
    check_value(values, DecoderConfig, "config")
    layers, window = content.get("layer_types") or [], content.get("sliding_window")
    full = isinstance(layers, list) and all(layer == "full_attention" for layer in layers)
    wide = window is None or (isinstance(window, int) and window >= values["max_position_embeddings"])
    wide = wide or content["model_type"] != "mistral"  # the others have their window off
    fixed = {name: (content.get(name) in (None, value), json.dumps(value)) for name, value in _FIXED.items()}
    computed = {**fixed, "layer_types": (full, "full attention"), "sliding_window": (wide, "full attention")}
    for name, (fits, only) in computed.items():
        if not fits:
            raise UserError(f"{name} is {json.dumps(content[name])}; picochat computes {only} only")
    return DecoderConfig(**values)


def _rope(content: dict[str, Any]) -> dict[str, Any]:
    """rope_theta and rope_scaling. transformers 4 had them side by side, 5 has both in rope_parameters, and takes a
    rope_scaling in its place."""
    for name in ("rope_scaling", "rope_parameters"):
        check_value(content.get(name), dict[str, Any] | None, name)
    given = content.get("rope_scaling") or content.get("rope_parameters") or {}
    rope = {key: value for key, value in given.items() if value is not None}
    if rope.get("partial_rotary_factor") == 1:
        del rope["partial_rotary_factor"]
    older = rope.pop("type", "default")
    theta = rope.pop("rope_theta", content.get("rope_theta", _DEFAULTS["rope_theta"]))
    if rope.setdefault("rope_type", older) != "default":
        rope[_TRAINED] = content.get(_TRAINED) or rope.get(_TRAINED, content.get("max_position_embeddings"))
    return {"rope_theta": theta, "rope_scaling": None if rope == {"rope_type": "default"} else rope}


def _check_rope(rope: dict[str, Any]) -> None:
    kind = str(rope.get("rope_type"))
    if kind not in _ROPES:
        raise UserError(
            f"rope_type is {json.dumps(kind)}; picochat computes {', '.join(_ROPES)} and, without more numbers, default"
        )
    needed, allowed = _ROPES[kind]
    for name in sorted({*needed, *rope} - {"rope_type"}):
        value = rope.get(name)
        if name not in (*needed, *allowed) or not isinstance(value, int | float) or not value > 0:
            raise UserError(f"{name} of the rope_type {kind} is {json.dumps(value)}, which picochat does not compute")


def config_json(config: DecoderConfig, dtype: str, ids: dict[str, int]) -> dict[str, Any]:
    """What ``config.json`` holds, as transformers writes it: ``dtype`` such as "float32", ``ids`` bos_token_id, …"""
    return {
        "architectures": [_FAMILIES[config.model_type][0]],
        **{name: value for name, value in asdict(config).items() if value is not None},
        "rope_parameters": {"rope_type": "default", "rope_theta": config.rope_theta, **(config.rope_scaling or {})},
        "hidden_act": "silu",
        "attention_bias": False,
        "attention_dropout": 0.0,
        "use_sliding_window": False,
        "sliding_window": None,
        "use_cache": True,
        "dtype": dtype,
        **ids,
    }


def find_model(name: str | Path) -> Path:
    """The folder of a model; one of the Hugging Face hub (owner/name) is fetched."""
    folder = Path(name)
    if folder.exists() or not _HUB.fullmatch(str(name)) or folder.parent.exists():
        return folder
    try:
        from huggingface_hub import hf_hub_download, snapshot_download
        from huggingface_hub.errors import EntryNotFoundError
    except ImportError:
        raise UserError(f"there is no folder {name}; for models of the hub: pip install 'picochat[hub]'") from None
    try:
        try:
            read_config(Path(hf_hub_download(str(name), "config.json")).parent)  # before gigabytes are fetched
        except EntryNotFoundError:
            hf_hub_download(str(name), ADAPTER_CONFIG)
        return Path(snapshot_download(str(name), allow_patterns=_FILES, ignore_patterns=_NOT))
    except UserError:
        raise
    except Exception as error:  # whatever the client's many layers raise, such as a connection that breaks off
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(f"there is no folder {name}, and the hub does not give it: {reason}") from error


def config_of(folder: Path) -> DecoderConfig:
    """Size and shape of a model, or of the one that an adapter's folder adapts."""
    base = None if (folder / "config.json").is_file() else adapter_base(folder)
    return read_config(base or folder)


def adapter_base(folder: Path) -> Path | None:
    """The folder of the base model that an adapter's folder names; None: it is no adapter's."""
    file = folder / ADAPTER_CONFIG
    if not file.is_file():
        return None
    base = read_json_object(file).get("base_model_name_or_path")
    found = find_model(base) if isinstance(base, str) and base else None
    if found is None or not found.is_dir():
        raise UserError(f"{file}: its base model {base} is not here; correct base_model_name_or_path")
    return found
