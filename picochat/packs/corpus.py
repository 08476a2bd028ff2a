"""The text that the base stage learns from. In: stories, files, a hub data set. Out: a corpus. Next: tok, datamodules.

    source ──import──► D/corpus.jsonl        {"text": "One windy morning …", "source": "stories"}   one document a line
                       D/dataset_pack.json   names it, says how it was made and from what

An import streams: it keeps 16 bytes of hash for each document, by which a text that came before is dropped.
"""

import contextlib
import hashlib
import json
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any

from tqdm import tqdm

from picochat import __version__
from picochat.errors import UserError
from picochat.files import atomic_file, refuse_existing, sha256_file, write_files
from picochat.packs.dataset_pack import FILE_NAME, DatasetPack, dataset_pack_text, load_dataset_pack
from picochat.packs.documents import Document, corpus_files, iter_documents
from picochat.packs.hub import fetched, revision_of, split_files
from picochat.packs.records import file_kind
from picochat.packs.stories import story

_CORPUS, _STORIES = "corpus.jsonl", 20_000


def import_corpus(
    source: str | Path | Sequence[str | Path],
    out_dir: str | Path,
    documents: int | None = None,
    seed: int = 42,
    force: bool = False,
    *,
    text_field: str | None = None,
    shards: int | None = None,
    hub_dir: str | Path | None = None,
) -> DatasetPack:
    """Write ``out_dir/corpus.jsonl`` and the ``dataset_pack.json`` that names it.

    Args:
        source: stories; or files and folders (.txt, .md, .jsonl, .json, .parquet, also .gz and .zst); or hub:OWNER/NAME
            (hub:OWNER/NAME:CONFIG). An earlier corpus.jsonl in out_dir, which is replaced, is left out.
        out_dir: gets corpus.jsonl and dataset_pack.json; other files in it are left alone.
        documents: take the first N; null takes 20,000 stories, or all of the files.
        seed: which stories are generated; files are read as they are.
        force: replace an earlier corpus.
        text_field: the field or column that holds the text; null: text, content or another usual name.
        shards: of a hub data set, read only the first N files.
        hub_dir: snapshots of data sets, read in place of the hub.

    Returns:
        The pack; ``pack.data["provenance"]`` holds counts, seed, version and the sha256 of corpus and inputs.
    """
    sources = [str(source)] if isinstance(source, str | Path) else [str(one) for one in source]
    from_hub = [one.startswith("hub:") for one in sources]
    if not sources:
        raise UserError("no source given; name `stories`, files or folders, or hub:OWNER/NAME")
    if "stories" in sources and len(sources) > 1:
        raise UserError("stories cannot be mixed with files; import them alone, then their corpus.jsonl with the files")
    if documents is not None and documents < 1:
        raise UserError(f"documents is {documents}; at least 1 is needed")
    if shards is not None and (shards < 1 or not all(from_hub)):
        raise UserError(f"shards is {shards}; it is a number from 1 up, and for hub: sources only")
    if hub_dir is not None and not any(from_hub):
        raise UserError("--hub-dir is for hub: sources only; leave it out, or name a source such as hub:OWNER/NAME")
    if text_field is not None and all(one == "stories" or file_kind(one) in (".txt", ".md") for one in sources):
        raise UserError("--text-field is for rows and tables; stories and .txt files have no fields: leave it out")
    corpus, pack = Path(out_dir) / _CORPUS, Path(out_dir) / FILE_NAME
    refuse_existing([corpus, pack], force=force)
    inputs: list[dict[str, Any]] = []
    files: dict[str, list[str]] = {}  # source → its files; stories have none
    for one in sources:
        if one.startswith("hub:"):
            files[one] = _hub_files(one, shards, hub_dir)
            inputs.append({"source": one, "revision": revision_of(files[one][0]), "shards": shards})
        elif one == "stories":
            inputs.append({"source": one})
        else:
            own = [file for file in corpus_files(one) if not (corpus.exists() and corpus.samefile(file))]
            files[one] = [file.as_posix() for file in own]
            inputs += [{"source": file, "sha256": sha256_file(file)} for file in files[one]]
    skipped: Counter[str] = Counter()

    def read() -> Generator[Document, None, None]:
        if not files:
            yield from (Document(story(seed, index), "stories") for index in count())
        for one, places in files.items():
            for place in places:
                for document in iter_documents(fetched(place), text_field=text_field, skipped=skipped):
                    yield document._replace(source=one) if one.startswith("hub:") else document

    with contextlib.closing(read()) as found:
        counts = _write(corpus, found, _STORIES if documents is None and not files else documents)
    provenance = {
        "made_by": f"picochat {__version__} data import",
        "seed": seed,
        **counts,
        **{f"{name}_skipped": number for name, number in skipped.items()},
        "corpus_sha256": sha256_file(corpus),
        "sources": inputs,
    }
    description = f"{counts['documents']} documents from {', '.join(sources)}"
    description += "".join(f", {number} {name} skipped" for name, number in skipped.items())
    name = Path(out_dir).resolve().name
    text = dataset_pack_text(name=name, description=description, corpus=_CORPUS, provenance=provenance)
    write_files({pack: text})
    return load_dataset_pack(pack)


def _hub_files(source: str, shards: int | None, hub_dir: str | Path | None) -> list[str]:
    try:
        files = split_files(source.removeprefix("hub:"), "train", Path(hub_dir) if hub_dir is not None else None)
    except UserError as error:
        raise UserError(f"{source}: {error}") from error
    if shards is not None and shards > len(files):
        raise UserError(f"{source}: has {len(files)} shards, {shards} were asked for")
    return files[:shards]


def _write(corpus: Path, documents: Iterator[Document], limit: int | None) -> dict[str, int]:
    counts = {"documents": 0, "characters": 0, "duplicates_dropped": 0}
    seen: set[bytes] = set()
    with atomic_file(corpus) as file, tqdm(total=limit, unit=" documents", desc="import", disable=None) as bar:
        for document in documents:
            digest = hashlib.blake2b(document.text.encode(), digest_size=16).digest()
            if digest in seen:
                counts["duplicates_dropped"] += 1
                continue
            seen.add(digest)
            file.write(json.dumps(document._asdict(), ensure_ascii=False) + "\n")
            counts["documents"] += 1
            counts["characters"] += len(document.text)
            bar.update()
            if counts["documents"] == limit:
                break
        if not counts["documents"]:
            raise UserError("the source holds no text; nothing was imported")
    return counts
