"""Make what is missing, once for each machine (Lightning's prepare_data). In: the paths that a datamodule was given.
Out: corpus, tokenizer and task pack at these paths, the tokens of the rows, and whether training asks what eval rows
ask."""

import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from lightning.pytorch.utilities import rank_zero_info
from tqdm import tqdm

from picochat.datamodules.store import TokenStore, hash_of
from picochat.datamodules.tokenise import Input, tokens_of_rows
from picochat.errors import UserError
from picochat.files import sha256_text, write_json
from picochat.model.tokenizer import ChatTokenizer
from picochat.model.vocabulary import train_tokenizer
from picochat.packs.contamination import Overlap
from picochat.packs.corpus import import_corpus
from picochat.packs.dataset_pack import FILE_NAME, DatasetPack, load_dataset_pack
from picochat.packs.documents import iter_documents
from picochat.packs.formats import Reading, Tally, iter_rows
from picochat.packs.mixture import build_task_pack
from picochat.packs.pack_report import in_one_pack, report_of
from picochat.packs.profiles import Profile
from picochat.packs.rows import Kind, Row
from picochat.strict_json import parse_json


def dataset_pack_file(given: str | None) -> Path:
    """The dataset_pack.json that is meant: a file, the one in a folder, or that of the cache."""
    cache = Path(os.environ.get("PICOCHAT_CACHE") or Path.home() / ".cache" / "picochat")
    path = Path(given) if given else cache / FILE_NAME
    return path / FILE_NAME if path.is_dir() or not path.suffix else path


def ensure_dataset_pack(file: Path) -> DatasetPack:
    """Load the pack; where there is none, import the built-in stories and let it name them."""
    if not file.exists():
        if file.name != FILE_NAME:
            raise UserError(f"data.dataset_pack: {file} does not exist, and stories are only made as {FILE_NAME}")
        rank_zero_info(f"making a corpus of stories: {file}")
        import_corpus("stories", file.parent)
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
    chat, evaluation = task_pack_paths(mixture, folder)
    report = report_of(chat) or {}
    made_with = {**report, **report.get("settings", {})}
    wanted = {**settings, "mixture": mixture.described()}
    others = {name: value for name, value in wanted.items() if name in made_with and made_with[name] != value}
    # after a kill between two renames there is an older report, or none
    if not report or report != report_of(evaluation) or others:
        if not replace and (chat.exists() or evaluation.exists()):
            other = [
                "another mixture, or other files of it"
                if name == "mixture"
                else f"{name}={made_with[name]} (asked for: {value})"
                for name, value in others.items()
            ]
            found = f"a task pack made with {', '.join(other)}"
            raise UserError(
                f"{folder} holds {found if others else f'rows that task_mixture_{mixture.name}.json does not name'}; "
                "delete it, choose another data.work_dir, or train on edited rows with `picochat train sft --input "
                "FILE`"
            )
        rank_zero_info(f"making the task pack {mixture.name}: {chat}")
        pack = ensure_dataset_pack(dataset_pack)
        made = build_task_pack(pack.path, profile=mixture, out_dir=folder, promote=False, force=True, **settings)
        report = made.data
    if report["contamination"]["status"] == "blocked":  # what `picochat data task-pack` would not promote
        raise UserError(
            f"{folder} holds a task pack whose eval rows occur in its training rows or in the corpus; see "
            f"{folder}/task_mixture_{mixture.name}.md, and take them out of the corpus, or train on the rows as they "
            "are with `picochat train sft --input FILE`"
        )


def task_pack_paths(mixture: Profile, folder: Path) -> tuple[Path, Path]:
    """Where the chat rows and the eval rows of a mixture's task pack lie."""
    return folder / f"chat_task_mixture_{mixture.name}.jsonl", folder / f"eval_task_mixture_{mixture.name}.jsonl"


@dataclass(frozen=True)
class RowFiles:
    """Files of chat rows, how these are read, a file of eval rows if there is one, and a folder for what is made."""

    chat: list[Input]
    evaluation: Path | None
    reading: Reading
    cache: Path

    @property
    def paths(self) -> list[Path]:
        """All files."""
        return [*(one.path for one in self.chat), *([self.evaluation] if self.evaluation else [])]

    @cached_property
    def eval_rows(self) -> list[tuple[int, Row]]:
        """The eval rows with their lines, read once for all who ask."""
        if self.evaluation is None:
            raise UserError("there are no eval rows; give data.eval_input")
        return list(iter_rows(self.evaluation, "eval"))

    @cached_property
    def hashes(self) -> list[str]:
        """The sha256 of each chat file, and of the file of eval rows."""
        return list(map(hash_of, self.paths))

    def stores(
        self, tokenizer: ChatTokenizer, *, verify: bool, overlap: Overlap | None = None
    ) -> dict[Kind, TokenStore]:
        """The tokens, made where they are missing; the chat rows that are read for that meet `overlap`."""
        read = partial(self._read, overlap=overlap)
        tokens = partial(tokens_of_rows, tokenizer=tokenizer, cache=self.cache, verify=verify, read=read)
        stores: dict[Kind, TokenStore] = {"chat": tokens(self.chat, "chat", reading=self.reading)}
        if self.evaluation:
            stores["eval"] = tokens([Input(self.evaluation)], "eval")
        return stores

    def prepare(self, tokenizer: ChatTokenizer) -> None:
        """Make the tokens, and compare the files where that was not done yet."""
        overlap = None
        if self.evaluation and not (self._result.exists() or in_one_pack(self.evaluation, self.hashes)):
            overlap = Overlap(self.evaluation, self.eval_rows)
        self.stores(tokenizer, verify=True, overlap=overlap)
        if overlap:
            for one in () if overlap.compared else self.chat:  # the tokens were there
                for _ in self._read(one.path, "chat", Tally(self.reading), overlap):
                    pass
            write_json(self._result, overlap.said())

    def overlap(self) -> str:
        """What `Overlap.said` says, "" where the files were not compared."""
        found = self.evaluation and self._result.exists()
        return str(parse_json(self._result.read_bytes())) if found else ""

    @property
    def trained_on(self) -> list[dict[str, Any]]:
        """The chat files, for the provenance of a model."""
        reading = asdict(self.reading)
        found = zip(self.chat, self.hashes, strict=False)
        return [{"path": str(one.path), "sha256": sha256, "reading": reading} for one, sha256 in found]

    @property
    def _result(self) -> Path:
        key = sha256_text(" ".join([str(self.reading), *self.hashes]))
        return self.cache / f"overlap-{key[:20]}.json"

    def _read(self, path: Path, kind: Kind, tally: Tally, overlap: Overlap | None) -> Iterator[tuple[int, Row]]:
        for line, row in self.eval_rows if kind == "eval" else iter_rows(path, kind, tally):
            if overlap and kind == "chat":
                overlap.meet(f"{path}:{line}", row)
            yield line, row
