"""LoRA: two thin matrices beside each frozen one (Hu et al. 2021). In: a decoder, or an adapter folder of peft. Out: a
decoder that trains the thin ones, or the weights with them merged in. Next: module, checkpoint.

    y = x Wᵀ + s · (x Aᵀ) Bᵀ      A [rank, in] random, B [out, rank] zero: the first step starts from the base exactly
    merged: W + s · B A           s = alpha / rank

The projections of every block have them; embeddings, head, norms and biases stay as they are.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the field's name

from picochat.errors import UserError
from picochat.model.folder import ADAPTER_CONFIG, adapter_base
from picochat.strict_json import read_json_object

ADAPTER = "adapter_model.safetensors"
_TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
_PREFIX = "base_model.model."  # of peft's names
_OTHER = ("use_dora", "fan_in_fan_out", "lora_bias", "modules_to_save", "rank_pattern", "alpha_pattern")


class LoraLinear(nn.Linear):
    """A frozen product with a thin one beside it.

    Args:
        base: whose weights it takes over.
        rank: of the thin matrices.
        alpha: scale of their product, times the rank.
    """

    def __init__(self, base: nn.Linear, rank: int, alpha: float) -> None:
        super().__init__(base.in_features, base.out_features, bias=base.bias is not None, device="meta")
        self.weight, self.bias, self.scale = base.weight, base.bias, alpha / rank
        self.lora_A = nn.Parameter(torch.empty(rank, base.in_features))
        self.lora_B = nn.Parameter(torch.zeros(base.out_features, rank))
        nn.init.kaiming_uniform_(self.lora_A, a=math.sqrt(5))  # as peft draws it

    def forward(self, states: Tensor) -> Tensor:
        return super().forward(states) + F.linear(F.linear(states, self.lora_A), self.lora_B) * self.scale


def add_lora(decoder: nn.Module, rank: int, alpha: float) -> None:
    """Freeze a decoder and put thin matrices beside the projections of its blocks, in place."""
    decoder.requires_grad_(False)
    for name, module in [*decoder.named_modules()]:
        parent, _, last = name.rpartition(".")
        if last in _TARGETS and isinstance(module, nn.Linear):
            setattr(decoder.get_submodule(parent), last, LoraLinear(module, rank, alpha))


def adapt(decoder: nn.Module, folder: Path, rank: int, alpha: float | None) -> None:
    """`add_lora` to the model of a folder; alpha is twice the rank where it is not given."""
    if adapter_base(folder):
        raise UserError(f"{folder} is an adapter itself; merge it first with `picochat export`")
    add_lora(decoder, rank, alpha or 2.0 * rank)


def merged(state: Mapping[str, Tensor], scale: float) -> dict[str, Tensor]:
    """Weights by name with the thin matrices merged into those that they stand beside."""
    result = {name: tensor for name, tensor in state.items() if ".lora_" not in name}
    for name, thin in state.items():
        if name.endswith(".lora_A"):
            base, other = name.replace(".lora_A", ".weight"), state[name.replace(".lora_A", ".lora_B")]
            if base not in result or result[base].shape != (other.shape[0], thin.shape[1]):
                raise UserError(f"the adapter's {name} does not fit {base}: it belongs to another base model")
            whole = result[base].float() + scale * (other.float() @ thin.float())
            result[base] = whole.to(result[base].dtype)
    return result


def scale_of(decoder: nn.Module) -> float:
    """The scale of the thin matrices; 0 where there are none."""
    return next((module.scale for module in decoder.modules() if isinstance(module, LoraLinear)), 0.0)


def adapter_files(decoder: nn.Module, base: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The thin matrices by peft's names, and its adapter_config.json.

    Args:
        base: folder or hub name of the base model.
    """
    state = {f"{_PREFIX}{name}.weight": value for name, value in decoder.state_dict().items() if ".lora_" in name}
    rank = min(next(iter(state.values())).shape)
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "r": rank,
        "lora_alpha": scale_of(decoder) * rank,
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": list(_TARGETS),
        "inference_mode": True,
    }
    return state, config


def read_adapter(folder: Path, state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], float]:
    """The tensors of an adapter folder by our names, and their scale.

    Raises:
        UserError: an adapter that is more than thin matrices beside projections.
    """
    file = folder / ADAPTER_CONFIG
    config = read_json_object(file)
    other = [name for name in _OTHER if config.get(name)] + ["bias"] * (config.get("bias", "none") != "none")
    if config.get("peft_type") != "LORA" or other:
        raise UserError(f"{file}: picochat reads plain LoRA only, not {', '.join(other) or config.get('peft_type')}")
    rank, alpha = config.get("r"), config.get("lora_alpha")
    if not isinstance(rank, int) or not isinstance(alpha, int | float) or rank < 1:
        raise UserError(f"{file} does not say r and lora_alpha as numbers")
    names = {name: name.removeprefix(_PREFIX).removesuffix(".weight") for name in state}
    if unknown := [name for name, own in names.items() if not own.endswith((".lora_A", ".lora_B"))]:
        raise UserError(f"{folder} holds the weight {unknown[0]}, which is no thin matrix of a projection")
    scale = alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)
    return {own: state[name] for name, own in names.items()}, scale
