"""Parameters, FLOPs and memory of a network, computed before it is trained or allocated.

FLOPs are 2 for each multiply-add of convolutions, dense layers, attention and recurrent cells;
normalisation, activations and pooling are not counted (as in PyTorch's own counter). Memory is the
peak of the activations of one row at prediction, float32: in a sequence a tensor is alive until
the next layer has run; the input of a composite, and the outputs of its parts, until it ends.
"""

from __future__ import annotations

from contextlib import nullcontext
from functools import lru_cache
from math import prod
from typing import NamedTuple, get_args

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from netwright.errors import NetwrightError
from netwright.networks.build import as_composite, resolve, with_position
from netwright.networks.interfaces.layer import Composite, Leaf, Network
from netwright.networks.interfaces.shapes import Shape
from netwright.networks.layers.activations import ACTIVATIONS, NormName
from netwright.networks.layers.axial import AxialConv, AxialMixing
from netwright.networks.layers.conv import Conv
from netwright.networks.layers.linear import Linear

_BYTES_PER_ELEMENT = 4
"""Size of a float32."""


class Costs(NamedTuple):
    """Costs of a network for one row.

    Args:
        shape: Of the output, without the batch.
        parameters: Trainable parameters.
        flops: 2 for each multiply-add.
        memory: Peak bytes of the activations at prediction, float32.
    """

    shape: Shape
    parameters: int
    flops: int
    memory: int


def costs(network: Network, input_shape: Shape, **given: object) -> Costs:
    """Compute parameters, FLOPs and memory of a filled network for one row.

    Layers are costed once and cached by value.

    Args:
        network: A filled network, as for `build`.
        input_shape: Of a row, without the batch.
        **given: As for `build`.

    Returns:
        The costs, with the shape of the output.

    Raises:
        InfeasibleCandidate: A layer cannot take its input.
        SpaceError: A choice is still open.

    Example:
        >>> costs((Conv(16), GlobalPool(), Linear()), (3, 32, 32), outputs=10).parameters
        634
    """
    return cost_of(resolve(network, given), input_shape, "")


def cost_of(network: Network, shape: Shape, position: str, *, keep_input: bool = False) -> Costs:
    """Compute the costs of a resolved network at a position.

    Args:
        network: Without open choices or `Given`.
        shape: Of the input.
        position: For errors.
        keep_input: Whether the input stays in memory, because other parts need it.
    """
    if isinstance(network, tuple):
        return _sequence_costs(network, shape, position, keep_input=keep_input)
    if isinstance(network, Leaf):
        leaf_costs: list[Costs] = []

        def output_shape() -> Shape:
            leaf_costs.append(_leaf_costs(network, shape, keep_input=keep_input))
            return leaf_costs[0].shape

        with_position(position, network, shape, output_shape)
        return leaf_costs[0]
    composite = as_composite(network, position)
    try:
        return _cached_composite_costs(composite, shape)
    except NetwrightError:  # errors are not cached: raise it again, with the position
        return _composite_costs(composite, shape, position)


def _sequence_costs(
    network: tuple[Network, ...], shape: Shape, position: str, *, keep_input: bool
) -> Costs:
    parameters, flops, memory = 0, 0, prod(shape) * _BYTES_PER_ELEMENT
    kept_bytes = memory if keep_input else 0
    for i, layer in enumerate(network):
        layer_position = f"{position}.{i}" if position else str(i)
        layer_costs = cost_of(layer, shape, layer_position, keep_input=keep_input and i == 0)
        memory = max(memory, layer_costs.memory + (kept_bytes if i else 0))
        shape = layer_costs.shape
        parameters, flops = parameters + layer_costs.parameters, flops + layer_costs.flops
    return Costs(shape, parameters, flops, memory)


@lru_cache(maxsize=65536)
def _cached_composite_costs(layer: Composite, shape: Shape) -> Costs:
    return _composite_costs(layer, shape, "")


