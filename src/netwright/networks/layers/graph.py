"""Graphs of layers: cells with named nodes, and chains of cells."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import torch
from torch import Tensor, nn

from netwright.errors import InfeasibleCandidate, expected
from netwright.networks.interfaces.channel_map import ChannelMap
from netwright.networks.interfaces.layer import (
    AddPart,
    BuiltNetwork,
    Composite,
    Layer,
    Morphism,
    Network,
    ZeroInitLayer,
)
from netwright.networks.interfaces.morphism_rules import (
    all_layers_to_zero,
    is_nonnegative,
    layers_to_zero,
    maps_zero_to_zero,
    start_afresh,
)
from netwright.networks.interfaces.shapes import Shape
from netwright.networks.layers.basic import Skip
from netwright.networks.layers.cell_inheritance import BuiltGraph, edge_name, inherit_cell
from netwright.space.choices import inline
from netwright.space.frozen_dict import FrozenDict

T = TypeVar("T")

INPUT = "in"
"""Default name of a graph's input, as a source of nodes."""


@dataclass(frozen=True)
class Node:
    """A node of a graph: combines its inputs, then applies a network.

    Args:
        inputs: Source -> the network on that edge. A source is ``"in"`` or an earlier node.
        combine: "add", or "concat" along the channels.
        then: The network that the combined inputs go through.

    Example:
        >>> node = Node({"in": Conv(), "a": Skip()}, then=Activation())
    """

    inputs: Mapping[str, Network] = inline(default_factory=dict)
    combine: Literal["add", "concat"] = "add"
    then: Network = Skip()  # noqa: RUF009  # frozen

    def __post_init__(self) -> None:
        if isinstance(self.inputs, dict):
            object.__setattr__(self, "inputs", FrozenDict(self.inputs))


@dataclass(frozen=True)
class Graph(Composite):
    """Named nodes, each after its sources; the last one is the output.

    Nodes that cannot reach the output, or cannot be reached from an input, are not built. A graph
    without a live path from input to output is infeasible. A graph of several `inputs` belongs in a
    `Chain`.

    Args:
        nodes: Name -> node, in an order in which sources come first.
        inputs: Names of the graph's inputs.

    Example:
        >>> cell = Graph({"a": Node({"in": Conv()}), "b": Node({"in": Skip(), "a": Conv()})})
        >>> network = (Conv(16), cell, GlobalPool(), Linear())
    """

    nodes: Mapping[str, Node] = inline(default_factory=dict)
    inputs: tuple[str, ...] = (INPUT,)

    def __post_init__(self) -> None:
        if isinstance(self.nodes, dict):
            object.__setattr__(self, "nodes", FrozenDict(self.nodes))

    def assemble(self, shape: Shape, add: AddPart) -> Shape:
        if len(self.inputs) != 1:
            fix = "Put it in a Chain."
            raise InfeasibleCandidate(expected("inputs", "one name", self.inputs, fix))
        return self.assemble_from({self.inputs[0]: shape}, add)

    def run(self, parts: nn.ModuleDict, x: Tensor) -> Tensor:
        return self.forward_with({self.inputs[0]: x}, lambda name, x: parts[name](x))

    def assemble_from(self, input_shapes: Mapping[str, Shape], add: AddPart) -> Shape:
        """Declare the parts for one shape of each input, and return the output shape.

        Args:
            input_shapes: Name of the input -> its shape, without the batch.
            add: Declares a part, as of `Composite.assemble`.

        Returns:
            Shape of the last node's output, without the batch.

        Raises:
            InfeasibleCandidate: No live path leads from input to output, a source is unknown, or a
                node's inputs or a part do not fit together.
        """
        shapes = dict(input_shapes)
        for name, sources in self.live().items():
            node = self.nodes[name]
            edge_shapes = [
                add(edge_name(name, source), node.inputs[source], shapes[source])
                for source in sources
            ]
            shapes[name] = add(name, node.then, _combined_shape(name, node.combine, edge_shapes))
        return shapes[self.output]

    def forward_with(
        self, inputs: Mapping[str, Tensor], run_part: Callable[[str, Tensor], Tensor]
    ) -> Tensor:
        """Return the output of the forward pass for one tensor of each input.

        Args:
            inputs: Name of the input -> (batch, ...).
            run_part: Runs the part of a name.
        """
        tensors = dict(inputs)
        for name, sources in self.live().items():
            edges = [run_part(edge_name(name, source), tensors[source]) for source in sources]
            if self.nodes[name].combine == "concat":
                combined = torch.cat(edges, 1 if edges[0].dim() == 4 else -1)
            else:
                combined = sum(edges[1:], edges[0])
            tensors[name] = run_part(name, combined)
        return tensors[self.output]

    @property
    def output(self) -> str:
        """Name of the last node."""
        return next(reversed([*self.nodes]), INPUT)

    def live(self) -> dict[str, tuple[str, ...]]:
        """Return node -> sources of its live edges, for nodes on a path from input to output.

        Raises:
            InfeasibleCandidate: A source is unknown, or there is no such path.
        """
        reached: dict[str, tuple[str, ...]] = {}
        for name, node in self.nodes.items():
            for source in node.inputs:
                if source not in self.inputs and (source not in self.nodes or source == name):
                    rule = f"{' or '.join(map(repr, self.inputs))} or a node before it"
                    raise InfeasibleCandidate(expected(f"a source of node {name}", rule, source))
            sources = tuple(
                source
                for source, edge in node.inputs.items()
                if (source in self.inputs or source in reached) and not is_dead(edge)
            )
            if sources and not is_dead(node.then):
                reached[name] = sources
        if self.output not in reached:
            raise InfeasibleCandidate(
                "a graph must have a live route from input to output, got none."
            )
        needed = {self.output}
        for name in reversed(reached):
            if name in needed:
                needed.update(reached[name])
        return {name: sources for name, sources in reached.items() if name in needed}

    # Weight inheritance

    def is_nonnegative(self, built: BuiltNetwork, *, nonnegative_input: bool) -> bool:
        return is_nonnegative(built.parts[self.output], nonnegative_input=False)

    def layers_to_zero(
        self, built: BuiltNetwork, *, before_relu: bool
    ) -> list[ZeroInitLayer] | None:
        then = built.parts[self.output]
        if not maps_zero_to_zero(then.network):
            return layers_to_zero(then, before_relu=before_relu)
        edges = [built.parts[edge_name(self.output, source)] for source in self.live()[self.output]]
        then_has_kink = isinstance(then.network, Layer) and then.network.has_kink
        return all_layers_to_zero(edges, before_relu=before_relu or then_has_kink)

    def inherit(
        self,
        morphism: Morphism,
        parent: BuiltNetwork,
        child: BuiltNetwork,
        input_map: ChannelMap,
        target_map: ChannelMap | None,
    ) -> ChannelMap:
        parent_graph = parent.network
        assert isinstance(parent_graph, Graph)
        return inherit_cell(
            morphism,
            BuiltGraph(parent_graph, parent.parts),
            BuiltGraph(self, child.parts),
            [input_map],
            target_map,
        )


