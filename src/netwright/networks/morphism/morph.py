"""A network that starts from the weights of another, of which it is an edit.

Net2Net (Chen, Goodfellow and Shlens 2016, 1511.05641) and network morphism (Wei, Wang, Rui and Chen
2016, 1603.01670): a wider or deeper child computes the parent's function, and is trained from
there. Both descriptions are walked side by side, from what comes in to what goes out, with a map of
channels between them; what cannot be kept is said, and starts afresh.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from netwright.networks.build import build, resolve
from netwright.networks.interfaces.channel_map import ChannelMap, unchanged, unknown
from netwright.networks.interfaces.layer import BuiltNetwork, Layer, Network
from netwright.networks.interfaces.morphism_rules import (
    is_neutral,
    is_positive,
    items,
    replaced,
    settle,
)
from netwright.networks.interfaces.shapes import Shape, around, width
from netwright.networks.interfaces.transfer import Transfer
from netwright.networks.morphism.module_tree import opened, paired

NOISE = 0.01
"""Of the deviation of a layer's weights: so much tells replicas apart, and changes next to nothing."""


@dataclass(frozen=True)
class Inheritance:
    """What a child has of its parent.

    `share`: of its parameters those that the parent's give, replicas included. `losses`: why it
    does not compute the parent's function, each with its position; none when it does.
    """

    inherited_share: float
    changes: tuple[str, ...] = ()

    @property
    def preserves_function(self) -> bool:
        """Whether the child computes what the parent does, when evaluated and but for the noise."""
        return not self.changes


def morph(
    parent: nn.Module,
    parent_network: Network,
    child_network: Network,
    input_shape: Shape,
    *,
    seed: int,
    noise: float = NOISE,
    calibration_rows: Tensor | None = None,
    **given: Any,
) -> tuple[nn.Module, Inheritance]:
    """The module of the filled network `new`, from the one that `build` made of `old` (CPU).

    Where `new` is wider it replicates channels, drawn by the seed, and divides what reads them;
    where it is deeper the inserted layers start as the identity; larger kernels are padded with
    zeros. So it computes the parent's function. Narrower layers keep the channels that matter most,
    smaller kernels their centre, other layers start afresh, and so does what comes after a layer
    that netwright does not know and whose input has changed: then it does not, and the inheritance
    says so. `noise` is added to the weights of replicas, in deviations of a layer's weights: equal
    ones would be trained alike for ever; 0 leaves it out. `rows`: some inputs (rows, ...), which
    tell inserted batch normalisations the statistics that they will meet. The parent is not
    changed. Raises as `build`.
    """
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        child = build(child_network, input_shape, **given)
        ours = opened(resolve(parent_network, given), parent, input_shape)
        theirs = opened(resolve(child_network, given), child, input_shape)
        transfer = Transfer(seed, noise)
        out = _Walk(transfer).inherit(ours, theirs, unchanged(input_shape, input_shape))
    if not transfer.changes and not out.is_identity:
        transfer.record_change(
            "", f"the outputs {out.child_shape} are others than {out.parent_shape}"
        )
    if calibration_rows is not None and transfer.identity_norms:
        settle(child, transfer.identity_norms, calibration_rows)
    total = sum(one.numel() for one in child.parameters())
    return child, Inheritance(transfer.inherited_params / max(total, 1), tuple(transfer.changes))


