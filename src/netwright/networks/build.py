"""Build modules from filled descriptions: infer shapes, and refuse impossible ones by position."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import TypeAlias, cast

import torch
from torch import Tensor, nn

from netwright.errors import InfeasibleCandidate, SpaceError
from netwright.networks.interfaces.layer import Composite, Given, Layer, Leaf, Network
from netwright.networks.interfaces.shapes import Shape
from netwright.space.choices import is_open
from netwright.space.description import find_decisions
from netwright.space.frozen_dict import FrozenDict
from netwright.space.visitor import map_children

BuildLeaf: TypeAlias = Callable[[Leaf, Shape, str], nn.Module]
"""Builds the module of a leaf for an input shape, at a position."""


class CompositeModule(nn.Module):
    """A composite with the modules of its parts."""

    def __init__(self, layer: Composite, parts: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.layer = layer
        self.parts = nn.ModuleDict(parts)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer.run(self.parts, x)


def build(network: Network, input_shape: Shape, **given: object) -> nn.Module:
    """Build the PyTorch module of a filled network.

    Weights are drawn from PyTorch's global generator.

    Args:
        network: A layer, or a tuple of networks that run one after the other.
        input_shape: Of a row, without the batch: (c, h, w), (t, c) or (columns,).
        **given: Values that replace `Given` by name: ``outputs`` (the classes, or 1),
            ``cardinalities`` (of categorical columns).

    Returns:
        A module that maps (batch, *input_shape) to (batch, outputs).

    Raises:
        InfeasibleCandidate: A layer cannot take its input; names the layer's position.
        SpaceError: A choice is still open.

    Example:
        >>> network = (Conv(16), GlobalPool(), Linear())
        >>> module = build(network, (3, 32, 32), outputs=10)
    """
    return build_resolved(resolve(network, given), input_shape)


def build_resolved(
    network: Network,
    input_shape: Shape,
    build_leaf: BuildLeaf = lambda leaf, shape, _: leaf.build(shape),
) -> nn.Module:
    """Build the module of a resolved network; `build_leaf` builds its leaves."""
    return _build(network, input_shape, "", build_leaf)[0]


def resolve(network: Network, given: Mapping[str, object]) -> Network:
    """Replace every `Given`; raise SpaceError if a choice is still open."""
    if _has_open_choice(network):
        paths = ", ".join(decision.path for decision in find_decisions(network)[:3])
        raise SpaceError(f"a network must be filled before it is built, got open choices: {paths}.")
    return replace_given(network, given)


def replace_given(network: Network, given: Mapping[str, object]) -> Network:
    """Replace every `Given` of a network, open or not."""
    return cast("Network", _replace_given(network, FrozenDict(given)))


def _has_open_choice(network: object) -> bool:
    """Return whether any choice is open; layers are visited once and cached by value."""
    if isinstance(network, tuple):
        return any(_has_open_choice(layer) for layer in network)
    return _layer_is_open(network) if isinstance(network, Layer) else is_open(network)


_layer_is_open = lru_cache(maxsize=65536)(is_open)


def _replace_given(description: object, given: Mapping[str, object]) -> object:
    if isinstance(description, Given):
        return given.get(description.name, description)
    if isinstance(description, Layer):
        return _replace_given_in_layer(description, given)
    return _replace_given_inside(description, given)


def _replace_given_inside(description: object, given: Mapping[str, object]) -> object:
    replaced: object = map_children(description, lambda child: _replace_given(child, given))
    return replaced


_replace_given_in_layer = lru_cache(maxsize=65536)(_replace_given_inside)


def _build(
    network: Network, shape: Shape, position: str, build_leaf: BuildLeaf
) -> tuple[nn.Module, Shape]:
    """Return the module and its output shape."""
    if isinstance(network, tuple):
        modules = nn.Sequential()
        for i, layer in enumerate(network):
            module, shape = _build(layer, shape, _join(position, i), build_leaf)
            modules.add_module(str(i), module)
        return modules, shape
    if isinstance(network, Leaf):
        output_shape = infer_output_shape(network, shape, position)
        return build_leaf(network, shape, position), output_shape
    composite = as_composite(network, position)
    parts: dict[str, nn.Module] = {}

    def add(name: str, part_network: Network, part_shape: Shape) -> Shape:
        parts[name], part_output = _build(
            part_network, part_shape, _join(position, name), build_leaf
        )
        return part_output

    output_shape = with_position(position, composite, shape, lambda: composite.assemble(shape, add))
    return CompositeModule(composite, parts), output_shape


def as_composite(network: Network, position: str) -> Composite:
    """Return a network that is neither tuple nor leaf; raise SpaceError if it is no layer."""
    if not isinstance(network, Composite):
        raise SpaceError(
            f"a network must be made of layers, got {network!r} at {position or 'top'}."
        )
    return network


def infer_output_shape(leaf: Leaf, shape: Shape, position: str = "") -> Shape:
    """Return a leaf's output shape by formula, else by running it on two rows of zeros."""
    return with_position(position, leaf, shape, lambda: _leaf_output_shape(leaf, shape))


@lru_cache(maxsize=65536)
def _leaf_output_shape(leaf: Leaf, shape: Shape) -> Shape:
    if (inferred := leaf.infer_shape(shape)) is not None:
        return inferred
    # vectors are cheap to run, and the meta device costs a second of imports
    device = torch.device("cpu" if leaf.cheap_to_run or len(shape) < 3 else "meta")
    # initial weights drawn here must not change those of the module that is built
    with torch.random.fork_rng(devices=[]), device, torch.no_grad():
        output = leaf.build(shape).eval()(torch.zeros(2, *shape))
    return tuple(output.shape[1:])


def with_position(
    position: str, layer: Layer, shape: Shape, infer_shape: Callable[[], Shape]
) -> Shape:
    """Call `infer_shape`; errors name the layer's position, and an empty axis is an error."""
    try:
        output_shape = infer_shape()
    except InfeasibleCandidate as error:
        if getattr(error, "located", False):
            raise
        raise _refusal(position, layer, shape, str(error)) from error
    except SpaceError:  # a ValueError too, but not the candidate's fault
        raise
    except (RuntimeError, ValueError) as error:  # PyTorch's message about shapes
        raise _refusal(position, layer, shape, str(error).splitlines()[0]) from error
    if min(output_shape, default=0) < 1:
        raise _refusal(position, layer, shape, f"its output would be empty, {output_shape}")
    return output_shape


def _refusal(position: str, layer: Layer, shape: Shape, reason: str) -> InfeasibleCandidate:
    prefix = f"{position}: " if position else ""
    refusal = InfeasibleCandidate(f"{prefix}{type(layer).__name__} cannot take {shape}: {reason}")
    refusal.located = True  # type: ignore[attr-defined]  # outer layers add no second position
    return refusal


def _join(position: str, name: object) -> str:
    return f"{position}.{name}" if position else str(name)
