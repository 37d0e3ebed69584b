"""Pooling heads with weights."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from netwright.errors import InfeasibleCandidate, expected
from netwright.networks.interfaces.channel_map import NEW, ChannelMap
from netwright.networks.interfaces.layer import BuiltNetwork, Leaf, Morphism
from netwright.networks.interfaces.shapes import Shape, n_channels
from netwright.networks.interfaces.transfer import set_weights
from netwright.networks.layers.checks import check_positive


class _AttentionPool(nn.Module):
    """Means of the channels over pixels or tokens, weighted by the softmax of scores."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(channels, heads, bias=False)
        nn.init.zeros_(self.query.weight)  # equal weights: the mean

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(2).transpose(1, 2) if x.dim() == 4 else x  # (b, t, c)
        _, t, c = tokens.shape
        scores = self.query(tokens).transpose(1, 2) / c**0.5  # (b, heads, t)
        weights = scores.softmax(-1)[:, :, None]  # (b, heads, 1, t)
        values = tokens.view(-1, t, self.heads, c // self.heads).transpose(1, 2)
        pooled: Tensor = weights @ values  # (b, heads, 1, c / heads)
        return pooled.reshape(-1, c)


@dataclass(frozen=True)
class AttentionPool(Leaf):
    """Attention pooling: (c, h, w) -> (c,), (t, c) -> (c,), by a softmax-weighted mean.

    Each head has a learned query, whose products with the pixels are the scores of the softmax, and
    averages its share of the channels (attention pooling of multiple-instance learning, 1802.04712,
    with scaled dot products, 1706.03762, eq. 1). It starts as average pooling.

    Args:
        heads: A divisor of the channels.

    Example:
        >>> network = (Conv(64, stride=2), AttentionPool(heads=4), Linear())
    """

    preserves_zero = True

    heads: int = 1

    def build(self, shape: Shape) -> nn.Module:
        if len(shape) not in (2, 3):
            raise InfeasibleCandidate(expected("input", "a sequence (t, c) or images", shape))
        check_positive(self, "heads")
        channels = n_channels(shape)
        if channels % self.heads:
            raise InfeasibleCandidate(
                expected("heads", f"a divisor of the {channels} channels", self.heads)
            )
        return _AttentionPool(channels, self.heads)

    def infer_shape(self, shape: Shape) -> Shape | None:
        """Return the channels; None if `build` refuses the input, which gives the reason."""
        if len(shape) not in (2, 3) or self.heads < 1 or n_channels(shape) % self.heads:
            return None
        return (n_channels(shape),)

    # Weight inheritance

    def inherit(
        self,
        morphism: Morphism,
        parent: BuiltNetwork,
        child: BuiltNetwork,
        input_map: ChannelMap,
        target_map: ChannelMap | None,
    ) -> ChannelMap:
        """Each head takes the query of the head that its channels come from."""
        transfer = morphism.transfer
        query, child_query = (built.submodule("query", nn.Linear) for built in (parent, child))
        parent_heads, c, child_c = query.out_features, query.in_features, child_query.in_features
        head_origin = torch.full((self.heads,), NEW)
        for head, origin in enumerate(input_map.origin.view(self.heads, -1)):
            source_heads = origin[origin >= 0] // (c // parent_heads)
            if len(source_heads.unique()) > 1:
                transfer.record_change(
                    child.position, f"head {head} has channels of several heads of the parent"
                )
            if len(source_heads):
                head_origin[head] = source_heads.mode().values
        kernel = query.weight[:, :, None, None] * (child_c / c) ** 0.5  # scores are / sqrt(c)
        set_weights(transfer, child.position, input_map, child_query, kernel, 1, head_origin)
        return ChannelMap(parent.output_shape, child.output_shape, input_map.origin)
