"""Next-token loss of the supervised positions, and only of them. In: hidden states, labels. Next: module.

    labels     -100   b  END  -100  END  -100          (already shifted: labels[t] is the target of position t)
    gathered            b  END        END              3 rows of the head and the softmax instead of 6

The head multiplies only gathered rows. Where rows × vocabulary would be large, it goes in chunks whose logits are made
again in the backward pass, so no more than one chunk of logits exists at any time.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the field's name
from torch.utils.checkpoint import checkpoint
from torchmetrics import Metric

from picochat.model.batch import IGNORE_INDEX, Batch
from picochat.model.decoder import Decoder
from picochat.model.sizes import LOGITS_AT_ONCE


def supervised_nll(
    decoder: Decoder,
    hidden: Tensor,
    labels: Tensor,
    logits_at_once: int = LOGITS_AT_ONCE,
    supervised: Tensor | None = None,
) -> Tensor:
    """Negative log-likelihood [n], in nats, of every supervised position in row-major order; float32.

    ``hidden`` [B, T, hidden_size] is that of `Decoder.forward`; ``labels`` [B, T] and ``supervised`` [n] (None: found
    in the labels) are those of a `Batch`. More than ``logits_at_once`` entries of logits are taken in chunks.
    """
    flat = labels.flatten()
    if supervised is None:
        supervised = (flat != IGNORE_INDEX).nonzero().flatten()
    rows, targets = hidden.flatten(0, 1).index_select(0, supervised), flat.index_select(0, supervised)
    chunk = max(1, logits_at_once // decoder.config.vocab_size)
    if len(rows) <= chunk:
        return _nll(decoder, rows, targets)
    parts = [
        checkpoint(_nll, decoder, rows[i : i + chunk], targets[i : i + chunk], use_reentrant=False)
        for i in range(0, len(rows), chunk)
    ]
    return torch.cat(parts)


def _nll(decoder: Decoder, rows: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(decoder.logits(rows).float(), targets, reduction="none")


def by_example(nll: Tensor, batch: Batch) -> dict[str, Tensor]:
    """The losses of the E examples of a batch, in its order, from the ``nll`` [n] of its supervised positions.

    document_ids    1   1   1   2   2   0         nll   .5  .1  .3 .2                sums in nats
    labels       -100   b END   c END  -100   ►   {"nll": [.6, .5], "tokens": [2, 2], "lanes": [4, 0]}
    """
    row = torch.arange(len(batch.labels), device=nll.device)[:, None] * (batch.labels.shape[1] + 1)
    example, lane = (ids.flatten()[batch.supervised] for ids in (row + batch.document_ids, batch.lane_ids))
    _, place, tokens = torch.unique(example, return_inverse=True, return_counts=True)
    lanes = torch.zeros_like(tokens).index_copy_(0, place, lane.long())
    return {"nll": nll.new_zeros(len(tokens)).index_add_(0, place, nll), "tokens": tokens, "lanes": lanes}


class LaneLoss(Metric):
    """Negative log-likelihood per supervised token, in all and for each of the ``lanes`` that `lane_ids` index."""

    higher_is_better = False
    full_state_update = False
    nll: Tensor
    tokens: Tensor

    def __init__(self, lanes: list[str], dtype: torch.dtype = torch.float64) -> None:
        super().__init__()
        self.lanes = lanes
        for name in ("nll", "tokens"):
            self.add_state(name, torch.zeros(len(lanes), dtype=dtype), dist_reduce_fx="sum")  # of all ranks

    def update(self, nll: Tensor, lane_ids: Tensor) -> None:
        """Add supervised positions: nll [n] in nats, lane_ids [n]."""
        lane_ids = lane_ids.long()
        self.nll.index_add_(0, lane_ids, nll.to(self.nll.dtype))
        self.tokens.index_add_(0, lane_ids, torch.ones_like(nll, dtype=self.tokens.dtype))

    def _apply(self, fn: Callable[[Tensor], Tensor], exclude_state: Sequence[str] = "") -> torch.nn.Module:
        """Move the sums, and keep their format: in bfloat16 (`precision: bf16-true`) they would stop growing at 256."""
        return super()._apply(lambda tensor: tensor.to(fn(tensor).device), exclude_state)

    def compute(self) -> dict[str, Tensor]:
        """{"loss": nats per token, "loss/<lane>": …} with the lanes that had tokens."""
        lanes = zip(self.lanes, self.nll, self.tokens, strict=True)
        means = {f"loss/{lane}": nll / tokens for lane, nll, tokens in lanes if tokens > 0}
        return {"loss": self.nll.sum() / self.tokens.sum(), **means}
