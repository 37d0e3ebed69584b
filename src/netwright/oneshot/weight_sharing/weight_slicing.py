"""Tensors of a layer, and how those of smaller layers are slices of those of larger ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import product
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor, nn

from netwright.errors import InfeasibleCandidate
from netwright.networks.interfaces.layer import Blocks, Leaf
from netwright.networks.interfaces.shapes import Shape

LayerAtShape: TypeAlias = tuple[Leaf, Shape]
"""A leaf, and its input shape."""

_MAX_TRIED_PAIRS = 256
"""Pairs of a leaf and a shape that are tried, to find one with all of the largest tensors."""


class TensorSignature(NamedTuple):
    """Tensor properties except shape; tensors of equal signature are slices of one largest tensor.

    `is_parameter`: False for a buffer. `is_statistic`: a running statistic. `is_kernel`: sliced
    from the centre of its spatial axes. `blocks`: number of tensors side by side along each axis,
    each of which is sliced.
    """

    name: str
    n_axes: int
    dtype: torch.dtype
    is_parameter: bool
    is_statistic: bool
    is_kernel: bool
    blocks: tuple[int, ...]


class TensorSpec(NamedTuple):
    """Signature and shape of a tensor in a leaf's module."""

    signature: TensorSignature
    shape: Shape


class InitialTensor(NamedTuple):
    """A tensor as its layer initialises it, and whether it is trained."""

    signature: TensorSignature
    tensor: Tensor
    requires_grad: bool


@lru_cache(maxsize=65536)
def tensor_specs(leaf: Leaf, shape: Shape) -> tuple[TensorSpec, ...]:
    """Return the tensors of the leaf's module: parameters first, then buffers."""
    device = torch.device("cpu" if leaf.cheap_to_run else "meta")
    with torch.random.fork_rng(devices=[]), device:
        module = leaf.build(shape)
    return tuple(
        TensorSpec(_signature(module, name, tensor, is_parameter=is_parameter), tuple(tensor.shape))
        for is_parameter, tensors in (
            (True, module.named_parameters()),
            (False, module.named_buffers()),
        )
        for name, tensor in tensors
    )


def signatures(leaf: Leaf, shape: Shape) -> tuple[TensorSignature, ...]:
    """Return the signatures of the tensors in the leaf's module."""
    return tuple(spec.signature for spec in tensor_specs(leaf, shape))


def _signature(
    module: nn.Module, name: str, tensor: Tensor, *, is_parameter: bool
) -> TensorSignature:
    owner, n_axes = module.get_submodule(name.rpartition(".")[0]), tensor.dim()
    is_kernel = isinstance(owner, nn.modules.conv._ConvNd) or n_axes > 3
    is_statistic = isinstance(owner, nn.modules.batchnorm._NormBase) and not is_parameter
    declared: Blocks = getattr(module, "blocks", {})
    blocks = declared.get(name, (1,) * n_axes)
    if isinstance(owner, nn.RNNBase):  # its gates
        blocks = ({"GRU": 3, "LSTM": 4}.get(owner.mode, 1), *blocks[1:])
    return TensorSignature(
        name, n_axes, tensor.dtype, is_parameter, is_statistic, is_kernel, blocks
    )


def slice_to(tensor: Tensor, spec: TensorSpec) -> Tensor:
    """Return the slice of a tensor that matches the spec; a view, except with blocks."""
    if tensor.shape == spec.shape:
        return tensor
    return block_view(tensor, spec).reshape(spec.shape)


