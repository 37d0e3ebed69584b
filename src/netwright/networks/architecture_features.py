"""Features of filled networks for accuracy predictors: counted paths, subtrees and operations.

Paths are those of BANANAS (White et al. 2021, 1910.11858), with counts and without operations that
do nothing; subtrees are Weisfeiler-Lehman labels of operations, as in NAS-BOWL (Ru et al. 2021,
2006.07556). A repeated cell is counted once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from functools import partial
from typing import NamedTuple, TypeGuard

from netwright.networks.interfaces.layer import Layer, Leaf, Network
from netwright.networks.layers.basic import Skip
from netwright.networks.layers.blocks import Residual
from netwright.networks.layers.canonical import canonical
from netwright.networks.layers.graph import Graph
from netwright.space.visitor import children

_MAX_PATHS_PER_OPERATION = 300
"""Paths that end in one operation; the first in alphabetical order are kept."""
_WL_ITERATIONS = 2
"""Weisfeiler-Lehman iterations: subtrees reach this many operations back."""

FeatureCounts = Mapping[str, float]
"""Text of a feature -> how often it occurs."""


class NetworkFeatures(NamedTuple):
    """Three kinds of features of one network."""

    paths: FeatureCounts
    subtrees: FeatureCounts
    counts: FeatureCounts


class _Operation(NamedTuple):
    """An operation in a graph.

    Args:
        text: The layer's repr, or ``input i`` and ``output``.
        sources: Indices of the operations that feed it; empty for an input.
    """

    text: str
    sources: tuple[int, ...]


def find_networks(description: object) -> Iterator[Network]:
    """Yield the networks in a filled description, outermost first."""
    if _is_network(description):
        yield description
        return
    for _, child in children(description):
        yield from find_networks(child)


def _is_network(description: object) -> TypeGuard[Network]:
    """Return whether it is a layer or a sequence of layers; tuples of numbers are settings."""
    if isinstance(description, tuple):
        return bool(description) and all(isinstance(layer, Layer | tuple) for layer in description)
    return isinstance(description, Layer)


def network_features(network: Network) -> NetworkFeatures:
    """Count paths, subtrees and operations of a filled network.

    Raises:
        InfeasibleCandidate: No path leads from the input to the output.
    """
    sequence: list[str] = []
    graphs: dict[
        int, Graph
    ] = {}  # by identity: hashing each copy of a cell costs more than the rest
    _flatten(network, sequence, graphs)
    paths: Counter[str] = Counter()
    subtrees: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    for i, graph in enumerate(dict.fromkeys(graphs.values())):
        operations = _operations(graph)
        graph_paths = _count_paths(operations)
        paths.update({f"{i}:{path}": count for path, count in graph_paths.items()})
        subtrees.update(
            {f"{i}:{subtree}": count for subtree, count in _count_subtrees(operations).items()}
        )
        counts.update(_graph_counts(i, operations, graph_paths))
    for length in (1, 2, 3):  # the subtrees of a sequence are runs of neighbours
        runs = [">".join(sequence[i : i + length]) for i in range(len(sequence) - length + 1)]
        subtrees.update(f"row:{run}" for run in runs)
    counts.update(f"kind:{layer.partition('(')[0]}" for layer in sequence)
    return NetworkFeatures(paths, subtrees, counts)


def network_depth(network: Network) -> int:
    """Return the number of weighted layers on the longest path through a filled network.

    Layers that are cheap to run (activations, pooling, skips) do not count; a block without layers
    of its own, such as `MBConv`, counts once.

    Raises:
        InfeasibleCandidate: A graph has no path from its input to its output.
    """
    return _depth(network, {})


def _depth(network: Network, depths: dict[int, int]) -> int:
    """Return the depth; `depths` caches it by identity, as shared layers occur many times."""
    if id(network) in depths:
        return depths[id(network)]
    if isinstance(network, Graph):
        depth = _graph_depth(network, depths)
    elif isinstance(network, tuple):
        depth = sum(_depth(layer, depths) for layer in network)
    elif isinstance(network, Leaf):
        depth = 0 if network.cheap_to_run else 1
    else:
        inner = [child for _, child in children(network) if _is_network(child)]
        depth = sum(_depth(child, depths) for child in inner) if inner else 1
    depths[id(network)] = depth
    return depth


def _graph_depth(graph: Graph, depths: dict[int, int]) -> int:
    longest = dict.fromkeys(graph.inputs, 0)
    for name, sources in graph.live().items():
        node = graph.nodes[name]
        longest[name] = _depth(node.then, depths) + max(
            longest[source] + _depth(node.inputs[source], depths) for source in sources
        )
    return longest[graph.output]


def canonical_text(description: object) -> str:
    """Return one text for all equal filled descriptions.

    Isomorphic graphs count as equal, and sequences that differ in layers that do nothing, or in how
    they are nested: ``(Conv(8), (Skip(), Conv(8)))`` is ``(Conv(8), Conv(8))``. A layer that changes
    the shape, such as a strided `Downsample`, always counts.
    """
    return _canonical_text(description, {})


def _canonical_text(description: object, texts: dict[int, str]) -> str:
    """Return the canonical text; `texts` caches by identity, as shared layers occur many times."""
    if id(description) in texts:
        return texts[id(description)]
    if isinstance(description, Graph):
        text = f"<{canonical(description)}>"
    elif isinstance(description, Skip) or (
        isinstance(description, tuple) and _is_network(description)
    ):
        layers = [_canonical_text(layer, texts) for layer in _effective_layers(description)]
        text = layers[0] if len(layers) == 1 else f"({','.join(layers)})"
    elif isinstance(description, Leaf) or not (fields := list(children(description))):
        return repr(description)
    else:
        inside = ",".join(f"{name}={_canonical_text(child, texts)}" for name, child in fields)
        name = type(description).__name__
        if isinstance(description, partial):
            name = repr(description.func)
        text = f"{name}({inside})"
    texts[id(description)] = text
    return text


def _effective_layers(network: Network) -> Iterator[Network]:
    """Yield the layers of nested sequences in order, without those that do nothing."""
    if isinstance(network, tuple):
        for layer in network:
            yield from _effective_layers(layer)
    elif network != Skip():
        yield network


def _flatten(network: Network, sequence: list[str], graphs: dict[int, Graph]) -> None:
    """Append the layers' texts in order to `sequence`, and each graph once to `graphs`."""
    if isinstance(network, tuple):
        for layer in network:
            _flatten(layer, sequence, graphs)
    elif isinstance(network, Graph):
        graphs.setdefault(id(network), network)
    elif isinstance(network, Residual):
        sequence.append("residual")
        _flatten(network.body, sequence, graphs)
        sequence.append("end")
    elif inner := [child for _, child in children(network) if _is_network(child)]:
        for child in inner:
            _flatten(child, sequence, graphs)
    elif not isinstance(network, Skip):
        sequence.append(repr(network))


