"""The state of an optimiser as tensors with flat names, for files without pickles."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


def parameters_of(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    """Return the parameters in the order in which a state dict counts them."""
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return the tensors of each parameter's state: ``3.exp_avg`` belongs to the fourth one."""
    return {
        f"{index}.{name}": tensor
        for index, tensors in optimizer.state_dict()["state"].items()
        for name, tensor in tensors.items()
        if tensor is not None
    }


def load_optimizer_tensors(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Set the optimiser's state to what `optimizer_tensors` returned.

    Args:
        optimizer: of the same class and parameters.
        tensors: of an optimiser like this one.

    Raises:
        ValueError: A tensor belongs to no parameter; nothing is set.
    """
    parameters = parameters_of(optimizer)
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        index, _, name = key.partition(".")
        if not index.isdecimal() or int(index) >= len(parameters):
            raise ValueError(key)
        parameter = parameters[int(index)].detach()
        if tensor.shape == parameter.shape:
            # fused optimisers pair elements as they lie in memory, which may be channels-last
            tensor = torch.empty_like(parameter, dtype=tensor.dtype).copy_(tensor)
        state.setdefault(int(index), {})[name] = tensor
    optimizer.load_state_dict(optimizer.state_dict() | {"state": state})
