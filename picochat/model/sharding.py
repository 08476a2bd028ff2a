"""A model cut up over many devices: FSDP2 through Lightning. In: a decoder, a mesh of devices. Out: the same decoder,
each rank keeping a slice of every tensor. Next: module.

    trainer:
      strategy: fsdp2                                     # ShardedStrategy
      devices: 8                                          # of each machine; num_nodes: machines

Rank r of R keeps rows r·n … (r+1)·n - 1, n = ⌈rows / R⌉, of each tensor, of its gradient and of its optimizer state. A
block's tensors are gathered before it works and let go behind it; embedding, head and last norm stay together, since
the head is used outside of the decoder's forward pass.

    last.ckpt/    .metadata  __0_0.distcp  __1_0.distcp  …  meta.pt       every rank writes its slices

Such a folder is resumed with any number of ranks; picochat.model.slices reads it in one process, for `picochat export`.
Under autocast blocks are gathered in half precision; gradients are summed in float32. Muon's products run over the
slices, which torch sends round for each of them: the same steps but for the rounding of its bfloat16 sums.
"""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.strategies import ModelParallelStrategy
from torch import nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor

from picochat.model.decoder import Decoder
from picochat.model.slices import check_index, settled


class ShardedStrategy(ModelParallelStrategy):
    """FSDP2 over all devices, with checkpoints that are whole or absent.

    Args:
        process_group_backend: nccl, gloo, …; null takes the one for the device.
    """

    def __init__(self, process_group_backend: str | None = None) -> None:
        super().__init__(tensor_parallel_size=1, process_group_backend=process_group_backend)

    def setup_environment(self) -> None:
        """Join the others; data is split over all of them."""
        self._data_parallel_size = self.num_nodes * self.num_processes
        super().setup_environment()

    def save_checkpoint(
        self, checkpoint: dict[str, Any], filepath: str | Path, storage_options: Any | None = None
    ) -> None:
        """Write every rank's slices beside the place, then move the folder there."""
        final = Path(self.broadcast(filepath))
        building, older = (final.with_name(f".{final.name}.{what}") for what in ("tmp", "old"))
        if self.global_rank == 0:
            shutil.rmtree(building, ignore_errors=True)
        self.barrier()
        super().save_checkpoint(checkpoint, building, storage_options)
        self.barrier()
        if self.global_rank == 0:
            _replace(final, building, older)
        self.barrier()

    def load_checkpoint(self, checkpoint_path: str | Path, weights_only: bool | None = None) -> dict[str, Any]:
        """Read a folder of slices; it may hold tensors and plain values only."""
        folder = settled(Path(checkpoint_path))
        check_index(folder)
        return super().load_checkpoint(folder, weights_only=True)

    def load_optimizer_state_dict(self, checkpoint: Mapping[str, Any]) -> None:
        """Nothing: `load_checkpoint` did."""


def shard(decoder: Decoder, mesh: DeviceMesh, *, half: bool) -> None:
    """Cut a decoder up, in place.

    Args:
        mesh: one-dimensional, over all ranks.
        half: gather blocks in bfloat16, as autocast would convert them anyway.
    """
    blocks = MixedPrecisionPolicy(
        param_dtype=torch.bfloat16 if half else None, reduce_dtype=torch.float32, cast_forward_inputs=False
    )
    for block in decoder.model.layers:
        fully_shard(block, mesh=mesh, mp_policy=blocks)
    # The embedding stays in float32, and with it the residual stream. It is not let go behind the forward pass: the
    # head's turn comes after that.
    fully_shard(decoder, mesh=mesh, reshard_after_forward=False)


def is_sharded(module: nn.Module) -> bool:
    """Whether a module's weights are slices."""
    return any(isinstance(parameter, DTensor) for parameter in module.parameters())


@contextmanager
def whole(module: Any) -> Iterator[None]:
    """While it lasts ``module.decoder`` is whole on every rank; all ranks have to enter. For decoders that are whole
    already, and other projects' modules, nothing happens."""
    decoder = getattr(module, "decoder", None)
    if not isinstance(decoder, Decoder) or not is_sharded(decoder):
        yield
        return
    state = get_model_state_dict(decoder, options=StateDictOptions(full_state_dict=True))
    with torch.device("meta"):
        copy = Decoder(decoder.config)
    copy.load_state_dict(state, assign=True)
    if decoder.config.tie_word_embeddings:
        copy.lm_head.weight = copy.model.embed_tokens.weight
    module.decoder = copy.train(decoder.training)
    try:
        yield
    finally:
        module.decoder = decoder


def _replace(final: Path, building: Path, older: Path) -> None:
    """A folder cannot be replaced in one step; a kill between the two leaves the older one, which `settled` finds."""
    if final.exists():
        shutil.rmtree(older, ignore_errors=True)
        final.replace(older)
    building.replace(final)
    shutil.rmtree(older, ignore_errors=True) if older.is_dir() else older.unlink(missing_ok=True)
