"""What benchmarks share: flags, ways measured in turn, fresh processes, rows to work on, a training step."""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from picochat.model.config import DecoderConfig


def flags(doc: str | None, **numbers: tuple[int | None, str]) -> argparse.ArgumentParser:
    """A parser with the text of a script, and a flag for each number: its default (None: required) and its help."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, (default, text) in numbers.items():
        said = "" if default is None else f" (default: {default:,})"
        parser.add_argument(
            f"--{name}", type=int, default=default, required=default is None, metavar="N", help=text + said
        )
    return parser


def timed(way: Callable[[], Any]) -> tuple[float, Any]:
    """Wall seconds, and what it returns."""
    start = time.perf_counter()
    made = way()
    return time.perf_counter() - start, made


def fastest(ways: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Seconds of each way, the best of so many rounds taken in turn, so that a slow minute meets all of them."""
    best = dict.fromkeys(ways, float("inf"))
    for _ in range(rounds):
        for name, way in ways.items():
            best[name] = min(best[name], timed(way)[0])
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


def chat_rows(folder: Path, count: int, different: int = 1000) -> tuple[Path, list[str]]:
    """A file of so many rows of a capability pack, and the lines that it repeats."""
    from picochat.packs import build_task_pack

    (folder / "dataset_pack.json").write_text("{}")
    build_task_pack(folder, sft_rows=different, eval_rows=32, promote=False)
    lines = (folder / "chat_task_mixture_capability.jsonl").read_text("utf-8").splitlines(keepends=True)
    with (folder / "rows.jsonl").open("w", encoding="utf-8") as file:
        file.writelines(lines[number % len(lines)] for number in range(count))
    return folder / "rows.jsonl", lines


def training_step(
    config: "DecoderConfig", rows: int, context: int, document: int, optimizer: str | None = None, half: bool = False
) -> Callable[[], None]:
    """A step over packed rows, documents of so many tokens, four positions in ten supervised."""
    import torch

    from picochat.model.decoder import Decoder
    from picochat.model.loss import supervised_nll
    from picochat.model.optim import OptimizerConfig, build_optimizer

    model, places = Decoder(config), torch.arange(context)
    rule = build_optimizer(model, OptimizerConfig(optimizer)) if optimizer else None  # type: ignore[arg-type]
    ids = torch.randint(config.vocab_size, (rows, context))
    documents = (places // document + 1).to(torch.int32).repeat(rows, 1)
    positions, labels = (places % document).repeat(rows, 1), ids.roll(-1, 1)
    labels = labels.masked_fill(torch.rand(rows, context) > 0.4, -100)

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            loss = supervised_nll(model, model(ids, positions, documents), labels).sum()
        loss.backward()
        if rule:
            rule.step()
            rule.zero_grad()

    return step
