"""Memory by hand; no peak is below what a layer reads and writes."""

from __future__ import annotations

from math import prod

import pytest
from network_tools import memory

from netwright.networks.blocks import MBConv, Residual, SelfAttention, SqueezeExcitation
from netwright.networks.costs import costs
from netwright.networks.graph import Graph, Node
from netwright.networks.layers import (
    Activation,
    Conv,
    Flatten,
    GlobalPool,
    Leaf,
    Linear,
    Network,
    Norm,
    Pool,
    Shape,
    Skip,
)
from netwright.networks.tables import Columns, OneHot, Periodic

PIXELS = 8 * 8
IMAGE = (4, 8, 8)


def test_of_a_sequence_only_neighbours_are_alive() -> None:
    wide, narrow = Conv(16), Conv(2, kernel=1)
    # the widest moment: the convolution's 16 channels and their normalised copy
    assert memory(wide, IMAGE) == (16 + 16) * PIXELS
    assert memory((wide, narrow), IMAGE) == (16 + 16) * PIXELS
    # narrowing: the input's 4 channels and the output's 2
    assert memory(narrow, IMAGE) == (4 + 2) * PIXELS
    assert memory((narrow, narrow, narrow), IMAGE) == (4 + 2) * PIXELS
    assert memory((Conv(16, stride=2), narrow), IMAGE) == 16 * 4 * 4 + 16 * 4 * 4


def test_a_separable_convolution_has_a_copy_of_its_input_channels_between() -> None:
    assert memory(Conv(2, separable=True), IMAGE) == (4 + 4) * PIXELS
    assert memory(Conv(6, separable=True), IMAGE) == (6 + 6) * PIXELS


def test_a_residual_keeps_its_input_until_the_end() -> None:
    block = Residual((Conv(16), Conv(4)))
    assert memory(block, IMAGE) == (4 + 16 + 16) * PIXELS
    # narrow inside: the input, the 2 channels, the 4 that come out of them
    assert memory(Residual((Conv(2), Conv(4))), IMAGE) == (4 + 4 + 4) * PIXELS


def test_a_shortcut_is_alive_beside_the_body_it_is_added_to() -> None:
    halved = 4 * 4
    # the input, the body's output, the shortcut's output, their sum
    out = 32 * halved
    assert memory(Residual(Conv(32, stride=2)), IMAGE) == 4 * PIXELS + 3 * out


def test_a_graph_keeps_what_its_nodes_gave() -> None:
    chain = {str(i): Node({str(i - 1) if i else "in": Skip()}) for i in range(3)}
    # the input; of each node its edge's output and its own; the last node's output once more
    assert memory(Graph(chain), (10,)) == 10 + 3 * (10 + 10) + 10


def test_columns_hold_both_kinds_and_the_two_side_by_side() -> None:
    layer = Columns(categorical=OneHot((4,)), cardinalities=(4,))
    row, numbers, one_hot = 3, 2, 3
    assert memory(layer, (3,)) == row + numbers + one_hot + (numbers + one_hot)


def leaves(network: Network, shape: Shape) -> list[tuple[Shape, Shape]]:
    """The input and output shapes of the leaves of a network, which may hold composites."""
    if isinstance(network, tuple):
        found = []
        for layer in network:
            found += leaves(layer, shape)
            shape = costs(layer, shape).shape
        return found
    if isinstance(network, Leaf):
        return [(shape, costs(network, shape).shape)]
    found = []

    def add(name: str, part: Network, of: Shape) -> Shape:
        found.extend(leaves(part, of))
        return costs(part, of).shape

    network.assemble(shape, add)
    return found


NETWORKS: tuple[tuple[Network, Shape], ...] = (
    ((Conv(16), Pool(stride=2), Conv(8), GlobalPool(), Linear(10)), IMAGE),
    ((Residual((Conv(16), Conv(4))), Flatten(), Linear(300), Linear(2)), IMAGE),
    ((MBConv(8, squeeze=0.5), MBConv(stride=2), SqueezeExcitation(), Norm()), IMAGE),
    (Residual((SelfAttention(), Activation("gelu"))), (50, 8)),
    (Residual(Residual((Pool(), MBConv(), Conv(64), Conv(4)))), IMAGE),
    ((Columns(Periodic(), OneHot((9, 9)), (9, 9)), Linear(4, "layer", "relu")), (7,)),
    (
        Graph(
            {
                "a": Node({"in": Conv(9)}),
                "b": Node({"a": Conv(3), "in": Conv(3)}, "concat", then=Pool(stride=2)),
            }
        ),
        IMAGE,
    ),
)


@pytest.mark.parametrize(("network", "shape"), NETWORKS)
def test_the_peak_holds_every_leafs_input_and_output(network: Network, shape: Shape) -> None:
    reads_and_writes = [prod(into) + prod(out) for into, out in leaves(network, shape)]
    assert len(reads_and_writes) > 1
    assert memory(network, shape) >= max(reads_and_writes)
