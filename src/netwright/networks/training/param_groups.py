"""Parameter groups: weight decay and learning-rate factor of each parameter.

A module may set these for its own parameters by two attributes: `lr_factors`, name -> factor of the
learning rate (1 by default), and `no_weight_decay`, names of parameters that are not decayed, as
biases and vectors never are.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import nn

from netwright.errors import InfeasibleCandidate, expected


def param_groups(
    module: nn.Module, weight_decay: float, lr_factor: float = 1.0
) -> list[dict[str, Any]]:
    """Return parameter groups for a PyTorch optimiser, each with its `factor` of the learning rate.

    All factors are multiplied by `lr_factor`. Only matrices and kernels are decayed: not biases,
    normalisation and what a module lists in `no_weight_decay`. Raises InfeasibleCandidate if the
    weight decay is below 0.
    """
    if weight_decay < 0:
        raise InfeasibleCandidate(expected("weight_decay", "at least 0", weight_decay))
    parameters_by_group: dict[tuple[float, float], list[nn.Parameter]] = {}
    for owner, name, parameter in _named_parameters(module):
        decay = weight_decay if _is_decayed(owner, name, parameter) else 0.0
        factor = float(getattr(owner, "lr_factors", {}).get(name, 1.0))
        parameters_by_group.setdefault((decay, factor), []).append(parameter)
    return [
        {"params": parameters, "weight_decay": decay, "factor": factor * lr_factor}
        for (decay, factor), parameters in parameters_by_group.items()
    ]


def set_learning_rate(groups: list[dict[str, Any]], lr: float) -> None:
    """Set the learning rate of each group, multiplied by its factor, in place."""
    for group in groups:
        group["lr"] = lr * group.get("factor", 1.0)


def decayed_parameters(module: nn.Module) -> list[nn.Parameter]:
    """Return the matrices and kernels."""
    return [
        parameter
        for owner, name, parameter in _named_parameters(module)
        if _is_decayed(owner, name, parameter)
    ]


def _named_parameters(module: nn.Module) -> Iterator[tuple[nn.Module, str, nn.Parameter]]:
    """Yield each parameter once, with the submodule that owns it and its name there."""
    seen: set[nn.Parameter] = set()
    for owner in module.modules():
        for name, parameter in owner.named_parameters(recurse=False):
            if parameter not in seen:
                seen.add(parameter)
                yield owner, name, parameter


def _is_decayed(owner: nn.Module, name: str, parameter: nn.Parameter) -> bool:
    """Biases are told by name, since they may have two axes, as in `Periodic`."""
    is_spared = name.startswith("bias") or name in getattr(owner, "no_weight_decay", ())
    return parameter.dim() >= 2 and not is_spared
