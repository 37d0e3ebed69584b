"""What zero-cost scores are made of: a batch, gradients, and what passes through a module's parts.

Weights are those of convolutions and dense layers. Everything runs in training mode: statistics are
those of the batch, and what a layer draws (dropout) is that of the probe's seed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from netwright.networks.layers.activations import ACTIVATIONS
from netwright.networks.training.loop import training_loss

LEAST = 1e-30
"""Logarithms are taken of no less: a dead network has a low score, and not an infinite one."""
NORMS = (nn.modules.batchnorm._BatchNorm, nn.GroupNorm, nn.LayerNorm)
_BENT = tuple({type(make()) for name, make in ACTIVATIONS.items() if name != "none"})
_BESIDE_BLOCKS = (*_BENT, *NORMS, nn.Identity, nn.Dropout)


@dataclass(frozen=True)
class ProbeBatch:
    """One batch: inputs (b, ...) as the network takes them, targets (b,), classes or numbers."""

    inputs: Tensor
    targets: Tensor
    seed: int = 0

    def generator(self) -> torch.Generator:
        return torch.Generator().manual_seed(self.seed)

    def noise(self, like: Tensor) -> Tensor:
        """Standard normal numbers, the same at every call."""
        return torch.randn(like.shape, generator=self.generator()).to(like)

    def loss(self, module: nn.Module, rows: slice = slice(None)) -> Tensor:
        """Of the module on these rows, as in training."""
        return training_loss(module(self.inputs[rows]), self.targets[rows])


def is_weighted(module: nn.Module) -> bool:
    """Whether it is a convolution or a dense layer."""
    return isinstance(module, nn.Conv2d | nn.Linear)


def is_bent(module: nn.Module) -> bool:
    """Whether it is an activation function."""
    return isinstance(module, _BENT)


def is_batch_norm(module: nn.Module) -> bool:
    """Whether it is batch normalisation, of columns or images."""
    return isinstance(module, nn.modules.batchnorm._BatchNorm)


def weights_of(module: nn.Module) -> list[Tensor]:
    """Of its convolutions and dense layers."""
    return [one.weight for one in module.modules() if isinstance(one, nn.Conv2d | nn.Linear)]


def gradients(
    module: nn.Module, probe: ProbeBatch, rows: slice = slice(None)
) -> tuple[Tensor | None, ...]:
    """Of the loss by each weight; None where it does not depend on it."""
    with training(module, probe):
        return torch.autograd.grad(probe.loss(module, rows), weights_of(module), allow_unused=True)


def weights_and_gradients(module: nn.Module, probe: ProbeBatch) -> Iterator[tuple[Tensor, Tensor]]:
    """Each weight that the loss depends on, with its gradient."""
    for weight, gradient in zip(weights_of(module), gradients(module, probe), strict=True):
        if gradient is not None:
            yield weight.detach(), gradient


def input_gradients(module: nn.Module, probe: ProbeBatch) -> Tensor:
    """(b, ...) of the sum of the outputs; 0 where nothing flows."""
    x = probe.inputs.detach().clone().requires_grad_()
    with training(module, probe):
        (found,) = torch.autograd.grad(module(x).sum(), x, allow_unused=True)
    return torch.zeros_like(x) if found is None else found


def correlations(rows: Tensor) -> Tensor:
    """(n, n) Pearson's between rows (n, d); a constant row is like none but itself."""
    centred = rows - rows.mean(1, keepdim=True)
    unit = centred / centred.norm(dim=1, keepdim=True).clamp(min=1e-12)
    found: Tensor = unit @ unit.T
    found.fill_diagonal_(1.0)
    return found


def he(weight: Tensor) -> float:
    """The deviation that keeps the size of what flows through ReLU (He et al. 2015)."""
    return math.sqrt(2 / max(weight[0].numel(), 1))


def drawn(
    module: nn.Module, deviation: Callable[[Tensor], float], random: torch.Generator
) -> nn.Module:
    """A copy with normal weights of this deviation, and biases 0."""
    copy = deepcopy(module)
    with torch.no_grad():
        for one in copy.modules():
            if isinstance(one, nn.Conv2d | nn.Linear):
                normal = torch.randn(one.weight.shape, generator=random)
                one.weight.copy_(normal * deviation(one.weight))
                if one.bias is not None:
                    one.bias.zero_()
    return copy


def bits_of(module: nn.Module, probe: ProbeBatch) -> list[Tensor]:
    """(b, units) for each activation: where its input is above 0."""
    with torch.no_grad(), training(module, probe), inputs_of(module, is_bent) as seen:
        module(probe.inputs)
    return [(x > 0).flatten(1) for x in seen]


@contextmanager
def training(module: nn.Module, probe: ProbeBatch) -> Iterator[None]:
    """In training mode, with draws of the probe's seed; then all is as before."""
    before = module.training
    module.train()
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(probe.seed)
            yield
    finally:
        module.train(before)


@contextmanager
def blocks(module: nn.Module) -> Iterator[list[Tensor]]:
    """As `feature_maps`, but of those that mix: no activation, normalisation, dropout or skip."""
    with feature_maps(module, lambda one: not isinstance(one, _BESIDE_BLOCKS)) as found:
        yield found


@contextmanager
def feature_maps(
    module: nn.Module, wanted: Callable[[nn.Module], bool] = lambda one: True
) -> Iterator[list[Tensor]]:
    """Outputs (b, c, h, w) of the wanted layers that stand in a row in the module, inner rows
    unrolled; complete when the context has ended."""
    row = [one for one in _row(module) if wanted(one)]
    with _hooked(row, lambda seen, _, output: seen.append(output)) as found:
        kept: list[Tensor] = []
        yield kept
        kept += [one for one in found if one.dim() == 4 and one.shape[2] > 1]


def _row(module: nn.Module) -> Iterator[nn.Module]:
    """A network's layers in their order; a layer of several modules names them, a row counts."""
    names = [name for name, _ in module.named_children()]
    if isinstance(module, nn.Sequential) and all(name.isdigit() for name in names):
        for part in module:
            yield from _row(part)
    else:
        yield module


@contextmanager
def outputs_of(module: nn.Module, wanted: Callable[[nn.Module], bool]) -> Iterator[list[Tensor]]:
    """What the wanted parts gave, in the order of their running."""
    parts = [one for one in module.modules() if wanted(one)]
    with _hooked(parts, lambda seen, _, output: seen.append(output)) as found:
        yield found


@contextmanager
def inputs_of(module: nn.Module, wanted: Callable[[nn.Module], bool]) -> Iterator[list[Tensor]]:
    """What the wanted parts were given; copies, since some work in place."""
    parts = [one for one in module.modules() if wanted(one)]
    with _hooked(parts, lambda seen, x, _: seen.append(x[0].detach().clone())) as found:
        yield found


@contextmanager
def _hooked(
    parts: Sequence[nn.Module], note: Callable[[list[Tensor], Any, Any], None]
) -> Iterator[list[Tensor]]:
    seen: list[Tensor] = []
    hooks = [
        one.register_forward_hook(lambda _, inputs, output: note(seen, inputs, output))
        for one in parts
    ]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()
