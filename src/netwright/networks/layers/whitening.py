"""A first convolution with fixed filters that decorrelate the pixels of small patches."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from netwright.networks.interfaces.channel_map import NEW, ChannelMap
from netwright.networks.interfaces.layer import BuiltNetwork, Leaf, Morphism
from netwright.networks.interfaces.morphism_rules import start_afresh
from netwright.networks.interfaces.shapes import Shape
from netwright.networks.layers.checks import check_images, check_positive

_MAX_PATCHES = 200_000
"""Patches whose covariance is computed, from the same positions of all images: enough for three
digits of its entries."""
_MAX_IMAGES = 512
"""Images that they are taken from."""
_VARIANCE_FLOOR = 5e-4
"""Added to the variances, so that directions without variance are not blown up (2404.00498)."""


class _Whitening(nn.Module):
    """The convolution: its filters are fixed, its bias is trained."""

    weight: Tensor

    def __init__(self, channels: int, kernel: int, stride: int, n_filters: int) -> None:
        super().__init__()
        self.stride = stride
        self.register_buffer("weight", torch.zeros(2 * n_filters, channels, kernel, kernel))
        identity = torch.eye(n_filters, channels * kernel**2)
        self._set_filters(identity)
        # as of nn.Conv2d; with thresholds of 0 CIFAR-10 is .005 less accurate (4 epochs, 6 seeds)
        bound = (channels * kernel**2) ** -0.5
        self.bias = nn.Parameter(torch.empty(2 * n_filters).uniform_(-bound, bound))

    def _set_filters(self, filters: Tensor) -> None:
        """Set the filters (n, c k k) and their negatives in place."""
        both = torch.cat([filters, -filters])
        self.weight.copy_(both.view_as(self.weight))

    @torch.no_grad()
    def init_from_data(self, x: Tensor, targets: Tensor) -> None:
        """Set the filters to the principal directions of patches of x (rows, c, h, w), scaled."""
        n_filters, (kernel, _) = len(self.weight) // 2, self.weight.shape[2:]
        images = x[:_MAX_IMAGES].float()
        windows = images.unfold(2, kernel, 1).unfold(3, kernel, 1)  # a view (rows, c, h', w', k, k)
        h, w = windows.shape[2:4]
        positions = torch.randperm(h * w)[: max(1, _MAX_PATCHES // len(images))]
        patches = windows[:, :, positions // w, positions % w]  # (rows, c, positions, k, k)
        patches = patches.transpose(1, 2).flatten(0, 1).flatten(1)  # (patches, c k k)
        covariance = patches.T @ patches / len(patches)
        variances, directions = torch.linalg.eigh(covariance)  # ascending, in columns
        scaled = directions / (variances.clamp(min=0) + _VARIANCE_FLOOR).sqrt()
        self._set_filters(scaled.T.flip(0)[:n_filters])

    def forward(self, x: Tensor) -> Tensor:
        convolved: Tensor = nn.functional.conv2d(x, self.weight, self.bias, self.stride)
        return convolved


@dataclass(frozen=True)
class Whitening(Leaf):
    """A convolution with fixed filters that whiten patches of the training images.

    Its output channels are the patches' principal components, scaled to variance 1, and their
    negatives: a network that starts from them learns faster (2404.00498, sec. 3.1). A bias for each
    channel is trained: the contrast from which on an activation lets a component through. Until
    `initialize_from_data` has seen images the filters copy pixels.

    Args:
        kernel: Pixels along a side of the patches, which lie within the image: at stride 1 the output
            has kernel - 1 pixels fewer a side.
        stride: Pixels from patch to patch.
        max_components: Components are left out beyond this number, those of least variance first.

    Example:
        >>> network = (Whitening(), Activation("silu"), Conv(64), GlobalPool("max"), Linear())
    """

    kernel: int = 2
    stride: int = 1
    max_components: int = 32

    def build(self, shape: Shape) -> nn.Module:
        check_images(shape)
        check_positive(self, "kernel", "stride", "max_components")
        n_filters = min(shape[0] * self.kernel**2, self.max_components)
        return _Whitening(shape[0], self.kernel, self.stride, n_filters)

    def infer_shape(self, shape: Shape) -> Shape | None:
        """Return the output shape; None if `build` refuses the input."""
        if len(shape) != 3 or min(self.kernel, self.stride, self.max_components) < 1:
            return None
        n_filters = min(shape[0] * self.kernel**2, self.max_components)
        h, w = ((side - self.kernel) // self.stride + 1 for side in shape[1:])
        return (2 * n_filters, h, w)

    # Weight inheritance

    def inherit(
        self,
        morphism: Morphism,
        parent: BuiltNetwork,
        child: BuiltNetwork,
        input_map: ChannelMap,
        target_map: ChannelMap | None,
    ) -> ChannelMap:
        """Share the components of the same patches; other patches have other components."""
        parent_layer, transfer = parent.network, morphism.transfer
        assert isinstance(parent_layer, Whitening)
        if parent_layer.kernel != self.kernel or not input_map.is_identity:
            return start_afresh(transfer, parent, child, input_map, target_map)
        if parent_layer.stride != self.stride:
            change = f"stride {self.stride} instead of {parent_layer.stride}"
            transfer.record_change(child.position, change)
        parent_module, module = (built.submodule("", _Whitening) for built in (parent, child))
        n_parent, n_child = len(parent_module.weight) // 2, len(module.weight) // 2
        n_shared = min(n_parent, n_child)
        origin = torch.full((2, n_child), NEW)  # of the components and of their negatives
        origin[:, :n_shared] = torch.arange(2 * n_parent).view(2, n_parent)[:, :n_shared]
        origin = origin.flatten()
        inherited = origin != NEW
        module.weight[inherited] = parent_module.weight[origin[inherited]]
        module.bias[inherited] = parent_module.bias[origin[inherited]]
        transfer.inherited_params += int(inherited.sum())  # the filters are no parameters
        return ChannelMap(parent.output_shape, child.output_shape, origin)
