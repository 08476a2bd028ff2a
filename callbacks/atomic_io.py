"""Resumable checkpoints that are whole or absent, and that cannot run code.

In: the dictionary Lightning wants to keep. Out: a file under its final name, complete and on the disk. Next: the same
plugin, when a run resumes.

Lightning's own writer goes through a temporary file in the system's temporary folder and moves it. When that folder is
another file system (a tmpfs, a container's volume) the move is a copy, and a kill during the copy leaves a truncated
`last.ckpt` under its final name, the old one gone. Here the temporary file lies beside its place:

    .last.ckpt.tmp  ── written, fsync ──►  rename ──►  last.ckpt      the old file or the new one, never a part

Usable in any Lightning project:

    trainer:
      plugins: [picochat.callbacks.AtomicCheckpointIO]

    Trainer(plugins=[AtomicCheckpointIO()])
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io import TorchCheckpointIO

from picochat.errors import UserError
from picochat.files import atomic_file


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
        # ddp_fork and ddp_spawn hand the weights alone to the parent process in a file of this name
        whole = isinstance(checkpoint, dict) and ("state_dict" in checkpoint or Path(path).name == ".temp.ckpt")
        if not whole:
            raise UserError(f"{path} is no training checkpoint; name the last.ckpt of a run folder")
        return checkpoint
