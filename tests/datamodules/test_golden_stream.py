"""The stream of batches is the same to the byte as ever: a run that is resumed with a newer picochat goes on in it."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from torch.utils.data import DataLoader

from picochat.datamodules.batches import Examples, split_rows, whole_rows
from picochat.datamodules.loaders import TrainBatches
from picochat.datamodules.plan import DataPlan, Split
from picochat.datamodules.store import Chunk, TokenStore, build_store

GOLDEN = {  # (seed, alpha, packing, documents cut) → sha256 of what three ranks read in four steps of two micro-batches
    (1, 1.0, "bos_bestfit", False): "fd8801957c6896e95662cc1b0cc5b22f925c0e3bcf8e7bfd66eb6afbe75c7c75",
    (42, 0.5, "bos_bestfit", False): "d825fa34d2dbf0805fb04ebe186fac38d25153f5bc385c14fbdf70f4d40a7acc",
    (42, 0.0, "separate", False): "0d5759e33e30dc5e3b1a9d25cee604d3e3a04ac88122eb789a6a1bd9c261322a",
    (42, 1.0, "bos_bestfit", True): "b6aecd35e74ee043da03fc5aaa6653b0fe4413435b36af8c15d3afe5d8495d95",
}


def numbered(folder: Path) -> TokenStore:
    """300 rows of 5 to 54 tokens in three lanes; about half of the tokens in the loss mask."""
    lengths = 5 + np.arange(300) * 7 % 50
    tokens = np.arange(lengths.sum()) * 31 % 997
    rows = np.arange(300)
    lanes = {"category": [f"lane {row % 10 // 4}" for row in range(300)]}
    return build_store(folder / "store", [Chunk(tokens, lengths, tokens % 2, rows, rows, rows, lanes)], 1000, {})


@pytest.mark.parametrize("settings", GOLDEN, ids=str)
def test_three_ranks_read_the_bytes_that_they_always_read(
    tmp_path: Path, settings: tuple[int, float, str, bool]
) -> None:
    seed, alpha, packing, cut = settings
    store = numbered(tmp_path)
    lanes = store.tag("category")[1]
    examples: Examples = (
        split_rows(store, np.arange(300), 40, 3, (0,)) if cut else whole_rows(store, np.arange(300), lanes)
    )
    columns = (examples.lengths, examples.supervised, examples.lanes)
    plan = DataPlan(*columns, capacity=40 if cut else 64, seed=seed, alpha=alpha, packing=packing, block_size=70)  # type: ignore[arg-type]
    split = Split(batch_size=2, accumulate=2, world_size=3)
    digest = hashlib.sha256(plan.fingerprint.encode())
    for rank in range(3):
        batches = TrainBatches(examples, 999, plan, split, rank)
        for batch in DataLoader(batches, batch_size=None, sampler=range(8)):
            for tensor in batch[:6]:  # the rest follows from these
                digest.update(tensor.numpy().tobytes())
    assert digest.hexdigest() == GOLDEN[settings]
