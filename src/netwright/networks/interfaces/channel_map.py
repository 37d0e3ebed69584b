"""Map the channels of a child network to its parent's, and derive weights from the map.

Net2Net (Chen, Goodfellow and Shlens 2016, arXiv:1511.05641, section 2.2): a wider layer replicates
channels, and the next layer divides its weights for a channel by the number of replicas. The map is
handed on from layer to layer; a channel that the parent does not have is read with weight 0, so that
it changes nothing until it is trained.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from netwright.networks.interfaces.shapes import Shape, n_channels

NEW = -1
"""The origin of a channel that the parent does not have."""


@dataclass(frozen=True, eq=False)
class ChannelMap:
    """The parent's channel that each channel of a child's tensor corresponds to.

    Args:
        parent_shape: Shape of the tensor in the parent, without the batch.
        child_shape: Shape of the tensor in the child, without the batch.
        origin: (channels of the child,) int64 indices of the parent's channels, or `NEW` (-1).
        nonnegative: Whether no element of the child's tensor is below 0, as after ReLU.

    Example:
        >>> ChannelMap((2, 8, 8), (3, 8, 8), torch.tensor([0, 0, 1])).is_complete
        True
    """

    parent_shape: Shape
    child_shape: Shape
    origin: Tensor
    nonnegative: bool = False

    @property
    def is_complete(self) -> bool:
        """Return whether the child has every channel of the parent."""
        return len(self.origin[self.origin >= 0].unique()) == n_channels(self.parent_shape)

    @property
    def is_identity(self) -> bool:
        """Return whether shape and channels are the parent's, in the same order."""
        same_shape = self.parent_shape == self.child_shape
        return same_shape and torch.equal(self.origin, torch.arange(n_channels(self.child_shape)))

    def has_widths(self, n_parent: int, n_child: int) -> bool:
        """Return whether parent and child have these numbers of channels.

        Args:
            n_parent: Channels of the parent's tensor.
            n_child: Channels of the child's tensor.
        """
        return (n_channels(self.parent_shape), n_channels(self.child_shape)) == (n_parent, n_child)


def identity_map(parent_shape: Shape, child_shape: Shape) -> ChannelMap:
    """Map every channel to the parent's channel of the same index."""
    return ChannelMap(parent_shape, child_shape, torch.arange(n_channels(child_shape)))


def all_new(parent_shape: Shape, child_shape: Shape) -> ChannelMap:
    """Map every channel to `NEW`: nothing corresponds to the parent's tensor."""
    return ChannelMap(parent_shape, child_shape, torch.full((n_channels(child_shape),), NEW))


def replicate_channels(n_parent: int, n_child: int, seed: int) -> Tensor:
    """Return the (n_child,) sorted origins of all parent channels and of random replicas.

    A channel gets another replica only when all have equally many: twice the width has each twice,
    which preserves means and variances over channels. Sorted, so that groups stay together. The
    draw depends on seed and widths alone, so that the branches of a sum agree.
    """
    rng = np.random.default_rng([seed, n_parent, n_child])
    n_rounds = -(-(n_child - n_parent) // n_parent)
    rounds = [rng.permutation(n_parent) for _ in range(n_rounds)]
    replicas = np.concatenate([np.arange(0), *rounds])[: n_child - n_parent]
    return torch.from_numpy(np.sort(np.concatenate([np.arange(n_parent), replicas])))


def pad_kernel(kernel: Tensor, size: int, offset: int) -> Tensor:
    """Pad a kernel with zeros, or crop it, to (o, i, size, size), starting at `offset`."""
    after = size - kernel.shape[-1] - offset
    return torch.nn.functional.pad(kernel, (offset, after, offset, after))


class RemappedKernel(NamedTuple):
    """Weights of a child's layer that computes the parent's channels.

    Args:
        weight: (o', i' / groups', k, k).
        inherited: (o',) whether an output channel has weights of the parent's.
        exact: Whether each inherited channel reads all that it read in the parent.
    """

    weight: Tensor
    inherited: Tensor
    exact: bool


def remap_kernel(
    kernel: Tensor,
    groups: int,
    input_origin: Tensor,
    output_origin: Tensor,
    group_width: int,
    child_groups: int,
) -> RemappedKernel:
    """Rewrite a parent's kernel for replicated, reordered and new channels.

    A depthwise convolution reads one replica of a channel, an ungrouped one all of them.

    Args:
        kernel: The parent's, (o, i / groups, k, k).
        groups: Of the parent's convolution.
        input_origin: (i',) origins of the input channels.
        output_origin: (o',) requested origins of the output channels.
        group_width: Input channels that an output channel of the child reads, i' / groups'.
        child_groups: Of the child's convolution, groups'.
    """
    group_inputs = input_origin.view(child_groups, group_width)
    n_replicas = (group_inputs[:, :, None] == group_inputs[:, None, :]).sum(-1)  # (groups', width)
    group_of = torch.arange(len(output_origin)) // (len(output_origin) // child_groups)  # (o',)
    source, factor = group_inputs[group_of], 1 / n_replicas[group_of]  # (o', width)
    parent_width = kernel.shape[1]
    # (o',) first input channel of the parent's group that the output channel comes from
    first_input = output_origin // (len(kernel) // groups) * parent_width
    column = source - first_input[:, None]
    is_inherited = (source >= 0) & (output_origin >= 0)[:, None]
    is_inherited = is_inherited & (column >= 0) & (column < parent_width)
    factor = factor * is_inherited
    # (o', width, k, k)
    weight = kernel[output_origin.clamp(min=0)[:, None], column.clamp(0, parent_width - 1)]
    inherited = is_inherited.any(1)
    exact = bool((factor.sum(1).round()[inherited] == parent_width).all())
    return RemappedKernel(weight * factor[:, :, None, None], inherited, exact)


def preserves_group_statistics(
    origin: Tensor, n_parent: int, parent_groups: int, child_groups: int
) -> bool:
    """Return whether each group has the mean and variance of one of the parent's groups.

    That is so where it has each channel of that group equally often, and no other.

    Args:
        origin: (channels of the child,).
        n_parent: Channels of the parent.
        parent_groups: Groups of the parent's normalisation.
        child_groups: Groups of the child's normalisation.
    """
    group_width = n_parent // parent_groups
    for group_origin in origin.view(child_groups, -1):
        group = int(group_origin.min()) // group_width  # below 0 if a channel is new
        if group < 0 or int(group_origin.max()) // group_width != group:
            return False
        counts = torch.bincount(group_origin - group * group_width, minlength=group_width)
        if int(counts.min()) != int(counts.max()):
            return False
    return True


def is_replica(origin: Tensor) -> Tensor:
    """Return (channels,) whether an earlier channel has the same origin."""
    is_repeated = (origin[:, None] == origin[None, :]).tril(-1).any(1)
    return is_repeated & (origin >= 0)


def shift_origins(origin: Tensor, start: int) -> Tensor:
    """Return the origins after concatenation, where these channels begin at `start`."""
    return torch.where(origin >= 0, origin + start, NEW)
