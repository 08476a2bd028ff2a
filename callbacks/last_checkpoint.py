"""`last.ckpt`, from which a killed or stopped run goes on as if nothing had happened. In: the trainer's whole state, a
signal. Out: `<default_root_dir>/last.ckpt`, whole or absent, and unable to run code. Next: `fit --ckpt_path`.

    step          48    49    50   51  …  99   SIGTERM   100              resumed   101
    validation                 v                          v
    last.ckpt                  x                          x of step 100

    signal        SIGINT (Ctrl-C)   SIGTERM   SIGUSR1 (SLURM: --signal=USR1@300)
    exit status   130               143       138

ModelCheckpoint(every_n_train_steps=50) saves before the validation of the same step, and a run that resumes there never
does it. Lightning's own writer moves a file from the system's temporary folder: on another file system that is a copy,
and a kill during it leaves half of a `last.ckpt` and nothing of the one before.

    Trainer(callbacks=[LastCheckpoint(every_n_steps=50), GracefulStop()], plugins=[AtomicCheckpointIO()])
"""

import os
import shlex
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.plugins.io import TorchCheckpointIO
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
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
    """Stop at the end of the optimizer step in which a signal arrives, after its validation if it has one.

    At the last step of a run the signal is too late. All ranks stop together, whichever of them got it. A second Ctrl-C
    ends the process at once. A SIGUSR1 that already has a handler (Lightning's requeueing) is left to it.
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)

    def __init__(self) -> None:
        self._received = self._step = self._process = 0
        self._before: dict[signal.Signals, Any] = {}  # the handlers that were there

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._received, self._step, self._process = 0, trainer.global_step, os.getpid()
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

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking:
            self._stop_if_asked(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._restore_handlers()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._restore_handlers()

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:
            return  # a loader worker, forked with this handler: Ctrl-C reaches it too, and the run ends it
        if self._received and number == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGINT)
        self._received = number
        os.write(2, b"\nstopping after this step (Ctrl-C again: at once)\n")

    def _stop_if_asked(self, trainer: Trainer) -> None:
        self._step = trainer.global_step
        received = torch.tensor(self._received, device=trainer.strategy.root_device)
        self._received = int(trainer.strategy.reduce(received, reduce_op="max"))
        if self._received and trainer.global_step != trainer.max_steps:
            run = Path(trainer.default_root_dir)
            trainer.save_checkpoint(run / LastCheckpoint.FILE_NAME, weights_only=False)
            if trainer.is_global_zero:
                name, last = signal.Signals(self._received).name, str(run / LastCheckpoint.FILE_NAME)
                command = ["picochat", "fit", "--config", str(run / "config.yaml"), "--ckpt_path", last]
                remedy = f"with: {shlex.join(command)}" if (run / "config.yaml").is_file() else f"from {last}"
                print(f"stopped by {name} after step {trainer.global_step}; resume {remedy}", file=sys.stderr)
            # Lightning's launcher kills rank 0, perhaps before it has printed this, when a rank that it started fails.
            environment = getattr(trainer.strategy, "cluster_environment", None)
            was_started_by_rank_0 = isinstance(environment, LightningEnvironment) and trainer.local_rank > 0
            raise SystemExit(0 if was_started_by_rank_0 else 128 + self._received)

    def _restore_handlers(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}


class AtomicCheckpointIO(TorchCheckpointIO):
    """Write checkpoints atomically; read them with `weights_only`, so a hostile file is refused and not executed."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        try:
            with atomic_file(path, "wb") as file:
                torch.save(checkpoint, file)
        except RuntimeError as error:  # torch reports a full disk as a RuntimeError of its zip writer
            raise UserError(f"cannot write {path}: is the disk full? ({error})") from error

    def load_checkpoint(
        self,
        path: str | Path,
        map_location: Callable[..., Any] | None = lambda storage, location: storage,
        weights_only: bool | None = None,
    ) -> dict[str, Any]:
        """Read a checkpoint; `weights_only` is always true.

        Raises:
            UserError: the file cannot be read, is cut short, or holds anything but tensors and plain values.
        """
        try:
            checkpoint = super().load_checkpoint(path, map_location, weights_only=True)
        except OSError as error:
            raise UserError(f"cannot read {path}: {error.strerror or error}") from error
        except Exception as error:  # arbitrary bytes make the unpickler fail in arbitrary ways
            raise UserError(
                f"{path} cannot be resumed: it is damaged, or holds more than tensors and plain values; "
                "name a last.ckpt that picochat wrote"
            ) from error
        # ddp_fork and ddp_spawn pass the weights alone to the parent process in a file of this name
        if not isinstance(checkpoint, dict) or not ("state_dict" in checkpoint or Path(path).name == ".temp.ckpt"):
            raise UserError(f"{path} is not a training checkpoint; name the last.ckpt of a run folder")
        return checkpoint


def validation_follows(trainer: Trainer) -> bool:
    """Whether Lightning validates right after this batch; rank 0 answers for all, since it may be a matter of time."""
    loop = trainer.fit_loop
    follows = loop._data_fetcher is not None and loop.epoch_loop._should_check_val_fx(loop._data_fetcher)
    return bool(trainer.strategy.broadcast(follows))
