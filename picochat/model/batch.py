"""What a training step takes. Made by datamodules, consumed by model.module. `B` packed rows, `T` = context length."""

from typing import NamedTuple

from torch import Tensor

IGNORE_INDEX = -100  # torch's own default: a label outside the loss mask


class Batch(NamedTuple):
    """One micro-batch of packed rows.

    Two documents, [BOS a b END] and [BOS c END], packed into a row of eight; only "b END" and "c END" are answers.
    An example of n tokens takes n - 1 positions, because inputs and targets are shifted here, once, for each document:

        input_ids     BOS   a    b  BOS   c  PAD  PAD  PAD
        labels       -100   b  END    c END -100 -100 -100      labels[t] is the target OF position t (already shifted)
        position_ids    0   1    2    0   1    0    1    2
        document_ids    1   1    1    2   2    0    0    0      0 = padding
        lane_ids        4   4    4    0   0   -1   -1   -1      index into the datamodule's `lanes`

    The last two fields are found before the batch moves to a device, which then need not be waited for.
    """

    input_ids: Tensor  # [B, T] int64
    labels: Tensor  # [B, T] int64, `IGNORE_INDEX` outside the loss mask; never needs another shift
    position_ids: Tensor  # [B, T] int64, restarts at 0 with every document
    document_ids: Tensor  # [B, T] int32, 1, 2, … within each row, 0 on padding; attention stays inside equal ids
    lane_ids: Tensor  # [B, T] int16, -1 on padding; which lane of the mixture a position belongs to
    step_tokens: Tensor  # [] int64, supervised tokens of the WHOLE step on all ranks; of this batch in validation
    cu_seqlens: Tensor  # [documents + 1] int32, where documents and padding begin, then B · T; above, 0 3 5 8
    supervised: Tensor  # [n] int64, places of supervised labels in the flattened batch; above, 1 2 3 4
