"""The plan of memory, FLOPs and traffic is held to what torch really keeps, at three sizes; the rest is arithmetic."""

import contextlib
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from picochat.model import sizes
from picochat.model.config import DecoderConfig
from picochat.model.decoder import Decoder
from picochat.model.hardware import keep_freed_memory
from picochat.model.loss import supervised_nll
from picochat.model.optim import OptimizerConfig, build_optimizer
from picochat.model.sizes import Setup

DEMO = DecoderConfig(vocab_size=320)
PILOT = DecoderConfig(8192, 384, 1024, 8, 8, 2, 48)  # 15.5 M
LARGE = DecoderConfig(8192, 768, 2048, 16, 12, 4, 64)  # 107 M
BILLION = DecoderConfig(32_768, 2048, 5440, 24, 16, 4, 128)
SIZES = {"demo": (DEMO, 4, 256), "pilot": (PILOT, 1, 128), "large": (LARGE, 1, 128)}  # rows, context

LATER = pytest.param("large", marks=pytest.mark.slow)


def batch(config: DecoderConfig, rows: int, context: int, document: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Ids, positions, documents and labels; the first half of each row is learnt."""
    ids = torch.randint(config.vocab_size, (rows, context), generator=torch.Generator().manual_seed(0))
    places = torch.arange(context)
    labels = ids.roll(-1, 1)
    labels[:, context // 2 :] = -100
    return ids, (places % document).repeat(rows, 1), (places // document + 1).repeat(rows, 1), labels


def kept(model: Decoder, rows: int, context: int, *, half: bool, document: int = 60) -> int:
    """Bytes of all storages that autograd keeps in a forward pass, weights and their copies left out."""
    ids, positions, documents, labels = batch(model.config, rows, context, document)
    own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    heads = model.config.num_attention_heads + 2 * model.config.num_key_value_heads
    joined = heads * model.config.head_dim, model.config.hidden_size
    shapes = {tuple(parameter.shape) for parameter in model.parameters()} if half else set()
    shapes |= {joined} | {shape[::-1] for shape in (joined, *shapes)}
    dtype = torch.bfloat16 if half else torch.float32
    found: dict[int, int] = {}
    alive: list[Tensor] = []  # or an address would come back as another tensor's

    def keep(tensor: Tensor) -> Tensor:
        copy = tensor.dtype == dtype and tuple(tensor.shape) in shapes
        if tensor.untyped_storage().data_ptr() not in own and not copy:
            alive.append(tensor)
            found[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    numbers = torch.autocast("cpu", torch.bfloat16) if half else contextlib.nullcontext()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), numbers:
        supervised_nll(model, model(ids, positions, documents), labels).sum()
    return sum(found.values())


@pytest.mark.parametrize("half", [False, True], ids=["float32", "bf16"])
@pytest.mark.parametrize("size", ["demo", "pilot", LATER])
def test_activations_are_those_that_autograd_keeps(size: str, half: bool) -> None:
    config, rows, context = SIZES[size]
    model = Decoder(config)
    setup = Setup(rows, context, supervised=0.5, half=half, device="cpu")
    scores = rows * context // 2 * config.vocab_size * 4  # log-softmax; its gradient comes later
    expected = sizes.activations(config, setup) + scores
    assert kept(model, rows, context, half=half) == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
@pytest.mark.parametrize("size", ["demo", "pilot", LATER])
def test_weights_gradients_and_optimizer_state_are_those_of_torch(size: str, optimizer: str) -> None:
    config, _, _ = SIZES[size]
    model = Decoder(config)
    planned = sizes.memory(config, Setup(1, 16, optimizer=optimizer, half=False))  # type: ignore[arg-type]
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    rule = build_optimizer(model, OptimizerConfig(name=optimizer))  # type: ignore[arg-type]
    rule.step()
    tensors = [value for state in rule.state.values() for value in state.values() if isinstance(value, Tensor)]
    assert planned["weights"] == sum(parameter.nbytes for parameter in model.parameters())
    assert planned["gradients"] == planned["weights"]
    assert planned["optimizer"] == sum(tensor.nbytes for tensor in tensors if tensor.ndim)  # scalars count steps


def train(config: DecoderConfig, rows: int, context: int) -> None:
    """Three steps, and the most that the process took, in KiB; to be run in one of its own.

    getrusage would count the process that this one was forked from, too.
    """
    from picochat.commands import fit  # noqa: F401 - what a run imports

    keep_freed_memory()
    model = Decoder(config)
    rule = build_optimizer(model, OptimizerConfig(name="adamw"))
    ids, positions, documents, labels = batch(config, rows, context, 60)
    for _ in range(3):
        with torch.autocast("cpu", torch.bfloat16):
            loss = supervised_nll(model, model(ids, positions, documents), labels).sum()
        rule.zero_grad()  # where Lightning does
        loss.backward()
        rule.step()
    print(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1])  # type: ignore[index]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="others count memory in other ways")
def test_the_sum_is_what_a_process_takes() -> None:
    code = "import test_sizes; test_sizes.train(test_sizes.PILOT, 16, 256)"
    done = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parent, capture_output=True, text=True)
    planned = sum(sizes.memory(PILOT, Setup(16, 256, supervised=0.5, device="cpu")).values())
    assert int(done.stdout) * 1024 == pytest.approx(planned, rel=0.2), done.stderr  # holes vary


@pytest.mark.parametrize("size", ["demo", "pilot", LATER])
def test_flops_are_those_that_torch_counts(size: str) -> None:
    """Written out as products, attention computes the squares above the diagonal too: twice what is needed."""
    config, _, context = SIZES[size]
    model = Decoder(config)
    ids, positions, _, labels = batch(config, 1, context, context)
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        supervised_nll(model, model(ids, positions, None), labels).sum().backward()
    products, all_of_it = (context * config.flops_per_token(tokens, supervised=0.5) for tokens in (0, context))
    assert counter.get_total_flops() == products + 2 * (all_of_it - products)


def test_a_rank_keeps_a_slice_of_each_tensor_rounded_up() -> None:
    config = DecoderConfig(10, 4, 6, 1, 2, 1, 2)
    # ⌈10/3⌉ rows of 4; q ⌈4/3⌉, k and v ⌈2/3⌉, o ⌈4/3⌉, gate and up ⌈6/3⌉ of 4, down ⌈4/3⌉ of 6; norms 3·⌈4/3⌉ + 2
    expected = {"embeddings": 16, "matrices": 8 + 2 * 4 + 8 + 2 * 8 + 12, "norms": 6 + 2}
    assert config.parameters(ranks=3) == expected


def test_checkpointing_keeps_each_blocks_input_and_one_block() -> None:
    setup = Setup(4, 2048)
    whole, less = sizes.activations(BILLION, setup), sizes.activations(BILLION, replace(setup, recompute=True))
    one = (whole - sizes.activations(replace(BILLION, num_hidden_layers=12), setup)) // 12
    assert whole - less == pytest.approx(23 * one - 24 * 4 * 2048 * 4 * 2048, rel=1e-6)


def test_ddp_sends_every_gradient_twice_but_for_a_ranks_own_share() -> None:
    tiny = DecoderConfig(10, 4, 6, 1, 2, 1, 2)
    assert sizes.traffic(tiny, Setup(1, 8)) == {}
    assert sizes.traffic(tiny, Setup(1, 8, ranks=4)) == {"all_reduce": 2 * 3 * tiny.num_parameters}


def test_a_run_that_needs_more_than_the_device_has_is_told_what_to_lower() -> None:
    qwen = DecoderConfig(151_936, 1024, 3072, 28, 16, 8, 128, 40_960)
    assert qwen.num_parameters == 596_049_920
    said = sizes.memory_warning(qwen, Setup(8, 32_768, half=False, device="cpu"), 24 * 10**9)
    assert said is not None and "lower data.batch_size (8) or data.context_length (32768)" in said
    assert sizes.memory_warning(qwen, Setup(1, 512, half=False, device="cpu", lora_rank=16), 24 * 10**9) is None
