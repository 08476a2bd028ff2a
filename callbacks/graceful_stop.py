"""Ctrl-C and SIGTERM end training after the step under way, with a checkpoint to resume from.

In: a signal. Out: `<default_root_dir>/last.ckpt`, one line that says how to go on, and the exit status a shell expects.
Next: `fit --ckpt_path <run>/last.ckpt`, which continues as if nothing had happened.

    signal        SIGINT (Ctrl-C)   SIGTERM   SIGUSR1 (SLURM: --signal=USR1@90)
    exit status   130               143       138

Lightning alone throws KeyboardInterrupt into the middle of a step, saves nothing and exits with 1.

Usable in any Lightning project (with AtomicCheckpointIO among the trainer's plugins the file is always whole):

    trainer:
      callbacks:
        - class_path: picochat.callbacks.GracefulStop
          init_args: {resume_command: "python train.py fit --ckpt_path {run}/last.ckpt"}

    Trainer(callbacks=[GracefulStop()], plugins=[AtomicCheckpointIO()])
"""

import os
import signal
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.trainer.states import TrainerFn

from picochat.callbacks.last_checkpoint import LastCheckpoint, validation_follows


class GracefulStop(Checkpoint):
    """Stop at the end of the optimizer step in which a signal arrives; if that step's validation is due, after it.

    All ranks stop together, whichever of them got the signal. A second Ctrl-C ends the process at once. A SIGUSR1 that
    already has a handler (Lightning's requeueing under SLURM) is left to it.

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
        self._before: dict[signal.Signals, Any] = {}  # the handlers that were there

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._received = 0
        self._step = trainer.global_step
        if threading.current_thread() is not threading.main_thread():
            return  # Python allows handlers in the main thread only; a notebook's worker has its own ways to stop
        for number in self.SIGNALS:
            if number != signal.SIGUSR1 or signal.getsignal(number) == signal.SIG_DFL:
                self._before[number] = signal.signal(number, self._receive)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.global_step != self._step and not validation_follows(trainer):  # not in the middle of accumulation
            self._stop_if_asked(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking and trainer.global_step != self._step:
            self._stop_if_asked(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._restore_handlers()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._restore_handlers()

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self._received and number == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGINT)
        self._received = number
        os.write(2, b"\nstopping after this step (Ctrl-C again: at once)\n")

    def _stop_if_asked(self, trainer: Trainer) -> None:
        self._step = trainer.global_step
        received = torch.tensor(self._received, device=trainer.strategy.root_device)
        number = int(trainer.strategy.reduce(received, reduce_op="max"))
        # At the last step the run ends by itself.
        if number and trainer.global_step != trainer.max_steps:
            run = Path(trainer.default_root_dir)
            trainer.save_checkpoint(run / LastCheckpoint.FILE_NAME, weights_only=False)
            if trainer.is_global_zero:
                name, command = signal.Signals(number).name, self.resume_command.replace("{run}", str(run))
                print(f"stopped by {name} after step {trainer.global_step}; resume with: {command}", file=sys.stderr)
            raise SystemExit(128 + number)

    def _restore_handlers(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}
