"""Size and shape of a decoder, and the folder that a model's name means; no torch. Next: decoder, checkpoint, sizes."""

import json
import re
from dataclasses import asdict, dataclass
from math import ceil
from pathlib import Path
from typing import Any, Literal

from picochat.errors import UserError
from picochat.strict_json import json_kind, read_json_object

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
ADAPTER_CONFIG = "adapter_config.json"
_HUB = re.compile(r"(?:hub:)?([\w.-]+/[\w.-]+?)(?:@([\w.-]+))?")
_FILES = ["*.json", "*.jinja", "*.safetensors"]  # what picochat reads; nothing that holds code or pickles
_ROPES = {  # rope_type → numbers that it needs, and those that it may have
    "linear": (("factor",), ()),
    "llama3": (("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"), ()),
    "yarn": (
        ("factor", "original_max_position_embeddings"),
        ("attention_factor", "beta_fast", "beta_slow", "mscale", "mscale_all_dim", "truncate"),
    ),
}


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
        max_position_embeddings: longest context, in tokens; training raises it to the data's context length.
        rope_theta: base of the rotary frequencies.
        rms_norm_eps: added to the mean square in RMSNorm.
        tie_word_embeddings: the head shares the embedding's weights.
        initializer_range: standard deviation of fresh embeddings.
        model_type: family of models that the decoder computes as.
        rope_scaling: stretched rotary positions of rope_type linear, llama3 or yarn, as a config.json has them; null
            for plain ones.
        no_rope_layers: of smollm3, for each layer 1 where it has rotary positions and 0 where not; null is 1 for all.

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
    def qk_norm(self) -> bool:
        """Whether each head's queries and keys are normed."""
        return self.model_type == "qwen3"

    @property
    def qkv_bias(self) -> bool:
        """Whether query, key and value projections have biases."""
        return self.model_type == "qwen2"

    @property
    def rotary_layers(self) -> list[bool]:
        """For each layer, whether it has rotary positions."""
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
    def num_parameters(self) -> int:
        """Parameters, a tied head counted once."""
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
    content = {**_FAMILIES[family][1], **content}
    own = {name: content[name] for name in DecoderConfig.__dataclass_fields__ if content.get(name) is not None}
    values = {**_DEFAULTS, **own, **_rope(file, content)}
    heads, width = values.get("num_attention_heads"), values.get("hidden_size")
    values.setdefault("num_key_value_heads", heads)
    if isinstance(heads, int) and isinstance(width, int) and heads > 0:
        values.setdefault("head_dim", width // heads)
    every, depth = content.get("no_rope_layer_interval", 4), values.get("num_hidden_layers")
    if family != "smollm3":
        values.pop("no_rope_layers", None)
    elif isinstance(depth, int) and isinstance(every, int) and every > 0:
        values.setdefault("no_rope_layers", [int(n % every != 0) for n in range(1, depth + 1)])
    if missing := {*_NUMBERS} - values.keys():
        raise UserError(f"{file} does not say {', '.join(sorted(missing))}")
    for name in ("tie_word_embeddings", *_NUMBERS):
        wanted = DecoderConfig.__annotations__[name]
        if isinstance(values[name], bool) != (wanted is bool) or not isinstance(values[name], int | wanted):
            needed = {bool: "true or false", int: "a whole number", float: "a number"}[wanted]
            raise UserError(f"{file}: {name} must be {needed}, not {json.dumps(values[name])[:60]}")
    layers, window = content.get("layer_types") or [], content.get("sliding_window") if family == "mistral" else None
    full = isinstance(layers, list) and all(layer == "full_attention" for layer in layers)
    wide = window is None or (isinstance(window, int) and window >= values["max_position_embeddings"])
    fixed = {name: (content.get(name) in (None, value), json.dumps(value)) for name, value in _FIXED.items()}
    computed = {**fixed, "layer_types": (full, "full attention"), "sliding_window": (wide, "full attention")}
    for name, (fits, only) in computed.items():
        if not fits:
            raise UserError(f"{file}: {name} is {json.dumps(content[name])}; picochat computes {only} only")
    try:
        return DecoderConfig(**values)
    except UserError as error:
        raise UserError(f"{file}: {error}") from None


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


def _rope(file: Path, content: dict[str, Any]) -> dict[str, Any]:
    """rope_theta and rope_scaling: transformers 5 has both in rope_parameters, 4 had them side by side."""
    rope: dict[str, Any] = {}
    for name in ("rope_scaling", "rope_parameters"):
        if not isinstance(content.get(name), dict | None):
            raise UserError(f"{file}: {name} must be an object, not {json_kind(content[name])}")
        rope |= content.get(name) or {}
    rope = {name: value for name, value in rope.items() if value is not None}
    if rope.get("partial_rotary_factor") == 1:
        del rope["partial_rotary_factor"]
    rope_type = rope.setdefault("rope_type", rope.pop("type", "default"))
    rope.pop("type", None)
    theta = rope.pop("rope_theta", content.get("rope_theta", _DEFAULTS["rope_theta"]))
    if rope_type in ("llama3", "yarn"):
        trained = content.get("original_max_position_embeddings", content.get("max_position_embeddings"))
        rope.setdefault("original_max_position_embeddings", trained)
    return {"rope_theta": theta, "rope_scaling": None if rope == {"rope_type": "default"} else rope}


def _check_rope(rope: dict[str, Any]) -> None:
    """Refuse positions that the decoder does not compute."""
    kind = rope.get("rope_type")
    needed, allowed = _ROPES.get(str(kind), ((), ()))
    if not needed:
        raise UserError(f"rope_type is {json.dumps(kind)}; picochat computes default, {', '.join(_ROPES)}")
    for name in rope.keys() - {"rope_type"} | {*needed}:
        value = rope.get(name)
        if name not in (*needed, *allowed) or not isinstance(value, int | float) or (name in needed and not value > 0):
            found = json.dumps(value) if name in rope else "missing"
            raise UserError(f"{name} of the rope_type {kind} is {found}, which picochat does not compute")


def find_model(name: str | Path) -> Path:
    """The folder of a model; one of the Hugging Face hub (owner/name, owner/name@revision) is fetched."""
    folder, match = Path(name), _HUB.fullmatch(str(name))
    if folder.exists() or not match or Path(str(name).split("/")[0]).exists():
        return folder
    try:
        from huggingface_hub import hf_hub_download, snapshot_download
        from huggingface_hub.errors import EntryNotFoundError
    except ImportError:
        raise UserError(f"there is no folder {name}; for models of the hub: pip install 'picochat[hub]'") from None
    place: dict[str, Any] = {"repo_id": match[1], "revision": match[2]}
    try:
        try:
            read_config(Path(hf_hub_download(filename="config.json", **place)).parent)  # before gigabytes are fetched
        except EntryNotFoundError:
            hf_hub_download(filename=ADAPTER_CONFIG, **place)
        return Path(snapshot_download(allow_patterns=_FILES, **place))
    except (OSError, ValueError) as error:  # the hub's own errors are OSErrors
        reason = str(error).strip().splitlines()[0]
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
