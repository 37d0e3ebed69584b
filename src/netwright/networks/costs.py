"""Parameters, FLOPs and memory of a network, known before it is trained or allocated.

FLOPs are 2 for each multiply-add of convolutions, dense layers, attention and recurrent cells;
normalisation, activations and pooling are not counted (as in torch's own counter). Memory is the
peak of the activations of one row at prediction, float32: in a sequence a tensor is alive until
the next layer has run; the input of a composite, and what its parts gave, until it ends.
"""

from __future__ import annotations

from contextlib import nullcontext
from functools import lru_cache
from math import prod
from typing import Any, NamedTuple, get_args

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from netwright.errors import NetwrightError
from netwright.networks.build import as_composite, resolve, with_position
from netwright.networks.interfaces.layer import Composite, Leaf, Network
from netwright.networks.interfaces.shapes import Shape
from netwright.networks.layers.activations import ACTIVATIONS, NormName
from netwright.networks.layers.conv import Conv
from netwright.networks.layers.linear import Linear

_BYTES = 4


class Costs(NamedTuple):
    """Output shape, trainable parameters, FLOPs and bytes of memory for one row."""

    shape: Shape
    parameters: int
    flops: int
    memory: int


def costs(network: Network, input_shape: Shape, **given: Any) -> Costs:
    """The costs of a filled network for rows of `input_shape`; takes what `build` takes.

    Raises InfeasibleCandidate where `build` does. Layers are costed once and remembered by value.
    """
    return cost_of(resolve(network, given), input_shape, "")


def cost_of(network: Network, shape: Shape, position: str, kept: bool = False) -> Costs:
    """The costs of a resolved network at a position; `kept`: others need its input after it."""
    if isinstance(network, tuple):
        return _sequence(network, shape, position, kept)
    if isinstance(network, Leaf):
        found: list[Costs] = []

        def cost() -> Shape:
            found.append(_leaf(network, shape, kept))
            return found[0].shape

        with_position(position, network, shape, cost)
        return found[0]
    layer = as_composite(network, position)
    try:
        return _known(layer, shape)
    except NetwrightError:  # never remembered: told once more, now with its position
        return _composite(layer, shape, position)


def _sequence(network: tuple[Network, ...], shape: Shape, position: str, kept: bool) -> Costs:
    parameters, flops, memory = 0, 0, prod(shape) * _BYTES
    beside = memory if kept else 0
    for i, layer in enumerate(network):
        one = cost_of(layer, shape, f"{position}.{i}" if position else str(i), kept and i == 0)
        memory = max(memory, one.memory + (beside if i else 0))
        shape = one.shape
        parameters, flops = parameters + one.parameters, flops + one.flops
    return Costs(shape, parameters, flops, memory)


@lru_cache(maxsize=65536)
def _known(layer: Composite, shape: Shape) -> Costs:
    return _composite(layer, shape, "")


def _composite(network: Composite, shape: Shape, position: str) -> Costs:
    parts: list[Costs] = []
    held = prod(shape) * _BYTES
    memory = held

    def add(name: str, part: Network, of: Shape) -> Shape:
        nonlocal held, memory
        one = cost_of(part, of, f"{position}.{name}" if position else name, kept=True)
        # a part's peak has its input in it, which is one of those held already
        memory = max(memory, held + one.memory - prod(of) * _BYTES)
        held += prod(one.shape) * _BYTES
        parts.append(one)
        return one.shape

    out = with_position(position, network, shape, lambda: network.assemble(shape, add))
    memory = max(memory, held + (prod(out) * _BYTES if len(parts) > 1 else 0))
    return Costs(out, sum(p.parameters for p in parts), sum(p.flops for p in parts), memory)


@lru_cache(maxsize=65536)
def _leaf(leaf: Leaf, shape: Shape, kept: bool) -> Costs:
    """By formula for convolutions and dense layers of any width; else by a run without numbers."""
    if isinstance(leaf, Conv) and (found := _conv(leaf, shape, kept)):
        return found
    if isinstance(leaf, Linear) and (found := _linear(leaf, shape, kept)):
        return found
    counter = FlopCounterMode(display=False)
    device = torch.device("cpu" if leaf.light else "meta")
    with torch.random.fork_rng(devices=[]), device, torch.no_grad():
        module = leaf.build(shape).eval()
        x = torch.zeros(1, *shape)
        peak = _Peak(module, x if kept else None)
        with nullcontext() if leaf.light else counter:
            out = module(x)
    parameters = sum(p.numel() for p in module.parameters() if p.requires_grad)
    memory = max(peak.numbers, prod(shape) + out.numel()) * _BYTES
    pointwise = sum(p.numel() for p in module.parameters() if p.dim() == 4)
    flops = 2 * pointwise if leaf.light else int(counter.get_total_flops())
    return Costs(tuple(out.shape[1:]), parameters, flops, memory)


class _Peak:
    """The largest input and output of a module without children, and what is kept beside them."""

    def __init__(self, module: nn.Module, kept: torch.Tensor | None) -> None:
        self.numbers, self.kept = 0, kept
        for child in module.modules():
            if not any(child.children()):
                child.register_forward_hook(self._saw)

    def _saw(self, _: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        outputs = output if isinstance(output, tuple) else (output,)
        tensors = [t for t in (*inputs, *outputs) if isinstance(t, torch.Tensor)]
        if self.kept is not None and not any(t is self.kept for t in tensors):
            tensors.append(self.kept)
        self.numbers = max(self.numbers, sum(t.numel() for t in tensors))


def _norm_parameters(kind: str, channels: int) -> int:
    return 0 if kind == "none" else 2 * channels


def _conv(layer: Conv, shape: Shape, kept: bool) -> Costs | None:
    """The formula, for what the layer's own `build` would accept; None leaves it to that."""
    known = layer.known_shape(shape)
    if known is None:
        return None
    into, (out, h, w) = shape[0], known
    window = layer.kernel**2
    if layer.separable:
        weights, seen, widest = (
            into * window + into * out,
            into * window + into * out,
            max(into, out),
        )
    else:
        weights = seen = out * window * (into // layer.groups)
        widest = out
    bias = out if layer.normalisation == "none" else 0
    parameters = weights + bias + _norm_parameters(layer.normalisation, out)
    first = prod(shape) + (into if layer.separable else out) * h * w
    later = (widest + out) * h * w if layer.separable else 2 * out * h * w
    memory = max(first, later + (prod(shape) if kept else 0))
    return Costs((out, h, w), parameters, 2 * seen * h * w, memory * _BYTES)


def _linear(layer: Linear, shape: Shape, kept: bool) -> Costs | None:
    features = layer.features
    named = layer.activation in ACTIVATIONS and layer.normalisation in get_args(NormName)
    if not isinstance(features, int) or features < 1 or len(shape) > 2 or not named:
        return None
    if layer.normalisation == "group" and len(shape) == 2:
        return None
    steps = prod(shape[:-1])
    parameters = (shape[-1] + 1) * features + _norm_parameters(layer.normalisation, features)
    memory = max(shape[-1] + features, 2 * features + (shape[-1] if kept else 0)) * steps
    out = (*shape[:-1], features)
    return Costs(out, parameters, 2 * shape[-1] * features * steps, memory * _BYTES)
