"""A corpus of many files, imported and tokenised file by file with datatrove: on one machine, or as jobs of Slurm.

    pip install 'picochat[shards]'
    python examples/many_machines.py --source shards --out-dir runs/big --workers 16
    picochat tok train --dataset-pack runs/big/dataset_pack.json --vocab-size 32768 --out runs/big/tokenizer.json
    python examples/many_machines.py --out-dir runs/big --tokenizer runs/big/tokenizer.json --workers 16
    picochat fit --config base.yaml --data.dataset_pack runs/big/dataset_pack.json …

With `--slurm PARTITION` every step becomes an array of jobs that waits for the one before; all machines have to see the
folders. datatrove keeps a log of each part under OUT_DIR/logs, and the same call again does the parts that are missing.

    shards/a.jsonl ──► hashes 0 ─┐ ┌──► corpus/00000.jsonl ──► tokens 0 ─┐
    shards/b.jsonl ──► hashes 1 ─┼─┼──► corpus/00001.jsonl ──► tokens 1 ─┼──► tokens/corpus-KEY
    shards/c.jsonl ──► hashes 2 ─┘ └──► corpus/00002.jsonl ──► tokens 2 ─┘

Corpus, dataset pack and tokens are those that one process makes, byte for byte: a text that came before is dropped, in
whichever file it came. The parts of a step need nothing of each other, and what a part writes appears when it is whole,
so they may run in any order, anywhere, and again. Any engine will do: `for step in import_steps("shards", "runs/big"):`
`with Pool() as pool: pool.map(step.work, range(step.parts))`.
"""

import argparse
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from picochat import __version__
from picochat.datamodules.store import Chunk, TokenStore, build_store, find_store, store_key
from picochat.datamodules.tokenise import tokens_of_corpus
from picochat.errors import UserError
from picochat.files import atomic_file, atomic_folder, refuse_existing, sha256_file, write_files, write_json
from picochat.model.tokenizer import ChatTokenizer
from picochat.packs.dataset_pack import FILE_NAME, dataset_pack_text
from picochat.packs.documents import corpus_files, iter_documents

_WORK = ".shards"
_ROWS_AT_ONCE = 100_000


class Step(NamedTuple):
    """Work in `parts` that need nothing of each other: `work` does the part of a number. Picklable."""

    name: str
    work: Callable[[int], None]
    parts: int


def import_steps(source: str | Path, out_dir: str | Path, *, force: bool = False) -> list[Step]:
    """Steps that write ``out_dir/corpus/`` and the ``dataset_pack.json`` that names it; a file is a part."""
    files, folder = corpus_files(source), Path(out_dir)
    refuse_existing([folder / FILE_NAME], force=force)
    return [
        Step("hashes", partial(_hash, files, folder / _WORK), len(files)),
        Step("corpus", partial(_keep, files, folder / _WORK), len(files)),
        Step("pack", partial(_write_pack, files, folder), 1),
    ]


def token_steps(corpus: str | Path, tokenizer: str | Path, work_dir: str | Path) -> list[Step]:
    """Steps that write the token store that `CorpusDataModule` looks for; a file of the corpus is a part.

    Args:
        corpus: the folder of the corpus.
        tokenizer: tokenizer.json or model folder.
        work_dir: as the datamodule has it; by default the dataset pack's folder.
    """
    files, cache = corpus_files(corpus), Path(work_dir) / "tokens"
    return [
        Step("tokens", partial(_tokenise, files, Path(tokenizer), cache), len(files)),
        Step("join", partial(_join, Path(corpus), Path(tokenizer), cache), 1),
    ]


def _hash(files: Sequence[Path], work: Path, part: int) -> None:
    """The hashes of a file's documents, 16 bytes each."""
    texts = (document.text for document in iter_documents(files[part]))
    digests = b"".join(hashlib.blake2b(text.encode(), digest_size=16).digest() for text in texts)
    with atomic_file(work / f"{part:05d}.npy", "wb") as file:
        np.save(file, np.frombuffer(digests, dtype="S16"))


def _keep(files: Sequence[Path], work: Path, part: int) -> None:
    """Write a file's documents that came neither before in it nor in an earlier file."""
    hashes = np.load(work / f"{part:05d}.npy")
    new = np.zeros(len(hashes), dtype=bool)
    new[np.unique(hashes, return_index=True)[1]] = True
    for earlier in range(part):
        new &= ~np.isin(hashes, np.load(work / f"{earlier:05d}.npy"))
    counts = {"documents": int(new.sum()), "characters": 0, "duplicates_dropped": int((~new).sum())}
    with atomic_file(work / "corpus" / f"{part:05d}.jsonl") as file:
        for document, is_new in zip(iter_documents(files[part]), new, strict=True):
            if is_new:
                file.write(json.dumps({"text": document.text, "source": document.source}, ensure_ascii=False) + "\n")
                counts["characters"] += len(document.text)
    source = {"source": files[part].as_posix(), "sha256": sha256_file(files[part])}
    write_json(work / f"counts-{part:05d}.json", {"counts": counts, "source": source})


