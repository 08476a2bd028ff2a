"""How benchmarks measure: several ways in turn, in fresh processes, by the command line."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any


def fastest(ways: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Seconds of each way, the best of so many rounds taken in turn, so that a slow minute meets all of them."""
    best = dict.fromkeys(ways, float("inf"))
    for _ in range(rounds):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            best[name] = min(best[name], time.perf_counter() - start)
    return best


def fresh(script: str, *words: str) -> Any:
    """What a script prints as JSON in its last line, run in a process of its own."""
    done = subprocess.run([sys.executable, script, *words], stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def picochat(words: str, folder: Path) -> None:
    """A command line in a folder; it must succeed."""
    command = [sys.executable, "-W", "ignore", "-m", "picochat", *words.split()]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"picochat {words}: exit status {done.returncode}\n{done.stderr}")
