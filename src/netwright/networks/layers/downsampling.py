"""Layers that reduce the resolution of images: a stem of patches, and steps that halve it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

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
from netwright.networks.interfaces.morphism_rules import layers_of, layers_to_zero
from netwright.networks.interfaces.shapes import Shape
from netwright.networks.layers.activations import ActivationName, NormName
from netwright.networks.layers.basic import Pool
from netwright.networks.layers.checks import check_images, check_positive
from netwright.networks.layers.conv import Conv
from netwright.networks.layers.image_parts import LayerNorm2d

DownsampleKind = Literal["conv", "max", "avg", "blur"]

_POOLS: dict[str, tuple[Pool, ...]] = {
    "conv": (),
    "max": (Pool("max", kernel=3, stride=2),),
    "avg": (Pool("avg", kernel=3, stride=2),),
    # means of 2 pixels, twice, are the filter [1, 2, 1] / 4 of 1904.11486
    "blur": (
        Pool("avg", kernel=2, stride=1, padding=1),
        Pool("avg", kernel=2, stride=2, padding=0),
    ),
}
"""Pooling of each kind before the convolution. All leave ceil(side / 2) pixels a side."""


class _Body(Composite):
    """Base of layers with the single part "body"."""

    def run(self, parts: nn.ModuleDict, x: Tensor) -> Tensor:
        body: Tensor = parts["body"](x)
        return body

    # Weight inheritance

    def layers_to_zero(
        self, built: BuiltNetwork, *, before_relu: bool
    ) -> list[ZeroInitLayer] | None:
        return layers_to_zero(built.parts["body"], before_relu=before_relu)


@dataclass(frozen=True)
class PatchStem(_Body):
    """Stem of non-overlapping patches: a strided convolution, then layer norm (2201.03545).

    The normalisation is over the channels of each patch. Rows and columns at the end that do not
    fill a patch are left out.

    Args:
        channels: Output channels.
        patch: Pixels along a side of a patch.

    Example:
        >>> costs(PatchStem(48, patch=4), (3, 32, 32)).shape
        (48, 8, 8)
    """

    channels: int = 64
    patch: int = 4

    def assemble(self, shape: Shape, add: AddPart) -> Shape:
        check_images(shape)
        check_positive(self, "channels", "patch")
        if self.patch > min(shape[1:]):
            rule = f"at most the {min(shape[1:])} pixels of the image's shorter side"
            raise InfeasibleCandidate(expected("patch", rule, self.patch))
        patches = Conv(
            self.channels,
            kernel=self.patch,
            stride=self.patch,
            padding=0,
            normalisation="none",
            activation="none",
        )
        return add("body", (patches, LayerNorm2d()), shape)

    # Weight inheritance

    def inherit(
        self,
        morphism: Morphism,
        parent: BuiltNetwork,
        child: BuiltNetwork,
        input_map: ChannelMap,
        target_map: ChannelMap | None,
    ) -> ChannelMap:
        return morphism.inherit(parent.parts["body"], child.parts["body"], input_map, target_map)


@dataclass(frozen=True)
class Downsample(_Body):
    """Halve the resolution of images: by a strided convolution, or by pooling and a convolution.

    Every kind leaves ceil(side / 2) pixels a side, so that they can be options of one choice.

    Args:
        channels: Output channels; 0 for as many as come in.
        kind: "conv" for a convolution of stride 2; "max" or "avg" for pooling over 3 x 3 pixels,
            "blur" for a binomial low-pass filter of 3 x 3 pixels against aliasing (1904.11486),
            each followed by a convolution of stride 1.
        kernel: Pixels along a side of the convolution's kernel; must be odd.
        normalisation: "batch", "layer", "group" or "none".
        activation: A name in `ACTIVATIONS`, or "none".

    Example:
        >>> [costs(Downsample(8, kind), (3, 9, 6)).shape for kind in ("conv", "blur")]
        [(8, 5, 3), (8, 5, 3)]
    """

    channels: int = 0
    kind: DownsampleKind = "conv"
    kernel: int = 3
    normalisation: NormName = "batch"
    activation: ActivationName = "relu"

    def assemble(self, shape: Shape, add: AddPart) -> Shape:
        check_images(shape)
        if self.kind not in _POOLS:
            rule = f"one of {', '.join(get_args(DownsampleKind))}"
            raise InfeasibleCandidate(expected("kind", rule, self.kind))
        if shape[1:] == (1, 1):
            raise InfeasibleCandidate(expected("input", "an image of several pixels", shape))
        conv = Conv(
            self.channels,
            self.kernel,
            stride=2 if self.kind == "conv" else 1,
            normalisation=self.normalisation,
            activation=self.activation,
        )
        body: tuple[Network, ...] = (*_POOLS[self.kind], conv)
        return add("body", body, shape)

    # Weight inheritance

    def inherit(
        self,
        morphism: Morphism,
        parent: BuiltNetwork,
        child: BuiltNetwork,
        input_map: ChannelMap,
        target_map: ChannelMap | None,
    ) -> ChannelMap:
        """The convolution inherits from the convolution, whatever is before it."""
        parent_layers, child_layers = (layers_of(built.parts["body"]) for built in (parent, child))
        pairs: list[tuple[BuiltNetwork | None, BuiltNetwork | None]]
        if len(parent_layers) == len(child_layers):
            pairs = [*zip(parent_layers, child_layers, strict=True)]
        else:
            pairs = [(pool, None) for pool in parent_layers[:-1]]
            pairs += [(None, pool) for pool in child_layers[:-1]]
            pairs.append((parent_layers[-1], child_layers[-1]))
        return morphism.inherit_sequence(pairs, input_map, target_map)
