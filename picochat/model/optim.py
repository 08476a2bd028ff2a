"""One optimizer with two rules. In: a decoder and its settings. Out: a torch Optimizer. Next: module, callbacks.

    group        what                              rule (name: muon)           rule (name: adamw)          decays
    matrices     projections inside the blocks     Muon, matrix_learning_rate  AdamW, learning_rate        yes
    embeddings   embedding, head                   AdamW, learning_rate        AdamW, learning_rate        no
    norms        norm weights                      AdamW, learning_rate        AdamW, learning_rate        no

Muon (Jordan et al. 2024) makes each matrix's momentum nearly orthogonal before it is applied, so that all directions
move by the same amount. The two rules stand behind one Optimizer, because Lightning's automatic optimization, gradient
scaling and checkpoints want one; a schedule multiplies the ``lr`` of each group.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Muon, Optimizer

from picochat.errors import UserError
from picochat.model.hardware import preferred_dtype

_STACKED = 2**23  # elements of one stack: few enough that stacking large matrices needs little memory
_VECTORS = ("norm.weight", ".bias")  # endings of their names
_MATRIX_RATIO = 5.0  # 0.02 to 0.004, the pair that the demo was tuned with


@dataclass(frozen=True)
class OptimizerConfig:
    """Which rule, and its rates.

    Args:
        name: muon (matrices by Muon, the rest by AdamW) or adamw (everything by AdamW).
        learning_rate: base rate of AdamW.
        matrix_learning_rate: base rate of Muon; null: five times learning_rate. Unused by adamw.
        weight_decay: of the matrices; embeddings and norms never decay.
        betas: of AdamW.
        momentum: of Muon.

    Raises:
        UserError: a setting out of range.
    """

    name: Literal["muon", "adamw"] = "muon"
    learning_rate: float = 0.004
    matrix_learning_rate: float | None = None
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.95)
    momentum: float = 0.95

    def __post_init__(self) -> None:
        if self.name not in ("muon", "adamw"):
            raise UserError(f"optimizer.name is '{self.name}'; known are muon and adamw")
        for name in ("learning_rate", "matrix_learning_rate", "weight_decay"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < float("inf"):
                raise UserError(f"optimizer.{name} is {value}; it must be 0 or more")
        for name, value in (("betas", max(self.betas)), ("betas", min(self.betas)), ("momentum", self.momentum)):
            if not 0 <= value < 1:
                raise UserError(f"optimizer.{name} holds {value}; it must be at least 0 and below 1")


def build_optimizer(decoder: nn.Module, config: OptimizerConfig) -> Optimizer:
    """An optimizer over all trainable parameters of ``decoder``.

    Raises:
        UserError: Muon over parameters that are not whole matrices (flattened ones).
    """
    groups: dict[str, dict[str, Any]] = {
        name: {"params": [], "name": name, "weight_decay": config.weight_decay if name == "matrices" else 0.0}
        for name in ("matrices", "embeddings", "norms")
    }
    for name, weight in decoder.named_parameters():
        if weight.requires_grad:
            inside = "matrices" if ".layers." in f".{name}" else "embeddings"
            groups["norms" if name.endswith(_VECTORS) else inside]["params"].append(weight)
    matrices, *rest = groups.values()
    adamw: dict[str, Any] = {"lr": config.learning_rate, "betas": config.betas}
    adamw["fused"] = next(decoder.parameters()).device.type in ("cpu", "cuda", "mps")
    if config.name == "adamw":
        return JoinedOptimizer([AdamW([matrices, *rest], **adamw)])
    if any(matrix.ndim != 2 for matrix in matrices["params"]):
        raise UserError("optimizer.name is muon, which needs whole matrices; use adamw where the weights are sharded")
    rate = config.matrix_learning_rate
    rate = config.learning_rate * _MATRIX_RATIO if rate is None else rate
    return JoinedOptimizer([StackedMuon([matrices], lr=rate, momentum=config.momentum), AdamW(rest, **adamw)])


class StackedMuon(Muon):
    """torch's Muon with the matrices of one shape stacked, so that they share its fifteen small products.

    The update and the state are the same; a step takes a third of the time at demo size.
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One step over the parameters with a gradient; the closure is JoinedOptimizer's to call."""
        for group in self.param_groups:
            stacks: dict[tuple[torch.Size, torch.device], list[nn.Parameter]] = {}
            for parameter in group["params"]:
                if parameter.grad is not None:
                    stacks.setdefault((parameter.shape, parameter.device), []).append(parameter)
            for parameters in stacks.values():
                most = max(1, _STACKED // parameters[0].numel())
                for first in range(0, len(parameters), most):
                    self._update(group, parameters[first : first + most])

    def _update(self, group: dict[str, Any], parameters: list[nn.Parameter]) -> None:
        updates = []
        for parameter in parameters:
            grad, state = parameter.grad, self.state[parameter]
            assert grad is not None
            if "momentum_buffer" not in state:
                state["momentum_buffer"] = torch.zeros_like(grad)
            buffer = state["momentum_buffer"].lerp_(grad, 1 - group["momentum"])
            updates.append(grad.lerp(buffer, group["momentum"]) if group["nesterov"] else buffer)
        rows, columns = parameters[0].shape
        rate = group["lr"] * max(1, rows / columns) ** 0.5  # Jordan's: a tall matrix moves its outputs less
        orthogonal = _orthogonal(torch.stack(updates), group["ns_coefficients"], group["ns_steps"], group["eps"])
        for parameter, update in zip(parameters, orthogonal, strict=True):
            parameter.mul_(1 - group["lr"] * group["weight_decay"]).add_(update, alpha=-rate)


def _orthogonal(matrices: Tensor, coefficients: tuple[float, float, float], steps: int, eps: float) -> Tensor:
    """Nearly orthogonal matrices [N, R, C] with the same row and column spaces, by the quintic Newton-Schulz iteration:
    in bfloat16, as Jordan's, where the device multiplies that in hardware."""
    a, b, c = coefficients
    tall = matrices.size(1) > matrices.size(2)
    x = matrices.to(preferred_dtype(matrices.device.type))
    x = x.mT if tall else x
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=eps)  # the spectral norm is at most 1
    for _ in range(steps):
        gram = torch.bmm(x, x.mT)
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x


