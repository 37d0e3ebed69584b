"""Weights on their way from a parent to its child: what is kept, what is lost, and why."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from netwright.networks.interfaces.channel_map import (
    NEW,
    ChannelMap,
    keeps_statistics,
    read,
    repeated,
    replicated,
    unknown,
)
from netwright.networks.interfaces.shapes import Shape, width
from netwright.networks.sequence_norm import plain_norm


@dataclass
class Transfer:
    """What is found out while a child is given its weights.

    `taken`: how many of its weights are the parent's. `losses`: why it does not compute the same.
    `identities`: normalisations that were made to do nothing. `noise`: the deviation of what is
    added to the weights of replicas, in deviations of the layer's weights.
    """

    seed: int
    noise: float
    inherited_params: int = 0
    changes: list[str] = field(default_factory=list)
    identity_norms: list[nn.Module] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.generator = torch.Generator().manual_seed(self.seed)

    def record_change(self, position: str, why: str) -> None:
        """The child does not compute the parent's function."""
        self.changes.append(f"{position}: {why}" if position else why)

    def add_noise(self, weight: Tensor, origin: Tensor) -> None:
        """Tells replicas apart: equal ones would get equal gradients for ever."""
        again = repeated(origin)
        if self.noise and again.any():
            drawn = torch.randn(weight[again].shape, generator=self.generator)
            weight[again] += self.noise * weight[~again].std(correction=0) * drawn

    def choose_origins(
        self, old: int, new: int, importance: Tensor,
        flow: ChannelMap | None = None, wanted: ChannelMap | None = None,
    ) -> Tensor:  # fmt: skip
        """(new,) origins of what a layer puts out that can put out any channels.

        What a sum wants; else the same; else as what comes in, so that blocks that keep their
        width agree; else replicas, or those of the largest `importance` (old,).
        """
        if wanted is not None and wanted.has_widths(old, new):
            return wanted.origin
        if new == old:
            return torch.arange(new)
        if flow is not None and flow.has_widths(old, new):
            return flow.origin
        if new > old:
            return replicated(old, new, self.seed)
        return importance.topk(new).indices.sort().values

    def propagate(
        self, flow: ChannelMap, old: Shape, new: Shape, wanted: ChannelMap | None = None
    ) -> ChannelMap:
        """Through what has no weights of the parent's: channel by channel, as they stand."""
        before, now = width(old), width(new)
        if len(old) != len(new) or not (flow.origin >= 0).any():
            return unknown(old, new)
        if flow.has_widths(before, now):
            return ChannelMap(old, new, flow.origin)
        first = -torch.arange(before, dtype=torch.float)
        return ChannelMap(old, new, self.choose_origins(before, now, first, flow, wanted))


def importance_of(module: nn.Module, kernel: Tensor) -> Tensor:
    """(o,) how much each channel of a layer matters: the norm of its weights, as it is scaled by the
    submodule "norm"."""
    norm = plain_norm(module.get_submodule("norm"))
    found: Tensor = kernel.flatten(1).norm(dim=1)
    if isinstance(norm, nn.modules.batchnorm._BatchNorm) and norm.running_var is not None:
        found = found * norm.weight.abs() / (norm.running_var + norm.eps).sqrt()
    return found


def set_weights(
    transfer: Transfer, position: str, flow: ChannelMap, module: nn.Conv2d | nn.Linear,
    kernel: Tensor, groups: int, out: Tensor, bias: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Sets a layer's weights from a `kernel` of the parent's, and says what comes out.

    `kernel`: (o, i / groups, k, k), k as in the child. `out`: (o',) origins that are wanted; what
    reads nothing of the parent's stays as it was drawn, and is new.
    """
    fresh = module.weight if module.weight.dim() == 4 else module.weight[:, :, None, None]
    groups_new = module.groups if isinstance(module, nn.Conv2d) else 1
    found, known, exact = read(kernel, groups, flow.origin, out, fresh.shape[1], groups_new)
    if flow.is_complete and not exact:
        transfer.record_change(position, "its groups do not hold all channels that they held")
    origin = torch.where(known, out, NEW)
    fresh[known] = found[known]
    transfer.add_noise(fresh, origin)
    transfer.inherited_params += int(known.sum()) * fresh[0].numel()
    if module.bias is not None:
        module.bias[known] = 0.0 if bias is None else bias[out[known]]
        transfer.inherited_params += int(known.sum()) * (bias is not None)
    return origin


def set_norm(
    transfer: Transfer, position: str, ours: nn.Module, theirs: nn.Module, flow: ChannelMap
) -> None:
    """Sets a normalisation's weights and statistics from the parent's, where it is of one kind."""
    ours, theirs = plain_norm(ours), plain_norm(theirs)
    if type(ours) is not type(theirs):
        transfer.record_change(position, f"{_name(theirs)} in place of {_name(ours)}")
        return
    if isinstance(ours, nn.Identity):
        return
    if not isinstance(ours, nn.modules.batchnorm._BatchNorm):
        counts = [int(getattr(one, "num_groups", 1)) for one in (ours, theirs)]
        if flow.is_complete and not keeps_statistics(
            flow.origin, width(flow.parent_shape), *counts
        ):
            transfer.record_change(position, "it normalises over another mixture of channels")
    known = flow.origin >= 0
    state = ours.state_dict()
    for name, mine in theirs.state_dict().items():  # (channels,) each, or a count
        if mine.dim():
            mine[known] = state[name][flow.origin[known]]
        else:
            mine.copy_(state[name])
    transfer.inherited_params += sum(int(known.sum()) for _ in theirs.parameters())


def _name(norm: nn.Module) -> str:
    return "no normalisation" if isinstance(norm, nn.Identity) else type(norm).__name__
