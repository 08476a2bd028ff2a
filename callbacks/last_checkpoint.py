"""A `last.ckpt` from which a killed run goes on as if nothing had happened; whole or absent, and unable to run code.

In: the trainer's whole state. Out: `<default_root_dir>/last.ckpt`, overwritten every so many optimizer steps and at the
end of fit. Next: `fit --ckpt_path <run>/last.ckpt`.

    step           48    49    50    51   …   100
    validation                                 v        (val_check_interval 100)
    last.ckpt                   x                 x     every_n_steps 50; at 100 it waits for the validation

Why not ModelCheckpoint(every_n_train_steps=50): it saves before the validation of the same step, and a run that resumes
there never does that validation, so its best checkpoint may differ from that of an undisturbed run. Why not Lightning's
own writer: it moves a file from the system's temporary folder, which may be another file system; the move is a copy
then, and a kill during the copy leaves half of a `last.ckpt` and nothing of the one before.

    Trainer(callbacks=[LastCheckpoint(every_n_steps=50)], plugins=[AtomicCheckpointIO()])
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
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
        """Once every `every_n_steps`, but not at the very last step: nothing would run after a resume from there, so
        that one waits until the other callbacks have written their last files."""
        return trainer.global_step % self.every_n_steps == 0 and trainer.global_step != trainer.max_steps

    def _save(self, trainer: Trainer) -> None:
        """All ranks together. With accumulation several batches end at the same step; only the first of them saves."""
        if trainer.global_step == self._saved_step or getattr(trainer, "fast_dev_run", False):
            return
        self._saved_step = trainer.global_step
        trainer.save_checkpoint(Path(trainer.default_root_dir) / self.FILE_NAME, weights_only=False)


def validation_follows(trainer: Trainer) -> bool:
    """Whether Lightning validates right after this batch; rank 0 answers for all, since it may be a matter of time."""
    loop = trainer.fit_loop
    follows = loop._data_fetcher is not None and loop.epoch_loop._should_check_val_fx(loop._data_fetcher)
    return bool(trainer.strategy.broadcast(follows))


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
