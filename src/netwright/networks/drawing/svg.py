"""A network drawn as SVG: boxes for layers, arrows for tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby
from typing import Any

from netwright.networks.build import resolve
from netwright.networks.costs import Costs, cost_of
from netwright.networks.drawing.outline import flattened, parts, words, words_of
from netwright.networks.interfaces.layer import Composite, Layer, Network
from netwright.networks.interfaces.shapes import Shape
from netwright.networks.layers.graph import Chain, Graph


@dataclass(frozen=True)
class _Drawn:
    """SVG of a part; flow comes in at the top's middle and leaves at the bottom's."""

    width: float
    height: float
    svg: str


_INK = "#24303f"
_FAINT = "#7b8794"
_COLOURS = {
    "Conv": "#dbe9fb", "MBConv": "#d3f0e6", "Linear": "#fbe6d4", "Pool": "#efe3fa",
    "GlobalPool": "#efe3fa", "SelfAttention": "#fde2ea", "Recurrent": "#fde2ea",
    "SqueezeExcitation": "#fff3c9", "Embedding": "#fff3c9", "OneHot": "#fff3c9",
    "Periodic": "#fff3c9",
}  # fmt: skip
_GAP = 30
_STEP = 64
"""Pixels between boxes, and from node to node of a graph."""


def svg(network: Network, input_shape: Shape, *, title: str = "", **given: Any) -> str:
    """A drawing of a filled network, as a whole SVG document; takes what `build` takes."""
    filled = resolve(network, given)
    costs = cost_of(filled, input_shape, "")
    body = _sequence(
        [_pill(f"input {_size(input_shape)}"), *_boxes(filled, input_shape), _pill("output")]
    )
    total = f"{costs.parameters:,} parameters, {costs.flops / 1e6:.3g} MFLOP"
    width = max(body.width, 7.2 * max(len(title), len(total))) + 48
    left, height = (width - body.width) / 2, body.height + 92
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'width="{width:.0f}" height="{height:.0f}" font-family="system-ui, sans-serif">\n'
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
        f'markerHeight="7" orient="auto"><path d="M0 0L8 4L0 8z" fill="{_FAINT}"/></marker></defs>'
        f'\n<rect width="100%" height="100%" fill="#ffffff"/>\n'
        + _text(width / 2, 32, title, size=15, weight=600)
        + _text(width / 2, 52, total, size=12, fill=_FAINT)
        + _moved(body, left, 72)
        + "</svg>\n"
    )


def _boxes(network: Network, shape: Shape) -> list[_Drawn]:
    """One drawing for each layer of a sequence, equal ones in a row once."""
    drawn = []
    layers = [
        (layer, before, cost_of(layer, before, ""))
        for _, layer, before in flattened(network, shape, "")
    ]
    for _, same in groupby(layers, key=lambda one: (one[0], one[1])):
        run = list(same)
        layer, before, costs = run[0]
        drawn.append(_layer(layer, before, costs, len(run)))
    return drawn


def _layer(layer: Layer, shape: Shape, costs: Costs, times: int) -> _Drawn:
    inside = parts(layer, shape)
    if not inside:
        return _box(layer, costs, times)
    if isinstance(layer, Graph):
        return _framed(_graph(layer, {layer.inputs[0]: shape}), type(layer).__name__, costs, times)
    if isinstance(layer, Chain):
        return _chain(layer, shape)
    if isinstance(layer, Composite) and layer.is_residual:
        drawn = _residual(inside)
    elif len(inside) == 1:
        drawn = _sequence(_boxes(inside[0][1], inside[0][2]))
    else:
        columns = [_sequence([_pill(name), *_boxes(part, of)]) for name, part, of in inside]
        drawn = _beside(columns)
    return _framed(drawn, type(layer).__name__, costs, times)


def _box(layer: Layer, costs: Costs, times: int) -> _Drawn:
    name, _, detail = words(layer).partition(" ")
    head = f"{times} × {name}" if times > 1 else name
    note = _note(costs)
    width = max(150.0, 8.4 * len(head) + 24, 7 * len(detail) + 24, 6.4 * len(note) + 24)
    height, middle = (60 if detail else 44), width / 2
    shown = (
        f'<rect width="{width:.0f}" height="{height}" rx="9" fill="{_COLOURS.get(name, "#eef1f4")}" '
        f'stroke="{_INK}" stroke-opacity=".25"/>' + _text(middle, 19, head, size=13, weight=600)
    )
    if detail:
        shown += _text(middle, 36, detail, size=12)
    shown += _text(middle, height - 9, note, size=11, fill=_FAINT)
    return _Drawn(width, height, shown)


def _note(costs: Costs) -> str:
    """Shape and parameters."""
    return f"{_size(costs.shape)}" + (f" · {costs.parameters:,}" if costs.parameters else "")


def _pill(text: str) -> _Drawn:
    width = 7.2 * len(text) + 26
    rect = f'<rect width="{width:.0f}" height="26" rx="13" fill="#ffffff" stroke="{_FAINT}"/>'
    return _Drawn(width, 26, rect + _text(width / 2, 17, text, size=12))


def _sequence(drawn: Sequence[_Drawn]) -> _Drawn:
    width = max(one.width for one in drawn)
    y, body = 0.0, ""
    for i, one in enumerate(drawn):
        if i:
            body += _arrow(width / 2, y, width / 2, y + _GAP)
            y += _GAP
        body += _moved(one, (width - one.width) / 2, y)
        y += one.height
    return _Drawn(width, y, body)


def _beside(drawn: Sequence[_Drawn]) -> _Drawn:
    """Side by side; all start at the top, and their ends are joined at the bottom."""
    width = sum(one.width for one in drawn) + 24 * (len(drawn) - 1)
    height, x, body = max(one.height for one in drawn) + 34, 0.0, ""
    for one in drawn:
        body += _moved(one, x, 0)
        body += _arrow(x + one.width / 2, one.height, width / 2, height)
        x += one.width + 24
    return _Drawn(width, height, body)


def _framed(inside: _Drawn, name: str, costs: Costs, times: int) -> _Drawn:
    many = f"{times} × " if times > 1 else ""
    width = max(inside.width + 36, 8 * len(many + name) + 6.4 * len(_note(costs)) + 48)
    height = inside.height + 58
    frame = (
        f'<rect width="{width:.0f}" height="{height:.0f}" rx="12" fill="#fafbfc" '
        f'stroke="{_FAINT}" stroke-dasharray="4 4"/>'
    )
    label = _text(12, 20, many + name, size=12, anchor="start", weight=600)
    label += _text(width - 12, 20, _note(costs), size=11, anchor="end", fill=_FAINT)
    return _Drawn(width, height, frame + label + _moved(inside, (width - inside.width) / 2, 36))


def _residual(inside: list[tuple[str, Network, Shape]]) -> _Drawn:
    """The body, and beside it the line of what is added to it, through the shortcut's words."""
    networks = {name or "body": (part, of) for name, part, of in inside}
    body = _sequence(_boxes(*networks["body"]))
    middle, end = body.width / 2, body.height + 44
    side = body.width + 34
    back = words_of(networks["shortcut"][0]) if "shortcut" in networks else ""
    drawing = _moved(body, 0, 18)
    drawing += f'<path d="M{middle:.0f} 0V18" stroke="{_FAINT}" fill="none"/>'
    drawing += (
        f'<path d="M{middle:.0f} 4H{side - 10:.0f}Q{side:.0f} 4 {side:.0f} 14V{end - 10:.0f}'
        f'Q{side:.0f} {end:.0f} {side - 10:.0f} {end:.0f}H{middle + 11:.0f}" stroke="{_FAINT}" '
        'fill="none" marker-end="url(#tip)"/>'
    )
    drawing += _arrow(middle, body.height + 18, middle, end - 10) + _sum(middle, end)
    if back:
        drawing += _text(side + 6, end / 2, back, size=11, fill=_FAINT, anchor="start")
    # the middle of the drawing stays the middle of the body: room on both sides
    room = 34 + (6.4 * len(back) if back else 8)
    return _Drawn(body.width + 2 * room, end + 10, _moved(_Drawn(0, 0, drawing), room, 0))


