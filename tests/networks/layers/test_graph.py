"""Graphs build what is alive, compute what they say, and have one text for all equal ones."""

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


def parts(graph: Graph) -> set[str]:
    module = build(graph, (4, 6, 6))
    assert isinstance(module, CompositeModule)
    return set(module.parts)


def test_dead_edges_and_nodes_off_every_route_are_not_built() -> None:
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
    assert parts(graph) == {"a<in", "a", "out<a", "out"}
    assert costs(graph, (4, 6, 6)).parameters == costs(Conv(), (4, 6, 6)).parameters


def test_a_node_may_not_use_one_after_it() -> None:
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
def test_a_graph_without_a_live_route_is_infeasible(graph: Graph) -> None:
    for run in (build, costs):
        with pytest.raises(InfeasibleCandidate, match="a live route from input to output"):
            run(graph, (4, 6, 6))


def test_the_forward_pass_is_the_one_written_by_hand() -> None:
    graph = Graph(
        {
            "a": Node({"in": Conv(6)}, then=Activation("tanh")),
            "b": Node({"in": Conv(6, kernel=1), "a": Skip()}),
            "out": Node({"a": Pool("avg"), "b": Norm(), "in": Conv(6)}, then=Conv(2)),
        }
    )
    module, x = build(graph, (4, 6, 6)).eval(), torch.randn(3, 4, 6, 6)
    of = module.parts
    a = torch.tanh(of["a<in"](x))
    b = of["b<in"](x) + a
    out = of["out"](of["out<a"](a) + of["out<b"](b) + of["out<in"](x))
    assert torch.allclose(module(x), out, atol=1e-6)


@pytest.mark.parametrize("shape", [(4, 6, 6), (5, 4), (4,)])
def test_concat_puts_channels_side_by_side_in_the_order_of_the_inputs(
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
    with pytest.raises(InfeasibleCandidate, match="of one shape but for the channels"):
        build(graph, (4, 6, 6))


def test_graphs_of_other_order_are_other_graphs() -> None:
    a, b = Node({"in": Skip()}), Node({"in": Norm()})
    assert Graph({"a": a, "b": b}) == Graph({"a": a, "b": b})
    assert hash(Graph({"a": a, "b": b})) == hash(Graph({"a": a, "b": b}))
    assert Graph({"a": a, "b": b}) != Graph({"b": b, "a": a})  # another output


def test_a_chain_feeds_each_cell_from_those_before_it() -> None:
    cell = Graph({"out": Node({"x": Linear(3), "y": Linear(3)})}, inputs=("x", "y"))
    module, x = build(Chain((cell, cell, cell)), (4,)), torch.randn(5, 4)
    of = module.parts
    first = of["0/out<x"](x) + of["0/out<y"](x)
    second = of["1/out<x"](x) + of["1/out<y"](first)
    third = of["2/out<x"](first) + of["2/out<y"](second)
    assert torch.allclose(module(x), third, atol=1e-6)
    assert memory(Chain((cell,)), (4,)) >= 4 + 3 * 3
    with pytest.raises(InfeasibleCandidate, match="inputs must be one name"):
        build(cell, (4,))


def random_graph(rng: np.random.Generator, inner: int, operations: int) -> Graph:
    """A DAG of named operations; often with dead and unreachable parts."""
    labels = [*OPERATIONS][:operations]
    names = [f"n{i}" for i in range(inner)] + ["out"]
    nodes = {}
    for place, name in enumerate(names):
        sources = [s for s in ("in", *names[:place]) if rng.random() < 0.5] or ["in"]
        edges = {s: OPERATIONS[labels[rng.integers(len(labels))]] for s in sources}
        nodes[name] = Node({s: Zero() if rng.random() < 0.1 else e for s, e in edges.items()})
    return Graph(nodes)


def renamed(graph: Graph, rng: np.random.Generator) -> Graph:
    """The same graph: other names, another order of nodes and of edges, dead parts beside it."""
    left, order = [*graph.nodes][:-1], []
    while left:  # any order in which sources come first
        ready = [n for n in left if not set(graph.nodes[n].inputs) & {*left}]
        order.append(ready[rng.integers(len(ready))])
        left.remove(order[-1])
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
    edges = {(s, name): graph.nodes[name].inputs[s] for name, found in live.items() for s in found}
    return [*live][:-1], [*live][-1], edges


def isomorphic(one: Graph, other: Graph) -> bool:
    """By trying every renaming of the inner nodes."""
    (inner, output, edges), (places, end, wanted) = labelled(one), labelled(other)
    if len(inner) != len(places) or len(edges) != len(wanted):
        return False
    for order in permutations(places):
        to = {**dict(zip(inner, order, strict=True)), "in": "in", output: end}
        if {(to[a], to[b]): operation for (a, b), operation in edges.items()} == wanted:
            return True
    return False


def is_live(graph: Graph) -> bool:
    try:
        return bool(graph.live())
    except InfeasibleCandidate:
        return False


def some(n: int, inner: tuple[int, int], operations: int, seed: int) -> list[Graph]:
    rng = np.random.default_rng(seed)
    drawn = (random_graph(rng, int(rng.integers(*inner)), operations) for _ in range(2 * n + 20))
    return [graph for graph in drawn if is_live(graph)][:n]


def test_the_canonical_text_forgets_names_and_order() -> None:
    rng = np.random.default_rng(1)
    for graph in some(150, (1, 6), 3, seed=0):
        again = renamed(graph, rng)
        assert isomorphic(graph, again)
        assert canonical(again) == canonical(graph)


@pytest.mark.parametrize(
    ("inner", "operations"), [((1, 3), 2), ((2, 4), 1), ((3, 6), 1), ((2, 6), 3)]
)
def test_canonical_texts_are_equal_exactly_for_isomorphic_graphs(
    inner: tuple[int, int], operations: int
) -> None:
    graphs = some(40, inner, operations, seed=2)
    texts = [canonical(graph) for graph in graphs]
    pairs = [(i, j) for i in range(len(graphs)) for j in range(i)]
    assert len(pairs) > 500
    for i, j in pairs:
        assert (texts[i] == texts[j]) == isomorphic(graphs[i], graphs[j])
    if operations == 1:  # else there would be nothing to tell apart, or nothing equal
        assert 0 < sum(texts[i] == texts[j] for i, j in pairs) < len(pairs)


def test_twins_with_twins_after_them_have_one_text_in_any_order() -> None:
    a, b = Node({"in": Skip()}), {i: Node({f"a{i}": Norm()}) for i in (1, 2)}
    out = Node({"b1": Skip(), "b2": Skip()})
    one = Graph({"a1": a, "a2": a, "b1": b[1], "b2": b[2], "out": out})
    other = Graph({"a1": a, "a2": a, "b2": b[2], "b1": b[1], "out": out})
    assert canonical(one) == canonical(other)
    crossed = Graph({"a1": a, "a2": a, "b1": b[1], "b2": b[1], "out": out})
    assert canonical(one) != canonical(crossed)


def test_a_long_chain_of_equal_nodes_has_a_text_at_once() -> None:
    start = time.monotonic()
    canonical(Graph({f"{i}": Node({f"{i - 1}" if i else "in": Skip()}) for i in range(12)}))
    assert time.monotonic() - start < 2  # 11! orders would take minutes


def test_what_nodes_do_is_part_of_the_canonical_text() -> None:
    def text(**settings: object) -> str:
        return canonical(Graph({"a": Node({"in": Skip()}, **settings), "out": Node({"a": Skip()})}))

    assert len({text(), text(combine="concat"), text(then=Norm()), text(then=Norm("layer"))}) == 4
