"""What layers share in taking over weights from a parent.

Net2DeeperNet (1511.05641, section 2.3) inserts an identity; network morphism (Wei et al. 2016,
1603.01670) does so wherever an identity can be written as weights. Here: a block with a skip starts
silent, as with the zeroed last scale of Goyal et al. 2017 (1706.02677, section 5.1); a convolution
or dense layer starts as the identity.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from netwright.networks.interfaces.channel_map import NEW, ChannelMap, unknown
from netwright.networks.interfaces.layer import BuiltNetwork, End, Layer, Morphism, Network
from netwright.networks.interfaces.shapes import Shape, width
from netwright.networks.interfaces.transfer import Transfer

_ALIVE = 1e-7
"""Initial bias of a silent layer before relu; at 0 itself relu would let no gradient through."""


# Rows of layers


def items(part: BuiltNetwork) -> list[BuiltNetwork]:
    """What stands in a row; a layer is a row of one."""
    return [*part.parts.values()] if isinstance(part.network, tuple) else [part]


def is_neutral(network: Network, positive: bool) -> bool:
    """`Layer.is_identity`, also of rows."""
    if isinstance(network, tuple):
        return all(is_neutral(layer, positive) for layer in network)
    return network.is_identity(positive)


def keeps_zero(network: Network) -> bool:
    """`Layer.keeps_zero`, also of rows."""
    if isinstance(network, tuple):
        return is_neutral(network, positive=False)
    return network.keeps_zero()


def is_positive(part: BuiltNetwork, before: bool) -> bool:
    """`Layer.is_positive`, also of rows."""
    if isinstance(part.network, tuple):
        for item in items(part):
            before = is_positive(item, before)
        return before
    return part.network.is_positive(part, before)


def ends_of(part: BuiltNetwork, kinked: bool = False) -> list[End] | None:
    """`Layer.ends`, also of rows: those of the last layer that does not keep zeros."""
    network = part.network
    if not isinstance(network, tuple):
        return network.ends(part, kinked)
    for item in reversed(items(part)):
        if not keeps_zero(item.network):
            return ends_of(item, kinked)
        kinked = kinked or (isinstance(item.network, Layer) and item.network.has_kink)
    return None


def all_ends(parts: Iterable[BuiltNetwork], kinked: bool) -> list[End] | None:
    """Those of all these parts; None where one has none."""
    found = [ends_of(part, kinked) for part in parts]
    return None if None in found else [end for ends in found for end in ends or ()]


def silence(ends: Sequence[End]) -> None:
    """Zero the last scale, or the last weights where nothing scales."""
    for part, kinked in ends:
        assert isinstance(part.network, Layer)
        last = part.network.last_module(part)
        weight, bias = last.weight, last.bias
        assert isinstance(weight, Tensor)
        assert isinstance(bias, Tensor)  # it has one where no normalisation follows
        nn.init.zeros_(weight)
        nn.init.constant_(bias, _ALIVE if kinked else 0.0)


# Steps of a walk that many layers take


def replaced(
    transfer: Transfer,
    old: BuiltNetwork,
    new: BuiltNetwork,
    flow: ChannelMap,
    wanted: ChannelMap | None,
) -> ChannelMap:
    """Another kind of layer: it starts afresh, and what comes after it goes on as before."""
    names = [type(part.network).__name__ for part in (old, new)]
    if names[0] == names[1]:
        names = [repr(part.network) for part in (old, new)]
    transfer.record_change(new.position, f"{names[1]} in place of {names[0]} starts afresh")
    return transfer.propagate(flow, old.output_shape, new.output_shape, wanted)


def inherit_channels(
    self: Layer,
    walk: Morphism,
    old: BuiltNetwork,
    new: BuiltNetwork,
    flow: ChannelMap,
    wanted: ChannelMap | None,
) -> ChannelMap:
    """`Layer.inherit` of a layer without weights: channel by channel; its settings matter unless it
    does nothing."""
    harmless = all(is_neutral(part.network, flow.nonnegative) for part in (old, new))
    if old.network != new.network and not harmless:
        walk.transfer.record_change(new.position, f"{new.network!r} in place of {old.network!r}")
    return walk.transfer.propagate(flow, old.output_shape, new.output_shape)


def insert_block(
    walk: Morphism, new: BuiltNetwork, flow: ChannelMap, wanted: ChannelMap | None
) -> ChannelMap | None:
    """A part with a skip: silent, so that the skip alone is left."""
    ends = ends_of(new.parts["body"])
    shortcut = new.parts.get("shortcut")
    if ends is None:
        return None
    back: ChannelMap | None = flow
    if shortcut:
        assert isinstance(shortcut.network, Layer)
        back = shortcut.network.start_as_identity(walk, shortcut, flow, wanted)
    silence(ends if back else [])
    return back


def sum_of(flows: Sequence[ChannelMap], before: Shape, now: Shape) -> ChannelMap:
    """Channels that are the same in all; the others are none of the parent's."""
    if not all(flow.has_widths(width(before), width(now)) for flow in flows):
        return unknown(before, now)
    origin = flows[0].origin
    for flow in flows:
        origin = torch.where(flow.origin == origin, origin, NEW)
    return ChannelMap(before, now, origin, all(flow.nonnegative for flow in flows))


# Normalisations that do nothing yet


def identity_norm(norm: nn.Module, mean: Tensor, variance: Tensor) -> None:
    """Make a batch normalisation hand on what comes in, whatever statistics it is given.

    With those of what really comes in it does so, nearly, on a batch's own statistics too.
    """
    assert isinstance(norm, nn.modules.batchnorm._BatchNorm)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    norm.running_mean.copy_(mean)
    norm.running_var.copy_(variance)
    norm.weight.copy_((variance + norm.eps).sqrt())
    norm.bias.copy_(mean)


@torch.no_grad()
def settle(module: nn.Module, norms: Sequence[nn.Module], rows: Tensor) -> None:
    """Give normalisations that are identities the statistics of what comes in for `rows`.

    Then they are nearly so while training, where each batch has its own statistics.
    """

    def measure(norm: nn.Module, given: tuple[Tensor, ...]) -> None:
        x = given[0].transpose(0, 1).flatten(1)  # (channels, numbers)
        identity_norm(norm, x.mean(1), x.var(1, correction=0))

    handles = [norm.register_forward_pre_hook(measure) for norm in norms]
    module.eval()(rows)
    for handle in handles:
        handle.remove()
