"""The gradient of architecture parameters: the validation loss of weights that are still learning.

DARTS (Liu et al. 2019, 1806.09055), section 2.3: the best weights for an architecture are taken to
be one training step away. `train` and `valid` give a loss for the module's weights as they are; they
have to be deterministic, since the second order calls each more than once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

LossOf = Callable[[], Tensor]
Step = Callable[[Sequence[Tensor]], Sequence[Tensor]]
"""From gradients of the weights to how far a training step moves each of them (to be subtracted)."""

_REACH = 0.01
"""Of the finite difference: epsilon is this over the length of the vector (section 2.3)."""


def first_order(valid: LossOf, alphas: Sequence[Tensor]) -> list[Tensor]:
    """Of the validation loss under the present weights: the case xi = 0."""
    return _gradients(valid(), alphas)


def second_order(
    train: LossOf, valid: LossOf, weights: Sequence[Tensor], alphas: Sequence[Tensor],
    step: Step, rate: float,
) -> list[Tensor]:  # fmt: skip
    """Through one training step: `step` of the weights, whose learning rate is `rate`.

    The product of a second derivative and a vector is a difference of two gradients.
    """
    moves = step(_gradients(train(), weights))
    with _moved(weights, moves, -1.0):  # w' = w - xi dL_train / dw
        found = _gradients(valid(), [*alphas, *weights])
    outer, vector = found[: len(alphas)], found[len(alphas) :]
    length = torch.sqrt(sum(((v**2).sum() for v in vector), torch.zeros(())))
    if not float(length) > 0:
        return outer
    epsilon = _REACH / float(length)
    with _moved(weights, vector, epsilon):
        above = _gradients(train(), alphas)
    with _moved(weights, vector, -epsilon):
        below = _gradients(train(), alphas)
    return [o - rate * (a - b) / (2 * epsilon) for o, a, b in zip(outer, above, below, strict=True)]


def _gradients(loss: Tensor, of: Sequence[Tensor]) -> list[Tensor]:
    """Zeros for what the loss does not depend on."""
    found = torch.autograd.grad(loss, of, allow_unused=True)
    return [torch.zeros_like(x) if g is None else g for x, g in zip(of, found, strict=True)]


@contextmanager
def _moved(weights: Sequence[Tensor], by: Sequence[Tensor], factor: float) -> Iterator[None]:
    """The weights moved in place; put back exactly, since adding and subtracting would not be."""
    kept = [w.detach().clone() for w in weights]
    with torch.no_grad():
        for weight, move in zip(weights, by, strict=True):
            weight.add_(move, alpha=factor)
    try:
        yield
    finally:
        with torch.no_grad():
            for weight, before in zip(weights, kept, strict=True):
                weight.copy_(before)
