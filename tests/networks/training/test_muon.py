"""Muon: orthogonal updates of filters and matrices, Adam for the rest."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from netwright.errors import InfeasibleCandidate
from netwright.networks.build import build
from netwright.networks.interfaces.layer import Network
from netwright.networks.interfaces.shapes import Shape
from netwright.networks.layers.basic import GlobalPool
from netwright.networks.layers.conv import Conv
from netwright.networks.layers.linear import Linear
from netwright.networks.tabular.realmlp_layers import NTKLinear
from netwright.networks.training import muon
from netwright.networks.training.muon import Muon, MuonAndAdam, orthogonalize
from netwright.networks.training.param_groups import set_learning_rate


def single_weight(weight: Tensor, *, is_muon: bool, **settings: Any) -> MuonAndAdam:
    """An optimiser of one weight, of learning rate 0.1 and momentum 0.6."""
    group = {"params": [nn.Parameter(weight)], "muon": is_muon, "factor": 1.0, "weight_decay": 0.0}
    return MuonAndAdam([group | settings], 0.1, 0.6, (0.9, 0.95))


def step(optimizer: MuonAndAdam, grad: Tensor) -> Tensor:
    """The weight after a step with this gradient."""
    (weight,) = optimizer.param_groups[0]["params"]
    weight.grad = grad
    optimizer.step()
    return weight.detach().clone()


@pytest.mark.parametrize("shape", [(6, 20), (20, 6), (1, 9), (9, 1)])
def test_orthogonalised_matrix_has_singular_values_near_one(shape: tuple[int, int]) -> None:
    matrix = torch.randn(shape)
    assert torch.linalg.svdvals(matrix / matrix.norm()).max() > 0.3
    values = torch.linalg.svdvals(orthogonalize(matrix, steps=5))
    assert 0.65 < values.min() <= values.max() < 1.25


@pytest.mark.parametrize("shape", [(6, 20), (20, 6), (8, 8)])
def test_orthogonalisation_keeps_singular_vectors(shape: tuple[int, int]) -> None:
    matrix = torch.randn(shape)
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    rotated = left.T @ orthogonalize(matrix) @ right.T  # diagonal
    torch.testing.assert_close(rotated, rotated.diagonal().diag(), rtol=0, atol=1e-4)
    assert (rotated.diagonal() > 0).all()


def test_orthogonalisation_of_a_number_keeps_its_sign() -> None:
    for number in (3e4, -3e-4):
        assert 0.65 < orthogonalize(torch.tensor([[number]])).item() * (number / abs(number)) < 1.25


def test_orthogonalisation_does_not_depend_on_the_scale() -> None:
    matrix = torch.randn(5, 7)
    expected = orthogonalize(matrix)
    torch.testing.assert_close(orthogonalize(1e4 * matrix), expected, rtol=1e-3, atol=1e-3)
    assert torch.equal(orthogonalize(torch.zeros(5, 7)), torch.zeros(5, 7))


def test_update_moves_all_directions_alike() -> None:
    """The gradient is ten times as long along its first direction."""
    grad = torch.diag(torch.tensor([10.0, 3.0, 1.0]))
    moved = -step(single_weight(torch.zeros(3, 3), is_muon=True), grad).diagonal() / 0.1
    assert 0.5 < moved.min() <= moved.max() < 1.3


def test_update_looks_ahead_along_the_momentum() -> None:
    first, second = torch.randn(4, 6), torch.randn(4, 6)
    optimizer = single_weight(torch.zeros(4, 6), is_muon=True)
    after_first = step(optimizer, first)
    change = step(optimizer, second) - after_first
    momentum = 0.6 * first + second
    torch.testing.assert_close(change, -0.1 * orthogonalize(second + 0.6 * momentum))


def test_filters_keep_their_norm() -> None:
    optimizer = single_weight(torch.randn(16, 4, 3, 3) * 7, is_muon=True)
    grad = torch.randn(16, 4, 3, 3)
    norms = [step(optimizer, grad).norm().item() for _ in range(60)]
    # the root of the number of filters, before an update of the length 0.1 that is as long
    assert 0.85 * 4 < min(norms) <= max(norms) < 1.15 * 4


def test_dense_weights_do_not_keep_their_norm() -> None:
    optimizer = single_weight(torch.zeros(16, 36), is_muon=True)
    grad = torch.randn(16, 36)
    assert max(step(optimizer, grad).norm().item() for _ in range(60)) > 3 * 4


def test_filters_are_orthogonalised_over_inputs_and_kernel() -> None:
    weight, grad = torch.randn(4, 3, 3, 3), torch.randn(4, 3, 3, 3)
    after = step(single_weight(weight.clone(), is_muon=True), grad)
    change = (after - 2 * weight / weight.norm()).flatten(1)  # (outputs, inputs * kernel area)
    torch.testing.assert_close(change, -0.1 * orthogonalize(grad.flatten(1)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("weight_decay", [0.0, 0.3])
def test_adam_steps_are_those_of_pytorch(weight_decay: float) -> None:
    weight, grads = torch.randn(5, 3), torch.randn(6, 5, 3)
    grads[:, 0] *= 1e-4
    reference = nn.Parameter(weight.clone())
    adamw = torch.optim.AdamW([reference], lr=0.1, betas=(0.9, 0.95), weight_decay=weight_decay)
    optimizer = single_weight(weight.clone(), is_muon=False, weight_decay=weight_decay)
    for grad in grads:
        reference.grad = grad
        adamw.step()
        torch.testing.assert_close(step(optimizer, grad), reference.detach())


def groups_by_name(
    optimizer: Muon, network: Network, shape: Shape
) -> dict[str, tuple[bool, float, float]]:
    """Name of a parameter -> whether Muon updates it, factor of the learning rate, decay."""
    module = build(network, shape)
    names = {parameter: name for name, parameter in module.named_parameters()}
    groups = optimizer.make(module, lr=0.1).param_groups
    by_name = {
        names[parameter]: (group["muon"], round(group["factor"], 9), group["weight_decay"])
        for group in groups
        for parameter in group["params"]
    }
    assert sum(len(group["params"]) for group in groups) == len(by_name) == len(names)
    return by_name


def test_adam_updates_head_vectors_and_depthwise_filters() -> None:
    network = (Conv(8), Conv(6, separable=True), GlobalPool(), Linear(7), Linear(2))
    optimizer = Muon(0.2, head_factor=0.5, bias_factor=0.25, depthwise_factor=0.125)
    assert groups_by_name(optimizer, network, (3, 8, 8)) == {
        "0.conv.weight": (True, 1.0, 0.2),
        "0.norm.weight": (False, 0.25, 0.0), "0.norm.bias": (False, 0.25, 0.0),
        "1.depthwise.weight": (False, 0.125, 0.2), "1.pointwise.weight": (True, 1.0, 0.2),
        "1.norm.weight": (False, 0.25, 0.0), "1.norm.bias": (False, 0.25, 0.0),
        "3.linear.weight": (True, 1.0, 0.2), "3.linear.bias": (False, 0.25, 0.0),
        "4.linear.weight": (False, 0.5, 0.2), "4.linear.bias": (False, 0.25, 0.0),
    }  # fmt: skip


class _ShiftByMember(nn.Module):
    """Biases with an axis of members, as in ensembles."""

    def __init__(self) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(2, 3))

    def forward(self, x: Tensor) -> Tensor:
        return x[:, None] + self.bias


def test_bias_with_two_axes_is_neither_matrix_nor_head() -> None:
    module = nn.Sequential(nn.Linear(4, 3, bias=False), _ShiftByMember())
    head, bias = Muon(head_factor=0.5, bias_factor=0.25).make(module, lr=0.1).param_groups
    assert head["params"] == [module[0].weight]
    assert bias["params"] == [module[1].bias]
    by_adam = [(group["muon"], group["factor"]) for group in (head, bias)]
    assert by_adam == [(False, 0.5), (False, 0.25)]


def test_factors_of_layers_multiply_those_of_muon() -> None:
    network = (NTKLinear(4, bias_lr_factor=0.5), NTKLinear(2, bias_lr_factor=0.5))
    assert groups_by_name(Muon(bias_factor=0.2), network, (3,))["0.bias"] == (False, 0.1, 0.0)


def test_groups_are_trained_with_their_factors() -> None:
    module = build((Linear(3), Linear(2)), (3,))
    optimizer = Muon(head_factor=0.5, bias_factor=0.25).make(module, lr=1.0)
    set_learning_rate(optimizer.param_groups, 0.01)
    before = {name: parameter.detach().clone() for name, parameter in module.named_parameters()}
    for parameter in module.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    steps = {name: before[name] - parameter for name, parameter in module.named_parameters()}
    for name, factor in (
        ("0.linear.bias", 0.25),
        ("1.linear.weight", 0.5),
        ("1.linear.bias", 0.25),
    ):
        expected = torch.full_like(steps[name], 0.01 * factor)  # Adam's first step
        torch.testing.assert_close(steps[name], expected, rtol=1e-3, atol=1e-6)


def test_weight_decay_spares_biases_and_normalisation() -> None:
    module = build((Conv(4), GlobalPool(), Linear(3), Linear(2)), (3, 6, 6))
    before = {name: parameter.detach().clone() for name, parameter in module.named_parameters()}
    optimizer = Muon(weight_decay=0.5).make(module, lr=0.1)
    for parameter in module.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for name, parameter in module.named_parameters():
        expected = before[name]
        if name == "0.conv.weight":
            expected = expected * 0.95 * 2 / expected.norm()
        elif expected.dim() == 2:
            expected = expected * 0.95
        torch.testing.assert_close(parameter.detach(), expected)


def test_weights_without_gradient_stay() -> None:
    module = build((Conv(4, normalisation="batch_bias"), GlobalPool(), Linear(2)), (3, 6, 6))
    optimizer = Muon(weight_decay=0.5).make(module, lr=0.1)
    module(torch.randn(4, 3, 6, 6)).sum().backward()
    optimizer.step()
    assert torch.equal(module.get_parameter("0.norm.weight"), torch.ones(4))
    assert module.get_parameter("0.norm.bias").abs().min() > 0


@pytest.mark.parametrize("momentum", [-0.1, 1.0, float("nan")])
def test_momentum_out_of_range_is_refused(momentum: float) -> None:
    with pytest.raises(InfeasibleCandidate, match=r"momentum must be in \[0, 1\), got"):
        Muon(momentum=momentum).make(nn.Linear(2, 2), lr=0.1)


def test_orthogonal_updates_learn_directions_of_small_variance(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Their gradients are small: without orthogonalisation the others hide them."""
    inputs = torch.randn(256, 12) * torch.logspace(0, -1.5, 12)  # (rows, columns)
    targets = inputs @ torch.randn(12, 12)

    def final_error() -> float:
        optimizer = single_weight(torch.zeros(12, 12), is_muon=True)
        (weight,) = optimizer.param_groups[0]["params"]
        for i in range(100):
            set_learning_rate(optimizer.param_groups, 0.2 * (1 - i / 100))
            (grad,) = torch.autograd.grad((inputs @ weight.T - targets).square().mean(), weight)
            step(optimizer, grad)
        return (inputs @ weight.T - targets).square().mean().item()

    error = final_error()
    monkeypatch.setattr(muon, "orthogonalize", lambda m: m / m.norm() * min(m.shape) ** 0.5)
    assert error < 0.1 * final_error()
