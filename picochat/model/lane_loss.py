"""Losses by lane of the mixture. In: nll and lanes of supervised positions. Out: means per token. Next: module."""

import torch
from torch import Tensor
from torchmetrics import Metric


class LaneLoss(Metric):
    """Negative log-likelihood per supervised token, in all and per lane; sums are reduced over ranks, means are not.

    Args:
        lanes: the names that `lane_ids` of a batch index.
        dtype: of the sums.
    """

    higher_is_better = False
    full_state_update = False
    nll: Tensor
    tokens: Tensor

    def __init__(self, lanes: list[str], dtype: torch.dtype = torch.float64) -> None:
        super().__init__()
        self.lanes = lanes
        self.add_state("nll", torch.zeros(len(lanes), dtype=dtype), dist_reduce_fx="sum")
        self.add_state("tokens", torch.zeros(len(lanes), dtype=dtype), dist_reduce_fx="sum")

    def update(self, nll: Tensor, lane_ids: Tensor) -> None:
        """Add supervised positions: nll [n] in nats, lane_ids [n]."""
        lane_ids = lane_ids.long()
        self.nll.index_add_(0, lane_ids, nll.to(self.nll.dtype))
        self.tokens.index_add_(0, lane_ids, torch.ones_like(nll, dtype=self.tokens.dtype))

    def compute(self) -> dict[str, Tensor]:
        """{"loss": nats per token, "loss/<lane>": …} with the lanes that had tokens."""
        result = {"loss": self.nll.sum() / self.tokens.sum()}
        for lane, nll, tokens in zip(self.lanes, self.nll, self.tokens, strict=True):
            if tokens > 0:
                result[f"loss/{lane}"] = nll / tokens
        return result
