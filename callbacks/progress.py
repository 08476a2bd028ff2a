"""What a run says: one bar in a terminal while it runs, a line every so often elsewhere, and a page at its end.

In: the step, and what was logged. Out: stdout, `<default_root_dir>/report.md`. Next: a person.

    step  450/2200  loss 0.4121  lr 3.9e-03  9.1k tokens/s  5 min left
    step  500/2200  loss 0.3990  lr 3.8e-03  9.0k tokens/s  val 0.3881  weak_skills 42%  5 min left

    450/2200 |███████▌                       | loss 0.412  9.1k tokens/s  5 min

    Trainer(callbacks=[Throughput(), Progress(), RunReport()], enable_progress_bar=False)
"""

import logging
import re
import shlex
import shutil
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_info
from tqdm import tqdm

from picochat.blocks import Report, Table, Text, aligned, markdown_page
from picochat.callbacks.best_checkpoint import BEST, LAST, BestCheckpoint
from picochat.callbacks.throughput import Throughput
from picochat.files import write_files

FILES = {
    "report.md": "speed, data and validations of the run",
    "config.yaml": "the settings; `picochat fit --config` with it repeats the run",
    "metrics.csv": "everything that was logged",
    "best_checkpoint": "model folder of the step with the best validation loss",
    "last_checkpoint": "model folder of the last step",
    "last.ckpt": "the whole state; `--ckpt_path` goes on from it",
}
_WIDTH = 72  # columns of the bar, so that no common window breaks it
_SMALL_TALK = (  # advertisements, devices that are not used, and what every run does
    *("💡 Tip", "TPU available", "GPU available: False", "Seed set to"),
    *("`Trainer(val_check_interval=", "`Trainer.fit` stopped: `max_steps"),
)


def summary(metrics: Mapping[str, float], *, short: bool = False, validated: bool = False) -> str:
    """What a line says of the logged metrics: `short` beside a bar, `validated` with what a validation found."""
    found = [match for name in metrics if (match := re.fullmatch("eval/(.+)/pass_rate", name))]
    rates = {match[1]: metrics[match[0]] for match in found}
    texts = {
        "train/loss": "loss {:.3f}" if short else "loss {:.4f}",
        "train/lr": "" if short else "lr {:.1e}",
        "train/tokens_per_s": "{} tokens/s",
        "val/loss": "val {:.4f}" if validated else "",
        "eval/loss": "eval {:.4f}" if validated else "",
    }
    known = {name: amount(metrics[name]) if "_per_" in name else metrics[name] for name in texts if name in metrics}
    parts = [texts[name].format(value) for name, value in known.items()]
    return "  ".join(filter(None, [*parts, *(f"{name} {rate:.0%}" for name, rate in rates.items() if validated)]))


def amount(value: float) -> str:
    """812, 9.1k, 120k, 1.2M."""
    size, unit = (1e6, "M") if value >= 1e6 else (1e3, "k") if value >= 1e3 else (1, "")
    return f"{value / size:.{1 if size > 1 and value < 100 * size else 0}f}{unit}"


def duration(seconds: float) -> str:
    """45 s, 12 min, 3 h 05 min."""
    minutes = round(seconds / 60)
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02} min"


