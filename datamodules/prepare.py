"""Make what is missing, once. In: the paths that a datamodule was given. Out: files at these paths. Next: store.

    dataset_pack.json ── missing: the built-in stories ──► corpus.jsonl beside it
    tokenizer.json    ── missing: trained on the corpus
    chat_task_mixture_<profile>.jsonl, eval_… ── missing: made by build_task_pack

Only one process of a machine runs this (Lightning's prepare_data); the others find the files.
"""

import os
from pathlib import Path
from typing import Any

from lightning.pytorch.utilities import rank_zero_info
from tqdm import tqdm

from picochat.errors import UserError
from picochat.files import sha256_file
from picochat.model.tokenizer import ChatTokenizer
from picochat.model.vocabulary import train_tokenizer
from picochat.packs.corpus import import_corpus
from picochat.packs.dataset_pack import FILE_NAME, DatasetPack, load_dataset_pack
from picochat.packs.documents import iter_documents
from picochat.packs.mixture import build_task_pack
from picochat.packs.profiles import Profile
from picochat.strict_json import parse_json


def cache_folder() -> Path:
    """Where files go when no path is given: $PICOCHAT_CACHE, or ~/.cache/picochat."""
    return Path(os.environ.get("PICOCHAT_CACHE") or Path.home() / ".cache" / "picochat")


def dataset_pack_file(given: str | None) -> Path:
    """The dataset_pack.json that is meant: a file, the one in a folder, or that of the cache."""
    path = Path(given) if given else cache_folder() / FILE_NAME
    return path / FILE_NAME if path.is_dir() or not path.suffix else path


def ensure_dataset_pack(file: Path) -> DatasetPack:
    """Load the pack; where there is none, import the built-in stories and let it name them."""
    if not file.exists():
        if file.name != FILE_NAME:
            raise UserError(f"data.dataset_pack: {file} does not exist, and stories are only made as {FILE_NAME}")
        rank_zero_info(f"making a corpus of stories: {file}")
        import_corpus("stories", file.parent)
    return load_dataset_pack(file)


def corpus_of(pack: DatasetPack) -> Path:
    """The pack's corpus; a pack that names none is refused."""
    if pack.corpus_path is None:
        raise UserError(f'{pack.path} names no corpus; add "corpus": "FILE" to it')
    return pack.corpus_path


def ensure_tokenizer(path: Path, dataset_pack: Path, vocab_size: int, thinking: bool | None = None) -> ChatTokenizer:
    """Load the tokenizer; where there is none, train it on the pack's corpus."""
    if not path.exists():
        if path.suffix != ".json":
            raise UserError(f"data.tokenizer: {path} does not exist; name a model folder, or a .json file to be made")
        corpus = corpus_of(ensure_dataset_pack(dataset_pack))
        rank_zero_info(f"training a tokenizer of {vocab_size} tokens on {corpus}: {path}")
        texts = (document.text for document in iter_documents(corpus))
        train_tokenizer(tqdm(texts, desc="tokenizer", unit=" documents", disable=None), vocab_size).write(path)
    return ChatTokenizer.load(path, thinking)


def ensure_task_pack(
    mixture: Profile, folder: Path, dataset_pack: Path, settings: dict[str, Any], *, replace: bool
) -> None:
    """Make a mixture's chat and eval rows in `folder` where they are missing. A contaminated pack is refused.

    Args:
        settings: arguments of `build_task_pack` that were asked for; a pack made with others is not what is meant.
        replace: make such a pack again, as in the cache folder; else refuse it.
    """
    rows = task_pack_paths(mixture, folder)
    report = folder / f"task_mixture_{mixture.name}.json"
    made_with, hashes, contamination = _read(report)
    wanted = {**settings, "mixture": mixture.described()}
    others = {name: value for name, value in wanted.items() if name in made_with and made_with[name] != value}
    # after a kill between two renames there is an older report, or none
    whole = all(path.exists() and hashes.get(path.name) == sha256_file(path) for path in rows)
    if not whole or others:
        if not replace and any(path.exists() for path in rows):
            other = {name: f"{name}={made_with[name]} (asked for: {value})" for name, value in others.items()}
            other |= {"mixture": "another mixture, or other files of it"} if "mixture" in others else {}
            found = (
                f"a task pack made with {', '.join(other.values())}"
                if others
                else f"rows that {report.name} does not name"
            )
            raise UserError(
                f"{folder} holds {found}; delete it, choose another data.work_dir, or train on edited rows with "
                "`picochat train sft --input FILE`"
            )
        rank_zero_info(f"making the task pack {mixture.name}: {rows[0]}")
        pack = ensure_dataset_pack(dataset_pack)
        build_task_pack(pack.path, profile=mixture, out_dir=folder, promote=False, force=True, **settings)
        *_, contamination = _read(report)
    if contamination == "blocked":  # what `picochat data task-pack` would not promote
        raise UserError(
            f"{folder} holds a task pack whose eval rows occur in its training rows or in the corpus; see "
            f"{report.with_suffix('.md')}, and take them out of the corpus, or train on the rows as they are with "
            "`picochat train sft --input FILE`"
        )


def task_pack_paths(mixture: Profile, folder: Path) -> tuple[Path, Path]:
    """Where the chat rows and the eval rows of a mixture's task pack lie."""
    return folder / f"chat_task_mixture_{mixture.name}.jsonl", folder / f"eval_task_mixture_{mixture.name}.jsonl"


def _read(report: Path) -> tuple[dict[str, Any], dict[str, str], str]:
    """(settings and mixture, sha256 of each file, verdict on contamination) of a task pack; empty without a report."""
    try:
        said = parse_json(report.read_bytes())
        files = {Path(file["path"]).name: file["sha256"] for file in said["files"]}
        return (
            {**said["settings"], **{k: said[k] for k in ("mixture",) if k in said}},
            files,
            said["contamination"]["status"],
        )
    except (OSError, ValueError, KeyError, TypeError):
        return {}, {}, ""
