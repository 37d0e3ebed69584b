"""Match networks with their modules, and the layers of a child with those of its parent."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from netwright.networks.build import CompositeModule, as_composite, infer_output_shape
from netwright.networks.interfaces.layer import BuiltNetwork, Leaf, Network
from netwright.networks.interfaces.morphism_rules import layers_of
from netwright.networks.interfaces.shapes import Shape


def match_modules(
    network: Network, module: nn.Module, shape: Shape, position: str = ""
) -> BuiltNetwork:
    """Match the parts of a resolved network with those of the module that was built from it."""
    parts: dict[str, BuiltNetwork] = {}

    def add(name: str, part_network: Network, part_shape: Shape) -> Shape:
        owner = module.parts if isinstance(module, CompositeModule) else module
        part_position = f"{position}.{name}" if position else name
        parts[name] = match_modules(
            part_network, owner.get_submodule(name), part_shape, part_position
        )
        return parts[name].output_shape

    output_shape = shape
    if isinstance(network, tuple):
        for i, layer in enumerate(network):
            output_shape = add(str(i), layer, output_shape)
    elif isinstance(network, Leaf):
        output_shape = infer_output_shape(network, shape, position)
    else:
        output_shape = as_composite(network, position).assemble(shape, add)
    return BuiltNetwork(network, module, shape, output_shape, position, parts)


def align_sequences(
    parent: BuiltNetwork, child: BuiltNetwork
) -> list[tuple[BuiltNetwork | None, BuiltNetwork | None]]:
    """Pair the layers of two sequences: equal ones from both ends, those between by index.

    None marks a missing counterpart.
    """
    parents, children = layers_of(parent), layers_of(child)
    n_prefix = _common_prefix(parents, children)
    n_suffix = _common_prefix(parents[n_prefix:][::-1], children[n_prefix:][::-1])
    parent_end, child_end = len(parents) - n_suffix, len(children) - n_suffix
    middle: list[tuple[BuiltNetwork | None, BuiltNetwork | None]] = [
        (parents[i] if i < parent_end else None, children[i] if i < child_end else None)
        for i in range(n_prefix, max(parent_end, child_end))
    ]
    return [
        *zip(parents[:n_prefix], children[:n_prefix], strict=True),
        *middle,
        *zip(parents[parent_end:], children[child_end:], strict=True),
    ]


def _common_prefix(parents: Sequence[BuiltNetwork], children: Sequence[BuiltNetwork]) -> int:
    """Return how many layers are equal from the front."""
    pairs = zip(parents, children, strict=False)
    return next(
        (i for i, (parent, child) in enumerate(pairs) if parent.network != child.network),
        min(len(parents), len(children)),
    )
