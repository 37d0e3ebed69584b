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
    all_new,
    remap_kernel,
    replicate_channels,
)
from netwright.networks.interfaces.layer import (
    AddPart,
    Blocks,
    BuiltNetwork,
    Composite,
    Leaf,
    Morphism,
    Network,
    ZeroInitLayer,
)
from netwright.networks.interfaces.morphism_rules import (
    all_layers_to_zero,
    inherit_channels,
    insert_block,
    is_nonnegative,
    layers_of,
    layers_to_zero,
    map_of_sum,
    start_afresh,
)
from netwright.networks.interfaces.shapes import Shape, n_channels, spatial_shape
from netwright.networks.interfaces.transfer import set_weights
from netwright.networks.layers.activations import ActivationName
from netwright.networks.layers.checks import check_images, check_positive
from netwright.networks.layers.conv import Conv
from netwright.networks.layers.linear import Linear


@dataclass(frozen=True)
class Residual(Composite):
    """The output of its body plus its input (He et al. 2016, 1512.03385).

    Where the shapes differ, the input goes through a convolution of kernel 1 with the body's
    stride, or through a dense layer.

    Args:
        body: A network that preserves the number of axes.

    Example:
        >>> network = (Conv(32), Residual((Conv(), Conv(activation="none"))))
    """

    body: Network
    is_residual = True

    def assemble(self, shape: Shape, add: AddPart) -> Shape:
        body_shape = add("body", self.body, shape)
        if body_shape != shape:
            shortcut_shape = add("shortcut", _shortcut(shape, body_shape), shape)
            if shortcut_shape != body_shape:
                raise InfeasibleCandidate(
                    f"a residual body must keep the shape {shape} or shrink it by a whole stride, "
                    f"got {body_shape}. Use padding -1 and an odd kernel in it."
                )
        return body_shape

    def run(self, parts: nn.ModuleDict, x: Tensor) -> Tensor:
        shortcut: Tensor = parts["shortcut"](x) if "shortcut" in parts else x
        body: Tensor = parts["body"](x)
        return body + shortcut

    # Weight inheritance

    def is_nonnegative(self, built: BuiltNetwork, *, nonnegative_input: bool) -> bool:
        return (
            nonnegative_input
            and "shortcut" not in built.parts
            and is_nonnegative(built.parts["body"], nonnegative_input=nonnegative_input)
        )

    def layers_to_zero(
        self, built: BuiltNetwork, *, before_relu: bool
    ) -> list[ZeroInitLayer] | None:
        if "shortcut" not in built.parts:
            return None
        return all_layers_to_zero(built.parts.values(), before_relu=before_relu)

    def start_as_identity(
        self,
        morphism: Morphism,
        child: BuiltNetwork,
        input_map: ChannelMap,
        target_map: ChannelMap | None,
    ) -> ChannelMap | None:
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
        parent_shortcut = parent.parts.get("shortcut")
        child_shortcut = child.parts.get("shortcut")
        body_map = morphism.inherit(
            parent.parts["body"],
            child.parts["body"],
            input_map,
            target_map if child_shortcut else input_map,
        )
        if child_shortcut is None:
            skip_map = morphism.remove(parent_shortcut, input_map) if parent_shortcut else input_map
        elif parent_shortcut is None:
            skip_map = morphism.insert(child_shortcut, input_map, body_map)
        else:
            skip_map = morphism.inherit(parent_shortcut, child_shortcut, input_map, body_map)
        return map_of_sum([skip_map, body_map], parent.output_shape, child.output_shape)


