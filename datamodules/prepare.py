"""Make what is missing, once for each machine (Lightning's prepare_data). In: the paths that a datamodule was given.
Out: dataset pack and corpus, tokenizer and task pack at these paths. Next: tokenise."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from lightning.pytorch.utilities import rank_zero_info
from tqdm import tqdm

from picochat.errors import UserError
from picochat.files import locked_folder
from picochat.model.tokenizer import ChatTokenizer
from picochat.model.vocabulary import train_tokenizer
from picochat.packs.corpus import import_corpus
from picochat.packs.dataset_pack import FILE_NAME, DatasetPack, load_dataset_pack
from picochat.packs.documents import iter_documents
from picochat.packs.mixture import build_task_pack
from picochat.packs.pack_report import report_of
from picochat.packs.profiles import Profile


def dataset_pack_file(given: str | None) -> Path:
    """The dataset_pack.json that is meant: a file, the one in a folder, or that of the cache."""
    path = Path(given or Path(os.environ.get("PICOCHAT_CACHE") or Path.home() / ".cache/picochat") / FILE_NAME)
    return path / FILE_NAME if path.is_dir() or not path.suffix else path


def ensure_dataset_pack(file: Path) -> DatasetPack:
    """Load the pack; where there is none, import the built-in stories and let it name them."""
    if not file.exists():
        if file.name != FILE_NAME:
            raise UserError(f"data.dataset_pack: {file} does not exist, and stories are only made as {FILE_NAME}")
        _make_once(file, f"making a corpus of stories: {file}", lambda: import_corpus("stories", file.parent))
    return load_dataset_pack(file)


def corpus_of(file: Path) -> Path:
    """The corpus that a dataset pack names; the pack is made where there is none."""
    pack = ensure_dataset_pack(file)
    if pack.corpus_path is None:
        raise UserError(f'{pack.path} names no corpus; add "corpus": "FILE" to it')
    return pack.corpus_path


def ensure_tokenizer(path: Path, dataset_pack: Path, vocab_size: int, thinking: bool | None = None) -> ChatTokenizer:
    """Load the tokenizer; where there is none, train it on the pack's corpus."""
    if not path.exists():
        if path.suffix != ".json":
            raise UserError(f"data.tokenizer: {path} does not exist; name a model folder, or a .json file to be made")
        corpus = corpus_of(dataset_pack)

        def train() -> None:
            texts = (document.text for document in iter_documents(corpus))
            train_tokenizer(tqdm(texts, desc="tokenizer", unit=" documents", disable=None), vocab_size).write(path)

        _make_once(path, f"training a tokenizer of {vocab_size} tokens on {corpus}: {path}", train)
    return ChatTokenizer.load(path, thinking)


def ensure_task_pack(mixture: Profile, folder: Path, dataset_pack: Path, settings: dict[str, Any]) -> None:
    """Make a mixture's chat and eval rows in `folder` where they are missing.

    `settings` are arguments of `build_task_pack` that were asked for; a pack made with others is not what is meant, and
    refused like a contaminated one.
    """
    chat, evaluation = task_pack_paths(mixture, folder)
    if not (chat.exists() or evaluation.exists()):
        pack = ensure_dataset_pack(dataset_pack).path
        build = partial(build_task_pack, pack, profile=mixture, out_dir=folder, promote=False, force=True, **settings)
        _make_once(chat, f"making the task pack {mixture.name}: {chat}", build)
    report = report_of(chat)
    made_with = {**report["settings"], "mixture": report["mixture"]} if report else {}
    wanted = {**settings, "mixture": mixture.described()}
    others = [name for name in wanted if report and made_with.get(name) != wanted[name]]
    # after a kill between two renames there is an older report, or none
    if not report or report != report_of(evaluation) or others:
        found = f"a task pack made with other settings or files ({', '.join(others)})"
        raise UserError(
            f"{folder} holds {found if others else 'rows that no report names'}; delete it, choose another "
            "data.work_dir, or train on edited rows with `picochat train sft --input FILE`"
        )
    if report["contamination"]["status"] == "blocked":  # what `picochat data task-pack` would not promote
        raise UserError(
            f"{folder} holds a task pack whose eval rows occur in its training rows or in the corpus; see "
            f"{folder}/task_mixture_{mixture.name}.md, and take them out of the corpus, or train on the rows as they "
            "are with `picochat train sft --input FILE`"
        )


def _make_once(path: Path, said: str, make: Callable[[], object]) -> None:
    """Make what is missing; processes and machines that want it at once wait for the first of them."""
    if not path.exists():
        with locked_folder(path.parent, f".{path.name}.lock", wait=True):
            if not path.exists():
                rank_zero_info(said)
                make()


def task_pack_paths(mixture: Profile, folder: Path) -> tuple[Path, Path]:
    """Where the chat rows and the eval rows of a mixture's task pack lie."""
    return folder / f"chat_task_mixture_{mixture.name}.jsonl", folder / f"eval_task_mixture_{mixture.name}.jsonl"
