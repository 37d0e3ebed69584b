"""Convolution: images in, images out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import get_args

import torch
from torch import Tensor, nn

from netwright.errors import InfeasibleCandidate, expected
from netwright.networks.interfaces.channel_map import ChannelMap, resized
from netwright.networks.interfaces.layer import BuiltNetwork, Morphism
from netwright.networks.interfaces.morphism_rules import replaced
from netwright.networks.interfaces.shapes import Shape, width
from netwright.networks.interfaces.transfer import Transfer, importance_of, set_weights
from netwright.networks.layers.activations import (
    ACTIVATIONS,
    ActivationName,
    NormName,
    activation,
    normalisation,
)
from netwright.networks.layers.checks import need_images, need_odd, need_positive
from netwright.networks.layers.weighted_leaf import (
    ScaledLeaf,
    hands_on,
    identity_weights,
    inherit_scale,
    last_scale,
)


@dataclass(frozen=True)
class Conv(ScaledLeaf):
    """Convolution, normalisation, activation, on images (c, h, w).

    `channels` 0 keeps the number that comes in. `padding` -1 keeps the size at stride 1 (the
    kernel must then be odd). `separable`: a depthwise convolution, then one of kernel 1
    (1704.04861).
    """

    channels: int = 0
    kernel: int = 3
    stride: int = 1
    padding: int = -1
    dilation: int = 1
    groups: int = 1
    separable: bool = False
    normalisation: NormName = "batch"
    activation: ActivationName = "relu"

    def build(self, shape: Shape) -> nn.Module:
        need_images(shape)
        need_positive(self, "kernel", "stride", "dilation", "groups")
        need_odd(self.kernel, self.padding)
        into, out = shape[0], self.channels or shape[0]
        module = nn.Sequential()
        if self.separable:
            module.add_module("depthwise", self._conv(into, into, self.kernel, into))
            module.add_module("pointwise", nn.Conv2d(into, out, 1, bias=self._bias))
        else:
            module.add_module("conv", self._conv(into, out, self.kernel, self.groups))
        module.add_module("norm", normalisation(self.normalisation, (out, *shape[1:])))
        module.add_module("act", activation(self.activation))
        return module

    def known_shape(self, shape: Shape) -> Shape | None:
        """None for what `build` would refuse: it says why."""
        named = self.activation in ACTIVATIONS and self.normalisation in get_args(NormName)
        if len(shape) != 3 or not named or (self.padding < 0 and self.kernel % 2 == 0):
            return None
        if min(self.kernel, self.stride, self.dilation, self.groups, self.channels + 1) < 1:
            return None
        into, out = shape[0], self.channels or shape[0]
        if not self.separable and (into % self.groups or out % self.groups):
            return None
        reach = self.dilation * (self.kernel - 1)
        padding = reach // 2 if self.padding < 0 else self.padding
        h, w = ((side + 2 * padding - reach - 1) // self.stride + 1 for side in shape[1:])
        return (out, h, w) if min(h, w) >= 1 else None

    @property
    def _bias(self) -> bool:
        """A normalisation that follows has its own shift."""
        return self.normalisation == "none"

    def _conv(self, into: int, out: int, kernel: int, groups: int) -> nn.Conv2d:
        if into % groups or out % groups:
            rule = f"a divisor of the channels {into} and {out}"
            raise InfeasibleCandidate(expected("groups", rule, groups))
        padding = self.dilation * (kernel - 1) // 2 if self.padding < 0 else self.padding
        bias = self._bias and not self.separable
        return nn.Conv2d(into, out, kernel, self.stride, padding, self.dilation, groups, bias)

    # Weights from a parent

    def last_module(self, part: BuiltNetwork) -> nn.Module:
        return last_scale(part, "pointwise", "conv")

    def inherit(
        self,
        walk: Morphism,
        old: BuiltNetwork,
        new: BuiltNetwork,
        flow: ChannelMap,
        wanted: ChannelMap | None,
    ) -> ChannelMap:
        transfer, before = walk.transfer, old.network
        assert isinstance(before, Conv)
        if self.separable and not before.separable:
            return replaced(transfer, old, new, flow, wanted)
        ours, theirs = convolutions(old), convolutions(new)
        first, last = ours[0].weight, theirs[-1]
        if before.separable and not self.separable:
            first = ours[1].weight * first[:, 0]  # both at once: (o, i, k, k)
        kernel, groups = _fitted(transfer, new, ours[0], theirs[0], first), ours[0].groups
        if self.separable:
            of = flow.origin  # each channel is what its own channel was
            into = set_weights(transfer, new.position, flow, theirs[0], kernel, groups, of)
            flow, kernel = replace(flow, origin=into), ours[1].weight
        if before.separable:
            groups = 1
        if last.groups == last.in_channels == last.out_channels > 1 and flow.has_widths(
            width(old.output_shape), width(new.output_shape)
        ):
            out = flow.origin
        else:
            importance = importance_of(old.module, kernel)
            out = transfer.choose_origins(
                width(old.output_shape), width(new.output_shape), importance, flow, wanted
            )
        bias = ours[-1].bias
        out = set_weights(transfer, new.position, flow, last, kernel, groups, out, bias)
        return inherit_scale(transfer, old, new, out)

    def start_as_identity(
        self, walk: Morphism, new: BuiltNetwork, flow: ChannelMap, wanted: ChannelMap | None
    ) -> ChannelMap | None:
        tap = centre(new)
        if tap is None or not hands_on(self.normalisation, self.activation, flow):
            return None
        transfer, before, convs = walk.transfer, width(flow.parent_shape), convolutions(new)
        taken, into = transfer.inherited_params, flow
        kernel = torch.ones(before, 1, 1, 1)  # each channel reads itself
        around_it = resized(kernel, convs[0].kernel_size[0], tap)
        if self.separable:
            of = set_weights(
                transfer, new.position, flow, convs[0], around_it, before, flow.origin
            )  # fmt: skip
            into = replace(flow, origin=of)
        else:
            kernel = around_it
        return identity_weights(transfer, new, convs[-1], kernel, (flow, into, wanted), taken)


def convolutions(part: BuiltNetwork) -> list[nn.Conv2d]:
    """Its convolutions: one, or the depthwise and the pointwise."""
    return [one for one in part.module.children() if isinstance(one, nn.Conv2d)]


def centre(part: BuiltNetwork) -> int | None:
    """The tap of a convolution that lies on the pixel that comes out; None where there is none."""
    conv = convolutions(part)[0]
    padding, dilation = int(conv.padding[0]), conv.dilation[0]
    keeps = (
        part.input_shape[1:] == part.output_shape[1:]
        and conv.stride == (1, 1)
        and padding % dilation == 0
    )
    return padding // dilation if keeps else None


def _fitted(
    transfer: Transfer, new: BuiltNetwork, ours: nn.Conv2d, theirs: nn.Conv2d, kernel: Tensor
) -> Tensor:
    """The parent's kernel in the child's size, around the same pixel where that can be."""
    (size, _), (wanted, _), (dilation, _) = ours.kernel_size, theirs.kernel_size, theirs.dilation
    if ours.stride != theirs.stride:
        transfer.record_change(
            new.position, f"stride {theirs.stride[0]} in place of {ours.stride[0]}"
        )
    shift = int(theirs.padding[0]) - int(ours.padding[0])
    offset = shift // dilation
    if size > 1 and ours.dilation != theirs.dilation:
        transfer.record_change(new.position, f"dilation {dilation} in place of {ours.dilation[0]}")
        offset = (wanted - size) // 2
    elif shift % dilation or offset < 0 or offset + size > wanted:
        what = f"kernel {wanted} in place of {size}"
        transfer.record_change(new.position, what if size != wanted else "another padding")
        offset = (wanted - size) // 2
    return resized(kernel, wanted, offset)
