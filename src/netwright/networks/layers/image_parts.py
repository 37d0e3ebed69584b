"""Parts of modern image blocks: channel-wise layer norm, layer scale and position embedding."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from netwright.errors import InfeasibleCandidate, expected
from netwright.networks.interfaces.channel_map import ChannelMap
from netwright.networks.interfaces.layer import BuiltNetwork, Leaf, Morphism, ZeroInitLayer
from netwright.networks.interfaces.shapes import Shape, n_channels, spatial_shape
from netwright.networks.interfaces.transfer import set_norm
from netwright.networks.layers.checks import check_images

_LAYER_NORM_EPS = 1e-6
"""Added to the variance, as in ConvNeXt (2201.03545)."""
_POSITION_STD = 0.02
"""Standard deviation of initial position embeddings, as in ViT (2010.11929)."""


class _LayerNorm2d(nn.LayerNorm):
    """Layer normalisation over the channels of images (batch, c, h, w)."""

    def forward(self, x: Tensor) -> Tensor:
        normalised = super().forward(x.permute(0, 2, 3, 1))  # (batch, h, w, c)
        return normalised.permute(0, 3, 1, 2)


@dataclass(frozen=True)
class LayerNorm2d(Leaf):
    """Layer normalisation of images over the channels of each pixel, as in ConvNeXt (2201.03545).

    ``Norm("layer")`` is over channels and pixels of an image.

    Example:
        >>> mlp = (LayerNorm2d(), Conv(64, 1, normalisation="none", activation="gelu"))
    """

    cheap_to_run = True

    def build(self, shape: Shape) -> nn.Module:
        check_images(shape)
        return _LayerNorm2d(shape[0], eps=_LAYER_NORM_EPS)

    def infer_shape(self, shape: Shape) -> Shape | None:
        return shape if len(shape) == 3 else None

    # Weight inheritance

    def layers_to_zero(
        self, built: BuiltNetwork, *, before_relu: bool
    ) -> list[ZeroInitLayer] | None:
        return [ZeroInitLayer(built, before_relu)]

    def module_to_zero(self, built: BuiltNetwork) -> nn.Module:
        return built.module

    def inherit(
        self,
        morphism: Morphism,
        parent: BuiltNetwork,
        child: BuiltNetwork,
        input_map: ChannelMap,
        target_map: ChannelMap | None,
    ) -> ChannelMap:
        set_norm(morphism.transfer, child.position, parent.module, child.module, input_map)
        return ChannelMap(parent.output_shape, child.output_shape, input_map.origin)


class _LayerScale(nn.Module):
    """Scales each channel by a learned weight."""

    def __init__(self, shape: Shape, initial: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((n_channels(shape),), float(initial)))  # (c,)

    def forward(self, x: Tensor) -> Tensor:
        return x * (self.weight[:, None, None] if x.dim() == 4 else self.weight)


@dataclass(frozen=True)
class LayerScale(Leaf):
    """Layer scale: a learned factor of each channel (2103.17239). Last in a residual body.

    Args:
        initial: Factor of all channels at the start; a small one makes a residual block start
            close to the identity.

    Example:
        >>> block = Residual((Conv(activation="none"), LayerScale(0.1)))
    """

    cheap_to_run = True

    initial: float = 1e-6

    def build(self, shape: Shape) -> nn.Module:
        return _LayerScale(shape, self.initial)

    def infer_shape(self, shape: Shape) -> Shape | None:
        return shape

    # Weight inheritance

    def layers_to_zero(
        self, built: BuiltNetwork, *, before_relu: bool
    ) -> list[ZeroInitLayer] | None:
        """The factors, not the weights before them, whose gradients the factors scale down.

        Before ReLU no bias would let a gradient pass.
        """
        return None if before_relu else [ZeroInitLayer(built, before_relu)]

    def module_to_zero(self, built: BuiltNetwork) -> nn.Module:
        return built.module

    def start_as_identity(
        self,
        morphism: Morphism,
        child: BuiltNetwork,
        input_map: ChannelMap,
        target_map: ChannelMap | None,
    ) -> ChannelMap | None:
        nn.init.ones_(child.module.get_parameter("weight"))
        return input_map

    def inherit(
        self,
        morphism: Morphism,
        parent: BuiltNetwork,
        child: BuiltNetwork,
        input_map: ChannelMap,
        target_map: ChannelMap | None,
    ) -> ChannelMap:
        _inherit_by_channel(morphism, parent, child, input_map)
        return ChannelMap(parent.output_shape, child.output_shape, input_map.origin)


class _PositionEmbedding(nn.Module):
    """Adds learned weights of the shape of a row."""

    no_weight_decay = ("weight",)

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(shape))  # (c, h, w) or (t, c)
        nn.init.trunc_normal_(self.weight, std=_POSITION_STD)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.weight


@dataclass(frozen=True)
class PositionEmbedding(Leaf):
    """Learned position embedding: a vector added to each pixel or token (ViT, 2010.11929).

    Attention does not see positions without it.

    Example:
        >>> block = Residual((LayerNorm2d(), PositionEmbedding(), SelfAttention(heads=4)))
    """

    cheap_to_run = True

    def build(self, shape: Shape) -> nn.Module:
        if len(shape) not in (2, 3):
            raise InfeasibleCandidate(expected("input", "a sequence (t, c) or images", shape))
        return _PositionEmbedding(shape)

    def infer_shape(self, shape: Shape) -> Shape | None:
        return shape if len(shape) in (2, 3) else None

    # Weight inheritance

    def start_as_identity(
        self,
        morphism: Morphism,
        child: BuiltNetwork,
        input_map: ChannelMap,
        target_map: ChannelMap | None,
    ) -> ChannelMap | None:
        nn.init.zeros_(child.module.get_parameter("weight"))
        return input_map

    def inherit(
        self,
        morphism: Morphism,
        parent: BuiltNetwork,
        child: BuiltNetwork,
        input_map: ChannelMap,
        target_map: ChannelMap | None,
    ) -> ChannelMap:
        parent_size, child_size = (spatial_shape(built.output_shape) for built in (parent, child))
        if parent_size == child_size:
            _inherit_by_channel(morphism, parent, child, input_map)
        else:
            morphism.transfer.record_change(
                child.position, f"positions of size {child_size} instead of {parent_size} are new"
            )
        return ChannelMap(parent.output_shape, child.output_shape, input_map.origin)


def _inherit_by_channel(
    morphism: Morphism, parent: BuiltNetwork, child: BuiltNetwork, input_map: ChannelMap
) -> None:
    """Set the weights of each channel from those of its origin, in place."""
    axis = 0 if len(child.output_shape) == 3 else -1
    parent_weight, weight = (
        built.module.get_parameter("weight").movedim(axis, 0) for built in (parent, child)
    )
    inherited = input_map.origin >= 0
    weight[inherited] = parent_weight[input_map.origin[inherited]]
    morphism.transfer.inherited_params += int(inherited.sum()) * weight[0].numel()
