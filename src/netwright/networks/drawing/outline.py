"""A network as the rows of a readable tree, with shapes and costs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, fields
from itertools import groupby

from netwright.networks.build import resolve
from netwright.networks.costs import cost_of
from netwright.networks.interfaces.layer import Composite, Layer, Network
from netwright.networks.interfaces.shapes import Shape
from netwright.networks.layers.graph import Chain, Graph

_UNNAMED_FIELDS = ("channels", "features", "heads", "size", "p", "kind")
"""Fields whose value is clear without their name."""
_ALWAYS_SHOWN_FIELDS = ("channels", "features")
"""Fields that are shown even if they have their default."""


@dataclass(frozen=True)
class OutlineRow:
    """A row of the tree: equal layers in a sequence, with the costs of one of them.

    Args:
        position: As in the errors of `build`: ``"1.body.0"``, or ``"2-4"`` for several layers.
        text: The layer with its settings.
        depth: Nesting, from 0.
        shape: Of the output, without the batch.
        parameters: Of one layer.
        flops: Of one layer.
        times: How many equal layers the row stands for.
    """

    position: str
    text: str
    depth: int
    shape: Shape
    parameters: int
    flops: int
    times: int = 1


def outline(network: Network, input_shape: Shape, **given: object) -> list[OutlineRow]:
    """Return the tree of a filled network, with shapes and costs.

    Layers made of other layers are followed by these, one deeper; equal layers in a sequence share
    a row.

    Args:
        network: A filled network, as for `build`.
        input_shape: Of a row, without the batch.
        **given: As for `build`.

    Raises:
        InfeasibleCandidate: A layer cannot take its input.
        SpaceError: A choice is still open.

    Example:
        >>> for row in outline((Conv(16), GlobalPool(), Linear()), (3, 32, 32), outputs=10):
        ...     print("  " * row.depth + row.text, row.shape, row.parameters)
        Conv 16 (16, 32, 32) 464
        GlobalPool (16,) 0
        Linear 10 (10,) 170
    """
    rows = _rows(resolve(network, given), input_shape, "", 0)
    folded = []
    for _, equal_rows in groupby(rows, key=lambda row: (row.text, row.depth, row.shape, row.flops)):
        run = list(equal_rows)
        first, last_index = run[0], run[-1].position.rpartition(".")[2]
        position = first.position if len(run) == 1 else f"{first.position}-{last_index}"
        costs = (first.parameters, first.flops)
        folded.append(
            OutlineRow(position, first.text, first.depth, run[-1].shape, *costs, len(run))
        )
    return folded


def _rows(network: Network, shape: Shape, position: str, depth: int) -> Iterator[OutlineRow]:
    for layer_position, layer, input_shape in flatten_sequence(network, shape, position):
        costs = cost_of(layer, input_shape, layer_position)
        yield OutlineRow(
            layer_position, describe_layer(layer), depth, costs.shape, costs.parameters, costs.flops
        )
        for name, part, part_shape in named_parts(layer, input_shape):
            part_depth = depth + 1
            if name:
                costs = cost_of(part, part_shape, layer_position)
                yield OutlineRow("", name, part_depth, costs.shape, costs.parameters, costs.flops)
                part_depth += 1
            yield from (
                OutlineRow("", row.text, row.depth, row.shape, row.parameters, row.flops)
                for row in _rows(part, part_shape, "", part_depth)
            )


def flatten_sequence(
    network: Network, shape: Shape, position: str
) -> Iterator[tuple[str, Layer, Shape]]:
    """Yield position, layer and input shape of each layer of nested sequences."""
    if isinstance(network, tuple):
        for i, layer in enumerate(network):
            yield from flatten_sequence(layer, shape, f"{position}.{i}" if position else str(i))
            shape = cost_of(layer, shape, position).shape
    else:
        yield position, network, shape


def named_parts(layer: Layer, shape: Shape) -> list[tuple[str, Network, Shape]]:
    """Return name, network and input shape of the parts of a composite with networks as fields.

    The name is empty if there is one part only, and says how often the part runs if more than once.
    """
    if not isinstance(layer, Composite) or not any(
        _holds_networks(getattr(layer, field.name))
        for field in fields(layer)  # type: ignore[arg-type]  # layers are dataclasses
    ):
        return []
    parts: list[tuple[str, Network, Shape]] = []

    def add(name: str, part: Network, part_shape: Shape) -> Shape:
        n_calls = layer.calls_per_row(name, shape)
        parts.append((f"{n_calls} × {name}" if n_calls > 1 else name, part, part_shape))
        return cost_of(part, part_shape, name).shape

    layer.assemble(shape, add)
    if isinstance(layer, Graph | Chain):  # the `then` of nodes only if it does something
        return [
            (name, part, part_shape)
            for name, part, part_shape in parts
            if "<" in name or describe(part) != "Skip"
        ]
    if len(parts) > 1 or any(" × " in name for name, _, _ in parts):
        return parts
    return [("", part, part_shape) for _, part, part_shape in parts]


def _holds_networks(setting: object) -> bool:
    return isinstance(setting, Layer | Mapping) or (
        isinstance(setting, tuple)
        and any(isinstance(element, Layer | tuple) for element in setting)
    )


def describe(network: Network) -> str:
    """Describe a network in one line: ``Conv 16, 2 × MBConv``.

    Activations and normalisations of sequences are left out: most edges of cells have them.
    """
    if not isinstance(network, tuple):
        return describe_layer(network).replace(" no activation", "").rstrip(",")
    runs = [(text, len(list(equal))) for text, equal in groupby(map(describe, network))]
    texts = [
        f"{n} × {text}" if n > 1 else text for text, n in runs if text not in ("Activation", "Norm")
    ]
    return ", ".join(texts)


def describe_layer(layer: Layer) -> str:
    """Describe a layer by the settings that are not defaults: ``Conv 32, kernel 5, silu``."""
    settings = []
    for field in fields(layer):  # type: ignore[arg-type]  # layers are dataclasses
        setting = getattr(layer, field.name)
        default = field.default if field.default is not MISSING else None
        is_default = setting == default and field.name not in _ALWAYS_SHOWN_FIELDS
        if _holds_networks(setting) or is_default:
            continue
        if isinstance(setting, tuple) or setting == 0 or setting is False:
            continue
        if setting is True:
            settings.append(field.name)
        elif setting == "none":
            settings.append(f"no {field.name}")
        elif field.name in _UNNAMED_FIELDS or isinstance(setting, str):
            settings.append(_short(setting))
        else:
            settings.append(f"{field.name} {_short(setting)}")
    name = type(layer).__name__
    return f"{name} {', '.join(settings)}" if settings else name


def _short(setting: object) -> str:
    return f"{setting:.3g}" if isinstance(setting, float) else str(setting)
