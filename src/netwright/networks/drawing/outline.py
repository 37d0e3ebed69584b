"""A network as the rows of a readable tree, with shapes and costs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, fields
from itertools import groupby
from typing import Any

from netwright.networks.build import resolve
from netwright.networks.costs import cost_of
from netwright.networks.interfaces.layer import Composite, Layer, Network
from netwright.networks.interfaces.shapes import Shape
from netwright.networks.layers.graph import Chain, Graph

_SIZES = ("channels", "features", "heads", "size", "p", "kind")
"""Fields that need no name beside them."""


@dataclass(frozen=True)
class OutlineRow:
    """One line of the tree: `times` equal layers in a row, and what one of them costs."""

    position: str
    text: str
    depth: int
    shape: Shape
    parameters: int
    flops: int
    times: int = 1


def outline(network: Network, input_shape: Shape, **given: Any) -> list[OutlineRow]:
    """The tree of a filled network for rows of `shape`; takes what `build` takes.

    Layers made of other layers are followed by these, one deeper; equal ones in a row are one
    line.
    """
    lines = _lines(resolve(network, given), input_shape, "", 0)
    folded = []
    for _, same in groupby(lines, key=lambda line: (line.text, line.depth, line.shape, line.flops)):
        run = list(same)
        last = run[-1].position.rpartition(".")[2]
        where = run[0].position if len(run) == 1 else f"{run[0].position}-{last}"
        first = run[0]
        costs = (first.parameters, first.flops)
        folded.append(OutlineRow(where, first.text, first.depth, run[-1].shape, *costs, len(run)))
    return folded


def _lines(network: Network, shape: Shape, position: str, depth: int) -> Iterator[OutlineRow]:
    for place, layer, before in flattened(network, shape, position):
        found = cost_of(layer, before, place)
        yield OutlineRow(place, words(layer), depth, found.shape, found.parameters, found.flops)
        for name, part, of in parts(layer, before):
            if name:
                out = cost_of(part, of, place)
                yield OutlineRow("", name, depth + 1, out.shape, out.parameters, out.flops)
            yield from (
                OutlineRow("", one.text, one.depth, one.shape, one.parameters, one.flops)
                for one in _lines(part, of, "", depth + 1 + bool(name))
            )


def flattened(network: Network, shape: Shape, position: str) -> Iterator[tuple[str, Layer, Shape]]:
    """Position, layer and input shape of each layer of a sequence of sequences."""
    if isinstance(network, tuple):
        for i, part in enumerate(network):
            yield from flattened(part, shape, f"{position}.{i}" if position else str(i))
            shape = cost_of(part, shape, position).shape
    else:
        yield position, network, shape


def parts(layer: Layer, shape: Shape) -> list[tuple[str, Network, Shape]]:
    """Name, network and input shape of what is inside; nothing where fields of numbers say it all.

    The name is empty where the part is the only one.
    """
    if not isinstance(layer, Composite) or not any(_holds(layer, one) for one in fields(layer)):  # type: ignore[arg-type]  # layers are dataclasses
        return []
    found: list[tuple[str, Network, Shape]] = []

    def add(name: str, part: Network, of: Shape) -> Shape:
        found.append((name, part, of))
        return cost_of(part, of, name).shape

    layer.assemble(shape, add)
    if isinstance(layer, Graph | Chain):
        return [one for one in found if "<" in one[0] or words_of(one[1]) != "Skip"]
    return found if len(found) > 1 else [("", part, of) for _, part, of in found]


def _holds(layer: Layer, one: Field[Any]) -> bool:
    value = getattr(layer, one.name)
    return isinstance(value, Layer | Mapping) or (
        isinstance(value, tuple) and any(isinstance(part, Layer | tuple) for part in value)
    )


def words_of(network: Network) -> str:
    """A sequence in one line: ``Conv 16, 2 × MBConv``; layers that most edges have are left out."""
    if not isinstance(network, tuple):
        return words(network).replace(" no activation", "").rstrip(",")
    runs = [(one, len(list(same))) for one, same in groupby(map(words_of, network))]
    said = [
        f"{n} × {one}" if n > 1 else one for one, n in runs if one not in ("Activation", "Norm")
    ]
    return ", ".join(said)


def words(layer: Layer) -> str:
    """``Conv 32, kernel 5, silu``: what tells a layer from its like."""
    said = []
    for one in fields(layer):  # type: ignore[arg-type]  # layers are dataclasses
        value = getattr(layer, one.name)
        default = one.default if one.default is not MISSING else None
        if _holds(layer, one) or (value == default and one.name not in ("channels", "features")):
            continue
        if isinstance(value, tuple) or value == 0 or value is False:
            continue
        if value is True:
            said.append(one.name)
        elif value == "none":
            said.append(f"no {one.name}")
        elif one.name in _SIZES or isinstance(value, str):
            said.append(_short(value))
        else:
            said.append(f"{one.name} {_short(value)}")
    name = type(layer).__name__
    return f"{name} {', '.join(said)}" if said else name


def _short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


# The drawing: each part knows its size, and is drawn with its own corner at 0, 0.
