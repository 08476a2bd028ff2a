"""`last.ckpt`, from which a killed or stopped run goes on as if nothing had happened. In: the trainer's whole state, a
signal. Out: `<default_root_dir>/last.ckpt`, whole or absent, and unable to run code. Next: `fit --ckpt_path`.

    step           48    49    50    51   …   99    100   SIGTERM          resumed    100                 101
    validation                                       v ──────┤                         v (all of it) ──►
    last.ckpt                   x                            x of step 100, validation due

    signal        SIGINT (Ctrl-C)   SIGTERM   SIGUSR1 (SLURM: --signal=USR1@90)
    exit status   130               143       138

ModelCheckpoint(every_n_train_steps=50) saves before the validation of the same step, and a run that resumes there never
does it. Lightning's own writer moves a file from the system's temporary folder: on another file system that is a copy,
and a kill during it leaves half of a `last.ckpt` and nothing of the one before.

    Trainer(callbacks=[LastCheckpoint(every_n_steps=50), GracefulStop()], plugins=[AtomicCheckpointIO()])
"""

import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, cast

import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.plugins.io import TorchCheckpointIO
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.loops.progress import _ProcessedTracker
from lightning.pytorch.trainer.states import TrainerFn

from picochat.errors import UserError
from picochat.files import atomic_file


class LastCheckpoint(Checkpoint):
    """Save the resumable state every `every_n_steps` optimizer steps, after that step's validation if it has one.

    Args:
        every_n_steps: optimizer steps (not micro-batches) between two saves; a kill loses at most this many.
    """

    FILE_NAME = "last.ckpt"

    def __init__(self, every_n_steps: int = 100) -> None:
        if every_n_steps < 1:
            raise UserError(f"every_n_steps is {every_n_steps}; use the number of optimizer steps between two saves")
        self.every_n_steps = every_n_steps
        self._saved_step = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._saved_step = trainer.global_step

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self._due(trainer) and not validation_follows(trainer):
            self._save(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking and self._due(trainer):
            self._save(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._save(trainer)

    def _due(self, trainer: Trainer) -> bool:
        # not at the very last step: nothing would run after a resume from there, and others have files yet to write
        return trainer.global_step % self.every_n_steps == 0 and trainer.global_step != trainer.max_steps

    def _save(self, trainer: Trainer) -> None:
        """All ranks together. With accumulation several batches end at the same step; only the first of them saves."""
        if trainer.global_step != self._saved_step and not getattr(trainer, "fast_dev_run", False):
            self._saved_step = trainer.global_step
            trainer.save_checkpoint(Path(trainer.default_root_dir) / self.FILE_NAME, weights_only=False)


class GracefulStop(Checkpoint):
    """Stop at the end of the optimizer step in which a signal arrives, or inside a validation of a run of one rank.

    At the last step of a run the signal is too late. All ranks stop together, whichever of them got it. A second Ctrl-C
    ends the process at once. A SIGUSR1 that already has a handler (Lightning's requeueing) is left to it.

    Args:
        resume_command: the command that is printed; `{run}` stands for the run folder.
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)

    def __init__(
        self, resume_command: str = "picochat fit --config {run}/config.yaml --ckpt_path {run}/last.ckpt"
    ) -> None:
        self.resume_command = resume_command
        self._received = self._step = self._process = 0
        self._may_interrupt = False  # inside a validation of a run of one rank
        self._before: dict[signal.Signals, Any] = {}  # the handlers that were there

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._received, self._step, self._process = 0, trainer.global_step, os.getpid()
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


class _ValidationInterrupted(SystemExit):
    """Raised by the signal handler, inside a validation."""


class AtomicCheckpointIO(TorchCheckpointIO):
    """Write checkpoints atomically; read them with `weights_only`, so a hostile file is refused and not executed."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        intact = "; the previous one is intact" if Path(path).exists() else ""
        try:
            with atomic_file(path, "wb") as file:
                torch.save(checkpoint, file)
        except UserError as error:
            raise UserError(f"{error}{intact}") from error
        except RuntimeError as error:  # torch reports a full disk as a RuntimeError of its zip writer
            raise UserError(f"cannot write {path}: is the disk full? ({error}){intact}") from error

    def load_checkpoint(
        self,
        path: str | Path,
        map_location: Callable[..., Any] | None = lambda storage, location: storage,
        weights_only: bool | None = None,
    ) -> dict[str, Any]:
        """Read a checkpoint; `weights_only` is always true.

        Raises:
            UserError: the file is missing, cut short, or holds anything but tensors and plain values.
        """
        if not Path(path).is_file():
            raise UserError(f"checkpoint {path} does not exist; name the last.ckpt of a run folder")
        try:
            checkpoint = super().load_checkpoint(path, map_location, weights_only=True)
        except OSError as error:
            raise UserError(f"cannot read {path}: {error.strerror}") from error
        except Exception as error:  # arbitrary bytes make the unpickler fail in arbitrary ways
            raise UserError(
                f"{path} cannot be resumed: it is damaged, or holds more than tensors and plain values; "
                "name a last.ckpt that picochat wrote"
            ) from error
        # ddp_fork and ddp_spawn pass the weights alone to the parent process in a file of this name
        whole = isinstance(checkpoint, dict) and ("state_dict" in checkpoint or Path(path).name == ".temp.ckpt")
        if not whole:
            raise UserError(f"{path} is not a training checkpoint; name the last.ckpt of a run folder")
        return checkpoint


def validation_follows(trainer: Trainer) -> bool:
    """Whether Lightning validates right after this batch; rank 0 answers for all, since it may be a matter of time."""
    loop = trainer.fit_loop
    follows = loop._data_fetcher is not None and loop.epoch_loop._should_check_val_fx(loop._data_fetcher)
    return bool(trainer.strategy.broadcast(follows))


def _mark_validation_pending(trainer: Trainer) -> None:
    """Set the validation loop's counters to "inside the first batch": a resumed run does all of it again."""
    progress = trainer.fit_loop.epoch_loop.val_loop.batch_progress
    total, current = cast(_ProcessedTracker, progress.total), cast(_ProcessedTracker, progress.current)
    total.processed = total.completed = total.completed - current.completed
    current.processed = current.completed = 0
    for counter in (total, current):
        counter.ready = counter.started = counter.completed + 1
