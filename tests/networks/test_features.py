"""Bags of paths, subtrees and counts by hand; one text for what is the same."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import pytest

from netwright.errors import InfeasibleCandidate
from netwright.networks.architecture_features import canonical_text, find_networks, network_features
from netwright.networks.interfaces.layer import Leaf
from netwright.networks.interfaces.shapes import Shape
from netwright.networks.layers.basic import Activation, GlobalPool, Norm, Pool, Skip, Zero
from netwright.networks.layers.blocks import MBConv, Residual
from netwright.networks.layers.cells import darts, nas_bench_201
from netwright.networks.layers.conv import Conv
from netwright.networks.layers.graph import Graph, Node
from netwright.networks.layers.linear import Linear
from netwright.networks.training.recipe import Training
from netwright.space.choices import OneOf
from netwright.space.space import Space

A, B, C = Activation("relu"), Activation("tanh"), Norm()
RA, RB, RC = map(repr, (A, B, C))


def test_paths_are_counted() -> None:
    """Two ways through A then B, one through C."""
    graph = Graph({
        "x": Node({"in": A}), "y": Node({"in": A}),
        "out": Node({"x": B, "y": B, "in": C}),
    })  # fmt: skip
    found = network_features(graph)
    assert found.paths == {f"0:input 0>{RA}>{RB}>output": 2, f"0:input 0>{RC}>output": 1}
    assert found.counts["0:ways"] == 3
    assert found.counts["0:depth"] == 3
    assert found.counts[f"0:{RA}"] == 2
    assert found.counts[f"0:{RC}"] == 1
    assert found.counts["0:straight"] == 0


def test_what_only_hands_on_is_no_step_and_what_is_dead_is_not_there() -> None:
    graph = Graph({
        "x": Node({"in": Skip()}), "y": Node({"in": Zero()}), "z": Node({"in": B}),
        "out": Node({"x": A, "y": B, "in": Skip()}, then=C),
    })  # fmt: skip
    found = network_features(graph)  # z leads nowhere; nothing comes out of y
    assert found.paths == {f"0:input 0>{RA}>{RC}>output": 1, f"0:input 0>{RC}>output": 1}
    assert not any(RB in text for bag in found for text in bag)
    straight = network_features(Graph({"out": Node({"in": Skip()})}))
    assert straight.counts["0:straight"] == 1
    assert straight.paths == {"0:input 0>output": 1}


def test_subtrees_are_operations_with_what_comes_before() -> None:
    found = network_features(Graph({"x": Node({"in": A}), "out": Node({"x": B, "in": C})})).subtrees
    one = {
        "input 0": 1, RA: 1, RB: 1, RC: 1, "output": 1,
        "1|input 0[]": 1, f"1|{RA}[input 0]": 1, f"1|{RB}[{RA}]": 1, f"1|{RC}[input 0]": 1,
        f"1|output[{','.join(sorted([RB, RC]))}]": 1,
    }  # fmt: skip
    assert {text: n for text, n in found.items() if not text.startswith("0:2|")} == {
        f"0:{text}": n for text, n in one.items()
    }
    assert found[f"0:2|{RB}[{RA}][{RA}[input 0]]"] == 1


def test_nothing_that_flows_is_infeasible() -> None:
    with pytest.raises(InfeasibleCandidate, match="live route"):
        network_features(Graph({"out": Node({"in": Zero()})}))
    with pytest.raises(InfeasibleCandidate, match="live route"):
        canonical_text({"network": (Conv(), Graph({"out": Node({"in": Zero()})}))})


def isomorphic() -> tuple[Graph, Graph]:
    one = Graph({
        "x": Node({"in": A}), "y": Node({"in": B}), "out": Node({"x": C, "y": Skip()}),
    })  # fmt: skip
    other = Graph({
        "left": Node({"in": B}), "idle": Node({"in": C}), "right": Node({"in": A}),
        "end": Node({"left": Skip(), "right": C}),
    })  # fmt: skip
    return one, other


def test_graphs_that_are_the_same_but_for_names_and_order_look_the_same() -> None:
    one, other = isomorphic()
    assert network_features(one) == network_features(other)
    assert canonical_text((Conv(), one)) == canonical_text((Conv(), other))
    third = Graph({"x": Node({"in": A}), "y": Node({"in": B}), "out": Node({"x": Skip(), "y": C})})
    assert network_features(one).paths != network_features(third).paths
    assert canonical_text((Conv(), one)) != canonical_text((Conv(), third))


def test_a_cell_that_is_repeated_is_looked_at_once() -> None:
    full = {f"cell.{j}.{i}": "nor_conv_3x3" for j in (1, 2, 3) for i in range(j)}
    spaces = [Space(nas_bench_201(cells=cells)).fix(full) for cells in (1, 5)]
    small, large = (network_features(space.fill(space.default())) for space in spaces)
    assert small.paths == large.paths
    assert small.counts["0:ways"] == 4
    assert not any(text.startswith("1:") for text in large.paths)


def test_cells_that_differ_are_told_apart() -> None:
    one, other = isomorphic()[0], Graph({"out": Node({"in": B})})
    found = network_features((one, Conv(), other, one))
    assert {text[:2] for text in found.paths} == {"0:", "1:"}
    space: Space[object] = Space(darts(channels=4, cells=3))
    candidate = space.sample(np.random.default_rng(0))
    network = next(find_networks(space.fill(candidate)))
    assert {text[:2] for text in network_features(network).paths} >= {"0:", "1:"}


def test_layers_in_a_row_are_counted_with_their_neighbours() -> None:
    conv, pool = Conv(8), Pool()
    found = network_features((conv, Skip(), (pool, Residual((conv, pool))), GlobalPool()))
    row = [repr(conv), repr(pool), "residual", repr(conv), repr(pool), "end", repr(GlobalPool())]
    assert found.paths == {}
    assert found.subtrees[f"row:{row[0]}"] == 2
    assert found.subtrees[f"row:{row[0]}>{row[1]}"] == 2
    assert found.subtrees[f"row:{'>'.join(row[1:4])}"] == 1
    assert sum(found.subtrees.values()) == 7 + 6 + 5
    kinds = {"Conv": 2, "Pool": 2, "residual": 1, "end": 1, "GlobalPool": 1}
    assert found.counts == {f"kind:{name}": number for name, number in kinds.items()}
    assert network_features((pool, conv)).subtrees != network_features((conv, pool)).subtrees


@dataclass(frozen=True)
class Windows(Leaf):
    """A layer of one's own, whose setting is a tuple."""

    sizes: tuple[int, ...] = (3, 5)

    def build(self, shape: Shape) -> None:  # type: ignore[override]  # never called
        raise NotImplementedError


