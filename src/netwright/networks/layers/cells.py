"""Cell spaces of published NAS benchmarks, as functions that return open networks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from netwright.networks.interfaces.layer import AddPart, Composite, Leaf, Network
from netwright.networks.interfaces.shapes import Shape
from netwright.networks.layers.basic import Activation, GlobalPool, Norm, Pool, Skip, Zero
from netwright.networks.layers.checks import check_images
from netwright.networks.layers.conv import Conv
from netwright.networks.layers.graph import Chain, Graph, Node
from netwright.networks.layers.linear import Linear
from netwright.space.candidate import Value
from netwright.space.choices import OneOf, Repeat, Shared, SubsetOf


def nas_bench_201(channels: int = 16, cells: int = 5) -> Network:
    """The space of NAS-Bench-201 (Dong and Yang 2020, 2001.00326): 5^6 = 15,625 cells.

    Three stages of equal cells, with a residual block that halves the image between stages.
    Decisions are called ``cell.2.1``: the operation from node 1 to node 2.

    Args:
        channels: Of the first stage; doubled in each of the others.
        cells: Cells of a stage.

    Returns:
        An open network for images.

    Example:
        >>> space = Space(nas_bench_201())
    """
    cell = Shared(nas_bench_201_cell(), "cell")
    stages: list[Network] = [Repeat(cell, cells)]
    for stage_channels in (2 * channels, 4 * channels):
        stages += [Reduction(stage_channels), Repeat(cell, cells)]
    head = (Norm(), Activation(), GlobalPool(), Linear())
    return (Conv(channels, activation="none"), *stages, *head)


@dataclass(frozen=True)
class Reduction(Composite):
    """The residual block between stages of NAS-Bench-201, which halves the image.

    Unlike `Residual`, its body begins with an activation, and its shortcut averages the pixels and
    does not normalise: the scale of the activations is handed on from stage to stage, and tells
    untrained networks apart.
    """

    channels: int
    is_residual = True

    def assemble(self, shape: Shape, add: AddPart) -> Shape:
        add("shortcut", _AvgPoolProjection(self.channels), shape)
        body = (relu_conv_bn(3, self.channels, stride=2), relu_conv_bn(3))
        return add("body", body, shape)

    def run(self, parts: nn.ModuleDict, x: Tensor) -> Tensor:
        output: Tensor = parts["body"](x) + parts["shortcut"](x)
        return output


@dataclass(frozen=True)
class _AvgPoolProjection(Leaf):
    """Average pooling of 2 x 2 pixels, then a convolution of kernel 1 without bias."""

    channels: int

    def build(self, shape: Shape) -> nn.Module:
        check_images(shape)
        has_odd_side = shape[1] % 2 == 1 or shape[2] % 2 == 1  # a last window of fewer pixels
        conv = nn.Conv2d(shape[0], self.channels, 1, bias=False)
        return nn.Sequential(nn.AvgPool2d(2, ceil_mode=has_odd_side), conv)


def nas_bench_201_cell() -> Graph:
    """Return the open cell of NAS-Bench-201 (Dong and Yang 2020, 2001.00326).

    Between any two of the nodes 0 to 3 is one of five operations.

    Returns:
        An open graph from node ``"0"`` to node ``"3"``.
    """
    operation: Network = OneOf(
        {
            "none": Zero(),
            "skip_connect": Skip(),
            "nor_conv_1x1": relu_conv_bn(1),
            "nor_conv_3x3": relu_conv_bn(3),
            "avg_pool_3x3": Pool("avg"),
        }
    )
    edges = {j: {str(i): operation for i in range(j)} for j in (1, 2, 3)}
    return Graph({str(j): Node(sources) for j, sources in edges.items()}, inputs=("0",))


def darts(channels: int = 16, cells: int = 8) -> Network:
    """The space of DARTS (Liu et al. 2019, 1806.09055): 1.08e18 pairs of cells.

    The cells after one and two thirds halve the image and double the channels. Decisions are
    called ``normal.3`` (the two inputs of node 3) and ``normal.3.1`` (the operation on that from
    node 1), ``reduce.3`` and so on.

    Args:
        channels: Of a node in the first cells.
        cells: Cells in all.

    Returns:
        An open network for images.
    """
    chain, width, after_reduction = [], channels, False
    for i in range(cells):
        reduction = i in (cells // 3, 2 * cells // 3)
        width *= 2 if reduction else 1
        chain.append(darts_cell(width, reduction=reduction, after_reduction=after_reduction))
        after_reduction = reduction
    stem = Conv(3 * channels, activation="none")
    return (stem, Chain(tuple(chain)), GlobalPool(), Linear())


def darts_cell(
    channels: int, *, reduction: bool, after_reduction: bool = False, nodes: int = 4
) -> Graph:
    """Return the open cell of DARTS: nodes that each choose two of the nodes before them.

    Liu et al. (2019, 1806.09055), section 3.1.

    Args:
        channels: Of a node; both inputs are brought to as many.
        reduction: Whether edges from the inputs halve the image.
        after_reduction: Whether the cell before was a reduction, so that the older input is twice
            as large.
        nodes: Intermediate nodes, whose outputs are concatenated.

    Returns:
        An open graph for a `Chain`, with the inputs ``"before"`` (of the cell before the last) and
        ``"last"``, and nodes * channels output channels.
    """
    kind = "reduce" if reduction else "normal"
    graph_nodes = {
        "0": Node({"before": relu_conv_bn(1, channels, 2 if after_reduction else 1)}),
        "1": Node({"last": relu_conv_bn(1, channels)}),
    }
    for j in range(2, nodes + 2):
        edges = {
            str(i): OneOf(_darts_operations(2 if reduction and i < 2 else 1)) for i in range(j)
        }
        graph_nodes[str(j)] = Node(Shared(SubsetOf(edges, min_size=2, max_size=2), f"{kind}.{j}"))
    graph_nodes["out"] = Node({str(j): Skip() for j in range(2, nodes + 2)}, "concat")
    return Graph(graph_nodes, inputs=("before", "last"))


def _darts_operations(stride: int) -> Mapping[str, Network]:
    """Return the seven operations of the paper, section 3.1, by their names there."""
    return {
        "max_pool_3x3": (Pool("max", stride=stride), Norm()),
        "avg_pool_3x3": (Pool("avg", stride=stride), Norm()),
        "skip_connect": Skip() if stride == 1 else relu_conv_bn(1, 0, stride),
        "sep_conv_3x3": (_relu_separable_conv(3, stride), _relu_separable_conv(3)),
        "sep_conv_5x5": (_relu_separable_conv(5, stride), _relu_separable_conv(5)),
        "dil_conv_3x3": _relu_separable_conv(3, stride, dilation=2),
        "dil_conv_5x5": _relu_separable_conv(5, stride, dilation=2),
    }


def nas_bench_101(channels: int = 32, cells: int = 3, stages: int = 3, inner: int = 5) -> Network:
    """A space of networks of the form of NAS-Bench-101 (Ying et al. 2019, 1902.09635).

    Between stages the image is halved and the channels doubled. The space of the paper has only
    cells of at most nine edges: pass `at_most_edges` to `Space` as its `rule`. As there, every cell
    of a stage outputs the stage's channels, however many nodes are joined in its output. Unlike
    there, a node inside a cell keeps all channels, where the paper divides them among the joined
    nodes, and a convolution of kernel 1 restores the number of output channels.

    Args:
        channels: Of the first stage.
        cells: Equal cells of a stage.
        stages: Stages.
        inner: Nodes of a cell between its input and its output.

    Returns:
        An open network for images.

    Example:
        >>> space = Space(nas_bench_101(), rule=at_most_edges)
    """
    body: list[Network] = [Conv(channels)]
    for stage in range(stages):
        width = channels * 2**stage
        if stage:
            body += [Pool(kernel=2, stride=2, padding=0), Conv(width, kernel=1)]
        body.append(Repeat(Shared(nas_bench_101_cell(inner, width), "cell"), cells))
    return (*body, GlobalPool(), Linear())


def nas_bench_101_cell(inner: int = 5, channels: int = 0) -> Graph:
    """Return the open cell of NAS-Bench-101: nodes choose their inputs and one of three operations.

    Ying et al. (2019, 1902.09635); see `nas_bench_101` for the differences.

    Args:
        inner: Nodes between input and output.
        channels: Of the output; 0 for as many as are joined in it, so that the cell widens.

    Returns:
        An open graph from node ``"0"`` to node ``"out"``.
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
    """Return whether the chosen subsets have at most `max_edges` members: NAS-Bench-101's rule.

    Args:
        values: The values of a candidate by path.
        max_edges: 9 in the paper.
    """
    return sum(len(chosen) for chosen in values.values() if isinstance(chosen, tuple)) <= max_edges


def relu_conv_bn(kernel: int, channels: int = 0, stride: int = 1) -> Network:
    """ReLU, convolution, batch normalisation, in the order of the cell papers.

    `channels` 0 means as many as come in.
    """
    return (Activation(), Conv(channels, kernel, stride, activation="none"))


def _relu_separable_conv(kernel: int, stride: int = 1, dilation: int = 1) -> Network:
    conv = Conv(kernel=kernel, stride=stride, dilation=dilation, separable=True, activation="none")
    return (Activation(), conv)
