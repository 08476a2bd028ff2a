"""`picochat data …` and `tok train`: files in, files out. Next: `picochat train`."""

import gc
import sys
from argparse import Namespace
from collections.abc import Iterator, Sequence
from pathlib import Path

from picochat.commands.parser import READING, Parser, arguments_of
from picochat.errors import UserError
from picochat.files import refuse_existing

_IMPORT = "picochat.packs.corpus.import_corpus"
_TASK_PACK = "picochat.packs.mixture.build_task_pack"
_IMPORT_ROWS = "picochat.packs.formats.import_rows"
_EXPORT = "picochat.evidence.lm_eval_export.export_lm_eval"
_ROWS = "rows of any form: .jsonl, .json, .csv or .parquet; also .gz, .zst"


def add_data(group: Parser) -> None:
    group.add_command("import", import_corpus).add_parameters(_IMPORT, documents="--documents --max-rows")

    parser = group.add_command("import-rows", import_rows)
    parser.add_argument("files", nargs="+", metavar="FILE", help=_ROWS)
    parser.add_parameters(_IMPORT_ROWS, "out", "force")
    parser.add_parameters(READING)

    group.add_command("task-pack", task_pack).add_parameters(_TASK_PACK, dataset_pack="--dataset-pack --pack")

    parser = group.add_command("inspect", inspect)
    parser.add_argument("file", metavar="FILE", help=_ROWS)
    parser.add_argument("--tokenizer", metavar="FILE", help="tokenizer.json or model folder, to count tokens with")
    parser.add_parameters(READING)

    group.add_command("export-lm-eval", export_lm_eval).add_parameters(_EXPORT, input_path="--input")


def add_tok(group: Parser) -> None:
    parser = group.add_command("train", train_tokenizer)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--dataset-pack", "--pack", metavar="FILE", help="dataset_pack.json whose corpus is read")
    source.add_argument("--input", metavar="FILE", nargs="+", help="documents or chat rows; files or folders")
    parser.add_argument("--vocab-size", type=int, default=512, metavar="N", help="tokens, from 262 (default: 512)")
    words = "bytes and frequent whole words: all other words stay letters (llama.cpp cannot read it)"
    parser.add_argument("--whole-words", action="store_true", help=words)
    parser.add_argument("--out", required=True, metavar="FILE", help="the tokenizer.json to write")
    parser.add_argument("--force", action="store_true", help="replace the file if it exists")


def import_corpus(args: Namespace) -> None:
    r"""Make a corpus and its dataset_pack.json from built-in stories, from files and folders, or from a hub data set.

    examples:
      picochat data import --source stories --documents 20000 --out-dir runs/data
      picochat data import --source hub:karpathy/climbmix-400b-shuffle --shards 16 --max-rows 80000 \
          --out-dir runs/climbmix
    """
    from picochat.packs.corpus import import_corpus

    pack = import_corpus(**arguments_of(args, _IMPORT))
    print(f"wrote {pack.corpus_path}: {pack.data['description']}\nwrote {pack.path}")


def import_rows(args: Namespace) -> None:
    """Read rows of any known form (messages, ShareGPT, Alpaca, prompt + completion, …) and write ours, as JSONL.

    example: picochat data import-rows tickets.csv --map title=prompt,body=completion --out tickets.jsonl
    """
    from picochat.packs.formats import Reading, import_rows

    done = import_rows(args.files, args.out, args.force, Reading(**arguments_of(args, READING)))
    for path, tally in done.items():
        print("\n    ".join((f"{path}: {tally.rows:,} rows", *tally.said())))
    print(f"wrote {args.out}: {sum(tally.rows for tally in done.values()):,} rows")


def task_pack(args: Namespace) -> None:
    r"""Make training and eval rows of a profile, problems held out by the hash of their key, and a report.

    example: picochat data task-pack --dataset-pack runs/data/dataset_pack.json --out-dir runs/capability-pack \
        --profile capability --sft-rows 2400 --eval-rows 480
    """
    from picochat.packs.mixture import build_task_pack

    sys.path.append(str(Path.cwd()))  # a profile or task of the user's own, in the current directory
    gc.disable()  # rows hold no cycles, and looking for some among 100,000 takes a tenth of the time
    arguments = arguments_of(args, _TASK_PACK)
    print(build_task_pack(arguments.pop("dataset_pack"), **arguments).summary())


def inspect(args: Namespace) -> None:
    """Count rows, turns, lengths and lanes of a file of chat or eval rows, and list its bad lines.

    example: picochat data inspect runs/capability-pack/chat_task_mixture_capability.jsonl
    """
    from picochat.packs.formats import Reading, no_rows
    from picochat.packs.inspection import inspect_rows

    render = None
    if args.tokenizer:
        from picochat.model.tokenizer import ChatTokenizer

        render = ChatTokenizer.load(args.tokenizer).render
    found = inspect_rows(args.file, Reading(**arguments_of(args, READING)), render)
    print(found.summary())
    if found.bad:
        lines = f"{len(found.bad)} of {found.tally.lines} lines are bad, the first is line {found.bad[0][0]}"
        raise UserError(f"{args.file}: {lines}: {found.bad[0][1]}")
    if not found.tally.rows:
        raise no_rows(args.file)


def export_lm_eval(args: Namespace) -> None:
    r"""Write the eval rows that have an exact answer, or choices, as a task folder for lm-eval.

    example: picochat data export-lm-eval --input runs/capability-pack/eval_task_mixture_capability.jsonl \
        --out-dir runs/lm-eval
    """
    from picochat.evidence.lm_eval_export import export_lm_eval

    done = export_lm_eval(**arguments_of(args, _EXPORT))
    print(f"wrote {args.out_dir}: {sum(done.tasks.values())} rows in {len(done.tasks)} tasks")
    for reason, count in done.left_out.items():
        print(f"left out: {count} rows {reason}")
    print(f"\n{done.command}")


def train_tokenizer(args: Namespace) -> None:
    r"""Learn a byte-level BPE tokenizer (single digits, turn tokens, all bytes), or one of whole words.

    example: picochat tok train --dataset-pack runs/data/dataset_pack.json --vocab-size 512 --out runs/tokenizer.json
    """
    from tqdm import tqdm

    from picochat.model.vocabulary import train_tokenizer
    from picochat.packs.dataset_pack import load_dataset_pack

    refuse_existing([Path(args.out)], force=args.force)
    sources = args.input
    if args.dataset_pack:
        sources = [load_dataset_pack(args.dataset_pack).corpus_path]
        if sources == [None]:
            raise UserError(f'{args.dataset_pack} names no corpus; add "corpus": "FILE" to it, or use --input FILE')
    texts = tqdm(_texts(sources), desc="reading", unit=" documents", disable=None)
    tokenizer = train_tokenizer(texts, args.vocab_size, whole_words=args.whole_words)
    tokenizer.write(args.out)
    print(f"wrote {args.out}: {tokenizer.vocab_size} tokens, sha256 {tokenizer.fingerprint[:12]}")


def _texts(sources: Sequence[str | Path]) -> Iterator[str]:
    """Documents, and what is said in chat rows."""
    from picochat.packs.documents import corpus_files, holds_rows, iter_documents
    from picochat.packs.formats import iter_rows

    for file in (file for source in sources for file in corpus_files(source)):
        if holds_rows(file):
            for _, row in iter_rows(file, "chat"):
                yield "\n".join(message["content"] for message in row["messages"])
        else:
            yield from (document.text for document in iter_documents(file))
