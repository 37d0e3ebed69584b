"""Base of layers of weights followed by a normalisation and an activation, and its inheritance."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from netwright.networks.interfaces.channel_map import ChannelMap
from netwright.networks.interfaces.layer import BuiltNetwork, Leaf, ZeroInitLayer
from netwright.networks.interfaces.morphism_rules import set_identity_norm
from netwright.networks.interfaces.shapes import n_channels
from netwright.networks.interfaces.transfer import Transfer, set_norm, set_weights
from netwright.networks.layers.activations import (
    ActivationName,
    NormName,
    has_kink,
    preserves_nonnegative,
)
from netwright.networks.sequence_norm import unwrap_norm


class WeightedLeaf(Leaf):
    """A layer of weights, then a normalisation, then an activation."""

    activation: ActivationName
    normalisation: NormName

    @property
    def has_kink(self) -> bool:
        return has_kink(self.activation)

    def is_nonnegative(self, built: BuiltNetwork, *, nonnegative_input: bool) -> bool:
        return self.activation == "relu"

    def layers_to_zero(
        self, built: BuiltNetwork, *, before_relu: bool
    ) -> list[ZeroInitLayer] | None:
        if self.normalisation == "batch_bias":  # divides by the deviation: weights of 0 explode
            return None
        return [ZeroInitLayer(built, before_relu or self.has_kink)]


def inherit_norm_and_activation(
    transfer: Transfer, parent: BuiltNetwork, child: BuiltNetwork, origin: Tensor
) -> ChannelMap:
    """Inherit the normalisation after weights whose output channels have these origins."""
    channel_map = ChannelMap(parent.output_shape, child.output_shape, origin)
    parent_norm, child_norm = (built.module.get_submodule("norm") for built in (parent, child))
    set_norm(transfer, child.position, parent_norm, child_norm, channel_map)
    parent_activation, child_activation = (
        getattr(built.network, "activation", "none") for built in (parent, child)
    )
    if parent_activation != child_activation:
        replaced = f"activation {child_activation} instead of {parent_activation}"
        transfer.record_change(child.position, replaced)
    return channel_map


def can_be_identity(normalisation: str, activation: str, input_map: ChannelMap) -> bool:
    """Return whether weights can make a layer with these the identity.

    They cannot before an activation that changes the input, nor before statistics of each row.
    """
    keeps_input = activation == "none" or (
        input_map.nonnegative and preserves_nonnegative(activation)
    )
    has_parent_channels = bool((input_map.origin >= 0).any())
    return has_parent_channels and keeps_input and normalisation in ("none", "batch")


def set_identity_weights(
    transfer: Transfer,
    child: BuiltNetwork,
    last_module: nn.Conv2d | nn.Linear,
    kernel: Tensor,
    *,
    layer_input: ChannelMap,
    weights_input: ChannelMap,
    target_map: ChannelMap | None,
    inherited_params: int,
) -> ChannelMap:
    """Make the last weights of a layer, and the normalisation after them, the identity in place.

    Args:
        transfer: The record of the transfer.
        child: The layer.
        last_module: Its last weights.
        kernel: (channels, 1, k, k) of a depthwise convolution that is the identity.
        layer_input: Channels of the layer's input.
        weights_input: Channels of the input of `last_module`.
        target_map: Channels that the output should have; None if any will do.
        inherited_params: Count to restore: identity weights are not the parent's.
    """
    n_parent = n_channels(layer_input.parent_shape)
    origin = transfer.choose_origins(
        n_parent, n_channels(child.output_shape), torch.ones(n_parent), layer_input, target_map
    )
    origin = set_weights(
        transfer, child.position, weights_input, last_module, kernel, n_parent, origin
    )
    transfer.inherited_params = inherited_params
    norm = unwrap_norm(child.module.get_submodule("norm"))
    if not isinstance(norm, nn.Identity):
        width = n_channels(child.output_shape)
        set_identity_norm(norm, torch.zeros(width), torch.ones(width))
        transfer.identity_norms.append(norm)
    return ChannelMap(layer_input.parent_shape, child.output_shape, origin)


def last_weighted_module(built: BuiltNetwork, *names: str) -> nn.Module:
    """Return the normalisation, or without one the first child module with one of these names."""
    norm = unwrap_norm(built.module.get_submodule("norm"))
    if not isinstance(norm, nn.Identity):
        return norm
    return next(module for name, module in built.module.named_children() if name in names)