def _chain(layer: Chain, shape: Shape) -> _Drawn:
    """One frame for each cell."""
    found = [shape]
    drawn: list[_Drawn] = []
    for i, cell in enumerate(layer.cells):
        start = len(found) - len(cell.inputs)
        inputs = {name: found[max(0, start + j)] for j, name in enumerate(cell.inputs)}
        costs: list[Costs] = []

        def add(name: str, part: Network, of: Shape, costs: list[Costs] = costs) -> Shape:
            costs.append(cost_of(part, of, name))
            return costs[-1].shape

        found.append(cell.assemble_from(inputs, add))
        total = Costs(found[-1], sum(one.parameters for one in costs), 0, 0)
        drawn.append(_framed(_graph(cell, inputs), f"Cell {i}", total, 1))
    return _sequence(drawn)


def _graph(graph: Graph, inputs: Mapping[str, Shape]) -> _Drawn:
    """Nodes under each other, edges as arcs on both sides: the longer, the further out."""
    live = graph.live()
    used = [name for name in inputs if any(name in sources for sources in live.values())]
    names = {name: _node(graph, name) for name in [*used, *live]}
    place = {name: i for i, name in enumerate(names)}
    pills = [_pill(text) for text in names.values()]
    wide = max(pill.width for pill in pills) / 2
    edges = [
        (place[source], place[name], words_of(graph.nodes[name].inputs[source]))
        for name, sources in live.items()
        for source in sources
    ]
    reach = max((_reach(wide, *edge) for edge in edges), default=wide)
    body = ""
    for start, end, text in edges:
        ends = (pills[start].width / 2, pills[end].width / 2)
        body += _edge(start, end, reach, _out(start, end, wide), ends, text)
    for i, pill in enumerate(pills):
        body += _moved(pill, reach - pill.width / 2, i * _STEP)
    return _Drawn(2 * reach, (len(place) - 1) * _STEP + 26, body)


