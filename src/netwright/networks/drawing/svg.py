"""A network drawn as SVG: boxes for layers, arrows for tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby

from netwright.networks.build import resolve
from netwright.networks.costs import Costs, cost_of
from netwright.networks.drawing.outline import (
    describe,
    describe_layer,
    flatten_sequence,
    named_parts,
)
from netwright.networks.interfaces.layer import Composite, Layer, Network
from netwright.networks.interfaces.shapes import Shape
from netwright.networks.layers.channel_tower import ChannelTower
from netwright.networks.layers.graph import Chain, Graph, latest_by_input


@dataclass(frozen=True)
class _Drawing:
    """SVG with its corner at 0, 0; flow enters at the middle of the top, leaves at the bottom's."""

    width: float
    height: float
    svg: str


_INK = "#24303f"
_FAINT_INK = "#7b8794"
_LAYER_COLOURS = {
    "Conv": "#dbe9fb", "PatchStem": "#dbe9fb", "MBConv": "#d3f0e6", "PreActivation": "#d3f0e6",
    "ConvNeXtBlock": "#d3f0e6", "Linear": "#fbe6d4", "Pool": "#efe3fa", "GlobalPool": "#efe3fa",
    "AttentionPool": "#efe3fa", "Downsample": "#efe3fa", "SelfAttention": "#fde2ea",
    "ImageAttention": "#fde2ea", "Recurrent": "#fde2ea",
    "SqueezeExcitation": "#fff3c9", "Embedding": "#fff3c9", "OneHot": "#fff3c9",
    "Periodic": "#fff3c9",
    "AxialConv": "#dbe9fb", "AxialMixing": "#fde2ea", "OneHotPixels": "#fff3c9",
}  # fmt: skip
_GAP_PX = 30
"""Pixels between boxes of a sequence."""
_NODE_DISTANCE_PX = 64
"""Pixels from node to node of a graph."""


def svg(network: Network, input_shape: Shape, *, title: str = "", **given: object) -> str:
    """Draw a filled network as a complete SVG document.

    Args:
        network: A filled network, as for `build`.
        input_shape: Of a row, without the batch.
        title: Heading of the drawing.
        **given: As for `build`.

    Returns:
        The text of the document.

    Raises:
        InfeasibleCandidate: A layer cannot take its input.
        SpaceError: A choice is still open.

    Example:
        >>> drawing = svg((Conv(16), GlobalPool(), Linear()), (3, 32, 32), outputs=10)
        >>> drawing.startswith("<svg")
        True
    """
    resolved = resolve(network, given)
    costs = cost_of(resolved, input_shape, "")
    body = _sequence(
        [
            _pill(f"input {_format_shape(input_shape)}"),
            *_layer_drawings(resolved, input_shape),
            _pill("output"),
        ]
    )
    total = f"{costs.parameters:,} parameters, {costs.flops / 1e6:.3g} MFLOP"
    width = max(body.width, 7.2 * max(len(title), len(total))) + 48
    left, height = (width - body.width) / 2, body.height + 92
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'width="{width:.0f}" height="{height:.0f}" font-family="system-ui, sans-serif">\n'
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
        f'markerHeight="7" orient="auto"><path d="M0 0L8 4L0 8z" fill="{_FAINT_INK}"/></marker></defs>'
        f'\n<rect width="100%" height="100%" fill="#ffffff"/>\n'
        + _text(width / 2, 32, title, size=15, weight=600)
        + _text(width / 2, 52, total, size=12, fill=_FAINT_INK)
        + _moved(body, left, 72)
        + "</svg>\n"
    )


def _layer_drawings(network: Network, shape: Shape) -> list[_Drawing]:
    """Draw each layer of a sequence; equal ones in a row are drawn once."""
    drawings = []
    layers = [
        (layer, input_shape, cost_of(layer, input_shape, ""))
        for _, layer, input_shape in flatten_sequence(network, shape, "")
    ]
    for (layer, input_shape), equal_layers in groupby(layers, key=lambda entry: entry[:2]):
        run = list(equal_layers)
        _, _, costs = run[0]
        drawings.append(_layer(layer, input_shape, costs, len(run)))
    return drawings


