"""Graphs of layers: cells with named nodes, and a canonical form for equal ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, permutations, product
from typing import Any, Literal

import torch
from torch import Tensor, nn

from netwright.errors import InfeasibleCandidate, expected
from netwright.networks.layers import Add, Composite, Network, Shape, Skip, Zero
from netwright.space.choices import inline

INPUT = "in"
"""The name under which a graph's nodes find its input."""


class FrozenDict(dict[str, Any]):
    """A mapping that hashes by value: layers are cached by what they are."""

    def __hash__(self) -> int:  # type: ignore[override]  # dict says None
        return hash(tuple(self.items()))


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

    What cannot reach the output, or cannot be reached from the input, is not built. Without any
    live route from input to output the candidate is infeasible.
    """

    nodes: Mapping[str, Node] = inline(default_factory=dict)

    def __post_init__(self) -> None:
        if isinstance(self.nodes, dict):
            object.__setattr__(self, "nodes", FrozenDict(self.nodes))

    def assemble(self, shape: Shape, add: Add) -> Shape:
        shapes = {INPUT: shape}
        for name, edges in self.live().items():
            node = self.nodes[name]
            found = [add(_edge(name, src), node.inputs[src], shapes[src]) for src in edges]
            shapes[name] = add(name, node.then, _together(name, node.combine, found))
        return shapes[next(reversed(self.nodes))]

    def run(self, parts: nn.ModuleDict, x: Tensor) -> Tensor:
        values = {INPUT: x}
        for name, edges in self.live().items():
            flows = [parts[_edge(name, source)](values[source]) for source in edges]
            if self.nodes[name].combine == "concat":
                axis = 1 if flows[0].dim() == 4 else -1
                mixed = torch.cat(flows, axis) if len(flows) > 1 else flows[0]
            else:
                mixed = flows[0]
                for flow in flows[1:]:
                    mixed = mixed + flow
            values[name] = parts[name](mixed)
        return values[next(reversed(self.nodes))]

    def live(self) -> dict[str, tuple[str, ...]]:
        """Node -> the sources whose edges carry something, for the nodes on a route."""
        flowing: dict[str, tuple[str, ...]] = {}
        for name, node in self.nodes.items():
            for source in node.inputs:
                if source != INPUT and (source not in self.nodes or source == name):
                    rule = f"{INPUT!r} or a node before it"
                    raise InfeasibleCandidate(expected(f"a source of node {name}", rule, source))
            edges = tuple(
                source for source, edge in node.inputs.items()
                if (source == INPUT or source in flowing) and not is_dead(edge)
            )  # fmt: skip
            if edges and not is_dead(node.then):
                flowing[name] = edges
        output = next(reversed(self.nodes), INPUT)
        if output not in flowing:
            raise InfeasibleCandidate("a graph must have a live route from input to output, got none.")
        needed = {output}
        for name in reversed(flowing):
            if name in needed:
                needed.update(flowing[name])
        return {name: edges for name, edges in flowing.items() if name in needed}


def is_dead(network: Network) -> bool:
    """Whether nothing comes out of it: there is a `Zero` on the only way through."""
    if isinstance(network, tuple):
        return any(is_dead(layer) for layer in network)
    return isinstance(network, Zero)


def canonical(graph: Graph) -> str:
    """One text for all graphs that are the same but for the names and the order of their nodes.

    Dead parts are left out. Exact: among the orders that keep nodes of equal surroundings
    together, the least text is taken.
    """
    live = graph.live()
    names = [*live]
    output = names.pop()
    edges = {
        (source, name): repr(graph.nodes[name].inputs[source])
        for name, sources in live.items()
        for source in sources
    }
    marks = {name: f"{graph.nodes[name].combine}|{graph.nodes[name].then!r}" for name in live}
    marks |= {INPUT: "input", output: f"output|{marks[output]}"}
    colours = _refined(marks, edges)
    inner = sorted(names, key=lambda name: colours[name])
    classes = [list(same) for _, same in groupby(inner, key=lambda name: colours[name])]
    texts = []
    for orders in product(*(permutations(same) for same in classes)):
        order = [INPUT, *(name for part in orders for name in part), output]
        texts.append(_text(order, marks, edges))
    return min(texts)


def _refined(marks: Mapping[str, str], edges: Mapping[tuple[str, str], str]) -> dict[str, int]:
    """Nodes that differ in their surroundings get different colours (Weisfeiler & Leman 1968)."""
    colours = _numbered(marks)
    for _ in marks:
        around = {
            name: (
                colours[name],
                tuple(sorted((op, colours[a]) for (a, b), op in edges.items() if b == name)),
                tuple(sorted((op, colours[b]) for (a, b), op in edges.items() if a == name)),
            )
            for name in marks
        }
        refined = _numbered(around)
        if len(set(refined.values())) == len(set(colours.values())):
            break
        colours = refined
    return colours


def _numbered(keys: Mapping[str, Any]) -> dict[str, int]:
    places = {key: place for place, key in enumerate(sorted(set(keys.values())))}
    return {name: places[key] for name, key in keys.items()}


def _text(
    order: Sequence[str], marks: Mapping[str, str], edges: Mapping[tuple[str, str], str]
) -> str:
    place = {name: i for i, name in enumerate(order)}
    lines = sorted((place[b], place[a], op) for (a, b), op in edges.items())
    nodes = ";".join(marks[name] for name in order)
    return nodes + "#" + ";".join(f"{a}>{b}:{op}" for b, a, op in lines)


def _edge(node: str, source: str) -> str:
    return f"{node}<{source}"


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
