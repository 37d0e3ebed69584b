import numpy as np
import pytest
import torch

from netwright.errors import InfeasibleCandidate
from netwright.networks.build import build
from netwright.networks.costs import costs
from netwright.networks.interfaces.layer import Network
from netwright.networks.layers.basic import Skip, Zero
from netwright.networks.layers.canonical import canonical
from netwright.networks.layers.cells import (
    Reduction,
    at_most_edges,
    darts,
    darts_cell,
    nas_bench_101,
    nas_bench_101_cell,
    nas_bench_201,
    nas_bench_201_cell,
)
from netwright.networks.layers.conv import Conv
from netwright.networks.layers.graph import Chain, Graph, Node
from netwright.space.candidate import Candidate
from netwright.space.space import Space

RNG = np.random.default_rng


def test_nas_bench_201_has_the_papers_size_and_names() -> None:
    space = Space(nas_bench_201(cells=2))
    assert space.size == 15_625
    assert [decision.path for decision in space.decisions] == [
        "cell.1.0", "cell.2.0", "cell.2.1", "cell.3.0", "cell.3.1", "cell.3.2",
    ]  # fmt: skip
    assert space.decisions[0].values == (
        "none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3",
    )  # fmt: skip


def test_nas_bench_201_costs_match_the_benchmark() -> None:
    """Parameters and FLOPs of cells of one operation, as in the published table."""
    space = Space(nas_bench_201(channels=16, cells=5))
    published = {
        "nor_conv_3x3": (1_531_546, 220.11969), "nor_conv_1x1": (241_306, 31.37601),
        "skip_connect": (73_306, 7.78305), "avg_pool_3x3": (73_306, 7.78305),
    }  # fmt: skip
    for operation, (parameters, million) in published.items():
        cell = Candidate(dict.fromkeys((decision.path for decision in space.decisions), operation))
        computed = costs(space.fill(cell), (3, 32, 32), outputs=10)
        assert computed.parameters == parameters
        assert computed.flops / 2e6 == pytest.approx(million, abs=1e-4)


def test_reduction_of_nas_bench_201_preserves_scale() -> None:
    """With a normalised shortcut untrained networks of different cells are hard to tell apart."""
    module = build((Reduction(8),), (4, 6, 6))
    x = torch.randn(2, 4, 6, 6)
    assert module(x).shape == (2, 8, 3, 3)
    body, shortcut = (module[0].parts[name] for name in ("body", "shortcut"))
    assert torch.allclose(shortcut(3 * x), 3 * shortcut(x), atol=1e-5)
    assert torch.allclose(module(x), body(x) + shortcut(x), atol=1e-5)
    assert build((Reduction(8),), (4, 7, 7))(torch.randn(2, 4, 7, 7)).shape == (2, 8, 4, 4)


def test_cell_without_a_live_route_is_refused() -> None:
    space = Space(nas_bench_201(cells=1))
    dead = Candidate(dict.fromkeys((decision.path for decision in space.decisions), "none"))
    with pytest.raises(InfeasibleCandidate, match="live route from input to output"):
        build(space.fill(dead), (3, 8, 8), outputs=10)


def test_isomorphic_cells_of_nas_bench_201_share_canonical_texts() -> None:
    """One orbit of the paper's count of distinct cells, which also contracts skips."""
    space = Space(nas_bench_201_cell())
    a = Candidate({"1.0": "nor_conv_3x3", "2.0": "nor_conv_1x1", "2.1": "none",
                   "3.0": "none", "3.1": "avg_pool_3x3", "3.2": "skip_connect"})  # fmt: skip
    b = Candidate({"1.0": "nor_conv_1x1", "2.0": "nor_conv_3x3", "2.1": "none",
                   "3.0": "none", "3.1": "skip_connect", "3.2": "avg_pool_3x3"})  # fmt: skip
    c = Candidate({**b.values, "3.1": "avg_pool_3x3"})
    assert canonical(space.fill(a)) == canonical(space.fill(b)) != canonical(space.fill(c))
    dead_end = Candidate({**a.values, "3.2": "none"})
    other_dead_end = Candidate({**dead_end.values, "2.0": "avg_pool_3x3"})
    assert canonical(space.fill(dead_end)) == canonical(space.fill(other_dead_end))