def _layer(layer: Layer, shape: Shape, costs: Costs, times: int) -> _Drawing:
    parts = named_parts(layer, shape)
    if not parts:
        return _box(layer, costs, times)
    if isinstance(layer, Graph):
        return _framed(_graph(layer, {layer.inputs[0]: shape}), type(layer).__name__, costs, times)
    if isinstance(layer, Chain):
        return _chain(layer, shape)
    if isinstance(layer, Composite) and layer.is_residual:
        drawing = _residual(parts)
    elif isinstance(layer, ChannelTower):
        drawing = _tower(layer, parts, shape)
    elif len(parts) == 1:
        drawing = _sequence(_layer_drawings(parts[0][1], parts[0][2]))
    else:
        columns = [
            _sequence([_pill(name), *_layer_drawings(part, part_shape)])
            for name, part, part_shape in parts
        ]
        drawing = _side_by_side(columns)
    return _framed(drawing, type(layer).__name__, costs, times)


def _tower(layer: ChannelTower, parts: list[tuple[str, Network, Shape]], shape: Shape) -> _Drawing:
    """Draw the body of one channel, how the channels are combined, and the layer after that."""
    body, *hidden = (
        [*_layer_drawings(network, network_shape)] for _, network, network_shape in parts
    )
    combination = _pill(f"{layer.combine} over {shape[0]} channels")
    return _sequence([_pill("each channel"), *body, combination, *(hidden[0] if hidden else [])])


def _box(layer: Layer, costs: Costs, times: int) -> _Drawing:
    """Draw a layer without parts: its name, its settings and its costs."""
    name, _, settings = describe_layer(layer).partition(" ")
    heading = f"{times} × {name}" if times > 1 else name
    note = _format_costs(costs)
    width = max(150.0, 8.4 * len(heading) + 24, 7 * len(settings) + 24, 6.4 * len(note) + 24)
    height, middle = (60 if settings else 44), width / 2
    fill = _LAYER_COLOURS.get(name, "#eef1f4")
    box = (
        f'<rect width="{width:.0f}" height="{height}" rx="9" fill="{fill}" '
        f'stroke="{_INK}" stroke-opacity=".25"/>' + _text(middle, 19, heading, size=13, weight=600)
    )
    if settings:
        box += _text(middle, 36, settings, size=12)
    box += _text(middle, height - 9, note, size=11, fill=_FAINT_INK)
    return _Drawing(width, height, box)


def _format_costs(costs: Costs) -> str:
    """Format output shape and parameters."""
    parameters = f" · {costs.parameters:,}" if costs.parameters else ""
    return f"{_format_shape(costs.shape)}{parameters}"


def _pill(text: str) -> _Drawing:
    width = 7.2 * len(text) + 26
    rect = f'<rect width="{width:.0f}" height="26" rx="13" fill="#ffffff" stroke="{_FAINT_INK}"/>'
    return _Drawing(width, 26, rect + _text(width / 2, 17, text, size=12))


def _sequence(drawings: Sequence[_Drawing]) -> _Drawing:
    """Draw one below the other, with arrows between."""
    width = max(drawing.width for drawing in drawings)
    y, body = 0.0, ""
    for i, drawing in enumerate(drawings):
        if i:
            body += _arrow(width / 2, y, width / 2, y + _GAP_PX)
            y += _GAP_PX
        body += _moved(drawing, (width - drawing.width) / 2, y)
        y += drawing.height
    return _Drawing(width, y, body)


def _side_by_side(drawings: Sequence[_Drawing]) -> _Drawing:
    """Draw side by side from the top; their ends are joined at the bottom."""
    width = sum(drawing.width for drawing in drawings) + 24 * (len(drawings) - 1)
    height, x, body = max(drawing.height for drawing in drawings) + 34, 0.0, ""
    for drawing in drawings:
        body += _moved(drawing, x, 0)
        body += _arrow(x + drawing.width / 2, drawing.height, width / 2, height)
        x += drawing.width + 24
    return _Drawing(width, height, body)


