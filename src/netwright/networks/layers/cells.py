"""The cell spaces of the field, as plain functions over `Graph`; each returns an open network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from netwright.networks.interfaces.layer import AddPart, Composite, Leaf, Network
from netwright.networks.interfaces.shapes import Shape
from netwright.networks.layers.basic import Activation, GlobalPool, Norm, Pool, Skip, Zero
from netwright.networks.layers.checks import need_images
from netwright.networks.layers.conv import Conv
from netwright.networks.layers.graph import Chain, Graph, Node
from netwright.networks.layers.linear import Linear
from netwright.space.candidate import Value
from netwright.space.choices import OneOf, Repeat, Shared, SubsetOf


def nas_bench_201(channels: int = 16, cells: int = 5) -> Network:
    """The networks of NAS-Bench-201 (Dong & Yang 2020, 2001.00326): 5^6 = 15,625 cells.

    Three stages of `cells` equal cells, of `channels`, twice and four times as many; decisions are
    called ``cell.2.1``: what flows from node 1 to node 2.
    """
    cell = Shared(nas_bench_201_cell(), "cell")
    stages: list[Network] = [Repeat(cell, cells)]
    for wider in (2 * channels, 4 * channels):
        stages += [Reduction(wider), Repeat(cell, cells)]
    head = (Norm(), Activation(), GlobalPool(), Linear())
    return (Conv(channels, activation="none"), *stages, *head)


@dataclass(frozen=True)
class Reduction(Composite):
    """Between the stages of NAS-Bench-201: a residual block that halves the image.

    Unlike `Residual`, its body begins with an activation, and its shortcut averages the pixels and
    does not normalise: how large numbers are is handed on from stage to stage, and untrained
    networks are told apart by it.
    """

    channels: int
    is_residual = True

    def assemble(self, shape: Shape, add: AddPart) -> Shape:
        add("shortcut", _Projection(self.channels), shape)
        return add("body", (relu_conv_bn(3, self.channels, stride=2), relu_conv_bn(3)), shape)

    def run(self, parts: nn.ModuleDict, x: Tensor) -> Tensor:
        out: Tensor = parts["body"](x) + parts["shortcut"](x)
        return out


@dataclass(frozen=True)
class _Projection(Leaf):
    """The mean of two by two pixels, then a convolution of kernel 1 without bias."""

    channels: int

    def build(self, shape: Shape) -> nn.Module:
        need_images(shape)
        odd = shape[1] % 2 == 1 or shape[2] % 2 == 1  # a last window of fewer pixels
        convolution = nn.Conv2d(shape[0], self.channels, 1, bias=False)
        return nn.Sequential(nn.AvgPool2d(2, ceil_mode=odd), convolution)


def nas_bench_201_cell() -> Graph:
    """Node 0 and three after it, each fed by all before it through one of five operations."""
    operation: Network = OneOf(
        {
            "none": Zero(),
            "skip_connect": Skip(),
            "nor_conv_1x1": relu_conv_bn(1),
            "nor_conv_3x3": relu_conv_bn(3),
            "avg_pool_3x3": Pool("avg"),
        }
    )
    sources = {j: {str(i): operation for i in range(j)} for j in (1, 2, 3)}
    return Graph({str(j): Node(edges) for j, edges in sources.items()}, inputs=("0",))


def darts(channels: int = 16, cells: int = 8) -> Network:
    """The networks of DARTS (Liu et al. 2019, 1806.09055): 1.08e18 pairs of cells.

    The cells after one and two thirds halve the image and double the channels. Decisions are
    called ``normal.3`` (the two inputs of node 3) and ``normal.3.1`` (the operation on that from
    node 1), ``reduce.3`` and so on.
    """
    row, width, halved = [], channels, False
    for i in range(cells):
        reduction = i in (cells // 3, 2 * cells // 3)
        width *= 2 if reduction else 1
        row.append(darts_cell(width, reduction, after_reduction=halved))
        halved = reduction
    stem = Conv(3 * channels, activation="none")
    return (stem, Chain(tuple(row)), GlobalPool(), Linear())


def darts_cell(
    channels: int, reduction: bool, after_reduction: bool = False, nodes: int = 4
) -> Graph:
    """Two inputs brought to `channels`, then nodes that each choose two of those before them."""
    kind = "reduce" if reduction else "normal"
    found = {
        "0": Node({"before": relu_conv_bn(1, channels, 2 if after_reduction else 1)}),
        "1": Node({"last": relu_conv_bn(1, channels)}),
    }
    inner = [str(j) for j in range(2, nodes + 2)]
    for j in range(2, nodes + 2):
        edges = {
            str(i): OneOf(_darts_operations(2 if reduction and i < 2 else 1)) for i in range(j)
        }
        found[str(j)] = Node(Shared(SubsetOf(edges, min_size=2, max_size=2), f"{kind}.{j}"))
    found["out"] = Node({j: Skip() for j in inner}, "concat")
    return Graph(found, inputs=("before", "last"))


def _darts_operations(stride: int) -> Mapping[str, Network]:
    """The seven of the paper, section 3.1, under its names."""
    return {
        "max_pool_3x3": (Pool("max", stride=stride), Norm()),
        "avg_pool_3x3": (Pool("avg", stride=stride), Norm()),
        "skip_connect": Skip() if stride == 1 else relu_conv_bn(1, 0, stride),
        "sep_conv_3x3": (_relu_separable(3, stride), _relu_separable(3)),
        "sep_conv_5x5": (_relu_separable(5, stride), _relu_separable(5)),
        "dil_conv_3x3": _relu_separable(3, stride, dilation=2),
        "dil_conv_5x5": _relu_separable(5, stride, dilation=2),
    }


def nas_bench_101(channels: int = 32, cells: int = 3, stages: int = 3, inner: int = 5) -> Network:
    """Networks of the form of NAS-Bench-101 (Ying et al. 2019, 1902.09635).

    `stages` of `cells` equal cells; between stages the image is halved and the channels doubled.
    The space of the paper takes only cells of at most nine edges: pass `at_most_edges` to `Space`
    as its `rule`. As there, every cell of a stage gives the stage's channels, whatever is joined in
    its output. Unlike there, a node inside a cell keeps all channels where the paper shares them out
    among those that are joined, and a convolution of kernel 1 brings the output back.
    """
    body: list[Network] = [Conv(channels)]
    for stage in range(stages):
        width = channels * 2**stage
        if stage:
            body += [Pool(kernel=2, stride=2, padding=0), Conv(width, kernel=1)]
        body.append(Repeat(Shared(nas_bench_101_cell(inner, width), "cell"), cells))
    return (*body, GlobalPool(), Linear())


def nas_bench_101_cell(inner: int = 5, channels: int = 0) -> Graph:
    """`inner` nodes that choose their inputs and one of three operations, and an output.

    The output has `channels`; 0: as many as are joined in it, so that the cell widens.
    """
    nodes: dict[str, Node] = {}
    for j in range(1, inner + 1):
        sources: Mapping[str, Network] = {str(i): Skip() for i in range(j)}
        operation: Network = OneOf(
            {"conv1x1": Conv(kernel=1), "conv3x3": Conv(), "maxpool3x3": Pool()}
        )
        nodes[str(j)] = Node(SubsetOf(sources), then=operation)
    sources = {str(i): Skip() for i in range(inner + 1)}
    nodes["out"] = Node(SubsetOf(sources, min_size=1), "concat", Conv(channels, kernel=1))
    return Graph(nodes, inputs=("0",))


def at_most_edges(values: Mapping[str, Value], max_edges: int = 9) -> bool:
    """Whether the subsets chosen have at most `most` members in all: the rule of NAS-Bench-101."""
    return sum(len(value) for value in values.values() if isinstance(value, tuple)) <= max_edges


def relu_conv_bn(kernel: int, channels: int = 0, stride: int = 1) -> Network:
    """ReLU, convolution, batch normalisation: the order of the cell papers. 0 channels: as before."""
    return (Activation(), Conv(channels, kernel, stride, activation="none"))


def _relu_separable(kernel: int, stride: int = 1, dilation: int = 1) -> Network:
    conv = Conv(kernel=kernel, stride=stride, dilation=dilation, separable=True, activation="none")
    return (Activation(), conv)
