"""Layers that filter or mix images along one axis at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from netwright.errors import InfeasibleCandidate, expected
from netwright.networks.interfaces.channel_map import ChannelMap
from netwright.networks.interfaces.layer import BuiltNetwork, Leaf, Morphism, ZeroInitLayer
from netwright.networks.interfaces.morphism_rules import start_afresh
from netwright.networks.interfaces.shapes import Shape, n_channels, spatial_shape
from netwright.networks.interfaces.transfer import channel_importance, set_norm, set_weights
from netwright.networks.layers.activations import (
    ACTIVATIONS,
    ActivationName,
    NormName,
    make_activation,
    make_norm,
)
from netwright.networks.layers.checks import check_images, check_odd_kernel, check_positive
from netwright.networks.layers.weighted_leaf import (
    WeightedLeaf,
    can_be_identity,
    inherit_norm_and_activation,
    last_weighted_module,
    set_identity_weights,
)

_AXES = {"width": ("width",), "height": ("height",), "both": ("width", "height")}
"""Setting of `AxialConv` -> names of its convolutions, by the axis that each filters along."""


class _AxialConv(nn.Module):
    """The sum of the convolutions along each axis, then normalisation and activation."""

    def __init__(self, convs: dict[str, nn.Conv2d], norm: nn.Module, activation: nn.Module) -> None:
        super().__init__()
        self.axes = tuple(convs)
        for axis, conv in convs.items():
            self.add_module(axis, conv)
        self.norm, self.act = norm, activation

    def forward(self, x: Tensor) -> Tensor:
        outputs = [self.get_submodule(axis)(x) for axis in self.axes]
        activated: Tensor = self.act(self.norm(sum(outputs[1:], outputs[0])))
        return activated


@dataclass(frozen=True)
class AxialConv(WeightedLeaf):
    """Convolution along one axis of images (c, h, w), then normalisation and activation.

    A kernel of k weights instead of k x k: on images of one row, as `AxisAsChannels` makes them, a
    square kernel has all but its middle row on padding.

    Args:
        channels: Output channels; 0 for as many as come in.
        kernel: Pixels along the kernel; must be odd.
        axis: "width", "height", or "both": the sum of a convolution along each, which is one with a
            kernel in the shape of a cross. A sum has `channels` output channels whatever the axis,
            and each of them sees both axes.
        stride: Pixels from window to window, along the axis, or along both.
        normalisation: "batch", "layer", "group" or "none"; there is a bias only without.
        activation: A name in `ACTIVATIONS`, or "none".

    Example:
        >>> costs(AxialConv(8, kernel=5), (3, 1, 28)).parameters
        136
    """

    channels: int = 0
    kernel: int = 3
    axis: Literal["width", "height", "both"] = "width"
    stride: int = 1
    normalisation: NormName = "batch"
    activation: ActivationName = "relu"

    def build(self, shape: Shape) -> nn.Module:
        check_images(shape)
        check_positive(self, "kernel", "stride")
        check_odd_kernel(self.kernel, -1)
        if self.axis not in _AXES:
            raise InfeasibleCandidate(expected("axis", "width, height or both", self.axis))
        axes, channels_out = _AXES[self.axis], self.channels or shape[0]
        convs = {
            # the sum has one bias
            axis: self._conv(shape[0], channels_out, axis, has_bias=axis == axes[0])
            for axis in axes
        }
        norm = make_norm(self.normalisation, (channels_out, *shape[1:]))
        return _AxialConv(convs, norm, make_activation(self.activation))

    def infer_shape(self, shape: Shape) -> Shape | None:
        """Return the output shape; None if `build` refuses the input, which gives the reason."""
        has_valid_names = (
            self.axis in _AXES
            and self.activation in ACTIVATIONS
            and self.normalisation in get_args(NormName)
        )
        if len(shape) != 3 or not has_valid_names or self.kernel % 2 == 0:
            return None
        if min(self.kernel, self.stride, self.channels + 1) < 1:
            return None
        h, w = (-(-side // stride) for side, stride in zip(shape[1:], self._strides, strict=True))
        return (self.channels or shape[0], h, w)

    @property
    def _strides(self) -> tuple[int, int]:
        """Strides along height and width."""
        axes = _AXES[self.axis]
        return (
            self.stride if "height" in axes else 1,
            self.stride if "width" in axes else 1,
        )

    def _conv(self, channels_in: int, channels_out: int, axis: str, *, has_bias: bool) -> nn.Conv2d:
        size = (1, self.kernel) if axis == "width" else (self.kernel, 1)
        padding = (size[0] // 2, size[1] // 2)
        bias = has_bias and self.normalisation == "none"
        return nn.Conv2d(channels_in, channels_out, size, self._strides, padding, bias=bias)

    # Weight inheritance

    def layers_to_zero(
        self, built: BuiltNetwork, *, before_relu: bool
    ) -> list[ZeroInitLayer] | None:
        if self.axis == "both" and self.normalisation == "none":
            return None  # no single tensor scales both convolutions
        return super().layers_to_zero(built, before_relu=before_relu)

    def module_to_zero(self, built: BuiltNetwork) -> nn.Module:
        return last_weighted_module(built, "width", "height")

    def inherit(
        self,
        morphism: Morphism,
        parent: BuiltNetwork,
        child: BuiltNetwork,
        input_map: ChannelMap,
        target_map: ChannelMap | None,
    ) -> ChannelMap:
        transfer, parent_layer = morphism.transfer, parent.network
        assert isinstance(parent_layer, AxialConv)
        if parent_layer.axis != self.axis:
            return start_afresh(transfer, parent, child, input_map, target_map)
        for name in ("kernel", "stride"):
            size, parent_size = getattr(self, name), getattr(parent_layer, name)
            if size < parent_size or (name == "stride" and size != parent_size):
                transfer.record_change(child.position, f"{name} {size} instead of {parent_size}")
        parent_convs = _conv_modules(parent)
        kernels = [_fit_kernel(conv.weight, axis, self.kernel) for axis, conv in parent_convs]
        origin = transfer.choose_origins(
            n_channels(parent.output_shape),
            n_channels(child.output_shape),
            channel_importance(parent.module, torch.cat([k.flatten(2) for k in kernels], 2)),
            input_map,
            target_map,
        )
        output_origin = origin
        for (_, conv), kernel, (_, child_conv) in zip(
            parent_convs, kernels, _conv_modules(child), strict=True
        ):
            output_origin = set_weights(
                transfer, child.position, input_map, child_conv, kernel, 1, origin, conv.bias
            )
        return inherit_norm_and_activation(transfer, parent, child, output_origin)

    def start_as_identity(
        self,
        morphism: Morphism,
        child: BuiltNetwork,
        input_map: ChannelMap,
        target_map: ChannelMap | None,
    ) -> ChannelMap | None:
        keeps_size = spatial_shape(child.input_shape) == spatial_shape(child.output_shape)
        if not keeps_size or not can_be_identity(self.normalisation, self.activation, input_map):
            return None
        (axis, first_conv), *other_convs = _conv_modules(child)
        for _, conv in other_convs:
            nn.init.zeros_(conv.weight)
        kernel = torch.ones(n_channels(input_map.parent_shape), 1, 1, 1)
        return set_identity_weights(
            morphism.transfer,
            child,
            first_conv,
            _fit_kernel(kernel, axis, self.kernel),
            layer_input=input_map,
            weights_input=input_map,
            target_map=target_map,
            inherited_params=morphism.transfer.inherited_params,
        )


def _conv_modules(built: BuiltNetwork) -> list[tuple[str, nn.Conv2d]]:
    """Return the convolutions with the axis that each filters along."""
    return [
        (name, module)
        for name, module in built.module.named_children()
        if isinstance(module, nn.Conv2d)
    ]


def _fit_kernel(kernel: Tensor, axis: str, size: int) -> Tensor:
    """Pad with zeros or crop around the middle, along the axis, to `size` weights."""
    margin = (size - max(kernel.shape[2:])) // 2  # both sizes are odd
    padding = (margin, margin) if axis == "width" else (0, 0, margin, margin)
    return nn.functional.pad(kernel, padding)


class _AxialMixing(nn.Module):
    """Images (batch, c, h, w), mixed along the width, then along the height."""

    def __init__(self, h: int, w: int, norms: tuple[nn.Module, nn.Module]) -> None:
        super().__init__()
        self.width_norm, self.height_norm = norms
        self.width, self.height = nn.Linear(w, w), nn.Linear(h, h)
        self.set_to_identity()

    def set_to_identity(self) -> None:
        for linear in (self.width, self.height):
            nn.init.zeros_(linear.weight)
            nn.init.zeros_(linear.bias)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.width(self.width_norm(x))
        columns = self.height_norm(x).transpose(2, 3)  # (batch, c, w, h)
        mixed: Tensor = x + self.height(columns).transpose(2, 3)
        return mixed


@dataclass(frozen=True)
class AxialMixing(Leaf):
    """Dense mixing of images along the width, then along the height, each added to its input.

    One matrix an axis, shared by all channels and by the lines of the other axis: x + W norm(x), as
    the token mixing of MLP-Mixer (Tolstikhin et al. 2021, 2105.01601) for each axis by itself, with
    one matrix in place of its two. Every pixel then depends on every other, and on where it is. Both
    matrices start at 0, so that the layer starts as the identity.

    Args:
        normalisation: "batch", "layer", "group" or "none".

    Example:
        >>> network = (Conv(32), AxialMixing(), Conv(32), GlobalPool(), Linear())
    """

    normalisation: NormName = "batch"

    def build(self, shape: Shape) -> nn.Module:
        check_images(shape)
        norms = (make_norm(self.normalisation, shape), make_norm(self.normalisation, shape))
        return _AxialMixing(shape[1], shape[2], norms)

    def infer_shape(self, shape: Shape) -> Shape | None:
        """Return the output shape; None if `build` refuses the input, which gives the reason."""
        is_valid = len(shape) == 3 and self.normalisation in get_args(NormName)
        return shape if is_valid else None

    # Weight inheritance

    def inherit(
        self,
        morphism: Morphism,
        parent: BuiltNetwork,
        child: BuiltNetwork,
        input_map: ChannelMap,
        target_map: ChannelMap | None,
    ) -> ChannelMap:
        transfer = morphism.transfer
        if spatial_shape(parent.input_shape) != spatial_shape(child.input_shape):
            return start_afresh(transfer, parent, child, input_map, target_map)
        for axis in ("width", "height"):
            linear = child.submodule(axis, nn.Linear)
            linear.load_state_dict(parent.submodule(axis, nn.Linear).state_dict())
            transfer.inherited_params += sum(p.numel() for p in linear.parameters())
            parent_norm, child_norm = (
                built.module.get_submodule(f"{axis}_norm") for built in (parent, child)
            )
            set_norm(transfer, child.position, parent_norm, child_norm, input_map)
        return ChannelMap(parent.output_shape, child.output_shape, input_map.origin)

    def start_as_identity(
        self,
        morphism: Morphism,
        child: BuiltNetwork,
        input_map: ChannelMap,
        target_map: ChannelMap | None,
    ) -> ChannelMap | None:
        assert isinstance(child.module, _AxialMixing)
        child.module.set_to_identity()
        return input_map
