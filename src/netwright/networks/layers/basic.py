"""Layers without weights, and normalisation as a layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from netwright.errors import InfeasibleCandidate, expected
from netwright.networks.interfaces.channel_map import NEW, ChannelMap, all_new
from netwright.networks.interfaces.layer import BuiltNetwork, Leaf, Morphism, ZeroInitLayer
from netwright.networks.interfaces.morphism_rules import inherit_channels
from netwright.networks.interfaces.shapes import Shape, n_channels, spatial_shape
from netwright.networks.interfaces.transfer import set_norm
from netwright.networks.layers.activations import (
    ActivationName,
    NormName,
    has_kink,
    make_activation,
    make_norm,
    preserves_nonnegative,
)
from netwright.networks.layers.checks import check_images, check_odd_kernel, check_positive
from netwright.networks.sequence_norm import unwrap_norm


@dataclass(frozen=True)
class Pool(Leaf):
    """Max or average pooling of images (c, h, w).

    Args:
        kind: "max", or "avg", which leaves out padded pixels.
        kernel: Pixels along a side of the window.
        stride: Pixels from window to window.
        padding: Pixels of padding on each side; -1 preserves the size at stride 1 (the kernel must
            then be odd).
    """

    cheap_to_run = True
    preserves_zero = True

    kind: Literal["max", "avg"] = "max"
    kernel: int = 3
    stride: int = 1
    padding: int = -1

    def build(self, shape: Shape) -> nn.Module:
        check_images(shape)
        check_positive(self, "kernel", "stride")
        check_odd_kernel(self.kernel, self.padding)
        padding = self.kernel // 2 if self.padding < 0 else self.padding
        if self.kind == "max":
            return nn.MaxPool2d(self.kernel, self.stride, padding)
        return nn.AvgPool2d(self.kernel, self.stride, padding, count_include_pad=False)

    inherit = inherit_channels


class _Mean(nn.Module):
    """Mean over some axes."""

    def __init__(self, axes: tuple[int, ...]) -> None:
        super().__init__()
        self.axes = axes

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(self.axes)


class _Max(_Mean):
    """Maximum over some axes."""

    def forward(self, x: Tensor) -> Tensor:
        return x.amax(self.axes)


@dataclass(frozen=True)
class GlobalPool(Leaf):
    """Pooling over all pixels or tokens: (c, h, w) -> (c,), (t, c) -> (c,); columns stay.

    Args:
        kind: "avg" or "max".
    """

    cheap_to_run = True
    preserves_zero = True

    kind: Literal["avg", "max"] = "avg"

    def build(self, shape: Shape) -> nn.Module:
        if len(shape) == 1:
            return nn.Identity()
        axes = (2, 3) if len(shape) == 3 else (1,)
        return _Mean(axes) if self.kind == "avg" else _Max(axes)

    inherit = inherit_channels


@dataclass(frozen=True)
class Norm(Leaf):
    """Normalisation of images, sequences or columns.

    Args:
        kind: "batch", "batch_bias" (without a learned scale), "layer", "group" (images and columns,
            up to 8 groups) or "none".
    """

    cheap_to_run = True

    kind: NormName = "batch"

    def build(self, shape: Shape) -> nn.Module:
        return make_norm(self.kind, shape)

    def is_identity(self, *, nonnegative_input: bool) -> bool:
        return self.kind == "none"

    def layers_to_zero(
        self, built: BuiltNetwork, *, before_relu: bool
    ) -> list[ZeroInitLayer] | None:
        return None if self.kind == "batch_bias" else [ZeroInitLayer(built, before_relu)]

    def module_to_zero(self, built: BuiltNetwork) -> nn.Module:
        return unwrap_norm(built.module)

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


@dataclass(frozen=True)
class Activation(Leaf):
    """An activation function.

    Args:
        kind: A name in `ACTIVATIONS`: "relu", "gelu", "silu", "none"...
    """

    cheap_to_run = True
    preserves_zero = True

    kind: ActivationName = "relu"

    def build(self, shape: Shape) -> nn.Module:
        return make_activation(self.kind)

    inherit = inherit_channels

    @property
    def has_kink(self) -> bool:
        return has_kink(self.kind)

    def is_identity(self, *, nonnegative_input: bool) -> bool:
        return self.kind == "none" or (nonnegative_input and preserves_nonnegative(self.kind))

    def is_nonnegative(self, built: BuiltNetwork, *, nonnegative_input: bool) -> bool:
        return nonnegative_input or self.kind == "relu"


class _Dropout(nn.Dropout):
    """Dropout in a quarter of PyTorch's time on a CPU, which draws one number at a time.

    Sixteen random bits for each element: `p` is rounded to a multiple of 1 / 65536.
    """

    def forward(self, x: Tensor) -> Tensor:
        threshold = min(round(self.p * 2**16), 2**16 - 1)
        if not self.training or not threshold or x.device.type != "cpu":
            return super().forward(x)
        random_int64 = torch.empty((x.numel() + 3) // 4, dtype=torch.int64).random_(-(2**63), None)
        # uniform in [-2^15, 2^15)
        random_int16 = random_int64.view(torch.int16)[: x.numel()].view(x.shape)
        keep_mask = random_int16.to(torch.float32).ge_(threshold - 2**15)  # exact: 16 bits fit
        return x * keep_mask.mul_(1 / (1 - threshold / 2**16)).to(x.dtype)


class _Multiply(nn.Module):
    """Multiplication by a constant."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factor


