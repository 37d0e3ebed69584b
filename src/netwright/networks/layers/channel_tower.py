"""A network that is applied to each channel of an image by itself, with shared weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from netwright.errors import InfeasibleCandidate, expected
from netwright.networks.interfaces.channel_map import (
    ChannelMap,
    all_new,
    identity_map,
    shift_origins,
)
from netwright.networks.interfaces.layer import (
    AddPart,
    BuiltNetwork,
    Composite,
    Morphism,
    Network,
)
from netwright.networks.interfaces.morphism_rules import is_nonnegative, start_afresh
from netwright.networks.interfaces.shapes import Shape
from netwright.networks.layers.activations import ActivationName
from netwright.networks.layers.checks import check_images
from netwright.networks.layers.linear import Linear

CombineName = Literal["sum", "product", "sum_product", "concat"]


@dataclass(frozen=True)
class ChannelTower(Composite):
    """The same network for each channel of images (c, h, w), and their features combined.

    For channels that are images of the same kind, each with its own content. With "sum", "product"
    and "sum_product" the order of the channels does not matter (Deep Sets; Zaheer et al. 2017,
    1703.06114): any such function is a function of a sum of features, but only with a hidden layer
    after it. A linear head directly after the sum can only add what each channel says.

    The "product" is that of unit complex numbers exp(i f), one for each feature f: its real and
    imaginary part are the cosine and the sine of the sum of f. A product of real factors vanishes
    or explodes exponentially in the number of channels, and the logarithm of positive factors is
    a sum again; this one has absolute value 1, and derivatives of at most 1, for any number. A
    channel with f = 0 changes nothing. Signs (f = 0 or pi) multiply to parities, and phases that
    are multiples of 2 pi / n add up modulo n, which layers of ReLU after a sum learn badly.

    Args:
        body: A network from (1, h, w) to a vector (features,); its normalisations see the channels
            of all rows as one batch.
        combine: "sum" (features,) of the channels' features, their "product" (2 features,), both
            of them as "sum_product" (3 features,), or "concat" (c features,) in the channels' order.
        hidden: Features of a dense layer with batch normalisation after that; 0 for none.
        activation: Of this layer: a name in `ACTIVATIONS`, or "none".

    Example:
        >>> digit = (Conv(24), Conv(48, stride=2), GlobalPool())
        >>> costs((ChannelTower(digit, hidden=64), Linear()), (3, 28, 28), outputs=10).shape
        (10,)
    """

    body: Network
    combine: CombineName = "sum"
    hidden: int = 128
    activation: ActivationName = "relu"

    def assemble(self, shape: Shape, add: AddPart) -> Shape:
        check_images(shape)
        if self.combine not in get_args(CombineName):
            rule = "sum, product, sum_product or concat"
            raise InfeasibleCandidate(expected("combine", rule, self.combine))
        if self.hidden < 0:
            raise InfeasibleCandidate(expected("hidden", "at least 0", self.hidden))
        features = add("body", self.body, (1, *shape[1:]))
        if len(features) != 1:
            fix = "Put GlobalPool() or Flatten() at its end."
            raise InfeasibleCandidate(
                expected("output of the body", "a vector (features,)", features, fix)
            )
        combined = (features[0] * self._copies(shape[0]),)
        if not self.hidden:
            return combined
        return add("hidden", Linear(self.hidden, "batch", self.activation), combined)

    def run(self, parts: nn.ModuleDict, x: Tensor) -> Tensor:
        channels = x.shape[1]
        features = parts["body"](x.flatten(0, 1).unsqueeze(1))  # (batch c, features)
        combined = self._combine(features.unflatten(0, (-1, channels)))
        return parts["hidden"](combined) if "hidden" in parts else combined

    def _combine(self, features: Tensor) -> Tensor:
        """Combine (batch, c, features) over the channels."""
        if self.combine == "concat":
            return features.flatten(1)
        total = features.sum(1)
        sums = [] if self.combine == "product" else [total]
        products = [] if self.combine == "sum" else [total.cos(), total.sin()]
        return torch.cat([*sums, *products], 1)

    def _copies(self, channels: int) -> int:
        """Return how many outputs each feature has after the channels are combined."""
        return {"sum": 1, "product": 2, "sum_product": 3, "concat": channels}[self.combine]

    def calls_per_row(self, name: str, shape: Shape) -> int:
        """As `Composite.calls_per_row`: the body runs once for each channel."""
        return shape[0] if name == "body" else 1

    # Weight inheritance

    def is_nonnegative(self, built: BuiltNetwork, *, nonnegative_input: bool) -> bool:
        if "hidden" in built.parts:
            return is_nonnegative(built.parts["hidden"], nonnegative_input=False)
        return "product" not in self.combine and is_nonnegative(
            built.parts["body"], nonnegative_input=nonnegative_input
        )

    def inherit(
        self,
        morphism: Morphism,
        parent: BuiltNetwork,
        child: BuiltNetwork,
        input_map: ChannelMap,
        target_map: ChannelMap | None,
    ) -> ChannelMap:
        """Inherit the body if the channels are the parent's, and the hidden layer after it."""
        transfer, parent_layer = morphism.transfer, parent.network
        assert isinstance(parent_layer, ChannelTower)
        if not input_map.is_identity:
            return start_afresh(transfer, parent, child, input_map, target_map)
        if parent_layer.combine != self.combine:
            replaced = f"combine {self.combine} instead of {parent_layer.combine}"
            transfer.record_change(child.position, replaced)
        parent_body, child_body = parent.parts["body"], child.parts["body"]
        body_input = identity_map(parent_body.input_shape, child_body.input_shape)
        body_map = morphism.inherit(parent_body, child_body, body_input)
        combined = self._combined_map(body_map, parent_layer, parent.input_shape[0])
        hidden = [(parent.parts.get("hidden"), child.parts.get("hidden"))]
        return morphism.inherit_sequence(hidden, combined, target_map)

    def _combined_map(
        self, body_map: ChannelMap, parent_layer: ChannelTower, channels: int
    ) -> ChannelMap:
        """Return the map of the combined features from that of the body's."""
        (n_parent,), (n_child,) = body_map.parent_shape, body_map.child_shape
        copies = self._copies(channels)
        shapes = (n_parent * parent_layer._copies(channels),), (n_child * copies,)
        if parent_layer.combine != self.combine:
            return all_new(*shapes)
        origin = torch.cat([shift_origins(body_map.origin, i * n_parent) for i in range(copies)])
        return ChannelMap(*shapes, origin, body_map.nonnegative and "product" not in self.combine)
