"""A model on disk is a Hugging Face folder. In: a folder, or a decoder to keep. Out: the other one. Next: evidence.

    config.json              size and shape, as transformers writes it         model.safetensors       the weights
    generation_config.json   ids at which a reply ends                         tokenizer.json          the vocabulary
    tokenizer_config.json    control tokens and the chat template              picochat.json           provenance

transformers reads it without code of ours (docs/howto/interop.md). Folders of a known family that transformers wrote
(sharded, bfloat16, untied) are read, and adapters (LoRA, as peft writes them) with their base. Nothing is unpickled.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Literal

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from picochat import __version__
from picochat.errors import UserError
from picochat.files import atomic_folder, sha256_file, write_json
from picochat.model.config import ADAPTER_CONFIG, DecoderConfig, adapter_base, config_json, config_of, find_model
from picochat.model.decoder import LORA_TARGETS, Decoder, lora_scale, merge_lora
from picochat.model.tokenizer import ChatTokenizer
from picochat.strict_json import read_json_object

_WEIGHTS, _ADAPTER = "model.safetensors", "adapter_model.safetensors"
_INDEX = "model.safetensors.index.json"
_PROVENANCE = "picochat.json"
_NUMBERS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
_DAMAGED = (OSError, RuntimeError, ValueError, LookupError, TypeError, AttributeError, EOFError, UnpicklingError)
_PEFT = "base_model.model."  # before peft's names of weights
_BEYOND_LORA = (  # settings of peft with which the thin matrices mean something else
    *("use_dora", "use_rslora", "use_qalora", "fan_in_fan_out", "lora_bias", "modules_to_save", "rank_pattern"),
    *("alpha_pattern", "alora_invocation_tokens", "layer_replication", "trainable_token_indices", "target_parameters"),
)
_PLAIN_STARTS = (None, True, False, "gaussian", "eva", "orthogonal")  # of lora_A and lora_B; others change the base too


@dataclass(frozen=True)
class Checkpoint:
    """A model folder in memory."""

    decoder: Decoder
    provenance: dict[str, Any]  # what picochat.json says; empty for a folder of another maker
    folder: Path
    tokenizer_file: Path  # or a folder that holds one

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
    """Write a model folder, of a decoder with LoRA an adapter's, whole or not at all; an older one is replaced.

    With the tokenizer come the files of the folder that it is from. To the provenance (JSON values) its sha256 and the
    version are added. ``dtype`` is the number format of the weights; None: as they are.
    """
    dtype, scale = dtype or decoder.lm_head.weight.dtype, lora_scale(decoder)
    file, state, files = _WEIGHTS, decoder.state_dict(), {}
    if scale:  # the low-rank matrices alone; they go with the base
        file, dtype = _ADAPTER, torch.float32
        state = {f"{_PEFT}{name}.weight": value for name, value in state.items() if ".lora_" in name}
        rank, parent = len(next(iter(state.values()))), str(provenance["parent"])  # lora_A is [rank, in]
        files[ADAPTER_CONFIG] = {
            "peft_type": "LORA",
            "task_type": "CAUSAL_LM",
            # a folder, or a name of the hub
            "base_model_name_or_path": str(Path(parent).resolve()) if Path(parent).exists() else parent,
            "r": rank,
            "lora_alpha": scale * rank,
            "lora_dropout": 0.0,
            "bias": "none",
            "target_modules": list(LORA_TARGETS),
            "inference_mode": True,
        }
    elif decoder.config.tie_word_embeddings:
        del state["lm_head.weight"]  # the embedding under another name
    state = {name: tensor.detach().cpu().to(dtype).contiguous() for name, tensor in state.items()}
    ids = {"bos_token_id": tokenizer.bos_id, "eos_token_id": tokenizer.end_id, "pad_token_id": tokenizer.pad_id}
    generation = tokenizer.settings("generation_config.json")
    files["config.json"] = config_json(decoder.config, str(dtype).removeprefix("torch."), ids)
    files["generation_config.json"] = {**ids, **generation, "eos_token_id": list(tokenizer.stop_ids)}
    versions = {"picochat_version": __version__, "tokenizer_sha256": tokenizer.fingerprint}
    files[_PROVENANCE] = {**provenance, **versions}
    with atomic_folder(folder) as building:
        try:
            save_file(state, building / file, metadata={"format": "pt"})
        except SafetensorError as error:  # a full disk is no OSError to it
            raise UserError(f"cannot write {folder}: {error}") from error
        tokenizer.save(building)
        for name, content in files.items():
            write_json(building / name, content)


def load_checkpoint(
    folder: str | Path,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | None = None,
    tokenizer: str | Path | None = None,
) -> Checkpoint:
    """Read a model folder; an adapter's (LoRA, as peft writes it) is merged with its base.

    Without ``dtype`` the weights keep their number format; without ``tokenizer`` (a tokenizer.json or a folder) it is
    the folder's own. UserError: no such folder, another architecture, damaged or missing weights.
    """
    folder = find_model(folder)
    config, base = config_of(folder), adapter_base(folder)
    provenance = _provenance(folder)
    state = _read_weights(base or folder, device, dtype)
    _check_weights(base or folder, config, state)
    if base is not None:
        thin, scale = _read_adapter(folder, device)
        state = merge_lora({**state, **thin}, scale)
        if tokenizer is None and not (folder / "tokenizer.json").is_file():
            tokenizer = base
    return Checkpoint(Decoder.from_state(config, state).eval(), provenance, folder, Path(tokenizer or folder))


def check_tokenizer(folder: str | Path, tokenizer: ChatTokenizer) -> None:
    """Raise UserError where a folder has another tokenizer, or fewer rows in its embedding than this one has ids."""
    file, rows, given = Path(folder) / "tokenizer.json", config_of(Path(folder)).vocab_size, tokenizer.fingerprint
    own = sha256_file(file) if file.is_file() else given
    recorded = _provenance(Path(folder)).get("tokenizer_sha256") or given
    if tokenizer.vocab_size > rows:
        why = f"it knows {rows} tokens and the tokenizer has {tokenizer.vocab_size}"
    elif {own, recorded} != {given}:
        why = f"sha256 {str(recorded if own == given else own)[:12]}, and {given[:12]} was given"
    else:
        return
    raise UserError(f"{folder} was trained with another tokenizer: {why}; use --tokenizer {file}, or the training's")


def _read_weights(
    folder: Path, device: str | torch.device, dtype: torch.dtype | None, name: str = _WEIGHTS
) -> dict[str, Tensor]:
    names = [name]
    if name == _WEIGHTS and not (folder / name).is_file() and (folder / _INDEX).is_file():
        shards = read_json_object(folder / _INDEX).get("weight_map")
        if not isinstance(shards, dict) or not all(isinstance(name, str) for name in shards.values()):
            raise UserError(f"{folder / _INDEX} has no weight_map from weights to files")
        names = sorted({Path(name).name for name in shards.values()})  # never outside of the folder
    state: dict[str, Tensor] = {}
    for name in names:
        file = folder / name
        if not file.is_file():
            raise UserError(f"{folder} has no {name}; picochat reads weights from safetensors files only")
        try:
            with safe_open(file, framework="pt") as opened:
                for key in opened.keys():  # noqa: SIM118 - no mapping, it only has keys()
                    if key.endswith("rotary_emb.inv_freq"):  # older writers kept it; it follows from the config
                        continue
                    if (tensor := opened.get_tensor(key)).dtype not in _NUMBERS:
                        made = str(tensor.dtype).removeprefix("torch.")
                        raise UserError(f"{file}: {key} is made of {made}; picochat reads float32, float16, bfloat16")
                    # copy: the file is mapped into memory, and may be replaced while the model lives
                    state[key] = tensor.to(device=device, dtype=dtype, copy=True)
        except (SafetensorError, OSError) as error:
            raise UserError(f"{file} is damaged or not a safetensors file: {error}; copy or train it again") from error
    return state


def _check_weights(folder: Path, config: DecoderConfig, state: dict[str, Tensor]) -> None:
    def require(name: str) -> Tensor:
        if name not in state:
            raise UserError(f"{folder} lacks the weight {name}, which its config.json asks for")
        return state[name]

    for layer in range(config.num_hidden_layers):  # before a decoder is made: a million layers would take long
        require(f"model.layers.{layer}.input_layernorm.weight")
    try:
        with torch.device("meta"):
            expected = {name: tuple(tensor.shape) for name, tensor in Decoder(config).state_dict().items()}
    except (TypeError, RuntimeError) as error:  # torch's words for numbers beyond 64 bits
        raise UserError(f"{folder / 'config.json'} names sizes that no tensor can have") from error
    if config.tie_word_embeddings:
        state.pop("lm_head.weight", None)
        del expected["lm_head.weight"]
    for name, shape in expected.items():
        if (tensor := require(name)).shape != shape:
            raise UserError(f"{folder}: {name} has the shape {tuple(tensor.shape)}, config.json asks for {shape}")
        if not bool(tensor.isfinite().all()):
            raise UserError(f"{folder}: {name} holds NaN or infinity; take an earlier checkpoint, or train it again")
    if unknown := sorted(state.keys() - expected.keys()):
        raise UserError(f"{folder} holds the weight {unknown[0]}, which a model of its config.json does not have")


def _provenance(folder: Path) -> dict[str, Any]:
    return read_json_object(folder / _PROVENANCE) if (folder / _PROVENANCE).is_file() else {}


def _read_adapter(folder: Path, device: str | torch.device) -> tuple[dict[str, Tensor], float]:
    """The tensors of an adapter by our names, and their scale."""
    file = folder / ADAPTER_CONFIG
    config = {"bias": "none", **read_json_object(file)}
    other = [name for name in _BEYOND_LORA if config.get(name)] + ["bias"] * (config["bias"] != "none")
    other += ["init_lora_weights"] * (config.get("init_lora_weights") not in _PLAIN_STARTS)
    if config.get("peft_type") != "LORA" or other:
        raise UserError(f"{file}: picochat reads plain LoRA only, not {', '.join(other) or config.get('peft_type')}")
    rank, alpha = config.get("r"), config.get("lora_alpha")
    if not isinstance(rank, int) or not isinstance(alpha, int | float) or rank < 1:
        raise UserError(f"{file} does not say r and lora_alpha as numbers")
    state = _read_weights(folder, device, None, _ADAPTER)
    thin = {name.removeprefix(_PEFT).removesuffix(".weight"): tensor for name, tensor in state.items()}
    if unknown := [name for name in thin if not name.endswith((".lora_A", ".lora_B"))]:
        raise UserError(f"{folder} holds the weight {unknown[0]}, which is not a LoRA matrix of a projection")
    return thin, alpha / rank


def export_checkpoint(
    checkpoint: str | Path,
    out_dir: str | Path,
    dtype: Literal["float32", "bfloat16", "float16"] | None = None,
    untie: bool = False,
) -> int:
    """Write a checkpoint as a model folder, whole or not at all, and return the bytes of its weights.

    Its picochat.json keeps what the old one said and adds ``exported_from``.

    Args:
        checkpoint: model folder, of picochat or of another tool; or RUN/last.ckpt.
        out_dir: the folder to write; not the old one, nor one that holds it.
        dtype: number format of the weights; null takes that of the checkpoint.
        untie: write lm_head.weight by itself where it is shared with the embedding.
    """
    source, target = find_model(checkpoint), Path(out_dir)
    base = adapter_base(source)
    if any(folder.resolve().is_relative_to(target.resolve()) for folder in (source, base or source)):
        itself = "the checkpoint itself" if base is None else "the adapter itself, or its base"
        raise UserError(f"{target} is {itself}, or holds it; name another folder to export to")
    if source.is_file():
        decoder, tokenizer, provenance = _read_run(source)
    else:
        loaded = load_checkpoint(source)
        decoder, tokenizer, provenance = loaded.decoder, loaded.tokenizer, loaded.provenance
    before = str(decoder.lm_head.weight.dtype).removeprefix("torch.")
    if dtype is not None:
        decoder.to(getattr(torch, dtype))
        for name, tensor in decoder.state_dict().items():
            if not tensor.isfinite().all():
                raise UserError(f"{source}: {name} holds numbers that {dtype} cannot; use --dtype bfloat16")
    if untie and decoder.config.tie_word_embeddings:
        decoder.lm_head.weight = nn.Parameter(decoder.lm_head.weight.detach().clone())
        decoder.config = replace(decoder.config, tie_word_embeddings=False)
    files = [source] if source.is_file() else sorted(source.glob("*.safetensors"))
    weights = {file.name: sha256_file(file) for file in files}
    origin = {"exported_from": {"folder": str(source), "dtype": before, "sha256": weights}}
    with atomic_folder(target) as building:
        save_checkpoint(building, decoder, tokenizer, {**provenance, **origin})
        return sum(file.stat().st_size for file in building.glob("*.safetensors"))


def _read_run(file: Path) -> tuple[Decoder, ChatTokenizer, dict[str, Any]]:
    """Decoder, tokenizer and provenance of a last.ckpt."""
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
        said, state = content["picochat"], content["state_dict"].items()
        weights = {name[8:]: tensor for name, tensor in state if name.startswith("decoder.")}
        decoder = Decoder.from_state(DecoderConfig(**said["decoder"]), merge_lora(weights, said["lora_scale"]))
        tokenizer = ChatTokenizer(said["tokenizer"], str(file), said["tokenizer_files"])
        return decoder.to(getattr(torch, said["dtype"])), tokenizer, dict(said["provenance"])
    except _DAMAGED as error:
        raise UserError(f"{file} is damaged or not a last.ckpt of picochat; name another, or a model folder") from error