@dataclass(frozen=True)
class Multiply(Leaf):
    """Multiplication by a constant: of the scores, it softens the first probabilities.

    Args:
        factor: Above 0.

    Example:
        >>> head = (GlobalPool("max"), Linear(), Multiply(1 / 9))
    """

    cheap_to_run = True
    preserves_zero = True

    factor: float = 1.0

    def build(self, shape: Shape) -> nn.Module:
        if not self.factor > 0:
            raise InfeasibleCandidate(expected("factor", "above 0", self.factor))
        return _Multiply(self.factor)

    inherit = inherit_channels

    def is_identity(self, *, nonnegative_input: bool) -> bool:
        return self.factor == 1


@dataclass(frozen=True)
class Dropout(Leaf):
    """Dropout: zeroes each element at random during training, and scales the others up.

    Args:
        p: Probability of an element to be zeroed, in [0, 1).
    """

    cheap_to_run = True

    p: float = 0.1

    def build(self, shape: Shape) -> nn.Module:
        if not 0 <= self.p < 1:
            raise InfeasibleCandidate(expected("p", "in [0, 1)", self.p))
        return _Dropout(self.p)

    inherit = inherit_channels

    def is_identity(self, *, nonnegative_input: bool) -> bool:
        return True


@dataclass(frozen=True)
class Flatten(Leaf):
    """All elements of a row in one axis: (c, h, w) -> (c h w,), (t, c) -> (t c,)."""

    cheap_to_run = True
    preserves_zero = True

    def build(self, shape: Shape) -> nn.Module:
        return nn.Flatten()

    def inherit(
        self,
        morphism: Morphism,
        parent: BuiltNetwork,
        child: BuiltNetwork,
        input_map: ChannelMap,
        target_map: ChannelMap | None,
    ) -> ChannelMap:
        if spatial_shape(parent.input_shape) != spatial_shape(child.input_shape):
            return all_new(parent.output_shape, child.output_shape)
        is_image = len(parent.input_shape) == 3
        indices = torch.arange(n_channels(parent.output_shape)).view(*parent.input_shape)
        by_channel = (indices if is_image else indices.movedim(-1, 0)).flatten(1)  # (c, positions)
        origin = torch.where(input_map.origin[:, None] >= 0, by_channel[input_map.origin], NEW)
        flat_origin = (origin if is_image else origin.T).flatten()
        return ChannelMap(parent.output_shape, child.output_shape, flat_origin)


@dataclass(frozen=True)
class Skip(Leaf):
    """The identity."""

    cheap_to_run = True

    def build(self, shape: Shape) -> nn.Module:
        return nn.Identity()

    inherit = inherit_channels

    def is_identity(self, *, nonnegative_input: bool) -> bool:
        return True


class _Zeros(nn.Module):
    """Zeros in the shape of the input."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.zeros_like(x)


@dataclass(frozen=True)
class Zero(Leaf):
    """Zeros in the shape of the input: the operation "none" of cell spaces."""

    cheap_to_run = True

    @property
    def dead(self) -> bool:
        return True

    def build(self, shape: Shape) -> nn.Module:
        return _Zeros()

    inherit = inherit_channels

    def is_nonnegative(self, built: BuiltNetwork, *, nonnegative_input: bool) -> bool:
        return True
