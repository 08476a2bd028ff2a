"""The figures of `picochat plan` beside what torch allocates and counts: python benchmarks/sizes.py [--device cpu|cuda]

Three sizes: the demo, the recipe's 15.5 M parameters, 107 M. Every measurement is a process of its own.

    cpu     bytes of weights, gradients and optimizer state; of what autograd keeps for the backward pass; FLOPs that
            torch's FlopCounterMode counts in the forward and the backward pass
    cuda    the peak that the device's allocator had handed out after three steps of `ChatModule` in bf16, documents and
            optimizer included, at the contexts of the configs; FLOPs as above

A step is one micro-batch of packed rows of short documents, half of their places learnt.
"""

import argparse
import contextlib
import json
import subprocess
import sys
from dataclasses import dataclass

import torch
from report import record
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from picochat.model import sizes
from picochat.model.decoder import Decoder, DecoderConfig
from picochat.model.loss import supervised_nll
from picochat.model.optim import OptimizerConfig, build_optimizer
from picochat.model.sizes import Way


@dataclass(frozen=True)
class Case:
    """A model; packed rows of a micro-batch and their length, on a CPU and on a GPU."""

    shape: DecoderConfig
    cpu: tuple[int, int]
    cuda: tuple[int, int]


CASES = {
    "demo, 0.8 M": Case(DecoderConfig(vocab_size=320), (16, 256), (64, 256)),
    "pilot, 15.5 M": Case(DecoderConfig(8192, 384, 1024, 8, 8, 2, 48), (2, 256), (32, 512)),
    "large, 107 M": Case(DecoderConfig(8192, 768, 2048, 16, 12, 4, 64), (1, 256), (32, 512)),
}
DOCUMENT = 60  # tokens


def batch(shape: DecoderConfig, rows: int, context: int, device: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Ids, positions, documents and labels."""
    ids = torch.randint(shape.vocab_size, (rows, context), device=device)
    places = torch.arange(context, device=device)
    labels = ids.roll(-1, 1)
    labels[:, context // 2 :] = -100
    documents = (places // DOCUMENT + 1).to(torch.int32)
    return ids, (places % DOCUMENT).repeat(rows, 1), documents.repeat(rows, 1), labels


def on_cpu(case: Case, half: bool) -> tuple[float, float]:
    """(bytes planned, bytes measured): what stays from step to step, and what autograd keeps."""
    rows, context = case.cpu
    way = Way(rows, context, supervised=0.5, half=half, device="cpu")
    model = Decoder(case.shape)
    ids, positions, documents, labels = batch(case.shape, rows, context, "cpu")
    optimizer = build_optimizer(model, OptimizerConfig("adamw"))
    mine = list(model.parameters())
    shapes = {tuple(parameter.shape) for parameter in mine} | {tuple(parameter.shape)[::-1] for parameter in mine}
    known = {parameter.untyped_storage().data_ptr() for parameter in mine}
    found: dict[int, int] = {}
    alive: list[Tensor] = []  # or an address would come back as another tensor's

    def keep(tensor: Tensor) -> Tensor:
        # autocast's copies of weights are the plan's "copies", which are no activations
        copy = half and tensor.dtype == torch.bfloat16 and tuple(tensor.shape) in shapes
        if tensor.untyped_storage().data_ptr() not in known and not copy:
            alive.append(tensor)
            found[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    numbers = torch.autocast("cpu", torch.bfloat16) if half else contextlib.nullcontext()
    with numbers, torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = supervised_nll(model, model(ids, positions, documents), labels).sum()
    kept = sum(found.values())
    loss.backward()
    optimizer.step()
    states = [value for state in optimizer.state.values() for value in state.values() if isinstance(value, Tensor)]
    lasting = [*mine, *(parameter.grad for parameter in mine), *(state for state in states if state.ndim)]
    plan = sizes.memory(case.shape, way)
    scores = rows * context // 2 * case.shape.vocab_size * 4  # log-softmax alone; its gradient comes later
    planned = plan["weights"] + plan["gradients"] + plan["optimizer"] + plan["activations"] + scores
    return planned, kept + sum(tensor.nbytes for tensor in lasting if tensor is not None)


def on_cuda(case: Case, half: bool) -> tuple[float, float]:
    """(bytes planned, bytes at the peak of the allocator)."""
    rows, context = case.cuda
    plan = sizes.memory(case.shape, Way(rows, context, supervised=0.5, half=half))
    torch.cuda.reset_peak_memory_stats()
    model = Decoder(case.shape).cuda()
    optimizer = build_optimizer(model, OptimizerConfig("adamw"))
    ids, positions, documents, labels = batch(case.shape, rows, context, "cuda")
    for _ in range(3):
        with torch.autocast("cuda", torch.bfloat16, enabled=half):
            loss = supervised_nll(model, model(ids, positions, documents), labels).sum()
        loss.backward()
        optimizer.step()
        for parameter in model.parameters():  # as the plan has it: gradients stay where they are
            if parameter.grad is not None:
                parameter.grad.zero_()
    return sum(plan.values()), torch.cuda.max_memory_allocated()


def flops(shape: DecoderConfig, context: int) -> tuple[float, float]:
    """(planned, counted) of one row that is one document.

    Written out as products, attention computes the squares above the diagonal too: that half is left out of the count.
    """
    model = Decoder(shape)
    ids, _, _, labels = batch(shape, 1, context, "cpu")
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        supervised_nll(model, model(ids), labels).sum().backward()
    planned = context * shape.flops_per_token(context, supervised=0.5)
    return planned, counter.get_total_flops() - (planned - context * shape.flops_per_token(0, supervised=0.5))


def one(name: str, device: str, half: bool) -> list[object]:
    """A line of the table."""
    torch.manual_seed(0)
    case = CASES[name]
    rows, context = case.cuda if device == "cuda" else case.cpu
    planned, measured = on_cuda(case, half) if device == "cuda" else on_cpu(case, half)
    work, counted = flops(case.shape, min(context, 256))
    how = f"{rows} × {context}, {'bf16' if half else 'fp32'}"
    memory = [planned / 2**20, measured / 2**20, f"{planned / measured:.3f}"]
    return [name, how, *memory, work / 1e9, counted / 1e9, f"{work / counted:.3f}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)  # what it runs in a fresh process
    args = parser.parse_args()
    if args.one:
        print(json.dumps(one(args.one[0], args.device, args.one[1] == "bf16")))
        return
    table = []
    for name in CASES:
        for half in ("fp32", "bf16"):
            command = [sys.executable, __file__, "--device", args.device, "--one", name, half]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            table.append(json.loads(done.stdout.splitlines()[-1]))
            print(f"{name}, {half}: memory {table[-1][4]}, FLOPs {table[-1][7]}", flush=True)
    columns = ["model", "micro-batch", "planned, MiB", "measured, MiB", "planned / measured"]
    columns += ["planned, GFLOPs", "counted, GFLOPs", "planned / counted"]
    record(f"sizes-{args.device}", columns, table, "FLOPs of one row, a document of up to 256 tokens, half learnt.")


if __name__ == "__main__":
    main()