def test_darts_has_the_papers_size() -> None:
    space = Space(darts(channels=4, cells=3))
    assert space.size == pytest.approx(1.0767469e18, rel=1e-6)  # (3 * 6 * 10 * 7^8)^2
    assert {decision.path.split(".")[0] for decision in space.decisions} == {"normal", "reduce"}


def test_darts_cells_have_two_edges_a_node_and_halve_twice() -> None:
    space = Space(darts(channels=4, cells=6))
    for seed in range(3):
        network = space.fill(space.sample(RNG(seed)))
        module = build(network, (3, 16, 16), outputs=5)
        assert module(torch.randn(2, 3, 16, 16)).shape == (2, 5)
        assert isinstance(network, tuple)
        chain = network[1]
        assert isinstance(chain, Chain)
        for cell in chain.cells:
            n_edges = [len(node.inputs) for name, node in cell.nodes.items() if name in "2345"]
            assert n_edges == [2, 2, 2, 2]
        assert costs((network[0], chain), (3, 16, 16)).shape == (4 * 4 * 4, 4, 4)


def test_darts_cell_is_fed_by_the_two_before_it() -> None:
    def keep(source: str) -> Graph:
        return Graph({"out": Node({source: Skip()})}, inputs=("before", "last"))

    double = Graph({"out": Node({"before": Skip(), "last": Skip()})}, inputs=("before", "last"))
    x = torch.ones(1, 2, 3, 3)

    def run(*cells: Graph) -> float:
        return float(build(Chain(cells), (2, 3, 3))(x).mean())

    assert run(double) == 2  # the first cell gets the input twice
    assert run(double, double) == 3
    assert run(double, double, keep("before")) == 2
    assert run(double, double, keep("last")) == 3


def test_graph_of_two_inputs_outside_a_chain_is_refused() -> None:
    space = Space(darts_cell(4, reduction=False))
    with pytest.raises(InfeasibleCandidate, match=r"inputs must be one name.*Put it in a Chain"):
        build(space.fill(space.default()), (3, 8, 8))


def test_nas_bench_101_cells_have_at_most_nine_edges() -> None:
    space = Space(nas_bench_101(channels=4, cells=1, stages=2), rule=at_most_edges)
    feasible = 0
    for seed in range(20):
        candidate = space.sample(RNG(seed))
        edges = [chosen for chosen in candidate.values.values() if isinstance(chosen, tuple)]
        assert sum(map(len, edges)) <= 9
        try:
            module = build(space.fill(candidate), (3, 8, 8), outputs=4)
        except InfeasibleCandidate as error:
            assert "live route" in str(error)  # noqa: PT017  # the only reason to be infeasible
            continue
        feasible += 1
        assert module(torch.randn(2, 3, 8, 8)).shape == (2, 4)
    assert feasible > 5


def test_nas_bench_101_cells_preserve_the_stages_channels() -> None:
    """As in the paper (1902.09635, section 2.2): only between stages are they doubled."""
    cell = {"1": ("0",), "2": ("0", "1"), "out": ("0", "1", "2")}
    space = Space(nas_bench_101(channels=4, cells=2, stages=2, inner=2))
    values = {
        decision.path: cell[node]
        for decision in space.decisions
        if (node := decision.path.split(".")[-1]) in cell
    }
    network = space.fill(space.fix(values).default())
    assert isinstance(network, tuple)
    shapes = [costs(network[:end], (3, 8, 8)).shape for end in range(1, len(network) - 1)]
    assert shapes == [(4, 8, 8), (4, 8, 8), (4, 4, 4), (8, 4, 4), (8, 4, 4)]


def test_dead_nodes_cost_nothing() -> None:
    def cell(dead: Network) -> Graph:
        return Graph({"1": Node({"in": Conv()}), "2": Node({"1": dead}), "3": Node({"1": Skip()})})

    assert costs(cell(Conv()), (4, 8, 8)) == costs(cell(Zero()), (4, 8, 8))


def test_nas_bench_101_operations_have_the_benchmarks_names() -> None:
    space = Space(nas_bench_101_cell())
    assert space.decisions[1].values == ("conv1x1", "conv3x3", "maxpool3x3")
