"""Data sets of the Hugging Face hub. In: OWNER/NAME and a split. Out: its files. Next: corpus, sources, pools.

Files are fetched one by one, when they are read, into the hub's own cache, from which an interrupted import goes on.
In place of the hub a folder of snapshots may hold one folder per data set, by its full name or the last part of it, in
the hub's layout: ``cais/mmlu/all/test-00000-of-00001.parquet``, ``gsm8k/main/train-00000-of-00001.parquet``.
"""

import os
import re
import urllib.error
import urllib.request
from pathlib import Path

from picochat.errors import UserError
from picochat.packs.records import file_kind

_NAMED = re.compile(r"\w*?(train|test|valid|dev)")  # a file that is named after a split
_PLACE = re.compile(r"hf://datasets/([^@]+)@([^/]+)/(.+)")  # data set, commit, path


def split_files(name: str, split: str, folder: Path | None) -> list[str]:
    """The files of a split of OWNER/NAME or OWNER/NAME:CONFIG, in order, for `fetched`; UserError: why there are none.

    `folder` holds snapshots that are read in place of the hub.
    """
    dataset, _, config = name.partition(":")
    if folder is not None:
        return _snapshot_files(folder, dataset, config, split)
    if why := why_unreachable():
        raise UserError(f"{why}; --hub-dir reads a snapshot in its place")
    try:
        import datasets  # 2 s: only who asks for public data waits

        return list(map(str, datasets.load_dataset_builder(dataset, config or None).config.data_files[split]))
    except ImportError:
        raise UserError("the package datasets is not installed (pip install 'picochat[hub]')") from None
    except Exception as error:  # anything: of the network, or of data sets in other forms
        raise UserError(f"cannot be loaded: {_reason(error)}") from error


def revision_of(place: str) -> str | None:
    """The commit that a file of the hub is of; None for one of a snapshot."""
    found = _PLACE.fullmatch(place)
    return found[2] if found else None


def fetched(place: str) -> Path:
    """The file on this machine, which may have to be fetched."""
    if not (found := _PLACE.fullmatch(place)):
        return Path(place)
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(found[1], found[3], revision=found[2], repo_type="dataset"))
    except Exception as error:  # whatever the client's many layers raise
        raise UserError(f"{place} cannot be fetched: {_reason(error)}; the files before it are kept") from error


def why_unreachable() -> str | None:
    """Why no data set can come from the hub, or None: the client's own retries would take half a minute for each."""
    if os.environ.get("HF_HUB_OFFLINE") or os.environ.get("HF_DATASETS_OFFLINE"):
        return None  # only what the client has in its cache; it says so itself, and at once
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    try:
        urllib.request.urlopen(urllib.request.Request(endpoint, method="HEAD"), timeout=5).close()
    except urllib.error.HTTPError:
        return None  # it answered
    except (OSError, ValueError) as error:
        return f"the hub cannot be reached ({getattr(error, 'reason', error)})"
    return None


def _snapshot_files(folder: Path, dataset: str, config: str, split: str) -> list[str]:
    """Those whose path names the configuration and whose name begins with the split's; where none is named after any
    split, all are for training."""
    if not folder.is_dir():
        raise UserError(f"--hub-dir {folder} is not a folder")
    last = dataset.rpartition("/")[2]
    cached = folder.glob(f"datasets--{dataset.replace('/', '--')}/snapshots/*")
    places = (folder / dataset, folder / dataset.replace("/", "--"), folder / last, *cached)
    root = next((place for place in places if place.is_dir()), None)
    if root is None:
        raise UserError(f"{folder} holds no folder {dataset} or {last}")
    kinds = (".parquet", ".jsonl", ".json", ".csv")
    files = [file for file in sorted(root.rglob("*")) if file_kind(file) in kinds and file.is_file()]
    files = [file for file in files if not config or config in file.relative_to(root).parts[:-1]]
    found = [file for file in files if re.match(rf"{re.escape(split)}\b", file.name)]
    if split == "train" and not any(_NAMED.match(file.name) for file in files):
        found = [file for file in files if file_kind(file) != ".json"]  # which may be settings
    if not found:
        wanted = f"{config}/{split}" if config else split
        raise UserError(f"{root} holds no file {wanted}*.parquet, .jsonl, .json or .csv")
    return list(map(str, found))


def _reason(error: Exception) -> str:
    """The first line of what a client of the hub says."""
    return next((line for line in str(error).strip().splitlines() if line), type(error).__name__)
