"""A network beside its module: which part of the one is which part of the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from torch import nn

from netwright.networks.build import Built, composite, shape_after
from netwright.networks.layers.basic import (
    Activation,
    Conv,
    Dropout,
    Flatten,
    GlobalPool,
    Leaf,
    Linear,
    Network,
    Norm,
    Pool,
    Shape,
    Skip,
    Zero,
)
from netwright.networks.layers.blocks import Residual, Rows, SqueezeExcitation, StochasticDepth
from netwright.networks.layers.graph import Graph
from netwright.networks.tabular.columns import OneHot

M = TypeVar("M", bound=nn.Module)

_HARMLESS = (Skip, Dropout, StochasticDepth)
"""They hand on what comes in, when nothing is being trained."""
_KEEPS_ZERO = (
    *_HARMLESS, Activation, Pool, GlobalPool, Flatten, Rows, SqueezeExcitation,
)  # fmt: skip
"""Zeros in, zeros out; and nothing below 0 in, nothing below 0 out."""


@dataclass(frozen=True, eq=False)
class Part:
    """A network, its module, and the shapes of rows that go in and come out.

    `parts`: those of a tuple by place, those of a composite by name. `position`: as `build` says it.
    """

    network: Network
    module: nn.Module
    into: Shape
    out: Shape
    position: str
    parts: Mapping[str, Part] = field(default_factory=dict)

    def inner(self, name: str, kind: type[M]) -> M:
        """The module of this name in a layer of netwright's own."""
        found = self.module.get_submodule(name)
        assert isinstance(found, kind)
        return found


def opened(network: Network, module: nn.Module, shape: Shape, position: str = "") -> Part:
    """The parts of a resolved network and of the module that `build` made of it."""
    parts: dict[str, Part] = {}

    def add(name: str, part: Network, of: Shape) -> Shape:
        inner = module.parts if isinstance(module, Built) else module
        where = f"{position}.{name}" if position else name
        parts[name] = opened(part, inner.get_submodule(name), of, where)
        return parts[name].out

    out = shape
    if isinstance(network, tuple):
        for i, layer in enumerate(network):
            out = add(str(i), layer, out)
    elif isinstance(network, Leaf):
        out = shape_after(network, shape, position)
    else:
        out = composite(network, position).assemble(shape, add)
    return Part(network, module, shape, out, position, parts)


def items(part: Part) -> list[Part]:
    """What stands in a row; a layer is a row of one."""
    return [*part.parts.values()] if isinstance(part.network, tuple) else [part]


def paired(old: Part, new: Part) -> list[tuple[Part | None, Part | None]]:
    """Who comes from whom in two rows: what is equal from the front and from the back, the rest by
    place. None: there is no forerunner, or no successor."""
    a, b = items(old), items(new)
    front = _alike(a, b)
    back = _alike(a[front:][::-1], b[front:][::-1])
    a_end, b_end = len(a) - back, len(b) - back
    middle: list[tuple[Part | None, Part | None]] = []
    for i in range(max(a_end, b_end) - front):
        place = front + i
        middle.append((a[place] if place < a_end else None, b[place] if place < b_end else None))
    return [*zip(a[:front], b[:front], strict=True), *middle,
            *zip(a[a_end:], b[b_end:], strict=True)]  # fmt: skip


def _alike(a: Sequence[Part], b: Sequence[Part]) -> int:
    """How many are equal from the front."""
    pairs = zip(a, b, strict=False)
    return next((i for i, (x, y) in enumerate(pairs) if x.network != y.network),
                min(len(a), len(b)))  # fmt: skip


def is_neutral(network: Network, positive: bool) -> bool:
    """Whether what comes in goes out, when nothing is being trained.

    `positive`: nothing that comes in is below 0.
    """
    if isinstance(network, tuple):
        return all(is_neutral(layer, positive) for layer in network)
    if isinstance(network, Norm | Activation) and network.kind == "none":
        return True
    if isinstance(network, Activation):
        return positive and passes_positive(network.kind)
    return isinstance(network, _HARMLESS)


def passes_positive(activation: str) -> bool:
    """Whether an activation leaves alone what is not below 0."""
    return activation in ("none", "relu", "leaky_relu")


def keeps_zero(network: Network) -> bool:
    """Whether zeros go out where zeros come in."""
    return isinstance(network, _KEEPS_ZERO) or is_neutral(network, positive=False)


def is_positive(part: Part, before: bool) -> bool:
    """Whether nothing that comes out is below 0, `before` saying so of what comes in."""
    network = part.network
    if isinstance(network, tuple):
        for item in items(part):
            before = is_positive(item, before)
        return before
    if isinstance(network, Activation):
        return before or network.kind == "relu"
    if isinstance(network, Conv | Linear):
        return network.activation == "relu"
    if isinstance(network, Residual):
        return before and "shortcut" not in part.parts and is_positive(part.parts["body"], before)
    if isinstance(network, Graph):
        return is_positive(part.parts[network.output], before=False)
    return isinstance(network, OneHot | Zero) or (before and keeps_zero(network))
