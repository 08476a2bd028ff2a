"""One optimizer with two rules. In: a decoder and its settings. Out: a torch Optimizer. Next: module, callbacks.

    group        what                              rule (name: muon)           rule (name: adamw)          decays
    matrices     projections inside the blocks     Muon, matrix_learning_rate  AdamW, learning_rate        yes
    embeddings   embedding, head                   AdamW, learning_rate        AdamW, learning_rate        no
    norms        norm weights                      AdamW, learning_rate        AdamW, learning_rate        no

Muon (Jordan et al. 2024) makes each matrix's momentum nearly orthogonal before it is applied, so that all directions
move by the same amount. A schedule multiplies the ``lr`` of each group.
"""

from collections.abc import Callable
from dataclasses import dataclass
from inspect import unwrap
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from picochat.errors import UserError
from picochat.model.hardware import preferred_dtype

_NEWTON_SCHULZ, _STEPS = (3.4445, -4.7750, 2.0315), 5  # Jordan's coefficients of x, x³ and x⁵
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
    """

    name: Literal["muon", "adamw"] = "muon"
    learning_rate: float = 0.004
    matrix_learning_rate: float | None = None
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.95)
    momentum: float = 0.95

    def __post_init__(self) -> None:
        for name in ("learning_rate", "matrix_learning_rate", "weight_decay"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < float("inf"):
                raise UserError(f"optimizer.{name} is {value}; it must be 0 or more")
        for name, value in (("betas", max(self.betas)), ("betas", min(self.betas)), ("momentum", self.momentum)):
            if not 0 <= value < 1:
                raise UserError(f"optimizer.{name} holds {value}; it must be at least 0 and below 1")


def build_optimizer(decoder: nn.Module, config: OptimizerConfig) -> Optimizer:
    """An optimizer over all trainable parameters; UserError for Muon over flattened ones, which are no matrices."""
    groups: dict[str, dict[str, Any]] = {
        name: {"params": [], "name": name, "weight_decay": 0.0} for name in ("matrices", "embeddings", "norms")
    }
    for name, weight in decoder.named_parameters():
        if weight.requires_grad:
            inside = "matrices" if ".layers." in f".{name}" else "embeddings"
            groups["norms" if name.endswith(_VECTORS) else inside]["params"].append(weight)
    groups["matrices"]["weight_decay"] = config.weight_decay
    if config.name == "muon":
        if any(matrix.ndim != 2 for matrix in groups["matrices"]["params"]):
            raise UserError(
                "optimizer.name is muon, which needs whole matrices; use adamw where the weights are sharded"
            )
        rate = config.matrix_learning_rate
        rate = config.learning_rate * _MATRIX_RATIO if rate is None else rate
        groups["matrices"] |= {"lr": rate, "momentum": config.momentum}
    fused = next(decoder.parameters()).device.type in ("cpu", "cuda", "mps")
    return MuonAdamW([*groups.values()], lr=config.learning_rate, betas=config.betas, fused=fused)


class MuonAdamW(AdamW):
    """torch's AdamW, and torch's Muon for groups that have a ``momentum``, as one optimizer.

    Matrices of one shape are stacked and share Muon's fifteen small products: the same update in a third of the time
    at demo size.
    """

    def __init__(self, params: Any, **settings: Any) -> None:
        super().__init__(params, **settings)
        self._step_supports_amp_scaling = False  # Muon does not unscale gradients

    def __setstate__(self, state: dict[str, Any]) -> None:
        Optimizer.__setstate__(self, state)  # AdamW's own looks for its state in Muon's

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Step all groups."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        groups = self.param_groups
        self.param_groups = [group for group in groups if "momentum" not in group]
        unwrap(AdamW.step)(self)  # without hooks, which belong to this step
        self.param_groups = groups
        for group in groups:
            stacks: dict[tuple[torch.Size, torch.device], list[nn.Parameter]] = {}
            for parameter in group["params"] if "momentum" in group else ():
                if parameter.grad is not None:
                    stacks.setdefault((parameter.shape, parameter.device), []).append(parameter)
            for parameters in stacks.values():
                most = max(1, _STACKED // parameters[0].numel())
                for first in range(0, len(parameters), most):
                    self._step_by_muon(group, parameters[first : first + most])
        return loss

    def _step_by_muon(self, group: dict[str, Any], parameters: list[nn.Parameter]) -> None:
        updates = []
        for parameter in parameters:
            grad, state = parameter.grad, self.state[parameter]
            assert grad is not None
            if "momentum_buffer" not in state:
                state["momentum_buffer"] = torch.zeros_like(grad)
            buffer = state["momentum_buffer"].lerp_(grad, 1 - group["momentum"])
            updates.append(grad.lerp(buffer, group["momentum"]))  # Nesterov's
        rows, columns = parameters[0].shape
        rate = group["lr"] * max(1, rows / columns) ** 0.5  # Jordan's: a tall matrix moves its outputs less
        for parameter, update in zip(parameters, _orthogonal(torch.stack(updates)), strict=True):
            parameter.mul_(1 - group["lr"] * group["weight_decay"]).add_(update, alpha=-rate)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load the state and the rates; other settings stay those of this run. UserError where the rule is another."""
        saved, own = (
            "muon" if any("momentum" in group for group in groups) else "adamw"
            for groups in (state_dict["param_groups"], self.param_groups)
        )
        if saved != own:
            raise UserError(
                f"the checkpoint was written by optimizer {saved} and this run has {own}: go on with --optimizer "
                f"{saved} (model.optimizer.name), or start a new run"
            )
        kept = [{key: group[key] for key in group.keys() - {"params", "lr"}} for group in self.param_groups]
        super().load_state_dict(state_dict)
        for group, settings in zip(self.param_groups, kept, strict=True):
            group.update(settings)


def _orthogonal(matrices: Tensor) -> Tensor:
    """Nearly orthogonal matrices [N, R, C] with the same row and column spaces, by the quintic Newton-Schulz iteration:
    in bfloat16, as Jordan's, where the device multiplies that in hardware."""
    a, b, c = _NEWTON_SCHULZ
    tall = matrices.size(1) > matrices.size(2)
    x = matrices.to(preferred_dtype(matrices.device.type))
    x = x.mT if tall else x
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)  # the spectral norm is at most 1
    for _ in range(_STEPS):
        gram = torch.bmm(x, x.mT)
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x
