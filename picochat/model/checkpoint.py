"""A model on disk is a Hugging Face folder. In: a folder, or a decoder to keep. Out: the other one. Next: evidence.

    config.json              size and shape, as Qwen3ForCausalLM writes it     model.safetensors       the weights
    generation_config.json   ids at which a reply ends                         tokenizer.json          the vocabulary
    tokenizer_config.json    control tokens and the chat template              picochat.json           provenance

transformers, vLLM and llama.cpp read it without code of ours; a Qwen3 folder that transformers wrote (sharded,
bfloat16, untied) is read here. Nothing is ever unpickled.
"""

import json
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from picochat import __version__
from picochat.errors import UserError
from picochat.files import atomic_folder, sha256_file, write_json
from picochat.model.decoder import Decoder, DecoderConfig
from picochat.model.tokenizer import ChatTokenizer
from picochat.strict_json import json_kind, read_json_object

_WEIGHTS = "model.safetensors"
_INDEX = "model.safetensors.index.json"
_PROVENANCE = "picochat.json"
_NUMBERS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
# What the decoder computes, and what it does not: a folder that says otherwise would be read wrongly.
_FIXED = {"hidden_act": "silu", "attention_bias": False, "use_sliding_window": False, "quantization_config": None}

# What Qwen3's own config means where it is silent.
_DEFAULTS = {
    "head_dim": 128,
    "max_position_embeddings": 32_768,
    "rms_norm_eps": 1e-6,
    "initializer_range": 0.02,
    "tie_word_embeddings": False,
}


@dataclass(frozen=True)
class Checkpoint:
    """A model folder in memory.

    Attributes:
        folder: where it came from.
        decoder: the weights.
        provenance: what picochat.json says; empty for a folder of another maker.
    """

    folder: Path
    decoder: Decoder
    provenance: dict[str, Any]

    @cached_property
    def tokenizer(self) -> ChatTokenizer:
        """The folder's own tokenizer, loaded when it is asked for: a base model may come without one."""
        tokenizer = ChatTokenizer.load(self.folder)
        check_tokenizer(self.folder, tokenizer)
        return tokenizer


def save_checkpoint(folder: str | Path, decoder: Decoder, tokenizer: ChatTokenizer, provenance: dict[str, Any]) -> None:
    """Write a model folder, whole or not at all; an older one of that name is replaced.

    Args:
        folder: its name.
        decoder: whose weights are kept, in the number format they have.
        tokenizer: the one that the weights were trained with.
        provenance: where the weights come from; JSON values. The tokenizer's sha256 and the version are added.
    """
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in decoder.state_dict().items()}
    if decoder.config.tie_word_embeddings:
        del state["lm_head.weight"]  # the embedding under another name
    with atomic_folder(folder) as building:
        try:
            save_file(state, building / _WEIGHTS, metadata={"format": "pt"})
        except SafetensorError as error:  # a full disk is no OSError to it
            raise UserError(f"cannot write {folder}: {error}") from error
        write_json(building / "config.json", _to_json(decoder, tokenizer))
        ends = {"bos_token_id": tokenizer.bos_id, "pad_token_id": tokenizer.pad_id}
        write_json(building / "generation_config.json", {**ends, "eos_token_id": list(tokenizer.stop_ids)})
        tokenizer.save(building)
        made = {"picochat_version": __version__, "tokenizer_sha256": tokenizer.fingerprint}
        write_json(building / _PROVENANCE, {**provenance, **made})