def _composite_costs(composite: Composite, shape: Shape, position: str) -> Costs:
    parameters, flops, n_parts = 0, 0, 0
    alive_bytes = prod(shape) * _BYTES_PER_ELEMENT
    memory = alive_bytes

    def add(name: str, part_network: Network, part_shape: Shape) -> Shape:
        nonlocal parameters, flops, n_parts, alive_bytes, memory
        part_position = f"{position}.{name}" if position else name
        part_costs = cost_of(part_network, part_shape, part_position, keep_input=True)
        n_calls = composite.calls_per_row(name, shape)  # as rows of one batch
        # the part's peak includes its input, which is counted as alive already
        extra_bytes = part_costs.memory - prod(part_shape) * _BYTES_PER_ELEMENT
        memory = max(memory, alive_bytes + n_calls * extra_bytes)
        alive_bytes += n_calls * prod(part_costs.shape) * _BYTES_PER_ELEMENT
        parameters, flops = parameters + part_costs.parameters, flops + n_calls * part_costs.flops
        n_parts += 1
        return part_costs.shape

    output_shape = with_position(position, composite, shape, lambda: composite.assemble(shape, add))
    output_bytes = prod(output_shape) * _BYTES_PER_ELEMENT if n_parts > 1 else 0
    return Costs(output_shape, parameters, flops, max(memory, alive_bytes + output_bytes))


@lru_cache(maxsize=65536)
def _leaf_costs(leaf: Leaf, shape: Shape, *, keep_input: bool) -> Costs:
    """Compute convolutions and dense layers by formula, other leaves by a run on one row."""
    if by_formula := _costs_by_formula(leaf, shape, keep_input=keep_input):
        return by_formula
    counter = FlopCounterMode(display=False)
    device = torch.device("cpu" if leaf.cheap_to_run else "meta")
    with torch.random.fork_rng(devices=[]), device, torch.no_grad():
        module = leaf.build(shape).eval()
        x = torch.zeros(1, *shape)
        peak = _PeakMemory(module, x if keep_input else None)
        with nullcontext() if leaf.cheap_to_run else counter:
            output = module(x)
    parameters = sum(p.numel() for p in module.parameters() if p.requires_grad)
    memory = max(peak.n_elements, prod(shape) + output.numel()) * _BYTES_PER_ELEMENT
    pointwise_weights = sum(p.numel() for p in module.parameters() if p.dim() == 4)
    flops = 2 * pointwise_weights if leaf.cheap_to_run else int(counter.get_total_flops())
    return Costs(tuple(output.shape[1:]), parameters, flops, memory)


def _costs_by_formula(leaf: Leaf, shape: Shape, *, keep_input: bool) -> Costs | None:
    """Return the costs by formula; None if there is none or only `build` knows what is wrong."""
    if isinstance(leaf, Conv):
        return _conv_costs(leaf, shape, keep_input=keep_input)
    if isinstance(leaf, Linear):
        return _linear_costs(leaf, shape, keep_input=keep_input)
    if isinstance(leaf, AxialConv):
        return _axial_conv_costs(leaf, shape, keep_input=keep_input)
    if isinstance(leaf, AxialMixing):
        return _axial_mixing_costs(leaf, shape, keep_input=keep_input)
    return None


class _PeakMemory:
    """Most elements that are alive while a module without children runs, with a kept input."""

    def __init__(self, module: nn.Module, kept_input: torch.Tensor | None) -> None:
        self.n_elements, self.kept_input = 0, kept_input
        for child in module.modules():
            if not any(child.children()):
                child.register_forward_hook(self._record)

    def _record(self, _: nn.Module, inputs: tuple[object, ...], output: object) -> None:
        outputs = output if isinstance(output, tuple) else (output,)
        tensors = [t for t in (*inputs, *outputs) if isinstance(t, torch.Tensor)]
        if self.kept_input is not None and not any(t is self.kept_input for t in tensors):
            tensors.append(self.kept_input)
        self.n_elements = max(self.n_elements, sum(t.numel() for t in tensors))


