"""A corpus in several files, imported and tokenised by different engines: python benchmarks/shards.py [--documents N]

Eight files of stories, the same for all. One process does what `picochat data import` and a first start of `fit` do;
the others run the steps of examples/many_machines.py with as many workers as there are cores:

    one process              data import, then the tokens of the corpus
    multiprocessing          a pool of the standard library: what the work itself costs in parts
    datatrove                its LocalPipelineExecutor, as examples/many_machines.py uses it (pip install datatrove)
    ray                      a task for each part (pip install ray)
    ray, Ray Data            the parts as a data set of numbers, mapped (pip install 'ray[data]')

Every engine runs in a process of its own, its start and import included; an engine whose tokens are other bytes fails.
"""

import argparse
import contextlib
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from report import record

from picochat.datamodules.store import TokenStore
from picochat.datamodules.tokenise import tokens_of_corpus
from picochat.model.tokenizer import ChatTokenizer, train_tokenizer
from picochat.packs.corpus import import_corpus
from picochat.packs.stories import story

sys.path.append(str(Path(__file__).parents[1] / "examples"))
from many_machines import Part, Step, import_steps, token_steps

FILES = 8
WORKERS = os.cpu_count() or 1
Engine = Callable[[Step, Path], None]


def pool(step: Step, logs: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(WORKERS) as workers:
        workers.map(step.work, range(step.parts), chunksize=1)


def datatrove(step: Step, logs: Path) -> None:
    from datatrove.executor import LocalPipelineExecutor

    settings = {"tasks": step.parts, "workers": WORKERS, "logging_dir": str(logs / step.name)}
    LocalPipelineExecutor(pipeline=[Part(step)], **settings).run()


def ray_tasks(step: Step, logs: Path) -> None:
    import ray

    ray.init(num_cpus=WORKERS, ignore_reinit_error=True, include_dashboard=False)
    work = ray.remote(step.work.func)  # type: ignore[attr-defined]
    ray.get([work.remote(*step.work.args, part) for part in range(step.parts)])  # type: ignore[attr-defined]


def ray_data(step: Step, logs: Path) -> None:
    import ray

    ray.init(num_cpus=WORKERS, ignore_reinit_error=True, include_dashboard=False)

    def part(row: dict[str, int]) -> dict[str, int]:
        step.work(int(row["id"]))
        return row

    ray.data.range(step.parts, override_num_blocks=step.parts).map(part).materialize()


ENGINES: dict[str, tuple[Engine | None, str]] = {
    "one process": (None, ""),
    "multiprocessing": (pool, ""),
    "datatrove": (datatrove, "datatrove"),
    "ray": (ray_tasks, "ray"),
    "ray, Ray Data": (ray_data, "ray"),
}


def run(name: str, folder: Path) -> str:
    """Import and tokenise; the fingerprint of the tokens."""
    engine, _ = ENGINES[name]
    made, tokenizer = folder / name.replace(" ", "-"), folder / "tokenizer.json"
    if engine is None:
        pack = import_corpus([folder / "shards"], made)
        assert pack.corpus_path is not None
        return tokens_of_corpus(
            pack.corpus_path, ChatTokenizer.load(tokenizer), made / "tokens", verify=True
        ).fingerprint
    for step in import_steps(folder / "shards", made):
        engine(step, made / "logs")
    for step in token_steps(made / "corpus", tokenizer, made):
        engine(step, made / "logs")
    (store,) = (made / "tokens").glob("corpus-*")
    return TokenStore(store).fingerprint


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=200_000, help="in all files (default: 200,000)")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)  # what it runs in a fresh process
    args = parser.parse_args()
    if args.one:
        with contextlib.redirect_stdout(sys.stderr):
            found = run(args.one[0], Path(args.one[1]))
        print(found)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "shards").mkdir()
        for number in range(FILES):
            share = range(number, args.documents, FILES)
            lines = (json.dumps({"text": story(0, index // 10 * 10)}) + "\n" if index % 100 == 7 else
                     json.dumps({"text": story(0, index)}) + "\n" for index in share)  # fmt: skip
            (folder / "shards" / f"{number}.jsonl").write_text("".join(lines), "utf-8")
        train_tokenizer((story(0, index) for index in range(2000)), 512).write(folder / "tokenizer.json")
        size = sum(path.stat().st_size for path in (folder / "shards").iterdir()) / 1e6
        rows: list[list[object]] = []
        tokens, alone = "", 0.0
        for engine, (_, needs) in ENGINES.items():
            if needs and find_spec(needs) is None:
                print(f"{engine} is left out: {needs} is not installed")
                continue
            start = time.perf_counter()
            command = [sys.executable, __file__, "--one", engine, name]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            seconds = time.perf_counter() - start
            found = done.stdout.split()[-1]
            tokens, alone = tokens or found, alone or seconds
            if found != tokens:
                raise SystemExit(f"{engine} made other tokens than one process")
            rows.append([engine, seconds, alone / seconds, args.documents / seconds])
            print(f"{engine}: {seconds:.1f} s", flush=True)
    note = f"{args.documents:,} documents in {FILES} files, {size:,.0f} MB; {WORKERS} workers. The tokens are the same."
    record("shards", ["engine", "seconds", "× as fast as one process", "documents/s"], rows, note)


if __name__ == "__main__":
    main()
