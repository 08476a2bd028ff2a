"""All benchmarks, one after the other: python benchmarks/run.py [--full] [--narrow] [--only NAME …]

Each is a process of its own, prints its table and stores it under results/; docs/benchmarks.md is written at the end.
A benchmark that fails is named, and the others run on. Each compares with what is installed and leaves out the rest:
`make bench` runs them with the tests' environment at brief settings on two cores, `make bench-peers` those that have
peers, at all sizes, in an environment of their own (benchmarks/peers.txt).
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from machine import NARROW
from measure import flags, timed

HERE = Path(__file__).parent


class Benchmark(NamedTuple):
    """A section of the page; arguments of the script, once for each time that it runs, at all sizes and in brief."""

    title: str
    full: list[list[str]]
    brief: list[list[str]]


ONCE: list[list[str]] = [[]]
LARGE = ["--size", "135m", "--rounds", "1", "--steps", "6", "--warm", "2", "--ways", "picochat", "plain loop", "trl"]
BENCHMARKS = {  # script, which the names of its results begin with; its docstring is the text of its section
    "train": Benchmark(
        "Training", [["--size", "demo"], ["--size", "10m"], LARGE], [["--size", "demo", "--rounds", "2"]]
    ),
    "optimizers": Benchmark("Optimizers", ONCE, []),
    "generation": Benchmark("Generation", [["--size", "demo"], ["--size", "10m"]], [["--size", "demo"]]),
    "evaluation": Benchmark("Evaluation", ONCE, ONCE),
    "startup": Benchmark("Start-up", ONCE, [["--repeat", "5"]]),
    "packing": Benchmark("Packing", ONCE, ONCE),
    "tokenizing": Benchmark("Tokenizing", ONCE, ONCE),
    "growth": Benchmark("Growth", ONCE, ONCE),
    "kernels": Benchmark("Kernels", ONCE, ONCE),
    "coverage": Benchmark("Intervals of clustered rows", [["--draws", "2000"]], [["--draws", "200"]]),
    "planted_truth": Benchmark("Studies with known effects", ONCE, [["--studies", "100"]]),
}


def main() -> None:
    parser = flags(__doc__)
    parser.add_argument("--full", action="store_true", help="all sizes and repetitions, as long as it takes")
    parser.add_argument("--narrow", action="store_true", help="use AVX2 and float32 on a newer CPU")
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=BENCHMARKS, help="these alone")
    args = parser.parse_args()
    runs: list[tuple[str, list[str]]] = []
    for name in args.only or BENCHMARKS:
        one = BENCHMARKS[name]
        in_full = args.full or (args.only and not one.brief)
        runs += [(name, words) for words in (one.full if in_full else one.brief)]
    environment = {**os.environ, **(NARROW if args.narrow else {})}
    failed = [name for name, words in runs if not succeeded(name, words, environment)]
    subprocess.run([sys.executable, HERE / "report.py"], check=True)
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


def succeeded(name: str, words: list[str], environment: dict[str, str]) -> bool:
    """Run one; whether it ended well."""
    print(f"\n== {' '.join([name, *words])}", flush=True)
    command = [sys.executable, HERE / f"{name}.py", *words]
    seconds, status = timed(lambda: subprocess.run(command, env=environment, check=False).returncode)
    print(f"== {name}: {'done' if status == 0 else f'exit status {status}'} in {seconds:.0f} s")
    return status == 0


if __name__ == "__main__":
    main()
