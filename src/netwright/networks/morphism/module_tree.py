"""A network beside its module: which part of the one is which part of the other."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from netwright.networks.build import Built, composite, shape_after
from netwright.networks.interfaces.inheritance import items
from netwright.networks.interfaces.layer import Leaf, Network, Part
from netwright.networks.interfaces.shapes import Shape


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
