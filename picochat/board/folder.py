"""What lies in a folder of runs; what cannot be read is left out. In: the folder. Out: these by their paths. Next: app.

runs/capability/metrics.csv            ─► Run("runs/capability", step 450 of 2200, running)
runs/eval/a/eval_report.json + .html   ─► Found("runs/eval/a/eval_report.html", "evaluation", rates of its lanes)
runs/capability/best_checkpoint/       ─► "runs/capability/best_checkpoint"
"""

import os
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from picochat.blocks import percent
from picochat.errors import UserError
from picochat.evidence.html_page import Curves, read_curves
from picochat.strict_json import parse_json, read_json_object, text_fault
from picochat.strict_yaml import read_yaml

KINDS = {"eval chat": "evaluation", "eval compare": "comparison", "eval sft-fit": "SFT fit", "study": "study"}
_QUIET = 600.0  # seconds without a new row of its log after which a locked run counts as killed
_SAMPLES = 24  # of the newest, that a run's page shows
_UNREADABLE = (UserError, ArithmeticError, AttributeError, LookupError, OSError, TypeError, ValueError)


@dataclass(frozen=True)
class Run:
    """A training run: how far it is."""

    path: str
    step: int
    steps: int | None  # None where its config does not say
    losses: dict[str, float]  # the latest
    running: bool
    changed: float  # when its log last grew, in seconds since 1970
    folded: bool = False  # a study made it, and it has ended


@dataclass(frozen=True)
class Found:
    """A report, and what it says in a line."""

    path: str  # of its page
    kind: str
    result: str
    changed: float
    lanes: dict[str, tuple[int, float]] = field(default_factory=dict)  # of an evaluation: lane → (rows, rate)
    rows: tuple[str, str] = ("", "")  # of an evaluation: path and sha256 of its rows
    folded: bool = False  # a study made it


class Folder:
    """Everything under `root`, looked at anew in each scan; files that did not change are not parsed again.

    Paths begin with the folder's own name, so that they are those of the command line: runs/capability.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self.base = self.root.parent

    def scan(self) -> tuple[list[Run], list[Found], list[str]]:
        """Runs and reports, newest first, and the paths of checkpoints: the best one of the newest run first."""
        runs: list[Run] = []
        reports: list[Found] = []
        checkpoints: list[tuple[bool, float, str]] = []
        for place, folders, files in os.walk(self.root):
            folders[:] = sorted(filter(_is_shown, folders))
            here, path = Path(place), Path(place).relative_to(self.base).as_posix()
            of_study = (here.parent / "run.json").is_file()
            if "config.json" in files and {"model.safetensors", "model.safetensors.index.json"} & set(files):
                with suppress(OSError):
                    changed = (here / "config.json").stat().st_mtime
                    checkpoints.append((here.name != "best_checkpoint", -changed, path))
            for name in files:
                with suppress(*_UNREADABLE):
                    if name == "metrics.csv":
                        changed = (here / name).stat().st_mtime
                        running = ".lock" in files and time.time() - changed < _QUIET
                        runs.append(Run(path, *_log(here, changed), running, changed, of_study and not running))
                    elif name.endswith(".json") and f"{name[:-5]}.html" in files and _is_shown(name):
                        changed = (here / name).stat().st_mtime
                        report = _report(here / name, f"{path}/{name[:-5]}.html", changed)
                        reports.append(replace(report, folded=of_study))
        newest = sorted(runs, key=lambda one: -one.changed), sorted(reports, key=lambda one: -one.changed)
        return *newest, [path for *_, path in sorted(checkpoints)]

    def curves(self, run: str) -> Curves:
        """The curves of a run; none while its log cannot be read."""
        with suppress(UserError):
            return read_curves(self.base / run / "metrics.csv")
        return {}

    def samples(self, run: str) -> list[dict[str, str]]:
        """The newest sample replies of a run, newest first."""
        found, names = [], ("step", "category", "prompt", "reply", "expected")
        with suppress(OSError):
            lines = (self.base / run / "samples.jsonl").read_text("utf-8", errors="replace").split("\n")
            for line in [*filter(str.strip, lines)][: -_SAMPLES - 1 : -1]:
                with suppress(*_UNREADABLE):
                    one = parse_json(line, nul=True)
                    found.append({name: "" if one[name] is None else str(one[name]) for name in names})
        return found


def _is_shown(name: str) -> bool:
    """Whether a file or folder is not hidden, and has a name that an address can hold."""
    return not (name.startswith(".") or text_fault(name) or "\n" in name)


@lru_cache(4096)
def _log(folder: Path, _changed: float) -> tuple[int, int | None, dict[str, float]]:
    """Step, steps and losses of a run."""
    curves = read_curves(folder / "metrics.csv")
    config: Any = read_yaml(folder / "config.yaml") if (folder / "config.yaml").is_file() else {}
    steps = config.get("trainer", {}).get("max_steps")
    losses = {name: curve[-1][1] for name, curve in curves.items() if name in ("train/loss", "val/loss")}
    last = max((curve[-1][0] for curve in curves.values()), default=0)
    return int(last), steps if isinstance(steps, int) and steps > 0 else None, losses


@lru_cache(4096)
def _report(file: Path, page: str, changed: float) -> Found:
    data = read_json_object(file)
    kind = KINDS[data["kind"]]
    if kind != "evaluation":
        return Found(page, kind, str(data.get("summary") or " · ".join(data.get("facts") or [])), changed)
    lanes = {str(name): (int(lane["n"]), float(lane["rate"])) for name, lane in data["by_category"].items()}
    result = f"{percent(data['overall']['rate'])} of {data['overall']['n']} rows, {data['model']['folder']}"
    return Found(page, kind, result, changed, lanes, (str(data["pack"]["path"]), str(data["pack"]["sha256"])))
