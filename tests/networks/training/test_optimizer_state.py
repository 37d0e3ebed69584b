"""The state of an optimiser survives as tensors; that of another one is refused."""

from __future__ import annotations

import pytest
import torch

from netwright.networks.training.optimizer_state import (
    load_optimizer_tensors,
    optimizer_tensors,
    parameters_of,
)


def adam(shape: tuple[int, ...] = (3, 2, 2, 2)) -> torch.optim.Optimizer:
    weight = torch.arange(24.0).reshape(shape)
    if weight.dim() == 4:
        weight = weight.contiguous(memory_format=torch.channels_last)
    parameter = torch.nn.Parameter(weight)
    parameter.grad = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    return torch.optim.AdamW([parameter])


def test_tensors_are_named_by_parameter_and_restored_in_its_memory_order() -> None:
    optimizer = adam()
    assert optimizer_tensors(optimizer) == {}
    optimizer.step()
    tensors = {name: tensor.contiguous() for name, tensor in optimizer_tensors(optimizer).items()}
    assert tensors.keys() == {"0.step", "0.exp_avg", "0.exp_avg_sq"}
    other = adam()
    load_optimizer_tensors(other, tensors)
    (parameter,) = parameters_of(other)
    restored = other.state[parameter]
    assert torch.equal(restored["exp_avg"], tensors["0.exp_avg"])
    assert restored["exp_avg"].stride() == parameter.stride() != tensors["0.exp_avg"].stride()


@pytest.mark.parametrize("name", ["1.exp_avg", "x.exp_avg", "exp_avg", "-1.exp_avg"])
def test_state_of_an_unknown_parameter_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        load_optimizer_tensors(adam(), {name: torch.zeros(())})


def test_factored_state_is_restored() -> None:
    """Adafactor keeps means of rows and columns, which have other shapes than their parameter."""
    states = []
    for n_steps in (2, 0):
        parameter = torch.nn.Parameter(torch.ones(4, 3))
        optimizer = torch.optim.Adafactor([parameter])
        for _ in range(n_steps):
            parameter.grad = torch.arange(12.0).view(4, 3)
            optimizer.step()
        states.append(optimizer)
    load_optimizer_tensors(states[1], optimizer_tensors(states[0]))
    first, other = (optimizer_tensors(optimizer) for optimizer in states)
    assert first.keys() == other.keys() != set()
    assert all(torch.equal(first[name], other[name]) for name in first)
