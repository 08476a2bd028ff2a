"""Lightning's early stopping, whose patience is a setting and no state.

In: a logged metric. Out: the end of training when it has not improved for so many validations. Next: nothing.

    validation    1     2     3     4     5         patience 2
    loss        2.1   1.9   2.0   1.8   1.9
    waited        0     0     1     0     1         a third in a row without a better one would be the last

Lightning keeps the patience in the checkpoint and takes it from there: a resumed run would not hear of another one.

    trainer:
      callbacks:
        - class_path: picochat.callbacks.EarlyStop
          init_args: {monitor: train/loss, patience: 3}

    Trainer(callbacks=[EarlyStop(monitor="train/loss", patience=3)])
"""

from typing import Any

from lightning.pytorch.callbacks import EarlyStopping


class EarlyStop(EarlyStopping):
    """`lightning.pytorch.callbacks.EarlyStopping` with the patience of the present settings, resumed or not."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict({**state_dict, "patience": self.patience})
