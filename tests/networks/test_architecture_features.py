"""Paths, subtrees and counts by hand; one canonical text for equal descriptions."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import pytest

from netwright.errors import InfeasibleCandidate
from netwright.networks.architecture_features import canonical_text, find_networks, network_features
from netwright.networks.interfaces.layer import Leaf, Network
from netwright.networks.interfaces.shapes import Shape
from netwright.networks.layers.basic import Activation, GlobalPool, Norm, Pool, Skip, Zero
from netwright.networks.layers.blocks import MBConv, Residual
from netwright.networks.layers.cells import darts, nas_bench_201
from netwright.networks.layers.conv import Conv
from netwright.networks.layers.downsampling import Downsample
from netwright.networks.layers.graph import Graph, Node
from netwright.networks.layers.linear import Linear
from netwright.networks.training.recipe import Training
from netwright.space.choices import OneOf
from netwright.space.space import Space

A, B, C = Activation("relu"), Activation("tanh"), Norm()
RA, RB, RC = map(repr, (A, B, C))


def test_paths_are_counted() -> None:
    """Two paths through A then B, one through C."""
    graph = Graph({
        "x": Node({"in": A}), "y": Node({"in": A}),
        "out": Node({"x": B, "y": B, "in": C}),
    })  # fmt: skip
    features = network_features(graph)
    assert features.paths == {f"0:input 0>{RA}>{RB}>output": 2, f"0:input 0>{RC}>output": 1}
    assert features.counts["0:ways"] == 3
    assert features.counts["0:depth"] == 3
    assert features.counts[f"0:{RA}"] == 2
    assert features.counts[f"0:{RC}"] == 1
    assert features.counts["0:straight"] == 0


def test_skips_and_dead_nodes_are_no_operations() -> None:
    graph = Graph({
        "x": Node({"in": Skip()}), "y": Node({"in": Zero()}), "z": Node({"in": B}),
        "out": Node({"x": A, "y": B, "in": Skip()}, then=C),
    })  # fmt: skip
    features = network_features(graph)  # z leads nowhere; y outputs zeros
    assert features.paths == {f"0:input 0>{RA}>{RC}>output": 1, f"0:input 0>{RC}>output": 1}
    assert not any(RB in text for counts in features for text in counts)
    shortcut = network_features(Graph({"out": Node({"in": Skip()})}))
    assert shortcut.counts["0:straight"] == 1
    assert shortcut.paths == {"0:input 0>output": 1}


def test_subtrees_are_operations_with_their_inputs() -> None:
    graph = Graph({"x": Node({"in": A}), "out": Node({"x": B, "in": C})})
    subtrees = network_features(graph).subtrees
    expected = {
        "input 0": 1, RA: 1, RB: 1, RC: 1, "output": 1,
        "1|input 0[]": 1, f"1|{RA}[input 0]": 1, f"1|{RB}[{RA}]": 1, f"1|{RC}[input 0]": 1,
        f"1|output[{','.join(sorted([RB, RC]))}]": 1,
    }  # fmt: skip
    assert {text: n for text, n in subtrees.items() if not text.startswith("0:2|")} == {
        f"0:{text}": n for text, n in expected.items()
    }
    assert subtrees[f"0:2|{RB}[{RA}][{RA}[input 0]]"] == 1


def test_graph_without_a_live_path_is_infeasible() -> None:
    with pytest.raises(InfeasibleCandidate, match="live route"):
        network_features(Graph({"out": Node({"in": Zero()})}))
    with pytest.raises(InfeasibleCandidate, match="live route"):
        canonical_text({"network": (Conv(), Graph({"out": Node({"in": Zero()})}))})


def isomorphic_graphs() -> tuple[Graph, Graph]:
    graph = Graph({
        "x": Node({"in": A}), "y": Node({"in": B}), "out": Node({"x": C, "y": Skip()}),
    })  # fmt: skip
    other = Graph({
        "left": Node({"in": B}), "idle": Node({"in": C}), "right": Node({"in": A}),
        "end": Node({"left": Skip(), "right": C}),
    })  # fmt: skip
    return graph, other


def test_isomorphic_graphs_have_the_same_features_and_text() -> None:
    graph, other = isomorphic_graphs()
    assert network_features(graph) == network_features(other)
    assert canonical_text((Conv(), graph)) == canonical_text((Conv(), other))
    third = Graph({"x": Node({"in": A}), "y": Node({"in": B}), "out": Node({"x": Skip(), "y": C})})
    assert network_features(graph).paths != network_features(third).paths
    assert canonical_text((Conv(), graph)) != canonical_text((Conv(), third))


def test_repeated_cell_is_counted_once() -> None:
    full = {f"cell.{j}.{i}": "nor_conv_3x3" for j in (1, 2, 3) for i in range(j)}
    spaces = [Space(nas_bench_201(cells=cells)).fix(full) for cells in (1, 5)]
    small, large = (network_features(space.fill(space.default())) for space in spaces)
    assert small.paths == large.paths
    assert small.counts["0:ways"] == 4
    assert not any(text.startswith("1:") for text in large.paths)


def test_different_cells_are_counted_apart() -> None:
    graph, other = isomorphic_graphs()[0], Graph({"out": Node({"in": B})})
    features = network_features((graph, Conv(), other, graph))
    assert {text[:2] for text in features.paths} == {"0:", "1:"}
    space: Space[object] = Space(darts(channels=4, cells=3))
    candidate = space.sample(np.random.default_rng(0))
    network = next(find_networks(space.fill(candidate)))
    assert {text[:2] for text in network_features(network).paths} >= {"0:", "1:"}


def test_sequences_are_counted_as_runs_of_layers() -> None:
    conv, pool = Conv(8), Pool()
    features = network_features((conv, Skip(), (pool, Residual((conv, pool))), GlobalPool()))
    texts = [repr(conv), repr(pool), "residual", repr(conv), repr(pool), "end", repr(GlobalPool())]
    assert features.paths == {}
    assert features.subtrees[f"row:{texts[0]}"] == 2
    assert features.subtrees[f"row:{texts[0]}>{texts[1]}"] == 2
    assert features.subtrees[f"row:{'>'.join(texts[1:4])}"] == 1
    assert sum(features.subtrees.values()) == 7 + 6 + 5
    kinds = {"Conv": 2, "Pool": 2, "residual": 1, "end": 1, "GlobalPool": 1}
    assert features.counts == {f"kind:{name}": count for name, count in kinds.items()}
    assert network_features((pool, conv)).subtrees != network_features((conv, pool)).subtrees


@dataclass(frozen=True)
class Windows(Leaf):
    """A custom layer whose setting is a tuple."""

    sizes: tuple[int, ...] = (3, 5)

    def build(self, shape: Shape) -> None:  # type: ignore[override]  # never called
        raise NotImplementedError


def test_layer_with_tuple_settings_stays_a_layer() -> None:
    features = network_features((Windows((3, 7)), MBConv()))
    assert set(features.counts) == {"kind:Windows", "kind:MBConv"}
    assert features.subtrees[f"row:{Windows((3, 7))!r}"] == 1
    assert [*find_networks({"a": Windows(), "sizes": (1, 2)})] == [Windows()]


def test_networks_are_found_in_descriptions() -> None:
    network = (Conv(), GlobalPool(), Linear())
    assert [*find_networks(Training(network, lr=0.1))] == [network]
    assert [*find_networks({"lr": 0.1, "sizes": (1, 2), "empty": ()})] == []


def test_canonical_text_distinguishes_settings_and_functions() -> None:
    assert canonical_text(Training((Conv(),), lr=0.1)) != canonical_text(
        Training((Conv(),), lr=0.2)
    )
    assert canonical_text({"a": 1}) != canonical_text({"b": 1})
    assert canonical_text((Conv(8),)) != canonical_text((Conv(9),))
    assert canonical_text(partial(min, 1)) != canonical_text(partial(max, 1))
    assert canonical_text(partial(min, 1)) == canonical_text(partial(min, 1))


def test_different_descriptions_have_different_texts() -> None:
    space: Space[object] = Space(
        {
            "f": OneOf({"a": partial(min, OneOf(1, 2)), "b": partial(max, OneOf(1, 2))}),
            "x": OneOf(1, 2),
        }
    )
    assert len({canonical_text(space.fill(candidate)) for candidate in space}) == space.size == 8


def test_layers_that_do_nothing_and_nesting_do_not_count() -> None:
    one = canonical_text((Conv(8), Conv(8)))
    assert canonical_text((Conv(8), (Skip(), Conv(8)), Skip())) == one
    assert canonical_text(((Conv(8),), (), (Conv(8),))) == one
    assert canonical_text((Conv(8), Conv(8), Conv(8))) != one
    assert canonical_text((Conv(8),)) == canonical_text(Conv(8))
    assert canonical_text(Skip()) == canonical_text((Skip(), (Skip(),)))
    # inside other layers, too, but x + x is not x
    assert canonical_text(Residual((Skip(), Conv(8)))) == canonical_text(Residual(Conv(8)))
    assert canonical_text(Residual(Skip())) != canonical_text(Skip())
    # what changes the shape does something; a tuple of numbers is a setting
    assert canonical_text((Downsample(8), Conv(8))) != canonical_text(Conv(8))
    assert canonical_text({"sizes": (3,)}) != canonical_text({"sizes": 3})


def test_the_space_of_nas_bench_macro_has_3969_networks() -> None:
    """Su et al. 2021 (2103.11922): 8 layers in stages of 2, 3 and 3; the first of each changes the
    shape, so that its identity is a projection."""

    def layer(channels: int, stride: int, first: bool) -> Network:
        nothing: Network = Conv(channels, 1, stride) if first else Skip()
        return OneOf(nothing, MBConv(channels, 3, 3, stride), MBConv(channels, 6, 5, stride))

    layers = [
        layer(channels, stride if i == 0 else 1, first=i == 0)
        for n_layers, channels, stride in ((2, 64, 1), (3, 128, 2), (3, 256, 2))
        for i in range(n_layers)
    ]
    space: Space[object] = Space((Conv(32), *layers, GlobalPool(), Linear()))
    assert space.size == 3**8
    assert len({canonical_text(space.fill(candidate)) for candidate in space}) == 3969
