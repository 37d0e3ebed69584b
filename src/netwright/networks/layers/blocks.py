"""Layers made of several parts, and layers over sequences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from netwright.errors import InfeasibleCandidate, expected
from netwright.networks.interfaces.channel_map import (
    NEW,
    ChannelMap,
    read,
    replicated,
    unknown,
)
from netwright.networks.interfaces.layer import (
    AddPart,
    Blocks,
    BuiltNetwork,
    Composite,
    End,
    Leaf,
    Morphism,
    Network,
)
from netwright.networks.interfaces.morphism_rules import (
    all_ends,
    ends_of,
    inherit_channels,
    insert_block,
    is_positive,
    items,
    replaced,
    sum_of,
)
from netwright.networks.interfaces.shapes import Shape, around, width
from netwright.networks.interfaces.transfer import set_weights
from netwright.networks.layers.activations import ActivationName
from netwright.networks.layers.checks import need_images, need_positive
from netwright.networks.layers.conv import Conv
from netwright.networks.layers.linear import Linear


@dataclass(frozen=True)
class Residual(Composite):
    """The body's output plus its input (1512.03385).

    Where the shapes differ, the input goes through a convolution of kernel 1 with the body's
    stride, or through a dense layer.
    """

    body: Network
    is_residual = True

    def assemble(self, shape: Shape, add: AddPart) -> Shape:
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

    # Weights from a parent

    def is_positive(self, part: BuiltNetwork, before: bool) -> bool:
        return before and "shortcut" not in part.parts and is_positive(part.parts["body"], before)

    def ends(self, part: BuiltNetwork, kinked: bool) -> list[End] | None:
        return all_ends(part.parts.values(), kinked) if "shortcut" in part.parts else None

    def start_as_identity(
        self, walk: Morphism, new: BuiltNetwork, flow: ChannelMap, wanted: ChannelMap | None
    ) -> ChannelMap | None:
        return insert_block(walk, new, flow, wanted)

    def inherit(
        self,
        walk: Morphism,
        old: BuiltNetwork,
        new: BuiltNetwork,
        flow: ChannelMap,
        wanted: ChannelMap | None,
    ) -> ChannelMap:
        """The skip says which channels the body has to put out."""
        ours, theirs = old.parts.get("shortcut"), new.parts.get("shortcut")
        body = [part.parts["body"] for part in (old, new)]
        out = walk.inherit(body[0], body[1], flow, wanted if theirs else flow)
        if theirs is None:
            back = walk.remove(ours, flow) if ours else flow
        elif ours is None:
            back = walk.insert(theirs, flow, out)
        else:
            back = walk.inherit(ours, theirs, flow, out)
        return sum_of([back, out], old.output_shape, new.output_shape)


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
    preserves_zero = True

    ratio: float = 0.25

    def build(self, shape: Shape) -> nn.Module:
        need_images(shape)
        if not self.ratio > 0:
            raise InfeasibleCandidate(expected("ratio", "above 0", self.ratio))
        return _SqueezeExcitation(shape[0], max(1, round(shape[0] * self.ratio)))

    def inherit(
        self,
        walk: Morphism,
        old: BuiltNetwork,
        new: BuiltNetwork,
        flow: ChannelMap,
        wanted: ChannelMap | None,
    ) -> ChannelMap:
        transfer, position = walk.transfer, new.position
        squeeze, excite = (old.submodule(name, nn.Conv2d) for name in ("squeeze", "excite"))
        ours, theirs = (new.submodule(name, nn.Conv2d) for name in ("squeeze", "excite"))
        hidden, hidden_new = squeeze.out_channels, ours.out_channels
        if hidden_new < hidden and flow.is_complete:
            transfer.record_change(position, f"{hidden_new} hidden channels in place of {hidden}")
        importance = squeeze.weight.flatten(1).norm(dim=1) * excite.weight.flatten(1).norm(dim=0)
        of = transfer.choose_origins(hidden, hidden_new, importance)
        of = set_weights(transfer, position, flow, ours, squeeze.weight, 1, of, squeeze.bias)
        between = ChannelMap((hidden,), (hidden_new,), of)
        origin = flow.origin
        set_weights(transfer, position, between, theirs, excite.weight, 1, origin, excite.bias)
        return ChannelMap(old.output_shape, new.output_shape, origin)


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
    activation: ActivationName = "relu"
    drop: float = 0.0

    def assemble(self, shape: Shape, add: AddPart) -> Shape:
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

    # Weights from a parent

    def ends(self, part: BuiltNetwork, kinked: bool) -> list[End] | None:
        return None if _has_skip(part) else ends_of(part.parts["body"], kinked)

    def start_as_identity(
        self, walk: Morphism, new: BuiltNetwork, flow: ChannelMap, wanted: ChannelMap | None
    ) -> ChannelMap | None:
        return insert_block(walk, new, flow, wanted) if _has_skip(new) else None

    def inherit(
        self,
        walk: Morphism,
        old: BuiltNetwork,
        new: BuiltNetwork,
        flow: ChannelMap,
        wanted: ChannelMap | None,
    ) -> ChannelMap:
        """Its parts by their roles."""
        roles = [_roles(part) for part in (old, new)]
        skips = [_has_skip(part) for part in (old, new)]
        pairs = [(roles[0].get(role), roles[1].get(role)) for role in _ROLES]
        out = walk.inherit_sequence(pairs, flow, flow if skips[1] else wanted)
        if skips[0] != skips[1]:
            what = "a" if skips[1] else "no"
            walk.transfer.record_change(new.position, f"{what} skip, unlike before")
        return sum_of([flow, out], old.output_shape, new.output_shape) if all(skips) else out


def _has_skip(part: BuiltNetwork) -> bool:
    """Whether an `MBConv` adds what comes in to what goes out."""
    return part.parts["body"].output_shape == part.input_shape


_ROLES = ("expand", "filter", "squeeze", "project", "drop")


def _roles(part: BuiltNetwork) -> dict[str, BuiltNetwork]:
    """The layers of an `MBConv` by what they are for."""
    layer = part.network
    assert isinstance(layer, MBConv)
    there = (layer.expand != 1, True, layer.squeeze > 0, True, True)
    names = [role for role, is_there in zip(_ROLES, there, strict=True) if is_there]
    return dict(zip(names, items(part.parts["body"]), strict=False))


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

    inherit = inherit_channels

    def is_identity(self, positive: bool) -> bool:
        return True


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

    # Weights from a parent

    def ends(self, part: BuiltNetwork, kinked: bool) -> list[End] | None:
        return [End(part, kinked)]

    def last_module(self, part: BuiltNetwork) -> nn.Module:
        return part.module.get_submodule("out")

    def inherit(
        self,
        walk: Morphism,
        old: BuiltNetwork,
        new: BuiltNetwork,
        flow: ChannelMap,
        wanted: ChannelMap | None,
    ) -> ChannelMap:
        """Heads get wider, each from its own."""
        transfer, before = walk.transfer, old.network
        assert isinstance(before, SelfAttention)
        c, c_new = width(old.output_shape), width(new.output_shape)
        if before.heads != self.heads or c_new < c:
            return replaced(transfer, old, new, flow, wanted)
        d, d_new = c // self.heads, c_new // self.heads
        of_head = replicated(d, d_new, transfer.seed)
        inner = torch.cat([head * d + of_head for head in range(self.heads)])  # (c',)
        ours, theirs = (part.submodule("qkv", nn.Linear) for part in (old, new))
        qkv = torch.cat([inner, inner + c, inner + 2 * c])
        kernel = ours.weight[:, :, None, None]
        of = set_weights(transfer, new.position, flow, theirs, kernel, 1, qkv, ours.bias)
        # q k / sqrt(d) counts each replica, and is divided by another d
        scale = (d_new / d) ** 0.5 / torch.bincount(inner)[inner]
        theirs.weight[:c_new] *= scale[:, None]
        theirs.bias[:c_new] *= scale
        between = ChannelMap((c,), (c_new,), torch.where(of[:c_new] >= 0, inner, NEW))
        ours, theirs = (part.submodule("out", nn.Linear) for part in (old, new))
        kernel = ours.weight[:, :, None, None]
        out = transfer.choose_origins(c, c_new, torch.ones(c), flow, wanted)
        out = set_weights(transfer, new.position, between, theirs, kernel, 1, out, ours.bias)
        return ChannelMap(old.output_shape, new.output_shape, out)


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
    bidirectional: bool = False

    def build(self, shape: Shape) -> nn.Module:
        if len(shape) != 2:
            fix = "Put Rows() before it for images."
            raise InfeasibleCandidate(expected("input", "a sequence (t, c)", shape, fix))
        cell = {"gru": nn.GRU, "lstm": nn.LSTM}[self.kind]
        return _Recurrent(
            cell(shape[1], self.features, batch_first=True, bidirectional=self.bidirectional)
        )

    def inherit(
        self,
        walk: Morphism,
        old: BuiltNetwork,
        new: BuiltNetwork,
        flow: ChannelMap,
        wanted: ChannelMap | None,
    ) -> ChannelMap:
        transfer, before = walk.transfer, old.network
        assert isinstance(before, Recurrent)
        alike = (before.kind, before.bidirectional) == (self.kind, self.bidirectional)
        if not alike or self.features < before.features:
            return replaced(transfer, old, new, flow, wanted)
        if not (flow.origin >= 0).any():
            return unknown(old.output_shape, new.output_shape)
        hidden = replicated(before.features, self.features, transfer.seed)
        gates = {"gru": 3, "lstm": 4}[self.kind]
        rows = torch.cat([gate * before.features + hidden for gate in range(gates)])
        state = old.module.state_dict()
        for name, mine in new.module.state_dict().items():
            if "bias" in name:
                mine.copy_(state[name][rows])
            else:
                source = flow.origin if "_ih_" in name else hidden
                kernel = state[name][:, :, None, None]
                mine.copy_(read(kernel, 1, source, rows, len(source), 1).weight[:, :, 0, 0])
                transfer.add_noise(mine, rows)
            transfer.inherited_params += mine.numel()
        both = [hidden, hidden + before.features] if self.bidirectional else [hidden]
        return ChannelMap(old.output_shape, new.output_shape, torch.cat(both))


class _RowsOfImages(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.permute(0, 2, 1, 3).flatten(2)  # (batch, h, c w)


@dataclass(frozen=True)
class Rows(Leaf):
    """Images (c, h, w) -> sequences (h, c w): each row of pixels is a step."""

    preserves_zero = True

    def build(self, shape: Shape) -> nn.Module:
        need_images(shape)
        return _RowsOfImages()

    def inherit(
        self,
        walk: Morphism,
        old: BuiltNetwork,
        new: BuiltNetwork,
        flow: ChannelMap,
        wanted: ChannelMap | None,
    ) -> ChannelMap:
        """(c, h, w) -> (h, c w)."""
        if around(old.input_shape) != around(new.input_shape):
            return unknown(old.output_shape, new.output_shape)
        w = old.input_shape[2]
        columns = flow.origin[:, None] * w + torch.arange(w)  # (c', w)
        found = torch.where(flow.origin[:, None] >= 0, columns, NEW)
        return ChannelMap(old.output_shape, new.output_shape, found.flatten())
