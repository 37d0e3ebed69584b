"""One text for all graphs that are the same but for the names and the order of their nodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby, permutations, product
from typing import Any

from netwright.networks.layers.graph import Graph


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
    marks |= {name: f"input {i}" for i, name in enumerate(graph.inputs)}
    marks[output] = f"output|{marks[output]}"
    colours = _refined(marks, edges)
    inner = sorted(names, key=lambda name: colours[name])
    classes = [list(same) for _, same in groupby(inner, key=lambda name: colours[name])]
    texts = []
    for orders in product(*(permutations(same) for same in classes)):
        order = [*graph.inputs, *(name for part in orders for name in part), output]
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
