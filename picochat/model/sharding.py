"""Sharded models: FSDP2 through Lightning (`trainer.strategy: fsdp2`). In: a decoder, a mesh of devices. Out: the same
decoder, of which each rank keeps a slice of every tensor. Next: module.

Rank r of R keeps rows r·n … (r+1)·n - 1, n = ⌈rows / R⌉, of each tensor, of its gradient and of its optimizer state. A
block's tensors are gathered before it works and let go after it. Gradients are summed in float32. Muon's products run
over the slices, which torch sends round: the same steps but for the rounding of sums. A last.ckpt is one file with
whole tensors, which any number of ranks resumes.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.callbacks import WeightAveraging
from lightning.pytorch.strategies import ModelParallelStrategy
from torch import nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

from picochat.errors import UserError
from picochat.model.decoder import Decoder


class ShardedStrategy(ModelParallelStrategy):
    """FSDP2 over all devices; checkpoints are single files with whole tensors.

    Args:
        process_group_backend: nccl, gloo, …; null takes the one for the device.
    """

    def __init__(self, process_group_backend: str | None = None) -> None:
        settings: dict[str, Any] = {"tensor_parallel_size": 1, "save_distributed_checkpoint": False}
        super().__init__(process_group_backend=process_group_backend, **settings)

    def setup_environment(self) -> None:
        """Join the others; data is split over all of them."""
        self._data_parallel_size = self.num_nodes * self.num_processes
        super().setup_environment()

    def load_checkpoint(self, checkpoint_path: str | Path, weights_only: bool | None = None) -> dict[str, Any]:
        """Each rank takes its slices of a file that may hold tensors and plain values only."""
        try:
            return super().load_checkpoint(checkpoint_path, weights_only=True)
        except Exception as error:  # arbitrary bytes make the unpickler fail in arbitrary ways
            raise UserError(
                f"{checkpoint_path} cannot be resumed: it is damaged, of another model, or holds more than tensors and "
                "plain values; name a last.ckpt that picochat wrote, and resume with its run's config.yaml"
            ) from error


def shard_module(module: Any, strategy: ModelParallelStrategy) -> None:
    """`shard` a ChatModule's decoder over all devices of a strategy; UserError for settings that need whole models."""
    settings = {
        "model.compile": module.compile_decoder,
        "model.lora_rank": module.lora_rank is not None,
        "weight averaging": any(isinstance(callback, WeightAveraging) for callback in module.trainer.callbacks),
    }
    if asked := [name for name, given in settings.items() if given]:
        raise UserError(f"{asked[0]} is not supported with trainer.strategy fsdp2; leave one of them out")
    mesh = strategy.device_mesh
    if mesh["tensor_parallel"].size() > 1:
        raise UserError("this strategy splits matrices, picochat shards over data only; use trainer.strategy fsdp2")
    shard(module.decoder, mesh["data_parallel"], half=str(module.trainer.precision).startswith("bf16"))


def shard(decoder: Decoder, mesh: DeviceMesh, *, half: bool) -> None:
    """Shard a decoder in place over a one-dimensional mesh of all ranks; ``half`` gathers blocks in bfloat16, to which
    autocast would convert them anyway."""
    blocks = MixedPrecisionPolicy(
        param_dtype=torch.bfloat16 if half else None, reduce_dtype=torch.float32, cast_forward_inputs=False
    )
    for block in decoder.model.layers:
        fully_shard(block, mesh=mesh, mp_policy=blocks)
    # The embedding stays in float32, and with it the residual stream. It is not let go after the forward pass: the
    # head's turn comes after that.
    fully_shard(decoder, mesh=mesh, reshard_after_forward=False)


@contextmanager
def whole(module: nn.Module) -> Iterator[None]:
    """While it lasts the sharded ``module.decoder`` is whole on every rank; all ranks have to enter."""
    decoder: Any = module.decoder
    state: dict[str, Any] = get_model_state_dict(decoder, options=StateDictOptions(full_state_dict=True))
    module.decoder = Decoder.from_state(decoder.config, state).train(decoder.training)
    try:
        yield
    finally:
        module.decoder = decoder
