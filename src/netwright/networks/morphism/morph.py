"""Build a child network that starts from the weights of its parent.

Net2Net (Chen, Goodfellow and Shlens 2016, 1511.05641) and network morphism (Wei, Wang, Rui and Chen
2016, 1603.01670): a wider or deeper child computes the parent's function, and is trained from
there. Both networks are walked side by side from input to output, with a map of channels between
them; what cannot be preserved is recorded and starts with new weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from netwright.networks.build import build, resolve
from netwright.networks.interfaces.channel_map import ChannelMap, all_new, identity_map
from netwright.networks.interfaces.layer import BuiltNetwork, Layer, Network
from netwright.networks.interfaces.morphism_rules import (
    calibrate_identity_norms,
    is_identity,
    is_nonnegative,
    layers_of,
    start_afresh,
)
from netwright.networks.interfaces.shapes import Shape, n_channels, spatial_shape
from netwright.networks.interfaces.transfer import Transfer
from netwright.networks.morphism.module_tree import align_sequences, match_modules

DEFAULT_NOISE = 0.01
"""Noise on the weights of replicas, relative to their standard deviation: enough to break the
symmetry, too little to change the function."""


@dataclass(frozen=True)
class Inheritance:
    """Result of `morph`: the share of inherited weights, and changes of the function.

    Args:
        inherited_share: Share of the child's parameters that come from the parent, replicas
            included, in [0, 1].
        changes: Why the child does not compute the parent's function, each with its position;
            empty if it does.
    """

    inherited_share: float
    changes: tuple[str, ...] = ()

    @property
    def preserves_function(self) -> bool:
        """Return whether the child computes the parent's function, except for noise, in evaluation."""
        return not self.changes


def morph(
    parent: nn.Module,
    parent_network: Network,
    child_network: Network,
    input_shape: Shape,
    *,
    seed: int,
    noise: float = DEFAULT_NOISE,
    calibration_rows: Tensor | None = None,
    **given: object,
) -> tuple[nn.Module, Inheritance]:
    """Build a network that inherits the weights of another, of which it is an edit.

    Wider layers replicate channels, drawn by the seed, and the layers that read them divide their
    weights by the number of replicas (Net2WiderNet); inserted layers start as the identity
    (Net2DeeperNet); larger kernels are padded with zeros. The child then computes the parent's
    function. Not preserving, and recorded as changes: narrower layers keep the channels of the
    largest norm, smaller kernels their centre, layers of another kind start with new weights, and
    so does everything after a layer without inheritance rule whose input has changed.

    Args:
        parent: The module that `build` made of `parent_network`, on the CPU; it is not changed.
        parent_network: The parent's filled description.
        child_network: The child's filled description.
        input_shape: Of a row, without the batch.
        seed: Of replicas, noise and new weights.
        noise: Standard deviation of the noise on the weights of replicas, relative to that of the
            layer's weights. Without it equal replicas would be trained alike for ever; 0 for none.
        calibration_rows: Inputs (rows, *input_shape) that give inserted batch normalisations the
            statistics of what they will see.
        **given: As for `build`.

    Returns:
        The child's module, and what it has inherited.

    Raises:
        InfeasibleCandidate: A layer cannot take its input.
        SpaceError: A choice is still open.

    Example:
        >>> parent = build((Linear(8), Linear()), (4,), outputs=2)
        >>> networks = (Linear(8), Linear()), (Linear(16), Linear())
        >>> child, inheritance = morph(parent, *networks, (4,), seed=0, outputs=2)
        >>> inheritance.preserves_function
        True
    """
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        child = build(child_network, input_shape, **given)
        built_parent = match_modules(resolve(parent_network, given), parent, input_shape)
        built_child = match_modules(resolve(child_network, given), child, input_shape)
        transfer = Transfer(seed, noise)
        input_map = identity_map(input_shape, input_shape)
        output_map = _ParallelWalk(transfer).inherit(built_parent, built_child, input_map)
    if not transfer.changes and not output_map.is_identity:
        transfer.record_change(
            "",
            f"outputs {output_map.child_shape} differ from the parent's {output_map.parent_shape}",
        )
    if calibration_rows is not None and transfer.identity_norms:
        calibrate_identity_norms(child, transfer.identity_norms, calibration_rows)
    n_params = sum(parameter.numel() for parameter in child.parameters())
    inherited_share = transfer.inherited_params / max(n_params, 1)
    return child, Inheritance(inherited_share, tuple(transfer.changes))


