"""Building blocks of zero-cost scores: a batch, gradients, and activations of layers.

Weights are those of convolutions and dense layers. Everything runs in training mode: statistics are
those of the batch, and random draws of layers (dropout) depend on the batch's seed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from netwright.networks.layers.activations import ACTIVATIONS
from netwright.networks.training.train_step import training_loss

MIN_LOG_ARGUMENT = 1e-30
"""Lower bound of arguments of logarithms: a dead network gets a low score, not an infinite one."""
NORMS = (nn.modules.batchnorm._BatchNorm, nn.GroupNorm, nn.LayerNorm)
_ACTIVATION_TYPES = tuple({type(make()) for name, make in ACTIVATIONS.items() if name != "none"})
_NON_MIXING_TYPES = (*_ACTIVATION_TYPES, *NORMS, nn.Identity, nn.Dropout)
_MIN_NORM = 1e-12
"""Rows of a smaller norm, such as constant ones, are not scaled up."""

ModuleFilter = Callable[[nn.Module], bool]


@dataclass(frozen=True)
class ProbeBatch:
    """The batch that scores are computed on.

    Args:
        inputs: (b, ...) as the network takes them.
        targets: (b,) int64 classes or float32 numbers.
        seed: Of all random draws.
    """

    inputs: Tensor
    targets: Tensor
    seed: int = 0

    def generator(self) -> torch.Generator:
        """Return a new generator, the same at every call."""
        return torch.Generator().manual_seed(self.seed)

    def noise(self, like: Tensor) -> Tensor:
        """Return standard normal numbers in the shape of `like`, the same at every call."""
        return torch.randn(like.shape, generator=self.generator()).to(like)

    def loss(self, module: nn.Module, rows: slice = slice(None)) -> Tensor:
        """Return the training loss on these rows."""
        return training_loss(module(self.inputs[rows]), self.targets[rows])


def is_weighted(module: nn.Module) -> bool:
    """Return whether it is a convolution or a dense layer."""
    return isinstance(module, nn.Conv2d | nn.Linear)


def is_activation(module: nn.Module) -> bool:
    """Return whether it is an activation function."""
    return isinstance(module, _ACTIVATION_TYPES)


def is_batch_norm(module: nn.Module) -> bool:
    """Return whether it is batch normalisation, of columns or images."""
    return isinstance(module, nn.modules.batchnorm._BatchNorm)


def weights_of(module: nn.Module) -> list[Tensor]:
    """Return the weights of convolutions and dense layers."""
    return [layer.weight for layer in module.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]


def gradients(
    module: nn.Module, probe: ProbeBatch, rows: slice = slice(None)
) -> tuple[Tensor | None, ...]:
    """Return the loss's gradient for each weight; None if the loss does not depend on it."""
    with training_mode(module, probe):
        return torch.autograd.grad(probe.loss(module, rows), weights_of(module), allow_unused=True)


def weights_and_gradients(module: nn.Module, probe: ProbeBatch) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield each weight that the loss depends on, with its gradient."""
    for weight, gradient in zip(weights_of(module), gradients(module, probe), strict=True):
        if gradient is not None:
            yield weight.detach(), gradient


def input_gradients(module: nn.Module, probe: ProbeBatch) -> Tensor:
    """Return the gradient (b, ...) of the sum of the outputs; 0 if they ignore the input."""
    x = probe.inputs.detach().clone().requires_grad_()
    with training_mode(module, probe):
        (gradient,) = torch.autograd.grad(module(x).sum(), x, allow_unused=True)
    return torch.zeros_like(x) if gradient is None else gradient


def correlations(rows: Tensor) -> Tensor:
    """Return Pearson's correlations (n, n) of rows (n, d); 0 for a constant row with any other."""
    centred = rows - rows.mean(1, keepdim=True)
    unit = centred / centred.norm(dim=1, keepdim=True).clamp(min=_MIN_NORM)
    correlation: Tensor = unit @ unit.T
    correlation.fill_diagonal_(1.0)
    return correlation


