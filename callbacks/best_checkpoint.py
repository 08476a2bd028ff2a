"""The model folders that a run leaves, and early stopping. In: the monitored value after each validation. Out:
`<default_root_dir>/best_checkpoint` and `…/last_checkpoint`. Next: the following stage, or picochat.evidence.

    val/loss           2.31   1.87   1.92   1.85   1.90   1.88       patience 2
    best_checkpoint     w      w             w
    waited              0      0      1      0      1      2   stop: two validations in a row without a better one
    last_checkpoint                                         w

    Trainer(callbacks=[BestCheckpoint(monitor="val/acc", mode="max", patience=3)])
"""

import json
import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any, Literal, cast

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import WeightAveraging
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_info
from safetensors import SafetensorError
from safetensors.torch import save_model

from picochat.errors import UserError, refuse_unknown
from picochat.files import atomic_folder, settle

BEST, LAST = "best_checkpoint", "last_checkpoint"


class BestCheckpoint(Callback):
    """Export the weights whenever `monitor` improves, and once more at the end of fit.

    Each is a Hugging Face model folder; of a module without `decoder` and `chat_tokenizer`, its state dict as
    `model.safetensors`. If the value never appears, the last weights are the best there are, and the log says so.

    Args:
        monitor: name of a logged metric; it must be equal on all ranks (`sync_dist`, torchmetrics).
        mode: whether a smaller ("min") or a larger ("max") value is better.
        patience: validations in a row without an improvement after which training stops; null: never.
    """

    def __init__(
        self, monitor: str = "val/loss", mode: Literal["min", "max"] = "min", patience: int | None = None
    ) -> None:
        refuse_unknown("mode", mode, ("min", "max"))
        if patience is not None and patience < 1:
            raise UserError(f"patience is {patience}; use a number of validations from 1, or null to never stop")
        self.monitor, self.mode, self.patience = monitor, mode, patience
        self.best_value: float | None = None
        self.best_step: int | None = None
        self.waited = 0  # validations since the best one

    def export(self, trainer: Trainer, pl_module: LightningModule, folder: Path) -> None:
        """Write the module's present weights to `folder`, atomically, on rank 0; override it to write anything else."""
        decoder, tokenizer = getattr(pl_module, "decoder", None), getattr(pl_module, "chat_tokenizer", None)
        if decoder is None or tokenizer is None:
            try:
                with atomic_folder(folder) as building:
                    save_model(pl_module, str(building / "model.safetensors"))
            except SafetensorError as error:  # a full disk is no OSError to it
                raise UserError(f"cannot write {folder}: {error}") from error
            return
        from picochat.model.checkpoint import save_checkpoint  # other projects' modules need none of the model's code

        provenance: dict[str, Any] = getattr(pl_module, "provenance", dict)()
        best = {"name": self.monitor, "best_value": self.best_value, "best_step": self.best_step}
        dtype = getattr(torch, getattr(pl_module, "weights_dtype", None) or "float32")
        save_checkpoint(folder, decoder, tokenizer, {**provenance, "monitor": best}, dtype)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        folder = Path(trainer.default_root_dir) / BEST
        if trainer.is_global_zero:
            settle(folder)
        # resumed in another folder, which is to hold a best of its own, or before the step of the best
        other = not folder.exists() or _step_of(folder) > trainer.global_step
        if trainer.strategy.broadcast(other):
            self.best_value = self.best_step = None

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn != TrainerFn.FITTING or trainer.sanity_checking:
            return
        if self.monitor not in trainer.callback_metrics:
            return  # there is nothing that did not improve
        value = float(trainer.callback_metrics[self.monitor])
        if trainer.strategy.broadcast(self._improves(value)):  # one decision for all ranks
            self.best_value, self.best_step, self.waited = value, trainer.global_step, 0
            self._write(trainer, pl_module, BEST)
            return
        self.waited += 1
        if self.patience is not None and self.waited >= self.patience:
            rank_zero_info(f"{self.monitor} did not improve in {self.waited} validations: training stops")
            trainer.should_stop = True

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._write(trainer, pl_module, LAST)
        if self.best_value is None:
            rank_zero_info(f"{self.monitor} was never logged, so {BEST} holds the last weights")
            self._write(trainer, pl_module, BEST)

    def _improves(self, value: float) -> bool:
        if not math.isfinite(value):
            return False
        return self.best_value is None or (value < self.best_value if self.mode == "min" else value > self.best_value)

    def _write(self, trainer: Trainer, pl_module: LightningModule, name: str) -> None:
        if not getattr(trainer, "fast_dev_run", False):
            whole = getattr(pl_module, "whole_weights", nullcontext)  # every rank helps to gather what is sharded
            with averaged_weights(pl_module, cast(Any, trainer).callbacks), whole():
                if trainer.is_global_zero:
                    self.export(trainer, pl_module, Path(trainer.default_root_dir) / name)
        trainer.strategy.barrier(name)

    def state_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("monitor", "mode", "best_value", "best_step", "waited")}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        own = self.state_dict()  # a best of another metric, or the other way round, is none
        if all(state_dict.get(name, own[name]) == own[name] for name in ("monitor", "mode")):
            self.best_value, self.best_step = state_dict["best_value"], state_dict["best_step"]
            self.waited = state_dict["waited"]


@contextmanager
def averaged_weights(pl_module: LightningModule, callbacks: Sequence[Callback]) -> Iterator[None]:
    """While it lasts, the module has the weights that validation measures: averaged ones, if one of these averages."""
    with ExitStack() as stack:
        for callback in callbacks:
            if isinstance(callback, WeightAveraging) and callback._average_model is not None:
                callback._swap_models(pl_module)
                stack.callback(callback._swap_models, pl_module)
        yield


def _step_of(folder: Path) -> int:
    """The step of the best weights in a folder, where it says it."""
    written = folder / "picochat.json"
    return int(json.loads(written.read_bytes())["monitor"]["best_step"] or 0) if written.is_file() else 0
