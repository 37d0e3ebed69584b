"""From an open network to a relaxed one: every choice becomes an ordinary layer that mixes.

The relaxed network is a description like any other, so that the one builder makes its module. What
no mixture can express (a real number, a choice that changes the shape, inputs put side by side) is
*held*: filled with one value, to be searched afterwards.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, is_dataclass, replace
from itertools import product
from typing import Any

from netwright.networks.interfaces.layer import Layer, Network
from netwright.networks.layers.graph import Node
from netwright.oneshot.gradient.mixed_ops import Current, Depth, Gate, Mixed, Partial, Pick
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

_MOST_VARIANTS = 16
"""Of one layer: each has weights of its own."""
_MANY = f"more than {_MOST_VARIANTS} variants of one layer"


def decisions_of(network: Network, prefix: str) -> dict[str, Decision]:
    """Path -> decision, with the paths that they have where the network stands at this prefix."""
    part: Any = network
    for step in reversed(prefix.split(".")) if prefix else ():
        part = {step: part}
    return {one.path: one for one in find_decisions(part)}


@dataclass
class Relaxing(Visitor[Any, None]):
    """The relaxed form of each part of an open network.

    `held`: decisions that have one value; `mixed`: those that are mixed, found on the way.

    `share`: the part of the channels that goes through mixtures of layers is 1/share, but for the
    `whole` ones; `values`: those of decisions that are held, where they are not their defaults;
    `edges`: where no choice is made among the inputs of a node, they have weights all
    the same, as many as there are under the path found (PC-DARTS, 1907.05737).
    """

    decisions: Mapping[str, Decision]
    held: dict[str, str]
    current: Current
    mixed: set[str] = field(default_factory=set)
    share: int = 1
    whole: set[str] = field(default_factory=set)
    edges: dict[str, int] | None = None
    values: Mapping[str, Value] = field(default_factory=dict)

    def network(self, part: Any, path: str) -> Any:
        """The relaxed form of a part of an open network."""
        return self.visit(part, path, None)

    def visit_constant(self, part: Any, path: str, context: None) -> Any:
        return part

    def visit_number(self, part: NumberChoice, path: str, context: None) -> Any:
        return self._hold(path)

    def visit_container(self, part: Any, path: str, context: None) -> Any:
        if isinstance(part, tuple | Mapping):
            return with_children(
                part, [self.network(one, join_path(path, n)) for n, one in children(part)]
            )
        return self._node(part, path) if isinstance(part, Node) else self._layer(part, path)

    def visit_one_of(self, part: OneOfChoice, path: str, context: None) -> Any:
        if path in self.held or not all(map(_is_network, part.options)):
            value = self._hold(path)
            place = part.labels.index(value)
            return self.network(part.options[place], join_path(path, value))
        options = tuple(
            self.network(option, below) for _, option, below in labelled_options(part, path)
        )
        mixed = self._mixed(options, tuple(((path, i),) for i in range(len(options))))
        return mixed if self.share == 1 or path in self.whole else Partial(mixed, self.share)

    def _mixed(self, options: tuple[Any, ...], picks: tuple[Pick, ...]) -> Mixed:
        for path, _ in picks[0]:
            self.mixed.add(path)
        return Mixed(options, picks, self.current)

    def held_value(self, path: str) -> Value:
        """What a held decision is filled with: the first option, the lowest number, or its own."""
        return self.values[path] if path in self.values else self.decisions[path].from_unit(0.0)

    def _hold(self, path: str, why: str = "no mixture can express it") -> Value:
        self.held.setdefault(path, why)
        return self.held_value(path)

    def visit_repeat(self, part: RepeatChoice, path: str, context: None) -> Any:
        count, paths = count_path(part, path), copy_paths(part, path)
        is_held = is_open(part.times) and count in self.held
        if is_held:
            (place,) = self.decisions[count].option_indices(self.held_value(count))
            paths = paths[: part.possible_times[place]]
        mixes = is_open(part.times) and not is_held
        if mixes:
            self.mixed.add(count)
        copies = tuple(self.network(part.block, below) for below in paths)
        return Depth(copies, part.possible_times, count, self.current) if mixes else copies

    def visit_subset(self, part: SubsetOfChoice, path: str, context: None) -> Any:
        """Held, but for a node's inputs."""
        value = self._hold(path)
        assert isinstance(value, tuple)  # of labels
        kept = {
            name: self.network(option, below)
            for name, option, below in labelled_options(part, path)
            if name in value
        }
        return kept if part.mapping else tuple(kept.values())

    def _node(self, node: Node, path: str) -> Node:
        inside = {
            one.name: path if is_inline(one) else join_path(path, one.name)
            for one in init_fields(node)
        }
        inputs: Any = node.inputs
        path_of = inside["inputs"]
        if isinstance(inputs, SharedChoice):
            inputs, path_of = inputs.description, inputs.name
        if not isinstance(inputs, SubsetOfChoice):
            edges = self._weighted(self.network(inputs, path_of), path_of, node.combine)
        else:
            edges = self._inputs(inputs, inputs.name or path_of, node.combine)
        return replace(node, inputs=edges, then=self.network(node.then, inside["then"]))

    def _weighted(self, edges: Any, path: str, combine: str) -> Any:
        if self.edges is None or combine != "add" or len(edges) < 2:
            return edges
        path = join_path(path, "edges")
        self.edges[path] = len(edges)
        return {
            name: Gate(edge, ((path, i),), self.current)
            for i, (name, edge) in enumerate(edges.items())
        }

    def _inputs(self, inputs: SubsetOfChoice, path: str, combine: str) -> Any:
        if combine != "add":
            self._hold(path, "inputs put side by side would change the shape")
        if path in self.held:
            return self.visit_subset(inputs, path, None)
        self.mixed.add(path)
        return {
            name: Gate(self.network(option, below), ((path, i),), self.current)
            for i, (name, option, below) in enumerate(labelled_options(inputs, path))
        }

    def _layer(self, layer: Any, path: str) -> Any:
        """Open numbers and names of a layer make variants of it, side by side."""
        if not is_dataclass(layer) or isinstance(layer, type):
            return layer
        parts = {
            one.name: (
                getattr(layer, one.name),
                path if is_inline(one) else join_path(path, one.name),
            )
            for one in init_fields(layer)
        }
        for name, (value, _) in parts.items():
            if isinstance(value, SharedChoice):
                parts[name] = (value.description, value.name)
        open_values = {
            name: (value, value.name or at) for name, (value, at) in parts.items()
            if _is_value_choice(value)
        }  # fmt: skip
        others = {
            name: self.network(value, at) for name, (value, at) in parts.items()
            if name not in open_values
        }  # fmt: skip
        return self._variants(replace(layer, **others), open_values)

    def _variants(self, layer: Any, choices: Mapping[str, tuple[Any, str]]) -> Any:
        """`choices`: field -> its choice of values, and its path."""
        fixed: dict[str, Any] = {}
        free: dict[str, tuple[str, Sequence[Any]]] = {}
        for name, (choice, path) in choices.items():
            options = _values(choice)
            if path in self.held or not options:
                fixed[name] = self._held_value(path, options)
            else:
                free[name] = (path, options)
        while _count(free) > _MOST_VARIANTS:  # the last ones are held
            name, (path, options) = free.popitem()
            fixed[name] = self._held_value(path, options, _MANY)
        layer = replace(layer, **fixed)
        if not free:
            return layer
        sizes = {path: range(len(options)) for path, options in free.values()}
        variants, picks = [], []
        for places in product(*sizes.values()):
            at = dict(zip(sizes, places, strict=True))
            chosen = {name: options[at[path]] for name, (path, options) in free.items()}
            variants.append(replace(layer, **chosen))
            picks.append(tuple(at.items()))
        return self._mixed(tuple(variants), tuple(picks))

    def _held_value(self, path: str, options: Sequence[Any], *why: str) -> Any:
        value = self._hold(path, *why)
        (place,) = self.decisions[path].option_indices(value) if options else (0,)
        return options[place] if options else value


def _count(free: Mapping[str, tuple[str, Sequence[Any]]]) -> int:
    """How many variants there are: fields of one path decide together."""
    return math.prod({path: len(options) for path, options in free.values()}.values())


def _values(choice: Any) -> Sequence[Any]:
    """The values of a choice among numbers or names; none of a real number."""
    if isinstance(choice, OneOfChoice):
        return choice.options
    if choice.integer:
        return range(int(choice.low), int(choice.high) + 1)
    return ()


def _is_value_choice(value: Any) -> bool:
    if isinstance(value, OneOfChoice):
        return not any(map(is_open, value.options)) and not any(map(_is_network, value.options))
    return isinstance(value, NumberChoice)


def _is_network(part: Any) -> bool:
    if isinstance(part, tuple):
        return all(isinstance(one, tuple) or _may_be_layer(one) for one in part)
    return _may_be_layer(part)


def _may_be_layer(part: Any) -> bool:
    if isinstance(part, SharedChoice):
        return _is_network(part.description)
    if isinstance(part, OneOfChoice):
        return all(map(_is_network, part.options))
    if isinstance(part, RepeatChoice):
        return _is_network(part.block)
    return isinstance(part, Layer)
