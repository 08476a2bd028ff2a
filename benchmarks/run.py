"""All benchmarks, one after the other: python benchmarks/run.py [--peers] [--only NAME …] [--list]

Each is a process of its own, prints its table and keeps it under results/; docs/benchmarks.md is made anew at the end.
A benchmark that fails is named, and the others run on. `--peers` adds those whose other side has to be installed first
(benchmarks/peers.txt; `make bench-peers` does that in an environment of its own).
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
# name → (words after the script's name, whether it needs the peers)
ALONE = {
    "startup": [],
    "packing": [],
    "sampling": [],
    "task_packs": [],
    "loader": [],
    "attention": [],
    "loss": [],
    "evaluation": [],
    "optimizers": [],
    "growth": [],
    "plan_scale": ["--rows", "1000000", "10000000", "100000000"],
}
WITH_PEERS = {"generation": [], "train": []}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", action="store_true", help="run those too that compare with installed peers")
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=[*ALONE, *WITH_PEERS], help="these alone")
    parser.add_argument("--list", action="store_true", help="print the names and end")
    args = parser.parse_args()
    chosen = {**ALONE, **(WITH_PEERS if args.peers or args.only else {})}
    if args.only:
        chosen = {name: chosen[name] for name in args.only}
    if args.list:
        print("\n".join(chosen))
        return
    failed = [name for name, words in chosen.items() if not succeeded(name, words)]
    subprocess.run([sys.executable, HERE / "report.py"], check=True)
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


def succeeded(name: str, words: list[str]) -> bool:
    """Run one; whether it ended well."""
    print(f"\n== {name}", flush=True)
    start = time.perf_counter()
    status = subprocess.run([sys.executable, HERE / f"{name}.py", *words], check=False).returncode
    print(f"== {name}: {'done' if status == 0 else f'exit status {status}'} in {time.perf_counter() - start:.0f} s")
    return status == 0


if __name__ == "__main__":
    main()
