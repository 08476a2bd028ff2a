"""A model on disk is a Hugging Face folder. In: a folder, or a decoder to keep. Out: the other one. Next: evidence.

    config.json              size and shape, as transformers writes it         model.safetensors       the weights
    generation_config.json   ids at which a reply ends                         tokenizer.json          the vocabulary
    tokenizer_config.json    control tokens and the chat template              picochat.json           provenance

transformers reads it without code of ours, llama.cpp's converter once told how text is split (docs/howto/interop.md).
Here a folder of a known family that transformers wrote (sharded, bfloat16, untied) is read, and an adapter's folder
with its base. Nothing is ever unpickled.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
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
from picochat.model.config import DecoderConfig, config_json
from picochat.model.decoder import Decoder
from picochat.model.folder import ADAPTER_CONFIG, adapter_base, config_of, find_model
from picochat.model.lora import ADAPTER, adapter_files, merged, read_adapter, scale_of
from picochat.model.tokenizer import ChatTokenizer
from picochat.strict_json import read_json_object

_WEIGHTS = "model.safetensors"
_INDEX = "model.safetensors.index.json"
_PROVENANCE = "picochat.json"
_NUMBERS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)


@dataclass(frozen=True)
class Checkpoint:
    """A model folder in memory.

    Attributes:
        decoder: the weights.
        provenance: what picochat.json says; empty for a folder of another maker.
        folder: where it came from.
        tokenizer_file: a tokenizer.json, or a folder that holds one.
    """

    decoder: Decoder
    provenance: dict[str, Any]
    folder: Path
    tokenizer_file: Path

    @cached_property
    def tokenizer(self) -> ChatTokenizer:
        """The tokenizer that the weights were trained with, loaded on first use: a base may come without."""
        tokenizer = ChatTokenizer.load(self.tokenizer_file)
        check_tokenizer(self.folder, tokenizer)
        return tokenizer


def save_checkpoint(
    folder: str | Path,
    decoder: Decoder,
    tokenizer: ChatTokenizer,
    provenance: dict[str, Any],
    dtype: torch.dtype | None = None,
) -> None:
    """Write a model folder, whole or not at all; an older one of that name is replaced.

    Of a decoder with LoRA it is an adapter folder, as peft writes it.

    Args:
        folder: its name.
        decoder: whose weights are kept.
        tokenizer: the one that the weights were trained with; with it come the files of the folder it is from.
        provenance: where the weights come from; JSON values. The tokenizer's sha256 and the version are added.
        dtype: number format of the weights; None: as they are.
    """
    dtype = dtype or decoder.lm_head.weight.dtype
    adapter, file, state = None, _WEIGHTS, decoder.state_dict()
    if scale_of(decoder):  # the thin matrices alone; they go with the base
        state, adapter = adapter_files(decoder, _base(provenance))
        file, dtype = ADAPTER, torch.float32
    elif decoder.config.tie_word_embeddings:
        del state["lm_head.weight"]  # the embedding under another name
    state = {name: tensor.detach().cpu().to(dtype).contiguous() for name, tensor in state.items()}
    ids = {"bos_token_id": tokenizer.bos_id, "eos_token_id": tokenizer.end_id, "pad_token_id": tokenizer.pad_id}
    generation = json.loads(tokenizer.files.get("generation_config.json", "{}"))
    config = config_json(decoder.config, str(dtype).removeprefix("torch."), ids)
    with atomic_folder(folder) as building:
        try:
            save_file(state, building / file, metadata={"format": "pt"})
        except SafetensorError as error:  # a full disk is no OSError to it
            raise UserError(f"cannot write {folder}: {error}") from error
        if adapter is not None:
            write_json(building / ADAPTER_CONFIG, adapter)
        write_json(building / "config.json", config)
        write_json(building / "generation_config.json", {**ids, **generation, "eos_token_id": list(tokenizer.stop_ids)})
        tokenizer.save(building)
        versions = {"picochat_version": __version__, "tokenizer_sha256": tokenizer.fingerprint}
        write_json(building / _PROVENANCE, {**provenance, **versions})


def load_checkpoint(
    folder: str | Path,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | None = None,
    tokenizer: str | Path | None = None,
) -> Checkpoint:
    """Read a model folder.

    Args:
        folder: its name; an adapter's folder (LoRA, as peft writes it) is merged with its base.
        device: where the weights go.
        dtype: number format of the weights; None keeps that of the files.
        tokenizer: a tokenizer.json or a folder; None takes the one in the folder.

    Raises:
        UserError: no such folder, another architecture, damaged or missing weights.
    """
    folder = find_model(folder)
    config, base = config_of(folder), adapter_base(folder)
    provenance = _provenance(folder)
    state = _read_weights(base or folder, device, dtype)
    _check_weights(base or folder, config, state)
    if base is not None:
        thin, scale = read_adapter(folder, _read_weights(folder, device, None, [ADAPTER]))
        state = merged({**state, **thin}, scale)
        if tokenizer is None and not (folder / "tokenizer.json").is_file():
            tokenizer = base
    return Checkpoint(Decoder.from_state(config, state).eval(), provenance, folder, Path(tokenizer or folder))


def check_tokenizer(folder: str | Path, tokenizer: ChatTokenizer) -> None:
    """Make sure that weights and tokenizer belong together.

    Raises:
        UserError: the folder has another tokenizer, or fewer rows in its embedding than the tokenizer has ids.
    """
    file, rows = Path(folder) / "tokenizer.json", config_of(Path(folder)).vocab_size
    given, recorded = tokenizer.fingerprint, _provenance(Path(folder)).get("tokenizer_sha256")
    own = sha256_file(file) if file.is_file() else given
    if tokenizer.vocab_size > rows:
        why = f"it knows {rows} tokens and the tokenizer has {tokenizer.vocab_size}; use --tokenizer {file}"
    elif own != given:
        why = f"sha256 {own[:12]}, and {given[:12]} was given; use --tokenizer {file}"
    elif recorded not in (None, given):
        why = (
            f"{_PROVENANCE} names sha256 {str(recorded)[:12]}, and {given[:12]} was given; use the tokenizer.json of "
            "the training"
        )
    else:
        return
    raise UserError(f"{folder} was trained with another tokenizer: {why}")


def _read_weights(
    folder: Path, device: str | torch.device, dtype: torch.dtype | None, names: Sequence[str] | None = None
) -> dict[str, Tensor]:
    if names is None and (folder / _INDEX).is_file():
        shards = read_json_object(folder / _INDEX).get("weight_map")
        if not isinstance(shards, dict) or not all(isinstance(name, str) for name in shards.values()):
            raise UserError(f"{folder / _INDEX} has no weight_map from weights to files")
        names = sorted({Path(name).name for name in shards.values()})  # never outside of the folder
    state: dict[str, Tensor] = {}
    for name in [_WEIGHTS] if names is None else names:
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


def _check_weights(folder: Path, config: DecoderConfig, state: dict[str, Tensor]) -> None:
    for layer in range(config.num_hidden_layers):  # before a decoder is made: a million layers would take long
        _require(folder, f"model.layers.{layer}.input_layernorm.weight", state)
    try:
        with torch.device("meta"):
            expected = {name: tuple(tensor.shape) for name, tensor in Decoder(config).state_dict().items()}
    except (TypeError, RuntimeError) as error:  # torch's words for numbers beyond 64 bits
        raise UserError(f"{folder / 'config.json'} names sizes that no tensor can have") from error
    if config.tie_word_embeddings:
        state.pop("lm_head.weight", None)
        del expected["lm_head.weight"]
    for name, shape in expected.items():
        _require(folder, name, state)
        if tuple(state[name].shape) != shape:
            raise UserError(f"{folder}: {name} has the shape {tuple(state[name].shape)}, config.json asks for {shape}")
        if not bool(state[name].isfinite().all()):
            raise UserError(f"{folder}: {name} holds NaN or infinity; take an earlier checkpoint, or train it again")
    if unknown := sorted(state.keys() - expected.keys()):
        raise UserError(f"{folder} holds the weight {unknown[0]}, which a model of its config.json does not have")


def _require(folder: Path, name: str, state: dict[str, Tensor]) -> None:
    if name not in state:
        raise UserError(f"{folder} lacks the weight {name}, which its config.json asks for")


def _base(provenance: dict[str, Any]) -> str:
    parent = str(provenance["parent"])
    return str(Path(parent).resolve()) if Path(parent).exists() else parent  # else a name of the hub


def _provenance(folder: Path) -> dict[str, Any]:
    return read_json_object(folder / _PROVENANCE) if (folder / _PROVENANCE).is_file() else {}