def _framed(inside: _Drawing, name: str, costs: Costs, times: int) -> _Drawing:
    """Draw a dashed frame with name and costs."""
    heading = f"{times} × {name}" if times > 1 else name
    width = max(inside.width + 36, 8 * len(heading) + 6.4 * len(_format_costs(costs)) + 48)
    height = inside.height + 58
    frame = (
        f'<rect width="{width:.0f}" height="{height:.0f}" rx="12" fill="#fafbfc" '
        f'stroke="{_FAINT_INK}" stroke-dasharray="4 4"/>'
    )
    label = _text(12, 20, heading, size=12, anchor="start", weight=600)
    label += _text(width - 12, 20, _format_costs(costs), size=11, anchor="end", fill=_FAINT_INK)
    body = frame + label + _moved(inside, (width - inside.width) / 2, 36)
    return _Drawing(width, height, body)


def _residual(parts: list[tuple[str, Network, Shape]]) -> _Drawing:
    """Draw the body, and beside it the line of the skip, labelled with the shortcut's layers."""
    networks = {name or "body": (part, part_shape) for name, part, part_shape in parts}
    body = _sequence(_layer_drawings(*networks["body"]))
    middle, end = body.width / 2, body.height + 44
    side = body.width + 34
    shortcut = describe(networks["shortcut"][0]) if "shortcut" in networks else ""
    drawing = _moved(body, 0, 18)
    drawing += f'<path d="M{middle:.0f} 0V18" stroke="{_FAINT_INK}" fill="none"/>'
    drawing += (
        f'<path d="M{middle:.0f} 4H{side - 10:.0f}Q{side:.0f} 4 {side:.0f} 14V{end - 10:.0f}'
        f'Q{side:.0f} {end:.0f} {side - 10:.0f} {end:.0f}H{middle + 11:.0f}" stroke="{_FAINT_INK}" '
        'fill="none" marker-end="url(#tip)"/>'
    )
    drawing += _arrow(middle, body.height + 18, middle, end - 10) + _plus(middle, end)
    if shortcut:
        drawing += _text(side + 6, end / 2, shortcut, size=11, fill=_FAINT_INK, anchor="start")
    # equal margins, so that the middle of the drawing is the middle of the body
    margin = 34 + (6.4 * len(shortcut) if shortcut else 8)
    return _Drawing(body.width + 2 * margin, end + 10, _moved(_Drawing(0, 0, drawing), margin, 0))


def _chain(chain: Chain, shape: Shape) -> _Drawing:
    """Draw one frame for each cell."""
    shapes = [shape]
    drawings: list[_Drawing] = []
    for i, cell in enumerate(chain.cells):
        inputs = latest_by_input(cell.inputs, shapes)
        costs: list[Costs] = []

        def add(name: str, part: Network, part_shape: Shape, costs: list[Costs] = costs) -> Shape:
            costs.append(cost_of(part, part_shape, name))
            return costs[-1].shape

        shapes.append(cell.assemble_from(inputs, add))
        total = Costs(shapes[-1], sum(part_costs.parameters for part_costs in costs), 0, 0)
        drawings.append(_framed(_graph(cell, inputs), f"Cell {i}", total, 1))
    return _sequence(drawings)


def _graph(graph: Graph, inputs: Mapping[str, Shape]) -> _Drawing:
    """Draw nodes below each other, edges as arcs on both sides: longer ones further out."""
    live = graph.live()
    used = [name for name in inputs if any(name in sources for sources in live.values())]
    labels = {name: _node_label(graph, name) for name in [*used, *live]}
    index = {name: i for i, name in enumerate(labels)}
    pills = [_pill(label) for label in labels.values()]
    half_width = max(pill.width for pill in pills) / 2
    edges = [
        (index[source], index[name], describe(graph.nodes[name].inputs[source]))
        for name, sources in live.items()
        for source in sources
    ]
    middle = max((_edge_reach(half_width, *edge) for edge in edges), default=half_width)
    body = ""
    for start, end, text in edges:
        pill_ends = (pills[start].width / 2, pills[end].width / 2)
        body += _edge(start, end, middle, _arc_reach(start, end, half_width), pill_ends, text)
    for i, pill in enumerate(pills):
        body += _moved(pill, middle - pill.width / 2, i * _NODE_DISTANCE_PX)
    return _Drawing(2 * middle, (len(index) - 1) * _NODE_DISTANCE_PX + 26, body)