def test_a_layer_whose_settings_are_tuples_stays_a_layer() -> None:
    found = network_features((Windows((3, 7)), MBConv()))
    assert set(found.counts) == {"kind:Windows", "kind:MBConv"}
    assert found.subtrees[f"row:{Windows((3, 7))!r}"] == 1
    assert [*find_networks({"a": Windows(), "sizes": (1, 2)})] == [Windows()]


def test_networks_are_found_in_what_holds_them() -> None:
    network = (Conv(), GlobalPool(), Linear())
    assert [*find_networks(Training(network, lr=0.1))] == [network]
    assert [*find_networks({"lr": 0.1, "sizes": (1, 2), "empty": ()})] == []


def test_same_tells_settings_and_functions_apart() -> None:
    assert canonical_text(Training((Conv(),), lr=0.1)) != canonical_text(
        Training((Conv(),), lr=0.2)
    )
    assert canonical_text({"a": 1}) != canonical_text({"b": 1})
    assert canonical_text((Conv(8),)) != canonical_text((Conv(9),))
    assert canonical_text(partial(min, 1)) != canonical_text(partial(max, 1))
    assert canonical_text(partial(min, 1)) == canonical_text(partial(min, 1))


def test_filled_descriptions_that_differ_have_texts_that_differ() -> None:
    space: Space[object] = Space(
        {
            "f": OneOf({"a": partial(min, OneOf(1, 2)), "b": partial(max, OneOf(1, 2))}),
            "x": OneOf(1, 2),
        }
    )
    assert len({canonical_text(space.fill(one)) for one in space}) == space.size == 8
