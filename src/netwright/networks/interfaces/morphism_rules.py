"""Weight-inheritance rules that layers share.

Net2DeeperNet (1511.05641, section 2.3) inserts an identity; network morphism (Wei et al. 2016,
1603.01670) does so wherever an identity can be written as weights. Here a block with a skip starts
with output 0, as with the zeroed last scale of Goyal et al. 2017 (1706.02677, section 5.1); a
convolution or dense layer starts as the identity.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from netwright.networks.interfaces.channel_map import NEW, ChannelMap, all_new
from netwright.networks.interfaces.layer import (
    BuiltNetwork,
    Layer,
    Morphism,
    Network,
    ZeroInitLayer,
)
from netwright.networks.interfaces.shapes import Shape, n_channels
from netwright.networks.interfaces.transfer import Transfer

_ZERO_INIT_BIAS_BEFORE_RELU = 1e-7
"""Initial bias of a zero-initialised layer before ReLU; at exactly 0 no gradient would pass."""


# Layer's properties for sequences


def layers_of(built: BuiltNetwork) -> list[BuiltNetwork]:
    """Return the items of a sequence; a layer is a sequence of one."""
    return [*built.parts.values()] if isinstance(built.network, tuple) else [built]


def is_identity(network: Network, *, nonnegative_input: bool) -> bool:
    """`Layer.is_identity`, also for sequences."""
    if isinstance(network, tuple):
        return all(is_identity(layer, nonnegative_input=nonnegative_input) for layer in network)
    return network.is_identity(nonnegative_input=nonnegative_input)


def maps_zero_to_zero(network: Network) -> bool:
    """`Layer.maps_zero_to_zero`, also for sequences."""
    if isinstance(network, tuple):
        return is_identity(network, nonnegative_input=False)
    return network.maps_zero_to_zero()


def is_nonnegative(built: BuiltNetwork, *, nonnegative_input: bool) -> bool:
    """`Layer.is_nonnegative`, also for sequences."""
    if isinstance(built.network, tuple):
        for layer in layers_of(built):
            nonnegative_input = is_nonnegative(layer, nonnegative_input=nonnegative_input)
        return nonnegative_input
    return built.network.is_nonnegative(built, nonnegative_input=nonnegative_input)


def layers_to_zero(built: BuiltNetwork, *, before_relu: bool = False) -> list[ZeroInitLayer] | None:
    """`Layer.layers_to_zero`, also for sequences: of the last layer that does not map 0 to 0."""
    network = built.network
    if not isinstance(network, tuple):
        return network.layers_to_zero(built, before_relu=before_relu)
    for layer in reversed(layers_of(built)):
        if not maps_zero_to_zero(layer.network):
            return layers_to_zero(layer, before_relu=before_relu)
        before_relu = before_relu or (isinstance(layer.network, Layer) and layer.network.has_kink)
    return None


def all_layers_to_zero(
    networks: Iterable[BuiltNetwork], *, before_relu: bool
) -> list[ZeroInitLayer] | None:
    """Return the `layers_to_zero` of all networks; None if one has none."""
    layers_by_network = [layers_to_zero(built, before_relu=before_relu) for built in networks]
    if None in layers_by_network:
        return None
    return [layer for layers in layers_by_network for layer in layers or ()]


def zero_init(layers: Sequence[ZeroInitLayer]) -> None:
    """Zero the last scale in place, or the last weights if nothing scales."""
    for built, before_relu in layers:
        assert isinstance(built.network, Layer)
        module = built.network.module_to_zero(built)
        nn.init.zeros_(module.get_parameter("weight"))
        if getattr(module, "bias", None) is None:
            assert not before_relu  # no gradient would pass
            continue
        bias = _ZERO_INIT_BIAS_BEFORE_RELU if before_relu else 0.0
        nn.init.constant_(module.get_parameter("bias"), bias)


# Steps of the walk that many layers take


def start_afresh(
    transfer: Transfer,
    parent: BuiltNetwork,
    child: BuiltNetwork,
    input_map: ChannelMap,
    target_map: ChannelMap | None,
) -> ChannelMap:
    """Keep the initial weights of a layer of another kind; what follows it still inherits."""
    parent_name, child_name = (type(built.network).__name__ for built in (parent, child))
    if parent_name == child_name:
        parent_name, child_name = (repr(built.network) for built in (parent, child))
    transfer.record_change(
        child.position, f"{child_name} instead of {parent_name} starts with new weights"
    )
    return transfer.propagate(input_map, parent.output_shape, child.output_shape, target_map)


def inherit_channels(
    self: Layer,
    morphism: Morphism,
    parent: BuiltNetwork,
    child: BuiltNetwork,
    input_map: ChannelMap,
    target_map: ChannelMap | None,
) -> ChannelMap:
    """`Layer.inherit` of a layer without weights that works channel by channel.

    Other settings than the parent's change the function, unless both layers are the identity.
    """
    both_identity = all(
        is_identity(built.network, nonnegative_input=input_map.nonnegative)
        for built in (parent, child)
    )
    if parent.network != child.network and not both_identity:
        replaced = f"{child.network!r} instead of {parent.network!r}"
        morphism.transfer.record_change(child.position, replaced)
    return morphism.transfer.propagate(input_map, parent.output_shape, child.output_shape)


def insert_block(
    morphism: Morphism, child: BuiltNetwork, input_map: ChannelMap, target_map: ChannelMap | None
) -> ChannelMap | None:
    """`Layer.start_as_identity` of a block with a skip: zero its body, so that the skip remains."""
    body_layers = layers_to_zero(child.parts["body"])
    shortcut = child.parts.get("shortcut")
    if body_layers is None:
        return None
    skip_map: ChannelMap | None = input_map
    if shortcut:
        assert isinstance(shortcut.network, Layer)
        skip_map = shortcut.network.start_as_identity(morphism, shortcut, input_map, target_map)
    zero_init(body_layers if skip_map else [])
    return skip_map


def map_of_sum(
    summands: Sequence[ChannelMap], parent_shape: Shape, child_shape: Shape
) -> ChannelMap:
    """Return the map of a sum: a channel has an origin if it is the same in all summands."""
    widths = n_channels(parent_shape), n_channels(child_shape)
    if not all(summand.has_widths(*widths) for summand in summands):
        return all_new(parent_shape, child_shape)
    origin = summands[0].origin
    for summand in summands:
        origin = torch.where(summand.origin == origin, origin, NEW)
    nonnegative = all(summand.nonnegative for summand in summands)
    return ChannelMap(parent_shape, child_shape, origin, nonnegative)


# Normalisations that start as the identity


def set_identity_norm(norm: nn.Module, mean: Tensor, variance: Tensor) -> None:
    """Make a batch normalisation the identity in evaluation mode, in place.

    With the (channels,) mean and variance of its actual input it is nearly so in training mode too.
    """
    assert isinstance(norm, nn.modules.batchnorm._BatchNorm)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    norm.running_mean.copy_(mean)
    norm.running_var.copy_(variance)
    norm.weight.copy_((variance + norm.eps).sqrt())
    norm.bias.copy_(mean)


@torch.no_grad()
def calibrate_identity_norms(module: nn.Module, norms: Sequence[nn.Module], rows: Tensor) -> None:
    """Give identity normalisations the statistics of their inputs for `rows` (n, ...).

    They are then nearly the identity in training mode, where each batch has its own statistics.
    """

    def set_statistics(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        x = inputs[0].transpose(0, 1).flatten(1)  # (channels, positions)
        set_identity_norm(norm, x.mean(1), x.var(1, correction=0))

    handles = [norm.register_forward_pre_hook(set_statistics) for norm in norms]
    module.eval()(rows)
    for handle in handles:
        handle.remove()
