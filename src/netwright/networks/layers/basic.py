"""Layers without weights of their own, and normalisation by itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from netwright.errors import InfeasibleCandidate, expected
from netwright.networks.interfaces.channel_map import NEW, ChannelMap, unknown
from netwright.networks.interfaces.layer import BuiltNetwork, End, Leaf, Morphism
from netwright.networks.interfaces.morphism_rules import inherit_channels
from netwright.networks.interfaces.shapes import Shape, around, width
from netwright.networks.interfaces.transfer import set_norm
from netwright.networks.layers.activations import (
    ActivationName,
    NormName,
    activation,
    has_kink,
    normalisation,
    passes_positive,
)
from netwright.networks.layers.checks import need_images, need_odd, need_positive
from netwright.networks.sequence_norm import plain_norm


@dataclass(frozen=True)
class Pool(Leaf):
    """Largest or mean value of windows of images.

    `padding` -1 keeps the size at stride 1 (the kernel must then be odd).
    """

    light = True
    preserves_zero = True

    kind: Literal["max", "avg"] = "max"
    kernel: int = 3
    stride: int = 1
    padding: int = -1

    def build(self, shape: Shape) -> nn.Module:
        need_images(shape)
        need_positive(self, "kernel", "stride")
        need_odd(self.kernel, self.padding)
        padding = self.kernel // 2 if self.padding < 0 else self.padding
        if self.kind == "max":
            return nn.MaxPool2d(self.kernel, self.stride, padding)
        return nn.AvgPool2d(self.kernel, self.stride, padding, count_include_pad=False)

    inherit = inherit_channels


class _Mean(nn.Module):
    """The mean over some axes."""

    def __init__(self, axes: tuple[int, ...]) -> None:
        super().__init__()
        self.axes = axes

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(self.axes)


class _Max(_Mean):
    def forward(self, x: Tensor) -> Tensor:
        return x.amax(self.axes)


@dataclass(frozen=True)
class GlobalPool(Leaf):
    """Images (c, h, w) -> (c,); sequences (t, c) -> (c,); columns stay."""

    light = True
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
    """Normalisation by itself."""

    light = True

    kind: NormName = "batch"

    def build(self, shape: Shape) -> nn.Module:
        return normalisation(self.kind, shape)

    def is_identity(self, positive: bool) -> bool:
        return self.kind == "none"

    def ends(self, part: BuiltNetwork, kinked: bool) -> list[End] | None:
        return [End(part, kinked)]

    def last_module(self, part: BuiltNetwork) -> nn.Module:
        return plain_norm(part.module)

    def inherit(
        self,
        walk: Morphism,
        old: BuiltNetwork,
        new: BuiltNetwork,
        flow: ChannelMap,
        wanted: ChannelMap | None,
    ) -> ChannelMap:
        set_norm(walk.transfer, new.position, old.module, new.module, flow)
        return ChannelMap(old.output_shape, new.output_shape, flow.origin)


@dataclass(frozen=True)
class Activation(Leaf):
    """An activation by itself."""

    light = True
    preserves_zero = True

    kind: ActivationName = "relu"

    def build(self, shape: Shape) -> nn.Module:
        return activation(self.kind)

    inherit = inherit_channels

    @property
    def has_kink(self) -> bool:
        return has_kink(self.kind)

    def is_identity(self, positive: bool) -> bool:
        return self.kind == "none" or (positive and passes_positive(self.kind))

    def is_positive(self, part: BuiltNetwork, before: bool) -> bool:
        return before or self.kind == "relu"


class _Dropout(nn.Dropout):
    """On a CPU a fourth of the time of torch's own, which draws one number at a time.

    Sixteen random bits for each number: `p` is rounded to 1 / 65536.
    """

    def forward(self, x: Tensor) -> Tensor:
        dropped = min(round(self.p * 2**16), 2**16 - 1)
        if not self.training or not dropped or x.device.type != "cpu":
            return super().forward(x)
        words = torch.empty((x.numel() + 3) // 4, dtype=torch.int64).random_(-(2**63), None)
        draws = words.view(torch.int16)[: x.numel()].view(x.shape)  # uniform in [-2^15, 2^15)
        kept = draws.to(torch.float32).ge_(dropped - 2**15)  # exact: 16 bits fit
        return x * kept.mul_(1 / (1 - dropped / 2**16)).to(x.dtype)


@dataclass(frozen=True)
class Dropout(Leaf):
    """Drops each number with probability `p` while training."""

    light = True

    p: float = 0.1

    def build(self, shape: Shape) -> nn.Module:
        if not 0 <= self.p < 1:
            raise InfeasibleCandidate(expected("p", "in [0, 1)", self.p))
        return _Dropout(self.p)

    inherit = inherit_channels

    def is_identity(self, positive: bool) -> bool:
        return True


@dataclass(frozen=True)
class Flatten(Leaf):
    """All numbers of a row in one axis."""

    light = True
    preserves_zero = True

    def build(self, shape: Shape) -> nn.Module:
        return nn.Flatten()

    def inherit(
        self,
        walk: Morphism,
        old: BuiltNetwork,
        new: BuiltNetwork,
        flow: ChannelMap,
        wanted: ChannelMap | None,
    ) -> ChannelMap:
        """(c, h, w) -> (c h w,); (t, c) -> (t c,)."""
        if around(old.input_shape) != around(new.input_shape):
            return unknown(old.output_shape, new.output_shape)
        images = len(old.input_shape) == 3
        places = torch.arange(width(old.output_shape)).view(*old.input_shape)
        by_channel = (places if images else places.movedim(-1, 0)).flatten(1)  # (c, others)
        found = torch.where(flow.origin[:, None] >= 0, by_channel[flow.origin], NEW)
        return ChannelMap(
            old.output_shape, new.output_shape, (found if images else found.T).flatten()
        )


@dataclass(frozen=True)
class Skip(Leaf):
    """What comes in goes out."""

    light = True

    def build(self, shape: Shape) -> nn.Module:
        return nn.Identity()

    inherit = inherit_channels

    def is_identity(self, positive: bool) -> bool:
        return True


class _Zeros(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.zeros_like(x)


@dataclass(frozen=True)
class Zero(Leaf):
    """Nothing goes out: the edge "none" of cells."""

    light = True

    @property
    def dead(self) -> bool:
        return True

    def build(self, shape: Shape) -> nn.Module:
        return _Zeros()

    inherit = inherit_channels

    def is_positive(self, part: BuiltNetwork, before: bool) -> bool:
        return True
