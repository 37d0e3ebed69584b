"""Which channel of its parent each channel of a child is, and the weights that follow from it.

Net2Net (Chen, Goodfellow and Shlens 2016, arXiv:1511.05641, section 2.2): a wider layer replicates
channels, and whoever reads a channel divides what it had for it by the number of replicas. Kept
here as a map that is handed on from layer to layer; a channel that is none of the parent's is read
with weight 0, so that it changes nothing until it is trained.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from netwright.networks.interfaces.shapes import Shape, width

NEW = -1
"""The origin of a channel that the parent does not have."""


@dataclass(frozen=True, eq=False)
class ChannelMap:
    """A tensor of the child beside that of the parent at the same place.

    `before`, `now`: their shapes without the batch. `origin`: (channels of the child,) the parent's
    channel that each is, or `NEW`. `positive`: no number of it is below 0.
    """

    parent_shape: Shape
    child_shape: Shape
    origin: Tensor
    nonnegative: bool = False

    @property
    def is_complete(self) -> bool:
        """Whether every channel of the parent is there."""
        return len(self.origin[self.origin >= 0].unique()) == width(self.parent_shape)

    @property
    def is_identity(self) -> bool:
        """Whether it is the parent's, channel by channel."""
        alike = self.parent_shape == self.child_shape
        return alike and torch.equal(self.origin, torch.arange(width(self.child_shape)))

    def has_widths(self, old: int, new: int) -> bool:
        """Whether it is of so many channels in the parent and in the child."""
        return (width(self.parent_shape), width(self.child_shape)) == (old, new)


def unchanged(before: Shape, now: Shape) -> ChannelMap:
    """The parent's own channels, in their order."""
    return ChannelMap(before, now, torch.arange(width(now)))


def unknown(before: Shape, now: Shape) -> ChannelMap:
    """Nothing of the parent's."""
    return ChannelMap(before, now, torch.full((width(now),), NEW))


def replicated(old: int, new: int, seed: int) -> Tensor:
    """(new,) every channel of the `old` ones, and replicas of some, drawn by the seed.

    A channel gets another replica only when all have as many: twice the width has each twice, which
    keeps means and variances over channels. In order, so that groups stay together. The draw
    depends on the widths alone, so that the branches of a sum agree.
    """
    rng = np.random.default_rng([seed, old, new])
    rounds = [rng.permutation(old) for _ in range(-(-(new - old) // old))]
    drawn = np.concatenate([np.arange(0), *rounds])[: new - old]
    return torch.from_numpy(np.sort(np.concatenate([np.arange(old), drawn])))


def resized(kernel: Tensor, size: int, offset: int) -> Tensor:
    """(o, i, size, size): zeros around a kernel, or what is left of it, from `offset` on."""
    after = size - kernel.shape[-1] - offset
    return torch.nn.functional.pad(kernel, (offset, after, offset, after))


class Read(NamedTuple):
    """A child's weights (o', i' / groups', k, k), which rows have some of the parent's (o',), and
    whether each such row reads all that its forerunner read."""

    weight: Tensor
    known: Tensor
    exact: bool


def read(
    kernel: Tensor, groups: int, into: Tensor, out: Tensor, columns: int, groups_new: int
) -> Read:
    """What convolutions that compute the parent's channels read from replicated ones.

    `kernel`: the parent's, (o, i / groups, k, k). `into` (i',) and `out` (o',): origins of what
    comes in and what is to come out. `columns`: the channels that a row of the child reads,
    i' / groups'. A depthwise convolution reads one replica, an ungrouped one all of them.
    """
    block = into.view(groups_new, columns)
    replicas = (block[:, :, None] == block[:, None, :]).sum(-1)  # (groups', columns)
    of_row = torch.arange(len(out)) // (len(out) // groups_new)  # (o',) the block it reads
    source, share = block[of_row], 1 / replicas[of_row]  # (o', columns)
    per = kernel.shape[1]
    first = out // (len(kernel) // groups) * per  # (o',) first channel of the forerunner's group
    column = source - first[:, None]
    reads = (source >= 0) & (out >= 0)[:, None] & (column >= 0) & (column < per)
    share = share * reads
    weight = kernel[out.clamp(min=0)[:, None], column.clamp(0, per - 1)]  # (o', columns, k, k)
    known = reads.any(1)
    exact = bool((share.sum(1).round()[known] == per).all())
    return Read(weight * share[:, :, None, None], known, exact)


def keeps_statistics(origin: Tensor, old: int, groups: int, groups_new: int) -> bool:
    """Whether mean and variance of each group of channels are those of a group of the parent's.

    So where each channel of that group is there equally often, and no other. `old`: the channels
    of the parent.
    """
    per = old // groups
    for block in origin.view(groups_new, -1):
        group = int(block.min()) // per  # below 0 where a channel is new
        if group < 0 or int(block.max()) // per != group:
            return False
        counts = torch.bincount(block - group * per, minlength=per)
        if int(counts.min()) != int(counts.max()):
            return False
    return True


def repeated(origin: Tensor) -> Tensor:
    """(channels,) which are replicas of one before them."""
    before = (origin[:, None] == origin[None, :]).tril(-1).any(1)
    return before & (origin >= 0)


def shifted(origin: Tensor, start: int) -> Tensor:
    """Origins among concatenated channels, of which these begin at `start`."""
    return torch.where(origin >= 0, origin + start, NEW)