def _norm_parameters(normalisation: str, channels: int) -> int:
    per_channel = {"none": 0, "batch_bias": 1}
    return per_channel.get(normalisation, 2) * channels


def _conv_costs(layer: Conv, shape: Shape, *, keep_input: bool) -> Costs | None:
    """Compute a convolution's costs; None if only `build` knows why it is refused."""
    output_shape = layer.infer_shape(shape)
    if output_shape is None:
        return None
    channels_in, channels_out = shape[0], output_shape[0]
    h, w = layer.sides_before_pooling(shape)
    kernel_area = layer.kernel**2
    if layer.separable:
        n_weights = channels_in * kernel_area + channels_in * channels_out
        max_channels = max(channels_in, channels_out)
    else:
        n_weights = channels_out * kernel_area * (channels_in // layer.groups)
        max_channels = channels_out
    bias = channels_out if layer.normalisation == "none" else 0
    parameters = n_weights + bias + _norm_parameters(layer.normalisation, channels_out)
    first_step = prod(shape) + (channels_in if layer.separable else channels_out) * h * w
    if layer.pool > 1:
        later_steps = channels_out * h * w + prod(output_shape)
    else:
        later_steps = 2 * channels_out * h * w
    if layer.separable:
        later_steps = max(later_steps, (max_channels + channels_out) * h * w)
    memory = max(first_step, later_steps + (prod(shape) if keep_input else 0))
    return Costs(output_shape, parameters, 2 * n_weights * h * w, memory * _BYTES_PER_ELEMENT)


def _linear_costs(layer: Linear, shape: Shape, *, keep_input: bool) -> Costs | None:
    features = layer.features
    has_valid_names = layer.activation in ACTIVATIONS and layer.normalisation in get_args(NormName)
    if not isinstance(features, int) or features < 1 or len(shape) > 2 or not has_valid_names:
        return None
    if layer.normalisation in ("group", "batch_bias") and len(shape) == 2:
        return None
    steps = prod(shape[:-1])
    parameters = (shape[-1] + 1) * features + _norm_parameters(layer.normalisation, features)
    kept_features = shape[-1] if keep_input else 0
    memory = max(shape[-1] + features, 2 * features + kept_features) * steps
    output_shape = (*shape[:-1], features)
    flops = 2 * shape[-1] * features * steps
    return Costs(output_shape, parameters, flops, memory * _BYTES_PER_ELEMENT)


def _axial_conv_costs(layer: AxialConv, shape: Shape, *, keep_input: bool) -> Costs | None:
    output_shape = layer.infer_shape(shape)
    if output_shape is None:
        return None
    (channels_out, h, w), n_axes = output_shape, 2 if layer.axis == "both" else 1
    n_weights = n_axes * layer.kernel * shape[0] * channels_out
    bias = channels_out if layer.normalisation == "none" else 0
    parameters = n_weights + bias + _norm_parameters(layer.normalisation, channels_out)
    n_outputs = prod(output_shape)
    later_steps = 2 * n_outputs + (prod(shape) if keep_input else 0)
    memory = max(prod(shape) + n_axes * n_outputs, later_steps)
    return Costs(output_shape, parameters, 2 * n_weights * h * w, memory * _BYTES_PER_ELEMENT)


def _axial_mixing_costs(layer: AxialMixing, shape: Shape, *, keep_input: bool) -> Costs | None:
    if layer.infer_shape(shape) is None:
        return None
    c, h, w = shape
    parameters = (h + 1) * h + (w + 1) * w + 2 * _norm_parameters(layer.normalisation, c)
    # what is added to, the normalised input, and the mixed one; the second time the input beside
    memory = (4 if keep_input else 3) * prod(shape)
    return Costs(shape, parameters, 2 * prod(shape) * (h + w), memory * _BYTES_PER_ELEMENT)