class Progress(Callback):
    """Show how far training is, and the time left at the rate since the run began, validations included.

    A bar of Lightning's (`enable_progress_bar: true`, RichProgressBar) replaces it. Lightning's messages go to stdout,
    too, since a notebook shows stderr as an alarm.

    Args:
        every: seconds between two lines where there is no bar; validations and the end have one anyway.
        bar: whether to draw a bar; null draws one where stdout is a terminal.
    """

    def __init__(self, every: float = 10.0, bar: bool | None = None) -> None:
        self.every, self.bar = every, bar
        self._bar: Any = None  # tqdm's
        self._silent = False
        self._first_step = self._seen = self._printed = 0  # steps
        self._began = self._spoke = 0.0
        messages_to_stdout()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._silent = not trainer.is_global_zero or trainer.progress_bar_callback is not None
        self._first_step = self._seen = self._printed = trainer.global_step
        self._began, self._spoke = time.monotonic(), 0.0
        if not self._silent and (sys.stdout.isatty() if self.bar is None else self.bar):
            columns = min(_WIDTH, shutil.get_terminal_size().columns - 1)
            total = trainer.max_steps if trainer.max_steps > 0 else None
            form = "{n_fmt}/{total_fmt} |{bar}| {desc}"
            self._bar = tqdm(total=total, ncols=columns, bar_format=form, leave=False, file=sys.stdout)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        step, every = trainer.global_step, cast(Any, trainer).log_every_n_steps or 1
        if self._silent or step == self._seen or step % every:
            return  # between log steps the loss stays on the device
        self._seen = step
        if self._bar is not None:
            self._bar.n = step
            self._bar.set_description_str("  ".join([summary(_metrics(trainer), short=True), *self._left(trainer)]))
        elif time.monotonic() >= self._spoke + self.every:
            self._print(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking:
            self._print(trainer, validated=True)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._printed != trainer.global_step:
            self._print(trainer)
        self._close()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._close()

    def _left(self, trainer: Trainer) -> list[str]:
        """The time left, if it can be known."""
        done, ahead = trainer.global_step - self._first_step, trainer.max_steps - trainer.global_step
        return [duration((time.monotonic() - self._began) / done * ahead)] if done > 0 and ahead > 0 else []

    def _print(self, trainer: Trainer, *, validated: bool = False) -> None:
        if self._silent:
            return
        self._printed, self._spoke = trainer.global_step, time.monotonic()
        total = f"/{trainer.max_steps}" if trainer.max_steps > 0 else ""
        parts = [f"step {trainer.global_step:>{len(total)}}{total}", summary(_metrics(trainer), validated=validated)]
        line = "  ".join([*parts, *(f"{left} left" for left in self._left(trainer))])
        tqdm.write(line, file=sys.stdout)
        sys.stdout.flush()

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


class RunReport(Callback):
    """Write report.md (steps, speed by `Throughput`, data, validations) and print the command to type next.

    It makes no claim about skills: `picochat eval` does. A run that was stopped gets it when it is resumed and ends.
    """

    def __init__(self) -> None:
        self._validations: list[dict[str, str]] = []
        self._first_step, self._started = 0, 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._first_step, self._started = trainer.global_step, time.monotonic()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking:
            # val/loss and val/bits_per_byte, not the loss of each lane
            names = [n for n in trainer.callback_metrics if n.count("/") == 1 and not n.startswith(("train/", "data/"))]
            losses = {name: f"{float(trainer.callback_metrics[name]):.4f}" for name in names}
            self._validations.append({"step": str(trainer.global_step), **losses})

    def state_dict(self) -> dict[str, Any]:
        return {"validations": self._validations}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._validations = state_dict["validations"]

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not self._started:
            asked = f"trainer.max_steps is {trainer.max_steps}; raise it to go on"
            rank_zero_info(f"nothing to do: the checkpoint is of step {trainer.global_step}, and {asked}")
            return
        meters = [one for one in cast(Any, trainer).callbacks if isinstance(one, Throughput)]
        speed = meters[0].summary(trainer, pl_module) if meters else {}  # all ranks together
        if trainer.is_global_zero and not getattr(trainer, "fast_dev_run", False):
            root = Path(trainer.default_root_dir)
            write_files({root / "report.md": self._page(trainer, root, speed)})
            print(self._closing(trainer, root), flush=True)

    def _closing(self, trainer: Trainer, root: Path) -> str:
        others: list[Any] = cast(Any, trainer).callbacks
        best = next((one for one in others if isinstance(one, BestCheckpoint) and one.best_value is not None), None)
        said = f"; best {best.monitor} {best.best_value:.4f} at step {best.best_step}" if best else ""
        texts = FILES if best else {**FILES, BEST: FILES[LAST]}  # nothing was validated
        there = [(f"  {root / name}", text) for name, text in texts.items() if (root / name).exists()]
        lines = ["", f"done in {duration(time.monotonic() - self._started)}{said}", aligned(there, left=2)]
        model, data = root / BEST, cast(Any, getattr(trainer, "datamodule", None))
        if (model / "config.json").is_file():
            folder = shlex.quote(str(model))
            following = [f'picochat generate --checkpoint {folder} --plain --prompt "One morning"']
            if hasattr(data, "eval_path"):  # chat rows
                asked = f"picochat eval chat --input {shlex.quote(str(data.eval_path))} --checkpoint {folder}"
                following = [f"picochat chat --checkpoint {folder}", *([asked] if data.eval_path else [])]
            lines += ["next:", *(f"  {command}" for command in following)]
        return "\n".join(lines)

    def _page(self, trainer: Trainer, root: Path, speed: dict[str, float]) -> str:
        resumed = f", resumed at {self._first_step}" if self._first_step else ""
        part = f"since step {self._first_step}" if self._first_step else "whole run"
        data: Any = getattr(trainer, "datamodule", None)
        described = data.describe().splitlines() if hasattr(data, "describe") else []
        names = list(dict.fromkeys(name for row in self._validations for name in row))
        losses = [[row.get(name, "") for name in names] for row in self._validations]
        prefix = "data/learnt/"
        learnt = [(name.removeprefix(prefix), f"{speed.pop(name):.1%}") for name in list(speed) if prefix in name]
        figures = [(name, f"{value:,.0f}" if value >= 100 else f"{value:.3g}") for name, value in speed.items()]
        blocks = [
            Text([f"Time, {part}: {duration(time.monotonic() - self._started)}"]),
            Table(("metric", part), figures, title="Speed" if speed else ""),
            Table(("lane", "supervised tokens"), learnt, title="Mixture" if learnt else ""),
            Text(described, style="code", title="Data" if described else ""),
            Table(names, losses, left=0, title="Validations" if losses else ""),
        ]
        under = f"Optimizer steps: {trainer.global_step} of {trainer.max_steps}{resumed}"
        return markdown_page(Report(f"Run {root.name}", under, blocks))


def messages_to_stdout() -> None:
    """Lightning's messages are printed, and those that say nothing of the run are left out; warnings stay on stderr."""
    for name in ("lightning", "lightning.pytorch", "lightning.fabric"):
        for handler in logging.getLogger(name).handlers:
            handler.addFilter(_is_for_stderr)


def _metrics(trainer: Trainer) -> dict[str, float]:
    return {name: float(value) for name, value in trainer.callback_metrics.items()}


def _is_for_stderr(record: logging.LogRecord) -> bool:
    if record.levelno <= logging.INFO and not record.getMessage().startswith(_SMALL_TALK):
        tqdm.write(record.getMessage(), file=sys.stdout)
        sys.stdout.flush()
    return record.levelno > logging.INFO
