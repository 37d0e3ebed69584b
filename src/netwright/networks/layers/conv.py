"""Convolution: images in, images out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from netwright.errors import InfeasibleCandidate, expected
from netwright.networks.interfaces.channel_map import ChannelMap, pad_kernel
from netwright.networks.interfaces.layer import BuiltNetwork, Morphism
from netwright.networks.interfaces.morphism_rules import start_afresh
from netwright.networks.interfaces.shapes import Shape, n_channels
from netwright.networks.interfaces.transfer import Transfer, channel_importance, set_weights
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


@dataclass(frozen=True)
class Conv(WeightedLeaf):
    """Convolution, then pooling, normalisation and activation, of images (c, h, w).

    Args:
        channels: Output channels; 0 for as many as come in.
        kernel: Pixels along a side of the kernel.
        stride: Pixels from window to window.
        padding: Pixels of zeros on each side; -1 preserves the size at stride 1 (the kernel must
            then be odd).
        dilation: Distance of the kernel's pixels.
        groups: Groups of channels, as in `torch.nn.Conv2d`.
        separable: Whether it is a depthwise convolution followed by one of kernel 1 (MobileNets,
            1704.04861); `groups` is then not used.
        normalisation: "batch", "batch_bias" (without a learned scale), "layer", "group" or "none";
            the convolution has a bias only without.
        activation: A name in `ACTIVATIONS`, or "none".
        pool: Side of the windows of a maximum pooling right after the convolution, so that what
            follows costs less; 1 for none. Pixels that fill no window are dropped.
        init: "random", or "identity": the first output channels start as the input channels, so
            that a deep network begins to learn at once (2404.00498, sec. 3.2). Kernels of groups
            stay random.

    Example:
        >>> costs(Conv(16, kernel=5, stride=2), (3, 32, 32)).shape
        (16, 16, 16)
    """

    channels: int = 0
    kernel: int = 3
    stride: int = 1
    padding: int = -1
    dilation: int = 1
    groups: int = 1
    separable: bool = False
    normalisation: NormName = "batch"
    activation: ActivationName = "relu"
    pool: int = 1
    init: Literal["random", "identity"] = "random"

    def build(self, shape: Shape) -> nn.Module:
        check_images(shape)
        check_positive(self, "kernel", "stride", "dilation", "groups", "pool")
        check_odd_kernel(self.kernel, self.padding)
        channels_in, channels_out = shape[0], self.channels or shape[0]
        module = nn.Sequential()
        if self.separable:
            depthwise = self._conv(channels_in, channels_in, self.kernel, channels_in)
            pointwise = nn.Conv2d(channels_in, channels_out, 1, bias=self._has_bias)
            module.add_module("depthwise", depthwise)
            module.add_module("pointwise", pointwise)
        else:
            conv = self._conv(channels_in, channels_out, self.kernel, self.groups)
            module.add_module("conv", conv)
        if self.init == "identity":
            _start_as_dirac(module)
        if self.pool > 1:
            module.add_module("pool", nn.MaxPool2d(self.pool))
        module.add_module("norm", make_norm(self.normalisation, (channels_out, *shape[1:])))
        module.add_module("act", make_activation(self.activation))
        return module

    def infer_shape(self, shape: Shape) -> Shape | None:
        """Return the output shape; None if `build` refuses the input, which gives the reason."""
        has_valid_names = self.activation in ACTIVATIONS and self.normalisation in get_args(
            NormName
        )
        if len(shape) != 3 or not has_valid_names or (self.padding < 0 and self.kernel % 2 == 0):
            return None
        sizes = (self.kernel, self.stride, self.dilation, self.groups, self.pool, self.channels + 1)
        if min(sizes) < 1:
            return None
        channels_in, channels_out = shape[0], self.channels or shape[0]
        if not self.separable and (channels_in % self.groups or channels_out % self.groups):
            return None
        h, w = (side // self.pool for side in self.sides_before_pooling(shape))
        return (channels_out, h, w) if min(h, w) >= 1 else None

    def sides_before_pooling(self, shape: Shape) -> tuple[int, int]:
        """Return height and width of the convolution's output, before it is pooled.

        Args:
            shape: (c, h, w) of the input.
        """
        reach = self.dilation * (self.kernel - 1)
        padding = reach // 2 if self.padding < 0 else self.padding
        h, w = ((side + 2 * padding - reach - 1) // self.stride + 1 for side in shape[1:])
        return h, w

    @property
    def _has_bias(self) -> bool:
        """A normalisation after the weights has its own bias."""
        return self.normalisation == "none"

    def _conv(self, channels_in: int, channels_out: int, kernel: int, groups: int) -> nn.Conv2d:
        if channels_in % groups or channels_out % groups:
            rule = f"a divisor of the channels {channels_in} and {channels_out}"
            raise InfeasibleCandidate(expected("groups", rule, groups))
        padding = self.dilation * (kernel - 1) // 2 if self.padding < 0 else self.padding
        return nn.Conv2d(
            channels_in,
            channels_out,
            kernel,
            self.stride,
            padding,
            self.dilation,
            groups,
            bias=self._has_bias and not self.separable,
        )

    # Weight inheritance

    def module_to_zero(self, built: BuiltNetwork) -> nn.Module:
        return last_weighted_module(built, "pointwise", "conv")

    def inherit(
        self,
        morphism: Morphism,
        parent: BuiltNetwork,
        child: BuiltNetwork,
        input_map: ChannelMap,
        target_map: ChannelMap | None,
    ) -> ChannelMap:
        transfer, parent_layer = morphism.transfer, parent.network
        assert isinstance(parent_layer, Conv)
        if self.separable and not parent_layer.separable:
            return start_afresh(transfer, parent, child, input_map, target_map)
        if self.pool != parent_layer.pool:
            change = f"pooling of {self.pool} instead of {parent_layer.pool}"
            transfer.record_change(child.position, change)
        parent_convs, child_convs = conv_modules(parent), conv_modules(child)
        first_weight, last_conv = parent_convs[0].weight, child_convs[-1]
        if parent_layer.separable and not self.separable:
            # both convolutions in one kernel, (o, i, k, k)
            first_weight = parent_convs[1].weight * first_weight[:, 0]
        kernel = _fit_kernel(transfer, child, parent_convs[0], child_convs[0], first_weight)
        groups = parent_convs[0].groups
        if self.separable:
            depthwise_origin = set_weights(
                transfer,
                child.position,
                input_map,
                child_convs[0],
                kernel,
                groups,
                input_map.origin,  # each channel reads itself
            )
            input_map = replace(input_map, origin=depthwise_origin)
            kernel = parent_convs[1].weight
        if parent_layer.separable:
            groups = 1
        n_parent, n_child = n_channels(parent.output_shape), n_channels(child.output_shape)
        is_depthwise = last_conv.groups == last_conv.in_channels == last_conv.out_channels > 1
        if is_depthwise and input_map.has_widths(n_parent, n_child):
            origin = input_map.origin
        else:
            importance = channel_importance(parent.module, kernel)
            origin = transfer.choose_origins(n_parent, n_child, importance, input_map, target_map)
        bias = parent_convs[-1].bias
        origin = set_weights(
            transfer, child.position, input_map, last_conv, kernel, groups, origin, bias
        )
        return inherit_norm_and_activation(transfer, parent, child, origin)

    def start_as_identity(
        self,
        morphism: Morphism,
        child: BuiltNetwork,
        input_map: ChannelMap,
        target_map: ChannelMap | None,
    ) -> ChannelMap | None:
        tap = centre_tap(child)
        if tap is None or not can_be_identity(self.normalisation, self.activation, input_map):
            return None
        transfer, convs = morphism.transfer, conv_modules(child)
        n_parent, inherited_params = n_channels(input_map.parent_shape), transfer.inherited_params
        kernel = torch.ones(n_parent, 1, 1, 1)  # each channel reads itself
        padded_kernel = pad_kernel(kernel, convs[0].kernel_size[0], tap)
        weights_input = input_map
        if self.separable:
            depthwise_origin = set_weights(
                transfer,
                child.position,
                input_map,
                convs[0],
                padded_kernel,
                n_parent,
                input_map.origin,
            )
            weights_input = replace(input_map, origin=depthwise_origin)
        else:
            kernel = padded_kernel
        return set_identity_weights(
            transfer,
            child,
            convs[-1],
            kernel,
            layer_input=input_map,
            weights_input=weights_input,
            target_map=target_map,
            inherited_params=inherited_params,
        )


@torch.no_grad()
def _start_as_dirac(module: nn.Module) -> None:
    """Make the first output channels of ungrouped convolutions their input channels, in place."""
    for conv in module.modules():
        if isinstance(conv, nn.Conv2d) and conv.groups == 1 and conv.kernel_size[0] % 2:
            nn.init.dirac_(conv.weight[: conv.in_channels])  # (o, i, k, k)


def conv_modules(built: BuiltNetwork) -> list[nn.Conv2d]:
    """Return the convolution, or the depthwise and the pointwise one."""
    return [module for module in built.module.children() if isinstance(module, nn.Conv2d)]


def centre_tap(built: BuiltNetwork) -> int | None:
    """Return the kernel index that lies on the output pixel; None if there is none."""
    conv = conv_modules(built)[0]
    padding, dilation = int(conv.padding[0]), conv.dilation[0]
    same_size = built.input_shape[1:] == built.output_shape[1:]
    has_centre = same_size and conv.stride == (1, 1) and padding % dilation == 0
    return padding // dilation if has_centre else None


def _fit_kernel(
    transfer: Transfer,
    child: BuiltNetwork,
    parent_conv: nn.Conv2d,
    child_conv: nn.Conv2d,
    kernel: Tensor,
) -> Tensor:
    """Pad or crop the parent's kernel to the child's size, around the same pixel if possible."""
    (parent_size, _), (child_size, _) = parent_conv.kernel_size, child_conv.kernel_size
    dilation = child_conv.dilation[0]
    if parent_conv.stride != child_conv.stride:
        transfer.record_change(
            child.position, f"stride {child_conv.stride[0]} instead of {parent_conv.stride[0]}"
        )
    shift = int(child_conv.padding[0]) - int(parent_conv.padding[0])
    offset = shift // dilation
    if parent_size > 1 and parent_conv.dilation != child_conv.dilation:
        transfer.record_change(
            child.position, f"dilation {dilation} instead of {parent_conv.dilation[0]}"
        )
        offset = (child_size - parent_size) // 2
    elif shift % dilation or offset < 0 or offset + parent_size > child_size:
        resized = f"kernel {child_size} instead of {parent_size}"
        transfer.record_change(
            child.position, resized if parent_size != child_size else "another padding"
        )
        offset = (child_size - parent_size) // 2
    return pad_kernel(kernel, child_size, offset)
