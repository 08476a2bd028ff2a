"""Startup time of the command line: python benchmarks/startup.py [--repeat 9]

Prints, for each command line, the median wall time of a fresh process beyond that of an empty interpreter (`python -c
pass`), and the slowest imports of the first one. Each time stands beside its bound where there is one.

    command                          median   beyond the interpreter   bound
    picochat --help                   0.05 s                  0.03 s   0.5 s
"""

import argparse
import re
import statistics
import subprocess
import sys
import time

COMMANDS: dict[str, float | None] = {  # words → bound in seconds beyond the interpreter's own time
    "--help": 0.5,
    "--version": 0.5,
    "data task-pack --help": None,
    "train sft --help": None,
    "eval chat --help": None,
    "fit --config nowhere.yaml": None,
    "fit --help": None,
}


def seconds(arguments: list[str], repeat: int) -> float:
    """Median wall time of `python *arguments`, after one run that fills the file caches."""
    times = []
    for _ in range(repeat + 1):
        start = time.perf_counter()
        subprocess.run([sys.executable, *arguments], capture_output=True, check=False)
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


def slowest_imports(words: str, count: int) -> list[tuple[float, str]]:
    """(own seconds, module) of the imports that take longest."""
    command = [sys.executable, "-X", "importtime", "-m", "picochat", *words.split()]
    log = subprocess.run(command, capture_output=True, text=True, check=False).stderr
    found = re.findall(r"import time:\s+(\d+) \|\s+\d+ \|\s+(\S+)", log)
    return sorted(((int(own) / 1e6, name) for own, name in found), reverse=True)[:count]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=9, help="runs of each command; the median counts")
    repeat = parser.parse_args().repeat
    empty = seconds(["-c", "pass"], repeat)
    print(f"python -c pass: {empty:.3f} s\n\n{'command':<36}{'median':>9}{'beyond':>9}{'bound':>8}")
    for words, bound in COMMANDS.items():
        total = seconds(["-m", "picochat", *words.split()], repeat)
        shown = f"{bound:.1f} s" if bound else "–"
        print(f"{'picochat ' + words:<36}{total:>7.3f} s{total - empty:>7.3f} s{shown:>8}")
    print("\nslowest imports of --help (own time)")
    for own, name in slowest_imports("--help", 5):
        print(f"  {own * 1000:6.1f} ms  {name}")


if __name__ == "__main__":
    main()
