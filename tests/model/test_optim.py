"""One optimizer over two rules: which parameter goes where, what a step does, and that resuming is bit for bit."""

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from picochat.errors import UserError
from picochat.model.config import DecoderConfig
from picochat.model.decoder import Decoder
from picochat.model.optim import OptimizerConfig, build_optimizer

TINY = DecoderConfig(20, 8, 12, 2, 2, 1, 4)


def decoder(tied: bool = True) -> Decoder:
    torch.manual_seed(0)
    return Decoder(replace(TINY, tie_word_embeddings=tied))


def loss(model: Decoder, step: int) -> Tensor:
    ids = torch.randint(20, (2, 9), generator=torch.Generator().manual_seed(step))
    logits = model.logits(model(ids[:, :-1]))
    return nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())


def learn(model: Decoder, optimizer: torch.optim.Optimizer, steps: range) -> None:
    for step in steps:
        loss(model, step).backward()
        optimizer.step()
        optimizer.zero_grad()


@pytest.mark.parametrize("name", ["muon", "adamw"])
def test_every_trained_parameter_is_in_one_group_with_its_rate_and_only_matrices_decay(name: Any) -> None:
    model = decoder(tied=False)
    frozen = model.model.layers[0].mlp.up_proj.weight.requires_grad_(False)
    config = OptimizerConfig(name=name, weight_decay=0.1, learning_rate=0.004)
    optimizer = build_optimizer(model, config)
    found = {group["name"]: group for group in optimizer.param_groups}
    assert {n: (len(g["params"]), g["weight_decay"], g["lr"]) for n, g in found.items()} == {
        "matrices": (2 * 7 - 1, 0.1, pytest.approx(0.02 if name == "muon" else 0.004)),  # q k v o gate up down
        "embeddings": (2, 0.0, 0.004),  # embedding and head
        "norms": (2 * 4 + 1, 0.0, 0.004),
    }
    placed = [id(p) for group in optimizer.param_groups for p in group["params"]]
    assert sorted(placed) == sorted(id(p) for p in model.parameters() if p is not frozen)
    own = build_optimizer(model, replace(config, matrix_learning_rate=0.5)).param_groups[0]["lr"]
    assert own == (0.5 if name == "muon" else 0.004)


@pytest.mark.parametrize("name", ["muon", "adamw"])
def test_a_step_is_that_of_torchs_own_optimizers(name: Any) -> None:
    ours, theirs = decoder(), decoder()
    optimizer = build_optimizer(ours, OptimizerConfig(name=name, learning_rate=0.01, weight_decay=0.1))
    named = dict(theirs.named_parameters())
    matrices = [p for n, p in named.items() if p.ndim == 2 and "layers" in n]
    rest = [p for n, p in named.items() if not (p.ndim == 2 and "layers" in n)]
    adamw = torch.optim.AdamW(rest, lr=0.01, betas=(0.9, 0.95), weight_decay=0.0)
    other: torch.optim.Optimizer = torch.optim.AdamW(matrices, lr=0.01, betas=(0.9, 0.95), weight_decay=0.1)
    if name == "muon":
        other = torch.optim.Muon(matrices, lr=0.05, momentum=0.95, weight_decay=0.1)
    learn(ours, optimizer, range(2))
    for step in range(2):
        loss(theirs, step).backward()
        for part in (other, adamw):
            part.step()
            part.zero_grad()
    for (key, one), two in zip(ours.state_dict().items(), theirs.state_dict().values(), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-5, atol=1e-6, msg=key)


@pytest.mark.parametrize("name", ["muon", "adamw"])
def test_a_resumed_optimizer_goes_on_bit_for_bit(name: Any) -> None:
    config = OptimizerConfig(name=name, weight_decay=0.1)
    straight = decoder()
    optimizer = build_optimizer(straight, config)
    learn(straight, optimizer, range(3))
    weights, state = copy.deepcopy(straight.state_dict()), copy.deepcopy(optimizer.state_dict())
    learn(straight, optimizer, range(3, 6))

    resumed = decoder()
    resumed.load_state_dict(weights)
    other = build_optimizer(resumed, config)
    other.load_state_dict(state)
    learn(resumed, other, range(3, 6))
    for one, two in zip(straight.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(one, two)

    fresh = decoder()
    fresh.load_state_dict(weights)
    learn(fresh, build_optimizer(fresh, config), range(3, 6))
    assert not torch.equal(next(fresh.parameters()), next(straight.parameters()))  # the state did matter


@pytest.mark.parametrize("name", ["muon", "adamw"])
def test_settings_of_a_resumed_run_are_its_own(name: Any) -> None:
    model = decoder()
    before = build_optimizer(model, OptimizerConfig(name=name))
    learn(model, before, range(1))
    resumed = build_optimizer(model, OptimizerConfig(name=name, weight_decay=0.5, momentum=0.8, betas=(0.8, 0.9)))
    own = [{key: group[key] for key in group.keys() - {"params", "lr"}} for group in resumed.param_groups]
    resumed.load_state_dict(copy.deepcopy(before.state_dict()))
    assert [{key: group[key] for key in own[0].keys() & group.keys()} for group in resumed.param_groups] == [
        {key: group[key] for key in own[0].keys() & group.keys()} for group in own
    ]
    assert next(group for group in resumed.param_groups if group["name"] == "matrices")["weight_decay"] == 0.5


def test_parameters_without_a_gradient_stay_as_they_are() -> None:
    model = decoder()
    optimizer = build_optimizer(model, OptimizerConfig(weight_decay=0.5))
    before = copy.deepcopy(model.state_dict())
    model.model.layers[0].mlp.up_proj.weight.grad = torch.ones(12, 8)
    optimizer.step()
    changed = [name for name, value in model.state_dict().items() if not torch.equal(before[name], value)]
    assert changed == ["model.layers.0.mlp.up_proj.weight"]
    assert len(optimizer.state_dict()["state"]) == 1


def test_gradient_scaling_skips_a_step_with_infinite_gradients() -> None:
    model = decoder()
    optimizer = build_optimizer(model, OptimizerConfig())
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    before = copy.deepcopy(model.state_dict())
    scaler.scale(model(torch.tensor([[1, 2]])).sum() * torch.inf).backward()
    scaler.step(optimizer)
    scaler.update()
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert scaler.get_scale() == 4.0
    optimizer.zero_grad()
    scaler.scale(model(torch.tensor([[1, 2]])).square().sum()).backward()
    scaler.step(optimizer)
    assert not torch.equal(before["model.embed_tokens.weight"], model.model.embed_tokens.weight)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"learning_rate": -1.0}, "optimizer.learning_rate is -1.0"),
        ({"betas": (0.9, 1.0)}, "optimizer.betas holds 1.0"),
        ({"momentum": 1.5}, "optimizer.momentum holds 1.5"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        OptimizerConfig(**settings)


def test_muon_refuses_flattened_weights() -> None:
    model = decoder()
    weight = model.model.layers[0].mlp.up_proj
    weight.weight = nn.Parameter(weight.weight.detach().flatten())
    with pytest.raises(UserError, match="use adamw where the weights are sharded"):
        build_optimizer(model, OptimizerConfig())


def test_another_rules_state_is_refused() -> None:
    state = build_optimizer(decoder(), OptimizerConfig(name="muon")).state_dict()
    with pytest.raises(UserError, match="optimizer muon and this run has adamw: go on with --optimizer muon"):
        build_optimizer(decoder(), OptimizerConfig(name="adamw")).load_state_dict(state)
