"""Canonical text of graphs: equal for graphs that differ only in names and order of nodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby, permutations, product
from typing import TypeVar

from netwright.networks.layers.graph import Graph

Key = TypeVar("Key", str, tuple[object, ...])


def canonical(graph: Graph) -> str:
    """Return a text that is equal for two graphs if and only if they are isomorphic.

    Dead nodes and edges are left out. Exact: of all orders of the nodes that sort by colour
    (Weisfeiler and Leman 1968), the one with the smallest text is chosen.

    Args:
        graph: A filled graph.

    Raises:
        InfeasibleCandidate: The graph has no live path from input to output.

    Example:
        >>> a = Graph({"x": Node({"in": Conv()}), "y": Node({"x": Pool()})})
        >>> b = Graph({"u": Node({"in": Conv()}), "v": Node({"u": Pool()})})
        >>> canonical(a) == canonical(b)
        True
    """
    live = graph.live()
    names = [*live]
    output = names.pop()
    edges = {
        (source, name): repr(graph.nodes[name].inputs[source])
        for name, sources in live.items()
        for source in sources
    }
    labels = {name: f"{graph.nodes[name].combine}|{graph.nodes[name].then!r}" for name in live}
    labels |= {name: f"input {i}" for i, name in enumerate(graph.inputs)}
    labels[output] = f"output|{labels[output]}"
    colours = _refine_colours(labels, edges)
    inner_nodes = sorted(names, key=lambda name: colours[name])
    colour_classes = [
        list(nodes) for _, nodes in groupby(inner_nodes, key=lambda name: colours[name])
    ]
    texts = []
    for orders in product(*(permutations(nodes) for nodes in colour_classes)):
        order = [*graph.inputs, *(name for nodes in orders for name in nodes), output]
        texts.append(_text(order, labels, edges))
    return min(texts)


def _refine_colours(
    labels: Mapping[str, str], edges: Mapping[tuple[str, str], str]
) -> dict[str, int]:
    """Give different colours to nodes whose neighbourhoods differ (Weisfeiler and Leman 1968)."""
    colours = _rank(labels)
    for _ in labels:
        neighbourhoods = {
            name: (
                colours[name],
                tuple(sorted((op, colours[a]) for (a, b), op in edges.items() if b == name)),
                tuple(sorted((op, colours[b]) for (a, b), op in edges.items() if a == name)),
            )
            for name in labels
        }
        refined = _rank(neighbourhoods)
        if len(set(refined.values())) == len(set(colours.values())):
            break
        colours = refined
    return colours


def _rank(keys: Mapping[str, Key]) -> dict[str, int]:
    """Replace each key by its rank among the distinct keys."""
    rank_of = {key: rank for rank, key in enumerate(sorted(set(keys.values())))}
    return {name: rank_of[key] for name, key in keys.items()}


def _text(
    order: Sequence[str], labels: Mapping[str, str], edges: Mapping[tuple[str, str], str]
) -> str:
    index = {name: i for i, name in enumerate(order)}
    lines = sorted((index[b], index[a], op) for (a, b), op in edges.items())
    nodes = ";".join(labels[name] for name in order)
    return nodes + "#" + ";".join(f"{a}>{b}:{op}" for b, a, op in lines)
