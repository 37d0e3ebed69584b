"""What follows weights in a layer, a normalisation and an activation, in weight inheritance."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from netwright.networks.interfaces.channel_map import ChannelMap
from netwright.networks.interfaces.layer import BuiltNetwork, End, Leaf
from netwright.networks.interfaces.morphism_rules import identity_norm
from netwright.networks.interfaces.shapes import width
from netwright.networks.interfaces.transfer import Transfer, set_norm, set_weights
from netwright.networks.layers.activations import ActivationName, has_kink, passes_positive
from netwright.networks.sequence_norm import plain_norm


class ScaledLeaf(Leaf):
    """A layer of weights, then a normalisation, then an activation."""

    activation: ActivationName

    @property
    def has_kink(self) -> bool:
        return has_kink(self.activation)

    def is_positive(self, part: BuiltNetwork, before: bool) -> bool:
        return self.activation == "relu"

    def ends(self, part: BuiltNetwork, kinked: bool) -> list[End] | None:
        return [End(part, kinked or self.has_kink)]


def inherit_scale(
    transfer: Transfer, old: BuiltNetwork, new: BuiltNetwork, out: Tensor
) -> ChannelMap:
    """Normalisation and activation of a layer, whose channels have the origins `out`."""
    flow = ChannelMap(old.output_shape, new.output_shape, out)
    ours, theirs = (part.module.get_submodule("norm") for part in (old, new))
    set_norm(transfer, new.position, ours, theirs, flow)
    before, now = (getattr(part.network, "activation", "none") for part in (old, new))
    if before != now:
        transfer.record_change(new.position, f"activation {now} in place of {before}")
    return flow


def hands_on(normalisation: str, activation: str, flow: ChannelMap) -> bool:
    """Whether weights in front of these can make a layer hand on what comes in.

    Not through an activation that bends what it is given, nor through statistics of each row.
    """
    bends = activation != "none" and not (flow.nonnegative and passes_positive(activation))
    known = bool((flow.origin >= 0).any())
    return known and not bends and normalisation in ("none", "batch")


def identity_weights(
    transfer: Transfer, new: BuiltNetwork, last: nn.Conv2d | nn.Linear, kernel: Tensor,
    flows: tuple[ChannelMap, ChannelMap, ChannelMap | None], taken: int,
) -> ChannelMap:  # fmt: skip
    """Make the last weights, and the normalisation after them, hand on what comes in.

    Args:
        kernel: (channels, 1, k, k) of a depthwise convolution that does so.
        flows: what comes into the layer, what reaches its last weights, what is wanted of it.
        taken: what had been taken over before: these are no weights of the parent's.
    """
    flow, into, wanted = flows
    before = width(flow.parent_shape)
    out = transfer.choose_origins(before, width(new.output_shape), torch.ones(before), flow, wanted)
    out = set_weights(transfer, new.position, into, last, kernel, before, out)
    transfer.inherited_params = taken
    norm = plain_norm(new.module.get_submodule("norm"))
    if not isinstance(norm, nn.Identity):
        identity_norm(
            norm, torch.zeros(width(new.output_shape)), torch.ones(width(new.output_shape))
        )
        transfer.identity_norms.append(norm)
    return ChannelMap(flow.parent_shape, new.output_shape, out)


def last_scale(part: BuiltNetwork, *weights: str) -> nn.Module:
    """The normalisation, or the first of these modules that there is where nothing normalises."""
    norm = plain_norm(part.module.get_submodule("norm"))
    if not isinstance(norm, nn.Identity):
        return norm
    return next(one for name, one in part.module.named_children() if name in weights)