def _operations(graph: Graph) -> list[_Operation]:
    """Return the operations of the live part in topological order; the last is the output.

    A `Skip` or a node without an operation adds none.
    """
    operations: list[_Operation] = [_Operation(f"input {i}", ()) for i in range(len(graph.inputs))]
    last_operations: dict[str, tuple[int, ...]] = {
        name: (i,) for i, name in enumerate(graph.inputs)
    }
    for name, sources in graph.live().items():
        node = graph.nodes[name]
        edge_ends: list[int] = []
        for source in sources:
            edge_ends += _append(operations, node.inputs[source], last_operations[source])
        last_operations[name] = _append(operations, node.then, tuple(edge_ends))
    return [*operations, _Operation("output", last_operations[graph.output])]


def _append(
    operations: list[_Operation], network: Network, sources: tuple[int, ...]
) -> tuple[int, ...]:
    """Append an operation unless it does nothing; return what feeds the next one."""
    if not any(True for _ in _effective_layers(network)):
        return sources
    operations.append(_Operation(repr(network), sources))
    return (len(operations) - 1,)


def _count_paths(operations: list[_Operation]) -> Counter[str]:
    """Count the paths from an input to the output, each as the sequence of its operations."""
    paths_to: list[Counter[str]] = []
    for operation in operations:
        paths: Counter[str] = Counter()
        for source in operation.sources:
            for path, count in paths_to[source].items():
                paths[f"{path}>{operation.text}"] += count
        if not operation.sources:
            paths[operation.text] = 1
        paths_to.append(Counter(dict(sorted(paths.items())[:_MAX_PATHS_PER_OPERATION])))
    return paths_to[-1]


def _count_subtrees(operations: list[_Operation]) -> Counter[str]:
    """Count Weisfeiler-Lehman labels, refined by the operations that feed each operation."""
    labels = [operation.text for operation in operations]
    counts = Counter(labels)
    for height in range(1, _WL_ITERATIONS + 1):
        labels = [
            f"{label}[{','.join(sorted(labels[i] for i in operation.sources))}]"
            for operation, label in zip(operations, labels, strict=True)
        ]
        counts.update(f"{height}|{label}" for label in labels)
    return counts


def _graph_counts(
    graph_index: int, operations: list[_Operation], paths: Counter[str]
) -> dict[str, float]:
    """Count operations by kind and paths; measure the depth; note an input-to-output shortcut."""
    depth = [0] * len(operations)
    for i, operation in enumerate(operations):
        depth[i] = max((depth[j] + 1 for j in operation.sources), default=0)
    kinds = Counter(
        f"{graph_index}:{operation.text}" for operation in operations[:-1] if operation.sources
    )
    has_shortcut = any(path.count(">") == 1 for path in paths)
    return {
        **kinds,
        f"{graph_index}:ways": float(sum(paths.values())),
        f"{graph_index}:depth": float(depth[-1]),
        f"{graph_index}:straight": float(has_shortcut),
    }