@dataclass(frozen=True)
class _ParallelWalk:
    """The walk through both networks; each step takes the map of its input, returns its output's."""

    transfer: Transfer

    def inherit(
        self,
        parent: BuiltNetwork,
        child: BuiltNetwork,
        input_map: ChannelMap,
        target_map: ChannelMap | None = None,
    ) -> ChannelMap:
        """Set a network's weights from its counterpart in the parent."""
        n_changes = len(self.transfer.changes)
        if parent.network == child.network and input_map.is_identity:
            child.module.load_state_dict(parent.module.state_dict())
            self.transfer.inherited_params += sum(
                parameter.numel() for parameter in child.module.parameters()
            )
            output_map = identity_map(parent.output_shape, child.output_shape)
        else:
            output_map = self._inherit_changed(parent, child, input_map, target_map)
        return self._with_changes_recorded(child, input_map, output_map, n_changes)

    def _inherit_changed(
        self,
        parent: BuiltNetwork,
        child: BuiltNetwork,
        input_map: ChannelMap,
        target_map: ChannelMap | None,
    ) -> ChannelMap:
        parent_layer, layer = parent.network, child.network
        if isinstance(parent_layer, tuple) or isinstance(layer, tuple):
            return self.inherit_sequence(align_sequences(parent, child), input_map, target_map)
        same_shapes = input_map.is_identity and parent.output_shape == child.output_shape
        if not same_shapes and not (_has_rule(parent_layer) and _has_rule(layer)):
            without_rule = type(layer if _has_rule(parent_layer) else parent_layer).__name__
            self.transfer.record_change(
                child.position,
                f"{without_rule} has no inheritance rule, new weights from here on",
            )
            return all_new(parent.output_shape, child.output_shape)
        if type(parent_layer) is not type(layer):
            if is_identity(parent_layer, nonnegative_input=input_map.nonnegative):
                return self.insert(child, input_map, target_map)
            if is_identity(layer, nonnegative_input=input_map.nonnegative):
                return self.remove(parent, input_map)
            return start_afresh(self.transfer, parent, child, input_map, target_map)
        if isinstance(layer, Layer) and _has_rule(layer):
            return layer.inherit(self, parent, child, input_map, target_map)
        return start_afresh(self.transfer, parent, child, input_map, target_map)

    def inherit_sequence(
        self,
        pairs: Sequence[tuple[BuiltNetwork | None, BuiltNetwork | None]],
        input_map: ChannelMap,
        target_map: ChannelMap | None,
    ) -> ChannelMap:
        """Inherit pairs one after the other; None marks a missing counterpart."""
        for parent, child in pairs:
            if parent is not None and child is not None:
                input_map = self.inherit(parent, child, input_map, target_map)
            elif child is not None:
                input_map = self.insert(child, input_map, target_map)
            elif parent is not None:
                input_map = self.remove(parent, input_map)
        return input_map

    def insert(
        self, child: BuiltNetwork, input_map: ChannelMap, target_map: ChannelMap | None
    ) -> ChannelMap:
        """Add a network that the parent lacks: the identity if possible."""
        n_changes = len(self.transfer.changes)
        if isinstance(child.network, tuple):
            output_map = input_map
            for layer in layers_of(child):
                output_map = self.insert(layer, output_map, target_map)
            return output_map
        identity = self._start_as_identity(child, input_map, target_map)
        if identity is None:
            name = type(child.network).__name__
            self.transfer.record_change(
                child.position, f"an inserted {name} cannot start as the identity"
            )
            identity = self.transfer.propagate(
                input_map, input_map.parent_shape, child.output_shape, target_map
            )
        return self._with_changes_recorded(child, input_map, identity, n_changes)

    def _start_as_identity(
        self, child: BuiltNetwork, input_map: ChannelMap, target_map: ChannelMap | None
    ) -> ChannelMap | None:
        if is_identity(child.network, nonnegative_input=input_map.nonnegative):
            return input_map
        assert isinstance(child.network, Layer)  # sequences are inserted layer by layer
        return child.network.start_as_identity(self, child, input_map, target_map)

    def remove(self, parent: BuiltNetwork, input_map: ChannelMap) -> ChannelMap:
        """Skip a network that the child lacks."""
        if is_identity(parent.network, nonnegative_input=input_map.nonnegative):
            return input_map
        removed = f"{type(parent.network).__name__} is removed"
        self.transfer.record_change(parent.position, removed)
        return self.transfer.propagate(input_map, parent.output_shape, input_map.child_shape)

    def _with_changes_recorded(
        self,
        child: BuiltNetwork,
        input_map: ChannelMap,
        output_map: ChannelMap,
        n_changes: int,
    ) -> ChannelMap:
        """Set `nonnegative` of the output, and record what is lost from input to output."""
        nonnegative = is_nonnegative(child, nonnegative_input=input_map.nonnegative)
        output_map = replace(output_map, nonnegative=nonnegative)
        return self.record_differences(child.position, [input_map], output_map, n_changes)

    def record_differences(
        self,
        position: str,
        input_maps: Sequence[ChannelMap],
        output_map: ChannelMap,
        n_changes: int,
    ) -> ChannelMap:
        """Record channels or sizes that are lost, unless a change has been recorded already."""
        nothing_recorded = len(self.transfer.changes) == n_changes
        if nothing_recorded and all(input_map.is_complete for input_map in input_maps):
            child_size = spatial_shape(output_map.child_shape)
            parent_size = spatial_shape(output_map.parent_shape)
            if not output_map.is_complete:
                n_kept = len(output_map.origin[output_map.origin >= 0].unique())
                n_parent = n_channels(output_map.parent_shape)
                self.transfer.record_change(
                    position, f"only {n_kept} of the parent's {n_parent} channels remain"
                )
            elif child_size != parent_size and all(
                spatial_shape(input_map.parent_shape) == spatial_shape(input_map.child_shape)
                for input_map in input_maps
            ):
                self.transfer.record_change(
                    position, f"its output has the size {child_size} instead of {parent_size}"
                )
        return output_map


def _has_rule(network: Network) -> bool:
    """Return whether channels can be followed: the layer's own class defines `inherit`."""
    return isinstance(network, tuple) or "inherit" in vars(type(network))
