"""Learning-rate factors and weight decay of single parameters."""

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
from netwright.networks.training.labelled_data import LabelledData
from netwright.networks.training.loop import train
from netwright.networks.training.optimizers import SGD, AdamW, Optimizer
from netwright.networks.training.param_groups import (
    decayed_parameters,
    param_groups,
    set_learning_rate,
)
from netwright.networks.training.recipe import Training

NET = (
    PeriodicLinear(3, lr_factor=0.2),
    Scaling(lr_factor=5.0),
    NTKLinear(4),
    ParametricActivation(),
    NTKLinear(2),
)


def factors(module: nn.Module, groups: list[dict[str, Any]]) -> dict[str, tuple[float, float]]:
    """Name of a parameter -> factor of the learning rate, weight decay."""
    names = {parameter: name for name, parameter in module.named_parameters()}
    return {
        names[parameter]: (group["factor"], group["weight_decay"])
        for group in groups
        for parameter in group["params"]
    }


def test_every_parameter_is_in_one_group_with_its_own_factor() -> None:
    module = build(NET, (2,))
    factors_by_name = factors(module, param_groups(module, 0.5))
    assert factors_by_name == {
        "0.frequency": (0.2, 0.5), "0.phase": (0.2, 0.0), "0.weight": (0.2, 0.5),
        "0.bias": (0.2, 0.0), "1.weight": (5.0, 0.0), "2.weight": (1.0, 0.5), "2.bias": (0.1, 0.0),
        "3.weight": (0.1, 0.0), "4.weight": (1.0, 0.5), "4.bias": (0.1, 0.0),
    }  # fmt: skip
    assert sum(len(group["params"]) for group in param_groups(module, 0.5)) == len(factors_by_name)


def test_parameters_of_single_members_are_not_decayed() -> None:
    module = build((ScaleEnsemble(2), LinearBatchEnsemble(3), LinearEnsemble(2)), (4,))
    groups = param_groups(module, 0.5)
    decayed = {name for name, (_, decay) in factors(module, groups).items() if decay}
    assert decayed == {"1.weight", "2.weight"}
    weights = {id(module[1].weight), id(module[2].weight)}
    assert {id(parameter) for parameter in decayed_parameters(module)} == weights


def test_factor_of_the_optimiser_multiplies_those_of_layers() -> None:
    module = build(NET, (2,))
    plain, scaled = (factors(module, param_groups(module, 0.5, f)) for f in (1.0, 0.5))
    assert scaled == {name: (0.5 * factor, decay) for name, (factor, decay) in plain.items()}
    (group,) = AdamW(lr_factor=0.1).make(nn.Linear(2, 2, bias=False), lr=1.0).param_groups
    set_learning_rate([group], 0.3)
    assert group["lr"] == pytest.approx(0.03)


def test_shared_parameters_are_in_one_group_once() -> None:
    shared = nn.Linear(3, 3)
    groups = param_groups(nn.Sequential(shared, shared), 0.1)
    assert sum(len(group["params"]) for group in groups) == 2


@pytest.mark.parametrize(
    "optimizer", [AdamW(weight_decay=0.0), SGD(weight_decay=0.0, momentum=0.0)]
)
def test_step_length_is_scaled_by_the_factor(optimizer: Optimizer) -> None:
    module = build(NET, (2,))
    torch_optimizer = optimizer.make(module, lr=1.0)
    set_learning_rate(torch_optimizer.param_groups, 0.01)
    before = {name: parameter.detach().clone() for name, parameter in module.named_parameters()}
    for parameter in module.parameters():
        parameter.grad = torch.ones_like(parameter)
    torch_optimizer.step()
    for name, parameter in module.named_parameters():
        step = 0.01 * factors(module, torch_optimizer.param_groups)[name][0]
        torch.testing.assert_close(
            before[name] - parameter, torch.full_like(parameter, step), rtol=1e-3, atol=1e-6
        )


def test_training_scales_learning_rates_by_factors() -> None:
    """One step of gradient descent on layers that differ in their factor alone."""

    def bias_change(bias_lr_factor: float) -> Tensor:
        network = NTKLinear(1, init="normal", bias_lr_factor=bias_lr_factor)
        torch.manual_seed(0)
        module = build(network, (3,))
        before = module.bias.detach().clone()
        rows = LabelledData(torch.ones(8, 3), torch.full((8,), 100.0))
        recipe = Training(network, lr=0.1, epochs=1, optimizer=SGD(0.0, 0.0), max_grad_norm=0.0)
        train(recipe, module, rows, rows.inputs, lambda out: 0.0, seed=0)
        return (module.bias - before).detach()

    assert bias_change(1.0).abs() > 0.01
    torch.testing.assert_close(bias_change(0.25), bias_change(1.0) / 4)
    assert bias_change(0.0) == 0
