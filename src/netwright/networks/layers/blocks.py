"""Layers made of several parts, and layers over sequences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from netwright.errors import InfeasibleCandidate, expected
from netwright.networks.layers.basic import (
    Activation_,
    Add,
    Blocks,
    Composite,
    Conv,
    Leaf,
    Linear,
    Network,
    Shape,
    need_images,
    need_positive,
)


@dataclass(frozen=True)
class Residual(Composite):
    """The body's output plus its input (1512.03385).

    Where the shapes differ, the input goes through a convolution of kernel 1 with the body's
    stride, or through a dense layer.
    """

    body: Network
    is_residual = True

    def assemble(self, shape: Shape, add: Add) -> Shape:
        out = add("body", self.body, shape)
        if out != shape:
            back = add("shortcut", _shortcut(shape, out), shape)
            if back != out:
                raise InfeasibleCandidate(
                    f"a residual body must keep the shape {shape} or shrink it by a whole stride, "
                    f"got {out}. Use padding -1 and an odd kernel in it."
                )
        return out

    def run(self, parts: nn.ModuleDict, x: Tensor) -> Tensor:
        back: Tensor = parts["shortcut"](x) if "shortcut" in parts else x
        out: Tensor = parts["body"](x)
        return out + back


def _shortcut(shape: Shape, out: Shape) -> Network:
    if len(shape) != len(out):
        raise InfeasibleCandidate(
            f"a residual body must keep the number of axes, got {shape} in and {out} out."
        )
    if len(shape) == 3:
        stride = max(1, -(-shape[1] // max(1, out[1])))
        return Conv(out[0], kernel=1, stride=stride, activation="none")
    return Linear(out[-1])


class _SqueezeExcitation(nn.Module):
    """Scales channels by what their means say (1709.01507, eq. 2-4)."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, hidden, 1)
        self.excite = nn.Conv2d(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        s = x.mean((2, 3), keepdim=True)  # (batch, c, 1, 1)
        s = torch.relu(self.squeeze(s))
        return x * torch.sigmoid(self.excite(s))


@dataclass(frozen=True)
class SqueezeExcitation(Leaf):
    """Scales the channels of images; `ratio` is the hidden share of the channels."""

    light = True

    ratio: float = 0.25

    def build(self, shape: Shape) -> nn.Module:
        need_images(shape)
        if not self.ratio > 0:
            raise InfeasibleCandidate(expected("ratio", "above 0", self.ratio))
        return _SqueezeExcitation(shape[0], max(1, round(shape[0] * self.ratio)))


@dataclass(frozen=True)
class MBConv(Composite):
    """Inverted bottleneck (1801.04381): widen by `expand`, filter each channel, narrow again.

    With squeeze-excitation where the ratio `squeeze` is above 0, and a skip where the shapes
    agree. `channels` 0 keeps the number that comes in; `drop` is the probability of skipping the
    block for a row while training (stochastic depth, 1603.09382).
    """

    channels: int = 0
    expand: int = 4
    kernel: int = 3
    stride: int = 1
    squeeze: float = 0.0
    activation: Activation_ = "relu"
    drop: float = 0.0

    def assemble(self, shape: Shape, add: Add) -> Shape:
        need_images(shape)
        need_positive(self, "expand")
        out, wide = self.channels or shape[0], shape[0] * self.expand
        body: list[Network] = []
        if self.expand != 1:
            body.append(Conv(wide, kernel=1, activation=self.activation))
        act = self.activation
        body.append(Conv(wide, self.kernel, self.stride, groups=wide, activation=act))
        if self.squeeze > 0:
            body.append(SqueezeExcitation(self.squeeze / self.expand))
        body.append(Conv(out, kernel=1, activation="none"))
        if self.drop and self.stride == 1 and out == shape[0]:  # else nothing goes round it
            body.append(StochasticDepth(self.drop))
        return add("body", tuple(body), shape)

    def run(self, parts: nn.ModuleDict, x: Tensor) -> Tensor:
        out: Tensor = parts["body"](x)
        return out + x if out.shape == x.shape else out


class _DropRows(nn.Module):
    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        shape = (x.shape[0],) + (1,) * (x.dim() - 1)  # one draw a row
        kept = torch.rand(shape, device=x.device) >= self.p
        return x * kept / (1 - self.p)


@dataclass(frozen=True)
class StochasticDepth(Leaf):
    """Drops whole rows with probability `p` while training (1603.09382): last in a residual body."""

    light = True

    p: float = 0.1

    def build(self, shape: Shape) -> nn.Module:
        if not 0 <= self.p < 1:
            raise InfeasibleCandidate(expected("p", "in [0, 1)", self.p))
        return _DropRows(self.p)


class _Attention(nn.Module):
    """Multi-head self-attention of (batch, t, c), or of images as h w tokens of c channels."""

    blocks: ClassVar[Blocks] = {"qkv.weight": (3, 1), "qkv.bias": (3,)}

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(channels, 3 * channels)
        self.out = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(2).transpose(1, 2) if x.dim() == 4 else x  # (b, t, c)
        _, t, c = tokens.shape
        qkv = self.qkv(tokens).view(-1, t, 3, self.heads, c // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # (b, heads, t, c / heads) each
        attended = nn.functional.scaled_dot_product_attention(q, k, v)
        mixed: Tensor = self.out(attended.transpose(1, 2).reshape(-1, t, c))  # (b, t, c)
        return mixed.transpose(1, 2).reshape(x.shape) if x.dim() == 4 else mixed


@dataclass(frozen=True)
class SelfAttention(Leaf):
    """Multi-head self-attention (1706.03762, sec. 3.2.2) over a sequence, or an image's pixels.

    A block of it is ``Residual((Norm("layer"), SelfAttention(heads)))``.
    """

    heads: int = 4

    def build(self, shape: Shape) -> nn.Module:
        if len(shape) not in (2, 3):
            raise InfeasibleCandidate(expected("input", "a sequence (t, c) or images", shape))
        need_positive(self, "heads")
        channels = shape[0] if len(shape) == 3 else shape[1]
        if channels % self.heads:
            raise InfeasibleCandidate(
                expected("heads", f"a divisor of the {channels} channels", self.heads)
            )
        return _Attention(channels, self.heads)


class _Recurrent(nn.Module):
    def __init__(self, cell: nn.Module) -> None:
        super().__init__()
        self.cell = cell

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.cell(x)[0]  # (batch, t, features)
        return out


@dataclass(frozen=True)
class Recurrent(Leaf):
    """GRU or LSTM over a sequence (t, c) -> (t, features), twice as many when read both ways."""

    features: int = 64
    kind: Literal["gru", "lstm"] = "gru"
    both: bool = False

    def build(self, shape: Shape) -> nn.Module:
        if len(shape) != 2:
            fix = "Put Rows() before it for images."
            raise InfeasibleCandidate(expected("input", "a sequence (t, c)", shape, fix))
        cell = {"gru": nn.GRU, "lstm": nn.LSTM}[self.kind]
        return _Recurrent(cell(shape[1], self.features, batch_first=True, bidirectional=self.both))


class _RowsOfImages(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.permute(0, 2, 1, 3).flatten(2)  # (batch, h, c w)


@dataclass(frozen=True)
class Rows(Leaf):
    """Images (c, h, w) -> sequences (h, c w): each row of pixels is a step."""

    def build(self, shape: Shape) -> nn.Module:
        need_images(shape)
        return _RowsOfImages()
