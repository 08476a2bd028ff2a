"""Which folder a model's name means; no torch. In: a folder, an adapter's folder, or a hub name. Out: a folder that is
here. Next: checkpoint.

    runs/base/best_checkpoint      a folder
    Qwen/Qwen3-0.6B-Base           a model of the Hugging Face hub (also owner/name@revision); its config.json is
                                   fetched and judged before its weights are
"""

import re
from pathlib import Path
from typing import Any

from picochat.errors import UserError
from picochat.model.config import DecoderConfig, read_config
from picochat.strict_json import read_json_object

ADAPTER_CONFIG = "adapter_config.json"
_HUB = re.compile(r"(?:hub:)?([\w.-]+/[\w.-]+?)(?:@([\w.-]+))?")
_FILES = ["*.json", "*.jinja", "*.safetensors"]  # what picochat reads; nothing that holds code or pickles


def find_model(name: str | Path) -> Path:
    """The folder of a model, fetched from the hub where the name is one of the hub's.

    Raises:
        UserError: the hub does not give it.
    """
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
        for first in ("config.json", ADAPTER_CONFIG):
            try:
                first_file = hf_hub_download(filename=first, **place)
                break
            except EntryNotFoundError:
                continue
        else:
            raise UserError(f"{name} of the hub is not a model: it has no config.json")
        if first == "config.json":
            read_config(Path(first_file).parent)  # refused before gigabytes are fetched
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
    if not isinstance(base, str) or not base:
        raise UserError(f"{file} does not say base_model_name_or_path, the model that it adapts")
    found = find_model(base)
    if not found.is_dir():
        raise UserError(f"{file}: its base model {base} is not here; correct base_model_name_or_path")
    return found
