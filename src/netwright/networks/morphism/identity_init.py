"""Layers that do nothing yet, so that a network can be deepened without changing what it computes.

Net2DeeperNet (1511.05641, section 2.3) inserts an identity; network morphism (Wei et al. 2016,
1603.01670) does so wherever an identity can be written as weights. Here: a block with a skip starts
silent, as with the zeroed last scale of Goyal et al. 2017 (1706.02677, section 5.1); a convolution
or dense layer starts as the identity.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from netwright.networks.layers.basic import Activation, Conv, Linear, Norm, SequenceBatchNorm
from netwright.networks.layers.blocks import MBConv, Residual, SelfAttention
from netwright.networks.layers.graph import Graph, edge_name
from netwright.networks.morphism.module_tree import Part, items, keeps_zero, passes_positive

_ALIVE = 1e-7
"""What a silent layer says where relu follows: at 0 itself relu lets no gradient through."""


class End(NamedTuple):
    """A last layer with weights of what is to be silent; `kinked`: a relu comes after it."""

    part: Part
    kinked: bool


def ends_of(part: Part, kinked: bool = False) -> list[End] | None:
    """Whose weights decide that nothing comes out of a part; None where weights cannot."""
    network = part.network
    if isinstance(network, tuple):
        for item in reversed(items(part)):
            if not keeps_zero(item.network):
                return ends_of(item, kinked)
            kinked = kinked or _is_kinked(item.network)
        return None
    if isinstance(network, Conv | Linear):
        return [End(part, kinked or _is_kinked(network))]
    if isinstance(network, Norm | SelfAttention):
        return [End(part, kinked)]
    if isinstance(network, Residual):
        return _all_ends(part.parts.values(), kinked) if "shortcut" in part.parts else None
    if isinstance(network, MBConv):
        return None if has_skip(part) else ends_of(part.parts["body"], kinked)
    if isinstance(network, Graph):
        then = part.parts[network.output]
        if not keeps_zero(then.network):
            return ends_of(then, kinked)
        names = (edge_name(network.output, one) for one in network.live()[network.output])
        return _all_ends([part.parts[name] for name in names], kinked or _is_kinked(then.network))
    return None


def has_skip(part: Part) -> bool:
    """Whether an `MBConv` adds what comes in to what goes out."""
    return part.parts["body"].out == part.into


def _all_ends(parts: Iterable[Part], kinked: bool) -> list[End] | None:
    found = [ends_of(part, kinked) for part in parts]
    return None if None in found else [end for ends in found for end in ends or ()]


def _is_kinked(network: object) -> bool:
    if isinstance(network, Conv | Linear):
        return network.activation in ("relu", "leaky_relu")
    return isinstance(network, Activation) and network.kind in ("relu", "leaky_relu")


def silence(ends: Sequence[End]) -> None:
    """Zeroes the last scale, or the last weights where nothing scales."""
    for part, kinked in ends:
        start = _ALIVE if kinked else 0.0
        last = _last(part)
        weight, bias = last.weight, last.bias
        assert isinstance(weight, Tensor)
        assert isinstance(bias, Tensor)  # it has one where no normalisation follows
        nn.init.zeros_(weight)
        nn.init.constant_(bias, start)


def _last(part: Part) -> nn.Module:
    """The module whose weights are the last to work on what comes out."""
    module, network = part.module, part.network
    if isinstance(network, SelfAttention):
        return module.get_submodule("out")
    if isinstance(network, Norm):
        return plain_norm(module)
    norm = plain_norm(module.get_submodule("norm"))
    if not isinstance(norm, nn.Identity):
        return norm
    names = ("pointwise", "conv", "linear")
    return next(one for name, one in module.named_children() if name in names)


def plain_norm(module: nn.Module) -> nn.Module:
    """The normalisation itself, where another module only turns its input."""
    return module.norm if isinstance(module, SequenceBatchNorm) else module


def can_be_identity(part: Part, positive: bool) -> bool:
    """Whether some weights make a convolution or dense layer hand on what comes in.

    Not through an activation that bends what it is given, nor through statistics of each row.
    """
    network = part.network
    if not isinstance(network, Conv | Linear) or network.normalisation not in ("none", "batch"):
        return False
    bends = network.activation != "none" and not (positive and passes_positive(network.activation))
    return not bends and (isinstance(network, Linear) or centre(part) is not None)


def centre(part: Part) -> int | None:
    """The tap of a convolution that lies on the pixel that comes out; None where there is none."""
    conv = next(one for one in part.module.children() if isinstance(one, nn.Conv2d))
    padding, dilation = int(conv.padding[0]), conv.dilation[0]
    keeps = part.into[1:] == part.out[1:] and conv.stride == (1, 1) and padding % dilation == 0
    return padding // dilation if keeps else None


def identity_norm(norm: nn.Module, mean: Tensor, variance: Tensor) -> None:
    """Makes a batch normalisation hand on what comes in, whatever statistics it is given.

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
    """Gives normalisations that are identities the statistics of what comes in for `rows`.

    Then they are nearly so while training, where each batch has its own statistics.
    """

    def measure(norm: nn.Module, given: tuple[Tensor, ...]) -> None:
        x = given[0].transpose(0, 1).flatten(1)  # (channels, numbers)
        identity_norm(norm, x.mean(1), x.var(1, correction=0))

    handles = [norm.register_forward_pre_hook(measure) for norm in norms]
    module.eval()(rows)
    for handle in handles:
        handle.remove()
