"""A Lightning project in thirty lines that knows nothing of picochat, for the callbacks to be tried in."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset


class Line(LightningModule):
    """Fits y = 2x - 1 by AdamW. `losses` and `rates` hold what each training batch saw."""

    def __init__(self, lr: float = 0.1, spoil: Callable[[int], float] | None = None) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
        torch.nn.init.constant_(self.layer.weight, 0.5)
        torch.nn.init.zeros_(self.layer.bias)
        self.lr = lr
        self.spoil = spoil  # factor on the loss of the step under way (counted from 1): nan or huge makes a bad batch
        self.losses: list[float] = []
        self.rates: list[float] = []

    def error(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        x, y = batch
        return ((self.layer(x) - y) ** 2).mean()

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        loss = self.error(batch)
        if self.spoil is not None:
            loss = loss * self.spoil(self.trainer.global_step + 1)
        self.losses.append(loss.item())
        self.rates.append(self.trainer.optimizers[0].param_groups[0]["lr"])
        self.log("train/loss", loss)
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self.log("val/loss", self.error(batch), sync_dist=True)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=self.lr)


def loader(rows: int = 64, batch_size: int = 2) -> DataLoader[Any]:
    x = torch.linspace(-1, 1, rows).unsqueeze(1)
    return DataLoader(TensorDataset(x, 2 * x - 1), batch_size=batch_size)


def trainer(root: Path, callbacks: list[Callback], **settings: Any) -> Trainer:
    """A silent CPU trainer of a few steps that writes only below `root`."""
    defaults: dict[str, Any] = {
        "accelerator": "cpu",
        "devices": 1,
        "max_steps": 8,
        "logger": False,
        "log_every_n_steps": 1,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
        "default_root_dir": root,
    }
    return Trainer(callbacks=callbacks, **defaults | settings)


def weights(module: LightningModule) -> dict[str, list[float]]:
    return {name: tensor.flatten().tolist() for name, tensor in module.state_dict().items()}
