"""`picochat tok train`: a corpus in, a tokenizer.json out. Next: `picochat train base`."""

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add ``train`` to the group ``tok``."""
    parser = subparsers.add_parser(
        "train",
        help="learn a byte-level tokenizer from a corpus or from chat rows",
        description="Learn a byte-level BPE tokenizer (single digits, turn tokens, all bytes), or one of whole words.",
        epilog="example: picochat tok train --dataset-pack runs/demo/dataset_pack.json --vocab-size 512 "
        "--out runs/demo/tokenizer.json",
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--dataset-pack", "--pack", metavar="FILE", help="dataset_pack.json whose corpus is read")
    source.add_argument(
        "--input", metavar="FILE", nargs="+", help="files or folders: .jsonl (documents or chat rows), .txt or .parquet"
    )
    parser.add_argument("--vocab-size", type=int, default=512, help="number of tokens, at least 262 (default: 512)")
    parser.add_argument(
        "--whole-words",
        action="store_true",
        help="bytes and frequent whole words: all other words stay letters (llama.cpp cannot read it)",
    )
    parser.add_argument("--out", required=True, metavar="FILE", help="the tokenizer.json to write")
    parser.add_argument("--force", action="store_true", help="replace the file if it exists")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Train, write, and say what came out."""
    from tqdm import tqdm

    from picochat.errors import UserError
    from picochat.files import refuse_existing
    from picochat.model.vocabulary import train_tokenizer
    from picochat.packs.dataset_pack import load_dataset_pack

    out = Path(args.out)
    refuse_existing([out], force=args.force)
    sources = args.input
    if args.dataset_pack:
        corpus = load_dataset_pack(args.dataset_pack).corpus_path
        if corpus is None:
            raise UserError(f'{args.dataset_pack} names no corpus; add "corpus": "FILE" to it, or use --input FILE')
        sources = [corpus]
    texts = tqdm(_texts(sources), desc="reading", unit=" documents", disable=None)
    tokenizer = train_tokenizer(texts, args.vocab_size, whole_words=args.whole_words)
    tokenizer.write(out)
    print(f"wrote {out}: {tokenizer.vocab_size} tokens, sha256 {tokenizer.fingerprint[:12]}")


def _texts(sources: Iterable[str | Path]) -> Iterator[str]:
    """Documents, and what is said in chat rows."""
    from picochat.packs.documents import corpus_files, holds_rows, iter_documents
    from picochat.packs.formats import iter_rows

    for source in sources:
        for file in corpus_files(source):
            if holds_rows(file):
                for _, row in iter_rows(file, "chat"):
                    yield "\n".join(message["content"] for message in row["messages"])
            else:
                yield from (document.text for document in iter_documents(file))
