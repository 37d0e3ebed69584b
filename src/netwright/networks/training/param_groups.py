"""Parameter groups: what is decayed, and at which share of the learning rate each is trained.

A module says so of its own parameters, by two attributes that it may have: `lr_factors`, name ->
factor of the learning rate (1 where nothing is said), and `undecayed`, names that weight decay
leaves alone beside biases and vectors.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import nn

from netwright.errors import InfeasibleCandidate, expected


def groups(module: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Groups for a torch optimiser, with their `factor` of the learning rate.

    Weight decay is for matrices and kernels only: biases, normalisation and what a module calls
    `undecayed` are left alone. Raises InfeasibleCandidate when it is below 0.
    """
    if weight_decay < 0:
        raise InfeasibleCandidate(expected("weight_decay", "at least 0", weight_decay))
    found: dict[tuple[float, float], list[nn.Parameter]] = {}
    for owner, name, parameter in _owned(module):
        decay = weight_decay if _is_weight(owner, name, parameter) else 0.0
        factor = float(getattr(owner, "lr_factors", {}).get(name, 1.0))
        found.setdefault((decay, factor), []).append(parameter)
    return [
        {"params": parameters, "weight_decay": decay, "factor": factor}
        for (decay, factor), parameters in found.items()
    ]


def scale_rates(param_groups: list[dict[str, Any]], lr: float) -> None:
    """Sets the learning rate, each group at its factor of it."""
    for group in param_groups:
        group["lr"] = lr * group.get("factor", 1.0)


def weights_of(module: nn.Module) -> list[nn.Parameter]:
    """Matrices and kernels."""
    return [one for owner, name, one in _owned(module) if _is_weight(owner, name, one)]


def _owned(module: nn.Module) -> Iterator[tuple[nn.Module, str, nn.Parameter]]:
    """Each parameter once, with the module that has it and its name there."""
    seen: set[nn.Parameter] = set()
    for owner in module.modules():
        for name, parameter in owner.named_parameters(recurse=False):
            if parameter not in seen:
                seen.add(parameter)
                yield owner, name, parameter


def _is_weight(owner: nn.Module, name: str, parameter: nn.Parameter) -> bool:
    """A bias may have two axes: that of `Periodic` has."""
    spared = name.startswith("bias") or name in getattr(owner, "undecayed", ())
    return parameter.dim() >= 2 and not spared
