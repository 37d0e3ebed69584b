"""What a filled network looks like to a model of its accuracy: paths, subtrees and sizes, counted.

Each is a bag: text -> how often. Paths are those of BANANAS (White et al. 2021, 1910.11858), with
counts and without what does nothing; subtrees are those of Weisfeiler and Leman on operations, as
in NAS-BOWL (Ru et al. 2021, 2006.07556). A cell that is repeated is looked at once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

from netwright.networks.interfaces.layer import Layer, Leaf, Network
from netwright.networks.layers.basic import Skip
from netwright.networks.layers.blocks import Residual
from netwright.networks.layers.canonical import canonical
from netwright.networks.layers.graph import Graph
from netwright.space.visitor import children

_MOST_PATHS = 300
_HEIGHT = 2
"""Subtrees are cut off so many operations above their root."""

FeatureCounts = Mapping[str, float]


class NetworkFeatures(NamedTuple):
    """Three views of one network."""

    paths: FeatureCounts
    subtrees: FeatureCounts
    counts: FeatureCounts


class _Step(NamedTuple):
    """An operation in a graph, and the places of the steps before it; none before an input."""

    operation: str
    before: tuple[int, ...]


def find_networks(part: Any) -> Iterator[Network]:
    """The networks in a filled description, outermost first."""
    if _is_network(part):
        yield part
        return
    for _, child in children(part):
        yield from find_networks(child)


def _is_network(part: Any) -> bool:
    """Settings of a layer may be tuples too, of numbers."""
    if isinstance(part, tuple):
        return bool(part) and all(isinstance(one, Layer | tuple) for one in part)
    return isinstance(part, Layer)


def network_features(network: Network) -> NetworkFeatures:
    """The bags of a filled network. Raises InfeasibleCandidate when nothing can flow through."""
    row: list[str] = []
    met: dict[int, Graph] = {}  # by identity: hashing each copy of a cell costs more than all else
    _flatten(network, row, met)
    paths: Counter[str] = Counter()
    subtrees: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    for place, graph in enumerate(dict.fromkeys(met.values())):
        steps = _steps(graph)
        through = _paths(steps)
        paths.update({f"{place}:{path}": number for path, number in through.items()})
        subtrees.update({f"{place}:{tree}": number for tree, number in _subtrees(steps).items()})
        counts.update(_graph_counts(place, steps, through))
    for length in (1, 2, 3):  # of what stands in a row, subtrees are the runs of neighbours
        runs = [">".join(row[i : i + length]) for i in range(len(row) - length + 1)]
        subtrees.update(f"row:{run}" for run in runs)
    counts.update(f"kind:{one.partition('(')[0]}" for one in row)
    return NetworkFeatures(paths, subtrees, counts)


def canonical_text(part: Any) -> str:
    """One text for all filled descriptions that say the same, whatever their graphs' writing."""
    return _same(part, {})


def _same(part: Any, done: dict[int, str]) -> str:
    """`done`: by identity, since a shared part stands in many places."""
    if id(part) in done:
        return done[id(part)]
    if isinstance(part, Graph):
        text = f"<{canonical(part)}>"
    elif isinstance(part, Leaf) or not (found := list(children(part))):
        return repr(part)
    else:
        inside = ",".join(f"{name}={_same(child, done)}" for name, child in found)
        name = repr(part.func) if isinstance(part, partial) else type(part).__name__
        text = f"{name}({inside})"
    done[id(part)] = text
    return text


def _flatten(network: Network, row: list[str], graphs: dict[int, Graph]) -> None:
    """The layers in their order; graphs are taken out, once each."""
    if isinstance(network, tuple):
        for layer in network:
            _flatten(layer, row, graphs)
    elif isinstance(network, Graph):
        graphs.setdefault(id(network), network)
    elif isinstance(network, Residual):
        row.append("residual")
        _flatten(network.body, row, graphs)
        row.append("end")
    elif inner := [one for _, one in children(network) if _is_network(one)]:
        for one in inner:
            _flatten(one, row, graphs)
    elif not isinstance(network, Skip):
        row.append(repr(network))


def _steps(graph: Graph) -> list[_Step]:
    """The operations of the live part in an order that respects the flow; the last is the output.

    What only hands on (a `Skip`, a node) is no step.
    """
    steps: list[_Step] = [_Step(f"input {i}", ()) for i in range(len(graph.inputs))]
    ends: dict[str, tuple[int, ...]] = {name: (i,) for i, name in enumerate(graph.inputs)}
    for name, sources in graph.live().items():
        node = graph.nodes[name]
        flows: list[int] = []
        for source in sources:
            flows += _after(steps, node.inputs[source], ends[source])
        ends[name] = _after(steps, node.then, tuple(flows))
    return [*steps, _Step("output", ends[graph.output])]


def _after(steps: list[_Step], operation: Network, before: tuple[int, ...]) -> tuple[int, ...]:
    if operation == Skip() or operation == ():
        return before
    steps.append(_Step(repr(operation), before))
    return (len(steps) - 1,)


def _paths(steps: list[_Step]) -> Counter[str]:
    """Every way from an input to the output, as the row of its operations."""
    ways: list[Counter[str]] = []
    for step in steps:
        found: Counter[str] = Counter()
        for place in step.before:
            for way, number in ways[place].items():
                found[f"{way}>{step.operation}"] += number
        if not step.before:
            found[step.operation] = 1
        ways.append(Counter(dict(sorted(found.items())[:_MOST_PATHS])))
    return ways[-1]


def _subtrees(steps: list[_Step]) -> Counter[str]:
    """Labels of Weisfeiler and Leman, refined by what comes before each operation."""
    labels = [step.operation for step in steps]
    found = Counter(labels)
    for height in range(1, _HEIGHT + 1):
        labels = [
            f"{label}[{','.join(sorted(labels[i] for i in step.before))}]"
            for step, label in zip(steps, labels, strict=True)
        ]
        found.update(f"{height}|{label}" for label in labels)
    return found


def _graph_counts(place: int, steps: list[_Step], through: Counter[str]) -> dict[str, float]:
    """Operations of each kind, number of ways, longest way, and whether one does nothing at all."""
    depth = [0] * len(steps)
    for i, step in enumerate(steps):
        depth[i] = max((depth[j] + 1 for j in step.before), default=0)
    kinds = Counter(f"{place}:{step.operation}" for step in steps[:-1] if step.before)
    straight = any(way.count(">") == 1 for way in through)
    return {
        **kinds,
        f"{place}:ways": float(sum(through.values())),
        f"{place}:depth": float(depth[-1]),
        f"{place}:straight": float(straight),
    }
