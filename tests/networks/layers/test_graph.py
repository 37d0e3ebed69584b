"""Graphs build live nodes only, and isomorphic graphs have one canonical text."""

from __future__ import annotations

import time
from itertools import permutations

import numpy as np
import pytest
import torch
from network_tools import memory

from netwright.errors import InfeasibleCandidate
from netwright.networks.build import CompositeModule, build
from netwright.networks.costs import costs
from netwright.networks.interfaces.layer import Network
from netwright.networks.layers.basic import Activation, Norm, Pool, Skip, Zero
from netwright.networks.layers.canonical import canonical
from netwright.networks.layers.conv import Conv
from netwright.networks.layers.graph import Chain, Graph, Node
from netwright.networks.layers.linear import Linear

OPERATIONS = {"skip": Skip(), "norm": Norm(), "pool": Pool()}


def part_names(graph: Graph) -> set[str]:
    module = build(graph, (4, 6, 6))
    assert isinstance(module, CompositeModule)
    return set(module.parts)


def test_dead_edges_and_unreachable_nodes_are_not_built() -> None:
    graph = Graph(
        {
            "dead": Node({"in": Zero()}),
            "fed by the dead": Node({"dead": Conv()}),
            "leads nowhere": Node({"in": Conv()}),
            "stopped": Node({"in": Conv()}, then=(Conv(), Zero())),
            "a": Node({"in": Conv(), "fed by the dead": Skip(), "stopped": Skip()}),
            "out": Node({"a": Skip(), "in": (Skip(), Zero()), "dead": Conv()}),
        }
    )
    assert graph.live() == {"a": ("in",), "out": ("a",)}
    assert part_names(graph) == {"a<in", "a", "out<a", "out"}
    assert costs(graph, (4, 6, 6)).parameters == costs(Conv(), (4, 6, 6)).parameters


def test_node_may_not_use_a_later_node() -> None:
    later = Graph({"a": Node({"b": Skip(), "in": Skip()}), "b": Node({"in": Skip()})})
    assert later.live() == {"b": ("in",)}
    itself = Graph({"a": Node({"a": Skip(), "in": Skip()})})
    with pytest.raises(
        InfeasibleCandidate, match="a source of node a must be 'in' or a node before"
    ):
        itself.live()


@pytest.mark.parametrize(
    "graph",
    [
        Graph({}),
        Graph({"a": Node()}),
        Graph({"a": Node({"in": Zero()}), "b": Node({"in": Zero(), "a": Skip()})}),
        Graph({"a": Node({"in": Skip()}), "b": Node({"a": Skip()}, then=Zero())}),
        Graph({"a": Node({"in": Skip()}), "b": Node({"a": (Conv(), (Zero(), Conv()))})}),
    ],
)
def test_graph_without_a_live_route_is_infeasible(graph: Graph) -> None:
    for run in (build, costs):
        with pytest.raises(InfeasibleCandidate, match="a live route from input to output"):
            run(graph, (4, 6, 6))


def test_forward_pass_matches_hand_written_code() -> None:
    graph = Graph(
        {
            "a": Node({"in": Conv(6)}, then=Activation("tanh")),
            "b": Node({"in": Conv(6, kernel=1), "a": Skip()}),
            "out": Node({"a": Pool("avg"), "b": Norm(), "in": Conv(6)}, then=Conv(2)),
        }
    )
    module, x = build(graph, (4, 6, 6)).eval(), torch.randn(3, 4, 6, 6)
    parts = module.parts
    a = torch.tanh(parts["a<in"](x))
    b = parts["b<in"](x) + a
    out = parts["out"](parts["out<a"](a) + parts["out<b"](b) + parts["out<in"](x))
    assert torch.allclose(module(x), out, atol=1e-6)


@pytest.mark.parametrize("shape", [(4, 6, 6), (5, 4), (4,)])
def test_concat_joins_channels_in_the_order_of_inputs(
    shape: tuple[int, ...],
) -> None:
    graph = Graph(
        {
            "a": Node({"in": Activation("tanh")}),
            "out": Node({"a": Skip(), "in": Skip()}, combine="concat"),
        }
    )
    x = torch.randn(2, *shape)
    axis = 1 if len(shape) == 3 else -1
    assert torch.equal(build(graph, shape)(x), torch.cat([x.tanh(), x], axis))
    channels = 0 if len(shape) == 3 else -1
    assert costs(graph, shape).shape[channels] == 8


def test_concat_refuses_images_of_other_sizes() -> None:
    graph = Graph(
        {"a": Node({"in": Pool(stride=2)}), "b": Node({"a": Skip(), "in": Skip()}, "concat")}
    )
    with pytest.raises(InfeasibleCandidate, match="of one shape except for the channels"):
        build(graph, (4, 6, 6))


def test_order_of_nodes_matters_for_equality() -> None:
    a, b = Node({"in": Skip()}), Node({"in": Norm()})
    assert Graph({"a": a, "b": b}) == Graph({"a": a, "b": b})
    assert hash(Graph({"a": a, "b": b})) == hash(Graph({"a": a, "b": b}))
    assert Graph({"a": a, "b": b}) != Graph({"b": b, "a": a})  # another output


def test_chain_feeds_each_cell_from_its_predecessors() -> None:
    cell = Graph({"out": Node({"x": Linear(3), "y": Linear(3)})}, inputs=("x", "y"))
    module, x = build(Chain((cell, cell, cell)), (4,)), torch.randn(5, 4)
    parts = module.parts
    first = parts["0/out<x"](x) + parts["0/out<y"](x)
    second = parts["1/out<x"](x) + parts["1/out<y"](first)
    third = parts["2/out<x"](first) + parts["2/out<y"](second)
    assert torch.allclose(module(x), third, atol=1e-6)
    assert memory(Chain((cell,)), (4,)) >= 4 + 3 * 3
    with pytest.raises(InfeasibleCandidate, match="inputs must be one name"):
        build(cell, (4,))


