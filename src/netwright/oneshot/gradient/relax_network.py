"""Relaxation of an open network: every choice becomes a layer that mixes its options.

The relaxed network is a description like any other, built by the same builder. A decision that no
mixture can express (a real number, a change of shape, concatenated inputs) is *held*: it has one
value while the supernet trains, and is searched afterwards.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, is_dataclass, replace
from itertools import product
from typing import TYPE_CHECKING, Any, cast

from netwright.networks.interfaces.layer import Layer, Network
from netwright.networks.layers.graph import Node
from netwright.oneshot.gradient.mixed_ops import (
    ActiveWeights,
    EdgeGate,
    MixedDepth,
    MixedOp,
    PartialChannels,
    Selection,
)
from netwright.space.candidate import Value
from netwright.space.choices import (
    NumberChoice,
    OneOfChoice,
    RepeatChoice,
    SharedChoice,
    SubsetOfChoice,
    init_fields,
    is_inline,
    is_open,
)
from netwright.space.decision import Decision
from netwright.space.description import find_decisions
from netwright.space.visitor import (
    Visitor,
    children,
    copy_paths,
    count_path,
    join_path,
    labelled_options,
    with_children,
)

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_MAX_VARIANTS = 16
"""Variants of one layer in a mixed operation; each has weights of its own."""
_TOO_MANY_VARIANTS = f"it would need more than {_MAX_VARIANTS} variants of one layer"

_ValueChoice = OneOfChoice | NumberChoice
"""A choice among numbers or names in a field of a layer."""


def decisions_of(network: Network, prefix: str) -> dict[str, Decision]:
    """Return path -> decision of a network that is at `prefix` in a description."""
    description: object = network
    for step in reversed(prefix.split(".")) if prefix else ():
        description = {step: description}
    return {decision.path: decision for decision in find_decisions(description)}


@dataclass
class NetworkRelaxer(Visitor[Any, None]):
    """Visitor that relaxes each part of an open network.

    `held`: path -> why the decision is held; the visit adds to it. `mixed`: paths of the mixed
    decisions, added by the visit.

    `channel_divisor`: one channel in so many goes through mixed operations, but all do at the paths
    in `full_channels`. `values`: values of held decisions, where these are not the defaults.
    `edges`: if not None, inputs of a node get weights even where there is no choice among them; the
    visit adds path -> number of inputs (PC-DARTS, 1907.05737).
    """

    decisions: Mapping[str, Decision]
    held: dict[str, str]
    active: ActiveWeights
    mixed: set[str] = field(default_factory=set)
    channel_divisor: int = 1
    full_channels: set[str] = field(default_factory=set)
    edges: dict[str, int] | None = None
    values: Mapping[str, Value] = field(default_factory=dict)

    def relax(self, description: object, path: str) -> Network:
        """Return the relaxed form of a network inside the open network."""
        return cast("Network", self.visit(description, path, None))

    def visit_constant(self, description: object, path: str, context: None) -> object:
        return description

    def visit_number(self, choice: NumberChoice, path: str, context: None) -> object:
        return self._hold(path)

    def visit_container(self, description: object, path: str, context: None) -> object:
        if isinstance(description, tuple | Mapping):
            return with_children(
                description,
                [self.visit(child, join_path(path, n), None) for n, child in children(description)],
            )
        return (
            self._node(description, path)
            if isinstance(description, Node)
            else self._layer(description, path)
        )

    def visit_one_of(self, choice: OneOfChoice, path: str, context: None) -> object:
        if path in self.held or not all(map(_is_network, choice.options)):
            label = self._hold(path)
            option = choice.options[choice.labels.index(label)]
            return self.relax(option, join_path(path, label))
        options = tuple(
            self.relax(option, below) for _, option, below in labelled_options(choice, path)
        )
        mixed = self._mixed_op(options, tuple(((path, i),) for i in range(len(options))))
        if self.channel_divisor == 1 or path in self.full_channels:
            return mixed
        return PartialChannels(mixed, self.channel_divisor)

    def _mixed_op(self, options: tuple[Network, ...], selections: tuple[Selection, ...]) -> MixedOp:
        for path, _ in selections[0]:
            self.mixed.add(path)
        return MixedOp(options, selections, self.active)

    def held_value(self, path: str) -> Value:
        """Return the value of a held decision: from `values`, else its default."""
        return self.values[path] if path in self.values else self.decisions[path].from_unit(0.0)

    def _hold(self, path: str, why: str = "no mixture can express it") -> Value:
        self.held.setdefault(path, why)
        return self.held_value(path)

    def visit_repeat(self, choice: RepeatChoice, path: str, context: None) -> object:
        count, paths = count_path(choice, path), copy_paths(choice, path)
        is_held = is_open(choice.times) and count in self.held
        if is_held:
            (option,) = self.decisions[count].option_indices(self.held_value(count))
            paths = paths[: choice.possible_times[option]]
        is_mixed = is_open(choice.times) and not is_held
        if is_mixed:
            self.mixed.add(count)
        copies = tuple(self.relax(choice.block, below) for below in paths)
        return MixedDepth(copies, choice.possible_times, count, self.active) if is_mixed else copies

    def visit_subset(self, choice: SubsetOfChoice, path: str, context: None) -> object:
        """Hold the decision: only inputs of a node are mixed, in `_node`."""
        labels = self._hold(path)
        assert isinstance(labels, tuple)  # the value of a SubsetOf
        chosen = {
            label: self.relax(option, below)
            for label, option, below in labelled_options(choice, path)
            if label in labels
        }
        return chosen if choice.mapping else tuple(chosen.values())

    def _node(self, node: Node, path: str) -> Node:
        paths = {
            field.name: path if is_inline(field) else join_path(path, field.name)
            for field in init_fields(node)
        }
        inputs: Any = node.inputs
        inputs_path = paths["inputs"]
        if isinstance(inputs, SharedChoice):
            inputs, inputs_path = inputs.description, inputs.name
        if not isinstance(inputs, SubsetOfChoice):
            relaxed = self.visit(inputs, inputs_path, None)
            edges = self._weighted_edges(relaxed, inputs_path, node.combine)
        else:
            edges = self._chosen_edges(inputs, inputs.name or inputs_path, node.combine)
        return replace(node, inputs=edges, then=self.relax(node.then, paths["then"]))

    def _weighted_edges(
        self, edges: Mapping[str, Network], path: str, combine: str
    ) -> Mapping[str, Network]:
        if self.edges is None or combine != "add" or len(edges) < 2:
            return edges
        path = join_path(path, "edges")
        self.edges[path] = len(edges)
        return {
            name: EdgeGate(edge, ((path, i),), self.active)
            for i, (name, edge) in enumerate(edges.items())
        }

    def _chosen_edges(
        self, inputs: SubsetOfChoice, path: str, combine: str
    ) -> Mapping[str, Network]:
        if combine != "add":
            self._hold(path, "concatenated inputs would change the shape")
        if path in self.held:
            return cast("Mapping[str, Network]", self.visit_subset(inputs, path, None))
        self.mixed.add(path)
        edges = {
            label: EdgeGate(self.relax(option, below), ((path, i),), self.active)
            for i, (label, option, below) in enumerate(labelled_options(inputs, path))
        }
        return cast("Mapping[str, Network]", edges)

    def _layer(self, layer: object, path: str) -> object:
        """Turn open numbers and names of a layer into variants of it in a mixed operation."""
        if not is_dataclass(layer) or isinstance(layer, type):
            return layer
        fields = {
            field.name: (
                getattr(layer, field.name),
                path if is_inline(field) else join_path(path, field.name),
            )
            for field in init_fields(layer)
        }
        for name, (content, _) in fields.items():
            if isinstance(content, SharedChoice):
                fields[name] = (content.description, content.name)
        choices = {
            name: (content, content.name or content_path)
            for name, (content, content_path) in fields.items()
            if _is_value_choice(content)
        }
        others = {
            name: self.visit(content, content_path, None)
            for name, (content, content_path) in fields.items()
            if name not in choices
        }
        return self._variants(replace(layer, **others), choices)

    def _variants(
        self, layer: DataclassInstance, choices: Mapping[str, tuple[_ValueChoice, str]]
    ) -> object:
        """Return all variants of a layer in a mixed operation.

        `choices`: field name -> choice of its value, and the path of that.
        """
        fixed: dict[str, object] = {}
        free: dict[str, tuple[str, Sequence[object]]] = {}
        for name, (choice, path) in choices.items():
            options = _options(choice)
            if path in self.held or not options:
                fixed[name] = self._held_option(path, options)
            else:
                free[name] = (path, options)
        while _n_variants(free) > _MAX_VARIANTS:  # hold the last decisions
            name, (path, options) = free.popitem()
            fixed[name] = self._held_option(path, options, _TOO_MANY_VARIANTS)
        layer = replace(layer, **fixed)
        if not free:
            return layer
        indices = {path: range(len(options)) for path, options in free.values()}
        variants, selections = [], []
        for combination in product(*indices.values()):
            index_of = dict(zip(indices, combination, strict=True))
            chosen = {name: options[index_of[path]] for name, (path, options) in free.items()}
            variants.append(replace(layer, **chosen))
            selections.append(tuple(index_of.items()))
        return self._mixed_op(cast("tuple[Network, ...]", tuple(variants)), tuple(selections))

    def _held_option(self, path: str, options: Sequence[object], *why: str) -> object:
        value = self._hold(path, *why)
        (option,) = self.decisions[path].option_indices(value) if options else (0,)
        return options[option] if options else value


def _n_variants(free: Mapping[str, tuple[str, Sequence[object]]]) -> int:
    """Return the number of variants; fields that share a path are decided together."""
    return math.prod({path: len(options) for path, options in free.values()}.values())


def _options(choice: _ValueChoice) -> Sequence[object]:
    """Return the options of a choice among numbers or names; none for a real number."""
    if isinstance(choice, OneOfChoice):
        return choice.options
    if choice.integer:
        return range(int(choice.low), int(choice.high) + 1)
    return ()


def _is_value_choice(content: object) -> bool:
    if isinstance(content, OneOfChoice):
        return not any(map(is_open, content.options)) and not any(map(_is_network, content.options))
    return isinstance(content, NumberChoice)


def _is_network(description: object) -> bool:
    if isinstance(description, tuple):
        return all(isinstance(layer, tuple) or _may_be_layer(layer) for layer in description)
    return _may_be_layer(description)


def _may_be_layer(description: object) -> bool:
    if isinstance(description, SharedChoice):
        return _is_network(description.description)
    if isinstance(description, OneOfChoice):
        return all(map(_is_network, description.options))
    if isinstance(description, RepeatChoice):
        return _is_network(description.block)
    return isinstance(description, Layer)
