"""What a run did. In: the run as it ends. Out: `<default_root_dir>/report.md`, and in the terminal where things lie,
the best validation and the command to type next. Next: a person.

The page says how far the run came, how fast it was (where `Throughput` is among the callbacks), what data it had (the
datamodule's own `describe()`, dropped rows included), each validation's losses, and what lies in the folder. It makes
no claim about skills: `picochat eval` does that.

    Trainer(callbacks=[RunReport()])
"""

import time
from pathlib import Path
from typing import Any, cast

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn

from picochat.blocks import Report, Table, Text, aligned, markdown_page
from picochat.callbacks.best_checkpoint import BEST, BestCheckpoint
from picochat.callbacks.progress import duration
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
    """Write and print what there is at the end of a fit; one that was stopped gets it when it is resumed and ends."""

    def __init__(self) -> None:
        self._validations: list[dict[str, str]] = []
        self._first_step = 0
        self._started = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._first_step = trainer.global_step
        self._started = time.perf_counter()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking:
            # val/loss and val/bits_per_byte, not the loss of each lane
            names = [n for n in trainer.callback_metrics if n.count("/") == 1 and not n.startswith(("train/", "data/"))]
            losses = {name: f"{float(trainer.callback_metrics[name]):.4f}" for name in names}
            self._validations.append({"step": str(trainer.global_step), **losses})

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not self._started:
            return  # resumed after its last step: nothing ran
        meters = [one for one in cast(Any, trainer).callbacks if isinstance(one, Throughput)]
        speed = meters[0].summary(trainer, pl_module) if meters else {}  # all ranks together
        if trainer.is_global_zero and not getattr(trainer, "fast_dev_run", False):
            root = Path(trainer.default_root_dir)
            write_files({root / "report.md": self._page(trainer, root, speed)})
            print(self._closing(trainer, root), flush=True)

    def _closing(self, trainer: Trainer, root: Path) -> str:
        """What the terminal says at the end."""
        others: list[Any] = cast(Any, trainer).callbacks
        best = next((one for one in others if isinstance(one, BestCheckpoint) and one.best_value is not None), None)
        said = f"; best {best.monitor} {best.best_value:.4f} at step {best.best_step}" if best else ""
        files = {"report.md": "speed, data and validations of the run", **FILES}
        there = [(f"  {root / name}", text) for name, text in files.items() if (root / name).exists()]
        lines = ["", f"done in {duration(time.perf_counter() - self._started)}{said}", aligned(there, left=2)]
        model = root / BEST
        data: Any = getattr(trainer, "datamodule", None)
        if (model / "config.json").is_file() and hasattr(data, "eval_path"):  # chat rows
            lines += ["next:", f"  picochat chat --checkpoint {model}"]
            lines += [f"  picochat eval chat --input {rows} --checkpoint {model}" for rows in [data.eval_path] if rows]
        elif (model / "config.json").is_file():
            lines += ["next:", f'  picochat generate --checkpoint {model} --plain --prompt "One morning"']
        return "\n".join(lines)

    def _page(self, trainer: Trainer, root: Path, speed: dict[str, float]) -> str:
        resumed = f", resumed at {self._first_step}" if self._first_step else ""
        data: Any = getattr(trainer, "datamodule", None)
        described = data.describe().splitlines() if hasattr(data, "describe") else []
        names = list(dict.fromkeys(name for row in self._validations for name in row))
        losses = [[row.get(name, "") for name in names] for row in self._validations]
        figures = [(name, f"{value:,.0f}" if value >= 100 else f"{value:.3g}") for name, value in speed.items()]
        present = [f"{name}: {text}" for name, text in FILES.items() if (root / name).exists()]
        blocks = [
            Text([f"Time: {duration(time.perf_counter() - self._started)}"]),
            Table(("metric", "whole run"), figures, title="Speed" if speed else ""),
            Text(described, style="code", title="Data" if described else ""),
            Table(names, losses, left=0, title="Validations" if losses else ""),
            Text(present, style="list", title="Files"),
        ]
        under = f"Optimizer steps: {trainer.global_step} of {trainer.max_steps}{resumed}"
        return markdown_page(Report(f"Run {root.name}", under, blocks))
