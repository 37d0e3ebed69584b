"""Weight inheritance between graphs, node by node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Protocol

import torch
from torch import nn

from netwright.networks.interfaces.channel_map import (
    ChannelMap,
    all_new,
    identity_map,
    shift_origins,
)
from netwright.networks.interfaces.layer import BuiltNetwork, Morphism
from netwright.networks.interfaces.morphism_rules import (
    is_identity,
    layers_to_zero,
    map_of_sum,
    zero_init,
)
from netwright.networks.interfaces.shapes import n_channels


class NodeLike(Protocol):
    """A node of a graph, as far as inheritance uses it; see `Node`."""

    @property
    def combine(self) -> str:
        """Combination of the inputs: "add" or "concat"."""


class GraphLike(Protocol):
    """A graph, as far as inheritance uses it; see `Graph`."""

    @property
    def nodes(self) -> Mapping[str, NodeLike]:
        """Nodes by name."""

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the graph's inputs."""

    @property
    def output(self) -> str:
        """Name of the last node."""

    def live(self) -> dict[str, tuple[str, ...]]:
        """Return node -> sources of its live edges."""


@dataclass(frozen=True)
class BuiltGraph:
    """A graph with its built parts by their names in it."""

    graph: GraphLike
    parts: Mapping[str, BuiltNetwork]

    @classmethod
    def in_chain(cls, chain: BuiltNetwork, index: int, graph: GraphLike) -> BuiltGraph:
        """Return the cell at an index of a chain."""
        prefix = f"{index}/"
        parts = {
            name.removeprefix(prefix): part
            for name, part in chain.parts.items()
            if name.startswith(prefix)
        }
        return cls(graph, parts)


@dataclass(frozen=True)
class _BuiltNode:
    """A node of a graph with its live edges by source, and the network after the combination."""

    combine: str
    edges: Mapping[str, BuiltNetwork]
    then: BuiltNetwork

    @classmethod
    def of(cls, name: str, built: BuiltGraph) -> _BuiltNode:
        sources = built.graph.live()[name]
        edges = {source: built.parts[edge_name(name, source)] for source in sources}
        return cls(built.graph.nodes[name].combine, edges, built.parts[name])


def edge_name(node: str, source: str) -> str:
    """Return the part name of an edge; the part of a node's `then` is named after the node."""
    return f"{node}<{source}"


def inherit_cell(
    morphism: Morphism,
    parent: BuiltGraph,
    child: BuiltGraph,
    input_maps: Sequence[ChannelMap],
    target_map: ChannelMap | None,
) -> ChannelMap:
    """Set the weights of a graph from those of another, pairing nodes by name.

    Args:
        morphism: The walk through both networks.
        parent: The parent's graph.
        child: The child's graph; its weights are set in place.
        input_maps: Channels of each input of the graph.
        target_map: Channels that the output should have; None if any will do.

    Returns:
        Channels of the output.
    """
    output = child.graph.output
    maps = dict(zip(child.graph.inputs, input_maps, strict=True))
    if parent.graph.inputs != child.graph.inputs or parent.graph.output != output:
        position = child.parts[output].position
        morphism.transfer.record_change(position, "the graph has other inputs or another output")
        return all_new(
            parent.parts[parent.graph.output].output_shape, child.parts[output].output_shape
        )
    parent_nodes = parent.graph.live()
    for name in child.graph.live():
        if name in parent_nodes:  # a new node keeps its initial weights
            nodes = _BuiltNode.of(name, parent), _BuiltNode.of(name, child)
            maps[name] = _inherit_node(
                morphism, *nodes, maps, target_map if name == output else None
            )
    return maps[output]


def _inherit_node(
    morphism: Morphism,
    parent: _BuiltNode,
    child: _BuiltNode,
    maps: Mapping[str, ChannelMap],
    target_map: ChannelMap | None,
) -> ChannelMap:
    """Inherit a node: its edges, their combination and the network after it."""
    n_changes, position = len(morphism.transfer.changes), child.then.position
    shared_sources = [source for source in child.edges if source in parent.edges]
    shapes = parent.then.input_shape, child.then.input_shape
    if parent.combine != child.combine or not shared_sources:
        morphism.transfer.record_change(position, "no edge into this node is the parent's")
        combined_map = morphism.transfer.propagate(identity_map(shapes[0], shapes[0]), *shapes)
    elif child.combine == "concat":
        edge_maps = {
            source: morphism.inherit(parent.edges[source], child.edges[source], maps[source])
            for source in shared_sources
        }
        combined_map = _map_of_concat(parent, child, edge_maps)
    else:
        then_is_identity = is_identity(child.then.network, nonnegative_input=False)
        sum_target = target_map if then_is_identity else None
        combined_map = _inherit_sum(morphism, parent, child, shared_sources, maps, sum_target)
    combined_map = morphism.record_differences(
        position, [maps[source] for source in shared_sources], combined_map, n_changes
    )
    return morphism.inherit(parent.then, child.then, combined_map, target_map)


def _inherit_sum(
    morphism: Morphism,
    parent: _BuiltNode,
    child: _BuiltNode,
    shared_sources: Sequence[str],
    maps: Mapping[str, ChannelMap],
    target_map: ChannelMap | None,
) -> ChannelMap:
    """Inherit edges that are added up; inserted ones start at 0.

    Edges without weights come first: edges with weights can then output the same channels.
    """
    for source in parent.edges:
        if source not in child.edges:
            morphism.transfer.record_change(
                child.then.position, f"the edge from {source} is removed"
            )
    edge_maps: list[ChannelMap] = []
    for source in sorted(shared_sources, key=lambda source: _has_weights(child.edges[source])):
        edge_maps.append(
            morphism.inherit(parent.edges[source], child.edges[source], maps[source], target_map)
        )
        target_map = target_map or edge_maps[0]
    inserted_edges = [edge for source, edge in child.edges.items() if source not in parent.edges]
    for edge in inserted_edges:
        layers = layers_to_zero(edge)
        zero_init(layers or [])
        if layers is None:
            morphism.transfer.record_change(edge.position, "an inserted edge cannot start at 0")
    sum_map = map_of_sum(edge_maps, parent.then.input_shape, child.then.input_shape)
    nonnegative = not inserted_edges and all(edge_map.nonnegative for edge_map in edge_maps)
    return replace(sum_map, nonnegative=nonnegative)


def _map_of_concat(
    parent: _BuiltNode, child: _BuiltNode, edge_maps: Mapping[str, ChannelMap]
) -> ChannelMap:
    """Return the map of concatenated edges; channels of an inserted edge are new."""
    widths = {source: n_channels(edge.output_shape) for source, edge in parent.edges.items()}
    starts = dict(zip(widths, accumulate(widths.values(), initial=0), strict=False))
    origins = [
        shift_origins(edge_maps[source].origin, starts[source])
        if source in edge_maps
        else all_new(edge.output_shape, edge.output_shape).origin
        for source, edge in child.edges.items()
    ]
    nonnegative = len(edge_maps) == len(child.edges) and all(
        edge_map.nonnegative for edge_map in edge_maps.values()
    )
    return ChannelMap(
        parent.then.input_shape, child.then.input_shape, torch.cat(origins), nonnegative
    )


def _has_weights(built: BuiltNetwork) -> bool:
    return any(isinstance(module, nn.Conv2d | nn.Linear) for module in built.module.modules())
