"""Residual blocks of image networks: pre-activation ResNet, ConvNeXt, attention over pixels.

All keep their input by a skip, and take `drop` for stochastic depth. A space lets it grow over the
depth by giving each block its own, as in `StochasticDepth`.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from netwright.errors import InfeasibleCandidate, expected
from netwright.networks.interfaces.channel_map import ChannelMap
from netwright.networks.interfaces.layer import (
    AddPart,
    BuiltNetwork,
    Composite,
    Morphism,
    Network,
    ZeroInitLayer,
)
from netwright.networks.interfaces.morphism_rules import (
    all_layers_to_zero,
    insert_block,
    map_of_sum,
)
from netwright.networks.interfaces.shapes import Shape
from netwright.networks.layers.activations import ActivationName, NormName
from netwright.networks.layers.basic import Activation, Norm
from netwright.networks.layers.blocks import SelfAttention, StochasticDepth
from netwright.networks.layers.checks import check_images, check_positive
from netwright.networks.layers.conv import Conv
from netwright.networks.layers.image_parts import LayerNorm2d, LayerScale, PositionEmbedding


@dataclass(frozen=True)
class PreActivation(Composite):
    """Pre-activation residual block: norm, activation, convolution, twice (1603.05027, fig. 4e).

    Where the shape changes, the shortcut is a convolution of kernel 1 of the activated input.

    Args:
        channels: Output channels; 0 for as many as come in.
        kernel: Pixels along a side of both kernels; must be odd.
        stride: Of the first convolution.
        groups: Groups of channels of both convolutions, as in `torch.nn.Conv2d`.
        normalisation: "batch", "layer", "group" or "none".
        activation: A name in `ACTIVATIONS`.
        drop: Probability of skipping the body for a row during training (stochastic depth,
            1603.09382).

    Example:
        >>> network = (Conv(16), PreActivation(32, stride=2), Norm(), Activation(), GlobalPool())
    """

    channels: int = 0
    kernel: int = 3
    stride: int = 1
    groups: int = 1
    normalisation: NormName = "batch"
    activation: ActivationName = "relu"
    drop: float = 0.0

    def assemble(self, shape: Shape, add: AddPart) -> Shape:
        check_images(shape)
        channels = self.channels or shape[0]
        preactivation = (Norm(self.normalisation), Activation(self.activation))
        activated_shape = add("preactivation", preactivation, shape)
        body: tuple[Network, ...] = (
            Conv(
                channels,
                self.kernel,
                self.stride,
                groups=self.groups,
                normalisation=self.normalisation,
                activation=self.activation,
            ),
            _bare_conv(channels, self.kernel, groups=self.groups),
            *_stochastic_depth(self.drop),
        )
        body_shape = add("body", body, activated_shape)
        if body_shape != shape:
            shortcut = _bare_conv(channels, kernel=1, stride=self.stride)
            add("shortcut", shortcut, activated_shape)
        return body_shape

    def run(self, parts: nn.ModuleDict, x: Tensor) -> Tensor:
        activated: Tensor = parts["preactivation"](x)
        shortcut: Tensor = parts["shortcut"](activated) if "shortcut" in parts else x
        body: Tensor = parts["body"](activated)
        return body + shortcut

    # Weight inheritance

    def layers_to_zero(
        self, built: BuiltNetwork, *, before_relu: bool
    ) -> list[ZeroInitLayer] | None:
        if "shortcut" not in built.parts:
            return None
        summands = (built.parts["body"], built.parts["shortcut"])
        return all_layers_to_zero(summands, before_relu=before_relu)

    def start_as_identity(
        self,
        morphism: Morphism,
        child: BuiltNetwork,
        input_map: ChannelMap,
        target_map: ChannelMap | None,
    ) -> ChannelMap | None:
        """The shortcut reads the activated input, which is not the input."""
        if "shortcut" in child.parts:
            return None
        return insert_block(morphism, child, input_map, target_map)

    def inherit(
        self,
        morphism: Morphism,
        parent: BuiltNetwork,
        child: BuiltNetwork,
        input_map: ChannelMap,
        target_map: ChannelMap | None,
    ) -> ChannelMap:
        """Without a shortcut the skip decides which channels the body has to output."""
        transfer = morphism.transfer
        activated_map = morphism.inherit(
            parent.parts["preactivation"], child.parts["preactivation"], input_map
        )
        parent_shortcut = parent.parts.get("shortcut")
        child_shortcut = child.parts.get("shortcut")
        body_map = morphism.inherit(
            parent.parts["body"],
            child.parts["body"],
            activated_map,
            target_map if child_shortcut else input_map,
        )
        if parent_shortcut and child_shortcut:
            skip_map = morphism.inherit(parent_shortcut, child_shortcut, activated_map, body_map)
        elif not parent_shortcut and not child_shortcut:
            skip_map = input_map
        else:
            source = "activated input" if child_shortcut else "input itself"
            transfer.record_change(child.position, f"its shortcut reads the {source} now")
            skip_map = transfer.propagate(
                input_map, parent.output_shape, child.output_shape, body_map
            )
        return map_of_sum([skip_map, body_map], parent.output_shape, child.output_shape)


class _SkippedBody(Composite):
    """Base of blocks that add the part "body" to their input and preserve its shape."""

    def run(self, parts: nn.ModuleDict, x: Tensor) -> Tensor:
        body: Tensor = parts["body"](x)
        return x + body


def _inherit_skipped_body(
    self: Composite,
    morphism: Morphism,
    parent: BuiltNetwork,
    child: BuiltNetwork,
    input_map: ChannelMap,
    target_map: ChannelMap | None,
) -> ChannelMap:
    """`Layer.inherit` of a `_SkippedBody`: the skip decides which channels the body outputs."""
    body_map = morphism.inherit(parent.parts["body"], child.parts["body"], input_map, input_map)
    return map_of_sum([input_map, body_map], parent.output_shape, child.output_shape)


def _start_skipped_body_at_zero(
    self: Composite,
    morphism: Morphism,
    child: BuiltNetwork,
    input_map: ChannelMap,
    target_map: ChannelMap | None,
) -> ChannelMap | None:
    """`Layer.start_as_identity` of a `_SkippedBody`."""
    return insert_block(morphism, child, input_map, target_map)


@dataclass(frozen=True)
class ConvNeXtBlock(_SkippedBody):
    """ConvNeXt block: depthwise convolution, layer norm, and an inverted bottleneck (2201.03545).

    The normalisation is over the channels of each pixel. Preserves the shape; `Downsample` or a
    `PatchStem` between blocks changes it.

    Args:
        kernel: Pixels along a side of the depthwise kernel; must be odd.
        expand: Expansion ratio: hidden channels, relative to the channels of the input.
        layer_scale: Initial factor of the body's channels (2103.17239); 0 for no layer scale.
        activation: A name in `ACTIVATIONS`, between the two convolutions of kernel 1.
        drop: Probability of skipping the body for a row during training (stochastic depth,
            1603.09382).

    Example:
        >>> network = (PatchStem(64, patch=4), ConvNeXtBlock(), ConvNeXtBlock(), GlobalPool())
    """

    kernel: int = 7
    expand: int = 4
    layer_scale: float = 1e-6
    activation: ActivationName = "gelu"
    drop: float = 0.0

    def assemble(self, shape: Shape, add: AddPart) -> Shape:
        check_images(shape)
        check_positive(self, "expand")
        if self.layer_scale < 0:
            raise InfeasibleCandidate(expected("layer_scale", "at least 0", self.layer_scale))
        channels = shape[0]
        hidden = channels * self.expand
        body: tuple[Network, ...] = (
            _bare_conv(channels, self.kernel, groups=channels),
            LayerNorm2d(),
            Conv(hidden, kernel=1, normalisation="none", activation=self.activation),
            _bare_conv(channels, kernel=1),
            *((LayerScale(self.layer_scale),) if self.layer_scale else ()),
            *_stochastic_depth(self.drop),
        )
        return add("body", body, shape)

    # Weight inheritance

    inherit = _inherit_skipped_body
    start_as_identity = _start_skipped_body_at_zero


@dataclass(frozen=True)
class ImageAttention(_SkippedBody):
    """Multi-head self-attention over the pixels of a small image, with a skip (1706.03762).

    Layer norm over the channels of each pixel, a learned position embedding, then attention, as in
    the first half of a ViT block (2010.11929). Preserves the shape. Its costs grow with the square
    of the number of pixels: use it after the resolution has been reduced.

    Args:
        heads: A divisor of the channels.
        max_tokens: Pixels above which the block is refused.
        drop: Probability of skipping the body for a row during training (stochastic depth,
            1603.09382).

    Example:
        >>> network = (Conv(32), Downsample(64), ImageAttention(heads=4), GlobalPool())
    """

    heads: int = 4
    max_tokens: int = 256
    drop: float = 0.0

    def assemble(self, shape: Shape, add: AddPart) -> Shape:
        check_images(shape)
        check_positive(self, "heads", "max_tokens")
        n_pixels = shape[1] * shape[2]
        if n_pixels > self.max_tokens:
            raise InfeasibleCandidate(
                f"attention must be over at most {self.max_tokens} pixels, got {n_pixels} "
                f"({shape[1]} x {shape[2]}). Put Downsample() before it, or raise max_tokens."
            )
        body: tuple[Network, ...] = (
            LayerNorm2d(),
            PositionEmbedding(),
            SelfAttention(self.heads),
            *_stochastic_depth(self.drop),
        )
        return add("body", body, shape)

    # Weight inheritance

    inherit = _inherit_skipped_body
    start_as_identity = _start_skipped_body_at_zero


def _bare_conv(channels: int, kernel: int, stride: int = 1, groups: int = 1) -> Conv:
    """Return a convolution with a bias, without normalisation and activation."""
    return Conv(channels, kernel, stride, groups=groups, normalisation="none", activation="none")


def _stochastic_depth(drop: float) -> tuple[StochasticDepth, ...]:
    return (StochasticDepth(drop),) if drop else ()
