"""Ctrl-C and SIGTERM end training after the step under way, with a checkpoint to resume from.

In: a signal. Out: `<default_root_dir>/last.ckpt`, one line that says how to go on, and the exit status a shell expects.
Next: `fit --ckpt_path <run>/last.ckpt`, which continues as if nothing had happened.

    signal        SIGINT (Ctrl-C)   SIGTERM   SIGUSR1 (SLURM: --signal=USR1@90)
    exit status   130               143       138

A validation under way is interrupted, and done again by the resumed run (several ranks finish it: they stop together):

    step         99   100                      resumed    100                 101
    validation         v ── signal                         v (all of it) ──►
    last.ckpt               of step 100, validation due

Lightning alone throws KeyboardInterrupt into the middle of a step, saves nothing and exits with 1.

    Trainer(callbacks=[GracefulStop()], plugins=[AtomicCheckpointIO()])
"""

import os
import signal
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Any, cast

import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.loops.progress import _ProcessedTracker
from lightning.pytorch.trainer.states import TrainerFn

from picochat.callbacks.last_checkpoint import LastCheckpoint, validation_follows


class _ValidationInterrupted(SystemExit):
    """Raised by the signal handler, inside a validation."""


class GracefulStop(Checkpoint):
    """Stop at the end of the optimizer step in which a signal arrives, or inside a validation.

    At the last step of a run the signal is too late; the run ends by itself. All ranks stop together, whichever of them
    got the signal. A second Ctrl-C ends the process at once. A SIGUSR1 that already has a handler (Lightning's
    requeueing under SLURM) is left to it.

    Args:
        resume_command: the command that is printed; `{run}` stands for the run folder.
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)

    def __init__(
        self, resume_command: str = "picochat fit --config {run}/config.yaml --ckpt_path {run}/last.ckpt"
    ) -> None:
        self.resume_command = resume_command
        self._received = 0
        self._step = 0
        self._process = 0
        self._may_interrupt = False  # inside a validation of a run of one rank
        self._before: dict[signal.Signals, Any] = {}  # the handlers that were there

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._received = 0
        self._step = trainer.global_step
        self._process = os.getpid()
        validation = trainer.fit_loop.epoch_loop.val_loop
        if validation.restarted_mid_evaluation:  # Lightning counts the batch in which it was interrupted twice
            total = cast(_ProcessedTracker, validation.batch_progress.total)
            total.ready = total.started = total.completed
        if threading.current_thread() is not threading.main_thread():
            return  # Python allows handlers in the main thread only
        for number in self.SIGNALS:
            if number != signal.SIGUSR1 or signal.getsignal(number) == signal.SIG_DFL:
                self._before[number] = signal.signal(number, self._receive)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.global_step != self._step and not validation_follows(trainer):  # not in the middle of accumulation
            self._stop_if_asked(trainer)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking:
            self._may_interrupt = trainer.world_size == 1 and trainer.global_step != trainer.max_steps
            if self._received and self._may_interrupt:
                raise _ValidationInterrupted(128 + self._received)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._may_interrupt = False
        if trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking:
            self._stop_if_asked(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._restore_handlers()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._restore_handlers()
        if isinstance(exception, _ValidationInterrupted):
            _mark_validation_pending(trainer)
            self._save(trainer)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:
            return  # a loader worker, forked with this handler: Ctrl-C reaches it too, and the run ends it
        if self._received and number == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGINT)
        self._received = number
        if self._may_interrupt:
            self._may_interrupt = False
            raise _ValidationInterrupted(128 + number)
        os.write(2, b"\nstopping after this step (Ctrl-C again: at once)\n")

    def _stop_if_asked(self, trainer: Trainer) -> None:
        self._step = trainer.global_step
        received = torch.tensor(self._received, device=trainer.strategy.root_device)
        self._received = int(trainer.strategy.reduce(received, reduce_op="max"))
        if self._received and trainer.global_step != trainer.max_steps:
            self._save(trainer)
            # Lightning's launcher kills rank 0, perhaps before it has printed this, when a rank that it started fails.
            environment = getattr(trainer.strategy, "cluster_environment", None)
            was_started_by_rank_0 = isinstance(environment, LightningEnvironment) and trainer.local_rank > 0
            raise SystemExit(0 if was_started_by_rank_0 else 128 + self._received)

    def _save(self, trainer: Trainer) -> None:
        run = Path(trainer.default_root_dir)
        trainer.save_checkpoint(run / LastCheckpoint.FILE_NAME, weights_only=False)
        if trainer.is_global_zero:
            name, command = signal.Signals(self._received).name, self.resume_command.replace("{run}", str(run))
            print(f"stopped by {name} after step {trainer.global_step}; resume with: {command}", file=sys.stderr)

    def _restore_handlers(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}


def _mark_validation_pending(trainer: Trainer) -> None:
    """Set the validation loop's counters to "inside the first batch": a resumed run then does all of it again."""
    progress = trainer.fit_loop.epoch_loop.val_loop.batch_progress
    total, current = cast(_ProcessedTracker, progress.total), cast(_ProcessedTracker, progress.current)
    total.processed = total.completed = total.completed - current.completed
    current.processed = current.completed = 0
    for counter in (total, current):
        counter.ready = counter.started = counter.completed + 1
