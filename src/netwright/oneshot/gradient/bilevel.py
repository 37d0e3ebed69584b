"""Gradient of the architecture parameters in bilevel optimisation (DARTS, section 2.3).

Liu et al. (2019, 1806.09055) approximate the optimal weights of an architecture by one training
step. `train_loss` and `valid_loss` return the loss of the module's present weights; they must be
deterministic, since the second order calls them more than once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeAlias

import torch
from torch import Tensor

LossFunction: TypeAlias = Callable[[], Tensor]
WeightUpdate: TypeAlias = Callable[[Sequence[Tensor]], Sequence[Tensor]]
"""Map the gradients of the weights to what a training step subtracts from each weight."""

_FINITE_DIFFERENCE_SCALE = 0.01
"""Epsilon is this over the norm of the vector (section 2.3)."""


def first_order(valid_loss: LossFunction, alphas: Sequence[Tensor]) -> list[Tensor]:
    """Return the gradient of the validation loss under the present weights (xi = 0)."""
    return _gradients(valid_loss(), alphas)


def second_order(
    train_loss: LossFunction,
    valid_loss: LossFunction,
    weights: Sequence[Tensor],
    alphas: Sequence[Tensor],
    weight_update: WeightUpdate,
    lr: float,
) -> list[Tensor]:
    """Return the gradient of the validation loss through one training step of the weights.

    `weight_update` computes that step, with learning rate `lr`. The product of the second
    derivative and a vector is a finite difference of two gradients (equation 8).
    """
    updates = weight_update(_gradients(train_loss(), weights))
    with _moved(weights, updates, -1.0):  # w' = w - xi dL_train / dw
        gradients = _gradients(valid_loss(), [*alphas, *weights])
    outer, vector = gradients[: len(alphas)], gradients[len(alphas) :]
    norm = torch.sqrt(sum(((v**2).sum() for v in vector), torch.zeros(())))
    if not float(norm) > 0:
        return outer
    epsilon = _FINITE_DIFFERENCE_SCALE / float(norm)
    with _moved(weights, vector, epsilon):
        above = _gradients(train_loss(), alphas)
    with _moved(weights, vector, -epsilon):
        below = _gradients(train_loss(), alphas)
    return [o - lr * (a - b) / (2 * epsilon) for o, a, b in zip(outer, above, below, strict=True)]


def _gradients(loss: Tensor, tensors: Sequence[Tensor]) -> list[Tensor]:
    """Return the gradients by the tensors; zeros where the loss does not depend on one."""
    gradients = torch.autograd.grad(loss, tensors, allow_unused=True)
    return [
        torch.zeros_like(x) if g is None else g for x, g in zip(tensors, gradients, strict=True)
    ]


@contextmanager
def _moved(weights: Sequence[Tensor], moves: Sequence[Tensor], factor: float) -> Iterator[None]:
    """Move the weights in place within a context, and restore copies: subtracting is inexact."""
    copies = [weight.detach().clone() for weight in weights]
    with torch.no_grad():
        for weight, move in zip(weights, moves, strict=True):
            weight.add_(move, alpha=factor)
    try:
        yield
    finally:
        with torch.no_grad():
            for weight, copy in zip(weights, copies, strict=True):
                weight.copy_(copy)
