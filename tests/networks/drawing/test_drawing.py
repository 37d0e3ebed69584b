import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass

import numpy as np
import pytest
from torch import Tensor, nn

from netwright.networks.costs import costs
from netwright.networks.drawing.outline import outline
from netwright.networks.drawing.svg import svg
from netwright.networks.interfaces.layer import AddPart, Composite, Network
from netwright.networks.interfaces.shapes import Shape
from netwright.networks.layers.basic import Dropout, GlobalPool
from netwright.networks.layers.blocks import MBConv, Residual
from netwright.networks.layers.cells import darts, nas_bench_201
from netwright.networks.layers.conv import Conv
from netwright.networks.layers.linear import Linear
from netwright.networks.tabular.columns import Columns
from netwright.space.space import Space

CNN: Network = (
    Conv(16, kernel=5, activation="silu"),
    (MBConv(), MBConv(), Residual((Conv(), Conv(activation="none")))),
    GlobalPool(),
    Dropout(0.25),
    Linear(),
)


def test_outline_has_layers_settings_shapes_and_costs() -> None:
    rows = outline(CNN, (3, 8, 8), outputs=10)
    shown = [(row.position, row.text, row.depth, row.times) for row in rows]
    assert shown == [
        ("0", "Conv 16, kernel 5, silu", 0, 1),
        ("1.0-1", "MBConv", 0, 2),
        ("1.2", "Residual", 0, 1),
        ("", "Conv", 1, 1),
        ("", "Conv no activation", 1, 1),
        ("2", "GlobalPool", 0, 1),
        ("3", "Dropout 0.25", 0, 1),
        ("4", "Linear 10", 0, 1),
    ]
    top = [row for row in rows if not row.depth]
    total = costs(CNN, (3, 8, 8), outputs=10)
    assert sum(row.parameters * row.times for row in top) == total.parameters
    assert sum(row.flops * row.times for row in top) == total.flops
    assert top[-1].shape == (10,)


def test_parallel_parts_are_named() -> None:
    rows = outline((Columns(), Linear()), (5,), outputs=2, cardinalities=(3, 4))
    assert [row.text for row in rows][:5] == ["Columns", "numeric", "Skip", "categorical", "OneHot"]


@pytest.mark.parametrize("title", ["plain", "<b> & 'more'"])
def test_svg_is_a_document_with_every_layer(title: str) -> None:
    root = ElementTree.fromstring(svg(CNN, (3, 8, 8), title=title, outputs=10))
    texts = [node.text for node in root.iter() if node.tag.endswith("text")]
    assert title in texts
    for text in ("Conv", "2 × MBConv", "Residual", "GlobalPool", "Linear", "+", "output"):
        assert text in texts
    assert "16, kernel 5, silu" in texts
    assert f"{costs(CNN, (3, 8, 8), outputs=10).parameters:,} parameters" in " ".join(
        map(str, texts)
    )


@dataclass(frozen=True)
class Wrapped(Composite):
    """A composite of one part."""

    inside: Network

    def assemble(self, shape: Shape, add: AddPart) -> Shape:
        return add("inside", self.inside, shape)

    def run(self, parts: nn.ModuleDict, x: Tensor) -> Tensor:
        output: Tensor = parts["inside"](x)
        return output


def _texts(network: Network) -> list[str | None]:
    root = ElementTree.fromstring(svg(network, (4, 8, 8)))
    return [node.text for node in root.iter() if node.tag.endswith("text")]


def test_only_residuals_are_drawn_with_a_sum() -> None:
    conv = Conv(activation="none")
    assert {"Residual", "+"} <= {*_texts(Residual(conv))}
    shortcut = _texts(Residual(Conv(8, stride=2, activation="none")))
    assert {"Residual", "+", "Conv 8, kernel 1, stride 2"} <= {*shortcut}
    texts = _texts(Wrapped(conv))
    assert "Wrapped" in texts
    assert not {"Residual", "+"} & {*texts}


def test_everything_is_drawn_inside_the_picture() -> None:
    for network in (nas_bench_201(8, 1), darts(4, 3)):
        space = Space(network)
        rng = np.random.default_rng(1)
        text = svg(space.fill(space.sample(rng)), (3, 32, 32), title="cells", outputs=10)
        root = ElementTree.fromstring(text)
        width, height = float(root.attrib["width"]), float(root.attrib["height"])
        for x, y in _corners(root, 0.0, 0.0):
            assert -1 <= x <= width + 1
            assert -1 <= y <= height + 1


def _corners(node: ElementTree.Element, x: float, y: float) -> list[tuple[float, float]]:
    """Corners of boxes and texts in the picture's coordinates."""
    if transform := node.attrib.get("transform"):
        dx, dy = transform.removeprefix("translate(").rstrip(")").split()
        x, y = x + float(dx), y + float(dy)
    corners = []
    kind = node.tag.rpartition("}")[2]
    if kind == "rect" and node.attrib["width"] != "100%":
        corners = [(x, y), (x + float(node.attrib["width"]), y + float(node.attrib["height"]))]
    if kind == "text":
        start = x + float(node.attrib["x"])
        size = 0.5 * float(node.attrib["font-size"]) * len(node.text or "")
        left = {"start": start, "middle": start - size / 2, "end": start - size}
        begin = left[node.attrib["text-anchor"]]
        corners = [
            (begin, y + float(node.attrib["y"])),
            (begin + size, y + float(node.attrib["y"])),
        ]
    for child in node:
        corners += _corners(child, x, y)
    return corners
