"""A checkpoint in another form. In: a model folder, or a run's last.ckpt. Out: a model folder. Next: transformers, hub.

    number format    float32 for computing on, bfloat16 or float16 for half the size
    untied head      a copy of the embedding as lm_head.weight, for tools that cannot share the two

The new folder's picochat.json keeps what the old one said and adds ``exported_from``; a model card comes along. A
last.ckpt is the whole state of a run, from which a model folder can be made before the run ends.
"""

import pickle
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from picochat.errors import UserError
from picochat.files import atomic_folder, sha256_file
from picochat.model.checkpoint import load_checkpoint, save_checkpoint
from picochat.model.config import DecoderConfig
from picochat.model.decoder import Decoder
from picochat.model.folder import find_model
from picochat.model.lora import merged
from picochat.model.tokenizer import ChatTokenizer

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
_CARD = "README.md"


def export_checkpoint(
    checkpoint: str | Path,
    out_dir: str | Path,
    dtype: Literal["float32", "bfloat16", "float16"] | None = None,
    untie: bool = False,
) -> int:
    """Write a model folder, whole or not at all; an older one of that name is replaced.

    Args:
        checkpoint: model folder, of picochat or of another maker; or RUN/last.ckpt.
        out_dir: the folder to write; not the old one, nor one that holds it.
        dtype: number format of the weights; null takes that of the checkpoint.
        untie: write lm_head.weight by itself where it is shared with the embedding.

    Returns:
        Bytes of the new weights.

    Raises:
        UserError: no such checkpoint, a target that would replace it, or a weight too large for the number format.
    """
    source, target = find_model(checkpoint), Path(out_dir)
    if source.resolve().is_relative_to(target.resolve()):
        raise UserError(f"{target} is the checkpoint itself, or holds it; name another folder to export to")
    if source.is_file():
        decoder, tokenizer, provenance = _read_run(source)
    else:
        loaded = load_checkpoint(source)
        decoder, tokenizer, provenance = loaded.decoder, loaded.tokenizer, loaded.provenance
    before = str(decoder.lm_head.weight.dtype).removeprefix("torch.")
    if dtype is not None:
        decoder.to(DTYPES[dtype])
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
        if (source / _CARD).is_file():
            shutil.copyfile(source / _CARD, building / _CARD)
        return sum(file.stat().st_size for file in building.glob("*.safetensors"))


def _read_run(file: Path) -> tuple[Decoder, ChatTokenizer, dict[str, Any]]:
    """Decoder, tokenizer and provenance of a last.ckpt."""
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
        weights = {name[8:]: tensor for name, tensor in content["state_dict"].items() if name.startswith("decoder.")}
    except (OSError, RuntimeError, ValueError, KeyError, TypeError, EOFError, pickle.UnpicklingError) as error:
        raise UserError(
            f"{file} is damaged or is not a last.ckpt of picochat; name a model folder or a last.ckpt"
        ) from error
    described = content.get("picochat")
    if not isinstance(described, dict):
        raise UserError(f"{file} does not describe its model; it was written by another program or an older picochat")
    try:
        weights = merged(weights, described.get("lora_scale", 0.0))
        decoder = Decoder.from_state(DecoderConfig(**described["decoder"]), weights)
        decoder.to(DTYPES[described.get("dtype", "float32")])
        tokenizer = ChatTokenizer(described["tokenizer"], str(file), described.get("tokenizer_files"))
        return decoder, tokenizer, dict(described["provenance"])
    except (AttributeError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise UserError(f"{file} has no valid model description; name a last.ckpt that picochat wrote") from error
