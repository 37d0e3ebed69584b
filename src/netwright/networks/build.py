"""From a filled description to a module: shapes are inferred, impossible ones refused by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from netwright.errors import InfeasibleCandidate, SpaceError
from netwright.networks.interfaces.layer import Composite, Given, Layer, Leaf, Network
from netwright.networks.interfaces.shapes import Shape
from netwright.space.choices import is_open
from netwright.space.description import find_decisions
from netwright.space.frozen_dict import FrozenDict
from netwright.space.visitor import map_children

MakeLeaf: TypeAlias = Callable[[Leaf, Shape, str], nn.Module]
"""The module of a leaf for an input shape, at a position."""


class CompositeModule(nn.Module):
    """A composite with its parts."""

    def __init__(self, layer: Composite, parts: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.layer = layer
        self.parts = nn.ModuleDict(parts)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer.run(self.parts, x)


def build(network: Network, input_shape: Shape, **given: Any) -> nn.Module:
    """The module of a filled network for rows of `input_shape` (without the batch).

    `given` numbers take the place of `Given`: ``build(net, (3, 32, 32), outputs=10)``. Weights are
    drawn from torch's global generator. Raises InfeasibleCandidate, naming the layer's position,
    when a layer cannot take what reaches it; SpaceError when a choice is still open.
    """
    return build_resolved(resolve(network, given), input_shape)


def build_resolved(
    network: Network,
    input_shape: Shape,
    build_leaf: MakeLeaf = lambda leaf, shape, _: leaf.build(shape),
) -> nn.Module:
    """As `build`, of a resolved network; `make` makes the modules of its leaves."""
    return _make(network, input_shape, "", build_leaf)[0]


def resolve(network: Network, task_numbers: Mapping[str, Any]) -> Network:
    """The network with every `Given` replaced; refuses open choices."""
    if _open(network):
        paths = ", ".join(decision.path for decision in find_decisions(network)[:3])
        raise SpaceError(f"a network must be filled before it is built, got open choices: {paths}.")
    return replace_given(network, task_numbers)


def replace_given(network: Network, given: Mapping[str, Any]) -> Network:
    """The network with every `Given` replaced, open or not."""
    told: Network = _resolved(network, FrozenDict(given))
    return told


def _open(network: Any) -> bool:
    """As `is_open`; layers are looked through once and remembered by value."""
    if isinstance(network, tuple):
        return any(_open(part) for part in network)
    return _layer_is_open(network) if isinstance(network, Layer) else is_open(network)


_layer_is_open = lru_cache(maxsize=65536)(is_open)


def _resolved(part: Any, given: Mapping[str, Any]) -> Any:
    if isinstance(part, Given):
        return given.get(part.name, part)
    return _resolved_layer(part, given) if isinstance(part, Layer) else _inside(part, given)


def _inside(part: Any, given: Mapping[str, Any]) -> Any:
    return map_children(part, lambda child: _resolved(child, given))


_resolved_layer = lru_cache(maxsize=65536)(_inside)


def _make(network: Network, shape: Shape, position: str, make: MakeLeaf) -> tuple[nn.Module, Shape]:
    if isinstance(network, tuple):
        modules = nn.Sequential()
        for i, layer in enumerate(network):
            module, shape = _make(layer, shape, _at(position, i), make)
            modules.add_module(str(i), module)
        return modules, shape
    if isinstance(network, Leaf):
        out = infer_output_shape(network, shape, position)
        return make(network, shape, position), out
    layer = as_composite(network, position)
    parts: dict[str, nn.Module] = {}

    def add(name: str, part: Network, of: Shape) -> Shape:
        parts[name], out = _make(part, of, _at(position, name), make)
        return out

    out = with_position(position, layer, shape, lambda: layer.assemble(shape, add))
    return CompositeModule(layer, parts), out


def as_composite(network: Network, position: str) -> Composite:
    """What is neither a tuple nor a leaf; refuses what is no layer."""
    if not isinstance(network, Composite):
        raise SpaceError(
            f"a network must be made of layers, got {network!r} at {position or 'top'}."
        )
    return network


def infer_output_shape(leaf: Leaf, shape: Shape, position: str = "") -> Shape:
    """The shape that comes out of a leaf, by running it on two rows: of images on the meta device,
    where it is not light."""
    return with_position(position, leaf, shape, lambda: _leaf_shape(leaf, shape))


@lru_cache(maxsize=65536)
def _leaf_shape(leaf: Leaf, shape: Shape) -> Shape:
    if (known := leaf.known_shape(shape)) is not None:
        return known
    # of vectors there is little to compute, and the meta device costs a second of imports
    device = torch.device("cpu" if leaf.light or len(shape) < 3 else "meta")
    # initial weights drawn here must not change those of the module that is built
    with torch.random.fork_rng(devices=[]), device, torch.no_grad():
        out = leaf.build(shape).eval()(torch.zeros(2, *shape))
    return tuple(out.shape[1:])


def with_position(position: str, layer: Layer, shape: Shape, run: Callable[[], Shape]) -> Shape:
    """`run`, whose refusal is told with the layer's position; no axis may come out empty."""
    try:
        out = run()
    except InfeasibleCandidate as error:
        if getattr(error, "located", False):
            raise
        raise _refusal(position, layer, shape, str(error)) from error
    except SpaceError:  # a ValueError too, but no candidate's fault
        raise
    except (RuntimeError, ValueError) as error:  # torch's own words on shapes
        raise _refusal(position, layer, shape, str(error).splitlines()[0]) from error
    if min(out, default=0) < 1:
        raise _refusal(position, layer, shape, f"nothing would be left, {out}")
    return out


def _refusal(position: str, layer: Layer, shape: Shape, why: str) -> InfeasibleCandidate:
    where = f"{position}: " if position else ""
    refusal = InfeasibleCandidate(f"{where}{type(layer).__name__} cannot take {shape}: {why}")
    refusal.located = True  # type: ignore[attr-defined]  # told once, by the innermost layer
    return refusal


def _at(position: str, name: object) -> str:
    return f"{position}.{name}" if position else str(name)