def he_std(weight: Tensor) -> float:
    """Return the standard deviation of He initialisation, which preserves scale through ReLU.

    He et al. 2015 (1502.01852).
    """
    return math.sqrt(2 / max(weight[0].numel(), 1))


def copy_with_normal_weights(
    module: nn.Module, std: Callable[[Tensor], float], generator: torch.Generator
) -> nn.Module:
    """Return a copy with normal weights of standard deviation `std(weight)`, and biases 0."""
    copy = deepcopy(module)
    with torch.no_grad():
        for layer in copy.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                normal = torch.randn(layer.weight.shape, generator=generator)
                layer.weight.copy_(normal * std(layer.weight))
                if layer.bias is not None:
                    layer.bias.zero_()
    return copy


def activation_patterns(module: nn.Module, probe: ProbeBatch) -> list[Tensor]:
    """Return (b, units) for each activation function: whether its input is above 0."""
    with torch.no_grad(), training_mode(module, probe), inputs_of(module, is_activation) as inputs:
        module(probe.inputs)
    return [(x > 0).flatten(1) for x in inputs]


@contextmanager
def training_mode(module: nn.Module, probe: ProbeBatch) -> Iterator[None]:
    """Put a module in training mode, with the probe's seed; restore mode and generator after."""
    was_training = module.training
    module.train()
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(probe.seed)
            yield
    finally:
        module.train(was_training)


@contextmanager
def block_feature_maps(module: nn.Module) -> Iterator[list[Tensor]]:
    """Collect feature maps of blocks: no activations, normalisations, dropout or skips."""
    with feature_maps(module, lambda layer: not isinstance(layer, _NON_MIXING_TYPES)) as maps:
        yield maps


@contextmanager
def feature_maps(
    module: nn.Module, is_selected: ModuleFilter = lambda layer: True
) -> Iterator[list[Tensor]]:
    """Collect outputs (b, c, h, w), h > 1, of the selected layers of a sequence.

    Nested sequences are flattened. The list is complete when the context has ended.
    """
    layers = [layer for layer in _flatten_sequence(module) if is_selected(layer)]
    with _record_calls(layers, lambda _, output: output) as outputs:
        maps: list[Tensor] = []
        yield maps
        maps += [output for output in outputs if output.dim() == 4 and output.shape[2] > 1]


def _flatten_sequence(module: nn.Module) -> Iterator[nn.Module]:
    """Yield a network's layers in order; a layer of several modules names them, a sequence counts."""
    names = [name for name, _ in module.named_children()]
    if isinstance(module, nn.Sequential) and all(name.isdigit() for name in names):
        for layer in module:
            yield from _flatten_sequence(layer)
    else:
        yield module


@contextmanager
def outputs_of(module: nn.Module, is_selected: ModuleFilter) -> Iterator[list[Tensor]]:
    """Collect the outputs of the selected submodules, in the order in which they run."""
    submodules = [submodule for submodule in module.modules() if is_selected(submodule)]
    with _record_calls(submodules, lambda _, output: output) as outputs:
        yield outputs


@contextmanager
def inputs_of(module: nn.Module, is_selected: ModuleFilter) -> Iterator[list[Tensor]]:
    """Collect copies of the inputs of the selected submodules; some of them work in place."""
    submodules = [submodule for submodule in module.modules() if is_selected(submodule)]
    with _record_calls(submodules, lambda inputs, _: inputs[0].detach().clone()) as copies:
        yield copies


@contextmanager
def _record_calls(
    modules: Sequence[nn.Module], record: Callable[[tuple[Tensor, ...], Tensor], Tensor]
) -> Iterator[list[Tensor]]:
    """Collect `record(inputs, output)` of each call of these modules."""
    records: list[Tensor] = []

    def hook(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        records.append(record(inputs, output))

    handles = [module.register_forward_hook(hook) for module in modules]
    try:
        yield records
    finally:
        for handle in handles:
            handle.remove()
