"""Learning rates of their own, and what weight decay leaves alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from netwright.networks.build import build
from netwright.networks.tabular.batch_ensemble import (
    LinearBatchEnsemble,
    LinearEnsemble,
    ScaleEnsemble,
)
from netwright.networks.tabular.numeric_embeddings import PeriodicLinear
from netwright.networks.tabular.realmlp_layers import NTKLinear, ParametricActivation, Scaling
from netwright.networks.training.loop import LabelledData, train
from netwright.networks.training.optimizers import SGD, AdamW, Optimizer
from netwright.networks.training.param_groups import groups, scale_rates, weights_of
from netwright.networks.training.recipe import Training

NET = (
    PeriodicLinear(3, lr_factor=0.2),
    Scaling(lr_factor=5.0),
    NTKLinear(4),
    ParametricActivation(),
    NTKLinear(2),
)


def factors(module: nn.Module, found: list[dict[str, Any]]) -> dict[str, tuple[float, float]]:
    """Name of a parameter -> factor of the learning rate, weight decay."""
    names = {parameter: name for name, parameter in module.named_parameters()}
    return {
        names[parameter]: (group["factor"], group["weight_decay"])
        for group in found
        for parameter in group["params"]
    }


def test_every_parameter_is_in_one_group_with_its_own_factor() -> None:
    module = build(NET, (2,))
    said = factors(module, groups(module, 0.5))
    assert said == {
        "0.frequency": (0.2, 0.5), "0.phase": (0.2, 0.0), "0.weight": (0.2, 0.5),
        "0.bias": (0.2, 0.0), "1.weight": (5.0, 0.0), "2.weight": (1.0, 0.5), "2.bias": (0.1, 0.0),
        "3.weight": (0.1, 0.0), "4.weight": (1.0, 0.5), "4.bias": (0.1, 0.0),
    }  # fmt: skip
    assert sum(len(group["params"]) for group in groups(module, 0.5)) == len(said)


def test_what_tells_members_apart_is_not_decayed() -> None:
    module = build((ScaleEnsemble(2), LinearBatchEnsemble(3), LinearEnsemble(2)), (4,))
    decayed = {name for name, (_, decay) in factors(module, groups(module, 0.5)).items() if decay}
    assert decayed == {"1.weight", "2.weight"}
    assert {id(one) for one in weights_of(module)} == {id(module[1].weight), id(module[2].weight)}


def test_shared_parameters_are_in_one_group_once() -> None:
    one = nn.Linear(3, 3)
    assert sum(len(g["params"]) for g in groups(nn.Sequential(one, one), 0.1)) == 2


@pytest.mark.parametrize(
    "optimizer", [AdamW(weight_decay=0.0), SGD(weight_decay=0.0, momentum=0.0)]
)
def test_a_step_is_as_long_as_the_factor_says(optimizer: Optimizer) -> None:
    module = build(NET, (2,))
    of = optimizer.make(module, lr=1.0)
    scale_rates(of.param_groups, 0.01)
    before = {name: one.detach().clone() for name, one in module.named_parameters()}
    for one in module.parameters():
        one.grad = torch.ones_like(one)
    of.step()
    for name, one in module.named_parameters():
        wanted = 0.01 * factors(module, of.param_groups)[name][0]
        torch.testing.assert_close(
            before[name] - one, torch.full_like(one, wanted), rtol=1e-3, atol=1e-6
        )


def test_a_training_heeds_the_factors() -> None:
    """One step of gradient descent on equal layers but for their factor."""

    def moved(bias_lr: float) -> Tensor:
        network = NTKLinear(1, init="normal", bias_lr_factor=bias_lr)
        torch.manual_seed(0)
        module = build(network, (3,))
        before = module.bias.detach().clone()
        rows = LabelledData(torch.ones(8, 3), torch.full((8,), 100.0))
        recipe = Training(network, lr=0.1, epochs=1, optimizer=SGD(0.0, 0.0), max_grad_norm=0.0)
        train(recipe, module, rows, rows.inputs, lambda out: 0.0, seed=0)
        return (module.bias - before).detach()

    assert moved(1.0).abs() > 0.01
    torch.testing.assert_close(moved(0.25), moved(1.0) / 4)
    assert moved(0.0) == 0