def random_graph(rng: np.random.Generator, inner: int, operations: int) -> Graph:
    """A DAG of named operations; often with dead and unreachable parts."""
    labels = [*OPERATIONS][:operations]
    names = [f"n{i}" for i in range(inner)] + ["out"]
    nodes = {}
    for i, name in enumerate(names):
        sources = [s for s in ("in", *names[:i]) if rng.random() < 0.5] or ["in"]
        edges = {s: OPERATIONS[labels[rng.integers(len(labels))]] for s in sources}
        nodes[name] = Node({s: Zero() if rng.random() < 0.1 else e for s, e in edges.items()})
    return Graph(nodes)


def renamed(graph: Graph, rng: np.random.Generator) -> Graph:
    """An isomorphic graph: other names and order of nodes and edges, with dead nodes."""
    remaining, order = [*graph.nodes][:-1], []
    while remaining:  # any order in which sources come first
        ready = [n for n in remaining if not set(graph.nodes[n].inputs) & {*remaining}]
        order.append(ready[rng.integers(len(ready))])
        remaining.remove(order[-1])
    order.append([*graph.nodes][-1])
    names = {name: f"m{i}" for name, i in zip(order, rng.permutation(len(order)), strict=True)}
    nodes = {}
    for name in order:
        edges = [*graph.nodes[name].inputs.items()]
        rng.shuffle(edges)
        nodes[names[name]] = Node({names.get(s, s): edge for s, edge in edges})
    return Graph({"dead": Node({"in": Zero()}), **nodes})


Labelled = tuple[list[str], str, dict[tuple[str, str], Network]]


def labelled(graph: Graph) -> Labelled:
    live = graph.live()
    edges = {
        (source, name): graph.nodes[name].inputs[source]
        for name, sources in live.items()
        for source in sources
    }
    return [*live][:-1], [*live][-1], edges


def isomorphic(graph: Graph, other: Graph) -> bool:
    """Compare graphs under every renaming of the inner nodes."""
    (inner, output, edges), (other_inner, other_output, other_edges) = (
        labelled(graph),
        labelled(other),
    )
    if len(inner) != len(other_inner) or len(edges) != len(other_edges):
        return False
    for order in permutations(other_inner):
        to = {**dict(zip(inner, order, strict=True)), "in": "in", output: other_output}
        if {(to[a], to[b]): operation for (a, b), operation in edges.items()} == other_edges:
            return True
    return False


def is_live(graph: Graph) -> bool:
    try:
        return bool(graph.live())
    except InfeasibleCandidate:
        return False


def live_graphs(n: int, inner: tuple[int, int], operations: int, seed: int) -> list[Graph]:
    rng = np.random.default_rng(seed)
    drawn = (random_graph(rng, int(rng.integers(*inner)), operations) for _ in range(2 * n + 20))
    return [graph for graph in drawn if is_live(graph)][:n]


def test_canonical_text_ignores_names_and_order() -> None:
    rng = np.random.default_rng(1)
    for graph in live_graphs(150, (1, 6), 3, seed=0):
        again = renamed(graph, rng)
        assert isomorphic(graph, again)
        assert canonical(again) == canonical(graph)


@pytest.mark.parametrize(
    ("inner", "operations"), [((1, 3), 2), ((2, 4), 1), ((3, 6), 1), ((2, 6), 3)]
)
def test_canonical_texts_are_equal_for_isomorphic_graphs_only(
    inner: tuple[int, int], operations: int
) -> None:
    graphs = live_graphs(40, inner, operations, seed=2)
    texts = [canonical(graph) for graph in graphs]
    pairs = [(i, j) for i in range(len(graphs)) for j in range(i)]
    assert len(pairs) > 500
    for i, j in pairs:
        assert (texts[i] == texts[j]) == isomorphic(graphs[i], graphs[j])
    if operations == 1:  # else there would be nothing to tell apart, or nothing equal
        assert 0 < sum(texts[i] == texts[j] for i, j in pairs) < len(pairs)


def test_symmetric_nodes_have_one_canonical_text() -> None:
    a, b = Node({"in": Skip()}), {i: Node({f"a{i}": Norm()}) for i in (1, 2)}
    out = Node({"b1": Skip(), "b2": Skip()})
    graph = Graph({"a1": a, "a2": a, "b1": b[1], "b2": b[2], "out": out})
    other = Graph({"a1": a, "a2": a, "b2": b[2], "b1": b[1], "out": out})
    assert canonical(graph) == canonical(other)
    crossed = Graph({"a1": a, "a2": a, "b1": b[1], "b2": b[1], "out": out})
    assert canonical(graph) != canonical(crossed)


def test_canonical_text_of_a_long_chain_is_fast() -> None:
    start = time.monotonic()
    canonical(Graph({f"{i}": Node({f"{i - 1}" if i else "in": Skip()}) for i in range(12)}))
    assert time.monotonic() - start < 2  # 11! orders would take minutes


def test_canonical_text_includes_settings_of_nodes() -> None:
    def text(**settings: object) -> str:
        return canonical(Graph({"a": Node({"in": Skip()}, **settings), "out": Node({"a": Skip()})}))

    assert len({text(), text(combine="concat"), text(then=Norm()), text(then=Norm("layer"))}) == 4
