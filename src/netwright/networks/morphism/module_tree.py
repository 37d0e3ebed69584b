"""A network beside its module: which part of the one is which part of the other."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from netwright.networks.build import CompositeModule, as_composite, infer_output_shape
from netwright.networks.interfaces.layer import BuiltNetwork, Leaf, Network
from netwright.networks.interfaces.morphism_rules import items
from netwright.networks.interfaces.shapes import Shape


def opened(network: Network, module: nn.Module, shape: Shape, position: str = "") -> BuiltNetwork:
    """The parts of a resolved network and of the module that `build` made of it."""
    parts: dict[str, BuiltNetwork] = {}

    def add(name: str, part: Network, of: Shape) -> Shape:
        inner = module.parts if isinstance(module, CompositeModule) else module
        where = f"{position}.{name}" if position else name
        parts[name] = opened(part, inner.get_submodule(name), of, where)
        return parts[name].output_shape

    out = shape
    if isinstance(network, tuple):
        for i, layer in enumerate(network):
            out = add(str(i), layer, out)
    elif isinstance(network, Leaf):
        out = infer_output_shape(network, shape, position)
    else:
        out = as_composite(network, position).assemble(shape, add)
    return BuiltNetwork(network, module, shape, out, position, parts)


def paired(
    old: BuiltNetwork, new: BuiltNetwork
) -> list[tuple[BuiltNetwork | None, BuiltNetwork | None]]:
    """Who comes from whom in two rows: what is equal from the front and from the back, the rest by
    place. None: there is no forerunner, or no successor."""
    a, b = items(old), items(new)
    front = _alike(a, b)
    back = _alike(a[front:][::-1], b[front:][::-1])
    a_end, b_end = len(a) - back, len(b) - back
    middle: list[tuple[BuiltNetwork | None, BuiltNetwork | None]] = []
    for i in range(max(a_end, b_end) - front):
        place = front + i
        middle.append((a[place] if place < a_end else None, b[place] if place < b_end else None))
    return [*zip(a[:front], b[:front], strict=True), *middle,
            *zip(a[a_end:], b[b_end:], strict=True)]  # fmt: skip


def _alike(a: Sequence[BuiltNetwork], b: Sequence[BuiltNetwork]) -> int:
    """How many are equal from the front."""
    pairs = zip(a, b, strict=False)
    return next((i for i, (x, y) in enumerate(pairs) if x.network != y.network),
                min(len(a), len(b)))  # fmt: skip
