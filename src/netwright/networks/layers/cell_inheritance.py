"""Weights of a graph from those of another, node by node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Protocol

import torch
from torch import nn

from netwright.networks.interfaces.channel_map import ChannelMap, shifted, unchanged, unknown
from netwright.networks.interfaces.layer import BuiltNetwork, Morphism
from netwright.networks.interfaces.morphism_rules import ends_of, is_neutral, silence, sum_of
from netwright.networks.interfaces.shapes import width


class Combining(Protocol):
    """A node of a graph."""

    @property
    def combine(self) -> str:
        """How what flows in comes together."""


class GraphLike(Protocol):
    """A graph, as far as inheritance looks at it; see `Graph`."""

    @property
    def nodes(self) -> Mapping[str, Combining]:
        """By their names."""

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of what comes in."""

    @property
    def output(self) -> str:
        """The last node."""

    def live(self) -> dict[str, tuple[str, ...]]:
        """Node -> the sources whose edges carry something."""


@dataclass(frozen=True)
class Cell:
    """A graph and its parts by their names in it."""

    graph: GraphLike
    parts: Mapping[str, BuiltNetwork]

    @classmethod
    def of(cls, chain: BuiltNetwork, place: int, graph: GraphLike) -> Cell:
        """The one at a place in a chain."""
        mark = f"{place}/"
        parts = {name: one for name, one in chain.parts.items() if name.startswith(mark)}
        return cls(graph, {name.removeprefix(mark): one for name, one in parts.items()})


@dataclass(frozen=True)
class _Place:
    """A node of a graph: its live edges by their sources, and what is done then."""

    combine: str
    edges: Mapping[str, BuiltNetwork]
    then: BuiltNetwork

    @classmethod
    def of(cls, name: str, cell: Cell) -> _Place:
        sources = cell.graph.live()[name]
        edges = {source: cell.parts[edge_name(name, source)] for source in sources}
        return cls(cell.graph.nodes[name].combine, edges, cell.parts[name])


def edge_name(node: str, source: str) -> str:
    """The name of the part on an edge; that of a node's `then` is the node's."""
    return f"{node}<{source}"


def inherit_cell(
    walk: Morphism, old: Cell, new: Cell, into: Sequence[ChannelMap], wanted: ChannelMap | None
) -> ChannelMap:
    """Node by node, by their names; `into`: what comes in by each input."""
    output = new.graph.output
    flows = dict(zip(new.graph.inputs, into, strict=True))
    if old.graph.inputs != new.graph.inputs or old.graph.output != output:
        position = new.parts[output].position
        walk.transfer.record_change(position, "a graph of other inputs, or of another output")
        return unknown(old.parts[old.graph.output].output_shape, new.parts[output].output_shape)
    before, now = old.graph.live(), new.graph.live()
    for name in now:
        if name in before:  # what is new is as it was drawn
            nodes = _Place.of(name, old), _Place.of(name, new)
            flows[name] = _node(walk, *nodes, flows, wanted if name == output else None)
    return flows[output]


def _node(
    walk: Morphism, old: _Place, new: _Place, flows: Mapping[str, ChannelMap],
    wanted: ChannelMap | None,
) -> ChannelMap:  # fmt: skip
    """What flows together, and what is done to it then."""
    n_losses, position = len(walk.transfer.changes), new.then.position
    both = [source for source in new.edges if source in old.edges]
    shapes = old.then.input_shape, new.then.input_shape
    if old.combine != new.combine or not both:
        walk.transfer.record_change(position, "nothing flows together here as before")
        mixed = walk.transfer.propagate(unchanged(shapes[0], shapes[0]), *shapes)
    elif new.combine == "concat":
        found = {one: walk.inherit(old.edges[one], new.edges[one], flows[one]) for one in both}
        mixed = _concatenated(old, new, found)
    else:
        last = wanted if is_neutral(new.then.network, positive=False) else None
        mixed = _added(walk, old, new, both, flows, last)
    mixed = walk.record_differences(position, [flows[one] for one in both], mixed, n_losses)
    return walk.inherit(old.then, new.then, mixed, wanted)


def _added(
    walk: Morphism, old: _Place, new: _Place, both: Sequence[str], flows: Mapping[str, ChannelMap],
    wanted: ChannelMap | None,
) -> ChannelMap:  # fmt: skip
    """Edges that only hand channels on come first: the others can put out the same."""
    for gone in (source for source in old.edges if source not in new.edges):
        walk.transfer.record_change(new.then.position, f"nothing flows here from {gone} any more")
    found: list[ChannelMap] = []
    for source in sorted(both, key=lambda one: _has_weights(new.edges[one])):
        found.append(walk.inherit(old.edges[source], new.edges[source], flows[source], wanted))
        wanted = wanted or found[0]
    added = [edge for source, edge in new.edges.items() if source not in old.edges]
    for edge in added:
        ends = ends_of(edge)
        silence(ends or [])
        if ends is None:
            walk.transfer.record_change(edge.position, "an inserted edge cannot start silent")
    mixed = sum_of(found, old.then.input_shape, new.then.input_shape)
    return replace(mixed, nonnegative=not added and all(one.nonnegative for one in found))


def _concatenated(old: _Place, new: _Place, found: Mapping[str, ChannelMap]) -> ChannelMap:
    """Channels side by side; those of an inserted edge are new."""
    widths = {source: width(edge.output_shape) for source, edge in old.edges.items()}
    starts = dict(zip(widths, accumulate(widths.values(), initial=0), strict=False))
    origins = [
        shifted(found[source].origin, starts[source]) if source in found
        else unknown(edge.output_shape, edge.output_shape).origin
        for source, edge in new.edges.items()
    ]  # fmt: skip
    positive = len(found) == len(new.edges) and all(one.nonnegative for one in found.values())
    return ChannelMap(old.then.input_shape, new.then.input_shape, torch.cat(origins), positive)


def _has_weights(part: BuiltNetwork) -> bool:
    return any(isinstance(one, nn.Conv2d | nn.Linear) for one in part.module.modules())
