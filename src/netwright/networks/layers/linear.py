"""A dense layer, also the head of a network."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from netwright.errors import InfeasibleCandidate
from netwright.networks.interfaces.channel_map import ChannelMap
from netwright.networks.interfaces.layer import BuiltNetwork, Given, Morphism
from netwright.networks.interfaces.shapes import Shape, width
from netwright.networks.interfaces.transfer import importance_of, set_weights
from netwright.networks.layers.activations import (
    ActivationName,
    NormName,
    activation,
    normalisation,
)
from netwright.networks.layers.checks import whole
from netwright.networks.layers.weighted_leaf import (
    ScaledLeaf,
    hands_on,
    identity_weights,
    inherit_scale,
    last_scale,
)

OUTPUTS = Given("outputs")


@dataclass(frozen=True)
class Linear(ScaledLeaf):
    """A dense layer on the last axis, with normalisation and activation after it.

    Without `features` it is the head: as many as the task has outputs.
    """

    features: int | Given = OUTPUTS
    normalisation: NormName = "none"
    activation: ActivationName = "none"

    def build(self, shape: Shape) -> nn.Module:
        features = whole(self.features)
        if len(shape) == 3:
            raise InfeasibleCandidate(
                "a Linear layer takes columns or sequences, got images. Put GlobalPool() or "
                "Flatten() before it."
            )
        module = nn.Sequential()
        module.add_module("linear", nn.Linear(shape[-1], features))
        module.add_module("norm", normalisation(self.normalisation, (*shape[:-1], features)))
        module.add_module("act", activation(self.activation))
        return module

    # Weights from a parent

    def last_module(self, part: BuiltNetwork) -> nn.Module:
        return last_scale(part, "linear")

    def inherit(
        self,
        walk: Morphism,
        old: BuiltNetwork,
        new: BuiltNetwork,
        flow: ChannelMap,
        wanted: ChannelMap | None,
    ) -> ChannelMap:
        transfer = walk.transfer
        ours, theirs = (part.submodule("linear", nn.Linear) for part in (old, new))
        kernel = ours.weight[:, :, None, None]
        importance = importance_of(old.module, kernel)
        out = transfer.choose_origins(
            ours.out_features, theirs.out_features, importance, flow, wanted
        )
        out = set_weights(transfer, new.position, flow, theirs, kernel, 1, out, ours.bias)
        return inherit_scale(transfer, old, new, out)

    def start_as_identity(
        self, walk: Morphism, new: BuiltNetwork, flow: ChannelMap, wanted: ChannelMap | None
    ) -> ChannelMap | None:
        if not hands_on(self.normalisation, self.activation, flow):
            return None
        linear, taken = new.submodule("linear", nn.Linear), walk.transfer.inherited_params
        kernel = torch.ones(width(flow.parent_shape), 1, 1, 1)  # each channel reads itself
        return identity_weights(walk.transfer, new, linear, kernel, (flow, flow, wanted), taken)
