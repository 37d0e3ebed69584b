"""Muon: momentum with orthogonalised updates for filters and matrices, Adam for everything else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from netwright.errors import InfeasibleCandidate, expected
from netwright.networks.training.optimizers import Optimizer
from netwright.networks.training.param_groups import decayed_parameters, param_groups

_NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
"""Coefficients of the quintic iteration (Jordan et al. 2024, kellerjordan.github.io/posts/muon)."""


def orthogonalize(matrix: Tensor, steps: int = 3) -> Tensor:
    """Return about the nearest semi-orthogonal matrix, by a Newton-Schulz iteration.

    Args:
        matrix: (rows, columns).
        steps: Iterations; three bring most singular values into [0.3, 1.2], five nearer to 1.
    """
    a, b, c = _NEWTON_SCHULZ
    is_tall = matrix.shape[0] > matrix.shape[1]
    x = (matrix.T if is_tall else matrix) / (matrix.norm() + 1e-7)
    for _ in range(steps):
        gram = x @ x.T  # (smaller side, smaller side)
        x = a * x + (b * gram + c * gram @ gram) @ x
    orthogonal: Tensor = x.T if is_tall else x
    return orthogonal


class MuonAndAdam(torch.optim.Optimizer):
    """Muon for the groups with `muon`, Adam for the others.

    Args:
        groups: Parameter groups; each has `muon`, `factor` and `weight_decay`.
        lr: Learning rate, multiplied by each group's factor.
        momentum: Of Muon, with Nesterov's look-ahead.
        betas: Of Adam.
    """

    def __init__(
        self, groups: list[dict[str, Any]], lr: float, momentum: float, betas: tuple[float, float]
    ) -> None:
        super().__init__(groups, {"lr": lr, "momentum": momentum, "betas": betas, "muon": False})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Update the parameters; `closure` is ignored."""
        for group in self.param_groups:
            update = _muon_step if group["muon"] else _adam_step
            for weight in group["params"]:
                if weight.grad is not None:
                    update(weight, weight.grad, group, self.state[weight])


def _muon_step(weight: Tensor, grad: Tensor, group: dict[str, Any], state: dict[str, Any]) -> None:
    if not state:
        state["momentum"] = torch.zeros_like(grad)
    momentum = state["momentum"]
    momentum.mul_(group["momentum"]).add_(grad)
    lookahead = grad.add(momentum, alpha=group["momentum"])  # Nesterov
    if weight.dim() == 4:  # filters keep their norm: a normalisation follows (2404.00498, sec. 3)
        weight.mul_(len(weight) ** 0.5 / (weight.norm() + 1e-7))
    weight.mul_(1 - group["lr"] * group["weight_decay"])
    direction = orthogonalize(lookahead.flatten(1))  # (outputs, inputs * kernel area)
    weight.add_(direction.view_as(weight), alpha=-group["lr"])


def _adam_step(weight: Tensor, grad: Tensor, group: dict[str, Any], state: dict[str, Any]) -> None:
    if not state:
        state |= {"mean": torch.zeros_like(grad), "square": torch.zeros_like(grad)}
        state["step"] = torch.zeros(())  # a tensor, as PyTorch's own optimisers have
    state["step"] += 1
    step, (beta1, beta2) = state["step"].item(), group["betas"]
    state["mean"].lerp_(grad, 1 - beta1)
    state["square"].mul_(beta2).addcmul_(grad, grad, value=1 - beta2)
    scale = (state["square"] / (1 - beta2**step)).sqrt_().add_(1e-8)
    weight.mul_(1 - group["lr"] * group["weight_decay"])
    weight.addcdiv_(state["mean"], scale, value=-group["lr"] / (1 - beta1**step))


@dataclass(frozen=True)
class Muon(Optimizer):
    """Muon (Jordan et al. 2024): momentum whose update is made orthogonal, so all directions learn.

    It updates convolution filters and inner dense layers; filters keep their norm. Adam updates the
    head, biases, normalisation and depthwise filters, with their own learning rates. PyTorch's Muon
    takes matrices only.

    Args:
        weight_decay: At least 0; biases and normalisation are spared.
        momentum: In [0, 1).
        head_factor: The head's learning rate as a multiple of the recipe's.
        bias_factor: The same for biases, normalisation and other vectors.
        depthwise_factor: The same for filters that read a single channel.

    Example:
        >>> recipe = Training(network, lr=0.12, optimizer=Muon(), schedule=LinearDecay(0.2))
    """

    weight_decay: float = 0.0
    momentum: float = 0.6
    head_factor: float = 0.25
    bias_factor: float = 0.4
    depthwise_factor: float = 0.1

    def make(self, module: nn.Module, lr: float) -> torch.optim.Optimizer:
        if not 0 <= self.momentum < 1:
            raise InfeasibleCandidate(expected("momentum", "in [0, 1)", self.momentum))
        factors = self._adam_factors(module)
        groups: list[dict[str, Any]] = []
        for group in param_groups(module, self.weight_decay):
            by_kind: dict[float | None, list[nn.Parameter]] = {}
            for weight in group["params"]:
                by_kind.setdefault(factors[weight], []).append(weight)
            for factor, weights in by_kind.items():
                settings = {"params": weights, "muon": factor is None}
                total_factor = group["factor"] * (1.0 if factor is None else factor)
                groups.append(group | settings | {"factor": total_factor})
        return MuonAndAdam(groups, lr, self.momentum, (0.9, 0.95))

    def _adam_factors(self, module: nn.Module) -> dict[nn.Parameter, float | None]:
        """Return the factor of each weight that Adam updates, and None for those of Muon."""
        factors: dict[nn.Parameter, float | None] = dict.fromkeys(
            module.parameters(), self.bias_factor
        )
        head = None
        for weight in decayed_parameters(module):  # biases may have two axes, but are none of these
            if weight.dim() == 2:
                factors[weight], head = None, weight
            elif weight.dim() == 4:
                factors[weight] = None if weight.shape[1] > 1 else self.depthwise_factor
        if head is not None:  # the last dense layer
            factors[head] = self.head_factor
        return factors