def load_checkpoint(
    folder: str | Path, device: str | torch.device = "cpu", dtype: torch.dtype | None = None
) -> Checkpoint:
    """Read a model folder.

    Args:
        folder: its name.
        device: where the weights go.
        dtype: number format of the weights; None keeps that of the files.

    Raises:
        UserError: no such folder, another architecture, damaged or missing weights.
    """
    folder = Path(folder)
    config = read_config(folder)
    provenance = _provenance(folder)
    state = _read_weights(folder, device, dtype)
    _check_layers(folder, config, state)
    if config.tie_word_embeddings and "model.embed_tokens.weight" in state:
        state["lm_head.weight"] = state["model.embed_tokens.weight"]
    try:
        with torch.device("meta"):
            decoder = Decoder(config)
    except (TypeError, RuntimeError) as error:  # torch's words for numbers beyond 64 bits
        raise UserError(f"{folder / 'config.json'} names sizes that no tensor can have") from error
    _check_weights(folder, decoder, state)
    decoder.load_state_dict(state, assign=True)
    if config.tie_word_embeddings:
        decoder.lm_head.weight = decoder.model.embed_tokens.weight
    return Checkpoint(folder, decoder.eval(), provenance)


def read_config(folder: str | Path) -> DecoderConfig:
    """The size and shape that a folder's config.json names.

    Raises:
        UserError: no config.json, another architecture, or a variant of Qwen3 that the decoder does not compute.
    """
    file = Path(folder) / "config.json"
    if not file.is_file():
        raise UserError(
            f"{folder} is no model folder: it has no config.json; name a folder such as RUN/best_checkpoint"
        )
    found = read_json_object(file)
    if found.get("model_type") != "qwen3":
        what = found.get("model_type") or "unknown"
        names = found.get("architectures")
        made = ", ".join(map(str, names)) if names and isinstance(names, list) else "no architecture named"
        raise UserError(f"{folder} holds a model of type {what} ({made}); picochat reads dense Qwen3 models only")
    for name, supported in _FIXED.items():
        if found.get(name, supported) != supported:
            raise UserError(
                f"{file}: {name} is {json.dumps(found[name])}; picochat computes {json.dumps(supported)} only"
            )
    kinds = found.get("layer_types") or []
    if not isinstance(kinds, list) or any(kind != "full_attention" for kind in kinds):
        raise UserError(f"{file}: layer_types names other layers than full_attention, which picochat does not compute")
    for name in ("rope_scaling", "rope_parameters"):
        if not isinstance(found.get(name), dict | None):
            raise UserError(f"{file}: {name} must be an object, not {json_kind(found[name])}")
    # transformers 5 moved rope_theta into rope_parameters; 4 had rope_theta beside rope_scaling.
    rope = {**(found.get("rope_scaling") or {}), **(found.get("rope_parameters") or {})}
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind != "default":
        raise UserError(f"{file}: rope_type is '{kind}'; picochat computes plain rotary positions only")
    values = {**_DEFAULTS, **{name: found[name] for name in DecoderConfig.__dataclass_fields__ if name in found}}
    values["rope_theta"] = rope.get("rope_theta", found.get("rope_theta", 10_000.0))
    if values.get("num_key_value_heads") is None:
        values["num_key_value_heads"] = values.get("num_attention_heads")
    if missing := DecoderConfig.__dataclass_fields__.keys() - values.keys():
        raise UserError(f"{file} does not say {', '.join(sorted(missing))}")
    for name, kind in DecoderConfig.__annotations__.items():
        value = values[name]
        right = (
            isinstance(value, bool) if kind is bool else isinstance(value, int | kind) and not isinstance(value, bool)
        )
        if not right:
            needed = {bool: "true or false", int: "a whole number", float: "a number"}[kind]
            raise UserError(f"{file}: {name} must be {needed}, not {json.dumps(value)[:60]}")
    try:
        return DecoderConfig(**values)
    except UserError as error:
        raise UserError(f"{file}: {error}") from None