def _node_label(graph: Graph, name: str) -> str:
    """Return the node's name, "concat" if it concatenates, and what follows the combination."""
    then = describe(graph.nodes[name].then) if name in graph.nodes else "Skip"
    is_concat = name in graph.nodes and graph.nodes[name].combine == "concat"
    words = (name, "concat" if is_concat else "", "" if then == "Skip" else then)
    return " ".join(word for word in words if word)


def _arc_reach(start: int, end: int, half_width: float) -> float:
    """Return how far an arc reaches from the middle; neighbours get a straight line."""
    return 0.0 if end - start == 1 else half_width + 26 + 30 * (end - start - 2)


def _edge_reach(half_width: float, start: int, end: int, text: str) -> float:
    """Return how far an edge with its label reaches from the middle."""
    label_width = 0 if text == "Skip" else 6.3 * len(text) + 14
    return max(half_width, _arc_reach(start, end, half_width) + label_width) + 6


def _edge(
    start: int, end: int, middle: float, reach: float, pill_ends: tuple[float, float], text: str
) -> str:
    """Draw an arc to the right of nodes of even index, to the left of odd ones, with its label."""
    side = 1 if start % 2 == 0 else -1
    top, bottom = start * _NODE_DISTANCE_PX + 13, end * _NODE_DISTANCE_PX + 13
    if reach:
        x_start, x_end, x_arc = (middle + side * offset for offset in (*pill_ends, reach))
        bend = 18 * side
        path = (
            f'<path d="M{x_start:.0f} {top}H{x_arc - bend:.0f}'
            f"Q{x_arc:.0f} {top} {x_arc:.0f} {top + 18}"
            f'V{bottom - 18}Q{x_arc:.0f} {bottom} {x_arc - bend:.0f} {bottom}H{x_end:.0f}"'
            f' stroke="{_FAINT_INK}" fill="none" marker-end="url(#tip)"/>'
        )
    else:
        path = _arrow(middle, top + 13, middle, bottom - 13)
    if text == "Skip":
        return path
    x, y = middle + side * (reach + 7), (top + bottom) / 2 + 4
    return path + _text(x, y, text, size=11, anchor="start" if side > 0 else "end", halo=True)


def _arrow(x0: float, y0: float, x1: float, y1: float) -> str:
    return (
        f'<line x1="{x0:.0f}" y1="{y0:.0f}" x2="{x1:.0f}" y2="{y1:.0f}" stroke="{_FAINT_INK}" '
        'marker-end="url(#tip)"/>'
    )


def _plus(x: float, y: float) -> str:
    circle = f'<circle cx="{x:.0f}" cy="{y:.0f}" r="10" fill="#ffffff" stroke="{_INK}"/>'
    return circle + _text(x, y + 4, "+", size=14)


def _moved(drawing: _Drawing, x: float, y: float) -> str:
    return f'<g transform="translate({x:.1f} {y:.1f})">{drawing.svg}</g>\n'


def _text(
    x: float,
    y: float,
    text: str,
    *,
    size: int,
    anchor: str = "middle",
    fill: str = _INK,
    weight: int = 400,
    halo: bool = False,
) -> str:
    """Draw a text; a halo in the background's colour separates it from lines below it."""
    common = f'x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}" font-size="{size}"'
    common += f' font-weight="{weight}"'
    background = (
        f'<text {common} stroke="#fafbfc" stroke-width="4">{escape(text)}</text>' if halo else ""
    )
    return f'{background}<text {common} fill="{fill}">{escape(text)}</text>'


def _format_shape(shape: Shape) -> str:
    return " × ".join(map(str, shape))
