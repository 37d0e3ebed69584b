"""Dense layer, also the head of a network."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from netwright.errors import InfeasibleCandidate
from netwright.networks.interfaces.channel_map import ChannelMap
from netwright.networks.interfaces.layer import BuiltNetwork, Given, Morphism
from netwright.networks.interfaces.shapes import Shape, n_channels
from netwright.networks.interfaces.transfer import channel_importance, set_weights
from netwright.networks.layers.activations import (
    ActivationName,
    NormName,
    make_activation,
    make_norm,
)
from netwright.networks.layers.checks import require_given
from netwright.networks.layers.weighted_leaf import (
    WeightedLeaf,
    can_be_identity,
    inherit_norm_and_activation,
    last_weighted_module,
    set_identity_weights,
)

OUTPUTS = Given("outputs")
"""Number of the task's outputs: classes, or 1 for regression."""


@dataclass(frozen=True)
class Linear(WeightedLeaf):
    """A dense layer on the last axis, then normalisation and activation.

    Args:
        features: Outputs; by default as many as the task has, so that the layer is the head.
        normalisation: "batch", "layer", "group" or "none".
        activation: A name in `ACTIVATIONS`, or "none".

    Example:
        >>> network = (Linear(64, activation="relu"), Linear())
        >>> module = build(network, (10,), outputs=3)
    """

    features: int | Given = OUTPUTS
    normalisation: NormName = "none"
    activation: ActivationName = "none"

    def build(self, shape: Shape) -> nn.Module:
        features = require_given(self.features)
        if len(shape) == 3:
            raise InfeasibleCandidate(
                "a Linear layer takes columns or sequences, got images. Put GlobalPool() or "
                "Flatten() before it."
            )
        module = nn.Sequential()
        module.add_module("linear", nn.Linear(shape[-1], features))
        module.add_module("norm", make_norm(self.normalisation, (*shape[:-1], features)))
        module.add_module("act", make_activation(self.activation))
        return module

    # Weight inheritance

    def module_to_zero(self, built: BuiltNetwork) -> nn.Module:
        return last_weighted_module(built, "linear")

    def inherit(
        self,
        morphism: Morphism,
        parent: BuiltNetwork,
        child: BuiltNetwork,
        input_map: ChannelMap,
        target_map: ChannelMap | None,
    ) -> ChannelMap:
        transfer = morphism.transfer
        parent_linear, child_linear = (
            built.submodule("linear", nn.Linear) for built in (parent, child)
        )
        kernel = parent_linear.weight[:, :, None, None]
        origin = transfer.choose_origins(
            parent_linear.out_features,
            child_linear.out_features,
            channel_importance(parent.module, kernel),
            input_map,
            target_map,
        )
        origin = set_weights(
            transfer, child.position, input_map, child_linear, kernel, 1, origin, parent_linear.bias
        )
        return inherit_norm_and_activation(transfer, parent, child, origin)

    def start_as_identity(
        self,
        morphism: Morphism,
        child: BuiltNetwork,
        input_map: ChannelMap,
        target_map: ChannelMap | None,
    ) -> ChannelMap | None:
        if not can_be_identity(self.normalisation, self.activation, input_map):
            return None
        transfer = morphism.transfer
        return set_identity_weights(
            transfer,
            child,
            child.submodule("linear", nn.Linear),
            torch.ones(n_channels(input_map.parent_shape), 1, 1, 1),  # each channel reads itself
            layer_input=input_map,
            weights_input=input_map,
            target_map=target_map,
            inherited_params=transfer.inherited_params,
        )