def check_tokenizer(folder: str | Path, tokenizer: ChatTokenizer) -> None:
    """Make sure that weights and tokenizer belong together.

    Raises:
        UserError: the folder has another tokenizer, or fewer rows in its embedding than the tokenizer has ids.
    """
    file = Path(folder) / "tokenizer.json"
    rows = read_config(folder).vocab_size
    if tokenizer.vocab_size > rows:
        raise UserError(
            f"{folder} was trained with another tokenizer: it knows {rows} tokens and the tokenizer has "
            f"{tokenizer.vocab_size}; use --tokenizer {file}"
        )
    if file.is_file() and (theirs := sha256_file(file)) != tokenizer.fingerprint:
        raise UserError(
            f"{folder} was trained with another tokenizer: sha256 {theirs[:12]}, and {tokenizer.fingerprint[:12]} was "
            f"given; use --tokenizer {file}"
        )
    recorded = _provenance(Path(folder)).get("tokenizer_sha256")
    if recorded is not None and recorded != tokenizer.fingerprint:
        raise UserError(
            f"{folder} was trained with another tokenizer: {_PROVENANCE} names sha256 {str(recorded)[:12]}, and "
            f"{tokenizer.fingerprint[:12]} was given; use the tokenizer.json of the training"
        )


def _to_json(decoder: Decoder, tokenizer: ChatTokenizer) -> dict[str, Any]:
    config = decoder.config
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
        "dtype": str(decoder.lm_head.weight.dtype).removeprefix("torch."),
        "bos_token_id": tokenizer.bos_id,
        "eos_token_id": tokenizer.end_id,
        "pad_token_id": tokenizer.pad_id,
    }


def _read_weights(folder: Path, device: str | torch.device, dtype: torch.dtype | None) -> dict[str, Tensor]:
    if (folder / _INDEX).is_file():
        shards = read_json_object(folder / _INDEX).get("weight_map")
        if not isinstance(shards, dict) or not all(isinstance(name, str) for name in shards.values()):
            raise UserError(f"{folder / _INDEX} has no weight_map from weights to files")
        names = sorted({Path(name).name for name in shards.values()})  # a shard lies in the folder, whatever it says
    else:
        names = [_WEIGHTS]
    state: dict[str, Tensor] = {}
    for name in names:
        file = folder / name
        if not file.is_file():
            raise UserError(f"{folder} has no {name}; picochat reads weights from safetensors files only")
        try:
            with safe_open(file, framework="pt") as opened:
                for key in opened.keys():  # noqa: SIM118 - no mapping, it only has keys()
                    if not key.endswith("rotary_emb.inv_freq"):  # older writers kept it; it follows from the config
                        tensor = opened.get_tensor(key)
                        if tensor.dtype not in _NUMBERS:
                            raise UserError(
                                f"{file}: {key} is made of {str(tensor.dtype).removeprefix('torch.')}; picochat reads "
                                "weights in float32, float16 and bfloat16"
                            )
                        # copy: the file is mapped into memory, and may be replaced while the model lives
                        state[key] = tensor.to(device=device, dtype=dtype, copy=True)
        except (SafetensorError, OSError) as error:
            raise UserError(f"{file} is damaged or no safetensors file: {error}; copy or train it again") from error
    return state


def _check_layers(folder: Path, config: DecoderConfig, state: dict[str, Tensor]) -> None:
    """Before the decoder is made: a config that names a million layers would take as long to say no."""
    for layer in range(config.num_hidden_layers):
        if (name := f"model.layers.{layer}.input_layernorm.weight") not in state:
            raise UserError(f"{folder} lacks the weight {name}, which its config.json asks for")


def _check_weights(folder: Path, decoder: Decoder, state: dict[str, Tensor]) -> None:
    expected = {name: tuple(tensor.shape) for name, tensor in decoder.state_dict().items()}
    for name, shape in expected.items():
        if name not in state:
            raise UserError(f"{folder} lacks the weight {name}, which its config.json asks for")
        if tuple(state[name].shape) != shape:
            raise UserError(f"{folder}: {name} has the shape {tuple(state[name].shape)}, config.json asks for {shape}")
        if not bool(state[name].isfinite().all()):
            raise UserError(f"{folder}: {name} holds NaN or infinity; take an earlier checkpoint, or train it again")
    if unknown := sorted(state.keys() - expected.keys()):
        raise UserError(f"{folder} holds the weight {unknown[0]}, which a Qwen3 model of its config.json does not have")


def _provenance(folder: Path) -> dict[str, Any]:
    return read_json_object(folder / _PROVENANCE) if (folder / _PROVENANCE).is_file() else {}
