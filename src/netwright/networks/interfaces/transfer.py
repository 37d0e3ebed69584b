"""Copy weights from a parent to its child, and record what is inherited and what changes."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from netwright.networks.interfaces.channel_map import (
    NEW,
    ChannelMap,
    all_new,
    is_replica,
    preserves_group_statistics,
    remap_kernel,
    replicate_channels,
)
from netwright.networks.interfaces.shapes import Shape, n_channels
from netwright.networks.sequence_norm import unwrap_norm


@dataclass
class Transfer:
    """State of a weight transfer from parent to child.

    Args:
        seed: Seed of replicas and noise.
        noise: Standard deviation of the noise on the weights of replicas, relative to that of the
            layer's weights.
        inherited_params: Parameters of the child that come from the parent.
        changes: Why the child does not compute the parent's function, each with its position.
        identity_norms: Normalisations that were initialised as the identity.
    """

    seed: int
    noise: float
    inherited_params: int = 0
    changes: list[str] = field(default_factory=list)
    identity_norms: list[nn.Module] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.generator = torch.Generator().manual_seed(self.seed)

    def record_change(self, position: str, reason: str) -> None:
        """Record why the child does not compute the parent's function."""
        self.changes.append(f"{position}: {reason}" if position else reason)

    def add_noise(self, weight: Tensor, origin: Tensor) -> None:
        """Add noise to the weights of replicas: equal ones would get equal gradients for ever."""
        replica = is_replica(origin)
        if self.noise and replica.any():
            noise = torch.randn(weight[replica].shape, generator=self.generator)
            weight[replica] += self.noise * weight[~replica].std(correction=0) * noise

    def choose_origins(
        self,
        n_parent: int,
        n_child: int,
        importance: Tensor,
        input_map: ChannelMap | None = None,
        target_map: ChannelMap | None = None,
    ) -> Tensor:
        """Return (n_child,) origins for a layer that can output any channels.

        Those of `target_map` if it has these widths; the parent's if the width is unchanged; those
        of the input if they fit, so that blocks that keep their width agree; else replicas, or the
        channels of the largest `importance` (n_parent,).
        """
        if target_map is not None and target_map.has_widths(n_parent, n_child):
            return target_map.origin
        if n_child == n_parent:
            return torch.arange(n_child)
        if input_map is not None and input_map.has_widths(n_parent, n_child):
            return input_map.origin
        if n_child > n_parent:
            return replicate_channels(n_parent, n_child, self.seed)
        return importance.topk(n_child).indices.sort().values

    def propagate(
        self,
        input_map: ChannelMap,
        parent_shape: Shape,
        child_shape: Shape,
        target_map: ChannelMap | None = None,
    ) -> ChannelMap:
        """Carry channels through a layer that inherits no weights, channel by channel."""
        n_parent, n_child = n_channels(parent_shape), n_channels(child_shape)
        if len(parent_shape) != len(child_shape) or not (input_map.origin >= 0).any():
            return all_new(parent_shape, child_shape)
        if input_map.has_widths(n_parent, n_child):
            return ChannelMap(parent_shape, child_shape, input_map.origin)
        first_channels = -torch.arange(n_parent, dtype=torch.float)
        origin = self.choose_origins(n_parent, n_child, first_channels, input_map, target_map)
        return ChannelMap(parent_shape, child_shape, origin)


def channel_importance(module: nn.Module, kernel: Tensor) -> Tensor:
    """Return (o,) norms of the weights of each channel, scaled by the submodule "norm"."""
    norm = unwrap_norm(module.get_submodule("norm"))
    importance: Tensor = kernel.flatten(1).norm(dim=1)
    if isinstance(norm, nn.modules.batchnorm._BatchNorm) and norm.running_var is not None:
        importance = importance * norm.weight.abs() / (norm.running_var + norm.eps).sqrt()
    return importance


def set_weights(
    transfer: Transfer,
    position: str,
    input_map: ChannelMap,
    module: nn.Conv2d | nn.Linear,
    kernel: Tensor,
    groups: int,
    output_origin: Tensor,
    bias: Tensor | None = None,
) -> Tensor:
    """Set a layer's weights in place from the parent's.

    Args:
        transfer: The record of the transfer.
        position: Of the layer.
        input_map: Channels of the layer's input.
        module: The child's layer.
        kernel: The parent's weights, (o, i / groups, k, k) with the child's k.
        groups: Of the parent's layer.
        output_origin: (o',) requested origins of the output channels.
        bias: The parent's, (o,); None for 0.

    Returns:
        (o',) origins of the output channels. A channel that reads nothing of the parent's keeps its
        initial weights and is `NEW`.
    """
    weight = module.weight if module.weight.dim() == 4 else module.weight[:, :, None, None]
    child_groups = module.groups if isinstance(module, nn.Conv2d) else 1
    remapped, inherited, exact = remap_kernel(
        kernel, groups, input_map.origin, output_origin, weight.shape[1], child_groups
    )
    if input_map.is_complete and not exact:
        transfer.record_change(position, "a group reads only some of the channels it read before")
    origin = torch.where(inherited, output_origin, NEW)
    weight[inherited] = remapped[inherited]
    transfer.add_noise(weight, origin)
    n_inherited = int(inherited.sum())
    transfer.inherited_params += n_inherited * weight[0].numel()
    if module.bias is not None:
        module.bias[inherited] = 0.0 if bias is None else bias[output_origin[inherited]]
        if bias is not None:
            transfer.inherited_params += n_inherited
    return origin


def set_norm(
    transfer: Transfer,
    position: str,
    parent_norm: nn.Module,
    child_norm: nn.Module,
    channel_map: ChannelMap,
) -> None:
    """Set a normalisation's weights and statistics in place from the parent's of the same class."""
    parent_norm, child_norm = unwrap_norm(parent_norm), unwrap_norm(child_norm)
    if type(parent_norm) is not type(child_norm):
        replaced = f"{_norm_name(child_norm)} instead of {_norm_name(parent_norm)}"
        transfer.record_change(position, replaced)
        return
    if isinstance(parent_norm, nn.Identity):
        return
    if not isinstance(parent_norm, nn.modules.batchnorm._BatchNorm):
        groups = [int(getattr(norm, "num_groups", 1)) for norm in (parent_norm, child_norm)]
        if channel_map.is_complete and not preserves_group_statistics(
            channel_map.origin, n_channels(channel_map.parent_shape), *groups
        ):
            transfer.record_change(position, "it normalises over other groups of channels")
    inherited = channel_map.origin >= 0
    parent_state = parent_norm.state_dict()
    for name, tensor in child_norm.state_dict().items():  # (channels,) each, or a count
        if tensor.dim():
            tensor[inherited] = parent_state[name][channel_map.origin[inherited]]
        else:
            tensor.copy_(parent_state[name])
    transfer.inherited_params += sum(int(inherited.sum()) for _ in child_norm.parameters())


def _norm_name(norm: nn.Module) -> str:
    return "no normalisation" if isinstance(norm, nn.Identity) else type(norm).__name__
