"""The gradient through a training step, against the exact one."""

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
    """A small supernet in double precision, smooth, with a batch to train on and one to judge by."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        one, three = (Conv(4, kernel, normalisation="none", activation="tanh") for kernel in (1, 3))
        op = {"one": one, "three": three, "pool": Pool("avg")}
        network = (three, OneOf(op), OneOf(op), GlobalPool(), Linear())
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
        """By differentiating through the step."""
        names = [name for name, _ in self.net.named_parameters()]
        slopes = torch.autograd.grad(self.loss(0), self.weights, create_graph=True)
        moved = {n: w - RATE * g for n, w, g in zip(names, self.weights, slopes, strict=True)}
        x, y = self.batches[1]
        weights = {path: a.softmax(0) for path, a in self.alpha.items()}
        out = torch.func.functional_call(self.net, moved, (x, weights))
        return list(torch.autograd.grad(nn.functional.cross_entropy(out, y), self.alphas))


def distance(a: list[Tensor], b: list[Tensor]) -> float:
    """Relative to b."""
    one, other = torch.cat(a), torch.cat(b)
    return float((one - other).norm() / other.norm())


def test_the_second_order_is_the_exact_gradient_to_a_hundredth() -> None:
    problem = Problem()
    assert distance(problem.second(), problem.exact()) < 1e-3


def test_without_the_second_derivative_it_is_another_gradient(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    problem = Problem()
    assert distance(first_order(lambda: problem.loss(1), problem.alphas), problem.exact()) > 0.05
    whole = problem.second()
    monkeypatch.setattr(bilevel, "_REACH", 1e-30)  # the difference vanishes in rounding
    assert distance(problem.second(), whole) > 1e-2


def test_weights_are_left_bit_for_bit_as_they_were() -> None:
    problem = Problem()
    before = [w.detach().clone() for w in problem.weights]
    problem.second()
    assert all(torch.equal(a, b) for a, b in zip(before, problem.weights, strict=True))
    assert all(w.grad is None for w in problem.weights)


def test_a_loss_that_forgets_the_weights_has_the_first_order_alone() -> None:
    alpha = torch.tensor([1.0, 2.0], requires_grad=True)
    weight = torch.tensor([1.0], requires_grad=True)
    found = second_order(
        lambda: (weight * alpha.sum()).sum(), lambda: (alpha**2).sum(), [weight], [alpha],
        lambda g: [0.1 * one for one in g], 0.1,
    )  # fmt: skip
    assert torch.equal(found[0], torch.tensor([2.0, 4.0]))
