"""One `metrics.csv` per run that survives kills and resumes.

In: what the run logs. Out: `<save_dir>/metrics.csv`, one row per log call, `step` first. Next: the report's curves.

    step,epoch,train/loss,train/lr,val/loss       step = optimizer steps done, as in trainer.global_step
    10,0,5.81,0.002,                              each row is in the file as soon as it is logged
    20,0,4.07,0.004,
    20,0,,,4.11

A run that resumes from a checkpoint of step 50 drops the rows beyond 50: no step is missing, none is there twice.
Lightning's own CSVLogger deletes the file instead. A run that starts over starts a new file.

    Trainer(logger=RunLogger("runs/demo"))
"""

import csv
import io
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers.logger import Logger
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor
from torch.nn import Module

from picochat.errors import UserError
from picochat.files import write_files


class RunLogger(Logger, Callback):
    """Append the metrics of `fit` to `<save_dir>/metrics.csv`; validate, test and predict leave the file alone.

    It joins the trainer's callbacks by itself, to keep the file in step with the checkpoints.

    Args:
        save_dir: the run's folder; it need not exist.
    """

    name = version = ""
    save_dir = ""

    def __init__(self, save_dir: str) -> None:
        super().__init__()
        self.save_dir, self.path = save_dir, Path(save_dir) / "metrics.csv"
        self._fields: list[str] = []  # the header of the file as it is
        self._last: dict[str, str] = {}
        self._trainer: Any = None  # not known until it has shown itself
        self._row_is_due = False

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """The run's config.yaml is the record of its settings."""

    def log_graph(self, model: Module, input_array: Tensor | None = None) -> None:
        # The one call that shows a logger its trainer, made before a checkpoint's training state is restored.
        self._trainer = cast(Any, model).trainer
        if self not in self._trainer.callbacks:
            self._trainer.callbacks.insert(0, self)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        if self._trainer is None:
            raise UserError("RunLogger needs a Trainer with enable_autolog_hparams true; use CSVLogger elsewhere")
        if self._trainer.state.fn != TrainerFn.FITTING:
            return
        # Lightning's count has not yet moved when the metrics of the step that moves it are logged: 0 means step 1.
        # A validation may also come between two micro-batches of the next step.
        done = self._trainer.global_step if self._trainer.validating else (step or 0) + 1
        # Seven digits are what a float32 is good for: 0.0010000000474974513 was 0.001 once, and is written so.
        row = {"step": str(done), **{name: f"{value:.7g}" for name, value in metrics.items()}}
        if row == self._last:  # written before already, together with a checkpoint
            return
        self._last = row
        if new := row.keys() - set(self._fields):
            self._rewrite([*self._fields, *new], self._read())
        try:
            with self.path.open("a", encoding="utf-8", newline="\n") as file:
                csv.DictWriter(file, self._fields, restval="", lineterminator="\n").writerow(row)
        except OSError as error:
            raise UserError(f"cannot write {self.path}: {error.strerror}") from error

    @rank_zero_only
    def keep_until(self, step: int) -> None:
        """Drop the rows of later steps: they are about to be made again. 0 drops everything."""
        rows = [row for row in self._read() if int(row["step"]) <= step] if step > 0 else []
        # a validation that was interrupted after its log row is done again, and logs the same row again
        self._last = {name: value for name, value in rows[-1].items() if value} if rows else {}
        self._fields = []
        self.path.unlink(missing_ok=True) if not rows else self._rewrite([*rows[0]], rows)

    def _read(self) -> list[dict[str, str]]:
        """The rows of the file; a last line that a kill cut short is left out."""
        text = self.path.read_text(encoding="utf-8") if self.path.is_file() else ""
        return list(csv.DictReader(io.StringIO(text[: text.rfind("\n") + 1], newline="")))

    def _rewrite(self, fields: list[str], rows: list[dict[str, str]]) -> None:
        self._fields = ["step", *sorted(set(fields) - {"step"})]
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, self._fields, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write_files({self.path: text.getvalue()})

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.keep_until(trainer.global_step)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self._row_is_due = False
        # Lightning's own count of steps for loggers is one off when a run goes on that had ended early: too low after
        # a time limit, whose validation is out of turn, too high after early stopping, whose validation it skips.
        if pl_module.automatic_optimization:
            trainer.fit_loop.epoch_loop._batches_that_stepped = trainer.global_step

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._row_is_due = True

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._row_is_due = False

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._row_is_due = False

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        # A checkpoint written in on_train_batch_end holds this step, but Lightning logs the step's row only afterwards:
        # a kill in between would lose the row, since the resumed run begins at the next step.
        if self._row_is_due:
            others, trainer.loggers = trainer.loggers, [self]
            trainer._logger_connector.update_train_step_metrics()
            trainer.loggers = others