def _write_pack(files: Sequence[Path], out_dir: Path, part: int) -> None:
    """Put the corpus in its place, whole and without parts of an earlier import; name it; delete the work."""
    work = out_dir / _WORK
    found = [json.loads((work / f"counts-{number:05d}.json").read_text("utf-8")) for number in range(len(files))]
    counts = {name: sum(one["counts"][name] for one in found) for name in found[0]["counts"]}
    if not counts["documents"]:
        raise UserError("the source holds no text; nothing was imported")
    with atomic_folder(out_dir / "corpus") as corpus:
        for number in range(len(files)):
            os.link(work / "corpus" / f"{number:05d}.jsonl", corpus / f"{number:05d}.jsonl")
    sources = [one["source"] for one in found]
    text = dataset_pack_text(
        name=out_dir.resolve().name,
        description=f"{counts['documents']} documents from {len(files)} files",
        corpus="corpus",
        provenance={"made_by": f"picochat {__version__} shards", **counts, "sources": sources},
    )
    write_files({out_dir / FILE_NAME: text})
    shutil.rmtree(work)


def _tokenise(files: Sequence[Path], tokenizer: Path, cache: Path, part: int) -> None:
    """The tokens of one file, as of a corpus by itself."""
    if _holds_text(files[part]):
        tokens_of_corpus(files[part], ChatTokenizer.load(tokenizer), cache / _WORK, verify=True)


def _join(corpus: Path, tokenizer: Path, cache: Path, part: int) -> None:
    """The stores of all files, one after the other, under the name of the whole."""
    loaded, files, stores = ChatTokenizer.load(tokenizer), corpus_files(corpus), []
    for file in filter(_holds_text, files):
        store = find_store(cache / _WORK / f"{file.stem}-{store_key([file], loaded, 'corpus')}", verify=True)
        if store is None:
            raise UserError(f"the tokens of {file} are missing or damaged; run the step `tokens` again")
        stores.append(store)
    folder = cache / f"{corpus.stem}-{store_key(files, loaded, 'corpus')}"
    build_store(folder, _chunks(stores), loaded.vocab_size, {"source": str(corpus)})
    shutil.rmtree(cache / _WORK)


def _holds_text(file: Path) -> bool:
    """False where every document of a file came before."""
    return next(iter_documents(file), None) is not None


def _chunks(stores: Sequence[TokenStore]) -> Iterator[Chunk]:
    before = 0
    for store in stores:
        for first in range(0, len(store), _ROWS_AT_ONCE):
            rows = slice(first, min(first + _ROWS_AT_ONCE, len(store)))
            offsets = store.offsets[rows.start : rows.stop + 1]
            yield Chunk(
                tokens=store.tokens[offsets[0] : offsets[-1]],
                lengths=np.diff(offsets),
                learnt=None,
                lines=store.lines[rows] + before,
                hashes=store.hashes[rows],
                sizes=store.sizes[rows],
                tags={"category": ["corpus"] * (rows.stop - rows.start)},
            )
        before += len(store)


class Part:
    """A step as datatrove calls it: once for each rank, with documents that come from no other step."""

    def __init__(self, step: Step) -> None:
        self.step = step

    def __call__(self, data: Any, rank: int = 0, world_size: int = 1) -> None:
        self.step.work(rank)


def main() -> None:
    from datatrove.executor import LocalPipelineExecutor, SlurmPipelineExecutor

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--source", metavar="DIR", help="a folder of files to import")
    what.add_argument("--tokenizer", metavar="FILE", help="make the tokens of the corpus that was imported")
    parser.add_argument("--out-dir", required=True, metavar="DIR", help="of the dataset pack")
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="parts at a time")
    parser.add_argument("--slurm", metavar="PARTITION", help="run the parts as jobs there")
    parser.add_argument("--time", default="04:00:00", help="limit of a job (default: 4 hours)")
    args = parser.parse_args()
    out_dir = Path(args.out_dir)
    if args.source:
        steps = import_steps(args.source, out_dir, force=True)
    else:
        steps = token_steps(out_dir / "corpus", args.tokenizer, out_dir)
    before: Any = None
    for step in steps:
        shared = {"pipeline": [Part(step)], "tasks": step.parts, "logging_dir": f"{out_dir}/logs/{step.name}"}
        if args.slurm:
            jobs = {"partition": args.slurm, "time": args.time, "workers": args.workers, "job_name": step.name}
            path = f"export PYTHONPATH={Path(__file__).resolve().parent}:$PYTHONPATH"  # jobs import this file
            before = SlurmPipelineExecutor(**shared, **jobs, env_command=path, depends=before)
        else:
            before = LocalPipelineExecutor(**shared, workers=args.workers)
        before.run()


if __name__ == "__main__":
    import many_machines  # under its own name, by which other processes find what they are sent

    many_machines.main()