@dataclass(frozen=True)
class Chain(Composite):
    """Cells one after the other, each fed by as many predecessors as it has inputs.

    A cell of two inputs gets the output of the cell before the last first, as in DARTS
    (1806.09055); for the first cells the chain's input stands in for missing predecessors.

    Args:
        cells: Graphs, usually of two inputs.

    Example:
        >>> cells = tuple(darts_cell(16, reduction=False) for _ in range(4))
        >>> network = (Conv(16), Chain(cells), GlobalPool(), Linear())
    """

    cells: tuple[Graph, ...]

    def assemble(self, shape: Shape, add: AddPart) -> Shape:
        shapes = [shape]
        for i, cell in enumerate(self.cells):

            def add_to_cell(name: str, network: Network, shape: Shape, index: int = i) -> Shape:
                return add(f"{index}/{name}", network, shape)

            shapes.append(cell.assemble_from(latest_by_input(cell.inputs, shapes), add_to_cell))
        return shapes[-1]

    def run(self, parts: nn.ModuleDict, x: Tensor) -> Tensor:
        tensors = [x]
        for i, cell in enumerate(self.cells):

            def run_part(name: str, x: Tensor, index: int = i) -> Tensor:
                output: Tensor = parts[f"{index}/{name}"](x)
                return output

            tensors.append(cell.forward_with(latest_by_input(cell.inputs, tensors), run_part))
        return tensors[-1]

    def inherit(
        self,
        morphism: Morphism,
        parent: BuiltNetwork,
        child: BuiltNetwork,
        input_map: ChannelMap,
        target_map: ChannelMap | None,
    ) -> ChannelMap:
        parent_chain = parent.network
        assert isinstance(parent_chain, Chain)
        if [cell.inputs for cell in parent_chain.cells] != [cell.inputs for cell in self.cells]:
            return start_afresh(morphism.transfer, parent, child, input_map, target_map)
        maps = [input_map]
        for i, (parent_cell, cell) in enumerate(zip(parent_chain.cells, self.cells, strict=True)):
            cells = (
                BuiltGraph.in_chain(parent, i, parent_cell),
                BuiltGraph.in_chain(child, i, cell),
            )
            cell_input_maps = [*latest_by_input(cell.inputs, maps).values()]
            maps.append(inherit_cell(morphism, *cells, cell_input_maps, target_map))
        return maps[-1]


def latest_by_input(names: Sequence[str], outputs: Sequence[T]) -> dict[str, T]:
    """Return input name -> one of the last outputs, in order; the first stands in for missing ones."""
    start = len(outputs) - len(names)
    return {name: outputs[max(0, start + i)] for i, name in enumerate(names)}


def is_dead(network: Network) -> bool:
    """Return whether its output is always 0: a `Zero` is on the only path."""
    if isinstance(network, tuple):
        return any(is_dead(layer) for layer in network)
    return isinstance(network, Layer) and network.dead


def _combined_shape(name: str, combine: str, shapes: Sequence[Shape]) -> Shape:
    """Return the shape of a node's combined inputs; refuse shapes that cannot be combined."""
    first = shapes[0]
    channel_axis = 0 if len(first) == 3 else len(first) - 1

    def comparable(shape: Shape) -> Shape:
        """Return the axes that must agree, with 0 for the channels of a concatenation."""
        if combine == "concat":
            return (*shape[:channel_axis], 0, *shape[channel_axis + 1 :])
        return shape

    if any(len(shape) != len(first) or comparable(shape) != comparable(first) for shape in shapes):
        rule = "of one shape" if combine == "add" else "of one shape except for the channels"
        raise InfeasibleCandidate(expected(f"the inputs of node {name}", rule, [*shapes]))
    if combine == "add":
        return first
    channels = sum(shape[channel_axis] for shape in shapes)
    return (*first[:channel_axis], channels, *first[channel_axis + 1 :])
