"""FSDP2: two gloo ranks learn what one learns; at 8 and 512 ranks, each keeps and sends what the plan says."""

import copy
import json
import multiprocessing
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from tiny_model import Watch
from torch import Tensor
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor
from torch.testing._internal.distributed.fake_pg import FakeStore

from picochat.model import sizes
from picochat.model.config import DecoderConfig
from picochat.model.decoder import Decoder
from picochat.model.loss import supervised_nll
from picochat.model.optim import OptimizerConfig, build_optimizer
from picochat.model.sharding import shard, whole
from picochat.model.sizes import Setup

TINY = DecoderConfig(101, 32, 48, 2, 4, 2, 8)  # 101 rows: the last slice is shorter than the others
RATES = {"adamw": 0.01, "muon": 0.004}


def nll(model: Decoder, ids: Tensor) -> Tensor:
    return supervised_nll(model, model(ids[:, :-1]), ids[:, 1:]).sum() / 128  # of the whole step of 4 rows


def learn(rank: int, folder: str) -> None:
    """Four steps with half of each batch, by each optimizer; rank 0 writes the losses and the whole weights."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{folder}/meet", rank=rank, world_size=2)
    for name in RATES:
        learn_by(name, rank, folder)
    dist.destroy_process_group()


def learn_by(name: str, rank: int, folder: str) -> None:
    model = Decoder(TINY)
    model.load_state_dict(torch.load(f"{folder}/start.pt"))
    model.recompute()
    shard(model, init_device_mesh("cpu", (2,)), half=False)
    optimizer = build_optimizer(model, OptimizerConfig(name, RATES[name]))  # type: ignore[arg-type]
    losses = []
    for step in range(4):
        mine = nll(model, batch(step)[2 * rank : 2 * rank + 2])
        (2 * mine).backward()  # FSDP2 averages over ranks, as DDP does
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        assert isinstance(norm, DTensor)
        optimizer.step()
        optimizer.zero_grad()
        dist.all_reduce(total := mine.detach())
        losses.append([float(total), float(norm.full_tensor())])
    holder = torch.nn.Module()
    holder.decoder = model
    with whole(holder):
        assert not any(isinstance(one, DTensor) for one in holder.parameters())
        weights = holder.decoder.state_dict()
    assert holder.decoder is model
    if rank == 0:
        Path(folder, f"{name}.json").write_text(json.dumps(losses))
        torch.save(weights, f"{folder}/{name}.pt")


def batch(step: int) -> Tensor:
    return torch.randint(101, (4, 33), generator=torch.Generator().manual_seed(step))


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two ranks left that started with `start.pt`."""
    folder = tmp_path_factory.mktemp("ranks")
    torch.manual_seed(0)
    torch.save(Decoder(TINY).state_dict(), folder / "start.pt")
    assert on_two_ranks(learn, str(folder)) == [0, 0]
    return folder


def on_two_ranks(function: Callable[..., None], *arguments: Any) -> list[int | None]:
    """Call it with (rank, *arguments) in two processes; their exit statuses."""
    processes = [multiprocessing.get_context("spawn").Process(target=function, args=(r, *arguments)) for r in (0, 1)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    return [process.exitcode for process in processes]


@pytest.mark.parametrize(("name", "near"), [("adamw", 1e-5), ("muon", 2e-4)])  # muon adds up in bfloat16
def test_two_ranks_with_checkpointed_blocks_learn_what_one_learns(name: str, near: float, two_ranks: Path) -> None:
    model = Decoder(TINY)
    model.load_state_dict(torch.load(two_ranks / "start.pt"))
    optimizer = build_optimizer(model, OptimizerConfig(name, RATES[name]))  # type: ignore[arg-type]
    losses = []
    for step in range(4):
        loss = nll(model, batch(step))
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
        optimizer.zero_grad()
        losses.append([float(loss.detach()), float(norm)])
    assert losses[0][1] > 0.5  # the clipping did something
    assert abs(losses[3][0] - losses[0][0]) > 10 * near * losses[0][0]  # and so did the steps
    found = json.loads((two_ranks / f"{name}.json").read_text())
    assert [loss for loss, _ in found] == pytest.approx([loss for loss, _ in losses], rel=near)
    assert found[0][1] == pytest.approx(losses[0][1], rel=1e-5)
    weights = torch.load(two_ranks / f"{name}.pt")
    for place, expected in model.state_dict().items():
        torch.testing.assert_close(weights[place], expected, rtol=0, atol=20 * near)


def test_recomputed_blocks_give_the_same_gradients_and_keep_less() -> None:
    torch.manual_seed(0)
    plain = Decoder(TINY)
    again = copy.deepcopy(plain)
    again.recompute()
    kept = []
    for model in (plain, again):
        sizes_kept: list[int] = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t, s=sizes_kept: (s.append(t.nbytes), t)[1], lambda t: t):
            loss = nll(model, batch(0))
        loss.backward()
        kept.append(sum(sizes_kept))
    assert kept[1] < kept[0] / 2
    for one, other in zip(plain.parameters(), again.parameters(), strict=True):
        assert one.grad is not None
        assert torch.equal(one.grad, other.grad)  # type: ignore[arg-type]


@contextmanager
def pretended(ranks: int) -> Iterator[Any]:
    """The mesh of a group of which only rank 0 is there; what others would send is whatever the memory holds."""
    dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=ranks)
    try:
        yield init_device_mesh("cpu", (ranks,))
    finally:
        dist.destroy_process_group()


def counting(sent: Counter[str], ranks: int) -> Watch:
    """Counts the bytes of collectives in rings: a rank's share of the whole goes R - 1 times."""

    def see(name: str, args: Any) -> None:
        for part, key, place in (("allgather_base", "all_gather", 0), ("reduce_scatter_base", "reduce_scatter", 1)):
            if part in name:
                sent[key] += round(args[place].nbytes * (ranks - 1) / ranks)

    return Watch(see)


@pytest.mark.parametrize("half", [False, True], ids=["float32", "bf16"])
@pytest.mark.parametrize("ranks", [8, 512])
def test_each_rank_keeps_and_sends_what_the_plan_says(ranks: int, half: bool) -> None:
    config = DecoderConfig(1000, 64, 160, 3, 4, 2, 16)
    setup = Setup(1, 16, half=half, ranks=ranks, sharded=True)
    with pretended(ranks) as mesh:
        model = Decoder(config)
        shard(model, mesh, half=half)
        mine = [parameter.to_local() for parameter in model.parameters()]  # type: ignore[attr-defined]
        optimizer = build_optimizer(model, OptimizerConfig("adamw"))
        sent: Counter[str] = Counter()
        with counting(sent, ranks), torch.autocast("cpu", torch.bfloat16, enabled=half):
            nll(model, torch.randint(1000, (1, 17))).backward()
        optimizer.step()
        state = [value.to_local() for one in optimizer.state.values() for value in one.values() if value.ndim]
        gradients = [parameter.grad.to_local() for parameter in model.parameters()]  # type: ignore[union-attr]
    planned = sizes.memory(config, setup)
    for part, tensors in (("weights", mine), ("gradients", gradients), ("optimizer", state)):
        assert sum(tensor.nbytes for tensor in tensors) == planned[part], part
    assert set(sent) == {"all_gather", "reduce_scatter"}
    for name, count in sizes.traffic(config, setup).items():
        assert sent[name] == count, name