class JoinedOptimizer(Optimizer):
    """Several optimizers, over disjoint parameters, that step, save and load as one.

    ``param_groups`` and ``state`` are the parts' own objects, so a rate that a schedule writes here is the part's rate.
    """

    def __init__(self, parts: list[Optimizer]) -> None:
        groups = [group for part in parts for group in part.param_groups]
        super().__init__([dict(group) for group in groups], {})
        self._parts, self.param_groups = parts, groups
        self._share()

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Step every part."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for part in self._parts:
            part.step()
        return loss

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load the state and the rates; other settings stay those of this run. UserError where the rule is another."""
        saved, own = _rule(state_dict["param_groups"]), _rule(self.param_groups)
        if saved != own:
            raise UserError(
                f"the checkpoint was written by optimizer {saved} and this run has {own}: go on with --optimizer "
                f"{saved} (model.optimizer.name), or start a new run"
            )
        kept = [{key: group[key] for key in group.keys() - {"params", "lr"}} for group in self.param_groups]
        super().load_state_dict(state_dict)
        for group, settings in zip(self.param_groups, kept, strict=True):
            group.update(settings)
        self._share()

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Only while it is built: a later group would belong to no part."""
        if hasattr(self, "_parts"):
            raise NotImplementedError("a joined optimizer takes no further parameters; build it anew")
        super().add_param_group(param_group)

    def _share(self) -> None:
        first = 0
        for part in self._parts:
            last = first + len(part.param_groups)
            part.param_groups = self.param_groups[first:last]
            part.state = self.state
            first = last


def _rule(groups: list[dict[str, Any]]) -> str:
    return "muon" if any("ns_steps" in group for group in groups) else "adamw"
