"""What a run did, in one page. In: the run as it ends. Out: `<default_root_dir>/report.md`. Next: a person.

The page says how far the run came, how fast it was (where `Throughput` is among the callbacks), what it was fed (the
datamodule's own `describe()`, dropped rows included), each validation's losses, and what lies in the folder. It makes
no claim about skills: that is `picochat eval`'s to do.

Usable in any Lightning project:

    trainer:
      callbacks: [picochat.callbacks.RunReport]

    Trainer(callbacks=[RunReport()])
"""

import time
from pathlib import Path
from typing import Any, cast

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn

from picochat.callbacks.throughput import Throughput
from picochat.files import write_files

FILES = {
    "config.yaml": "the settings; `picochat fit --config` with it repeats the run",
    "metrics.csv": "everything that was logged",
    "best_checkpoint": "model folder of the step with the best validation loss",
    "last_checkpoint": "model folder of the last step",
    "last.ckpt": "the whole state; `--ckpt_path` goes on from it",
}


class RunReport(Callback):
    """Write `report.md` at the end of a fit; one that was stopped gets its page when it is resumed and ends."""

    def __init__(self) -> None:
        self._validations: list[dict[str, Any]] = []
        self._first_step = 0
        self._started = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._first_step = trainer.global_step
        self._started = time.perf_counter()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking:
            losses = {name: float(value) for name, value in trainer.callback_metrics.items() if _is_summary(name)}
            self._validations.append({"step": trainer.global_step, **losses})

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        meter = next((callback for callback in _callbacks(trainer) if isinstance(callback, Throughput)), None)
        speed = meter.summary(trainer, pl_module) if meter else []  # all ranks together
        if trainer.is_global_zero and not getattr(trainer, "fast_dev_run", False):
            root = Path(trainer.default_root_dir)
            write_files({root / "report.md": self._page(trainer, root, speed)})

    def _page(self, trainer: Trainer, root: Path, speed: list[str]) -> str:
        lines = [f"# Run {root.name}", "", f"Optimizer steps: {trainer.global_step} of {trainer.max_steps}"]
        if self._first_step:
            lines[-1] += f", resumed at {self._first_step}"
        lines += [f"Time: {time.perf_counter() - self._started:.0f} s"]
        if speed:
            lines += ["", "## Speed", "", *(f"- {line}" for line in speed)]
        data: Any = getattr(trainer, "datamodule", None)
        if hasattr(data, "describe"):
            lines += ["", "## Data", "", "```", data.describe(), "```"]
        if self._validations:
            lines += ["", "## Validations", "", *_table(self._validations)]
        present = [f"- `{name}`: {text}" for name, text in FILES.items() if (root / name).exists()]
        return "\n".join([*lines, "", "## Files", "", *present, ""])


def _callbacks(trainer: Trainer) -> list[Callback]:
    return cast(Any, trainer).callbacks  # type: ignore[no-any-return]  # Lightning leaves them out of its types


def _is_summary(name: str) -> bool:
    """val/loss and val/bits_per_byte, not the loss of each lane."""
    return name.count("/") == 1 and not name.startswith(("train/", "data/"))


def _table(rows: list[dict[str, Any]]) -> list[str]:
    names = list(dict.fromkeys(name for row in rows for name in row))
    lines = ["| " + " | ".join(names) + " |", "|" + "---:|" * len(names)]
    for row in rows:
        cells = [f"{row[name]:.4f}" if isinstance(row.get(name), float) else str(row.get(name, "")) for name in names]
        lines.append("| " + " | ".join(cells) + " |")
    return lines