@dataclass(frozen=True)
class _Walk:
    """Through both networks side by side; each step is told what flows in, and says what flows out."""

    transfer: Transfer

    def inherit(
        self,
        old: BuiltNetwork,
        new: BuiltNetwork,
        flow: ChannelMap,
        wanted: ChannelMap | None = None,
    ) -> ChannelMap:
        """A part and its forerunner."""
        n_losses = len(self.transfer.changes)
        if old.network == new.network and flow.is_identity:
            new.module.load_state_dict(old.module.state_dict())
            self.transfer.inherited_params += sum(one.numel() for one in new.module.parameters())
            out = unchanged(old.output_shape, new.output_shape)
        else:
            out = self._changed(old, new, flow, wanted)
        return self.record_differences(new.position, [flow], self._signed(new, flow, out), n_losses)

    def _changed(
        self, old: BuiltNetwork, new: BuiltNetwork, flow: ChannelMap, wanted: ChannelMap | None
    ) -> ChannelMap:
        a, b = old.network, new.network
        if isinstance(a, tuple) or isinstance(b, tuple):
            return self.inherit_sequence(paired(old, new), flow, wanted)
        if not (
            (flow.is_identity and old.output_shape == new.output_shape)
            or (_states_rule(a) and _states_rule(b))
        ):
            name = type(b if _states_rule(a) else a).__name__
            why = f"it is not known what becomes of channels in {name}, fresh from there"
            self.transfer.record_change(new.position, why)
            return unknown(old.output_shape, new.output_shape)
        if type(a) is not type(b):
            if is_neutral(a, flow.nonnegative):
                return self.insert(new, flow, wanted)
            if is_neutral(b, flow.nonnegative):
                return self.remove(old, flow)
            return replaced(self.transfer, old, new, flow, wanted)
        if isinstance(b, Layer) and _states_rule(b):
            return b.inherit(self, old, new, flow, wanted)
        return replaced(self.transfer, old, new, flow, wanted)

    def inherit_sequence(
        self,
        pairs: Sequence[tuple[BuiltNetwork | None, BuiltNetwork | None]],
        flow: ChannelMap,
        wanted: ChannelMap | None,
    ) -> ChannelMap:
        for old, new in pairs:
            if old is not None and new is not None:
                flow = self.inherit(old, new, flow, wanted)
            elif new is not None:
                flow = self.insert(new, flow, wanted)
            elif old is not None:
                flow = self.remove(old, flow)
        return flow

    def insert(self, new: BuiltNetwork, flow: ChannelMap, wanted: ChannelMap | None) -> ChannelMap:
        """A layer that the parent does not have: the identity, where it can be."""
        n_losses = len(self.transfer.changes)
        if isinstance(new.network, tuple):
            out = flow
            for item in items(new):
                out = self.insert(item, out, wanted)
            return out
        found = self._as_identity(new, flow, wanted)
        if found is None:
            name = type(new.network).__name__
            self.transfer.record_change(
                new.position, f"an inserted {name} cannot start as the identity"
            )
            found = self.transfer.propagate(flow, flow.parent_shape, new.output_shape, wanted)
        return self.record_differences(
            new.position, [flow], self._signed(new, flow, found), n_losses
        )

    def _as_identity(
        self, new: BuiltNetwork, flow: ChannelMap, wanted: ChannelMap | None
    ) -> ChannelMap | None:
        if is_neutral(new.network, flow.nonnegative):
            return flow
        assert isinstance(new.network, Layer)  # rows are inserted item by item
        return new.network.start_as_identity(self, new, flow, wanted)

    def remove(self, old: BuiltNetwork, flow: ChannelMap) -> ChannelMap:
        """A layer that the child does not have."""
        if is_neutral(old.network, flow.nonnegative):
            return flow
        self.transfer.record_change(old.position, f"{type(old.network).__name__} is gone")
        return self.transfer.propagate(flow, old.output_shape, flow.child_shape)

    def _signed(self, new: BuiltNetwork, flow: ChannelMap, out: ChannelMap) -> ChannelMap:
        """Says whether anything of it may be below 0."""
        return replace(out, nonnegative=is_positive(new, flow.nonnegative))

    def record_differences(
        self, position: str, flows: Sequence[ChannelMap], out: ChannelMap, n_losses: int
    ) -> ChannelMap:
        """Note what got lost between some flows and what became of them, unless something was."""
        if len(self.transfer.changes) == n_losses and all(flow.is_complete for flow in flows):
            if not out.is_complete:
                left, of = len(out.origin[out.origin >= 0].unique()), width(out.parent_shape)
                self.transfer.record_change(
                    position, f"{left} of the parent's {of} channels are left"
                )
            elif all(around(flow.parent_shape) == around(flow.child_shape) for flow in flows) and (
                around(out.parent_shape) != around(out.child_shape)
            ):
                sizes = f"{around(out.child_shape)} in place of {around(out.parent_shape)}"
                self.transfer.record_change(position, f"its output has the size {sizes}")
        return out


def _states_rule(network: Network) -> bool:
    """Whether it is known how channels go through: the layer's own class says it."""
    return isinstance(network, tuple) or "inherit" in vars(type(network))
