"""Graphs of layers: cells with named nodes."""

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
    End,
    Layer,
    Morphism,
    Network,
)
from netwright.networks.interfaces.morphism_rules import (
    all_ends,
    ends_of,
    is_positive,
    keeps_zero,
    replaced,
)
from netwright.networks.interfaces.shapes import Shape
from netwright.networks.layers.basic import Skip
from netwright.networks.layers.cell_inheritance import Cell, edge_name, inherit_cell
from netwright.space.choices import inline
from netwright.space.frozen_dict import FrozenDict

T = TypeVar("T")

INPUT = "in"
"""The name under which a graph's nodes find its input, where it has one."""


@dataclass(frozen=True)
class Node:
    """A place in a graph: what flows in, how it comes together, what is done to it then.

    `inputs`: source -> the network on that edge; a source is ``"in"`` or an earlier node. With
    `combine` "concat" the channels of the inputs are put side by side.
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

    What cannot reach the output, or cannot be reached from an input, is not built. Without any
    live route from input to output the candidate is infeasible. A graph of several `inputs` stands
    in a `Chain`.
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
        return self.run_from({self.inputs[0]: x}, lambda name, x: parts[name](x))

    def assemble_from(self, inputs: Mapping[str, Shape], add: AddPart) -> Shape:
        """As `assemble`, of one shape for each input."""
        shapes = dict(inputs)
        for name, edges in self.live().items():
            node = self.nodes[name]
            found = [add(edge_name(name, src), node.inputs[src], shapes[src]) for src in edges]
            shapes[name] = add(name, node.then, _together(name, node.combine, found))
        return shapes[self.output]

    def run_from(
        self, inputs: Mapping[str, Tensor], part: Callable[[str, Tensor], Tensor]
    ) -> Tensor:
        """As `run`, of one tensor for each input; `part` runs the part of a name."""
        values = dict(inputs)
        for name, edges in self.live().items():
            flows = [part(edge_name(name, source), values[source]) for source in edges]
            if self.nodes[name].combine == "concat":
                mixed = torch.cat(flows, 1 if flows[0].dim() == 4 else -1)
            else:
                mixed = sum(flows[1:], flows[0])
            values[name] = part(name, mixed)
        return values[self.output]

    @property
    def output(self) -> str:
        """The last node."""
        return next(reversed([*self.nodes]), INPUT)

    def live(self) -> dict[str, tuple[str, ...]]:
        """Node -> the sources whose edges carry something, for the nodes on a route."""
        flowing: dict[str, tuple[str, ...]] = {}
        for name, node in self.nodes.items():
            for source in node.inputs:
                if source not in self.inputs and (source not in self.nodes or source == name):
                    rule = f"{' or '.join(map(repr, self.inputs))} or a node before it"
                    raise InfeasibleCandidate(expected(f"a source of node {name}", rule, source))
            edges = tuple(
                source for source, edge in node.inputs.items()
                if (source in self.inputs or source in flowing) and not is_dead(edge)
            )  # fmt: skip
            if edges and not is_dead(node.then):
                flowing[name] = edges
        if self.output not in flowing:
            raise InfeasibleCandidate(
                "a graph must have a live route from input to output, got none."
            )
        needed = {self.output}
        for name in reversed(flowing):
            if name in needed:
                needed.update(flowing[name])
        return {name: edges for name, edges in flowing.items() if name in needed}

    # Weights from a parent

    def is_positive(self, part: BuiltNetwork, before: bool) -> bool:
        return is_positive(part.parts[self.output], before=False)

    def ends(self, part: BuiltNetwork, kinked: bool) -> list[End] | None:
        then = part.parts[self.output]
        if not keeps_zero(then.network):
            return ends_of(then, kinked)
        edges = (edge_name(self.output, one) for one in self.live()[self.output])
        has_kink = isinstance(then.network, Layer) and then.network.has_kink
        return all_ends([part.parts[name] for name in edges], kinked or has_kink)

    def inherit(
        self,
        walk: Morphism,
        old: BuiltNetwork,
        new: BuiltNetwork,
        flow: ChannelMap,
        wanted: ChannelMap | None,
    ) -> ChannelMap:
        before = old.network
        assert isinstance(before, Graph)
        return inherit_cell(walk, Cell(before, old.parts), Cell(self, new.parts), [flow], wanted)


@dataclass(frozen=True)
class Chain(Composite):
    """Cells one after the other, each fed by as many before it as it has inputs.

    A cell of two inputs sees the output before the last one first, as in DARTS (1806.09055); the
    first cell sees what comes in twice.
    """

    cells: tuple[Graph, ...]

    def assemble(self, shape: Shape, add: AddPart) -> Shape:
        found = [shape]
        for i, cell in enumerate(self.cells):

            def add_here(name: str, part: Network, of: Shape, place: int = i) -> Shape:
                return add(f"{place}/{name}", part, of)

            found.append(cell.assemble_from(latest(cell.inputs, found), add_here))
        return found[-1]

    def run(self, parts: nn.ModuleDict, x: Tensor) -> Tensor:
        found = [x]
        for i, cell in enumerate(self.cells):

            def part(name: str, x: Tensor, place: int = i) -> Tensor:
                out: Tensor = parts[f"{place}/{name}"](x)
                return out

            found.append(cell.run_from(latest(cell.inputs, found), part))
        return found[-1]

    def inherit(
        self,
        walk: Morphism,
        old: BuiltNetwork,
        new: BuiltNetwork,
        flow: ChannelMap,
        wanted: ChannelMap | None,
    ) -> ChannelMap:
        before = old.network
        assert isinstance(before, Chain)
        if [one.inputs for one in before.cells] != [one.inputs for one in self.cells]:
            return replaced(walk.transfer, old, new, flow, wanted)
        flows = [flow]
        for i, (one, other) in enumerate(zip(before.cells, self.cells, strict=True)):
            cells = Cell.of(old, i, one), Cell.of(new, i, other)
            into = [*latest(other.inputs, flows).values()]
            flows.append(inherit_cell(walk, *cells, into, wanted))
        return flows[-1]


def latest(names: Sequence[str], found: Sequence[T]) -> dict[str, T]:
    """The last of what was found, for each name; the first stands in for what is before it."""
    start = len(found) - len(names)
    return {name: found[max(0, start + i)] for i, name in enumerate(names)}


def is_dead(network: Network) -> bool:
    """Whether nothing comes out of it: there is a `Zero` on the only way through."""
    if isinstance(network, tuple):
        return any(is_dead(layer) for layer in network)
    return isinstance(network, Layer) and network.dead


def _together(name: str, combine: str, shapes: Sequence[Shape]) -> Shape:
    first = shapes[0]
    axis = 0 if len(first) == 3 else len(first) - 1

    def others(shape: Shape) -> Shape:
        return (*shape[:axis], 0, *shape[axis + 1 :]) if combine == "concat" else shape

    if any(len(s) != len(first) or others(s) != others(first) for s in shapes):
        rule = "of one shape" if combine == "add" else "of one shape but for the channels"
        raise InfeasibleCandidate(expected(f"the inputs of node {name}", rule, [*shapes]))
    if combine == "add":
        return first
    return (*first[:axis], sum(shape[axis] for shape in shapes), *first[axis + 1 :])