def block_view(tensor: Tensor, spec: TensorSpec) -> Tensor:
    """Return the slice as a view in any case; an axis with blocks becomes two."""
    axis = 0
    for i, (size, n_blocks) in enumerate(zip(spec.shape, spec.signature.blocks, strict=True)):
        full_size = tensor.shape[axis]
        if n_blocks > 1:  # the first part of each block
            tensor = tensor.unflatten(axis, (n_blocks, full_size // n_blocks))
            axis += 1
            tensor = tensor.narrow(axis, 0, size // n_blocks)
        elif full_size != size:
            start = (full_size - size) // 2 if spec.signature.is_kernel and i > 1 else 0
            tensor = tensor.narrow(axis, start, size)
        axis += 1
    return tensor


def fits(spec: TensorSpec, tensor: Tensor) -> bool:
    """Return whether the tensor has such a slice."""
    return all(size <= full for size, full in zip(spec.shape, tensor.shape, strict=True))


def draw_largest(layers: Sequence[LayerAtShape]) -> list[InitialTensor]:
    """Draw the largest of each tensor of layers with equal signatures.

    Draws are from torch's global generator.
    """
    specs = [tensor_specs(*layer) for layer in layers]
    shapes = [
        tuple(map(max, zip(*(spec.shape for spec in same_tensor), strict=True)))
        for same_tensor in zip(*specs, strict=True)
    ]
    largest_layer = _layer_with_shapes(layers, shapes)
    if largest_layer is not None:
        return _initial_tensors(*largest_layer)
    # no single layer has all of the largest tensors: write larger layers over smaller ones
    tensors = [
        torch.zeros(shape, dtype=spec.signature.dtype)
        for spec, shape in zip(specs[0], shapes, strict=True)
    ]
    drawn: list[InitialTensor] = []
    for layer in sorted(layers, key=_n_elements):
        drawn = _initial_tensors(*layer)
        for tensor, spec, initial in zip(tensors, tensor_specs(*layer), drawn, strict=True):
            view = block_view(tensor, spec)
            view.copy_(initial.tensor.view_as(view))
    return [initial._replace(tensor=tensor) for initial, tensor in zip(drawn, tensors, strict=True)]


def _layer_with_shapes(
    layers: Sequence[LayerAtShape], shapes: Sequence[Shape]
) -> LayerAtShape | None:
    """Return a leaf and an input shape whose tensors have these shapes, if there are any."""
    leaves, input_shapes = (dict.fromkeys(column) for column in zip(*layers, strict=True))
    pairs: list[LayerAtShape] = [*layers, *[*product(leaves, input_shapes)][:_MAX_TRIED_PAIRS]]
    for leaf, input_shape in pairs:
        try:
            specs = tensor_specs(leaf, input_shape)
        except (InfeasibleCandidate, RuntimeError, ValueError):  # a pair that no candidate has
            continue
        has_shapes = [spec.shape for spec in specs] == [*shapes]
        if has_shapes and signatures(leaf, input_shape) == signatures(*layers[0]):
            return leaf, input_shape
    return None


def _n_elements(layer: LayerAtShape) -> int:
    """Return the number of elements in all tensors of the layer."""
    return sum(torch.Size(spec.shape).numel() for spec in tensor_specs(*layer))


def _initial_tensors(leaf: Leaf, shape: Shape) -> list[InitialTensor]:
    """Initialise the leaf's tensors, in the order of `tensor_specs`."""
    module = leaf.build(shape)
    tensors = [*module.parameters(), *module.buffers()]
    return [
        InitialTensor(signature, tensor.detach().clone(), tensor.requires_grad)
        for signature, tensor in zip(signatures(leaf, shape), tensors, strict=True)
    ]


@lru_cache(maxsize=1024)
def constant_buffers(leaf: Leaf, shape: Shape) -> Mapping[str, Tensor]:
    """Return the buffers that follow from the layer alone: no seed changes them."""
    buffers = []
    with torch.random.fork_rng(devices=[]):
        for seed in (0, 1):
            torch.manual_seed(seed)
            buffers.append(dict(leaf.build(shape).named_buffers()))
    return {
        name: buffer for name, buffer in buffers[0].items() if torch.equal(buffer, buffers[1][name])
    }


def build_without_weights(leaf: Leaf, shape: Shape) -> nn.Module:
    """Build the leaf's module without weights, to run with those from elsewhere.

    It is built on the CPU first: a layer may store numbers that are neither parameters nor buffers.
    """
    return leaf.build(shape).to("meta")