def _node(graph: Graph, name: str) -> str:
    """The node's name, and what it does to what comes together in it."""
    then = words_of(graph.nodes[name].then) if name in graph.nodes else "Skip"
    joined = "concat" if name in graph.nodes and graph.nodes[name].combine == "concat" else ""
    return " ".join(word for word in (name, joined, "" if then == "Skip" else then) if word)


def _out(start: int, end: int, wide: float) -> float:
    """How far an arc reaches from the middle; neighbours are joined by a straight line."""
    return 0.0 if end - start == 1 else wide + 26 + 30 * (end - start - 2)


def _reach(wide: float, start: int, end: int, text: str) -> float:
    label = 0 if text == "Skip" else 6.3 * len(text) + 14
    return max(wide, _out(start, end, wide) + label) + 6


def _edge(
    start: int, end: int, middle: float, out: float, ends: tuple[float, float], text: str
) -> str:
    """An arc to the right of nodes of even place, to the left of odd ones, with its operation."""
    side = 1 if start % 2 == 0 else -1
    top, bottom = start * _STEP + 13, end * _STEP + 13
    if out:
        x, to, far = (middle + side * reach for reach in (*ends, out))
        bend = 18 * side
        path = (
            f'<path d="M{x:.0f} {top}H{far - bend:.0f}Q{far:.0f} {top} {far:.0f} {top + 18}'
            f'V{bottom - 18}Q{far:.0f} {bottom} {far - bend:.0f} {bottom}H{to:.0f}"'
            f' stroke="{_FAINT}" fill="none" marker-end="url(#tip)"/>'
        )
    else:
        path = _arrow(middle, top + 13, middle, bottom - 13)
    if text == "Skip":
        return path
    anchor = "start" if side > 0 else "end"
    return path + _text(
        middle + side * (out + 7), (top + bottom) / 2 + 4, text, size=11, anchor=anchor, halo=True
    )


def _arrow(x0: float, y0: float, x1: float, y1: float) -> str:
    return (
        f'<line x1="{x0:.0f}" y1="{y0:.0f}" x2="{x1:.0f}" y2="{y1:.0f}" stroke="{_FAINT}" '
        'marker-end="url(#tip)"/>'
    )


def _sum(x: float, y: float) -> str:
    circle = f'<circle cx="{x:.0f}" cy="{y:.0f}" r="10" fill="#ffffff" stroke="{_INK}"/>'
    return circle + _text(x, y + 4, "+", size=14)


def _moved(drawn: _Drawn, x: float, y: float) -> str:
    return f'<g transform="translate({x:.1f} {y:.1f})">{drawn.svg}</g>\n'


def _text(
    x: float, y: float, text: str, *, size: int, anchor: str = "middle", fill: str = _INK,
    weight: int = 400, halo: bool = False,
) -> str:  # fmt: skip
    common = f'x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}" font-size="{size}"'
    common += f' font-weight="{weight}"'
    under = (
        f'<text {common} stroke="#fafbfc" stroke-width="4">{escape(text)}</text>' if halo else ""
    )
    return f'{under}<text {common} fill="{fill}">{escape(text)}</text>'


def _size(shape: Shape) -> str:
    return " × ".join(map(str, shape))