def _shortcut(shape: Shape, body_shape: Shape) -> Network:
    """Return a layer from a residual block's input shape to its body's output shape."""
    if len(shape) != len(body_shape):
        raise InfeasibleCandidate(
            f"a residual body must keep the number of axes, got {shape} in and {body_shape} out."
        )
    if len(shape) == 3:
        stride = max(1, -(-shape[1] // max(1, body_shape[1])))
        return Conv(body_shape[0], kernel=1, stride=stride, activation="none")
    return Linear(body_shape[-1])


class _SqueezeExcitation(nn.Module):
    """Scales channels by a function of their means (1709.01507, eq. 2-4)."""

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
    """Squeeze-and-excitation of images: scales channels by their means (1709.01507).

    Args:
        ratio: Hidden channels, relative to the channels of the input.
    """

    cheap_to_run = True
    preserves_zero = True

    ratio: float = 0.25

    def build(self, shape: Shape) -> nn.Module:
        check_images(shape)
        if not self.ratio > 0:
            raise InfeasibleCandidate(expected("ratio", "above 0", self.ratio))
        return _SqueezeExcitation(shape[0], max(1, round(shape[0] * self.ratio)))

    def inherit(
        self,
        morphism: Morphism,
        parent: BuiltNetwork,
        child: BuiltNetwork,
        input_map: ChannelMap,
        target_map: ChannelMap | None,
    ) -> ChannelMap:
        transfer, position = morphism.transfer, child.position
        squeeze, excite = (parent.submodule(name, nn.Conv2d) for name in ("squeeze", "excite"))
        child_squeeze, child_excite = (
            child.submodule(name, nn.Conv2d) for name in ("squeeze", "excite")
        )
        hidden, child_hidden = squeeze.out_channels, child_squeeze.out_channels
        if child_hidden < hidden and input_map.is_complete:
            transfer.record_change(position, f"{child_hidden} hidden channels instead of {hidden}")
        importance = squeeze.weight.flatten(1).norm(dim=1) * excite.weight.flatten(1).norm(dim=0)
        hidden_origin = transfer.choose_origins(hidden, child_hidden, importance)
        hidden_origin = set_weights(
            transfer,
            position,
            input_map,
            child_squeeze,
            squeeze.weight,
            1,
            hidden_origin,
            squeeze.bias,
        )
        hidden_map = ChannelMap((hidden,), (child_hidden,), hidden_origin)
        origin = input_map.origin
        set_weights(
            transfer, position, hidden_map, child_excite, excite.weight, 1, origin, excite.bias
        )
        return ChannelMap(parent.output_shape, child.output_shape, origin)


@dataclass(frozen=True)
class MBConv(Composite):
    """Inverted bottleneck of MobileNetV2 (1801.04381): expand, depthwise convolution, project.

    With a skip where input and output have the same shape.

    Args:
        channels: Output channels; 0 for as many as come in.
        expand: Expansion ratio: hidden channels, relative to the channels of the input.
        kernel: Pixels along a side of the depthwise kernel; must be odd.
        stride: Of the depthwise convolution.
        squeeze: Ratio of squeeze-and-excitation, relative to the input channels; 0 for none.
        activation: A name in `ACTIVATIONS`.
        drop: Probability of skipping the block for a row during training (stochastic depth,
            1603.09382).

    Example:
        >>> network = (Conv(16), MBConv(24, expand=4, stride=2), GlobalPool(), Linear())
    """

    channels: int = 0
    expand: int = 4
    kernel: int = 3
    stride: int = 1
    squeeze: float = 0.0
    activation: ActivationName = "relu"
    drop: float = 0.0

    def assemble(self, shape: Shape, add: AddPart) -> Shape:
        check_images(shape)
        check_positive(self, "expand")
        channels_out, hidden = self.channels or shape[0], shape[0] * self.expand
        body: list[Network] = []
        if self.expand != 1:
            body.append(Conv(hidden, kernel=1, activation=self.activation))
        body.append(
            Conv(hidden, self.kernel, self.stride, groups=hidden, activation=self.activation)
        )
        if self.squeeze > 0:
            body.append(SqueezeExcitation(self.squeeze / self.expand))
        body.append(Conv(channels_out, kernel=1, activation="none"))
        # without a skip nothing would be left of a dropped row
        if self.drop and self.stride == 1 and channels_out == shape[0]:
            body.append(StochasticDepth(self.drop))
        return add("body", tuple(body), shape)

    def run(self, parts: nn.ModuleDict, x: Tensor) -> Tensor:
        body: Tensor = parts["body"](x)
        return body + x if body.shape == x.shape else body

    # Weight inheritance

    def layers_to_zero(
        self, built: BuiltNetwork, *, before_relu: bool
    ) -> list[ZeroInitLayer] | None:
        if _has_skip(built):
            return None
        return layers_to_zero(built.parts["body"], before_relu=before_relu)

    def start_as_identity(
        self,
        morphism: Morphism,
        child: BuiltNetwork,
        input_map: ChannelMap,
        target_map: ChannelMap | None,
    ) -> ChannelMap | None:
        return insert_block(morphism, child, input_map, target_map) if _has_skip(child) else None

    def inherit(
        self,
        morphism: Morphism,
        parent: BuiltNetwork,
        child: BuiltNetwork,
        input_map: ChannelMap,
        target_map: ChannelMap | None,
    ) -> ChannelMap:
        """Pair the layers by their roles."""
        parent_layers, child_layers = _layers_by_role(parent), _layers_by_role(child)
        parent_has_skip, child_has_skip = _has_skip(parent), _has_skip(child)
        pairs = [(parent_layers.get(role), child_layers.get(role)) for role in _ROLES]
        body_map = morphism.inherit_sequence(
            pairs, input_map, input_map if child_has_skip else target_map
        )
        if parent_has_skip != child_has_skip:
            change = "it has a skip now" if child_has_skip else "it has no skip any more"
            morphism.transfer.record_change(child.position, change)
        if parent_has_skip and child_has_skip:
            return map_of_sum([input_map, body_map], parent.output_shape, child.output_shape)
        return body_map


def _has_skip(built: BuiltNetwork) -> bool:
    """Return whether an `MBConv` adds its input to its output."""
    return built.parts["body"].output_shape == built.input_shape


_ROLES = ("expand", "filter", "squeeze", "project", "drop")


def _layers_by_role(built: BuiltNetwork) -> dict[str, BuiltNetwork]:
    """Return the layers of an `MBConv` by their roles."""
    layer = built.network
    assert isinstance(layer, MBConv)
    is_present = (layer.expand != 1, True, layer.squeeze > 0, True, True)
    roles = [role for role, present in zip(_ROLES, is_present, strict=True) if present]
    return dict(zip(roles, layers_of(built.parts["body"]), strict=False))


class _DropRows(nn.Module):
    """Zeroes whole rows with probability `p` during training, and scales the others up."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        shape = (x.shape[0],) + (1,) * (x.dim() - 1)  # one draw a row
        keep_mask = torch.rand(shape, device=x.device) >= self.p
        return x * keep_mask / (1 - self.p)


@dataclass(frozen=True)
class StochasticDepth(Leaf):
    """Stochastic depth: zeroes whole rows during training (1603.09382). Last in a residual body.

    Blocks that add their input themselves take it as `drop`. The paper's rule, a probability that
    grows with the depth, is a loop in the description.

    Args:
        p: Probability of a row to be zeroed, in [0, 1).

    Example:
        >>> conv = Conv(activation="none")
        >>> body = tuple(Residual((Conv(), conv, StochasticDepth(0.2 * i / 5))) for i in range(6))
    """

    cheap_to_run = True

    p: float = 0.1

    def build(self, shape: Shape) -> nn.Module:
        if not 0 <= self.p < 1:
            raise InfeasibleCandidate(expected("p", "in [0, 1)", self.p))
        return _DropRows(self.p)

    inherit = inherit_channels

    def is_identity(self, *, nonnegative_input: bool) -> bool:
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
        output: Tensor = self.out(attended.transpose(1, 2).reshape(-1, t, c))  # (b, t, c)
        return output.transpose(1, 2).reshape(x.shape) if x.dim() == 4 else output


@dataclass(frozen=True)
class SelfAttention(Leaf):
    """Multi-head self-attention over a sequence or an image's pixels (1706.03762, sec. 3.2.2).

    Args:
        heads: A divisor of the channels.

    Example:
        >>> block = Residual((Norm("layer"), SelfAttention(heads=4)))
    """

    heads: int = 4

    def build(self, shape: Shape) -> nn.Module:
        if len(shape) not in (2, 3):
            raise InfeasibleCandidate(expected("input", "a sequence (t, c) or images", shape))
        check_positive(self, "heads")
        channels = shape[0] if len(shape) == 3 else shape[1]
        if channels % self.heads:
            raise InfeasibleCandidate(
                expected("heads", f"a divisor of the {channels} channels", self.heads)
            )
        return _Attention(channels, self.heads)

    # Weight inheritance

    def layers_to_zero(
        self, built: BuiltNetwork, *, before_relu: bool
    ) -> list[ZeroInitLayer] | None:
        return [ZeroInitLayer(built, before_relu)]

    def module_to_zero(self, built: BuiltNetwork) -> nn.Module:
        return built.module.get_submodule("out")

    def inherit(
        self,
        morphism: Morphism,
        parent: BuiltNetwork,
        child: BuiltNetwork,
        input_map: ChannelMap,
        target_map: ChannelMap | None,
    ) -> ChannelMap:
        """Widen each head from itself; other numbers of heads start afresh."""
        transfer, parent_layer = morphism.transfer, parent.network
        assert isinstance(parent_layer, SelfAttention)
        c, child_c = n_channels(parent.output_shape), n_channels(child.output_shape)
        if parent_layer.heads != self.heads or child_c < c:
            return start_afresh(transfer, parent, child, input_map, target_map)
        head_width, child_head_width = c // self.heads, child_c // self.heads
        origin_in_head = replicate_channels(head_width, child_head_width, transfer.seed)
        inner_origin = torch.cat(
            [head * head_width + origin_in_head for head in range(self.heads)]
        )  # (c',)
        parent_qkv, child_qkv = (built.submodule("qkv", nn.Linear) for built in (parent, child))
        qkv_origin = torch.cat([inner_origin, inner_origin + c, inner_origin + 2 * c])
        kernel = parent_qkv.weight[:, :, None, None]
        qkv_origin = set_weights(
            transfer, child.position, input_map, child_qkv, kernel, 1, qkv_origin, parent_qkv.bias
        )
        # q k / sqrt(d) counts each replica, and d has changed
        scale = (child_head_width / head_width) ** 0.5 / torch.bincount(inner_origin)[inner_origin]
        child_qkv.weight[:child_c] *= scale[:, None]
        child_qkv.bias[:child_c] *= scale
        attended_origin = torch.where(qkv_origin[:child_c] >= 0, inner_origin, NEW)
        attended_map = ChannelMap((c,), (child_c,), attended_origin)
        parent_out, child_out = (built.submodule("out", nn.Linear) for built in (parent, child))
        kernel = parent_out.weight[:, :, None, None]
        origin = transfer.choose_origins(c, child_c, torch.ones(c), input_map, target_map)
        origin = set_weights(
            transfer, child.position, attended_map, child_out, kernel, 1, origin, parent_out.bias
        )
        return ChannelMap(parent.output_shape, child.output_shape, origin)


class _Recurrent(nn.Module):
    """The outputs of a GRU or LSTM, without its final state."""

    def __init__(self, cell: nn.Module) -> None:
        super().__init__()
        self.cell = cell

    def forward(self, x: Tensor) -> Tensor:
        outputs: Tensor = self.cell(x)[0]  # (batch, t, features)
        return outputs


@dataclass(frozen=True)
class Recurrent(Leaf):
    """GRU or LSTM over a sequence (t, c) -> (t, features).

    Args:
        features: Size of the hidden state.
        kind: "gru" or "lstm".
        bidirectional: Whether the sequence is also read backwards, which doubles the features.
    """

    features: int = 64
    kind: Literal["gru", "lstm"] = "gru"
    bidirectional: bool = False

    def build(self, shape: Shape) -> nn.Module:
        if len(shape) != 2:
            fix = "Put ImageRows() before it for images."
            raise InfeasibleCandidate(expected("input", "a sequence (t, c)", shape, fix))
        cell = {"gru": nn.GRU, "lstm": nn.LSTM}[self.kind]
        return _Recurrent(
            cell(shape[1], self.features, batch_first=True, bidirectional=self.bidirectional)
        )

    def inherit(
        self,
        morphism: Morphism,
        parent: BuiltNetwork,
        child: BuiltNetwork,
        input_map: ChannelMap,
        target_map: ChannelMap | None,
    ) -> ChannelMap:
        transfer, parent_layer = morphism.transfer, parent.network
        assert isinstance(parent_layer, Recurrent)
        same_cell = (parent_layer.kind, parent_layer.bidirectional) == (
            self.kind,
            self.bidirectional,
        )
        if not same_cell or self.features < parent_layer.features:
            return start_afresh(transfer, parent, child, input_map, target_map)
        if not (input_map.origin >= 0).any():
            return all_new(parent.output_shape, child.output_shape)
        hidden_origin = replicate_channels(parent_layer.features, self.features, transfer.seed)
        n_gates = {"gru": 3, "lstm": 4}[self.kind]
        gates_origin = torch.cat(
            [gate * parent_layer.features + hidden_origin for gate in range(n_gates)]
        )
        parent_state = parent.module.state_dict()
        for name, tensor in child.module.state_dict().items():
            if "bias" in name:
                tensor.copy_(parent_state[name][gates_origin])
            else:
                source = input_map.origin if "_ih_" in name else hidden_origin
                kernel = parent_state[name][:, :, None, None]
                remapped = remap_kernel(kernel, 1, source, gates_origin, len(source), 1)
                tensor.copy_(remapped.weight[:, :, 0, 0])
                transfer.add_noise(tensor, gates_origin)
            transfer.inherited_params += tensor.numel()
        directions = [hidden_origin]
        if self.bidirectional:
            directions.append(hidden_origin + parent_layer.features)
        return ChannelMap(parent.output_shape, child.output_shape, torch.cat(directions))


class _RowsOfImages(nn.Module):
    """(batch, c, h, w) -> (batch, h, c w)."""

    def forward(self, x: Tensor) -> Tensor:
        return x.permute(0, 2, 1, 3).flatten(2)


@dataclass(frozen=True)
class ImageRows(Leaf):
    """Images (c, h, w) as sequences (h, c w): each row of pixels is a step."""

    preserves_zero = True

    def build(self, shape: Shape) -> nn.Module:
        check_images(shape)
        return _RowsOfImages()

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
        w = parent.input_shape[2]
        features = input_map.origin[:, None] * w + torch.arange(w)  # (c', w)
        origin = torch.where(input_map.origin[:, None] >= 0, features, NEW)
        return ChannelMap(parent.output_shape, child.output_shape, origin.flatten())
