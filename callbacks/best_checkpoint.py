"""The model folders that a run leaves: the best weights it had, and the last.

In: the monitored value after each validation. Out: `<default_root_dir>/best_checkpoint` and `…/last_checkpoint`, each a
Hugging Face model folder. Next: the following stage starts from `best_checkpoint`; picochat.evidence evaluates it.

    val/loss           2.31   1.87   1.92   1.85   1.90  (end of fit)
    best_checkpoint     w      w             w
    last_checkpoint                                         w

Usable in any Lightning project: without a `decoder` and a `chat_tokenizer` on the module, the folder holds the module's
state dict as `model.safetensors`; override `export` to write anything else.

    trainer:
      callbacks:
        - class_path: picochat.callbacks.BestCheckpoint
          init_args: {monitor: val/loss, mode: min}

    Trainer(callbacks=[BestCheckpoint(monitor="val/acc", mode="max")])
"""

import json
import math
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Literal

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_info
from safetensors import SafetensorError
from safetensors.torch import save_model

from picochat.errors import UserError
from picochat.files import atomic_folder, settle


class BestCheckpoint(Callback):
    """Export the weights whenever `monitor` improves, and once more at the end of fit.

    Folders appear whole or not at all. Rank 0 writes. The best value is part of the resumable checkpoint. If the value
    never appears (no validation before the end, say), the last weights are the best there are, and the log says so.

    Args:
        monitor: name of a logged metric; it must be equal on all ranks (`sync_dist`, torchmetrics).
        mode: whether a smaller ("min") or a larger ("max") value is better.
        best_name: folder of the best weights, inside the run folder.
        last_name: folder of the last weights, inside the run folder.
    """

    def __init__(
        self,
        monitor: str = "val/loss",
        mode: Literal["min", "max"] = "min",
        best_name: str = "best_checkpoint",
        last_name: str = "last_checkpoint",
    ) -> None:
        if mode not in ("min", "max"):
            raise UserError(f"mode is {mode!r}; use min when a smaller {monitor} is better, max otherwise")
        self.monitor = monitor
        self.mode = mode
        self.best_name = best_name
        self.last_name = last_name
        self.best_value: float | None = None
        self.best_step: int | None = None

    def export(self, trainer: Trainer, pl_module: LightningModule, folder: Path) -> None:
        """Write the module's present weights to `folder`, atomically. Called on rank 0."""
        decoder, tokenizer = getattr(pl_module, "decoder", None), getattr(pl_module, "chat_tokenizer", None)
        if decoder is None or tokenizer is None:
            try:
                with atomic_folder(folder) as building:
                    save_model(pl_module, str(building / "model.safetensors"))
            except SafetensorError as error:  # a full disk is no OSError to it
                raise UserError(f"cannot write {folder}: {error}") from error
            return
        from picochat.model.checkpoint import save_checkpoint  # other projects' modules need none of the model's code

        provenance = getattr(pl_module, "provenance", None)
        save_checkpoint(folder, decoder, tokenizer, {**(provenance() if provenance else {}), **self._record()})

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        folder = Path(trainer.default_root_dir) / self.best_name
        if trainer.is_global_zero:
            settle(folder)
        # resumed into another folder, which is to hold a best of its own, or behind a best of steps that are done again
        other = not folder.exists() or _step_of(folder) > trainer.global_step
        if trainer.strategy.broadcast(other):
            self.best_value = self.best_step = None

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn != TrainerFn.FITTING or trainer.sanity_checking:
            return
        value = float(trainer.callback_metrics.get(self.monitor, math.nan))
        if trainer.strategy.broadcast(self._improves(value)):  # one decision for all ranks
            before = self.best_value, self.best_step
            self.best_value, self.best_step = value, trainer.global_step
            try:
                self._write(trainer, pl_module, self.best_name)
            except BaseException:  # Ctrl-C, too: last.ckpt must not speak of a best that is not there
                self.best_value, self.best_step = before
                raise

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._write(trainer, pl_module, self.last_name)
        if self.best_value is None:
            rank_zero_info(f"{self.monitor} was never logged, so {self.best_name} holds the last weights")
            self._write(trainer, pl_module, self.best_name)

    def _improves(self, value: float) -> bool:
        if not math.isfinite(value):
            return False
        return self.best_value is None or (value < self.best_value if self.mode == "min" else value > self.best_value)

    def _write(self, trainer: Trainer, pl_module: LightningModule, name: str) -> None:
        if not getattr(trainer, "fast_dev_run", False):
            with getattr(pl_module, "whole_weights", nullcontext)():  # every rank helps to gather what is sharded
                if trainer.is_global_zero:
                    self.export(trainer, pl_module, Path(trainer.default_root_dir) / name)
        trainer.strategy.barrier(name)

    def _record(self) -> dict[str, Any]:
        return {"monitor": {"name": self.monitor, "best_value": self.best_value, "best_step": self.best_step}}

    def state_dict(self) -> dict[str, Any]:
        return {"best_value": self.best_value, "best_step": self.best_step}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best_value = state_dict["best_value"]
        self.best_step = state_dict["best_step"]


def _step_of(folder: Path) -> int:
    """The step of the best weights in a folder; -1 where it does not say."""
    try:
        step = json.loads((folder / "picochat.json").read_bytes())["monitor"]["best_step"]
    except (OSError, ValueError, KeyError, TypeError):
        return -1
    return step if isinstance(step, int) else -1
