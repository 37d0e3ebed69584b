"""Second-order architecture gradients, compared with exact ones."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from netwright.networks.layers.basic import GlobalPool, Pool
from netwright.networks.layers.conv import Conv
from netwright.networks.layers.linear import Linear
from netwright.oneshot.gradient import bilevel
from netwright.oneshot.gradient.bilevel import first_order, second_order
from netwright.oneshot.gradient.supernet import Supernet
from netwright.space.choices import OneOf

RATE = 0.3


class Problem:
    """A small supernet in double precision, smooth, with a training and a validation batch."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        conv1, conv3 = (
            Conv(4, kernel, normalisation="none", activation="tanh") for kernel in (1, 3)
        )
        op = {"one": conv1, "three": conv3, "pool": Pool("avg")}
        network = (conv3, OneOf(op), OneOf(op), GlobalPool(), Linear())
        self.net = Supernet(network, (2, 5, 5), outputs=3).double()
        self.alpha = {
            path: (0.5 * torch.randn(n, dtype=torch.float64)).requires_grad_()
            for path, n in self.net.options.items()
        }
        self.weights = list(self.net.parameters())
        draw = torch.Generator().manual_seed(1)
        x = torch.randn(2, 12, 2, 5, 5, generator=draw, dtype=torch.float64)
        y = torch.randint(0, 3, (2, 12), generator=draw)
        self.batches = [(x[0], y[0]), (x[1], y[1])]

    def loss(self, batch: int) -> Tensor:
        x, y = self.batches[batch]
        weights = {path: a.softmax(0) for path, a in self.alpha.items()}
        return nn.functional.cross_entropy(self.net(x, weights), y)

    @property
    def alphas(self) -> list[Tensor]:
        return [*self.alpha.values()]

    def second(self) -> list[Tensor]:
        return second_order(
            lambda: self.loss(0), lambda: self.loss(1), self.weights, self.alphas,
            lambda gradients: [RATE * g for g in gradients], RATE,
        )  # fmt: skip

    def exact(self) -> list[Tensor]:
        """Return the gradient by differentiating through the step."""
        names = [name for name, _ in self.net.named_parameters()]
        slopes = torch.autograd.grad(self.loss(0), self.weights, create_graph=True)
        moved = {n: w - RATE * g for n, w, g in zip(names, self.weights, slopes, strict=True)}
        x, y = self.batches[1]
        weights = {path: a.softmax(0) for path, a in self.alpha.items()}
        out = torch.func.functional_call(self.net, moved, (x, weights))
        return list(torch.autograd.grad(nn.functional.cross_entropy(out, y), self.alphas))


def distance(a: list[Tensor], b: list[Tensor]) -> float:
    """Return the distance relative to the norm of b."""
    first, second = torch.cat(a), torch.cat(b)
    return float((first - second).norm() / second.norm())


def test_second_order_approximates_the_exact_gradient() -> None:
    problem = Problem()
    assert distance(problem.second(), problem.exact()) < 1e-3


def test_gradient_differs_without_the_second_derivative(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    problem = Problem()
    assert distance(first_order(lambda: problem.loss(1), problem.alphas), problem.exact()) > 0.05
    whole = problem.second()
    monkeypatch.setattr(
        bilevel, "_FINITE_DIFFERENCE_SCALE", 1e-30
    )  # the difference vanishes in rounding
    assert distance(problem.second(), whole) > 1e-2


def test_second_order_restores_weights_bit_for_bit() -> None:
    problem = Problem()
    before = [w.detach().clone() for w in problem.weights]
    problem.second()
    assert all(torch.equal(a, b) for a, b in zip(before, problem.weights, strict=True))
    assert all(w.grad is None for w in problem.weights)


def test_loss_without_weights_has_the_first_order_gradient() -> None:
    alpha = torch.tensor([1.0, 2.0], requires_grad=True)
    weight = torch.tensor([1.0], requires_grad=True)
    gradients = second_order(
        lambda: (weight * alpha.sum()).sum(), lambda: (alpha**2).sum(), [weight], [alpha],
        lambda gradients_of_weights: [0.1 * g for g in gradients_of_weights], 0.1,
    )  # fmt: skip
    assert torch.equal(gradients[0], torch.tensor([2.0, 4.0]))
